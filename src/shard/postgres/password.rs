//! Finds the password for a login, reading its file anew each time so that a changed one is used.
//!
//! <https://www.postgresql.org/docs/current/libpq-pgpass.html>

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::failure::misconfigured;
use super::target::{Host, PasswordSource, Secret, Target};
use crate::error::{Error, Result, SqlState};

const FILE_LIMIT_BYTES: u64 = 1 << 20;

/// # Errors
/// There is none, or its file cannot be read.
pub(super) async fn find(target: &Target) -> Result<Secret> {
    let found = match &target.password {
        PasswordSource::Nowhere => None,
        PasswordSource::Url(password) => Some(password.clone()),
        PasswordSource::File(path) => {
            let text = read(target, path, "password_file").await?;
            // Secrets that are mounted as files often end with a newline that is not theirs.
            let line = text.split('\n').next().unwrap_or_default();
            Some(Secret::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
        }
        PasswordSource::PassFile(path) => {
            let text = read(target, path, "passfile").await?;
            text.lines().find_map(|line| matching(line, target)).map(Secret::new)
        }
    };
    found.filter(|password| !password.reveal().is_empty()).ok_or_else(|| {
        Error::new(
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            format!("{} asks for a password, and shardd has none for user \"{}\"", target.address(), target.user),
        )
        .fault(crate::error::Fault::Proxy)
        .hint("Name a file that holds it with password_file in the shard's URL.")
    })
}

async fn read(target: &Target, path: &Path, option: &str) -> Result<String> {
    let failed = |reason: String| {
        misconfigured(target, format_args!("{} ({option} in the shard's URL) {reason}", path.display()))
    };
    let unreadable = |error: std::io::Error| failed(format!("cannot be read: {error}"));
    let about = tokio::fs::metadata(path).await.map_err(unreadable)?;
    // As libpq, which holds whoever writes such a file to it. Secrets of containers are mounted for everyone to read.
    if option == "passfile" && about.permissions().mode() & 0o077 != 0 {
        return Err(failed("can be read by others: chmod 0600".to_owned()));
    }
    if about.len() > FILE_LIMIT_BYTES {
        return Err(failed("is too long to hold passwords".to_owned()));
    }
    let bytes = tokio::fs::read(path).await.map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|_| failed("is not UTF-8".to_owned()))
}

/// The password of a line `host:port:database:user:password`, if the line is about this login.
fn matching(line: &str, target: &Target) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = fields(line).into_iter();
    let host = match &target.host {
        Host::Tcp(host) => host.clone(),
        Host::Unix(directory) => directory.display().to_string(),
    };
    // libpq calls its default socket directory localhost; shardd has no default, and takes every directory for it.
    let also = matches!(target.host, Host::Unix(_)).then_some("localhost");
    let is_host = |field: &str| field == host || Some(field) == also;
    let port = target.port.to_string();
    let pattern = |(raw, text): (bool, String), matches: &dyn Fn(&str) -> bool| (raw && text == "*") || matches(&text);
    let all = pattern(fields.next()?, &is_host)
        && pattern(fields.next()?, &|field| field == port)
        && pattern(fields.next()?, &|field| field == target.database)
        && pattern(fields.next()?, &|field| field == target.user);
    let (_, password) = fields.next()?;
    all.then_some(password)
}

/// The fields between colons, where a backslash takes the next character as it is; and whether each has none.
fn fields(line: &str) -> Vec<(bool, String)> {
    let mut fields = vec![(true, String::new())];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let Some((raw, field)) = fields.last_mut() else { break };
        match character {
            '\\' => {
                *raw = false;
                field.extend(characters.next());
            }
            ':' => fields.push((true, String::new())),
            _ => field.push(character),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        Target::parse(url).unwrap()
    }

    #[test]
    fn a_passfile_s_line_matches_as_in_libpq() {
        let db = target("postgres://app@db-1:5433/tickets");
        for (line, password) in [
            ("db-1:5433:tickets:app:secret", Some("secret")),
            ("*:*:*:*:secret", Some("secret")),
            ("*:*:*:app:a\\:b\\\\c", Some("a:b\\c")),
            ("db-2:5433:tickets:app:secret", None),
            ("db-1:5432:tickets:app:secret", None),
            ("db-1:5433:\\*:app:secret", None),
            ("localhost:*:*:*:secret", None),
            ("#*:*:*:*:secret", None),
            ("*:*:*:*", None),
            ("", None),
        ] {
            assert_eq!(matching(line, &db).as_deref(), password, "{line}");
        }
        let socket = target("postgres:///tickets?host=/run/pg&user=app");
        assert_eq!(matching("localhost:5432:*:app:x", &socket).as_deref(), Some("x"));
        assert_eq!(matching("/run/pg:5432:*:app:x", &socket).as_deref(), Some("x"));
        assert_eq!(matching("[\\:\\:1]:5432:*:app:x", &socket), None);
        assert_eq!(matching("\\:\\:1:5432:*:app:x", &target("postgres://app@[::1]")).as_deref(), Some("x"));
    }

    #[tokio::test]
    async fn a_password_file_is_read_up_to_its_first_newline() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        let target = target(&format!("postgres://app@db/?password_file={}", path.display()));
        for (text, password) in [("canary", "canary"), ("canary\n", "canary"), ("can ary \r\nmore", "can ary ")] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(find(&target).await.unwrap().reveal(), password);
        }
        for nothing in ["", "\n"] {
            std::fs::write(&path, nothing).unwrap();
            let error = find(&target).await.unwrap_err();
            assert_eq!(error.sqlstate(), SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
        }
    }

    #[tokio::test]
    async fn a_passfile_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pgpass");
        std::fs::write(&path, "*:*:*:*:canary\n").unwrap();
        let target = target(&format!("postgres://app@db/?passfile={}", path.display()));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = find(&target).await.unwrap_err();
        assert!(error.message().contains("chmod 0600"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(find(&target).await.unwrap().reveal(), "canary");
    }
}
