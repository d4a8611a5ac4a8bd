//! Takes a `postgres://` URL apart into named pieces, percent-decoded.
//!
//! Stricter than libpq where leniency would be a guess: a raw '@' or '/' in a password could as well begin the host.

use super::TargetError;

const NAMES: [&str; 16] = [
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "channel_binding",
    "require_auth",
    "password_file",
    "passfile",
    "connect_timeout",
    "application_name",
    "options",
];
pub(super) const KNOWN_OPTIONS: &str = "host, port, user, password, dbname, sslmode, sslrootcert, sslcert, sslkey, \
     channel_binding, require_auth, password_file, passfile, connect_timeout, application_name and options";

/// A text longer than this is no option's name, and is not repeated.
const OPTION_NAME_LIMIT: usize = 32;

/// The values of a URL by libpq's names for them, whether they stood in the URL's front or among its options. None is
/// empty.
pub(super) struct Pieces(Vec<(&'static str, String)>);

impl Pieces {
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    fn put(&mut self, name: &'static str, value: String) -> Result<(), TargetError> {
        if value.is_empty() {
            return Ok(());
        }
        if self.0.iter().any(|(known, _)| *known == name) {
            return Err(TargetError::Twice(name));
        }
        self.0.push((name, value));
        Ok(())
    }
}

pub(super) fn pieces(url: &str) -> Result<Pieces, TargetError> {
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
    let rest = rest.ok_or(TargetError::Scheme)?;
    let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut pieces = Pieces(Vec::new());

    let (login, place) = match base.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, base),
    };
    if let Some(login) = login {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        if user.contains(['/', '@']) || password.contains(['/', '@']) {
            return Err(TargetError::Login);
        }
        pieces.put("user", decode(user)?)?;
        pieces.put("password", decode(password)?)?;
    }
    let (address, database) = place.split_once('/').unwrap_or((place, ""));
    if database.contains('/') {
        return Err(TargetError::Database);
    }
    let (host, port) = host_and_port(address)?;
    pieces.put("host", decode(host)?)?;
    pieces.put("port", decode(port)?)?;
    pieces.put("dbname", decode(database)?)?;
    options(query, &mut pieces)?;
    Ok(pieces)
}

fn host_and_port(address: &str) -> Result<(&str, &str), TargetError> {
    let Some(bracketed) = address.strip_prefix('[') else {
        return match address.split_once(':') {
            None => Ok((address, "")),
            // Several colons: an IPv6 address without its brackets, or several hosts.
            Some((_, rest)) if rest.contains(',') => Err(TargetError::SeveralHosts),
            Some((_, rest)) if rest.contains(':') => Err(TargetError::Host),
            Some((_, "")) => Err(TargetError::Port),
            Some(pair) => Ok(pair),
        };
    };
    let (host, rest) = bracketed.split_once(']').ok_or(TargetError::Host)?;
    // A zone may follow the address.
    let bare = host.split('%').next().unwrap_or_default();
    if bare.parse::<core::net::Ipv6Addr>().is_err() {
        return Err(TargetError::Host);
    }
    match rest.strip_prefix(':') {
        Some("") => Err(TargetError::Port),
        Some(port) => Ok((host, port)),
        None if rest.is_empty() => Ok((host, "")),
        None => Err(TargetError::Host),
    }
}

fn options(query: &str, pieces: &mut Pieces) -> Result<(), TargetError> {
    // It would most likely be the end of a password with a raw '?', which must not be repeated as an option's name.
    if query.contains('@') {
        return Err(TargetError::OptionForm);
    }
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').ok_or(TargetError::OptionForm)?;
        let Some(known) = NAMES.into_iter().find(|known| *known == name) else {
            let plain = name.len() <= OPTION_NAME_LIMIT && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let shown = if plain { name } else { "***" };
            return Err(TargetError::UnknownOption(shown.to_owned()));
        };
        // libpq's options hold assignments, as in `-c name=value`, and drivers leave their '=' as it is.
        if value.contains('=') && known != "options" {
            return Err(TargetError::OptionForm);
        }
        pieces.put(known, decode(value)?)?;
    }
    Ok(())
}

fn decode(text: &str) -> Result<String, TargetError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |at: usize| rest.get(at).and_then(|digit| (*digit as char).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else { return Err(TargetError::Encoding) };
        bytes.push((high * 16 + low) as u8);
        rest = &rest[2..];
    }
    // A zero byte would end a field of the start-up message early, and shift the next.
    if bytes.contains(&0) {
        return Err(TargetError::Encoding);
    }
    String::from_utf8(bytes).map_err(|_| TargetError::Encoding)
}
