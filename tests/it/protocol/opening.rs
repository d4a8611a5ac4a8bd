//! Every message, and every length that cannot be, in every state before a client is authenticated.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use super::encryption::{Secured, startup};
use crate::support::client::USER;
use crate::support::frames::{Message, Writer};
use crate::support::tls::{Begin, TlsClient, encrypted, ssl_request, tcp};

const LENGTHS: [i32; 9] = [-1, 0, 3, 4, 7, 8, 10_001, 1 << 30, i32::MAX];
const KINDS: &[u8] = b"QPBDECHSXFdcfp";

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connected,
    /// Encryption that is not to be had was declined.
    Declined,
    Encrypted,
    /// The server has offered its mechanisms.
    Asked,
    /// The server has sent its half of the nonce.
    Challenged,
}

const STATES: [State; 5] = [State::Connected, State::Declined, State::Encrypted, State::Asked, State::Challenged];

enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsClient>),
}

impl Socket {
    fn write(&mut self, bytes: &[u8]) {
        match self {
            Socket::Plain(stream) => stream.write_all(bytes),
            Socket::Tls(stream) => stream.write_all(bytes),
        }
        .expect("sent");
    }

    /// Says that nothing more comes, and reads everything that the server still has to say.
    fn last_words(mut self) -> Vec<u8> {
        let mut words = Vec::new();
        // A server that closes with input unread resets the connection; what it said before was read.
        let _ = match &mut self {
            Socket::Plain(stream) => {
                let _ = stream.shutdown(Shutdown::Write);
                stream.read_to_end(&mut words)
            }
            Socket::Tls(stream) => {
                stream.conn.send_close_notify();
                let _ = stream.flush();
                let _ = stream.sock.shutdown(Shutdown::Write);
                stream.read_to_end(&mut words)
            }
        };
        words
    }
}

fn in_state(secured: &Secured, state: State) -> Socket {
    let mut stream = tcp(secured.port());
    match state {
        State::Connected => {}
        State::Declined => {
            stream.write_all(b"\0\0\0\x08\x04\xd2\x16\x30").expect("sent");
            let mut answer = [0];
            stream.read_exact(&mut answer).expect("an answer");
            assert_eq!(answer, *b"N");
        }
        State::Encrypted => {
            let config = secured.authority.client_config(None);
            return Socket::Tls(Box::new(encrypted(secured.port(), config, Begin::Asking).expect("encrypted")));
        }
        State::Asked | State::Challenged => {
            stream.write_all(&startup(USER)).expect("sent");
            assert_eq!(Message::read(&mut stream).expect("a question").kind, b'R');
        }
    }
    if state == State::Challenged {
        let mut writer = Writer::default();
        let first = b"n,,n=,r=abcdef";
        writer.message(b'p', |body| body.extend([&b"SCRAM-SHA-256\0\0\0\0\x0e"[..], first].concat()));
        stream.write_all(&writer.bytes).expect("sent");
        assert_eq!(Message::read(&mut stream).expect("a challenge").kind, b'R');
    }
    Socket::Plain(stream)
}

/// Nobody is let in, and whoever is told something is told what is wrong with the protocol.
fn assert_refused(words: &[u8], what: &str) {
    for (let_in, name) in [(&b"R\0\0\0\x08\0\0\0\0"[..], "AuthenticationOk"), (b"Z\0\0\0\x05", "ReadyForQuery")] {
        assert!(!words.windows(let_in.len()).any(|window| window == let_in), "{name} after {what}: {words:?}");
    }
    if words.is_empty() {
        return;
    }
    assert_eq!(words[0], b'E', "{what}: {words:?}");
    // 0A000: a packet whose version is not known.
    let told = |code: &[u8]| words.windows(code.len()).any(|window| window == code);
    assert!(told(b"C08P01\0") || told(b"C0A000\0"), "{what}: {words:?}");
}

#[test]
fn no_message_of_any_length_gets_past_any_state_before_authentication() {
    let secured = Secured::start("", "");
    for state in STATES {
        for kind in KINDS {
            for length in LENGTHS {
                let mut socket = in_state(&secured, state);
                socket.write(&[&[*kind][..], &length.to_be_bytes(), &[0; 8]].concat());
                let words = socket.last_words();
                let what = format!("{:?} of {length} bytes while {state:?}", *kind as char);
                assert_refused(&words, &what);
                let authenticating = matches!(state, State::Asked | State::Challenged);
                // Only a password that could still become whole is waited for.
                if authenticating && !(*kind == b'p' && (7..=1024).contains(&length)) {
                    assert!(!words.is_empty(), "{what} is not answered");
                }
            }
        }
    }
}

#[test]
fn no_type_of_message_gets_past_any_state_before_authentication() {
    let secured = Secured::start("", "");
    for state in STATES {
        for kind in 0..=255_u8 {
            let mut socket = in_state(&secured, state);
            socket.write(&[&[kind][..], &8_u32.to_be_bytes(), &[0; 4]].concat());
            let words = socket.last_words();
            // A handshake of TLS that is none: its alert.
            if kind == 0x16 && state == State::Connected {
                assert_eq!(words.first(), Some(&0x15), "{words:?}");
                continue;
            }
            assert_refused(&words, &format!("{kind} while {state:?}"));
        }
    }
}

#[test]
fn lengths_of_packets_without_a_type_are_judged_in_every_state() {
    let secured = Secured::start("", "");
    for state in [State::Connected, State::Declined, State::Encrypted] {
        for length in LENGTHS {
            for rest in [&b""[..], b"\x04\xd2\x16\x2f", b"\0\x03\0\0", b"\0\x03\0\x02user\0app\0"] {
                // A request for encryption of the right length is one.
                if length == 8 && rest == b"\x04\xd2\x16\x2f" {
                    continue;
                }
                let mut socket = in_state(&secured, state);
                socket.write(&[&length.to_be_bytes()[..], rest].concat());
                assert_refused(&socket.last_words(), &format!("{length} bytes of {rest:?} while {state:?}"));
            }
        }
    }
}

#[test]
fn a_start_up_cut_off_anywhere_ends_quietly() {
    let secured = Secured::start("", "");
    let whole = [ssl_request(), startup(USER)];
    for packet in &whole {
        for end in 0..packet.len() {
            let mut socket = in_state(&secured, State::Connected);
            socket.write(&packet[..end]);
            assert!(socket.last_words().is_empty(), "{end} bytes of {packet:?}");
        }
    }
}
