//! What sessions have set when they begin is the same for most of them, and kept once.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;

use super::Set;

/// Different ones that are kept before those out of use are taken away.
const KEPT: usize = 1_024;

type Settings = BTreeMap<String, Set>;

static IN_USE: LazyLock<Mutex<HashMap<u64, Weak<Settings>>>> = LazyLock::new(Mutex::default);

/// An equal one that another session has, or this one for others to share.
pub(super) fn shared(settings: Arc<Settings>) -> Arc<Settings> {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&*settings);
    let mut in_use = IN_USE.lock();
    if let Some(known) = in_use.get(&hash).and_then(Weak::upgrade)
        && known == settings
    {
        return known;
    }
    if in_use.len() >= KEPT {
        in_use.retain(|_, settings| settings.strong_count() > 0);
    }
    if in_use.len() < KEPT {
        in_use.insert(hash, Arc::downgrade(&settings));
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(value: &str) -> Arc<Settings> {
        let set = Set { name: "app.test_of_sharing".to_owned(), value: value.to_owned() };
        Arc::new(BTreeMap::from([("app.test_of_sharing".to_owned(), set)]))
    }

    #[test]
    fn equal_ones_are_kept_once_and_others_apart() {
        let (first, second, other) = (shared(settings("a")), shared(settings("a")), shared(settings("b")));
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(other, settings("b"));
    }
}
