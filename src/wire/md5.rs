//! The server's side of the md5 login, for users whose server keeps no better verifier.
//!
//! What is kept is `md5` and the hash of password and name in hexadecimal digits, as `password_encryption = md5` has it. The
//! hash is all that a login needs: whoever reads it can log in. SCRAM replaced it for that.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>

use md5::{Digest, Md5};

use super::scram::constant_time_eq;

/// Random bytes that a login is asked to hash, too.
pub const SALT_BYTES: usize = 4;
const PREFIX: &str = "md5";

/// What is kept of a password: the hash's digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Md5Verifier([u8; 32]);

impl std::fmt::Debug for Md5Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Md5Verifier(..)")
    }
}

impl Md5Verifier {
    /// Reads Postgres's form of it; `None` when the text is not in that form.
    pub fn parse(text: &str) -> Option<Md5Verifier> {
        let digits = text.strip_prefix(PREFIX)?.as_bytes();
        let is_digit = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        digits.iter().all(is_digit).then_some(digits)?.try_into().ok().map(Md5Verifier)
    }

    /// Whether a password message's text proves the password, for the salt that was asked with.
    pub fn accepts(&self, salt: &[u8; SALT_BYTES], proof: &[u8]) -> bool {
        let mut expected = [0; PREFIX.len() + 32];
        expected[..PREFIX.len()].copy_from_slice(PREFIX.as_bytes());
        let hash = Md5::new().chain_update(self.0).chain_update(salt).finalize();
        for (digits, byte) in expected[PREFIX.len()..].chunks_exact_mut(2).zip(hash) {
            digits.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
        }
        constant_time_eq(&expected, proof)
    }
}

fn digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + (value - 10) }
}

#[cfg(test)]
mod tests {
    use postgres_protocol::authentication::md5_hash;

    use super::*;

    /// Of user `app` and password `pencil`, as a Postgres server stores it.
    const STORED: &str = "md506d701b4dd9f7cbb00816251a451b978";

    #[test]
    fn another_implementation_s_proof_is_accepted_for_its_salt_alone() {
        let verifier = Md5Verifier::parse(STORED).expect("Postgres's form");
        let proof = |password: &str, salt| md5_hash(b"app", password.as_bytes(), salt);
        assert!(verifier.accepts(b"abcd", proof("pencil", *b"abcd").as_bytes()));
        assert!(!verifier.accepts(b"abce", proof("pencil", *b"abcd").as_bytes()));
        assert!(!verifier.accepts(b"abcd", proof("pencil2", *b"abcd").as_bytes()));
        assert!(!verifier.accepts(b"abcd", STORED.as_bytes()) && !verifier.accepts(b"abcd", b""));
    }

    #[test]
    fn a_text_in_another_form_is_no_verifier() {
        for bad in [
            "",
            "md5",
            &STORED[..34],
            &format!("{STORED}0"),
            &STORED.to_uppercase(),
            &STORED.replace('c', "g"),
            "md5 6d701b4dd9f7cbb00816251a451b978",
        ] {
            assert_eq!(Md5Verifier::parse(bad), None, "{bad}");
        }
        assert!(!format!("{:?}", Md5Verifier::parse(STORED)).contains("06d7"));
    }
}
