//! Buffers that no client uses now, kept for the next on the same thread: an idle client holds none.

use std::cell::RefCell;

use bytes::BytesMut;

/// A buffer that grew past this is given up.
const BUFFER_BYTES: usize = 16 * 1024;
/// Buffers that one thread keeps.
const KEPT: usize = 64;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer, which may have room already.
pub(super) fn take() -> BytesMut {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Keeps an empty buffer's memory.
pub(super) fn give(buffer: &mut BytesMut) {
    let buffer = std::mem::take(buffer);
    if buffer.capacity() == 0 || buffer.capacity() > BUFFER_BYTES || !buffer.is_empty() {
        return;
    }
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < KEPT {
            spare.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_goes_from_one_client_to_the_next_and_a_large_one_to_nobody() {
        let mut buffer = BytesMut::with_capacity(4_096);
        give(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        assert!(take().capacity() >= 4_096);
        give(&mut BytesMut::with_capacity(BUFFER_BYTES * 2));
        assert_eq!(take().capacity(), 0);
    }

    #[test]
    fn what_is_not_empty_is_never_handed_on() {
        give(&mut BytesMut::from(&b"somebody's"[..]));
        assert!(take().is_empty());
    }
}
