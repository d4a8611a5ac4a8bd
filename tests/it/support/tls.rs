//! Certificates made for one test, and a client that speaks TLS.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};

use super::PATIENCE;
use super::frames::Writer;

/// A directory of certificates, and the authority that signs them.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: TempDir,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new() -> Authority {
        let directory = tempfile::Builder::new().prefix("shardd-tls-").tempdir().expect("a directory");
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Each has a name of its own, as two authorities have.
        parameters.distinguished_name.push(DnType::CommonName, directory.path().display().to_string());
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        std::fs::write(directory.path().join("authority.pem"), certificate.pem()).expect("written");
        Authority { issuer: Issuer::new(parameters, key), directory }
    }

    /// The authority's own certificate.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("authority.pem")
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A certificate for servers of these names, in `server.pem` and `server.key`, in the place of what was there.
    pub fn serve_as(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let parameters = CertificateParams::new(names).expect("names");
        self.issue("server", &parameters)
    }

    /// A client's certificate.
    pub fn client(&self, common_name: &str) -> Identity {
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names");
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, common_name);
        self.issue(&format!("client-{common_name}"), &parameters)
    }

    fn issue(&self, file: &str, parameters: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        let path = |ending: &str| self.path().join(format!("{file}.{ending}"));
        let identity = Identity { certificate: path("pem"), key: path("key") };
        std::fs::write(&identity.certificate, certificate.pem()).expect("written");
        std::fs::write(&identity.key, key.serialize_pem()).expect("written");
        // libpq refuses a key that others can read.
        std::fs::set_permissions(&identity.key, std::fs::Permissions::from_mode(0o600)).expect("changed");
        identity
    }

    /// What a client needs to believe this authority alone.
    pub fn client_config(&self, identity: Option<&Identity>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.root()).expect("a certificate")).expect("usable");
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("usable").with_root_certificates(roots);
        match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let certificate = CertificateDer::from_pem_file(&identity.certificate).expect("a certificate");
                let key = PrivateKeyDer::from_pem_file(&identity.key).expect("a key");
                builder.with_client_auth_cert(vec![certificate], key).expect("usable")
            }
        }
    }

    /// `[listen.tls]` with the server's certificate, made before, and this authority for clients.
    pub fn configuration(&self) -> String {
        let path = |file: &str| self.path().join(file).display().to_string();
        format!(
            "[listen.tls]\ncertificate_file = '{}'\nkey_file = '{}'\nclient_ca_file = '{}'\n",
            path("server.pem"),
            path("server.key"),
            path("authority.pem")
        )
    }
}

/// An encrypted connection.
pub type TlsClient = StreamOwned<ClientConnection, TcpStream>;

/// How TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With a request in the clear.
    Asking,
    /// At once.
    Directly,
}

pub fn tcp(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the door listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    stream.set_nodelay(true).expect("set");
    stream
}

/// An SSLRequest.
pub fn ssl_request() -> Vec<u8> {
    let mut writer = Writer::default();
    writer.untyped(|body| body.extend(80_877_103_u32.to_be_bytes()));
    writer.bytes
}

/// Encrypts a connection to the loopback.
///
/// # Errors
/// The server does not want to, or one side does not believe the other.
pub fn encrypted(port: u16, config: ClientConfig, begin: Begin) -> io::Result<TlsClient> {
    let mut socket = tcp(port);
    if begin == Begin::Asking {
        socket.write_all(&ssl_request())?;
        let mut answer = [0];
        socket.read_exact(&mut answer)?;
        if answer != [b'S'] {
            return Err(io::Error::other(format!("the server answers {answer:?}")));
        }
    }
    let name = ServerName::try_from("localhost").expect("a name");
    let session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}
