//! Whether the files that are open are still those at the shard's path.
//!
//! A file that is deleted or replaced stays open for whoever has it: what is written to it would be answered, and gone
//! with the process. So a commit looks first, and a shard whose file is gone answers nothing more.
//!
//! Whoever closes a file gives up all locks that the process has on it, SQLite's too
//! (<https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_>): another
//! process that looked at the file would then take itself for the last one, and delete the log. So while a shard is open its
//! file is read through one handle that stays open as long.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Fault, SqlState};

/// With what every SQLite file begins.
/// <https://www.sqlite.org/fileformat.html#magic_header_string>
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// One file: its device and its number there.
type Identity = (u64, u64);

/// A shard's two files, as they were when it was opened.
#[derive(Debug)]
pub(super) struct Presence {
    files: Vec<(Identity, PathBuf)>,
    /// The file itself.
    file: io::Result<File>,
}

impl Presence {
    /// Notes which files these are. One that is not there yet is not looked for later.
    pub(super) fn note(path: &Path) -> Presence {
        let mut log = path.to_owned().into_os_string();
        log.push("-wal");
        let files = [path.to_owned(), PathBuf::from(log)];
        let files = files.into_iter().filter_map(|path| Some((identity(&path).ok()?, path))).collect();
        Presence { files, file: File::open(path) }
    }

    /// As [`read_header`], of the file that is open.
    pub(super) fn read_header(&self) -> Result<(), Option<io::Error>> {
        match &self.file {
            Ok(file) => header_of(file),
            Err(error) => Err(Some(error.kind().into())),
        }
    }

    /// # Errors
    /// 58030: a file was deleted, or another one is in its place.
    pub(super) fn check(&self, shard: &str) -> Result<(), Error> {
        let is_gone = |(opened, path): &&(Identity, PathBuf)| match identity(path) {
            Ok(found) => found != *opened,
            // A disk that fails says so by itself.
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        match self.files.iter().find(is_gone) {
            None => Ok(()),
            Some((_, path)) => Err(gone(shard, path)),
        }
    }
}

fn identity(path: &Path) -> io::Result<Identity> {
    std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

fn gone(shard: &str, path: &Path) -> Error {
    Error::new(SqlState::IO_ERROR, format!("the file of shard \"{shard}\" was deleted or replaced while it was open"))
        .detail(format!("{} is not the file that was opened. Nothing is written to it any more.", path.display()))
        .hint("Stop shardd, put the file and its -wal file back, or restore a backup, and start it again.")
        .fault(Fault::Shard)
}

/// A file that should be there is not.
pub(super) fn missing(shard: &str, path: &Path) -> Error {
    Error::new(SqlState::IO_ERROR, format!("the file of shard \"{shard}\" is missing: {}", path.display()))
        .hint(
            "Mount the disk that holds it, or put it and its -wal file back. A backup that is restored takes the place of \
             both, and has to belong to the other shards' files.",
        )
        .fault(Fault::Shard)
}

/// Whether what lies at the path can be read and looks like a SQLite file. Only before it is opened.
///
/// # Errors
/// What is wrong with it: `None` when it is another kind of file.
pub(super) fn read_header(path: &Path) -> Result<(), Option<io::Error>> {
    // A pipe would keep whoever opens it waiting.
    if !std::fs::metadata(path).map_err(Some)?.is_file() {
        return Err(None);
    }
    header_of(&File::open(path).map_err(Some)?)
}

fn header_of(file: &File) -> Result<(), Option<io::Error>> {
    let mut header = [0; MAGIC.len()];
    file.read_exact_at(&mut header, 0).map_err(Some)?;
    if header == *MAGIC { Ok(()) } else { Err(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_deleted_or_replaced_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shard.db");
        std::fs::write(&path, "x").unwrap();
        let presence = Presence::note(&path);
        assert_eq!(presence.check("s1"), Ok(()));
        std::fs::rename(&path, directory.path().join("elsewhere.db")).unwrap();
        assert_eq!(presence.check("s1").unwrap_err().sqlstate(), SqlState::IO_ERROR);
        std::fs::write(&path, "y").unwrap();
        let error = presence.check("s1").unwrap_err();
        assert!(error.message().contains("\"s1\"") && error.get_detail().unwrap().contains("shard.db"), "{error}");
    }

    #[test]
    fn another_kind_of_file_is_noticed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [&MAGIC[..], b"rest"].concat()).unwrap();
        assert!(read_header(file.path()).is_ok());
        std::fs::write(file.path(), "no database at all, just text").unwrap();
        assert!(matches!(read_header(file.path()), Err(None)));
        assert!(matches!(read_header(Path::new("/")), Err(None)));
        std::fs::write(file.path(), "short").unwrap();
        assert!(matches!(read_header(file.path()), Err(Some(_))));
    }
}
