//! The two things that logging in needs to know of an X.509 certificate, and no more: which hash channel binding takes of
//! the server's, and whose name stands in the client's.
//!
//! TLS itself has judged the certificates before; this only finds its way through their DER.
//!
//! <https://www.rfc-editor.org/rfc/rfc5280#section-4.1>, <https://www.rfc-editor.org/rfc/rfc5929#section-4.1>

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]`, explicit and constructed.
const CONTEXT_0: u8 = 0xa0;
/// UTF8String, PrintableString, IA5String.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 1.2.840.113549.1.1, below which the signatures of RSA are.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4.
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
/// 2.16.840.1.101.3.4.2, the SHA-2 family.
const SHA_2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

/// DER, taken off its front one element after another.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The next element: its tag and content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            // Four bytes of length are more than any certificate has.
            0x81..=0x84 => {
                let (length, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }

    fn sequence(&mut self) -> Option<Elements<'a>> {
        self.take(SEQUENCE).map(Elements)
    }
}

/// The hash that `tls-server-end-point` binds a login to: of the certificate, by the hash of its own signature, with
/// SHA-256 in the place of MD5 and SHA-1. `None` where the signature has no such hash (Ed25519) or is not known: channel
/// binding cannot be offered then.
pub fn endpoint_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    let mut fields = Elements(certificate).sequence()?;
    fields.sequence()?;
    let mut algorithm = fields.sequence()?;
    let name = algorithm.take(OBJECT_IDENTIFIER)?;
    let hash = if let Some(number) = name.strip_prefix(RSA) {
        match number {
            [4 | 5 | 11] => Hash::Sha256,
            [12] => Hash::Sha384,
            [13] => Hash::Sha512,
            [14] => Hash::Sha224,
            [10] => pss_hash(algorithm)?,
            _ => return None,
        }
    } else {
        match name.strip_prefix(ECDSA)? {
            [1] | [3, 2] => Hash::Sha256,
            [3, 1] => Hash::Sha224,
            [3, 3] => Hash::Sha384,
            [3, 4] => Hash::Sha512,
            _ => return None,
        }
    };
    Some(hash.of(certificate))
}

#[derive(Clone, Copy)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn of(self, data: &[u8]) -> Vec<u8> {
        match self {
            Hash::Sha224 => Sha224::digest(data).to_vec(),
            Hash::Sha256 => Sha256::digest(data).to_vec(),
            Hash::Sha384 => Sha384::digest(data).to_vec(),
            Hash::Sha512 => Sha512::digest(data).to_vec(),
        }
    }
}

/// RSASSA-PSS names its hash among its parameters; without it is SHA-1.
fn pss_hash(mut algorithm: Elements<'_>) -> Option<Hash> {
    let Some((CONTEXT_0, hash)) = algorithm.sequence()?.next() else { return Some(Hash::Sha256) };
    let name = Elements(hash).sequence()?.take(OBJECT_IDENTIFIER)?;
    match name.strip_prefix(SHA_2) {
        Some([1]) => Some(Hash::Sha256),
        Some([2]) => Some(Hash::Sha384),
        Some([3]) => Some(Hash::Sha512),
        Some([4]) => Some(Hash::Sha224),
        _ => None,
    }
}

/// The one common name of a certificate's subject. A subject with several of them names nobody: which one a program takes
/// is chance, and a certificate's owner should not have the choice.
pub fn common_name(certificate: &[u8]) -> Option<String> {
    let mut fields = Elements(certificate).sequence()?.sequence()?;
    if fields.0.first() == Some(&CONTEXT_0) {
        fields.next()?;
    }
    fields.take(INTEGER)?;
    let (_signature, _issuer, _validity) = (fields.sequence()?, fields.sequence()?, fields.sequence()?);
    let mut subject = fields.sequence()?;
    let mut found = None;
    while !subject.0.is_empty() {
        let mut relative = Elements(subject.take(SET)?);
        while !relative.0.is_empty() {
            let mut attribute = relative.sequence()?;
            if attribute.take(OBJECT_IDENTIFIER)? != COMMON_NAME {
                continue;
            }
            let (_, text) = attribute.next().filter(|(tag, _)| TEXTS.contains(tag))?;
            let text = std::str::from_utf8(text).ok().filter(|text| !text.is_empty() && !text.contains('\0'))?;
            if found.replace(text).is_some() {
                return None;
            }
        }
    }
    found.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
        SignatureAlgorithm,
    };

    use super::*;

    fn certificate(algorithm: &'static SignatureAlgorithm, names: &[&str]) -> Vec<u8> {
        let mut parameters = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(DnType::OrganizationName, "Hall");
        for name in names {
            parameters.distinguished_name.push(DnType::CommonName, *name);
        }
        let key = KeyPair::generate_for(algorithm).expect("a key");
        parameters.self_signed(&key).expect("a certificate").der().to_vec()
    }

    /// An element whose content is these elements.
    fn element(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
        let content = contents.concat();
        let length = u16::try_from(content.len()).expect("short").to_be_bytes();
        [&[tag, 0x82][..], &length, &content].concat()
    }

    /// As much of a certificate as is looked at, with this signature's algorithm and subject.
    fn made_up(algorithm: &[&[u8]], subject: &[&[u8]]) -> Vec<u8> {
        let empty = element(SEQUENCE, &[]);
        let serial = element(INTEGER, &[&[1]]);
        let to_be_signed = element(SEQUENCE, &[&serial, &empty, &empty, &empty, &element(SEQUENCE, subject)]);
        element(SEQUENCE, &[&to_be_signed, &element(SEQUENCE, algorithm), &[3, 1, 0]])
    }

    fn named(kind: &[u8], tag: u8, text: &[u8]) -> Vec<u8> {
        let attribute = element(SEQUENCE, &[&element(OBJECT_IDENTIFIER, &[kind]), &element(tag, &[text])]);
        element(SET, &[&attribute])
    }

    #[test]
    fn the_hash_is_the_one_of_the_certificate_s_own_signature() {
        let ecdsa = certificate(&PKCS_ECDSA_P256_SHA256, &["a"]);
        assert_eq!(endpoint_hash(&ecdsa), Some(Sha256::digest(&ecdsa).to_vec()));
        let larger = certificate(&PKCS_ECDSA_P384_SHA384, &["a"]);
        assert_eq!(endpoint_hash(&larger), Some(Sha384::digest(&larger).to_vec()));
        assert_eq!(endpoint_hash(&certificate(&PKCS_ED25519, &["a"])), None);
    }

    #[test]
    fn signatures_of_rsa_tell_their_hash_and_weak_ones_give_way_to_sha_256() {
        let rsa = |number: u8| element(OBJECT_IDENTIFIER, &[RSA, &[number]]);
        for (number, bytes) in [(4, 32), (5, 32), (11, 32), (12, 48), (13, 64), (14, 28)] {
            let certificate = made_up(&[&rsa(number), &[5, 0]], &[]);
            assert_eq!(endpoint_hash(&certificate).map(|hash| hash.len()), Some(bytes), "{number}");
        }
        let hash = |number: u8| {
            let name = element(OBJECT_IDENTIFIER, &[SHA_2, &[number]]);
            element(SEQUENCE, &[&element(CONTEXT_0, &[&element(SEQUENCE, &[&name])])])
        };
        for (parameters, bytes) in [(element(SEQUENCE, &[]), 32), (hash(1), 32), (hash(2), 48), (hash(3), 64)] {
            let certificate = made_up(&[&rsa(10), &parameters], &[]);
            assert_eq!(endpoint_hash(&certificate).map(|hash| hash.len()), Some(bytes));
        }
        assert_eq!(endpoint_hash(&made_up(&[&rsa(99)], &[])), None);
        assert_eq!(endpoint_hash(&made_up(&[&rsa(10), &hash(9)], &[])), None);
    }

    #[test]
    fn a_subject_s_one_common_name_is_found() {
        let real = certificate(&PKCS_ECDSA_P256_SHA256, &["Zoë"]);
        assert_eq!(common_name(&real).as_deref(), Some("Zoë"));
        assert_eq!(common_name(&certificate(&PKCS_ECDSA_P256_SHA256, &[])), None);
        let organization = named(&[0x55, 0x04, 0x0a], 0x13, b"Hall");
        let of = |subject: &[&[u8]]| common_name(&made_up(&[], subject));
        assert_eq!(of(&[&organization, &named(COMMON_NAME, 0x13, b"app")]).as_deref(), Some("app"));
        assert_eq!(of(&[&organization]), None);
    }

    #[test]
    fn an_ambiguous_common_name_names_nobody() {
        let of = |subject: &[&[u8]]| common_name(&made_up(&[], subject));
        let app = named(COMMON_NAME, 0x0c, b"app");
        assert_eq!(of(&[&app, &named(COMMON_NAME, 0x0c, b"admin")]), None);
        for text in [&b""[..], b"app\0.example", b"\xff"] {
            assert_eq!(of(&[&named(COMMON_NAME, 0x0c, text)]), None, "{text:?}");
        }
        // BMPString, two bytes for each character.
        assert_eq!(of(&[&named(COMMON_NAME, 0x1e, b"\0a")]), None);
    }

    #[test]
    fn no_damage_panics() {
        let whole = certificate(&PKCS_ECDSA_P256_SHA256, &["app"]);
        for place in 0..whole.len() {
            let _ = (endpoint_hash(&whole[..place]), common_name(&whole[..place]));
            for value in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut damaged = whole.clone();
                damaged[place] = value;
                let _ = (endpoint_hash(&damaged), common_name(&damaged));
            }
        }
    }
}
