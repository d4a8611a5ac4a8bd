//! A session's settings: what SET, SHOW, RESET and the start-up message read and write.
//!
//! Settings that change what shardd answers (`TimeZone`, `statement_timeout`, the transaction defaults) are checked as
//! Postgres checks them. On SQLite shards, others that drivers send at every connect are kept and shown again, and a
//! setting that would make Postgres answer differently in a way that shardd does not follow (`DateStyle` other than ISO, a
//! `search_path` without public, `client_encoding` other than UTF8) is refused rather than ignored.
//!
//! On Postgres shards every setting of the server's works: a shard looks at the value (see `asking`), and the connections
//! that run this session's statements are told of it. What the client has not set is the server's own.

mod beginnings;
mod known;
mod shared;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) use known::WRITES_VALUES;
use known::{DEFAULTS, FIXED, HARMLESS, KEPT_HERE, NEVER_A_SERVERS, NOT_RESET_WITH_ALL, READ_HERE, REPORTED};
use values::{
    float_digits, invalid_value, iso_date_style, message_level, needs_bool, one_of, parse_duration_ms, parse_options,
    public_search_path, show_bool, show_duration, unknown_setting, utf8,
};
pub(super) use values::{parse_bool, parse_isolation, show_isolation, shown_everywhere};

use crate::error::{Error, Result, SqlState};
use crate::plan::Isolation;
use crate::shard::postgres::SessionSettings;
use crate::types::{TextStyle, Zone};

/// What a setting is where the session has not set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DefaultSetting {
    /// As Postgres spells it.
    pub(super) name: String,
    pub(super) value: String,
    pub(super) description: String,
}

/// The defaults of a cluster, by name in lower case. Shared by its sessions.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Defaults {
    by_name: BTreeMap<String, DefaultSetting>,
    /// They are a server's: what is not known here may be known there.
    of_server: bool,
}

impl Defaults {
    /// Those of SQLite shards.
    pub(super) fn own() -> Defaults {
        let all = DEFAULTS.iter().chain(HARMLESS).chain(FIXED);
        let by_name = all
            .map(|(name, value)| {
                let default =
                    DefaultSetting { name: (*name).to_owned(), value: (*value).to_owned(), description: String::new() };
                (name.to_lowercase(), default)
            })
            .collect();
        Defaults { by_name, of_server: false }
    }

    /// Those of Postgres shards: name, value and description, as SHOW ALL gives them.
    pub(super) fn of_server(rows: &[Vec<Option<String>>]) -> Defaults {
        let mut defaults = Defaults { of_server: true, ..Defaults::own() };
        // What SHOW ALL leaves out keeps its constant; what the server does not have is no setting.
        let kept = |name: &str| REPORTED.iter().chain(&["role"]).any(|known| known.eq_ignore_ascii_case(name));
        defaults.by_name.retain(|folded, _| kept(folded));
        for row in rows {
            let [Some(name), value, description] = row.as_slice() else { continue };
            let folded = name.to_lowercase();
            if !NEVER_A_SERVERS.contains(&folded.as_str()) {
                let (value, description) = (value.clone().unwrap_or_default(), description.clone().unwrap_or_default());
                defaults.by_name.insert(folded, DefaultSetting { name: name.clone(), value, description });
            }
        }
        defaults
    }

    fn value(&self, folded: &str) -> Option<&str> {
        self.by_name.get(folded).map(|default| default.value.as_str())
    }
}

/// What the session has set: the name as Postgres spells it, and the value as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Set {
    name: String,
    value: String,
}

impl Set {
    pub(super) fn value(&self) -> &str {
        &self.value
    }
}

/// One session's settings. Values that the hot path needs are kept parsed.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    defaults: Arc<Defaults>,
    user: Arc<str>,
    /// Names that the defaults do not have are custom ones, and start-up settings that nobody knows.
    /// Copied when it is changed: most sessions change nothing, and a transaction keeps what it began with.
    set: Arc<BTreeMap<String, Set>>,
    /// What RESET goes back to.
    startup: Arc<BTreeMap<String, Set>>,
    text_style: TextStyle,
    /// What connections to Postgres shards are told.
    for_shards: Arc<SessionSettings>,
    /// `None` until the client sets it; zero is no limit.
    pub(super) statement_timeout: Option<Duration>,
    pub(super) idle_in_transaction_timeout: Option<Duration>,
    pub(super) default_isolation: Isolation,
    pub(super) default_read_only: bool,
}

impl Settings {
    /// Those of a session that begins.
    ///
    /// # Errors
    /// A start-up setting has a value that it cannot have.
    pub(super) fn new(user: &str, startup: &[(String, String)], defaults: &Arc<Defaults>) -> Result<Settings> {
        beginnings::begun_before(user, startup, defaults, || Settings::begin(user, startup, defaults))
    }

    fn begin(user: &str, startup: &[(String, String)], defaults: &Arc<Defaults>) -> Result<Settings> {
        let mut settings = Settings {
            defaults: Arc::clone(defaults),
            user: user.into(),
            set: Arc::default(),
            startup: Arc::default(),
            text_style: TextStyle::default(),
            for_shards: Arc::default(),
            statement_timeout: None,
            idle_in_transaction_timeout: None,
            default_isolation: Isolation::ReadCommitted,
            default_read_only: false,
        };
        for folded in ["timezone", "default_transaction_isolation", "default_transaction_read_only"] {
            settings.follow(folded);
        }
        for (name, value) in startup {
            settings.set_at_startup(name, value)?;
        }
        settings.set = shared::shared(settings.set);
        settings.startup = Arc::clone(&settings.set);
        settings.tell_shards();
        Ok(settings)
    }

    /// What a connection to a Postgres shard is told, so that the shard formats, finds and permits as the session wants
    /// it: what decides how values are written, always; the rest where the client has set it.
    pub(super) fn for_shards(&self) -> &Arc<SessionSettings> {
        &self.for_shards
    }

    fn tell_shards(&mut self) {
        let mut all = Vec::new();
        for folded in WRITES_VALUES.iter().filter(|folded| !self.set.contains_key(**folded)) {
            if let Some(default) = self.defaults.by_name.get(*folded) {
                all.push((default.name.clone(), default.value.clone()));
            }
        }
        for (folded, set) in &*self.set {
            // shardd's own limit rules, and the server's would stand in its way.
            let limit = matches!(folded.as_str(), "statement_timeout" | "idle_in_transaction_session_timeout");
            let known = self.defaults.by_name.contains_key(folded) || folded == "session_authorization";
            if limit && self.defaults.value(folded).is_some_and(|value| value != "0") {
                all.push((set.name.clone(), "0".to_owned()));
            } else if folded.starts_with("shardd.") {
                // They are for shardd.
            } else if !KEPT_HERE.contains(&folded.as_str()) && (known || folded.contains('.')) {
                // A name without a dot came with the start-up message, and may be no setting at all.
                all.push((set.name.clone(), set.value.clone()));
            }
        }
        // What others may set only as somebody else is told before that.
        all.sort_by_key(|(name, _)| match name.as_str() {
            "role" => 2,
            "session_authorization" => 1,
            _ => 0,
        });
        self.for_shards = SessionSettings::of(all);
    }

    /// Start-up settings are never refused for their name: drivers send what their server had.
    fn set_at_startup(&mut self, name: &str, value: &str) -> Result<()> {
        if name == "options" {
            for (name, value) in parse_options(value) {
                self.set_at_startup(&name, &value)?;
            }
            return Ok(());
        }
        let folded = name.to_lowercase();
        if is_fixed(&folded) {
            return Ok(());
        }
        if self.defaults.of_server && self.asks_shard(name) {
            self.keep(name, value.to_owned());
            return if folded == "timezone" { self.keep_zone(value).map(|_| ()) } else { Ok(()) };
        }
        if self.defaults.by_name.contains_key(&folded) {
            return self.set_untold(name, value).map(|_| ());
        }
        self.keep(name, value.to_owned());
        Ok(())
    }

    /// Those of the start-up message that a shard has not looked at.
    pub(super) fn unchecked(&self) -> Vec<(String, String)> {
        let all = self.set.iter().filter(|(folded, _)| self.defaults.of_server && self.asks_shard(folded));
        // What nobody knows is kept, and told nobody.
        let known = all.filter(|(folded, _)| self.defaults.by_name.contains_key(*folded));
        known.map(|(_, set)| (set.name.clone(), set.value.clone())).collect()
    }

    /// A shard has looked at the start-up settings.
    pub(super) fn checked_at_startup(&mut self) {
        self.startup = Arc::clone(&self.set);
    }

    pub(super) fn text_style(&self) -> &TextStyle {
        &self.text_style
    }

    /// Why rows of several shards cannot be put together: values would be written otherwise than shardd reads them.
    ///
    /// # Errors
    /// 0A000 with the setting.
    pub(super) fn require_readable_values(&self) -> Result<()> {
        let readable = |folded: &str, value: &str| match folded {
            "datestyle" => value.starts_with("ISO"),
            "intervalstyle" => value == "postgres",
            "bytea_output" => value == "hex",
            "extra_float_digits" => value.parse().is_ok_and(|digits: i32| digits > 0),
            _ => true,
        };
        for folded in WRITES_VALUES {
            if let Some(value) = self.value(folded).filter(|value| !readable(folded, value)) {
                return Err(Error::unsupported(
                    format_args!("putting rows of several shards together with {folded} = '{value}'"),
                    "Use SET with the value that Postgres has by default, or give the key, so that one shard answers.",
                ));
            }
        }
        Ok(())
    }

    /// All that Postgres reports, for the start of a session.
    pub(super) fn reported_at_startup(&self) -> Arc<[(String, String)]> {
        beginnings::reported_before(self).unwrap_or_else(|| self.reported().into())
    }

    pub(super) fn reported(&self) -> Vec<(String, String)> {
        let value = |name: &str| self.value(&name.to_lowercase()).unwrap_or_default().to_owned();
        REPORTED.iter().map(|name| ((*name).to_owned(), value(name))).collect()
    }

    /// Whether a change of this setting is reported to the client, and under which spelling.
    pub(super) fn reported_name(name: &str) -> Option<&'static str> {
        REPORTED.iter().copied().find(|reported| reported.eq_ignore_ascii_case(name))
    }

    fn value(&self, folded: &str) -> Option<&str> {
        match self.set.get(folded) {
            Some(set) => Some(&set.value),
            None if folded == "session_authorization" => Some(&self.user),
            None => self.defaults.value(folded),
        }
    }

    /// # Errors
    /// 42704 for a name that is not known here; a server may know it.
    pub(super) fn show(&self, name: &str) -> Result<String> {
        self.value(&name.to_lowercase()).map(str::to_owned).ok_or_else(|| unknown_setting(name))
    }

    /// Every setting, by name, with its value and description.
    pub(super) fn all(&self) -> Vec<[String; 3]> {
        let of_server = self.defaults.by_name.iter().map(|(folded, default)| {
            let value = self.value(folded).unwrap_or_default().to_owned();
            [default.name.clone(), value, default.description.clone()]
        });
        let custom = self.set.iter().filter(|(folded, _)| !self.defaults.by_name.contains_key(*folded));
        of_server.chain(custom.map(|(_, set)| [set.name.clone(), set.value.clone(), String::new()])).collect()
    }

    /// Whether a shard has to look at a value before it is set.
    pub(super) fn asks_shard(&self, name: &str) -> bool {
        let folded = name.to_lowercase();
        self.defaults.of_server && !READ_HERE.contains(&folded.as_str()) && !self.is_custom(&folded)
    }

    /// A name of the client's own: any two words with a dot between them, unless the server has such a setting.
    fn is_custom(&self, folded: &str) -> bool {
        let is_word = |word: &str| {
            let start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80;
            let part = |byte: u8| start(byte) || byte.is_ascii_digit() || byte == b'$';
            word.bytes().next().is_some_and(start) && word.bytes().all(part)
        };
        folded.contains('.')
            && folded.split('.').all(is_word)
            && !folded.starts_with("plpgsql.")
            && !self.defaults.by_name.contains_key(folded)
    }

    /// Whether what a shard says to a value depends on what the session has set.
    pub(super) fn answers_depend_on_session(&self, name: &str) -> bool {
        [&name.to_lowercase(), "role", "session_authorization"].iter().any(|folded| self.set.contains_key(*folded))
    }

    /// Sets what a shard has looked at; `value` is as it shows it.
    ///
    /// # Errors
    /// 0A000 for a value that shardd does not follow.
    pub(super) fn set_checked(&mut self, name: &str, value: &str) -> Result<()> {
        match name.to_lowercase().as_str() {
            "seed" => {
                return Err(Error::unsupported(
                    "SET seed",
                    "Call setseed() in the statement that uses random(): no other one is sure to be on the same connection.",
                ));
            }
            "timezone" => drop(self.keep_zone(value)?),
            "role" if value == "none" => drop(Arc::make_mut(&mut self.set).remove("role")),
            _ => self.keep(name, value.to_owned()),
        }
        self.tell_shards();
        Ok(())
    }

    /// Sets, and gives the value as it is now shown.
    ///
    /// # Errors
    /// 42704, 55P02 or 22023 as Postgres; 0A000 for a value that shardd does not follow.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<String> {
        let shown = self.set_untold(name, value)?;
        self.tell_shards();
        Ok(shown)
    }

    fn set_untold(&mut self, name: &str, value: &str) -> Result<String> {
        let folded = name.to_lowercase();
        if !self.defaults.by_name.contains_key(&folded) {
            // One without a dot came with the start-up message.
            if !folded.contains('.') && !self.set.contains_key(&folded) {
                let session_authorization = folded == "session_authorization";
                return match session_authorization && self.user.eq_ignore_ascii_case(value) {
                    true => Ok(value.to_owned()),
                    false if session_authorization => Err(refused_role("SET SESSION AUTHORIZATION")),
                    false => Err(unknown_setting(name)),
                };
            }
            self.keep(name, value.to_owned());
            return Ok(value.to_owned());
        }
        if is_fixed(&folded) {
            if self.value(&folded).is_some_and(|current| current.eq_ignore_ascii_case(value)) {
                return Ok(value.to_owned());
            }
            return Err(Error::new(
                SqlState::CANT_CHANGE_RUNTIME_PARAM,
                format!("parameter \"{name}\" cannot be changed"),
            ));
        }
        if folded == "timezone" {
            return self.keep_zone(value);
        }
        let value = self.check(&folded, value)?;
        self.keep(name, value.clone());
        Ok(value)
    }

    fn keep(&mut self, name: &str, value: String) {
        let folded = name.to_lowercase();
        let name = self.defaults.by_name.get(&folded).map_or_else(|| folded.clone(), |default| default.name.clone());
        Arc::make_mut(&mut self.set).insert(folded.clone(), Set { name, value });
        self.follow(&folded);
    }

    fn keep_zone(&mut self, value: &str) -> Result<String> {
        let zone = Zone::from_setting(value)?;
        let shown = zone.name().to_owned();
        self.keep("TimeZone", shown.clone());
        self.text_style.zone = zone;
        Ok(shown)
    }

    /// Keeps parsed what is needed parsed. The value was accepted once.
    fn follow(&mut self, folded: &str) {
        let value = self.value(folded).unwrap_or_default();
        let limit = |name: &str| {
            let set = self.set.get(name)?;
            parse_duration_ms(name, &set.value).ok().map(Duration::from_millis)
        };
        match folded {
            "timezone" => self.text_style.zone = Zone::from_setting(value).unwrap_or(Zone::UTC),
            "statement_timeout" => self.statement_timeout = limit(folded),
            "idle_in_transaction_session_timeout" => self.idle_in_transaction_timeout = limit(folded),
            "default_transaction_isolation" => {
                self.default_isolation = parse_isolation(value).unwrap_or(Isolation::ReadCommitted);
            }
            "default_transaction_read_only" => self.default_read_only = parse_bool(value).unwrap_or(false),
            _ => {}
        }
    }

    fn check(&self, folded: &str, value: &str) -> Result<String> {
        match folded {
            "datestyle" => iso_date_style(value),
            "intervalstyle" => one_of("IntervalStyle", value, &["postgres"], "interval output"),
            "bytea_output" => one_of("bytea_output", value, &["hex"], "bytea output"),
            "client_encoding" => utf8(value),
            "standard_conforming_strings" => one_of("standard_conforming_strings", value, &["on"], "string syntax")
                .or_else(|error| if parse_bool(value) == Some(true) { Ok("on".to_owned()) } else { Err(error) }),
            "search_path" => public_search_path(value, self.defaults.of_server),
            "extra_float_digits" => float_digits(value, self.defaults.of_server),
            "statement_timeout" | "idle_in_transaction_session_timeout" | "lock_timeout" => {
                parse_duration_ms(folded, value).map(show_duration)
            }
            "default_transaction_isolation" => match parse_isolation(value) {
                Some(_) => Ok(value.to_lowercase()),
                None => Err(invalid_value("default_transaction_isolation", value)),
            },
            "role" if !value.eq_ignore_ascii_case("none") => Err(refused_role("SET ROLE")),
            // Has more values than these two.
            "synchronous_commit" => Ok(value.to_lowercase()),
            "application_name" => {
                let shown = |byte: u8| if matches!(byte, b' '..=b'~') { char::from(byte) } else { '?' };
                Ok(value.bytes().map(shown).take(63).collect())
            }
            "client_min_messages" => message_level(value),
            _ if is_boolean(folded) => parse_bool(value).map(show_bool).ok_or_else(|| needs_bool(folded)),
            _ => Ok(value.to_owned()),
        }
    }

    /// RESET of one setting.
    ///
    /// # Errors
    /// 42704 for an unknown name.
    pub(super) fn reset(&mut self, name: &str) -> Result<()> {
        let folded = name.to_lowercase();
        let known = self.defaults.by_name.contains_key(&folded) || folded == "session_authorization";
        if !known && !self.set.contains_key(&folded) && !self.startup.contains_key(&folded) {
            return Err(unknown_setting(name));
        }
        let initial = self.startup.get(&folded).cloned();
        self.restore(name, initial);
        Ok(())
    }

    /// What the session has set, to be [restored](Settings::restore).
    pub(super) fn own(&self, name: &str) -> Option<Set> {
        self.set.get(&name.to_lowercase()).cloned()
    }

    /// Goes back to what the session had set earlier.
    pub(super) fn restore(&mut self, name: &str, earlier: Option<Set>) {
        let folded = name.to_lowercase();
        match earlier {
            Some(set) => drop(Arc::make_mut(&mut self.set).insert(folded.clone(), set)),
            None => drop(Arc::make_mut(&mut self.set).remove(&folded)),
        }
        self.follow(&folded);
        self.tell_shards();
    }

    /// RESET ALL.
    pub(super) fn reset_all(&mut self) {
        if Arc::ptr_eq(&self.set, &self.startup) {
            return;
        }
        let stays = |folded: &String| NOT_RESET_WITH_ALL.contains(&folded.as_str());
        let mut set = BTreeMap::clone(&self.startup);
        set.retain(|folded, _| !stays(folded));
        let kept = self.set.iter().filter(|(folded, _)| stays(folded));
        set.extend(kept.map(|(folded, set)| (folded.clone(), set.clone())));
        let set = if set == *self.startup { Arc::clone(&self.startup) } else { Arc::new(set) };
        let before = std::mem::replace(&mut self.set, set);
        for folded in before.keys().chain(self.startup.clone().keys()) {
            self.follow(folded);
        }
        self.tell_shards();
    }

    /// Whether `client_min_messages` lets a notice of this state through.
    pub(super) fn wants_notice(&self, sqlstate: SqlState) -> bool {
        match self.value("client_min_messages") {
            Some("error") => false,
            Some("warning") => sqlstate.is_warning(),
            _ => true,
        }
    }
}

fn is_fixed(folded: &str) -> bool {
    FIXED.iter().any(|(fixed, _)| fixed.eq_ignore_ascii_case(folded))
}

fn is_boolean(folded: &str) -> bool {
    let default = DEFAULTS.iter().chain(HARMLESS).find(|(name, _)| name.eq_ignore_ascii_case(folded));
    default.is_some_and(|(_, value)| matches!(*value, "on" | "off"))
}

fn refused_role(what: &str) -> Error {
    Error::unsupported(what, "Connect as the user whose rights are wanted.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::new("app", &[], &Arc::new(Defaults::own())).unwrap()
    }

    #[test]
    fn startup_options_are_read_and_unknown_names_are_kept() {
        let startup = [
            ("options".to_owned(), r"-c statement_timeout=5s -csearch_path=public --geqo=off -c my.x=a\ b".to_owned()),
            ("extra_float_digits".to_owned(), "3".to_owned()),
            ("whatever_a_driver_sends".to_owned(), "1".to_owned()),
        ];
        let settings = Settings::new("app", &startup, &Arc::new(Defaults::own())).unwrap();
        assert_eq!(settings.statement_timeout, Some(Duration::from_secs(5)));
        assert_eq!(settings.show("my.x").unwrap(), "a b");
        assert_eq!(settings.show("whatever_a_driver_sends").unwrap(), "1");
        assert_eq!(settings.show("extra_float_digits").unwrap(), "3");
    }

    #[test]
    fn values_that_would_change_answers_are_refused() {
        let mut settings = settings();
        for (name, value) in [
            ("DateStyle", "German"),
            ("client_encoding", "LATIN1"),
            ("search_path", "other"),
            ("bytea_output", "escape"),
        ] {
            assert_eq!(settings.set(name, value).unwrap_err().sqlstate(), SqlState::FEATURE_NOT_SUPPORTED, "{name}");
        }
        assert_eq!(settings.set("no_such", "1").unwrap_err().sqlstate(), SqlState::UNDEFINED_OBJECT);
        assert_eq!(settings.set("server_version", "9").unwrap_err().sqlstate(), SqlState::CANT_CHANGE_RUNTIME_PARAM);
    }

    #[test]
    fn times_have_the_units_of_postgres() {
        let shown = |value: &str| settings().set("statement_timeout", value);
        for (value, expected) in [
            ("0", "0"),
            ("1500", "1500ms"),
            ("1.5s", "1500ms"),
            ("100 ms", "100ms"),
            ("120s", "2min"),
            ("2500us", "2ms"),
            ("1d", "1d"),
        ] {
            assert_eq!(shown(value).unwrap(), expected, "{value}");
        }
        for value in ["-1", "", "s", "1 fortnight", "30d", "1.2.3", "off"] {
            assert_eq!(shown(value).unwrap_err().sqlstate(), SqlState::INVALID_PARAMETER_VALUE, "{value}");
        }
    }

    #[test]
    fn reset_goes_back_to_the_start_up_value() {
        let startup = [("statement_timeout".to_owned(), "7000".to_owned())];
        let mut settings = Settings::new("app", &startup, &Arc::new(Defaults::own())).unwrap();
        settings.set("statement_timeout", "1min").unwrap();
        assert_eq!(settings.show("statement_timeout").unwrap(), "1min");
        settings.reset_all();
        assert_eq!(settings.show("STATEMENT_TIMEOUT").unwrap(), "7s");
        assert_eq!(settings.statement_timeout, Some(Duration::from_secs(7)));
    }
}
