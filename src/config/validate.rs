//! The second stage: what the sources said, made into values that can be.
//!
//! A value that cannot be is noted, and its default stands in for it, so that the rest can be judged too.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::file::{File, KeyspaceFile, ShardFile};
use super::{Config, ConfigErrors, LimitSetting, Limits, Listen, Origin, Origins, PoolSettings, Problem};
use crate::topology::server::{PasswordSource, Target};
use crate::topology::{
    KV_KEYSPACE, KeyspaceSpec, SHARD_NAME_RULE, SHARD_NUMBER_MAX, ShardSpec, ShardUrl, WEIGHT_MAX, is_shard_name,
};
use crate::types::KeyType;

/// Postgres's own limit for a name.
const NAME_MAX_BYTES: usize = 63;
const DEFAULT_SHARDS: usize = 4;

pub(super) fn validate(
    file: File,
    origins: Origins,
    problems: Vec<Problem>,
    warnings: Vec<String>,
) -> Result<Config, ConfigErrors> {
    let mut check = Check { origins, problems };
    let data_dir = check.data_dir(file.data_dir.as_deref());
    let database = check.database(file.database.clone());
    let limits = check.limits(&file);
    let pool = check.pool(&file);
    let (shards, replicas) = match &file.shards {
        Some(shards) => check.shards(shards),
        None => (default_shards(&data_dir), BTreeMap::new()),
    };
    let catalog_url = check.catalog_url(file.catalog.url.as_deref(), &data_dir, &shards);
    let keyspaces = match &file.keyspaces {
        Some(keyspaces) => check.keyspaces(keyspaces, &shards),
        None => vec![default_keyspace()],
    };
    let users = check.users(&file.users);
    let auth_query = check.auth_query(&file, &shards, Protection::of(&file).tls);
    let tokens = check.tokens(&file.tokens);
    let admin_token = check.admin_token(file.admin.token_file.as_deref());
    let tls = check.tls(&file);
    check.users_tls(&file.users, &file);
    check.hosts(&file.listen.allowed_hosts);
    let allow_insecure_listener = file.allow_insecure_listener.unwrap_or(false);
    let listen = Listen {
        postgres: check.address("listen.postgres", file.listen.postgres.as_deref(), 6432),
        postgres_session: match file.listen.postgres_session.as_deref() {
            Some("") => None,
            given => Some(check.address("listen.postgres_session", given, 6433)),
        },
        http: check.address("listen.http", file.listen.http.as_deref(), 8432),
        admin: check.address("listen.admin", file.listen.admin.as_deref(), 8433),
    };
    check.ports(&listen);
    if !allow_insecure_listener {
        // A user or token that is given and wrong is a problem of its own.
        check.exposure(&listen, Protection::of(&file));
    }

    let Check { origins, mut problems } = check;
    if !problems.is_empty() {
        let line = |problem: &Problem| match &problem.origin {
            super::Origin::File { line, .. } => line.unwrap_or(0),
            _ => usize::MAX,
        };
        problems.sort_by_key(line);
        return Err(ConfigErrors { problems });
    }
    Ok(Config {
        file: origins.file.clone(),
        data_dir,
        database,
        listen,
        postgres_socket_dir: file.listen.postgres_socket_dir.filter(|path| !path.is_empty()).map(PathBuf::from),
        require_tls: tls.is_some() && file.listen.tls.required.unwrap_or(false),
        tls,
        allow_insecure_listener,
        allowed_hosts: file.listen.allowed_hosts,
        require_preconditions: file.http.require_preconditions.unwrap_or(false),
        admin_token,
        catalog_url,
        keyspaces,
        shards,
        replicas,
        users,
        auth_query,
        tokens,
        limits,
        pool,
        warnings,
        origins,
    })
}

/// The keyspace of a ticket service: every table that has an `event_id`.
fn default_keyspace() -> KeyspaceSpec {
    KeyspaceSpec {
        name: "tickets".to_owned(),
        key_column: "event_id".to_owned(),
        key_type: KeyType::Bigint,
        key_columns: Vec::new(),
        shards: Vec::new(),
    }
}

fn default_shards(data_dir: &Path) -> Vec<ShardSpec> {
    let shard = |number: usize| {
        let path = data_dir.join(format!("shard-{number}.db"));
        ShardSpec { name: format!("shard-{number}"), url: ShardUrl::Sqlite(path), weight: 1.0 }
    };
    (1..=DEFAULT_SHARDS).map(shard).collect()
}

pub(super) struct Check {
    origins: Origins,
    problems: Vec<Problem>,
}

impl Check {
    pub(super) fn note(&mut self, key: impl Into<String>, message: impl Into<String>) {
        let key = key.into();
        let origin = self.origins.of(&key);
        self.problems.push(Problem { origin, key, message: message.into() });
    }

    /// Notes a problem unless the value is a name: not empty, not too long, printable.
    pub(super) fn name(&mut self, key: &str, name: &str) {
        if name.is_empty() {
            self.note(key, "this should not be empty");
        } else if name.len() > NAME_MAX_BYTES {
            self.note(key, format!("this should not be longer than {NAME_MAX_BYTES} bytes"));
        } else if name.chars().any(char::is_control) {
            self.note(key, "this should hold only characters that print");
        }
    }

    fn data_dir(&mut self, given: Option<&str>) -> PathBuf {
        let path = given.unwrap_or("data");
        if path.is_empty() || path.contains('\0') {
            self.note("data_dir", "this should be the path of a directory");
            return PathBuf::from("data");
        }
        if path.contains('?') || path.chars().any(char::is_control) {
            self.note("data_dir", "a path with '?' or with characters that do not print cannot be written as a URL");
        }
        // The same spelling as in URLs.
        match ShardUrl::parse(&format!("sqlite:{}", Path::new(path).join("x").display())) {
            Ok(ShardUrl::Sqlite(file)) => {
                let directory = file.parent().filter(|directory| *directory != Path::new(""));
                directory.unwrap_or(Path::new(".")).to_owned()
            }
            _ => PathBuf::from(path),
        }
    }

    fn database(&mut self, given: Option<String>) -> String {
        let database = given.unwrap_or_else(|| "tickets".to_owned());
        self.name("database", &database);
        database
    }

    fn limits(&mut self, file: &File) -> Limits {
        let (limits, out_of_range) = file.limits.validated();
        self.out_of_range("limits", &out_of_range);
        limits
    }

    fn pool(&mut self, file: &File) -> PoolSettings {
        let (pool, out_of_range) = file.pool.validated();
        self.out_of_range("pool", &out_of_range);
        if pool.minimum > pool.size {
            self.note("pool.minimum", "this should not be more than pool.size");
        }
        pool
    }

    fn out_of_range(&mut self, section: &str, settings: &[&LimitSetting]) {
        for setting in settings {
            let message = format!("this should be from {} to {}", setting.least, setting.most);
            self.note(format!("{section}.{}", setting.name), message);
        }
    }

    fn shards(&mut self, given: &[ShardFile]) -> (Vec<ShardSpec>, BTreeMap<String, Vec<ShardUrl>>) {
        if given.is_empty() {
            self.note("shards", "there should be at least one shard; without the list there are four SQLite shards");
        }
        if given.len() > usize::from(SHARD_NUMBER_MAX) {
            self.note("shards", format!("there can be at most {SHARD_NUMBER_MAX} shards"));
        }
        let (mut names, mut urls) = (BTreeSet::new(), BTreeSet::new());
        let mut shards: Vec<ShardSpec> = Vec::new();
        let mut replicas = BTreeMap::new();
        for (index, shard) in given.iter().enumerate() {
            let key = |field: &str| format!("shards[{index}].{field}");
            let name = shard.name.clone().unwrap_or_default();
            if shard.name.is_none() {
                self.note(key("name"), "the shard needs a name");
            } else if !is_shard_name(&name) {
                self.note(key("name"), SHARD_NAME_RULE);
            } else if !names.insert(name.clone()) {
                self.note(key("name"), "another shard has this name");
            }
            let url = self.shard_url(&key("url"), shard.url.as_deref());
            if let Some(url) = &url
                && !urls.insert(identity(url))
            {
                self.note(key("url"), "another shard has this URL: each needs a database of its own");
            }
            if let (Some(url), Some(ShardSpec { url: first, .. })) = (&url, shards.first())
                && matches!(url, ShardUrl::Postgres(_)) != matches!(first, ShardUrl::Postgres(_))
            {
                self.note(key("url"), "the shards of a cluster are all SQLite files, or all Postgres servers");
            }
            let weight = shard.weight.unwrap_or(1.0);
            if !(0.0..=WEIGHT_MAX).contains(&weight) {
                self.note(key("weight"), format!("this should be from 0 to {WEIGHT_MAX}"));
            }
            let url = url.unwrap_or(ShardUrl::Sqlite(PathBuf::new()));
            let copies = self.replicas(&key("replicas"), &shard.replicas, &url, &mut urls);
            if !copies.is_empty() {
                replicas.insert(name.clone(), copies);
            }
            shards.push(ShardSpec { name, url, weight });
        }
        if !shards.is_empty() && shards.iter().all(|shard| shard.weight == 0.0) {
            self.note("shards", "at least one shard should have a weight above 0, to own the slots");
        }
        (shards, replicas)
    }

    fn replicas(&mut self, key: &str, given: &[String], of: &ShardUrl, urls: &mut BTreeSet<String>) -> Vec<ShardUrl> {
        if !given.is_empty() && !matches!(of, ShardUrl::Postgres(_)) {
            self.note(key, "only a shard on a Postgres server has replicas");
            return Vec::new();
        }
        let mut replicas = Vec::new();
        for (index, url) in given.iter().enumerate() {
            let key = format!("{key}[{index}]");
            match self.shard_url(&key, Some(url)) {
                Some(url @ ShardUrl::Postgres(_)) if urls.insert(identity(&url)) => replicas.push(url),
                Some(ShardUrl::Postgres(_)) => self.note(key, "another shard or replica has this URL"),
                Some(ShardUrl::Sqlite(_)) => self.note(key, "this should be postgres://USER@HOST:PORT/DATABASE"),
                None => {}
            }
        }
        replicas
    }

    fn shard_url(&mut self, key: &str, given: Option<&str>) -> Option<ShardUrl> {
        match given.map(ShardUrl::parse) {
            None => self.note(key, "the shard needs a URL, as in sqlite:data/shard-1.db"),
            Some(Err(error)) => self.note(key, error.to_string()),
            Some(Ok(url)) => {
                if let ShardUrl::Postgres(text) = &url {
                    self.server(key, text);
                }
                return Some(url);
            }
        }
        None
    }

    /// What can be known of a server before it is asked.
    fn server(&mut self, key: &str, url: &str) {
        let password = match Target::parse(url) {
            Err(error) => return self.note(key, error.to_string()),
            Ok(target) => target.password,
        };
        if let PasswordSource::File(path) | PasswordSource::PassFile(path) = password
            && let Err(error) = std::fs::metadata(&path)
        {
            self.note(key, format!("its password's file {} cannot be read: {error}", path.display()));
        }
    }

    fn catalog_url(&mut self, given: Option<&str>, data_dir: &Path, shards: &[ShardSpec]) -> ShardUrl {
        let default = ShardUrl::Sqlite(data_dir.join("catalog.db"));
        let url = match given.map(ShardUrl::parse) {
            None => default,
            Some(Ok(url @ ShardUrl::Sqlite(_))) => url,
            Some(Ok(ShardUrl::Postgres(_))) => {
                self.note("catalog.url", "a catalog on a Postgres server is not supported yet: write sqlite:PATH");
                default
            }
            Some(Err(_)) => {
                self.note("catalog.url", "this should be sqlite:PATH, as in sqlite:data/catalog.db");
                default
            }
        };
        if shards.iter().any(|shard| identity(&shard.url) == identity(&url)) {
            self.note("catalog.url", "a shard has this URL: the catalog needs a file of its own");
        }
        url
    }

    fn keyspaces(&mut self, given: &[KeyspaceFile], shards: &[ShardSpec]) -> Vec<KeyspaceSpec> {
        if given.is_empty() {
            self.note("keyspaces", "there should be at least one keyspace; without the list there is one, \"tickets\"");
        }
        let mut names = BTreeSet::new();
        let mut keyspaces = Vec::new();
        for (index, keyspace) in given.iter().enumerate() {
            let key = |field: &str| format!("keyspaces[{index}].{field}");
            let name = keyspace.name.clone().unwrap_or_default();
            if keyspace.name.is_none() {
                self.note(key("name"), "the keyspace needs a name");
            } else {
                self.name(&key("name"), &name);
            }
            if name == KV_KEYSPACE {
                self.note(key("name"), "\"kv\" is the HTTP door's own keyspace: give this one another name");
            } else if !name.is_empty() && !names.insert(name.clone()) {
                self.note(key("name"), "another keyspace has this name");
            }
            let key_column = keyspace.key_column.clone().unwrap_or_default();
            match keyspace.key_column {
                None => {
                    self.note(key("key_column"), "the keyspace needs a key column, as in key_column = \"event_id\"")
                }
                Some(_) => self.name(&key("key_column"), &key_column),
            }
            let key_type = self.key_type(&key("key_type"), keyspace.key_type.as_deref());
            for (table, column) in &keyspace.key_columns {
                self.name(&key(&format!("key_columns.{table}")), table);
                self.name(&key(&format!("key_columns.{table}")), column);
            }
            let key_columns = keyspace.key_columns.clone().into_iter().collect();
            let holds = self.keyspace_shards(&key("shards"), keyspace.shards.as_deref(), shards);
            keyspaces.push(KeyspaceSpec { name, key_column, key_type, key_columns, shards: holds });
        }
        keyspaces
    }

    fn key_type(&mut self, key: &str, given: Option<&str>) -> KeyType {
        match given {
            None | Some("bigint" | "integer" | "smallint") => KeyType::Bigint,
            Some("text" | "varchar") => KeyType::Text,
            Some("uuid") => KeyType::Uuid,
            Some(_) => {
                self.note(key, "this should be \"bigint\", \"text\" or \"uuid\"");
                KeyType::Bigint
            }
        }
    }

    fn keyspace_shards(&mut self, key: &str, given: Option<&[String]>, shards: &[ShardSpec]) -> Vec<String> {
        let Some(given) = given else { return Vec::new() };
        if given.is_empty() {
            self.note(key, "this should name at least one shard; without it the keyspace is on all of them");
        }
        let mut names = BTreeSet::new();
        for (index, name) in given.iter().enumerate() {
            let key = format!("{key}[{index}]");
            if !shards.iter().any(|shard| shard.name == *name) {
                self.note(key, "there is no shard of this name");
            } else if !names.insert(name) {
                self.note(key, "this shard is named twice");
            }
        }
        let held: Vec<&ShardSpec> = shards.iter().filter(|shard| given.contains(&shard.name)).collect();
        if !held.is_empty() && held.iter().all(|shard| shard.weight == 0.0) {
            self.note(key, "at least one of these shards should have a weight above 0, to own the slots");
        }
        given.to_vec()
    }

    fn address(&mut self, key: &str, given: Option<&str>, port: u16) -> SocketAddr {
        let default = SocketAddr::from(([127, 0, 0, 1], port));
        let Some(given) = given else { return default };
        let address = match given.rsplit_once(':') {
            Some(("localhost", port)) => format!("127.0.0.1:{port}").parse(),
            _ => given.parse(),
        };
        address.unwrap_or_else(|_| {
            self.note(key, format!("this should be IP:PORT, as in {default} or [::1]:{port}"));
            default
        })
    }

    fn ports(&mut self, listen: &Listen) {
        let mut doors =
            vec![("listen.postgres", listen.postgres), ("listen.http", listen.http), ("listen.admin", listen.admin)];
        doors.extend(listen.postgres_session.map(|address| ("listen.postgres_session", address)));
        for (index, (key, address)) in doors.iter().enumerate() {
            let taken = doors[..index].iter().find(|(_, other)| collide(*address, *other));
            if let Some((other, _)) = taken {
                // Whoever chose one of the two has to choose again.
                let (changed, kept) = if self.origins.of(key) == Origin::Default { (other, key) } else { (key, other) };
                self.note(*changed, format!("{kept} has this port: each door needs one of its own"));
            }
        }
    }

    fn hosts(&mut self, names: &[String]) {
        for (index, name) in names.iter().enumerate() {
            let part_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
            if name.is_empty() || !name.bytes().all(part_of_a_name) {
                self.note(format!("listen.allowed_hosts[{index}]"), "this should be a host's name, without a port");
            }
        }
    }

    /// A door that lets everybody in must not be within everybody's reach, nor one whose rows everybody can read on their way.
    fn exposure(&mut self, listen: &Listen, protection: Protection) {
        let Protection { users, tokens, tls, admin_token } = protection;
        let mut doors = vec![
            ("listen.postgres", listen.postgres, users, WITHOUT_USERS),
            ("listen.postgres", listen.postgres, tls || !users, WITHOUT_TLS),
            ("listen.http", listen.http, users || tokens, WITHOUT_USERS),
            ("listen.admin", listen.admin, admin_token, WITHOUT_TOKEN),
        ];
        if let Some(address) = listen.postgres_session {
            doors.push(("listen.postgres_session", address, users, WITHOUT_USERS));
            doors.push(("listen.postgres_session", address, tls || !users, WITHOUT_TLS));
        }
        for (key, address, protected, (danger, remedy)) in doors {
            if !protected && !address.ip().to_canonical().is_loopback() {
                let message = format!(
                    "{danger} {address}: {remedy}, listen on 127.0.0.1, or set allow_insecure_listener = true where the \
                     network itself keeps strangers out"
                );
                self.note(key, message);
            }
        }
    }
}

/// What may happen at an address, and what prevents it.
type Danger = (&'static str, &'static str);
const WITHOUT_USERS: Danger = ("without users anybody is let in who reaches", "name [[users]]");
const WITHOUT_TOKEN: Danger = ("without a token anybody is let in who reaches", "set admin.token_file");
const WITHOUT_TLS: Danger = (
    "without TLS anybody in between can read and change what is sent to",
    "set listen.tls.certificate_file and listen.tls.key_file",
);

/// What keeps strangers out.
#[derive(Clone, Copy)]
struct Protection {
    users: bool,
    tokens: bool,
    tls: bool,
    admin_token: bool,
}

impl Protection {
    fn of(file: &File) -> Protection {
        let is_set = |path: &Option<String>| path.as_ref().is_some_and(|path| !path.is_empty());
        Protection {
            users: !file.users.is_empty() || is_set(&file.auth_query.user),
            tokens: !file.tokens.is_empty(),
            tls: is_set(&file.listen.tls.certificate_file) || is_set(&file.listen.tls.key_file),
            admin_token: is_set(&file.admin.token_file),
        }
    }
}

/// The same for two spellings of one file, and two logins of one database.
fn identity(url: &ShardUrl) -> String {
    match url {
        ShardUrl::Sqlite(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string(),
        ShardUrl::Postgres(url) => match Target::parse(url) {
            Ok(target) => format!("{}/{}", target.address(), target.database()),
            Err(_) => url.clone(),
        },
    }
}

fn collide(left: SocketAddr, right: SocketAddr) -> bool {
    let any = |ip: IpAddr| ip.is_unspecified();
    left.port() == right.port() && left.port() != 0 && (left.ip() == right.ip() || any(left.ip()) || any(right.ip()))
}
