//! Who may come in: secrets compared in constant time, and the Host header.
//!
//! A page in a browser can make its own name resolve to 127.0.0.1 and then speak to whatever listens there as if it
//! were its own server. It cannot choose the Host header, so a listener without credentials serves only hosts it knows.

use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A token that is compared without telling how much of it was right, and never printed.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    pub fn new(secret: impl Into<String>) -> Secret {
        Secret(secret.into().into_bytes())
    }

    /// Whether `offered` is this secret. The time taken depends on the length of `offered` only.
    pub fn matches(&self, offered: &[u8]) -> bool {
        const KEY: &[u8] = b"shardd compares digests";
        let digest = |bytes: &[u8]| Hmac::<Sha256>::new_from_slice(KEY).ok().map(|mac| mac.chain_update(bytes));
        match (digest(&self.0), digest(offered)) {
            (Some(own), Some(other)) => own.verify_slice(&other.finalize().into_bytes()).is_ok(),
            _ => false,
        }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The names by which a listener may be called.
#[derive(Clone, Debug)]
pub enum AllowedHosts {
    /// Credentials are asked for, so any name will do.
    Any,
    /// Loopback names and addresses, the listener's own address, and these names. A listener on all addresses has many of
    /// its own, so any address will do there: only a name can be made to point elsewhere.
    Local { own: IpAddr, names: Vec<String> },
}

impl AllowedHosts {
    /// `header`: the Host header's value, or the request target's authority.
    pub fn allows(&self, header: &str) -> bool {
        let AllowedHosts::Local { own, names } = self else { return true };
        let Some(host) = host_without_port(header) else { return false };
        if host.eq_ignore_ascii_case("localhost") || names.iter().any(|name| host.eq_ignore_ascii_case(name)) {
            return true;
        }
        let its_own = |address: IpAddr| address.is_loopback() || address == *own || own.is_unspecified();
        host.parse::<IpAddr>().is_ok_and(its_own)
    }
}

/// `example.org:8432` and `[::1]:8432` without the port and the brackets.
fn host_without_port(header: &str) -> Option<&str> {
    if let Some(rest) = header.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        return (after.is_empty() || after.starts_with(':')).then_some(host);
    }
    let (host, port) = header.split_once(':').unwrap_or((header, ""));
    (!host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_matches_itself_only() {
        let secret = Secret::new("tickets");
        assert!(secret.matches(b"tickets"));
        assert!(!secret.matches(b"ticket"));
        assert!(!secret.matches(b"tickets "));
        assert!(!secret.matches(b""));
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn a_rebound_name_is_refused() {
        let hosts = AllowedHosts::Local { own: "10.1.2.3".parse().unwrap(), names: vec!["shardd.internal".to_owned()] };
        for host in ["localhost", "LOCALHOST:8433", "127.0.0.1:8433", "127.9.9.9", "[::1]:8433", "10.1.2.3:1"] {
            assert!(hosts.allows(host), "{host}");
        }
        assert!(hosts.allows("shardd.internal:8433"));
        for host in
            ["evil.example", "evil.example:8433", "127.0.0.1.evil.example", "", "[::1", "10.1.2.4", "localhost:x"]
        {
            assert!(!hosts.allows(host), "{host}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_answers_to_any_of_them_and_to_no_other_name() {
        let hosts = AllowedHosts::Local { own: "0.0.0.0".parse().unwrap(), names: Vec::new() };
        for host in ["10.1.2.4:8433", "[fd00::7]:8433", "localhost"] {
            assert!(hosts.allows(host), "{host}");
        }
        assert!(!hosts.allows("evil.example:8433") && !hosts.allows("10.1.2.4.evil.example"));
    }
}
