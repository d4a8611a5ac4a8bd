//! What a connection holds of the sessions that used it: settings, and prepared statements.
//!
//! Settings are replayed when a connection is attached to a session that has others: those it has set, and those that the
//! last one had and it has not are reset. Prepared statements have names of shardd's own, so every session can use those
//! that are there.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hasher};
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;

use super::call::StatementName;

/// Prepared statements that one connection keeps.
const STATEMENTS: usize = 500;

/// The settings that a session has set, by name. Shared by the sessions that have the same, so that equal ones are found
/// by their address.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SessionSettings(Vec<(String, String)>);

/// The lists in use, by their hash, and how many entries there may be before those out of use are taken away.
#[derive(Debug)]
struct InUse {
    by_hash: HashMap<u64, Vec<Weak<SessionSettings>>>,
    entries: usize,
}

const ENTRIES_AT_FIRST: usize = 1_024;

static IN_USE: LazyLock<Mutex<InUse>> =
    LazyLock::new(|| Mutex::new(InUse { by_hash: HashMap::new(), entries: ENTRIES_AT_FIRST }));

impl SessionSettings {
    /// The list of these settings, which is one for all sessions that have the same.
    pub fn of(settings: Vec<(String, String)>) -> Arc<SessionSettings> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&settings);
        let mut in_use = IN_USE.lock();
        let alike = in_use.by_hash.entry(hash).or_default();
        if let Some(known) = alike.iter().filter_map(Weak::upgrade).find(|known| known.0 == settings) {
            return known;
        }
        let new = Arc::new(SessionSettings(settings));
        alike.push(Arc::downgrade(&new));
        if in_use.by_hash.len() > in_use.entries {
            in_use.by_hash.retain(|_, alike| {
                alike.retain(|list| list.strong_count() > 0);
                !alike.is_empty()
            });
            in_use.entries = ENTRIES_AT_FIRST.max(in_use.by_hash.len() * 2);
        }
        new
    }
}

/// What is known of a connection's settings.
#[derive(Debug, Default)]
enum Known {
    /// As the server made it.
    #[default]
    Fresh,
    These(Arc<SessionSettings>),
    Lost,
}

/// Of numbers that shardd gives, one after the other: nobody can choose those that meet.
#[derive(Debug, Default)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        // The low bits of a product come of low bits only: the high ones come of all.
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// One connection's state.
#[derive(Debug, Default)]
pub(super) struct ConnectionState {
    settings: Known,
    /// By number: when it was last used.
    statements: HashMap<u64, u64, BuildHasherDefault<NumberHasher>>,
    clock: u64,
    /// Settings of the clients' own that were ever told: a server never forgets their names.
    custom: HashSet<String>,
}

impl ConnectionState {
    /// The server was told DISCARD ALL. It keeps the names of custom settings.
    pub(super) fn is_as_new(&mut self) {
        *self = ConnectionState { custom: std::mem::take(&mut self.custom), ..ConnectionState::default() };
    }

    /// Whether a session that has not set them would find custom settings, empty, that a fresh one would not.
    pub(super) fn shows_others(&self, settings: &SessionSettings) -> bool {
        self.custom.iter().any(|name| !settings.0.iter().any(|(own, _)| own == name))
    }

    /// What was set in a transaction was rolled back with it.
    pub(super) fn forget_settings(&mut self) {
        self.settings = Known::Lost;
    }

    /// What makes the connection act as the role that it logged in as, until the end of its transaction.
    pub(super) fn own_role(&self) -> &'static str {
        let set = |wanted: &str| match &self.settings {
            Known::Fresh => false,
            Known::These(settings) => settings.0.iter().any(|(name, _)| name == wanted),
            Known::Lost => wanted == "role",
        };
        match (set("session_authorization"), set("role")) {
            (true, _) => "SET LOCAL SESSION AUTHORIZATION DEFAULT; ",
            (false, true) => "SET LOCAL ROLE NONE; ",
            (false, false) => "",
        }
    }

    /// Whether the connection has the session's settings: they are the same list, as equal lists are.
    pub(super) fn is_attached_to(&self, wanted: &Arc<SessionSettings>) -> bool {
        matches!(&self.settings, Known::These(settings) if Arc::ptr_eq(settings, wanted))
    }

    /// Whether a session with these settings can run this prepared statement here with nothing said before.
    pub(super) fn is_ready_for(&mut self, wanted: &Arc<SessionSettings>, statement: Option<&StatementName>) -> bool {
        self.is_attached_to(wanted) && statement.is_none_or(|statement| self.has(statement.number))
    }

    /// The statements that make the connection's settings the session's; empty in the usual case.
    pub(super) fn changes_to(&self, wanted: &Arc<SessionSettings>) -> Option<String> {
        let none = SessionSettings::default();
        let (mut text, current) = match &self.settings {
            Known::These(settings) if Arc::ptr_eq(settings, wanted) || settings == wanted => return None,
            Known::These(settings) => (String::new(), &**settings),
            Known::Fresh => (String::new(), &none),
            Known::Lost => ("RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;".to_owned(), &none),
        };
        let is_role = |name: &str| matches!(name, "role" | "session_authorization");
        let roles = |settings: &SessionSettings| -> Vec<(String, String)> {
            settings.0.iter().filter(|(name, _)| is_role(name)).cloned().collect()
        };
        // Another role may not be allowed what this one set.
        let roles_differ = roles(current) != roles(wanted);
        let gone = |name: &str| !wanted.0.iter().any(|(wanted, _)| wanted == name);
        // The last that was set is the first to go.
        for (name, _) in current.0.iter().rev().filter(|(name, _)| gone(name) || (roles_differ && is_role(name))) {
            text.push_str(&format!("RESET {};", quoted_name(name)));
        }
        let differs =
            |setting: &(String, String)| !current.0.contains(setting) || (roles_differ && is_role(&setting.0));
        for (name, value) in wanted.0.iter().filter(|setting| differs(setting)) {
            // A list (`search_path`) is one value in quotes only for set_config.
            text.push_str(&format!("SELECT pg_catalog.set_config({}, {}, false);", quoted(name), quoted(value)));
        }
        (!text.is_empty()).then_some(text)
    }

    /// The server is about to be told them.
    pub(super) fn is_told(&mut self, settings: &SessionSettings) {
        self.custom.extend(settings.0.iter().map(|(name, _)| name).filter(|name| name.contains('.')).cloned());
    }

    pub(super) fn has_settings(&mut self, settings: &Arc<SessionSettings>) {
        self.settings = Known::These(Arc::clone(settings));
    }

    /// Whether the statement is prepared here; it counts as used now.
    pub(super) fn has(&mut self, statement: u64) -> bool {
        self.clock += 1;
        let clock = self.clock;
        self.statements.get_mut(&statement).map(|used| *used = clock).is_some()
    }

    /// A statement was prepared.
    pub(super) fn prepared(&mut self, statement: u64) {
        self.clock += 1;
        self.statements.insert(statement, self.clock);
    }

    /// The statement that has to go before another one can be prepared.
    pub(super) fn make_room(&mut self) -> Option<u64> {
        if self.statements.len() < STATEMENTS {
            return None;
        }
        let oldest = self.statements.iter().min_by_key(|(_, used)| **used).map(|(number, _)| *number)?;
        self.statements.remove(&oldest);
        Some(oldest)
    }
}

/// A text as a literal.
pub fn quoted(text: &str) -> String {
    // Whether backslashes escape is a setting itself: E'' says it.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A setting's name may have dots between its words.
fn quoted_name(name: &str) -> String {
    if name == "session_authorization" {
        return "SESSION AUTHORIZATION".to_owned();
    }
    name.split('.').map(|word| format!("\"{}\"", word.replace('"', "\"\""))).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(list: &[(&str, &str)]) -> Arc<SessionSettings> {
        SessionSettings::of(list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn a_connection_is_given_what_differs_and_loses_what_the_last_session_had() {
        let mut state = ConnectionState::default();
        assert_eq!(state.changes_to(&settings(&[])), None);
        let first = settings(&[("TimeZone", "Asia/Tokyo"), ("app.user", "o'neil\\")]);
        let text = state.changes_to(&first).unwrap();
        assert_eq!(
            text,
            "SELECT pg_catalog.set_config(E'TimeZone', E'Asia/Tokyo', false);\
             SELECT pg_catalog.set_config(E'app.user', E'o\\'neil\\\\', false);"
        );
        state.has_settings(&first);
        assert_eq!(state.changes_to(&settings(&[("TimeZone", "Asia/Tokyo"), ("app.user", "o'neil\\")])), None);
        assert_eq!(state.changes_to(&settings(&[("TimeZone", "Asia/Tokyo")])).unwrap(), "RESET \"app\".\"user\";");
    }

    #[test]
    fn the_least_used_statement_makes_room() {
        let mut state = ConnectionState::default();
        for number in 0..STATEMENTS as u64 {
            assert_eq!(state.make_room(), None);
            state.prepared(number);
        }
        assert!(state.has(0));
        assert_eq!(state.make_room(), Some(1));
        assert!(!state.has(1));
    }
}
