//! Bytes that arrive in pieces.

use bytes::BytesMut;

/// Takes messages off a stream until there are none: once all of it has arrived, and once as it trickles in. Where it was
/// cut must make no difference; gives the messages, what is left, and whether the stream was refused.
pub(super) fn taken<T: PartialEq + std::fmt::Debug>(
    data: &[u8],
    mut take: impl FnMut(&mut BytesMut) -> Result<Option<T>, ()>,
) -> (Vec<T>, BytesMut, bool) {
    let mut drain = |input: &mut BytesMut, messages: &mut Vec<T>| {
        loop {
            match take(input) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return false,
                Err(()) => return true,
            }
        }
    };
    let mut whole = BytesMut::from(data);
    let mut messages = Vec::new();
    let refused = drain(&mut whole, &mut messages);

    let mut trickle = BytesMut::new();
    let mut trickled = Vec::new();
    let mut refused_early = false;
    // Pieces of the lengths that the data itself names.
    let mut at = 0;
    while at < data.len() && !refused_early {
        let length = 1 + usize::from(data[at] % 23);
        let end = data.len().min(at + length);
        trickle.extend_from_slice(&data[at..end]);
        refused_early = drain(&mut trickle, &mut trickled);
        at = end;
    }
    assert_eq!(trickled, messages, "the pieces in which a stream arrives change its messages");
    assert_eq!(refused_early, refused, "the pieces in which a stream arrives change whether it is refused");
    (messages, whole, refused)
}
