//! The server's side of SCRAM-SHA-256: proves that a client knows a password without the password being sent or kept.
//!
//! What is kept is a [`Verifier`] in the form that Postgres stores (`SCRAM-SHA-256$4096:salt$StoredKey:ServerKey`), so a
//! user's line can be copied from `pg_authid`. An unknown user goes through the same messages with a salt that stays the
//! same, so that nobody learns here who exists.
//!
//! On an encrypted connection SCRAM-SHA-256-PLUS is offered, too: the client's proof then covers the certificate that the
//! client saw, so that nobody who sits in between can pass a login on. A client that could bind the channel and believes
//! that the server cannot was lied to by somebody, and is refused.
//!
//! <https://www.rfc-editor.org/rfc/rfc5802>, <https://www.rfc-editor.org/rfc/rfc5929>,
//! <https://www.postgresql.org/docs/current/sasl-authentication.html>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::body::violation;
use crate::error::{Error, Result, SqlState};

pub const MECHANISM: &str = "SCRAM-SHA-256";
pub const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// The one way to bind a channel that there is: to the server's certificate.
const BINDING_TYPE: &str = "tls-server-end-point";

/// As in Postgres; more only costs whoever logs in.
const DEFAULT_ITERATIONS: u32 = 4096;
/// A verifier that asks clients for more work than this is a mistake or a trap.
const ITERATIONS_LIMIT: u32 = 1_000_000;
/// Random bytes in the server's part of the nonce.
pub const NONCE_BYTES: usize = 18;

type Key = [u8; 32];

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier(..)")
    }
}

impl Verifier {
    /// Reads Postgres's form of it; `None` when the text is not in that form.
    pub fn parse(text: &str) -> Option<Verifier> {
        let rest = text.strip_prefix(MECHANISM)?.strip_prefix('$')?;
        let (parameters, keys) = rest.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let iterations = iterations.parse().ok().filter(|count| (1..=ITERATIONS_LIMIT).contains(count))?;
        let key = |text: &str| BASE64.decode(text).ok()?.try_into().ok();
        let salt = BASE64.decode(salt).ok().filter(|salt| !salt.is_empty())?;
        Some(Verifier { iterations, salt, stored_key: key(stored_key)?, server_key: key(server_key)? })
    }

    /// The verifier of a password, under a salt that must be random.
    pub fn from_password(password: &str, salt: [u8; 16]) -> Verifier {
        // Postgres normalises passwords with SASLprep, and so do its clients; ASCII is its own normal form.
        let prepared = stringprep::saslprep(password).unwrap_or(password.into());
        let salted = salted_password(prepared.as_bytes(), &salt, DEFAULT_ITERATIONS);
        Verifier {
            iterations: DEFAULT_ITERATIONS,
            salt: salt.to_vec(),
            stored_key: sha256(&hmac(&salted, b"Client Key")),
            server_key: hmac(&salted, b"Server Key"),
        }
    }

    /// Whether a password that was sent in the clear is the one that this was made from. Takes as long as the verifier
    /// has iterations: milliseconds.
    pub fn is_of(&self, password: &str) -> bool {
        let prepared = stringprep::saslprep(password).unwrap_or(password.into());
        let salted = salted_password(prepared.as_bytes(), &self.salt, self.iterations);
        let stored_key = sha256(&hmac(&salted, b"Client Key"));
        constant_time_eq(&stored_key, &self.stored_key)
    }

    /// A salt for [`Verifier::from_password`] that is the same as long as the password is. `secret` is nobody else's.
    pub fn salt_for(user: &str, password: &str, secret: &[u8; 32]) -> [u8; 16] {
        let hash = hmac(secret, &[user.as_bytes(), b"\0", password.as_bytes()].concat());
        let mut salt = [0; 16];
        salt.copy_from_slice(&hash[..16]);
        salt
    }

    /// Stands in for a user who does not exist. `secret` is anything that clients cannot know and that stays the same.
    pub fn mock(user: &str, secret: &[u8; 32]) -> Verifier {
        let salt = hmac(secret, user.as_bytes());
        Verifier {
            iterations: DEFAULT_ITERATIONS,
            salt: salt[..16].to_vec(),
            // Its preimage is known to nobody.
            stored_key: hmac(secret, &salt),
            server_key: hmac(secret, &[&salt[..], b"server"].concat()),
        }
    }

    /// A secret for [`Verifier::mock`] that outlives the process: as long as the users stay the same, so does it.
    pub fn mock_secret<'a>(verifiers: impl Iterator<Item = &'a Verifier>) -> [u8; 32] {
        let mut keys: Vec<&Key> = verifiers.map(|verifier| &verifier.server_key).collect();
        keys.sort_unstable();
        let mut digest = Sha256::new();
        keys.iter().for_each(|key| digest.update(key));
        digest.finalize().into()
    }
}

impl std::fmt::Display for Verifier {
    /// Postgres's form.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [salt, stored_key, server_key] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|bytes| BASE64.encode(bytes));
        write!(f, "{MECHANISM}${}:{salt}${stored_key}:{server_key}", self.iterations)
    }
}

/// What a login can be bound to.
#[derive(Clone, Copy, Debug)]
pub enum Channel<'a> {
    /// Nothing: the connection is not encrypted, or its certificate has no hash to bind to.
    Unbound,
    /// The hash of the server's certificate; see [`endpoint_hash`](super::certificate::endpoint_hash).
    Endpoint(&'a [u8]),
}

impl Channel<'_> {
    /// The mechanisms to offer, the better one first.
    pub fn mechanisms(self) -> &'static [&'static str] {
        match self {
            Channel::Unbound => &[MECHANISM],
            Channel::Endpoint(_) => &[MECHANISM_PLUS, MECHANISM],
        }
    }
}

/// An exchange that waits for the client's proof.
#[derive(Debug)]
pub struct Exchange {
    verifier: Verifier,
    /// What the proof signs: the messages so far, without the proof.
    signed: String,
    /// The base64 of the client's GS2 header and of what the channel is bound to, which its final message must repeat.
    binding: String,
    nonce: String,
}

/// Why an exchange failed.
#[derive(Debug)]
pub enum Failure {
    /// The password was wrong, or the user unknown.
    WrongPassword,
    /// The message was malformed, or asked for what was not offered.
    Protocol(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Protocol(error)
    }
}

fn malformed() -> Error {
    violation("malformed SCRAM message")
}

/// Reads the client's first message; gives the server's and the exchange that goes on. `mechanism` is the one that the
/// client chose.
///
/// # Errors
/// The mechanism was not offered, the message is malformed or does not fit the mechanism, or somebody made the client
/// believe that the channel cannot be bound.
pub fn begin(
    mechanism: &str,
    client_first: &[u8],
    verifier: Verifier,
    nonce: &[u8; NONCE_BYTES],
    channel: Channel<'_>,
) -> Result<(String, Exchange)> {
    if !channel.mechanisms().contains(&mechanism) {
        return Err(violation("client selected an invalid SASL authentication mechanism"));
    }
    let text = std::str::from_utf8(client_first).map_err(|_| malformed())?;
    let (flag, rest) = text.split_once(',').ok_or_else(malformed)?;
    let bound_to = bound_to(flag, mechanism, channel)?;
    let (authorize_as, bare) = rest.split_once(',').ok_or_else(malformed)?;
    if !authorize_as.is_empty() {
        return Err(violation("client uses authorization identity, but it is not supported"));
    }
    let mut attributes = bare.split(',');
    // The user is the start-up message's; what stands here is ignored, as in Postgres.
    attributes.next().and_then(|name| name.strip_prefix("n=")).ok_or_else(malformed)?;
    let client_nonce = attributes.next().and_then(|nonce| nonce.strip_prefix("r=")).ok_or_else(malformed)?;
    let printable = |byte: u8| (0x21..=0x7e).contains(&byte);
    if client_nonce.is_empty() || !client_nonce.bytes().all(printable) {
        return Err(malformed());
    }
    let nonce = format!("{client_nonce}{}", BASE64.encode(nonce));
    let server_first = format!("r={nonce},s={},i={}", BASE64.encode(&verifier.salt), verifier.iterations);
    let binding = BASE64.encode([flag.as_bytes(), b",,", bound_to].concat());
    let signed = format!("{bare},{server_first}");
    Ok((server_first, Exchange { verifier, signed, binding, nonce }))
}

/// What the channel is to be bound to by the client's flag. Every combination is judged, so that a login can be moved from
/// one mechanism to the other by nobody.
///
/// <https://www.rfc-editor.org/rfc/rfc5802#section-6>
fn bound_to<'a>(flag: &str, mechanism: &str, channel: Channel<'a>) -> Result<&'a [u8]> {
    match (flag, channel) {
        ("n" | "y", _) if mechanism == MECHANISM_PLUS => {
            Err(violation("client selected SCRAM-SHA-256-PLUS, but its SCRAM message does not bind the channel"))
        }
        // The client does not know channel binding.
        ("n", _) => Ok(&[]),
        // The client knows it and was offered none, which is so.
        ("y", Channel::Unbound) => Ok(&[]),
        ("y", Channel::Endpoint(_)) => {
            let message = "SCRAM channel binding negotiation error";
            let detail = "The client supports SCRAM channel binding but thinks the server does not. However, this server \
                          does support channel binding.";
            Err(Error::new(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message)
                .detail(detail)
                .hint("Something between the client and shardd changes the login: find out what, before any password is used."))
        }
        _ => match (flag.strip_prefix("p="), channel) {
            (Some(_), _) if mechanism == MECHANISM => Err(violation(
                "client selected SCRAM-SHA-256 without channel binding, but its SCRAM message binds the channel",
            )),
            (Some(BINDING_TYPE), Channel::Endpoint(hash)) => Ok(hash),
            (Some(_), _) => Err(violation("unsupported SCRAM channel-binding type: tls-server-end-point is supported")),
            (None, _) => Err(malformed()),
        },
    }
}

impl Exchange {
    /// Judges the client's final message; gives the server's.
    ///
    /// # Errors
    /// The proof is wrong, or the message malformed.
    pub fn finish(self, client_final: &[u8]) -> Result<String, Failure> {
        let text = std::str::from_utf8(client_final).map_err(|_| malformed())?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or_else(malformed)?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|binding| binding.strip_prefix("c=")).ok_or_else(malformed)?;
        let nonce = attributes.next().and_then(|nonce| nonce.strip_prefix("r=")).ok_or_else(malformed)?;
        if binding != self.binding {
            let message = "SCRAM channel binding check failed";
            let error = Error::new(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message)
                .detail(
                    "The client's final message does not repeat what its first one said and the certificate it saw.",
                )
                .hint("Something between the client and shardd may hold a certificate of its own: find out what.");
            return Err(error.into());
        }
        if nonce != self.nonce {
            return Err(violation("invalid SCRAM response: nonce does not match").into());
        }
        let proof: Key = BASE64.decode(proof).ok().and_then(|proof| proof.try_into().ok()).ok_or_else(malformed)?;

        let signed = format!("{},{without_proof}", self.signed);
        let signature = hmac(&self.verifier.stored_key, signed.as_bytes());
        let mut client_key = proof;
        client_key.iter_mut().zip(signature).for_each(|(byte, mask)| *byte ^= mask);
        if !constant_time_eq(&sha256(&client_key), &self.verifier.stored_key) {
            return Err(Failure::WrongPassword);
        }
        Ok(format!("v={}", BASE64.encode(hmac(&self.verifier.server_key, signed.as_bytes()))))
    }
}

/// Compares without telling by its time how much was equal.
pub fn constant_time_eq(left: &[u8], right: &[u8]) -> bool {
    let difference = left.iter().zip(right).fold(0, |difference, (a, b)| difference | (a ^ b));
    left.len() == right.len() && std::hint::black_box(difference) == 0
}

fn sha256(data: &[u8]) -> Key {
    Sha256::digest(data).into()
}

fn hmac(key: &[u8], data: &[u8]) -> Key {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length is accepted");
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// PBKDF2, of which SCRAM needs one block.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    let keyed = Hmac::<Sha256>::new_from_slice(password).expect("a key of any length is accepted");
    let round = |data: &[&[u8]]| -> Key {
        let mut mac = keyed.clone();
        data.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    };
    let mut block = round(&[salt, &1u32.to_be_bytes()]);
    let mut result = block;
    for _ in 1..iterations {
        block = round(&[&block]);
        result.iter_mut().zip(block).for_each(|(byte, mask)| *byte ^= mask);
    }
    result
}

#[cfg(test)]
mod tests {
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

    use super::*;

    const NONCE: [u8; NONCE_BYTES] = [7; NONCE_BYTES];

    /// A whole exchange with another implementation's client.
    fn log_in(password: &str, verifier: Verifier) -> Result<(), Failure> {
        let mut client = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        let (server_first, exchange) = begin(MECHANISM, client.message(), verifier, &NONCE, Channel::Unbound)?;
        client.update(server_first.as_bytes()).expect("the client accepts the server's first message");
        let server_final = exchange.finish(client.message())?;
        client.finish(server_final.as_bytes()).expect("the client accepts the server's signature");
        Ok(())
    }

    fn unbound(client_first: &[u8], verifier: Verifier) -> Result<(String, Exchange)> {
        begin(MECHANISM, client_first, verifier, &NONCE, Channel::Unbound)
    }

    #[test]
    fn a_password_in_the_clear_is_checked_against_its_verifier() {
        let verifier = Verifier::from_password("pencil", [7; 16]);
        assert!(verifier.is_of("pencil"));
        assert!(!verifier.is_of("pencil "));
        assert!(!Verifier::mock("app", &[1; 32]).is_of("pencil"));
    }

    #[test]
    fn a_client_with_the_password_gets_in_and_no_other() {
        let verifier = Verifier::from_password("pencil", [3; 16]);
        assert!(log_in("pencil", verifier.clone()).is_ok());
        assert!(matches!(log_in("pencil2", verifier.clone()), Err(Failure::WrongPassword)));
        assert!(matches!(log_in("", verifier), Err(Failure::WrongPassword)));
    }

    #[test]
    fn passwords_are_normalised_as_clients_do() {
        // U+00AA and a full-width letter become ASCII.
        let verifier = Verifier::from_password("\u{aa}\u{ff21}", [3; 16]);
        assert!(log_in("\u{aa}\u{ff21}", verifier.clone()).is_ok());
        assert!(log_in("aA", verifier).is_ok());
    }

    #[test]
    fn postgres_s_own_form_is_read_and_written() {
        let stored = postgres_protocol::password::scram_sha_256(b"pencil");
        let verifier = Verifier::parse(&stored).expect("Postgres's form");
        assert_eq!(verifier.to_string(), stored);
        assert!(log_in("pencil", verifier).is_ok());
    }

    #[test]
    fn a_text_in_another_form_is_no_verifier() {
        let good = Verifier::from_password("x", [1; 16]).to_string();
        for bad in [
            "x".to_owned(),
            "md5abc".to_owned(),
            good.replace("4096", "0"),
            good.replace("4096", "2147483647"),
            good.replace('$', ":"),
            good[..good.len() - 4].to_owned(),
        ] {
            assert_eq!(Verifier::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn an_unknown_user_sees_one_stable_salt_and_never_gets_in() {
        let secret = Verifier::mock_secret([Verifier::from_password("x", [1; 16])].iter());
        let (first, again) = (Verifier::mock("ghost", &secret), Verifier::mock("ghost", &secret));
        assert_eq!(first, again);
        assert_ne!(first.salt, Verifier::mock("other", &secret).salt);
        assert_eq!(first.salt.len(), 16, "as long as a real one");
        assert!(matches!(log_in("x", first), Err(Failure::WrongPassword)));
    }

    #[test]
    fn channel_binding_and_foreign_identities_are_refused() {
        let verifier = Verifier::from_password("x", [1; 16]);
        for message in
            ["p=tls-server-end-point,,n=,r=abc", "n,a=admin,n=,r=abc", "n,,r=abc", "n,,n=,r=", "", "n", "n,,n=,r=a b"]
        {
            assert!(unbound(message.as_bytes(), verifier.clone()).is_err(), "{message}");
        }
        assert!(unbound(b"y,,n=,r=abc", verifier).is_ok());
    }

    #[test]
    fn a_final_message_must_repeat_the_nonce_and_the_binding() {
        let verifier = Verifier::from_password("x", [1; 16]);
        let proof = BASE64.encode([0; 32]);
        let nonce = format!("abc{}", BASE64.encode(NONCE));
        let finish = |message: String| {
            let (_, exchange) = unbound(b"n,,n=,r=abc", verifier.clone()).expect("a first message");
            exchange.finish(message.as_bytes())
        };
        assert!(matches!(finish(format!("c=biws,r={nonce},p={proof}")), Err(Failure::WrongPassword)));
        for message in [
            format!("c=biws,r=abc,p={proof}"),
            format!("c=eSws,r={nonce},p={proof}"),
            format!("c=biws,r={nonce},p=short"),
            format!("c=biws,r={nonce}"),
            String::new(),
        ] {
            assert!(matches!(finish(message.clone()), Err(Failure::Protocol(_))), "{message}");
        }
    }

    const HASH: &[u8] = &[9; 32];

    /// A login of another implementation's client that saw a certificate with this hash.
    fn log_in_bound(seen: &[u8], verifier: Verifier) -> Result<(), Failure> {
        let mut client = ScramSha256::new(b"pencil", ChannelBinding::tls_server_end_point(seen.to_vec()));
        let (server_first, exchange) =
            begin(MECHANISM_PLUS, client.message(), verifier, &NONCE, Channel::Endpoint(HASH))?;
        client.update(server_first.as_bytes()).expect("the client accepts the server's first message");
        let server_final = exchange.finish(client.message())?;
        client.finish(server_final.as_bytes()).expect("the client accepts the server's signature");
        Ok(())
    }

    #[test]
    fn a_login_is_bound_to_the_certificate_that_the_client_saw() {
        let verifier = Verifier::from_password("pencil", [3; 16]);
        assert!(log_in_bound(HASH, verifier.clone()).is_ok());
        match log_in_bound(&[8; 32], verifier) {
            Err(Failure::Protocol(error)) => assert_eq!(error.sqlstate().code(), "28000"),
            other => panic!("somebody in between got in: {other:?}"),
        }
    }

    /// RFC 5802, section 6: each flag under each mechanism, with a channel to bind to and without.
    #[test]
    fn no_login_moves_from_one_mechanism_to_the_other() {
        let (bound, unbound) = (Channel::Endpoint(HASH), Channel::Unbound);
        let outcome = |mechanism: &str, flag: &str, channel: Channel<'_>| {
            let message = format!("{flag},,n=,r=abc");
            match begin(mechanism, message.as_bytes(), Verifier::from_password("x", [1; 16]), &NONCE, channel) {
                Ok(_) => "ok".to_owned(),
                Err(error) => error.sqlstate().code().to_owned(),
            }
        };
        let binds = "p=tls-server-end-point";
        for (mechanism, flag, channel, expected) in [
            (MECHANISM_PLUS, binds, bound, "ok"),
            (MECHANISM_PLUS, "p=tls-unique", bound, "08P01"),
            (MECHANISM_PLUS, "p=", bound, "08P01"),
            (MECHANISM_PLUS, "n", bound, "08P01"),
            (MECHANISM_PLUS, "y", bound, "08P01"),
            (MECHANISM, "n", bound, "ok"),
            (MECHANISM, "y", bound, "28000"),
            (MECHANISM, binds, bound, "08P01"),
            (MECHANISM, "n", unbound, "ok"),
            (MECHANISM, "y", unbound, "ok"),
            (MECHANISM, binds, unbound, "08P01"),
            (MECHANISM_PLUS, binds, unbound, "08P01"),
            (MECHANISM_PLUS, "n", unbound, "08P01"),
            ("PLAIN", "n", bound, "08P01"),
        ] {
            assert_eq!(outcome(mechanism, flag, channel), expected, "{mechanism} {flag} {channel:?}");
        }
    }

    #[test]
    fn keys_of_different_length_are_not_equal() {
        assert!(constant_time_eq(b"abcd", b"abcd"));
        assert!(
            !constant_time_eq(b"abcd", b"abce") && !constant_time_eq(b"abc", b"abcd") && !constant_time_eq(b"", b"a")
        );
    }
}
