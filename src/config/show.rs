//! A configuration for people to read: what holds, where it came from, and never a secret.

use std::fmt::Write;
use std::path::Path;

use super::{Config, ConfigErrors, Credential, DEFAULT_AUTH_QUERY, LIMIT_SETTINGS, Origin, POOL_SETTINGS, SETTINGS};
use crate::types::KeyType;

/// One value that holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Shown {
    /// The key's path: `shards[0].url`.
    pub key: String,
    /// As TOML, redacted.
    pub value: String,
    /// `default`, `FILE:LINE`, a variable or a flag.
    pub origin: String,
}

impl Config {
    /// Every value that holds, in the order of the reference.
    pub fn shown(&self) -> Vec<Shown> {
        let mut shown = Vec::new();
        let mut add = |key: String, value: String| {
            let origin = match self.origins.of(&key) {
                // What follows another setting says so by its value; what follows nothing is the default.
                Origin::Default => "default".to_owned(),
                origin => origin.to_string(),
            };
            shown.push(Shown { key, value, origin });
        };
        for setting in SETTINGS {
            add(setting.key.to_owned(), self.scalar(setting.key));
        }
        for limit in LIMIT_SETTINGS {
            let value = self.limits.get(limit.name).unwrap_or(limit.default);
            add(format!("limits.{}", limit.name), value.to_string());
        }
        for setting in POOL_SETTINGS {
            let value = self.pool.get(setting.name).unwrap_or(setting.default);
            add(format!("pool.{}", setting.name), value.to_string());
        }
        for (index, keyspace) in self.keyspaces.iter().enumerate() {
            let key = |field: &str| format!("keyspaces[{index}].{field}");
            add(key("name"), quoted(&keyspace.name));
            add(key("key_column"), quoted(&keyspace.key_column));
            add(key("key_type"), quoted(key_type_name(keyspace.key_type)));
            for (table, column) in &keyspace.key_columns {
                add(key(&format!("key_columns.{table}")), quoted(column));
            }
            if !keyspace.shards.is_empty() {
                add(key("shards"), list(&keyspace.shards));
            }
        }
        for (index, shard) in self.shards.iter().enumerate() {
            let key = |field: &str| format!("shards[{index}].{field}");
            add(key("name"), quoted(&shard.name));
            add(key("url"), quoted(&shard.url.to_string()));
            add(key("weight"), format!("{:?}", shard.weight));
            if let Some(replicas) = self.replicas.get(&shard.name) {
                add(key("replicas"), list(&replicas.iter().map(ToString::to_string).collect::<Vec<_>>()));
            }
        }
        for (index, user) in self.users.iter().enumerate() {
            add(format!("users[{index}].name"), quoted(&user.name));
            let key = |field: &str| format!("users[{index}].{field}");
            let (authentication, verifier, certificate_name) = match &user.credential {
                Credential::Password(_) => ("password", true, None),
                Credential::Certificate(name) => ("certificate", false, Some(name)),
                Credential::Both(_, name) => ("both", true, Some(name)),
            };
            if verifier {
                add(key("verifier"), quoted("SCRAM-SHA-256$***"));
            }
            add(key("authentication"), quoted(authentication));
            if let Some(name) = certificate_name {
                add(key("certificate_name"), quoted(name));
            }
            add(key("require_tls"), user.require_tls.to_string());
            if user.read_only {
                add(key("read_only"), user.read_only.to_string());
            }
            if let Some(limit) = user.max_clients {
                add(key("max_clients"), limit.to_string());
            }
        }
        for (index, token) in self.tokens.iter().enumerate() {
            add(format!("tokens[{index}].user"), quoted(&token.user));
            add(format!("tokens[{index}].token_file"), quoted("***"));
        }
        shown
    }

    /// `config show`: a line for each value, with where it came from.
    pub fn show_report(&self) -> String {
        let shown = self.shown();
        let width = shown.iter().map(|line| line.key.len() + line.value.len() + 3).max().unwrap_or(0).min(60);
        let mut report = String::new();
        for Shown { key, value, origin } in shown {
            let setting = format!("{key} = {value}");
            // Writing to a String cannot fail.
            let _ = writeln!(report, "{setting:width$}  # {origin}");
        }
        report
    }

    fn scalar(&self, key: &str) -> String {
        match key {
            "data_dir" => quoted(&self.data_dir.display().to_string()),
            "database" => quoted(&self.database),
            "allow_insecure_listener" => self.allow_insecure_listener.to_string(),
            "listen.postgres" => quoted(&self.listen.postgres.to_string()),
            "listen.postgres_session" => {
                quoted(&self.listen.postgres_session.map(|address| address.to_string()).unwrap_or_default())
            }
            "listen.http" => quoted(&self.listen.http.to_string()),
            "listen.admin" => quoted(&self.listen.admin.to_string()),
            "listen.postgres_socket_dir" => path(self.postgres_socket_dir.as_deref()),
            "listen.tls.certificate_file" => path(self.tls.as_ref().map(|files| files.certificate.as_path())),
            "listen.tls.key_file" => path(self.tls.as_ref().map(|files| files.key.as_path())),
            "listen.tls.client_ca_file" => path(self.tls.as_ref().and_then(|files| files.client_ca.as_deref())),
            "listen.tls.required" => self.require_tls.to_string(),
            "listen.allowed_hosts" => list(&self.allowed_hosts),
            "http.require_preconditions" => self.require_preconditions.to_string(),
            "admin.token_file" => quoted(if self.admin_token.is_some() { "***" } else { "" }),
            "auth_query.user" => quoted(self.auth_query.as_ref().map_or("", |asking| &asking.user)),
            "auth_query.password_file" => {
                path(self.auth_query.as_ref().and_then(|asking| asking.password_file.as_deref()))
            }
            "auth_query.query" => quoted(self.auth_query.as_ref().map_or(DEFAULT_AUTH_QUERY, |asking| &asking.query)),
            "auth_query.shards" => list(self.auth_query.as_ref().map_or(&[], |asking| &asking.shards)),
            "auth_query.require_tls" => self.auth_query.as_ref().is_some_and(|asking| asking.require_tls).to_string(),
            "catalog.url" => quoted(&self.catalog_url.to_string()),
            _ => String::new(),
        }
    }
}

/// `config check`: every problem, or what was found to be right.
pub fn check_report(result: &Result<Config, ConfigErrors>) -> String {
    let config = match result {
        Ok(config) => config,
        Err(errors) => return format!("{errors}\n"),
    };
    let mut report = String::new();
    for warning in &config.warnings {
        let _ = writeln!(report, "warning: {warning}");
    }
    let source = match &config.file {
        Some(path) => path.display().to_string(),
        None => "no configuration file: the defaults".to_owned(),
    };
    let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let _ = writeln!(
        report,
        "{source}: no problems ({}, {}, {})",
        plural(config.shards.len(), "shard"),
        plural(config.keyspaces.len(), "keyspace"),
        plural(config.users.len(), "user"),
    );
    report
}

pub(super) fn key_type_name(key_type: KeyType) -> &'static str {
    match key_type {
        KeyType::Bigint => "bigint",
        KeyType::Text => "text",
        KeyType::Uuid => "uuid",
    }
}

fn list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// Empty where there is none.
fn path(path: Option<&Path>) -> String {
    quoted(&path.map(|path| path.display().to_string()).unwrap_or_default())
}

/// As a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
