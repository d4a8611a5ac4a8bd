//! Users whom the configuration does not name: what asks a shard for their passwords.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::file::File;
use super::validate::Check;
use super::{AuthQuery, DEFAULT_AUTH_QUERY};
use crate::topology::{SHARD_NAME_RULE, ShardSpec, ShardUrl, is_shard_name};

impl Check {
    pub(super) fn auth_query(&mut self, file: &File, shards: &[ShardSpec], tls: bool) -> Option<AuthQuery> {
        let section = &file.auth_query;
        let text = |given: &Option<String>| given.clone().filter(|text| !text.is_empty());
        let query = section.query.clone().unwrap_or_else(|| DEFAULT_AUTH_QUERY.to_owned());
        let Some(user) = text(&section.user) else {
            let meant =
                text(&section.password_file).is_some() || !section.shards.is_empty() || query != DEFAULT_AUTH_QUERY;
            if meant {
                self.note("auth_query.user", "nobody is asked for passwords without it: set the user that asks");
            }
            return None;
        };
        self.name("auth_query.user", &user);
        if !shards.iter().any(|shard| matches!(shard.url, ShardUrl::Postgres(_))) {
            self.note("auth_query.user", "passwords are asked for at Postgres shards, and the shards are SQLite files");
        }
        if !query.contains("$1") {
            self.note(
                "auth_query.query",
                "this should ask for the user $1, and give its name and its password's verifier",
            );
        }
        let password_file = text(&section.password_file).map(PathBuf::from);
        if let Some(Err(error)) = password_file.as_ref().map(std::fs::metadata) {
            let message = format!("cannot read the file ({error}): give the user that runs shardd the right to");
            self.note("auth_query.password_file", message);
        }
        let mut names = BTreeSet::new();
        for (index, name) in section.shards.iter().enumerate() {
            let key = format!("auth_query.shards[{index}]");
            if !is_shard_name(name) {
                self.note(key, SHARD_NAME_RULE);
            } else if !names.insert(name) {
                self.note(key, "this shard is named twice");
            }
        }
        let require_tls = section.require_tls.unwrap_or(false);
        if require_tls && !tls {
            let message =
                "nothing can be encrypted without listen.tls.certificate_file and listen.tls.key_file: set both";
            self.note("auth_query.require_tls", message);
        }
        Some(AuthQuery { user, password_file, query, shards: section.shards.clone(), require_tls })
    }
}
