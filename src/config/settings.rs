//! The settings that are one value each: their names in the file, in the environment and among the flags.
//!
//! `limits.max_clients` is `SHARDD_LIMITS_MAX_CLIENTS`. Lists (keyspaces, shards, users) are in the file only.

use super::file::File;
use super::limits::{LIMIT_SETTINGS, POOL_SETTINGS};

/// A setting that is one value.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The key's path in the file.
    pub key: &'static str,
    /// As TOML, with the default data directory.
    pub default: &'static str,
    pub flag: Option<&'static str>,
    pub meaning: &'static str,
}

const QUOTED_AUTH_QUERY: &str = "\"SELECT rolname, CASE WHEN rolvaliduntil < pg_catalog.now() THEN NULL ELSE rolpassword END \
                                 FROM pg_catalog.pg_authid WHERE rolname = $1 AND rolcanlogin\"";

/// The settings other than numbers, in the order of the reference.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "data_dir",
        default: "\"data\"",
        flag: Some("--data-dir"),
        meaning: "Where the catalog and the default shards are. It is created when it does not exist, and has one owner: a second \
                  shardd on it does not start.",
    },
    Setting {
        key: "database",
        default: "\"tickets\"",
        flag: None,
        meaning: "The one database that clients see; a connection to another is refused with 3D000.",
    },
    Setting {
        key: "allow_insecure_listener",
        default: "false",
        flag: None,
        meaning: "Lets a door listen beyond loopback although it lets everybody in, or the Postgres door without TLS. Only where \
                  the network itself keeps strangers out.",
    },
    Setting {
        key: "listen.postgres",
        default: "\"127.0.0.1:6432\"",
        flag: Some("--listen-postgres"),
        meaning: "The Postgres door, as IP:PORT.",
    },
    Setting {
        key: "listen.postgres_session",
        default: "\"127.0.0.1:6433\"",
        flag: Some("--listen-postgres-session"),
        meaning: "The Postgres door for clients that need a session of their own on Postgres shards (LISTEN, temporary tables, migrations), \
                  as IP:PORT: each keeps the connections that it uses until it ends. Empty: it is not opened.",
    },
    Setting {
        key: "listen.http",
        default: "\"127.0.0.1:8432\"",
        flag: Some("--listen-http"),
        meaning: "The HTTP door, as IP:PORT.",
    },
    Setting {
        key: "listen.admin",
        default: "\"127.0.0.1:8433\"",
        flag: Some("--listen-admin"),
        meaning: "The admin door (shardctl, /metrics, the console), as IP:PORT.",
    },
    Setting {
        key: "listen.allowed_hosts",
        default: "[]",
        flag: None,
        meaning: "Names by which the HTTP and the admin door may be called beside loopback's and their own address, while they \
                  let everybody in: a page in somebody's browser cannot call them by another. In the environment: with commas.",
    },
    Setting {
        key: "listen.postgres_socket_dir",
        default: "\"\"",
        flag: None,
        meaning: "A directory in which the Postgres door has Unix sockets, too: `.s.PGSQL.PORT`, with the ports of \
                  listen.postgres and listen.postgres_session. Everybody who may enter the directory may use them.",
    },
    Setting {
        key: "listen.tls.certificate_file",
        default: "\"\"",
        flag: None,
        meaning: "The Postgres door's certificate, in PEM, followed by those that lead to its authority. Without it nothing is \
                  encrypted.",
    },
    Setting {
        key: "listen.tls.key_file",
        default: "\"\"",
        flag: None,
        meaning: "The certificate's private key, in PEM, not encrypted.",
    },
    Setting {
        key: "listen.tls.client_ca_file",
        default: "\"\"",
        flag: None,
        meaning: "The authorities, in PEM, whose certificates clients may show. A client that shows another is refused.",
    },
    Setting {
        key: "listen.tls.required",
        default: "false",
        flag: None,
        meaning: "The Postgres door refuses connections over TCP that are not encrypted, with 28000.",
    },
    Setting {
        key: "http.require_preconditions",
        default: "false",
        flag: None,
        meaning: "Writes to key-value entries without If-Match or If-None-Match are answered 428.",
    },
    Setting {
        key: "admin.token_file",
        default: "\"\"",
        flag: None,
        meaning: "A file that holds, on its one line, the token without which the admin door lets nobody in. Without it the door \
                  listens on loopback only.",
    },
    Setting {
        key: "auth_query.user",
        default: "\"\"",
        flag: None,
        meaning: "The user that asks Postgres shards for the passwords of users whom the list below does not name. Without it \
                  nobody is asked. It logs in where the shard's URL leads, in other ways as the URL says.",
    },
    Setting {
        key: "auth_query.password_file",
        default: "\"\"",
        flag: None,
        meaning: "A file that holds this user's password on its one line. It is read whenever a connection is made.",
    },
    Setting {
        key: "auth_query.query",
        default: QUOTED_AUTH_QUERY,
        flag: None,
        meaning: "What is asked, of the name `$1`: at most one row, of the name and what is stored of its password, a SCRAM \
                  verifier or an md5 hash. Names in it need their schemas, since the search path is empty.",
    },
    Setting {
        key: "auth_query.shards",
        default: "[]",
        flag: None,
        meaning: "The shards that are asked, the first that answers; without the list all, in their order. In the environment: \
                  with commas.",
    },
    Setting {
        key: "auth_query.require_tls",
        default: "false",
        flag: None,
        meaning: "As a user's `require_tls`, for users who are found so.",
    },
    Setting {
        key: "catalog.url",
        default: "\"sqlite:data/catalog.db\"",
        flag: None,
        meaning: "Where the topology is kept: sqlite:PATH. Unless it is set it follows data_dir.",
    },
];

/// `limits.max_clients` as a variable of the environment.
pub fn environment_name(key: &str) -> String {
    format!("SHARDD_{}", key.replace('.', "_").to_uppercase())
}

/// The keys of all settings that are one value.
pub fn scalar_keys() -> impl Iterator<Item = String> {
    let limits = LIMIT_SETTINGS.iter().map(|limit| format!("limits.{}", limit.name));
    let pool = POOL_SETTINGS.iter().map(|setting| format!("pool.{}", setting.name));
    SETTINGS.iter().map(|setting| setting.key.to_owned()).chain(limits).chain(pool)
}

/// Sets a value that came as text, from the environment or a flag.
///
/// # Errors
/// The text is not of the setting's type; the message says what it should be.
pub(super) fn set(file: &mut File, key: &str, text: &str) -> Result<(), String> {
    let string = Some(text.to_owned());
    match key {
        "data_dir" => file.data_dir = string,
        "database" => file.database = string,
        "allow_insecure_listener" => file.allow_insecure_listener = Some(boolean(text)?),
        "http.require_preconditions" => file.http.require_preconditions = Some(boolean(text)?),
        "admin.token_file" => file.admin.token_file = string,
        "listen.allowed_hosts" => file.listen.allowed_hosts = names(text),
        "auth_query.user" => file.auth_query.user = string,
        "auth_query.password_file" => file.auth_query.password_file = string,
        "auth_query.query" => file.auth_query.query = string,
        "auth_query.shards" => file.auth_query.shards = names(text),
        "auth_query.require_tls" => file.auth_query.require_tls = Some(boolean(text)?),
        "listen.postgres_socket_dir" => file.listen.postgres_socket_dir = string,
        "listen.tls.certificate_file" => file.listen.tls.certificate_file = string,
        "listen.tls.key_file" => file.listen.tls.key_file = string,
        "listen.tls.client_ca_file" => file.listen.tls.client_ca_file = string,
        "listen.tls.required" => file.listen.tls.required = Some(boolean(text)?),
        "listen.postgres" => file.listen.postgres = string,
        "listen.postgres_session" => file.listen.postgres_session = string,
        "listen.http" => file.listen.http = string,
        "listen.admin" => file.listen.admin = string,
        "catalog.url" => file.catalog.url = string,
        _ => {
            let value = text.parse().map_err(|_| "this should be a whole number, not negative".to_owned())?;
            match key.split_once('.') {
                Some(("pool", name)) => file.pool.set(name, value),
                Some((_, name)) => file.limits.set(name, value),
                None => {}
            }
        }
    }
    Ok(())
}

fn names(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "this should be true or false".to_owned())
}
