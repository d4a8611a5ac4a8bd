//! Where a Postgres shard is and how to log in there, read from its URL once.
//!
//! The options are libpq's where libpq has them. An option that is unknown is an error: an ignored `sslmode` or a
//! misspelt one would connect in another way than was written. No error holds a part of the URL that may be a secret.
//!
//! <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>

mod url;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Pieces;

const DEFAULT_PORT: u16 = 5432;
const DEFAULT_APPLICATION_NAME: &str = "shardd";

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A DNS name or an address; an IPv6 address without its brackets.
    Tcp(String),
    /// The directory that holds the server's socket.
    Unix(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordSource {
    Nowhere,
    Url(Secret),
    /// The file's first line is the password.
    File(PathBuf),
    /// Lines of `host:port:database:user:password`, as libpq's `.pgpass`.
    PassFile(PathBuf),
}

/// What is demanded of the encryption, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCertificates {
    Unset,
    /// `sslrootcert=system`: those that the machine trusts.
    System,
    File(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    pub mode: SslMode,
    pub roots: RootCertificates,
    /// The files of the certificate and of the key that shardd shows to the server.
    pub identity: Option<(PathBuf, PathBuf)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelBindingMode {
    Disable,
    Prefer,
    Require,
}

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Trust,
    Cleartext,
    Md5,
    Scram,
}

/// A server, a database and a login.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    pub host: Host,
    pub port: u16,
    pub user: String,
    pub database: String,
    pub password: PasswordSource,
    pub tls: TlsOptions,
    pub channel_binding: ChannelBindingMode,
    /// `require_auth`: only these; `None` leaves the choice to the server.
    pub methods: Option<Vec<Method>>,
    /// `None` leaves it to the pool.
    pub connect_timeout: Option<Duration>,
    pub application_name: String,
    /// Command-line options for the server, as in `-c statement_timeout=5s`.
    pub options: Option<String>,
}

/// Why a text is no target. It holds no part of the text but an option's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("it does not begin with postgres://")]
    Scheme,
    #[error("the part before '@' holds a '/' or '@' that must be percent-encoded (%2F, %40)")]
    Login,
    #[error("a '%' must be followed by two hexadecimal digits, and what they encode must be UTF-8 without a zero byte")]
    Encoding,
    #[error("it has no host: write one, or ?host=/directory for a Unix socket")]
    NoHost,
    #[error("it has several hosts; a shard is one server (give replicas of their own)")]
    SeveralHosts,
    #[error("its host is malformed")]
    Host,
    #[error("its port must be a number from 1 to 65535")]
    Port,
    #[error("it has no user, as in postgres://app@db-1/tickets")]
    NoUser,
    #[error("its database's name holds a '/' that must be percent-encoded (%2F)")]
    Database,
    #[error("an option needs the form name=value, with '@', '&' and '=' in the value percent-encoded")]
    OptionForm,
    #[error("unknown option \"{0}\"; known are {known}", known = url::KNOWN_OPTIONS)]
    UnknownOption(String),
    #[error("\"{0}\" is given twice")]
    Twice(&'static str),
    #[error("{0} must be {1}")]
    Value(&'static str, &'static str),
    #[error("only one of a password, password_file and passfile can be given")]
    SeveralPasswords,
    #[error("sslcert and sslkey need each other")]
    HalfIdentity,
    #[error("sslmode={0} needs sslrootcert=FILE, or sslrootcert=system for the authorities that the machine trusts")]
    NoRootCertificates(&'static str),
    #[error("sslrootcert=system needs sslmode=verify-full: anyone can have a certificate from a public authority")]
    WeakSystemRoots,
    #[error("channel_binding=require needs sslmode=require or stronger, and a host that is reached over TCP")]
    BindingWithoutTls,
}

impl Target {
    /// # Errors
    /// The text is no URL of a Postgres server, or asks for what cannot be given.
    pub fn parse(text: &str) -> Result<Target, TargetError> {
        let mut pieces = url::pieces(text)?;
        let (host, port) = place(&mut pieces)?;
        let user = pieces.take("user").ok_or(TargetError::NoUser)?;
        let database = pieces.take("dbname").unwrap_or_else(|| user.clone());
        let target = Target {
            password: password_source(&mut pieces)?,
            tls: tls_options(&mut pieces, &host)?,
            channel_binding: channel_binding(pieces.take("channel_binding").as_deref())?,
            methods: pieces.take("require_auth").map(|list| methods(&list)).transpose()?,
            connect_timeout: connect_timeout(pieces.take("connect_timeout").as_deref())?,
            application_name: pieces.take("application_name").unwrap_or_else(|| DEFAULT_APPLICATION_NAME.to_owned()),
            options: pieces.take("options"),
            host,
            port,
            user,
            database,
        };
        let sure_of_tls = matches!(target.host, Host::Tcp(_)) && target.tls.mode >= SslMode::Require;
        if target.channel_binding == ChannelBindingMode::Require && !sure_of_tls {
            return Err(TargetError::BindingWithoutTls);
        }
        Ok(target)
    }

    /// Where the server is, for messages: `db-1:5432`, `[::1]:5432` or the socket's path.
    pub fn address(&self) -> String {
        match &self.host {
            Host::Tcp(host) if host.contains(':') => format!("[{host}]:{}", self.port),
            Host::Tcp(host) => format!("{host}:{}", self.port),
            Host::Unix(directory) => self.socket_path(directory).display().to_string(),
        }
    }

    pub fn user(&self) -> &str {
        &self.user
    }

    pub fn database(&self) -> &str {
        &self.database
    }

    pub fn socket_path(&self, directory: &Path) -> PathBuf {
        directory.join(format!(".s.PGSQL.{}", self.port))
    }
}

/// Without secrets.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}/{}", self.user, self.address(), self.database)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self}, {:?})", self.tls.mode)
    }
}

fn place(pieces: &mut Pieces) -> Result<(Host, u16), TargetError> {
    let host = pieces.take("host").ok_or(TargetError::NoHost)?;
    let host = if host.starts_with('/') {
        Host::Unix(host.into())
    } else if host.contains(',') {
        return Err(TargetError::SeveralHosts);
    } else if host.chars().any(|c| c.is_whitespace() || c.is_control() || "/@?#[]".contains(c)) {
        return Err(TargetError::Host);
    } else {
        Host::Tcp(host)
    };
    let port = match pieces.take("port") {
        None => DEFAULT_PORT,
        Some(port) if port.contains(',') => return Err(TargetError::SeveralHosts),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse().ok().filter(|port| *port > 0).ok_or(TargetError::Port)?
        }
        Some(_) => return Err(TargetError::Port),
    };
    Ok((host, port))
}

fn password_source(pieces: &mut Pieces) -> Result<PasswordSource, TargetError> {
    let given = [
        pieces.take("password").map(|password| PasswordSource::Url(Secret::new(password))),
        pieces.take("password_file").map(|path| PasswordSource::File(path.into())),
        pieces.take("passfile").map(|path| PasswordSource::PassFile(path.into())),
    ];
    let mut given = given.into_iter().flatten();
    match (given.next(), given.next()) {
        (_, Some(_)) => Err(TargetError::SeveralPasswords),
        (source, None) => Ok(source.unwrap_or(PasswordSource::Nowhere)),
    }
}

fn tls_options(pieces: &mut Pieces, host: &Host) -> Result<TlsOptions, TargetError> {
    let (mode, word) = match pieces.take("sslmode").as_deref() {
        None | Some("prefer") => (SslMode::Prefer, "prefer"),
        Some("disable") => (SslMode::Disable, "disable"),
        Some("require") => (SslMode::Require, "require"),
        Some("verify-ca") => (SslMode::VerifyCa, "verify-ca"),
        Some("verify-full") => (SslMode::VerifyFull, "verify-full"),
        Some(_) => {
            return Err(TargetError::Value("sslmode", "disable, prefer, require, verify-ca or verify-full"));
        }
    };
    let roots = match pieces.take("sslrootcert") {
        None => RootCertificates::Unset,
        Some(word) if word == "system" => RootCertificates::System,
        Some(path) => RootCertificates::File(path.into()),
    };
    let over_tcp = matches!(host, Host::Tcp(_));
    match roots {
        RootCertificates::Unset if mode >= SslMode::VerifyCa && over_tcp => {
            return Err(TargetError::NoRootCertificates(word));
        }
        RootCertificates::System if mode != SslMode::VerifyFull => return Err(TargetError::WeakSystemRoots),
        _ => {}
    }
    // As libpq: whoever names an authority wants the server to have its certificate from it.
    let mode = match (mode, &roots) {
        (SslMode::Require, RootCertificates::File(_)) => SslMode::VerifyCa,
        _ => mode,
    };
    let identity = match (pieces.take("sslcert"), pieces.take("sslkey")) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        _ => return Err(TargetError::HalfIdentity),
    };
    Ok(TlsOptions { mode, roots, identity })
}

fn channel_binding(word: Option<&str>) -> Result<ChannelBindingMode, TargetError> {
    match word {
        None | Some("prefer") => Ok(ChannelBindingMode::Prefer),
        Some("disable") => Ok(ChannelBindingMode::Disable),
        Some("require") => Ok(ChannelBindingMode::Require),
        Some(_) => Err(TargetError::Value("channel_binding", "disable, prefer or require")),
    }
}

fn methods(list: &str) -> Result<Vec<Method>, TargetError> {
    let method = |word: &str| match word {
        "none" => Ok(Method::Trust),
        "password" => Ok(Method::Cleartext),
        "md5" => Ok(Method::Md5),
        "scram-sha-256" => Ok(Method::Scram),
        _ => Err(TargetError::Value("require_auth", "a list of none, password, md5 and scram-sha-256")),
    };
    list.split(',').map(method).collect()
}

/// Whole seconds, as in libpq; 0 is none.
fn connect_timeout(text: Option<&str>) -> Result<Option<Duration>, TargetError> {
    const LIMIT_SECONDS: u64 = 3600;
    let Some(text) = text else { return Ok(None) };
    match text.parse::<u64>() {
        Ok(0) => Ok(None),
        Ok(seconds) if seconds <= LIMIT_SECONDS => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(TargetError::Value("connect_timeout", "a number of seconds up to 3600")),
    }
}
