//! What an operator decides: doors, shards, keyspaces, users, limits.
//!
//! Two stages. The file is read as it is written, the environment and the flags are laid over it, and then everything is
//! validated at once: a [`Config`] holds only values that can be, and [`ConfigErrors`] holds every problem, each with its line
//! and key. Nothing is bound or opened before that.
//!
//! Sources, the later ones win: defaults, the file (`config/shardd.toml`, which may be absent, or `--config PATH`),
//! `SHARDD_...` variables, flags.
//!
//! Invariant: no secret leaves this module as text. Verifiers and URLs are redacted when shown or debugged.

mod auth_query;
mod difference;
mod file;
mod limits;
mod people;
mod problem;
mod settings;
mod show;
mod tls;
mod validate;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use difference::{differences, needing_a_restart};
pub use limits::{LIMIT_SETTINGS, LimitSetting, Limits, POOL_SETTINGS, PoolSettings};
pub use problem::{ConfigErrors, Origin, Problem};
pub use settings::{SETTINGS, Setting, environment_name, scalar_keys};
pub use show::{Shown, check_report};

use crate::tls::TlsFiles;
use crate::topology::{KeyspaceSpec, ShardSpec, ShardUrl};
use crate::wire::scram::Verifier;

/// The file that is read when none is named. It may be absent.
pub const DEFAULT_PATH: &str = "config/shardd.toml";

/// What shards are asked for a user's password, unless the configuration says otherwise: those of users who may log in
/// there now.
pub const DEFAULT_AUTH_QUERY: &str = "SELECT rolname, CASE WHEN rolvaliduntil < pg_catalog.now() THEN NULL ELSE rolpassword \
                                      END FROM pg_catalog.pg_authid WHERE rolname = $1 AND rolcanlogin";

/// Variables that are no settings: which file to read, and how logs are written.
const OTHER_VARIABLES: [&str; 2] = ["SHARDD_CONFIG", "SHARDD_LOG_FORMAT"];

/// A configuration that can be.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    pub data_dir: PathBuf,
    pub database: String,
    pub listen: Listen,
    /// Where the Postgres door has a Unix socket, too.
    pub postgres_socket_dir: Option<PathBuf>,
    /// What the Postgres door encrypts with.
    pub tls: Option<TlsFiles>,
    /// The Postgres door refuses connections that are not encrypted.
    pub require_tls: bool,
    /// Doors may let everybody in from beyond loopback.
    pub allow_insecure_listener: bool,
    /// Names by which the HTTP and the admin door may be called while they let everybody in.
    pub allowed_hosts: Vec<String>,
    /// Writes to key-value entries need a precondition.
    pub require_preconditions: bool,
    /// What the admin door asks for.
    pub admin_token: Option<TokenText>,
    /// `sqlite:PATH`.
    pub catalog_url: ShardUrl,
    /// Those of users; the key-value door's own is added by [`crate::topology::Topology::first`].
    pub keyspaces: Vec<KeyspaceSpec>,
    pub shards: Vec<ShardSpec>,
    /// Of Postgres shards, by the shard's name. The file rules, also where the catalog does for the shards.
    pub replicas: BTreeMap<String, Vec<ShardUrl>>,
    /// Without users and tokens anybody is let in who reaches a door.
    pub users: Vec<User>,
    /// Where users are looked for whom the list does not name.
    pub auth_query: Option<AuthQuery>,
    pub tokens: Vec<Token>,
    pub limits: Limits,
    pub pool: PoolSettings,
    /// What is odd but no error: to be logged at the start.
    pub warnings: Vec<String>,
    origins: Origins,
}

/// The doors' addresses. Port 0 takes a free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    pub postgres: SocketAddr,
    /// Where clients of the Postgres door keep their connections to shards; `None`: nowhere.
    pub postgres_session: Option<SocketAddr>,
    pub http: SocketAddr,
    pub admin: SocketAddr,
}

/// Who may log in at the Postgres door and, with a password alone, at the HTTP door by Basic authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub credential: Credential,
    /// Connections to the Postgres door have to be encrypted.
    pub require_tls: bool,
    /// Connections to the Postgres door at the same time.
    pub max_clients: Option<u64>,
    /// Sessions at the Postgres door begin with `default_transaction_read_only`.
    pub read_only: bool,
}

/// How Postgres shards are asked for the passwords of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthQuery {
    /// The user that asks.
    pub user: String,
    pub password_file: Option<PathBuf>,
    /// Takes a name; gives at most one row, of a name and what is stored of its password.
    pub query: String,
    /// Names of the shards that are asked, in this order; empty: all.
    pub shards: Vec<String>,
    /// Connections of those users to the Postgres door have to be encrypted.
    pub require_tls: bool,
}

/// What a user has to show. Certificates are shown at the Postgres door only, by their common name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    Password(Verifier),
    Certificate(String),
    Both(Verifier, String),
}

/// Whose bearer acts as a user at the HTTP door.
#[derive(Clone, Debug)]
pub struct Token {
    pub user: String,
    pub token: TokenText,
}

/// A token, which is never printed.
#[derive(Clone)]
pub struct TokenText(String);

impl TokenText {
    /// The token itself, for whoever compares it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for TokenText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenText(..)")
    }
}

/// Where a configuration is taken from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`. A file that is named must exist.
    pub path: Option<PathBuf>,
    /// Variables, of which those that begin with `SHARDD_` are looked at.
    pub environment: Vec<(String, String)>,
    /// Values of flags by the key they set (`data_dir`); see [`Setting::flag`].
    pub flags: Vec<(&'static str, String)>,
}

impl Sources {
    /// This process's environment, with these flags.
    pub fn of_process(path: Option<PathBuf>, flags: Vec<(&'static str, String)>) -> Sources {
        let text = |name: std::ffi::OsString| name.into_string().ok();
        let environment = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
        Sources { path, environment: environment.collect(), flags }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

impl Config {
    /// Reads and validates a configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(sources: &Sources) -> Result<Config, ConfigErrors> {
        let (text, mut origins, mut problems) = read(sources);
        let parsed = file::parse(&text);
        for problem in parsed.problems {
            problems.push(Problem {
                origin: origins.in_file(problem.line),
                key: problem.key,
                message: problem.message,
            });
        }
        if parsed.malformed {
            return Err(ConfigErrors { problems });
        }
        origins.lines = parsed.lines;
        let mut file = parsed.file;
        let mut warnings = Vec::new();
        lay_over(&mut file, sources, &mut origins, &mut problems, &mut warnings);
        validate::validate(file, origins, problems, warnings)
    }

    /// Whether the file lists the shards; otherwise they are the defaults.
    pub fn names_shards(&self) -> bool {
        self.origins.lines.keys().any(|key| key.starts_with("shards"))
    }

    /// Whether the file lists the keyspaces; otherwise they are the default.
    pub fn names_keyspaces(&self) -> bool {
        self.origins.lines.keys().any(|key| key.starts_with("keyspaces"))
    }
}

/// Where each value came from.
#[derive(Clone, Debug, Default)]
struct Origins {
    file: Option<PathBuf>,
    /// Lines of the file, by key.
    lines: BTreeMap<String, usize>,
    /// Keys that the environment or a flag set.
    overrides: BTreeMap<String, Origin>,
}

impl Origins {
    fn in_file(&self, line: Option<usize>) -> Origin {
        self.file.as_ref().map_or(Origin::Default, |path| Origin::File { path: path.clone(), line })
    }

    /// Where a key was set, or the closest thing around it.
    fn of(&self, key: &str) -> Origin {
        if let Some(origin) = self.overrides.get(key) {
            return origin.clone();
        }
        let mut around = key;
        loop {
            if let Some(line) = self.lines.get(around) {
                return self.in_file(Some(*line));
            }
            match around.rfind(['.', '[']) {
                // A key of a section that is there, not set itself, has its default.
                Some(at) if key.contains('[') => around = &around[..at],
                _ => return Origin::Default,
            }
        }
    }
}

/// The file's text, empty when there is none.
fn read(sources: &Sources) -> (String, Origins, Vec<Problem>) {
    let named = sources.path.clone().or_else(|| sources.variable("SHARDD_CONFIG").map(PathBuf::from));
    let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_PATH));
    let (message, problem_path) = match read_bounded(&path, file::FILE_MAX_BYTES) {
        Ok(text) => return (text, Origins { file: Some(path), ..Origins::default() }, Vec::new()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => {
            return (String::new(), Origins::default(), Vec::new());
        }
        Err(error) => {
            (format!("cannot read the configuration file ({error}): check the path given with --config"), path)
        }
    };
    let origin = Origin::File { path: problem_path, line: None };
    (String::new(), Origins::default(), vec![Problem { origin, key: String::new(), message }])
}

/// A whole file of UTF-8, if it is not too long.
fn read_bounded(path: &Path, limit: u64) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(limit + 1).read_to_string(&mut text)?;
    if text.len() as u64 > limit {
        return Err(std::io::Error::other(format!("it is longer than {limit} bytes")));
    }
    Ok(text)
}

/// Lays the environment and then the flags over the file.
fn lay_over(
    file: &mut file::File,
    sources: &Sources,
    origins: &mut Origins,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) {
    let mut given: Vec<(String, Origin, &str)> = Vec::new();
    for key in scalar_keys() {
        let name = environment_name(&key);
        if let Some(value) = sources.variable(&name) {
            given.push((key, Origin::Environment(name), value));
        }
    }
    for (key, value) in &sources.flags {
        let flag = SETTINGS.iter().find(|setting| setting.key == *key).and_then(|setting| setting.flag);
        given.push(((*key).to_owned(), Origin::Flag(flag.unwrap_or(key).to_owned()), value));
    }
    for (key, origin, value) in given {
        if let Err(message) = settings::set(file, &key, value) {
            problems.push(Problem { origin: origin.clone(), key: key.clone(), message });
        }
        origins.overrides.insert(key, origin);
    }
    let known = |name: &str| OTHER_VARIABLES.contains(&name) || scalar_keys().any(|key| environment_name(&key) == name);
    let unknown = sources.environment.iter().filter(|(name, _)| name.starts_with("SHARDD_") && !known(name));
    warnings
        .extend(unknown.map(|(name, _)| format!("the variable {name} of the environment sets nothing that is known")));
}

#[cfg(test)]
mod tests;
