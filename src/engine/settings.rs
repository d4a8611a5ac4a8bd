//! A session's settings: what SET, SHOW, RESET and the start-up message read and write.
//!
//! Settings that change what shardd answers (`TimeZone`, `statement_timeout`, the transaction defaults) are checked as
//! Postgres checks them. Others that drivers send at every connect are kept and shown again. A setting that would make
//! Postgres answer differently in a way that shardd does not follow (`DateStyle` other than ISO, a `search_path` without
//! public, `client_encoding` other than UTF8) is refused rather than ignored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::SERVER_VERSION;
use crate::error::{Error, Result, SqlState};
use crate::plan::Isolation;
use crate::shard::postgres::SessionSettings;
use crate::types::{TextStyle, Zone};

/// The settings that Postgres reports to clients when they change, in its spelling.
const REPORTED: &[&str] = &[
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
    "TimeZone",
];

/// Settings of one value, or that a session cannot set.
const FIXED: &[(&str, &str)] = &[
    ("in_hot_standby", "off"),
    ("block_size", "8192"),
    ("integer_datetimes", "on"),
    ("is_superuser", "off"),
    ("lc_collate", "C"),
    ("lc_ctype", "C"),
    ("max_identifier_length", "63"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "150018"),
    ("ssl", "off"),
    ("transaction_deferrable", "off"),
    ("wal_level", "replica"),
];

/// What a fresh session has, for the settings that clients may change.
const DEFAULTS: &[(&str, &str)] = &[
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("DateStyle", "ISO, MDY"),
    ("default_transaction_deferrable", "off"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("extra_float_digits", "1"),
    ("idle_in_transaction_session_timeout", "0"),
    ("IntervalStyle", "postgres"),
    ("jit", "off"),
    ("lock_timeout", "0"),
    ("role", "none"),
    ("row_security", "on"),
    ("search_path", "\"$user\", public"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("TimeZone", "UTC"),
    ("xmloption", "content"),
];

/// Settings that change no answer of shardd's, with Postgres's defaults: kept and shown, without effect.
const HARMLESS: &[(&str, &str)] = &[
    ("backslash_quote", "safe_encoding"),
    ("check_function_bodies", "on"),
    ("cursor_tuple_fraction", "0.1"),
    ("default_table_access_method", "heap"),
    ("default_tablespace", ""),
    ("default_text_search_config", "pg_catalog.english"),
    ("enable_bitmapscan", "on"),
    ("enable_hashagg", "on"),
    ("enable_hashjoin", "on"),
    ("enable_indexonlyscan", "on"),
    ("enable_indexscan", "on"),
    ("enable_material", "on"),
    ("enable_mergejoin", "on"),
    ("enable_nestloop", "on"),
    ("enable_seqscan", "on"),
    ("enable_sort", "on"),
    ("escape_string_warning", "on"),
    ("geqo", "on"),
    ("idle_session_timeout", "0"),
    ("lc_messages", "C"),
    ("lc_monetary", "C"),
    ("lc_numeric", "C"),
    ("lc_time", "C"),
    ("maintenance_work_mem", "64MB"),
    ("max_parallel_workers_per_gather", "2"),
    ("password_encryption", "scram-sha-256"),
    ("plan_cache_mode", "auto"),
    ("quote_all_identifiers", "off"),
    ("ssl_renegotiation_limit", "0"),
    ("synchronize_seqscans", "on"),
    ("synchronous_commit", "on"),
    ("temp_buffers", "8MB"),
    ("transaction_timeout", "0"),
    ("work_mem", "4MB"),
];

/// Settings that decide how a shard writes values, in lower case.
const WRITES_VALUES: &[&str] = &["bytea_output", "datestyle", "extra_float_digits", "intervalstyle", "timezone"];

/// Settings that shardd follows itself.
const KEPT_HERE: &[&str] =
    &["client_encoding", "client_min_messages", "idle_in_transaction_session_timeout", "role", "statement_timeout"];

#[derive(Clone, Debug)]
struct Setting {
    /// As Postgres spells it.
    name: &'static str,
    value: String,
    /// What RESET goes back to: the default, or the start-up message's.
    initial: String,
}

/// One session's settings. Values that the hot path needs are kept parsed.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    by_name: BTreeMap<String, Setting>,
    /// Names with a dot, and start-up settings that shardd does not know: kept, shown, without effect.
    custom: BTreeMap<String, String>,
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
    /// # Errors
    /// A start-up setting has a value that it cannot have.
    pub(super) fn new(user: &str, startup: &[(String, String)]) -> Result<Settings> {
        let all = DEFAULTS.iter().chain(HARMLESS).chain(FIXED).map(|(name, value)| (*name, *value));
        let by_name = all
            .chain([("session_authorization", user)])
            .map(|(name, value)| {
                (name.to_lowercase(), Setting { name, value: value.to_owned(), initial: value.to_owned() })
            })
            .collect();
        let mut settings = Settings {
            by_name,
            custom: BTreeMap::new(),
            text_style: TextStyle::default(),
            for_shards: Arc::default(),
            statement_timeout: None,
            idle_in_transaction_timeout: None,
            default_isolation: Isolation::ReadCommitted,
            default_read_only: false,
        };
        for (name, value) in startup {
            settings.set_at_startup(name, value)?;
        }
        for setting in settings.by_name.values_mut() {
            setting.initial.clone_from(&setting.value);
        }
        settings.tell_shards();
        Ok(settings)
    }

    /// What a connection to a Postgres shard is told, so that the shard formats, finds and permits as the session wants
    /// it: what decides how values are written, always; the rest where the client has set it.
    pub(super) fn for_shards(&self) -> &Arc<SessionSettings> {
        &self.for_shards
    }

    fn tell_shards(&mut self) {
        let known = self.by_name.iter().filter(|(folded, setting)| {
            let default = DEFAULTS.iter().chain(HARMLESS).find(|(name, _)| *name == setting.name);
            let changed = default.is_some_and(|(_, default)| *default != setting.value);
            WRITES_VALUES.contains(&folded.as_str()) || (changed && !KEPT_HERE.contains(&folded.as_str()))
        });
        let known = known.map(|(_, setting)| (setting.name.to_owned(), setting.value.clone()));
        // A name without a dot came with the start-up message, and may be no setting at all.
        let custom = self.custom.iter().filter(|(name, _)| name.contains('.'));
        let all = known.chain(custom.map(|(name, value)| (name.clone(), value.clone()))).collect();
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
        let known = self.by_name.contains_key(&name.to_lowercase());
        let fixed = FIXED.iter().any(|(fixed, _)| fixed.eq_ignore_ascii_case(name));
        if known && !fixed {
            return self.set(name, value).map(|_| ());
        }
        if !fixed {
            self.custom.insert(name.to_lowercase(), value.to_owned());
        }
        Ok(())
    }

    pub(super) fn text_style(&self) -> &TextStyle {
        &self.text_style
    }

    /// All that Postgres reports, for the start of a session.
    pub(super) fn reported(&self) -> Vec<(String, String)> {
        REPORTED.iter().map(|name| ((*name).to_owned(), self.by_name[&name.to_lowercase()].value.clone())).collect()
    }

    /// Whether a change of this setting is reported to the client, and under which spelling.
    pub(super) fn reported_name(name: &str) -> Option<&'static str> {
        REPORTED.iter().copied().find(|reported| reported.eq_ignore_ascii_case(name))
    }

    /// # Errors
    /// 42704 for a name that Postgres would not know either.
    pub(super) fn show(&self, name: &str) -> Result<(String, String)> {
        let folded = name.to_lowercase();
        if let Some(setting) = self.by_name.get(&folded) {
            return Ok((setting.name.to_owned(), setting.value.clone()));
        }
        self.custom.get(&folded).map(|value| (folded.clone(), value.clone())).ok_or_else(|| unknown_setting(name))
    }

    /// The value that RESET goes back to.
    ///
    /// # Errors
    /// 42704 as [`Settings::show`].
    pub(super) fn initial(&self, name: &str) -> Result<String> {
        match self.by_name.get(&name.to_lowercase()) {
            Some(setting) => Ok(setting.initial.clone()),
            None => self.show(name).map(|_| String::new()),
        }
    }

    /// Every setting, by name.
    pub(super) fn all(&self) -> Vec<(String, String)> {
        let known = self.by_name.values().map(|setting| (setting.name.to_owned(), setting.value.clone()));
        known.chain(self.custom.iter().map(|(name, value)| (name.clone(), value.clone()))).collect()
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
        if !self.by_name.contains_key(&folded) {
            // One without a dot came with the start-up message.
            if !folded.contains('.') && !self.custom.contains_key(&folded) {
                return Err(unknown_setting(name));
            }
            self.custom.insert(folded, value.to_owned());
            return Ok(value.to_owned());
        }
        let fixed =
            FIXED.iter().any(|(fixed, _)| fixed.eq_ignore_ascii_case(name)) || folded == "session_authorization";
        if fixed {
            if self.by_name[&folded].value.eq_ignore_ascii_case(value) {
                return Ok(value.to_owned());
            }
            return Err(Error::new(
                SqlState::CANT_CHANGE_RUNTIME_PARAM,
                format!("parameter \"{name}\" cannot be changed"),
            ));
        }
        let value = self.check(&folded, value)?;
        if let Some(setting) = self.by_name.get_mut(&folded) {
            setting.value.clone_from(&value);
        }
        Ok(value)
    }

    fn check(&mut self, folded: &str, value: &str) -> Result<String> {
        match folded {
            "timezone" => self.set_time_zone(value),
            "datestyle" => iso_date_style(value),
            "intervalstyle" => one_of("IntervalStyle", value, &["postgres"], "interval output"),
            "bytea_output" => one_of("bytea_output", value, &["hex"], "bytea output"),
            "client_encoding" => utf8(value),
            "standard_conforming_strings" => one_of("standard_conforming_strings", value, &["on"], "string syntax")
                .or_else(|error| if parse_bool(value) == Some(true) { Ok("on".to_owned()) } else { Err(error) }),
            "search_path" => public_search_path(value),
            "extra_float_digits" => float_digits(value),
            "statement_timeout" => {
                let milliseconds = parse_duration_ms("statement_timeout", value)?;
                self.statement_timeout = Some(Duration::from_millis(milliseconds));
                Ok(show_duration(milliseconds))
            }
            "idle_in_transaction_session_timeout" => {
                let milliseconds = parse_duration_ms("idle_in_transaction_session_timeout", value)?;
                self.idle_in_transaction_timeout = Some(Duration::from_millis(milliseconds));
                Ok(show_duration(milliseconds))
            }
            "lock_timeout" => parse_duration_ms("lock_timeout", value).map(show_duration),
            "default_transaction_isolation" => {
                self.default_isolation =
                    parse_isolation(value).ok_or_else(|| invalid_value("default_transaction_isolation", value))?;
                Ok(value.to_lowercase())
            }
            "default_transaction_read_only" => {
                self.default_read_only =
                    parse_bool(value).ok_or_else(|| needs_bool("default_transaction_read_only"))?;
                Ok(show_bool(self.default_read_only))
            }
            "role" if !value.eq_ignore_ascii_case("none") => {
                Err(Error::unsupported("SET ROLE", "Connect as the user whose rights are wanted."))
            }
            // Has more values than these two.
            "synchronous_commit" => Ok(value.to_lowercase()),
            "application_name" => {
                let shown = |byte: u8| if matches!(byte, b' '..=b'~') { char::from(byte) } else { '?' };
                Ok(value.bytes().map(shown).take(63).collect())
            }
            "client_min_messages" => message_level(value),
            _ if self.is_boolean(folded) => parse_bool(value).map(show_bool).ok_or_else(|| needs_bool(folded)),
            _ => Ok(value.to_owned()),
        }
    }

    fn is_boolean(&self, folded: &str) -> bool {
        let default = DEFAULTS.iter().chain(HARMLESS).find(|(name, _)| name.eq_ignore_ascii_case(folded));
        default.is_some_and(|(_, value)| matches!(*value, "on" | "off"))
    }

    fn set_time_zone(&mut self, value: &str) -> Result<String> {
        let zone = Zone::from_setting(value)?;
        let shown = zone.name().to_owned();
        self.text_style.zone = zone;
        Ok(shown)
    }

    /// RESET of one setting; gives its value as it is now shown.
    ///
    /// # Errors
    /// 42704 for an unknown name.
    pub(super) fn reset(&mut self, name: &str) -> Result<String> {
        let folded = name.to_lowercase();
        match self.by_name.get(&folded).map(|setting| setting.initial.clone()) {
            Some(initial) if FIXED.iter().any(|(fixed, _)| fixed.eq_ignore_ascii_case(name)) => Ok(initial),
            Some(initial) if folded == "session_authorization" => Ok(initial),
            Some(initial) => self.set(name, &initial),
            None => {
                let removed = self.custom.remove(&folded).ok_or_else(|| unknown_setting(name))?;
                self.tell_shards();
                Ok(removed)
            }
        }
    }

    /// RESET ALL.
    pub(super) fn reset_all(&mut self) {
        let changed = self.by_name.values().filter(|setting| setting.value != setting.initial);
        let changed: Vec<_> = changed.map(|setting| (setting.name, setting.initial.clone())).collect();
        self.custom.clear();
        for (name, initial) in changed {
            // An initial value was accepted once, so it is accepted again.
            let _ = self.set(name, &initial);
        }
        self.tell_shards();
    }

    /// Whether `client_min_messages` lets a notice of this state through.
    pub(super) fn wants_notice(&self, sqlstate: SqlState) -> bool {
        match self.by_name["client_min_messages"].value.as_str() {
            "error" => false,
            "warning" => sqlstate.is_warning(),
            _ => true,
        }
    }
}

/// `-c name=value` and `--name=value`, with backslash escapes for blanks.
fn parse_options(options: &str) -> Vec<(String, String)> {
    let mut words = vec![String::new()];
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => words.last_mut().expect("there is always a last word").extend(characters.next()),
            ' ' | '\t' | '\n' => words.push(String::new()),
            other => words.last_mut().expect("there is always a last word").push(other),
        }
    }
    let mut settings = Vec::new();
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("--") {
            Some(rest) => Some(rest.to_owned()),
            None if word == "-c" => words.next(),
            None => word.strip_prefix("-c").map(str::to_owned),
        };
        if let Some((name, value)) = assignment.as_deref().and_then(|text| text.split_once('=')) {
            settings.push((name.replace('-', "_"), value.to_owned()));
        }
    }
    settings
}

fn unknown_setting(name: &str) -> Error {
    Error::new(SqlState::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
}

fn invalid_value(name: &str, value: &str) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid value for parameter \"{name}\": \"{value}\""))
}

fn needs_bool(name: &str) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("parameter \"{name}\" requires a Boolean value"))
}

pub(super) fn parse_bool(value: &str) -> Option<bool> {
    match value.to_lowercase().as_str() {
        "on" | "true" | "yes" | "1" | "t" | "y" => Some(true),
        "off" | "false" | "no" | "0" | "f" | "n" => Some(false),
        _ => None,
    }
}

fn show_bool(value: bool) -> String {
    if value { "on" } else { "off" }.to_owned()
}

/// One of Postgres's four isolation levels.
pub(super) fn parse_isolation(value: &str) -> Option<Isolation> {
    match value.to_lowercase().as_str() {
        "read uncommitted" | "read committed" => Some(Isolation::ReadCommitted),
        "repeatable read" => Some(Isolation::RepeatableRead),
        "serializable" => Some(Isolation::Serializable),
        _ => None,
    }
}

pub(super) fn show_isolation(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadCommitted => "read committed",
        Isolation::RepeatableRead => "repeatable read",
        Isolation::Serializable => "serializable",
    }
}

/// Milliseconds of `5000`, `5s`, `'1.5 min'`: the units of Postgres's time settings.
fn parse_duration_ms(name: &str, value: &str) -> Result<u64> {
    let value = value.trim();
    let digits = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
    let number: f64 = value[..digits].parse().map_err(|_| invalid_value(name, value))?;
    let unit_ms = match value[digits..].trim() {
        "us" => 0.001,
        "" | "ms" => 1.0,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => {
            return Err(invalid_value(name, value)
                .hint("Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\"."));
        }
    };
    let milliseconds = (number * unit_ms).round_ties_even();
    if milliseconds > f64::from(i32::MAX) {
        return Err(Error::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("{milliseconds} ms is outside the valid range for parameter \"{name}\" (0 ms .. 2147483647 ms)"),
        ));
    }
    Ok(milliseconds as u64)
}

fn show_duration(milliseconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    if milliseconds == 0 {
        return "0".to_owned();
    }
    let unit = UNITS.iter().find(|(size, _)| milliseconds.is_multiple_of(*size));
    unit.map_or_else(|| format!("{milliseconds}ms"), |(size, name)| format!("{}{name}", milliseconds / size))
}

fn iso_date_style(value: &str) -> Result<String> {
    let words: Vec<String> = value.split(',').map(|word| word.trim().to_lowercase()).collect();
    let supported = words.iter().all(|word| ["iso", "mdy", "us", "default", "noneuropean"].contains(&word.as_str()));
    if !supported {
        return Err(Error::unsupported(
            format!("DateStyle \"{value}\""),
            "shardd reads and prints dates in ISO style: use SET DateStyle = 'ISO, MDY'.",
        ));
    }
    Ok("ISO, MDY".to_owned())
}

fn one_of(name: &str, value: &str, supported: &[&str], what: &str) -> Result<String> {
    let folded = value.to_lowercase();
    if supported.contains(&folded.as_str()) {
        return Ok(folded);
    }
    Err(Error::unsupported(
        format!("{name} = \"{value}\""),
        format!("shardd has one form of {what}: use {}.", supported.join(" or ")),
    ))
}

fn message_level(value: &str) -> Result<String> {
    const LEVELS: [&str; 9] = ["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"];
    let folded = value.to_lowercase();
    let level = LEVELS.iter().find(|level| **level == folded || (folded == "debug" && **level == "debug2"));
    level.map(|level| (*level).to_owned()).ok_or_else(|| {
        invalid_value("client_min_messages", value).hint(format!("Available values: {}.", LEVELS.join(", ")))
    })
}

fn utf8(value: &str) -> Result<String> {
    let folded: String = value.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    match folded.as_str() {
        "utf8" | "unicode" => Ok("UTF8".to_owned()),
        // No conversion: the bytes are the server's own. It is what psql asks for where no locale is set.
        "sqlascii" => Ok("SQL_ASCII".to_owned()),
        _ => Err(Error::unsupported(
            format!("client_encoding \"{value}\""),
            "shardd speaks UTF8 only: SET client_encoding = 'UTF8'.",
        )),
    }
}

fn public_search_path(value: &str) -> Result<String> {
    let public = value.split(',').any(|part| part.trim().trim_matches(['"', '\'']).eq_ignore_ascii_case("public"));
    if !public {
        return Err(Error::unsupported(
            format!("search_path {value} without public"),
            "shardd has one schema, public: keep it in the search_path.",
        ));
    }
    Ok(value.to_owned())
}

fn float_digits(value: &str) -> Result<String> {
    let digits: i32 = value.trim().parse().map_err(|_| invalid_value("extra_float_digits", value))?;
    match digits {
        1..=3 => Ok(digits.to_string()),
        -15..=0 => Err(Error::unsupported(
            format!("extra_float_digits = {digits}"),
            "shardd prints floats in their shortest exact form: use a value from 1 to 3.",
        )),
        _ => Err(Error::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("{digits} is outside the valid range for parameter \"extra_float_digits\" (-15 .. 3)"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::new("app", &[]).unwrap()
    }

    #[test]
    fn startup_options_are_read_and_unknown_names_are_kept() {
        let startup = [
            ("options".to_owned(), r"-c statement_timeout=5s -csearch_path=public --geqo=off -c my.x=a\ b".to_owned()),
            ("extra_float_digits".to_owned(), "3".to_owned()),
            ("whatever_a_driver_sends".to_owned(), "1".to_owned()),
        ];
        let settings = Settings::new("app", &startup).unwrap();
        assert_eq!(settings.statement_timeout, Some(Duration::from_secs(5)));
        assert_eq!(settings.show("my.x").unwrap().1, "a b");
        assert_eq!(settings.show("whatever_a_driver_sends").unwrap().1, "1");
        assert_eq!(settings.show("extra_float_digits").unwrap().1, "3");
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
        let mut settings = Settings::new("app", &[("statement_timeout".to_owned(), "7000".to_owned())]).unwrap();
        settings.set("statement_timeout", "1min").unwrap();
        assert_eq!(settings.show("statement_timeout").unwrap().1, "1min");
        settings.reset_all();
        assert_eq!(settings.show("STATEMENT_TIMEOUT").unwrap(), ("statement_timeout".to_owned(), "7s".to_owned()));
        assert_eq!(settings.statement_timeout, Some(Duration::from_secs(7)));
    }
}
