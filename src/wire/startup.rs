//! The packets that open a connection: encryption requests, a cancel request, or the start-up message itself.
//!
//! They carry no type byte; a number in the place of the protocol's version tells them apart.
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-STARTUPMESSAGE>

use bytes::Bytes;

use super::body::{Body, violation};
use crate::error::{Error, Result, SqlState};

const CANCEL_REQUEST: u32 = 1234 << 16 | 5678;
const SSL_REQUEST: u32 = 1234 << 16 | 5679;
const GSSENC_REQUEST: u32 = 1234 << 16 | 5680;

/// A cancel key may be this long, since protocol 3.2.
pub const CANCEL_KEY_LIMIT_BYTES: usize = 256;

/// The protocol's version, of which only the minor number varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub minor: u16,
}

impl Version {
    pub const V3_0: Version = Version { minor: 0 };
    /// The newest that is spoken: cancel keys of any length.
    pub const V3_2: Version = Version { minor: 2 };

    /// The number that messages carry.
    pub fn number(self) -> u32 {
        3 << 16 | u32::from(self.minor)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartupPacket {
    SslRequest,
    GssencRequest,
    Cancel(CancelRequest),
    Startup(Startup),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelRequest {
    pub process: i32,
    pub key: Bytes,
}

/// What a client asks for when it connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// As the client asked for it; it may be newer than [`Version::V3_2`].
    pub requested: Version,
    /// `_pq_.*`: protocol extensions, none of which is known.
    pub protocol_options: Vec<String>,
    pub user: String,
    pub database: String,
    /// The client asked to be a replication standby.
    pub replication: bool,
    /// Every other setting, those of `options` first, in the order in which they apply.
    pub settings: Vec<(String, String)>,
}

impl Startup {
    /// The version that both sides speak.
    pub fn version(&self) -> Version {
        self.requested.min(Version::V3_2)
    }

    /// Whether the client must be told what it asked for and will not get.
    pub fn needs_negotiation(&self) -> bool {
        self.requested > Version::V3_2 || !self.protocol_options.is_empty()
    }
}

/// Decodes a packet, without its length.
///
/// # Errors
/// It is malformed, or speaks another major version of the protocol.
pub fn decode(packet: &Bytes) -> Result<StartupPacket> {
    let mut body = Body::new(packet);
    match body.u32()? {
        SSL_REQUEST => body.end().map(|()| StartupPacket::SslRequest),
        GSSENC_REQUEST => body.end().map(|()| StartupPacket::GssencRequest),
        CANCEL_REQUEST => {
            let process = body.i32()?;
            let key = body.shared(body.remaining())?;
            if !(4..=CANCEL_KEY_LIMIT_BYTES).contains(&key.len()) {
                return Err(violation("invalid length of cancel request packet"));
            }
            Ok(StartupPacket::Cancel(CancelRequest { process, key }))
        }
        version if version >> 16 == 3 => {
            let minor = (version & 0xffff) as u16;
            startup(Version { minor }, body).map(StartupPacket::Startup)
        }
        version => Err(Error::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            format!("unsupported frontend protocol {}.{}: server supports 3.0 to 3.2", version >> 16, version & 0xffff),
        )),
    }
}

fn startup(requested: Version, mut body: Body<'_>) -> Result<Startup> {
    let (mut user, mut database, mut replication) = ("", "", "");
    let (mut options, mut settings, mut protocol_options) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let name = body.text()?;
        if name.is_empty() {
            break;
        }
        let value = body.text()?;
        match name {
            "user" => user = value,
            "database" => database = value,
            "replication" => replication = value,
            "options" => options = split_options(value),
            _ if name.starts_with("_pq_.") => protocol_options.push(name.to_owned()),
            _ => settings.push((name.to_owned(), value.to_owned())),
        }
    }
    body.end().map_err(|_| violation("invalid startup packet layout: expected terminator as last byte"))?;
    if user.is_empty() {
        return Err(Error::new(
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            "no PostgreSQL user name specified in startup packet",
        ));
    }
    options.append(&mut settings);
    Ok(Startup {
        requested,
        protocol_options,
        user: user.to_owned(),
        database: if database.is_empty() { user } else { database }.to_owned(),
        replication: !matches!(
            replication.to_ascii_lowercase().as_str(),
            "" | "0" | "f" | "false" | "n" | "no" | "off"
        ),
        settings: options,
    })
}

/// The settings in a command line's worth of options: `-c name=value`, `-cname=value`, `--name=value`; a backslash
/// takes the next character as it is. Whatever else stands there is passed over, as a start-up setting never fails a
/// connection.
fn split_options(options: &str) -> Vec<(String, String)> {
    let mut words = words(options).into_iter();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("-c") {
            Some("") => words.next().unwrap_or_default(),
            Some(rest) => rest.to_owned(),
            None => match word.strip_prefix("--") {
                Some(rest) => rest.to_owned(),
                None => continue,
            },
        };
        if let Some((name, value)) = assignment.split_once('=').filter(|(name, _)| !name.is_empty()) {
            settings.push((name.replace('-', "_"), value.to_owned()));
        }
    }
    settings
}

fn words(options: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => words.last_mut().expect("never empty").extend(characters.next()),
            _ if character.is_ascii_whitespace() => words.push(String::new()),
            _ => words.last_mut().expect("never empty").push(character),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(number: u32, rest: &[u8]) -> Bytes {
        [&number.to_be_bytes()[..], rest].concat().into()
    }

    fn start(minor: u32, rest: &[u8]) -> Startup {
        match decode(&packet(3 << 16 | minor, rest)) {
            Ok(StartupPacket::Startup(startup)) => startup,
            other => panic!("{other:?}"),
        }
    }

    fn pairs(settings: &[(&str, &str)]) -> Vec<(String, String)> {
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_startup_message_gives_user_database_and_every_setting() {
        let startup = start(0, b"user\0app\0database\0tickets\0TimeZone\0UTC\0made_up\0yes\0\0");
        assert_eq!((startup.user.as_str(), startup.database.as_str()), ("app", "tickets"));
        assert_eq!(startup.settings, pairs(&[("TimeZone", "UTC"), ("made_up", "yes")]));
        assert!(!startup.replication && !startup.needs_negotiation());
    }

    #[test]
    fn the_database_defaults_to_the_user() {
        assert_eq!(start(0, b"user\0app\0\0").database, "app");
    }

    #[test]
    fn a_newer_minor_version_or_an_unknown_extension_needs_negotiation() {
        assert!(!start(2, b"user\0app\0\0").needs_negotiation());
        let newer = start(9999, b"user\0app\0_pq_.test_protocol_negotiation\0\0_pq_.b\0x\0\0");
        assert!(newer.needs_negotiation());
        assert_eq!(newer.version(), Version::V3_2);
        assert_eq!(newer.protocol_options, ["_pq_.test_protocol_negotiation", "_pq_.b"]);
        assert!(start(0, b"user\0app\0_pq_.a\0\0\0").needs_negotiation());
        assert_eq!(start(1, b"user\0app\0\0").version(), Version { minor: 1 });
    }

    #[test]
    fn options_are_read_as_a_command_line() {
        let startup =
            start(0, b"options\0-c geqo=off -csearch_path=a\\ b,c --lock-timeout=5s -c= -c -x y\0user\0a\0z\x001\0\0");
        let expected = [("geqo", "off"), ("search_path", "a b,c"), ("lock_timeout", "5s"), ("z", "1")];
        assert_eq!(startup.settings, pairs(&expected));
    }

    #[test]
    fn replication_is_recognised_in_every_spelling() {
        assert!(start(0, b"user\0a\0replication\0database\0\0").replication);
        assert!(start(0, b"user\0a\0replication\x001\0\0").replication);
        assert!(!start(0, b"user\0a\0replication\0off\0\0").replication);
    }

    #[test]
    fn other_major_versions_are_refused_by_name() {
        for number in [2 << 16, 4 << 16, 0, 1234 << 16 | 5681] {
            let error = decode(&packet(number, b"user\0a\0\0")).expect_err("no such protocol");
            assert_eq!(error.sqlstate(), SqlState::FEATURE_NOT_SUPPORTED, "{number}");
        }
    }

    #[test]
    fn a_message_without_terminator_or_user_is_refused() {
        for rest in
            [&b"user\0app\0"[..], b"user\0app", b"", b"\0", b"user\0\0\0", b"user\0app\0\0junk", b"user\0\xff\0\0"]
        {
            assert!(decode(&packet(3 << 16, rest)).is_err(), "{rest:?}");
        }
    }

    #[test]
    fn requests_are_told_apart_and_carry_nothing_more() {
        assert_eq!(decode(&packet(SSL_REQUEST, b"")).expect("valid"), StartupPacket::SslRequest);
        assert_eq!(decode(&packet(GSSENC_REQUEST, b"")).expect("valid"), StartupPacket::GssencRequest);
        assert!(decode(&packet(SSL_REQUEST, b"x")).is_err());
    }

    #[test]
    fn cancel_keys_have_four_to_256_bytes() {
        for (length, valid) in [(0, false), (3, false), (4, true), (32, true), (256, true), (257, false)] {
            let rest = [&7i32.to_be_bytes()[..], &vec![1; length]].concat();
            assert_eq!(decode(&packet(CANCEL_REQUEST, &rest)).is_ok(), valid, "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_packet_panics(number in prop_oneof![Just(3u32 << 16), Just(CANCEL_REQUEST), Just(SSL_REQUEST), any::<u32>()],
                            rest in proptest::collection::vec(prop_oneof![Just(0u8), Just(b'-'), Just(b'c'), any::<u8>()], 0..80)) {
            let _ = decode(&packet(number, &rest));
        }
    }
}
