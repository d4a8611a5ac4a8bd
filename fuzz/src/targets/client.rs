//! What clients send: the packets that open a connection and log in, then the messages of a session.

use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use shardd::types::Format;
use shardd::wire::frontend::{self, Bind, BindInPlace, Message, ParseInPlace, Target};
use shardd::wire::scram::{self, Channel, Verifier};
use shardd::wire::startup::{self, Startup, StartupPacket, Version};
use shardd::wire::{Frame, Limits, certificate, next_is_sync, request, take_frame, take_startup_packet, whole_frame};

use super::stream::taken;

/// Far below what a session is allowed, so that the limit is met.
const MESSAGE_BYTES: usize = 20_000;
const SESSION: Limits = Limits::Session { message_bytes: MESSAGE_BYTES };

/// Start-up packets, then a login by SCRAM with and without a channel to bind to; certificates, and what a user's line in the
/// configuration may hold.
pub fn client_startup(data: &[u8]) {
    let (packets, mut rest, refused) = taken(data, |input| take_startup_packet(input).map_err(drop));
    let mut started = false;
    for packet in &packets {
        assert!(packet.len() <= shardd::wire::STARTUP_LIMIT_BYTES);
        if let Ok(StartupPacket::Startup(startup)) = startup::decode(packet) {
            check_startup(&startup);
            started = true;
        }
    }
    // A login follows the first start-up packet; what cannot be one here was refused as a packet.
    if refused && started {
        for channel in [Channel::Unbound, Channel::Endpoint(&[7; 32])] {
            log_in(&mut rest.clone(), channel);
        }
        rest.clear();
    }
    let _ = (certificate::endpoint_hash(data), certificate::common_name(data));
    if let Some(verifier) = std::str::from_utf8(data).ok().and_then(Verifier::parse) {
        assert_eq!(Verifier::parse(&verifier.to_string()), Some(verifier), "a verifier is printed as it is read");
    }
}

fn check_startup(startup: &Startup) {
    assert!(startup.version() <= Version::V3_2);
    assert!(!startup.user.is_empty() && !startup.database.is_empty());
    assert!(startup.protocol_options.iter().all(|option| startup.needs_negotiation() && option.starts_with("_pq_.")));
    assert!(startup.settings.iter().all(|(name, _)| !name.is_empty()));
    let texts = startup.settings.iter().flat_map(|(name, value)| [name, value]);
    assert!(texts.chain([&startup.user, &startup.database]).all(|text| !text.contains('\0')));
}

/// Two messages: nobody gets in who does not know the password, and nobody here does.
fn log_in(input: &mut BytesMut, channel: Channel<'_>) {
    static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| Verifier::from_password("pencil", [7; 16]));
    let mut next = || take_frame(input, Limits::Authenticating).ok().flatten();
    let Some(first) = next() else { return };
    let Ok((mechanism, data)) = frontend::sasl_initial_response(&first.body) else { return };
    let nonce = [7; scram::NONCE_BYTES];
    let Ok((told, exchange)) = scram::begin(mechanism, data, VERIFIER.clone(), &nonce, channel) else { return };
    assert!(told.starts_with("r=") && told.contains(",s=") && told.ends_with(",i=4096"), "{told}");
    if let Some(last) = next() {
        assert!(exchange.finish(&last.body).is_err(), "a guess is let in");
    }
}

/// The messages of a session.
pub fn client_session(data: &[u8]) {
    let promised = next_is_sync(data);
    let (frames, _, refused) = taken(data, |input| take_frame(input, SESSION).map_err(drop));
    if promised && !refused {
        let sync = frames.iter().position(|frame| !matches!(frame.kind, b'C' | b'H'));
        assert!(sync.is_some_and(|sync| frames[sync].kind == b'S'), "a Sync was seen that is none");
    }
    let first = frames.first().map(|frame| (frame.kind, frame.body.len() + 5));
    assert_eq!(whole_frame(data, SESSION), first, "a message is another one where it lies");
    for frame in &frames {
        assert!(frame.body.len() + 4 <= MESSAGE_BYTES);
        let message = frontend::decode(frame);
        check_in_place(frame, message.as_ref().ok());
        if let Ok(message) = message {
            check_message(frame, &message);
        }
        let _ = frontend::sasl_initial_response(&frame.body);
    }
}

/// A message that is read where it lies is the one that is decoded, and none where that has something to say.
fn check_in_place(frame: &Frame, message: Option<&Message<'_>>) {
    let body = &frame.body;
    match (frame.kind, message) {
        (b'Q', Some(Message::Query { text })) => assert_eq!(frontend::query_bytes(body), Some(text.as_bytes())),
        // What is no text is like no text that was read.
        (b'Q', _) => {
            let text =
                frontend::query_bytes(body).map(|bytes| (bytes.contains(&0), std::str::from_utf8(bytes).is_err()));
            assert!(matches!(text, None | Some((true, _) | (_, true))), "{body:?}");
        }
        (b'P', Some(Message::Parse { name, text, types })) => {
            let parse = ParseInPlace::read(body).expect("a Parse");
            assert_eq!((parse.name, parse.text, parse.types), (*name, *text, *types));
        }
        (b'P', _) => assert!(ParseInPlace::read(body).is_none()),
        (b'B', Some(Message::Bind(bind))) => check_bind_in_place(body, bind),
        (b'B', _) => assert!(BindInPlace::read(body).is_none()),
        _ => {}
    }
}

fn check_bind_in_place(body: &[u8], bind: &Bind<'_>) {
    let (formats, count) = (&bind.parameter_formats, bind.values.len());
    let Some(in_place) = BindInPlace::read(body) else {
        return assert!(formats.len() > 1 && formats.len() != count, "{bind:?}");
    };
    assert_eq!((in_place.portal, in_place.statement, in_place.count()), (bind.portal, bind.statement, count));
    for (index, value) in bind.values.iter().enumerate() {
        let format = match formats.as_slice() {
            [] => Format::Text,
            [one] => *one,
            each => each[index],
        };
        assert_eq!(in_place.value(index), value.as_deref().map(|value| (format, value)), "{index} of {bind:?}");
    }
    assert_eq!(in_place.value(count), None);
    let results: Vec<Format> = bind.result_formats.iter().collect();
    let format = match results.as_slice() {
        [] => Some(Format::Text),
        [one] => Some(*one),
        _ => None,
    };
    assert_eq!(in_place.result_format, format);
}

/// What is written from a decoded message is the message.
fn check_message(frame: &Frame, message: &Message<'_>) {
    let mut again = BytesMut::new();
    match message {
        Message::Query { text } => request::query(&mut again, text),
        Message::Parse { name, text, types } => {
            let types: Vec<u32> = types.iter().collect();
            request::parse(&mut again, name, text, &types);
        }
        Message::Bind(bind) => {
            let values: usize = bind.values.iter().flatten().map(Bytes::len).sum();
            assert!(values <= frame.body.len(), "values are longer than the message that they came in");
            if !bind.portal.is_empty() {
                return;
            }
            let values = request::Values { formats: &bind.parameter_formats, values: &bind.values };
            let formats: Vec<_> = bind.result_formats.iter().collect();
            request::bind(&mut again, bind.statement, values, &formats);
        }
        Message::Describe { target: Target::Statement, name } => request::describe_statement(&mut again, name),
        Message::Close { target: Target::Statement, name } => request::close_statement(&mut again, name),
        Message::Execute { portal: "", row_limit: 0 } if frame.body[..] == [0; 5] => request::execute(&mut again),
        Message::Sync => request::sync(&mut again),
        _ => return,
    }
    assert_eq!((again[0], &again[5..]), (frame.kind, &frame.body[..]), "{message:?}");
    assert_eq!(again[1..5], u32::try_from(frame.body.len() + 4).expect("short").to_be_bytes());
}
