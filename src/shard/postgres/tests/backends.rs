//! Frames, buffers and cancel requests of one connection.

use bytes::Bytes;

use super::fake::Fake;
use super::*;
use crate::error::SqlState;

/// A connection whose server answers the first message with these bytes, and closes.
async fn sending(bytes: Vec<u8>) -> (Fake, Backend) {
    let bytes = Bytes::from(bytes);
    let server = Fake::start(move |mut peer, number| {
        let bytes = bytes.clone();
        async move {
            peer.let_in(number).await;
            peer.message().await;
            peer.send(&bytes).await;
        }
    })
    .await;
    let mut backend = Backend::connect(&target(server.port, ""), PATIENCE).await.expect("connected");
    backend.output().extend_from_slice(b"S\0\0\0\x04");
    backend.flush().await.unwrap();
    (server, backend)
}

#[tokio::test]
async fn the_start_up_names_user_database_encoding_and_options() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let sender = std::sync::Mutex::new(Some(sender));
    let server = Fake::start(move |mut peer, number| {
        let sender = sender.lock().unwrap().take();
        async move {
            let startup = peer.let_in(number).await;
            if let (Some(sender), Some(startup)) = (sender, startup) {
                sender.send(startup).unwrap();
            }
        }
    })
    .await;
    let options = "application_name=mine&options=-c%20a=b";
    let backend = Backend::connect(&target(server.port, options), PATIENCE).await.expect("connected");
    assert_eq!(backend.parameter("server_version"), Some("15.1"));
    let startup = receiver.await.unwrap();
    let expected =
        b"\0\x03\0\0user\0app\0database\0tickets\0client_encoding\0UTF8\0application_name\0mine\0options\0-c a=b\0\0";
    assert_eq!(&startup[..], expected);
}

#[tokio::test]
async fn runs_of_whole_frames_are_found_and_taken_without_a_copy() {
    let rows = [&b"D\0\0\0\x06\0\0"[..]; 3].concat();
    let (_server, mut backend) = sending([&rows[..], b"C\0\0\0\x0bSELECT\0", b"Z\0\0\0\x05I", b"D\0\0"].concat()).await;
    while backend.input().len() < 21 + 12 + 6 + 3 {
        assert!(backend.fill().await.unwrap() > 0);
    }
    let (bytes, next) = backend.run(|kind| kind == b'Z').unwrap();
    assert_eq!(bytes, 33);
    assert!(matches!(next, Next::Whole(Header { kind: b'Z', frame_bytes: 6 })));
    let begin = backend.input().as_ptr();
    let run = backend.take_bytes(bytes);
    assert_eq!((run.as_ptr(), run.len()), (begin, 33));
    let ready = backend.take_frame().unwrap().unwrap();
    assert_eq!((ready.kind, &ready.body[..]), (b'Z', &b"I"[..]));
    assert_eq!(backend.take_frame().unwrap(), None);
    assert_eq!(backend.fill().await.unwrap(), 0);
    assert!(backend.is_lost());
}

#[tokio::test]
async fn a_row_of_a_gibibyte_is_taken_in_parts_and_nothing_is_reserved_for_it() {
    let (_server, mut backend) = sending([&b"D\x40\0\0\0"[..], &[7; 100_000]].concat()).await;
    let mut taken = 0;
    while backend.fill().await.unwrap() > 0 {
        if taken == 0 {
            let Next::Partial(header) = backend.next().unwrap() else { continue };
            assert_eq!(header, Header { kind: b'D', frame_bytes: (1 << 30) + 1 });
            assert!(backend.take_frame().is_err(), "not as a whole");
        }
        taken += backend.take_bytes(usize::MAX).len();
        assert!(backend.input.capacity() < 1 << 20);
    }
    assert_eq!(taken, 100_005);
}

#[tokio::test]
async fn what_is_no_frame_is_an_error() {
    for bytes in [&b"D\0\0\0\x03"[..], b"D\xff\xff\xff\xff", b"Z\0\x10\0\0", b"?\0\0\0\x04"] {
        let (_server, mut backend) = sending(bytes.to_vec()).await;
        while backend.fill().await.unwrap() > 0 {}
        let sqlstate = |error: Error| error.sqlstate();
        assert_eq!(backend.take_frame().map_err(sqlstate), Err(SqlState::PROTOCOL_VIOLATION), "{bytes:?}");
        assert_eq!(backend.run(|_| false).map(|_| ()).map_err(sqlstate), Err(SqlState::PROTOCOL_VIOLATION));
    }
}

#[tokio::test]
async fn output_is_sent_whole_and_in_order() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let sender = std::sync::Mutex::new(Some(sender));
    let server = Fake::start(move |mut peer, number| {
        let sender = sender.lock().unwrap().take();
        async move {
            peer.let_in(number).await;
            let sent = peer.until_closed().await;
            sender.unwrap().send(sent).unwrap();
        }
    })
    .await;
    let mut backend = Backend::connect(&target(server.port, ""), PATIENCE).await.expect("connected");
    backend.output().extend_from_slice(b"one ");
    backend.flush().await.unwrap();
    backend.output().extend_from_slice(b"two ");
    backend.output().extend_from_slice(&vec![b'x'; 1 << 20]);
    backend.flush().await.unwrap();
    assert!(backend.output.is_empty());
    backend.terminate();
    let sent = receiver.await.unwrap();
    assert_eq!(sent.len(), 8 + (1 << 20) + 5);
    assert!(sent.starts_with(b"one two x") && sent.ends_with(b"xX\0\0\0\x04"));
}

#[tokio::test]
async fn a_cancel_request_carries_the_key_and_waits_until_it_was_passed_on() {
    let passed_on = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let done = Arc::clone(&passed_on);
    let server = Fake::start(move |mut peer, number| {
        let done = Arc::clone(&done);
        async move {
            if number == 0 {
                peer.let_in(9).await;
                peer.until_closed().await;
                return;
            }
            let request = peer.packet().await.unwrap();
            assert_eq!(&request[..], b"\x04\xd2\x16\x2e\0\0\0\x09key!");
            tokio::time::sleep(Duration::from_millis(50)).await;
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    })
    .await;
    let backend = Backend::connect(&target(server.port, ""), PATIENCE).await.expect("connected");
    let cancel = backend.cancel_key();
    assert_eq!(cancel.process(), 9);
    cancel.send(PATIENCE).await.unwrap();
    assert!(passed_on.load(std::sync::atomic::Ordering::SeqCst));
}

#[tokio::test]
async fn a_cancel_request_that_is_not_passed_on_in_time_is_an_error() {
    let server = Fake::start(|mut peer, number| async move {
        if number == 0 {
            peer.let_in(9).await;
        }
        peer.until_closed().await;
    })
    .await;
    let backend = Backend::connect(&target(server.port, ""), PATIENCE).await.expect("connected");
    let error = backend.cancel_key().send(Duration::from_millis(50)).await.expect_err("late");
    assert_eq!(error.sqlstate(), SqlState::CONNECTION_FAILURE);
}

#[tokio::test]
async fn a_server_without_utf8_is_refused() {
    let server = Fake::start(|mut peer, _| async move {
        peer.packet().await;
        peer.send(b"R\0\0\0\x08\0\0\0\0S\0\0\0\x1bclient_encoding\0LATIN1\0Z\0\0\0\x05I").await;
        peer.until_closed().await;
    })
    .await;
    let error = Backend::connect(&target(server.port, ""), PATIENCE).await.expect_err("refused");
    assert!(error.message().contains("UTF-8"), "{error}");
}
