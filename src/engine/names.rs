//! Finds a session's prepared statements by their names, for less than it takes to run one.

use std::hash::{BuildHasher, Hasher};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Hashes names from a start that nobody knows: without it, nobody can choose names that meet. A session may have thousands.
#[derive(Clone, Debug)]
pub(super) struct ByName {
    seed: u64,
}

impl Default for ByName {
    fn default() -> ByName {
        ByName { seed: rand::random() }
    }
}

impl BuildHasher for ByName {
    type Hasher = NameHasher;

    #[inline]
    fn build_hasher(&self) -> NameHasher {
        NameHasher(self.seed)
    }
}

#[derive(Debug)]
pub(super) struct NameHasher(u64);

impl Hasher for NameHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    /// A text's end.
    #[inline]
    fn write_u8(&mut self, _: u8) {}
}
