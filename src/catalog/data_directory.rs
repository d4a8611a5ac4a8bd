//! A data directory has one owner: the process that holds its lock.
//!
//! Two servers on the same files would each believe that it alone writes: ids would be given twice, group commits would fail
//! in each other's face. The lock is the operating system's, on an open file: it ends with the process, however that
//! ends, so there is no stale lock to remove.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file that is locked. It also holds the owner's process number, for whoever meets the lock.
const LOCK_FILE: &str = "shardd.lock";

/// The data directory, owned until this is dropped.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

#[derive(Debug, thiserror::Error)]
pub enum DataDirectoryError {
    #[error(
        "the data directory {} is in use by another shardd{owner}: stop that one, or give this one a directory of its \
         own with --data-dir", .path.display()
    )]
    InUse { path: PathBuf, owner: String },
    #[error("cannot create the data directory {} ({source}): create it, or name another with --data-dir", .path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error(
        "cannot write in the data directory {} ({source}): give the user that runs shardd the right to, or name another \
         with --data-dir", .path.display()
    )]
    Lock { path: PathBuf, source: io::Error },
}

impl DataDirectory {
    /// Creates the directory when it does not exist, and takes its lock.
    ///
    /// # Errors
    /// Another process owns it, or it cannot be created or written.
    pub fn own(path: &Path) -> Result<DataDirectory, DataDirectoryError> {
        std::fs::create_dir_all(path).map_err(|source| DataDirectoryError::Create { path: path.to_owned(), source })?;
        let file_path = path.join(LOCK_FILE);
        let failed = |source| DataDirectoryError::Lock { path: path.to_owned(), source };
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&file_path);
        let mut lock = opened.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataDirectoryError::InUse { path: path.to_owned(), owner: owner_named_in(&file_path) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // For people only: the lock itself is what counts.
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(failed)?;
        Ok(DataDirectory { path: path.to_owned(), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn owner_named_in(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.trim().parse::<u32>().map(|process| format!(" (process {process})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("deep/data");
        let owner = DataDirectory::own(&path).unwrap();
        assert_eq!(owner.path(), path);
        let error = DataDirectory::own(&path).unwrap_err().to_string();
        for part in [path.to_str().unwrap(), "--data-dir", &format!("(process {})", std::process::id())] {
            assert!(error.contains(part), "{error}");
        }
        drop(owner);
        DataDirectory::own(&path).unwrap();
    }

    #[test]
    fn what_cannot_be_a_directory_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let error = DataDirectory::own(&file).unwrap_err();
        assert!(matches!(error, DataDirectoryError::Create { .. }), "{error}");
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    }
}
