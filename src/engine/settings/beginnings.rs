//! Sessions that begin as others did before: most clients of a cluster send the same start-up message.

use std::cell::RefCell;
use std::sync::Arc;

use super::{Defaults, Settings};
use crate::error::Result;

/// Different ones that one thread keeps.
const KEPT: usize = 8;

/// How a session began.
#[derive(Debug)]
struct Beginning {
    user: String,
    startup: Vec<(String, String)>,
    settings: Settings,
    reported: Arc<[(String, String)]>,
}

thread_local! {
    static BEFORE: RefCell<Vec<Beginning>> = const { RefCell::new(Vec::new()) };
}

/// The settings of a session that begins so, as `begin` makes them when they are not known.
///
/// # Errors
/// Those of `begin`.
pub(super) fn begun_before(
    user: &str,
    startup: &[(String, String)],
    defaults: &Arc<Defaults>,
    begin: impl FnOnce() -> Result<Settings>,
) -> Result<Settings> {
    let known = BEFORE.with_borrow(|before| {
        let same = |one: &&Beginning| {
            one.user == user && one.startup == startup && Arc::ptr_eq(&one.settings.defaults, defaults)
        };
        before.iter().find(same).map(|one| one.settings.clone())
    });
    if let Some(settings) = known {
        return Ok(settings);
    }
    let settings = begin()?;
    let reported = settings.reported().into();
    let beginning =
        Beginning { user: user.to_owned(), startup: startup.to_vec(), settings: settings.clone(), reported };
    BEFORE.with_borrow_mut(|before| {
        before.truncate(KEPT - 1);
        before.insert(0, beginning);
    });
    Ok(settings)
}

/// What is reported of settings that are still as a session began.
pub(super) fn reported_before(settings: &Settings) -> Option<Arc<[(String, String)]>> {
    BEFORE.with_borrow(|before| {
        let same = |one: &&Beginning| {
            Arc::ptr_eq(&one.settings.set, &settings.set)
                && Arc::ptr_eq(&one.settings.user, &settings.user)
                && Arc::ptr_eq(&one.settings.defaults, &settings.defaults)
        };
        before.iter().find(same).map(|one| Arc::clone(&one.reported))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn startup(name: &str) -> Vec<(String, String)> {
        vec![("application_name".to_owned(), name.to_owned())]
    }

    #[test]
    fn a_session_begins_as_the_last_of_its_kind_and_no_other() {
        let defaults = Arc::new(Defaults::own());
        let begin = |user: &str, name: &str, defaults| Settings::new(user, &startup(name), defaults).unwrap();
        let first = begin("a", "x", &defaults);
        assert!(Arc::ptr_eq(&first.set, &begin("a", "x", &defaults).set));
        assert_eq!(*first.reported_at_startup(), *first.reported());
        let shown = |settings: &Settings, name: &str| settings.show(name).unwrap();
        assert_eq!(shown(&begin("a", "y", &defaults), "application_name"), "y");
        assert_eq!(shown(&begin("b", "x", &defaults), "session_authorization"), "b");
        // A server's other defaults make another session.
        let others = Arc::new(Defaults::own());
        assert!(!Arc::ptr_eq(&begin("a", "x", &others).defaults, &defaults));
        let mut changed = begin("a", "x", &defaults);
        changed.set("application_name", "z").unwrap();
        assert!(changed.reported_at_startup().contains(&("application_name".to_owned(), "z".to_owned())));
        assert_eq!(shown(&begin("a", "x", &defaults), "application_name"), "x");
    }
}
