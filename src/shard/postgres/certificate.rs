//! The hash of a server's certificate that SCRAM binds a login to.
//!
//! It is made with the hash function of the certificate's own signature, SHA-256 in the place of MD5 and SHA-1.
//!
//! <https://www.rfc-editor.org/rfc/rfc5929#section-4>

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// The first field of the parameters of RSASSA-PSS.
const HASH_ALGORITHM: u8 = 0xa0;

const RSA_PSS: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";

/// `None` where the signature has no hash function of its own (Ed25519), or the certificate cannot be read.
pub(super) fn end_point_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, fields, _) = element(certificate, SEQUENCE)?;
    let (_, _, after_body) = element(fields, SEQUENCE)?;
    let (_, algorithm, _) = element(after_body, SEQUENCE)?;
    let (_, identifier, parameters) = element(algorithm, OBJECT_IDENTIFIER)?;
    let hash = match identifier {
        RSA_PSS => pss_hash(parameters)?,
        _ => hash_of_signature(identifier)?,
    };
    Some(match hash {
        Hash::Sha224 => Sha224::digest(certificate).to_vec(),
        Hash::Sha256 => Sha256::digest(certificate).to_vec(),
        Hash::Sha384 => Sha384::digest(certificate).to_vec(),
        Hash::Sha512 => Sha512::digest(certificate).to_vec(),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

fn hash_of_signature(identifier: &[u8]) -> Option<Hash> {
    // 1.2.840.113549.1.1.x: PKCS 1. 1.2.840.10045.4.x: ECDSA.
    match identifier.strip_prefix(b"\x2a\x86\x48\x86\xf7\x0d\x01\x01") {
        Some([4 | 5 | 11]) => return Some(Hash::Sha256),
        Some([12]) => return Some(Hash::Sha384),
        Some([13]) => return Some(Hash::Sha512),
        Some([14]) => return Some(Hash::Sha224),
        _ => {}
    }
    match identifier.strip_prefix(b"\x2a\x86\x48\xce\x3d\x04")? {
        [1] | [3, 2] => Some(Hash::Sha256),
        [3, 1] => Some(Hash::Sha224),
        [3, 3] => Some(Hash::Sha384),
        [3, 4] => Some(Hash::Sha512),
        _ => None,
    }
}

fn pss_hash(parameters: &[u8]) -> Option<Hash> {
    let (_, fields, _) = element(parameters, SEQUENCE)?;
    let Some((_, hash, _)) = element(fields, HASH_ALGORITHM) else {
        // SHA-1 is the default there.
        return Some(Hash::Sha256);
    };
    let (_, algorithm, _) = element(hash, SEQUENCE)?;
    let (_, identifier, _) = element(algorithm, OBJECT_IDENTIFIER)?;
    match identifier {
        b"\x2b\x0e\x03\x02\x1a" => Some(Hash::Sha256),
        _ => match identifier.strip_prefix(b"\x60\x86\x48\x01\x65\x03\x04\x02")? {
            [1] => Some(Hash::Sha256),
            [2] => Some(Hash::Sha384),
            [3] => Some(Hash::Sha512),
            [4] => Some(Hash::Sha224),
            _ => None,
        },
    }
}

/// The DER element at the front, which must have this tag: its tag, its content, and what follows it.
fn element(bytes: &[u8], expected: u8) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let digits = usize::from(first & 0x7f);
        if !(1..=4).contains(&digits) {
            return None;
        }
        let (digits, after) = rest.split_at_checked(digits)?;
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        rest = after;
    }
    let (content, after) = rest.split_at_checked(length)?;
    (tag == expected).then_some((tag, content, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outer shape of a certificate that this algorithm signed.
    fn certificate(algorithm: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
        let body = wrap(SEQUENCE, &[2, 1, 7]);
        let algorithm = wrap(SEQUENCE, algorithm);
        wrap(SEQUENCE, &[body, algorithm, vec![3, 1, 0]].concat())
    }

    #[test]
    fn the_signature_s_hash_function_is_used() {
        for (algorithm, bytes) in [
            (&b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\0"[..], 32),
            (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05\x05\0", 32),
            (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\0", 64),
            (b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03", 48),
            (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\0", 32),
            (
                b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x0f\xa0\x0d\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02",
                48,
            ),
        ] {
            assert_eq!(end_point_hash(&certificate(algorithm)).map(|hash| hash.len()), Some(bytes), "{algorithm:x?}");
        }
        assert_eq!(end_point_hash(&certificate(b"\x06\x03\x2b\x65\x70")), None, "Ed25519");
    }

    #[test]
    fn what_is_no_certificate_has_no_hash() {
        let whole = certificate(b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03");
        assert!((0..whole.len()).all(|cut| end_point_hash(&whole[..cut]).is_none()));
        for bytes in [&b"\x30\x80"[..], b"\x30\x85\xff\xff\xff\xff\xff", b"\x30\x84\xff\xff\xff\xff", b"\x31\0"] {
            assert_eq!(end_point_hash(bytes), None);
        }
    }
}
