//! Where a shard's rows are: `sqlite:PATH` or `postgres://...`, read once and never printed with its secrets.

use std::fmt;
use std::path::{Component, Path, PathBuf};

/// A shard's URL, understood.
#[derive(Clone, PartialEq, Eq)]
pub enum ShardUrl {
    /// The path of a SQLite file, without `.` components and doubled slashes.
    Sqlite(PathBuf),
    /// The whole URL.
    Postgres(String),
}

/// Why a text is no shard's URL. It holds no part of the text, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShardUrlError {
    #[error("it is neither sqlite:PATH nor postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    Scheme,
    #[error("sqlite: needs the path of a file, as in sqlite:data/shard-1.db")]
    NoPath,
    #[error("sqlite: takes a plain path, without options after '?'")]
    Options,
    #[error("a SQLite shard in memory would lose its rows: give it the path of a file")]
    InMemory,
    #[error("it holds a character that does not print")]
    Unprintable,
    #[error("postgres:// needs a host, as in postgres://app@db-1:5432/tickets")]
    NoHost,
}

impl ShardUrl {
    /// # Errors
    /// The text is no URL of a shard.
    pub fn parse(url: &str) -> Result<ShardUrl, ShardUrlError> {
        if url.chars().any(char::is_control) {
            return Err(ShardUrlError::Unprintable);
        }
        if let Some(path) = url.strip_prefix("sqlite:") {
            // sqlite://relative and sqlite:///absolute, as other tools write it.
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" | "." | ".." | "/" => Err(ShardUrlError::NoPath),
                _ if path.ends_with('/') => Err(ShardUrlError::NoPath),
                _ if path.contains('?') => Err(ShardUrlError::Options),
                ":memory:" => Err(ShardUrlError::InMemory),
                _ => Ok(ShardUrl::Sqlite(clean(Path::new(path)))),
            };
        }
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        let rest = rest.ok_or(ShardUrlError::Scheme)?;
        let (base, options) = rest.split_once('?').unwrap_or((rest, ""));
        let host = base.rsplit_once('@').map_or(base, |(_, host)| host).split('/').next().unwrap_or_default();
        // The directory of a Unix socket stands among the options.
        let host_option = options.split('&').any(|option| option.starts_with("host=") && option != "host=");
        if host.is_empty() && !host_option {
            return Err(ShardUrlError::NoHost);
        }
        Ok(ShardUrl::Postgres(url.to_owned()))
    }

    /// The URL as it is stored: with a password, if it has one.
    pub fn to_text(&self) -> String {
        match self {
            ShardUrl::Sqlite(path) => format!("sqlite:{}", path.display()),
            ShardUrl::Postgres(url) => url.clone(),
        }
    }
}

/// Without secrets.
impl fmt::Display for ShardUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted_url(&self.to_text()))
    }
}

impl fmt::Debug for ShardUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn clean(path: &Path) -> PathBuf {
    path.components().filter(|component| !matches!(component, Component::CurDir)).collect()
}

/// A URL without its password, for logs, answers and errors. What cannot be read as a URL is hidden whole.
pub fn redacted_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return if url.starts_with("sqlite:") { url.to_owned() } else { "***".to_owned() };
    };
    let (base, query) = rest.split_once('?').map_or((rest, ""), |(base, query)| (base, query));
    let query = if query.is_empty() { "" } else { "?***" };
    // A password may hold an '@' or a '/' that was not escaped: everything before the last '@' is the user's.
    match base.rsplit_once('@') {
        None => format!("{scheme}://{base}{query}"),
        Some((login, host)) => match login.split_once(':') {
            None => format!("{scheme}://{login}@{host}{query}"),
            Some((user, _)) => format!("{scheme}://{user}:***@{host}{query}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        for (url, shown) in [
            ("sqlite:data/shard-1.db", "sqlite:data/shard-1.db"),
            ("postgres://db/tickets", "postgres://db/tickets"),
            ("postgres://app@db:5432/tickets", "postgres://app@db:5432/tickets"),
            ("postgres://app:canary@db:5432/tickets", "postgres://app:***@db:5432/tickets"),
            ("postgres://app:can@ary@db/tickets", "postgres://app:***@db/tickets"),
            ("postgres://app:can/ary@db/tickets?password=canary", "postgres://app:***@db/tickets?***"),
            ("host=db password=canary", "***"),
        ] {
            assert_eq!(redacted_url(url), shown);
        }
    }

    #[test]
    fn one_file_has_one_spelling() {
        for url in ["sqlite:data/shard-1.db", "sqlite:./data//shard-1.db", "sqlite://data/./shard-1.db"] {
            assert_eq!(ShardUrl::parse(url).unwrap().to_text(), "sqlite:data/shard-1.db");
        }
        assert_eq!(ShardUrl::parse("sqlite:///var/s.db").unwrap(), ShardUrl::Sqlite("/var/s.db".into()));
    }

    #[test]
    fn a_unix_socket_s_directory_may_stand_among_the_options() {
        let url = "postgres:///tickets?user=app&host=/run/postgresql";
        assert_eq!(ShardUrl::parse(url).unwrap().to_text(), url);
    }

    #[test]
    fn what_is_no_shard_is_refused() {
        for (url, error) in [
            ("", ShardUrlError::Scheme),
            ("mysql://db/x", ShardUrlError::Scheme),
            ("data/shard.db", ShardUrlError::Scheme),
            ("sqlite:", ShardUrlError::NoPath),
            ("sqlite:data/", ShardUrlError::NoPath),
            ("sqlite::memory:", ShardUrlError::InMemory),
            ("sqlite:a.db?mode=ro", ShardUrlError::Options),
            ("sqlite:a\n.db", ShardUrlError::Unprintable),
            ("postgres:///tickets", ShardUrlError::NoHost),
            ("postgres:///tickets?sslmode=disable&host=", ShardUrlError::NoHost),
            ("postgres://app:x@/tickets", ShardUrlError::NoHost),
        ] {
            assert_eq!(ShardUrl::parse(url), Err(error), "{url:?}");
        }
    }
}
