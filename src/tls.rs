//! The server's side of TLS: certificates and keys from files, and their replacement while clients are connected.
//!
//! A new connection takes whatever is current; one that is open keeps what it began with. Files that cannot be used never
//! replace ones that can.
//!
//! Sessions are not resumed: one that was would not be judged by the authority for clients that holds now.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

use crate::wire::certificate::endpoint_hash;

/// What clients of the Postgres protocol name it in TLS.
pub const ALPN_POSTGRES: &[u8] = b"postgresql";
/// A file of certificates may not be longer.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// Where a door's certificate and key are, all in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, then those that lead to its authority.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The authorities whose clients are believed; without it clients show no certificate.
    pub client_ca: Option<PathBuf>,
}

/// Which of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFile {
    Certificate,
    Key,
    ClientCa,
}

/// Why files cannot be used. The message names the file and says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct TlsError {
    pub file: TlsFile,
    message: String,
}

/// What a handshake needs.
#[derive(Debug)]
pub struct ServerTls {
    pub config: Arc<ServerConfig>,
    /// What a login is bound to; `None` where the certificate's signature has no hash for it.
    pub endpoint_hash: Option<Vec<u8>>,
}

impl ServerTls {
    /// Reads the files, and makes sure that they belong together.
    ///
    /// # Errors
    /// One of them cannot be read or used.
    pub fn read(files: &TlsFiles) -> Result<ServerTls, TlsError> {
        let chain = certificates(TlsFile::Certificate, &files.certificate)?;
        let endpoint_hash = chain.first().and_then(|own| endpoint_hash(own));
        let key = private_key(&files.key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let unusable = |file, path: &Path, error: &dyn std::fmt::Display| TlsError {
            file,
            message: format!("{} cannot be used: {error}", path.display()),
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(TlsFile::Certificate, &files.certificate, &error))?;
        let builder = match &files.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(TlsFile::ClientCa, path)? {
                    roots.add(authority).map_err(|error| unusable(TlsFile::ClientCa, path, &error))?;
                }
                // Whether a client must show one depends on its user, who is not known yet.
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = verifier.allow_unauthenticated().build();
                builder.with_client_cert_verifier(verifier.map_err(|error| unusable(TlsFile::ClientCa, path, &error))?)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => TlsError {
                file: TlsFile::Key,
                message: format!(
                    "the key in {} is not the one of the certificate in {}: replace both",
                    files.key.display(),
                    files.certificate.display()
                ),
            },
            error => unusable(TlsFile::Certificate, &files.certificate, &error),
        })?;
        config.alpn_protocols = vec![ALPN_POSTGRES.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(ServerTls { config: Arc::new(config), endpoint_hash })
    }
}

fn read(file: TlsFile, path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path).and_then(|opened| opened.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes));
    let message = match opened {
        Ok(_) if bytes.len() as u64 <= FILE_MAX_BYTES => return Ok(bytes),
        Ok(_) => format!("{} is longer than {FILE_MAX_BYTES} bytes: give the certificates alone", path.display()),
        Err(error) => {
            format!("cannot read {} ({error}): give the user that runs shardd the right to", path.display())
        }
    };
    Err(TlsError { file, message })
}

fn certificates(file: TlsFile, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(file, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let problem = match found {
        Ok(found) if !found.is_empty() => return Ok(found),
        Ok(_) => "holds no certificate".to_owned(),
        Err(error) => format!("holds damaged PEM ({error})"),
    };
    let message = format!("{} {problem}: it should be PEM, -----BEGIN CERTIFICATE-----", path.display());
    Err(TlsError { file, message })
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(TlsFile::Key, path)?;
    // What the parser has to say may hold a part of the file.
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| TlsError {
        file: TlsFile::Key,
        message: format!(
            "{} holds no private key that can be read: it should be PEM and not encrypted, -----BEGIN PRIVATE KEY-----",
            path.display()
        ),
    })
}

/// When and how long each file was, as far as it can be told without reading them.
type Seen = Vec<Option<(SystemTime, u64)>>;

/// What new connections begin with, and the files that it came from.
#[derive(Debug)]
pub struct LiveTls {
    files: TlsFiles,
    current: ArcSwap<ServerTls>,
    seen: Mutex<Seen>,
}

impl LiveTls {
    /// # Errors
    /// As for [`ServerTls::read`].
    pub fn open(files: TlsFiles) -> Result<LiveTls, TlsError> {
        let seen = Mutex::new(look(&files));
        let current = ArcSwap::from_pointee(ServerTls::read(&files)?);
        Ok(LiveTls { files, current, seen })
    }

    /// What a connection that begins now takes.
    pub fn current(&self) -> Arc<ServerTls> {
        self.current.load_full()
    }

    /// Whether clients may show a certificate.
    pub fn asks_for_certificates(&self) -> bool {
        self.files.client_ca.is_some()
    }

    /// Reads the files again; connections that begin later take what is in them.
    ///
    /// # Errors
    /// They cannot be used: what was current stays so.
    pub fn reload(&self) -> Result<(), TlsError> {
        // Looked at before they are read, so that what is written meanwhile counts as a change.
        *self.seen.lock() = look(&self.files);
        self.current.store(Arc::new(ServerTls::read(&self.files)?));
        Ok(())
    }

    /// Whether a file was replaced or written since they were last read, with success or without.
    pub fn changed(&self) -> bool {
        *self.seen.lock() != look(&self.files)
    }
}

fn look(files: &TlsFiles) -> Seen {
    let look = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()].map(|path| path.and_then(look)).to_vec()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    struct Directory(tempfile::TempDir);

    impl Directory {
        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        }

        /// A certificate and its key, in files of their own.
        fn issue(&self, name: &str) -> TlsFiles {
            let key = KeyPair::generate().expect("a key");
            let parameters = CertificateParams::new([name.to_owned()]).expect("a name");
            let certificate = parameters.self_signed(&key).expect("a certificate");
            TlsFiles {
                certificate: self.write(&format!("{name}.pem"), &certificate.pem()),
                key: self.write(&format!("{name}.key"), &key.serialize_pem()),
                client_ca: None,
            }
        }
    }

    fn directory() -> Directory {
        Directory(tempfile::tempdir().expect("a directory"))
    }

    #[test]
    fn each_file_that_cannot_be_used_is_named() {
        let directory = directory();
        let (good, other) = (directory.issue("good"), directory.issue("other"));
        assert!(ServerTls::read(&good).expect("usable").endpoint_hash.is_some());
        let junk = directory.write("junk", "no PEM");
        let missing = directory.0.path().join("missing");
        for (files, file, text) in [
            (TlsFiles { certificate: missing.clone(), ..good.clone() }, TlsFile::Certificate, "cannot read"),
            (TlsFiles { certificate: junk.clone(), ..good.clone() }, TlsFile::Certificate, "holds no certificate"),
            (TlsFiles { certificate: good.key.clone(), ..good.clone() }, TlsFile::Certificate, "holds no certificate"),
            (TlsFiles { key: junk.clone(), ..good.clone() }, TlsFile::Key, "holds no private key"),
            (TlsFiles { key: other.key.clone(), ..good.clone() }, TlsFile::Key, "is not the one of the certificate"),
            (TlsFiles { client_ca: Some(junk), ..good.clone() }, TlsFile::ClientCa, "holds no certificate"),
            (TlsFiles { client_ca: Some(missing), ..good.clone() }, TlsFile::ClientCa, "cannot read"),
        ] {
            let error = ServerTls::read(&files).expect_err("it cannot be used");
            assert_eq!(error.file, file, "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn a_secret_is_in_no_message() {
        let directory = directory();
        let good = directory.issue("good");
        let text = "-----BEGIN PRIVATE KEY-----\ncanary+canary!\n-----END PRIVATE KEY-----\n";
        let files = TlsFiles { key: directory.write("bad.key", text), ..good };
        assert!(!format!("{:?}", ServerTls::read(&files).expect_err("damaged")).contains("canary"));
    }

    #[test]
    fn new_files_are_taken_and_bad_ones_are_not() {
        let directory = directory();
        let (files, next) = (directory.issue("first"), directory.issue("second"));
        let live = LiveTls::open(files.clone()).expect("usable");
        let first = live.current();
        assert!(!live.changed());

        // Longer than the file system takes two times for one.
        std::thread::sleep(std::time::Duration::from_millis(50));
        std::fs::copy(&next.certificate, &files.certificate).expect("copied");
        assert!(live.changed(), "the new certificate is there, its key is not yet");
        assert!(live.reload().is_err());
        assert!(Arc::ptr_eq(&live.current(), &first) && !live.changed(), "it is tried once for each change");

        std::fs::copy(&next.key, &files.key).expect("copied");
        assert!(live.changed());
        live.reload().expect("usable");
        assert_ne!(live.current().endpoint_hash, first.endpoint_hash);
    }
}
