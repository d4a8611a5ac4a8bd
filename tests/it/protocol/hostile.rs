//! What no driver sends: lengths that cannot be, types that do not exist, bytes where none should be.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{send, sqlstate};
use crate::support::frames::Message;
use crate::support::{Client, PATIENCE, Shardd};

const LENGTHS: [i32; 9] = [-1, 0, 3, 4, 7, 8, 10_001, 1 << 30, i32::MAX];

fn connect(server: &Shardd) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", server.ports.postgres)).expect("the door listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    stream
}

/// Everything that the server says until it closes the connection.
fn last_words(stream: &mut TcpStream) -> Vec<u8> {
    let mut words = Vec::new();
    let _ = stream.read_to_end(&mut words);
    words
}

/// A client that has been there all along and must not notice.
fn assert_unharmed(witness: &mut Client) {
    assert_eq!(witness.query("SELECT 1").value(), "1");
}

#[test]
fn lengths_that_cannot_be_end_their_own_connection_only() {
    let server = Shardd::start();
    let mut witness = server.client();
    for length in LENGTHS {
        let mut stream = connect(&server);
        stream.write_all(&length.to_be_bytes()).expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("closed");
        let words = last_words(&mut stream);
        let refused = !(8..=10_000).contains(&length);
        assert_eq!(words.first() == Some(&b'E'), refused, "a start-up packet of {length}: {words:?}");
        assert_unharmed(&mut witness);
    }
    for kind in *b"QPBDECHSXFdcfp" {
        for length in LENGTHS {
            let mut client = server.client();
            let message = [&[kind][..], &length.to_be_bytes()].concat();
            client.send(&crate::support::frames::Writer { bytes: message }).expect("sent");
            if !(4..=1 << 29).contains(&length) {
                assert_eq!(sqlstate(&client.receive().expect("an error")), "08P01", "{} {length}", kind as char);
                assert!(client.receive().is_err(), "the connection ends");
            }
            drop(client);
            assert_unharmed(&mut witness);
        }
    }
}

#[test]
fn message_types_that_do_not_exist_end_the_connection() {
    let server = Shardd::start();
    let mut witness = server.client();
    for kind in (0..=255u8).filter(|kind| !b"QPBDECHSXFdcfp".contains(kind)) {
        let mut client = server.client();
        send(&mut client, |writer| writer.message(kind, |_| ()));
        assert_eq!(sqlstate(&client.receive().expect("an error")), "08P01", "{kind}");
        assert!(client.receive().is_err());
    }
    assert_unharmed(&mut witness);
}

#[test]
fn a_message_that_does_not_fit_its_length_is_an_error_and_the_next_one_is_answered() {
    let server = Shardd::start();
    let mut client = server.client();
    send(&mut client, |writer| writer.message(b'Q', |body| body.extend(b"SELECT 1")));
    let answers = client.answers().expect("answered");
    assert_eq!(answers[0].sqlstate(), "08P01");
    send(&mut client, |writer| {
        writer.message(b'B', |body| body.extend([0, 0, 0, 0, 0x7f, 0xff])).execute("", 0).sync()
    });
    let answers = client.answers().expect("answered");
    assert_eq!((answers.len(), answers[0].sqlstate()), (1, "08P01"));
    send(&mut client, |writer| writer.message(b'Q', |body| body.extend(b"SELECT '\xff'\0")));
    assert_eq!(client.answers().expect("answered")[0].sqlstate(), "22021");
    assert_unharmed(&mut client);
}

#[test]
fn bytes_stuffed_behind_a_request_for_encryption_are_not_read() {
    let server = Shardd::start();
    let mut stream = connect(&server);
    let request = [&8u32.to_be_bytes()[..], &80_877_103u32.to_be_bytes()].concat();
    let mut startup = crate::support::frames::Writer::default();
    startup.startup(&[("user", "app"), ("database", "tickets")]);
    stream.write_all(&[&request[..], &startup.bytes].concat()).expect("sent");
    let words = last_words(&mut stream);
    assert!(words.windows(5).any(|window| window == b"08P01"), "{words:?}");
    assert!(!words.windows(5).any(|window| window == b"Z\0\0\0\x05"), "{words:?}");
}

/// A thousand connections, of which a third each claims what is allowed, what is not, and that before authentication.
#[test]
fn clients_that_claim_much_and_send_little_cost_little() {
    let server = Shardd::start_with("[limits]\nmax_clients = 2000\n");
    let mut witness = server.client();
    let before = resident_kib(&server);
    let (mut claiming, mut strangers) = (Vec::new(), Vec::new());
    for count in 0..1_000 {
        let claim = |length: i32| [&b"Q"[..], &length.to_be_bytes(), b"SELECT"].concat();
        if count % 3 == 2 {
            let mut stream = connect(&server);
            stream.write_all(&(1_i32 << 30).to_be_bytes()).expect("sent");
            strangers.push(stream);
            continue;
        }
        let mut client = server.client();
        let message = if count % 3 == 0 { claim(60 << 20) } else { claim(1 << 30) };
        client.send(&crate::support::frames::Writer { bytes: message }).expect("sent");
        claiming.push(client);
    }
    assert_unharmed(&mut witness);
    let grown = resident_kib(&server).saturating_sub(before);
    assert!(grown < 64 * 1024, "1,000 claims took {grown} KiB");
}

fn resident_kib(server: &Shardd) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its size");
    line.split_whitespace().nth(1).and_then(|size| size.parse().ok()).expect("a number")
}

#[test]
fn messages_of_the_wrong_place_are_refused_without_losing_step() {
    let server = Shardd::start();
    let mut client = server.client();
    // CopyData outside COPY is dropped; a function call has a ReadyForQuery of its own.
    send(&mut client, |writer| {
        writer
            .message(b'd', |body| body.extend(b"1\t2\n"))
            .message(b'c', |_| ())
            .message(b'F', |body| body.extend([0; 8]));
        writer.query("SELECT 2")
    });
    let answers = client.answers().expect("answered");
    assert_eq!((answers.len(), answers[0].sqlstate()), (1, "0A000"));
    let answers = client.answers().expect("answered");
    assert_eq!(answers[0].value(), "2");

    client.run(super::SEATS);
    assert_eq!(client.query("COPY seats FROM '/tmp/x'").sqlstate(), "0A000");
    assert_eq!(client.query("SELECT 3").value(), "3");

    send(&mut client, |writer| writer.message(b'p', |body| body.extend(b"secret\0")));
    let refused: Message = client.receive().expect("an error");
    assert_eq!(sqlstate(&refused), "08P01");
    assert!(client.receive().is_err());
}
