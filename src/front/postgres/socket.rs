//! The door's Unix socket, where libpq looks for one: `.s.PGSQL.PORT` in a directory.
//!
//! Everybody on this machine may use it, as with the loopback; the directory's own rights say otherwise where they should.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

const ANYBODY: u32 = 0o777;

/// A listening socket. Its file goes when it is dropped.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    file: File,
}

#[derive(Debug)]
struct File(PathBuf);

/// The file in `directory` that libpq takes for this port.
pub(super) fn path_for(directory: &Path, port: u16) -> PathBuf {
    directory.join(format!(".s.PGSQL.{port}"))
}

impl Socket {
    /// Listens at `path`. A file that a server left there when it was killed is replaced.
    ///
    /// # Errors
    /// Somebody listens there, something else than a socket is there, or the directory cannot be written to.
    pub(super) fn bind(path: PathBuf) -> io::Result<Socket> {
        // What else is there is left alone, and bind says so.
        let is_socket = std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.file_type().is_socket());
        if is_socket
            && let Err(error) = std::os::unix::net::UnixStream::connect(&path)
            && error.kind() == io::ErrorKind::ConnectionRefused
        {
            std::fs::remove_file(&path)?;
        }
        let listener = UnixListener::bind(&path)?;
        let file = File(path);
        std::fs::set_permissions(&file.0, std::fs::Permissions::from_mode(ANYBODY))?;
        Ok(Socket { listener, file })
    }

    /// The same, watched by this runtime.
    ///
    /// # Errors
    /// The runtime cannot watch it.
    pub(super) fn moved_here(self) -> io::Result<Socket> {
        let Socket { listener, file } = self;
        Ok(Socket { listener: UnixListener::from_std(listener.into_std()?)?, file })
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // Best effort: the next server replaces a file that was left.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = path_for(directory.path(), 6432);
        assert!(path.ends_with(".s.PGSQL.6432"));
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        assert!(path.exists(), "a listener of the standard library leaves its file");
        let socket = Socket::bind(path.clone()).expect("replaced");
        assert_eq!(Socket::bind(path.clone()).expect_err("in use").kind(), io::ErrorKind::AddrInUse);
        drop(socket);
        assert!(!path.exists());
        std::fs::write(&path, "a file").expect("written");
        assert!(Socket::bind(path.clone()).is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("still there"), "a file");
    }
}
