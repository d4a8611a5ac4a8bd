//! Postgres's own extended hash functions, computed here.
//!
//! A row's slot must be the same whoever computes it: shardd when it routes, Postgres when it selects or guards "the rows
//! of these slots", and SQLite through a registered function. Postgres's hash is the one that all three can have, since
//! there it is built in. It is Jenkins's lookup3 with Postgres's starting value and seed; a test compares it with a real
//! server.
//!
//! Source of the algorithm: <https://github.com/postgres/postgres/blob/master/src/common/hashfn.c> and, for the types,
//! `src/backend/access/hash/hashfunc.c`.

/// The seed of every slot hash ("shardd" in ASCII), as a Postgres bigint. Never changed: it would move every row.
pub const SLOT_HASH_SEED: u64 = 0x7368_6172_6464;

/// `hashint8extended(key, SLOT_HASH_SEED)`. Smallint and integer hash alike: their functions agree with this one.
pub fn hash_bigint(key: i64) -> u64 {
    let low = key as u32;
    let high = (key >> 32) as u32;
    // Folds the halves so that an int4 and the equal int8 hash alike.
    let folded = low ^ if key >= 0 { high } else { !high };
    hash_u32(folded, SLOT_HASH_SEED)
}

/// `hashtextextended(key COLLATE "C", SLOT_HASH_SEED)`: the bytes of the text.
pub fn hash_text(key: &str) -> u64 {
    hash_bytes(key.as_bytes(), SLOT_HASH_SEED)
}

/// `uuid_hash_extended(key, SLOT_HASH_SEED)`: the 16 bytes of the uuid.
pub fn hash_uuid(key: &[u8; 16]) -> u64 {
    hash_bytes(key, SLOT_HASH_SEED)
}

/// lookup3's three words of state.
struct State {
    a: u32,
    b: u32,
    c: u32,
}

impl State {
    fn new(length: u32, seed: u64) -> State {
        let start = 0x9e37_79b9_u32.wrapping_add(length).wrapping_add(3_923_095);
        let mut state = State { a: start, b: start, c: start };
        if seed != 0 {
            state.a = state.a.wrapping_add((seed >> 32) as u32);
            state.b = state.b.wrapping_add(seed as u32);
            state.mix();
        }
        state
    }

    fn add(&mut self, a: u32, b: u32, c: u32) {
        self.a = self.a.wrapping_add(a);
        self.b = self.b.wrapping_add(b);
        self.c = self.c.wrapping_add(c);
    }

    fn mix(&mut self) {
        let State { a, b, c } = self;
        mix_step(a, b, c, 4);
        mix_step(b, c, a, 6);
        mix_step(c, a, b, 8);
        mix_step(a, b, c, 16);
        mix_step(b, c, a, 19);
        mix_step(c, a, b, 4);
    }

    fn finish(mut self) -> u64 {
        let State { a, b, c } = &mut self;
        final_step(c, b, 14);
        final_step(a, c, 11);
        final_step(b, a, 25);
        final_step(c, b, 16);
        final_step(a, c, 4);
        final_step(b, a, 14);
        final_step(c, b, 24);
        u64::from(self.b) << 32 | u64::from(self.c)
    }
}

/// `x -= z; x ^= rot(z, bits); z += y`
fn mix_step(x: &mut u32, y: &mut u32, z: &mut u32, bits: u32) {
    *x = x.wrapping_sub(*z) ^ z.rotate_left(bits);
    *z = z.wrapping_add(*y);
}

/// `x ^= y; x -= rot(y, bits)`
fn final_step(x: &mut u32, y: &u32, bits: u32) {
    *x = (*x ^ *y).wrapping_sub(y.rotate_left(bits));
}

/// `hash_uint32_extended`
fn hash_u32(key: u32, seed: u64) -> u64 {
    let mut state = State::new(4, seed);
    state.add(key, 0, 0);
    state.finish()
}

/// `hash_bytes_extended`
fn hash_bytes(bytes: &[u8], seed: u64) -> u64 {
    // Postgres has an int here; a value cannot be longer than 1 GiB.
    let mut state = State::new(bytes.len() as u32, seed);
    let (blocks, tail) = bytes.as_chunks::<12>();
    for block in blocks {
        let [a, b, c] = little_endian_words(block);
        state.add(a, b, c);
        state.mix();
    }
    // The lowest byte of c is reserved for the length: the tail's last bytes are shifted past it.
    let mut padded = [0; 12];
    for (index, byte) in tail.iter().enumerate() {
        padded[if index < 8 { index } else { index + 1 }] = *byte;
    }
    let [a, b, c] = little_endian_words(&padded);
    state.add(a, b, c);
    state.finish()
}

fn little_endian_words(block: &[u8; 12]) -> [u32; 3] {
    let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    [word(0), word(4), word(8)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The unseeded hash's lower half is Postgres's `hashint4`, which has not changed since 8.4.
    #[test]
    fn without_a_seed_the_lower_half_is_postgres_old_hash() {
        assert_eq!(hash_u32(1, 0) as u32 as i32, -1_905_060_026, "select hashint4(1)");
    }

    #[test]
    fn a_bigint_hashes_like_the_equal_integer() {
        for key in [0_i32, 1, -1, 7, i32::MAX, i32::MIN] {
            assert_eq!(hash_bigint(i64::from(key)), hash_u32(key as u32, SLOT_HASH_SEED), "{key}");
        }
    }

    #[test]
    fn every_tail_length_has_its_own_hash() {
        let text = "abcdefghijklmnopqrstuvwxyz";
        let hashes: std::collections::BTreeSet<u64> = (0..=26).map(|length| hash_text(&text[..length])).collect();
        assert_eq!(hashes.len(), 27);
    }
}
