//! Values of settings: how Postgres reads and shows them, and which shardd follows.

use crate::error::{Error, Result, SqlState};
use crate::plan::Isolation;
use crate::types::Zone;

/// `-c name=value` and `--name=value`, with backslash escapes for blanks.
pub(super) fn parse_options(options: &str) -> Vec<(String, String)> {
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

pub(super) fn unknown_setting(name: &str) -> Error {
    Error::new(SqlState::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
}

pub(super) fn invalid_value(name: &str, value: &str) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid value for parameter \"{name}\": \"{value}\""))
}

pub(super) fn needs_bool(name: &str) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("parameter \"{name}\" requires a Boolean value"))
}

pub(in crate::engine) fn parse_bool(value: &str) -> Option<bool> {
    match value.to_lowercase().as_str() {
        "on" | "true" | "yes" | "1" | "t" | "y" => Some(true),
        "off" | "false" | "no" | "0" | "f" | "n" => Some(false),
        _ => None,
    }
}

pub(super) fn show_bool(value: bool) -> String {
    if value { "on" } else { "off" }.to_owned()
}

/// One of Postgres's four isolation levels.
pub(in crate::engine) fn parse_isolation(value: &str) -> Option<Isolation> {
    match value.to_lowercase().as_str() {
        "read uncommitted" | "read committed" => Some(Isolation::ReadCommitted),
        "repeatable read" => Some(Isolation::RepeatableRead),
        "serializable" => Some(Isolation::Serializable),
        _ => None,
    }
}

pub(in crate::engine) fn show_isolation(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadCommitted => "read committed",
        Isolation::RepeatableRead => "repeatable read",
        Isolation::Serializable => "serializable",
    }
}

/// What any Postgres server shows for a value, where it is the same on all: shardd need not ask.
pub(in crate::engine) fn shown_everywhere(folded: &str, value: &str) -> Option<String> {
    let values: &[&str] = match folded {
        "bytea_output" => &["escape", "hex"],
        "datestyle" => &["ISO, MDY"],
        "intervalstyle" => &["iso_8601", "postgres", "postgres_verbose", "sql_standard"],
        "timezone" => &["UTC", "GMT"],
        _ => return None,
    };
    match values.iter().find(|known| known.eq_ignore_ascii_case(value)) {
        Some(known) => Some((*known).to_owned()),
        // `<+05:30>-05:30` is its own canonical form.
        None if folded == "timezone" && value.starts_with('<') => {
            let offset = Zone::from_setting(value).ok()?.offset_at(0);
            (offset.abs() < 16 * 3600 && Zone::fixed(offset).name() == value).then(|| value.to_owned())
        }
        None => None,
    }
}

/// Milliseconds of `5000`, `5s`, `'1.5 min'`: the units of Postgres's time settings.
pub(super) fn parse_duration_ms(name: &str, value: &str) -> Result<u64> {
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

pub(super) fn show_duration(milliseconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    if milliseconds == 0 {
        return "0".to_owned();
    }
    let unit = UNITS.iter().find(|(size, _)| milliseconds.is_multiple_of(*size));
    unit.map_or_else(|| format!("{milliseconds}ms"), |(size, name)| format!("{}{name}", milliseconds / size))
}

pub(super) fn iso_date_style(value: &str) -> Result<String> {
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

pub(super) fn one_of(name: &str, value: &str, supported: &[&str], what: &str) -> Result<String> {
    let folded = value.to_lowercase();
    if supported.contains(&folded.as_str()) {
        return Ok(folded);
    }
    Err(Error::unsupported(
        format!("{name} = \"{value}\""),
        format!("shardd has one form of {what}: use {}.", supported.join(" or ")),
    ))
}

pub(super) fn message_level(value: &str) -> Result<String> {
    const LEVELS: [&str; 9] = ["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"];
    let folded = value.to_lowercase();
    let level = LEVELS.iter().find(|level| **level == folded || (folded == "debug" && **level == "debug2"));
    level.map(|level| (*level).to_owned()).ok_or_else(|| {
        invalid_value("client_min_messages", value).hint(format!("Available values: {}.", LEVELS.join(", ")))
    })
}

pub(super) fn utf8(value: &str) -> Result<String> {
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

/// A name without a schema has to mean the table of `public` that the plan was made for, or nothing at all. A server may
/// have other schemas, which may only come after it.
pub(super) fn public_search_path(value: &str, of_server: bool) -> Result<String> {
    let parts: Vec<&str> = value.split(',').map(|part| part.trim().trim_matches(['"', '\''])).collect();
    let is = |part: &str, name: &str| part.eq_ignore_ascii_case(name);
    let public = parts.iter().position(|part| is(part, "public"));
    if !of_server {
        return match public {
            Some(_) => Ok(value.to_owned()),
            None => Err(Error::unsupported(
                format!("search_path {value} without public"),
                "shardd has one schema, public: keep it in the search_path.",
            )),
        };
    }
    let before = &parts[..public.unwrap_or(parts.len())];
    match before.iter().find(|part| !["", "$user", "pg_catalog", "pg_temp"].iter().any(|name| is(part, name))) {
        None => Ok(value.to_owned()),
        Some(first) => Err(Error::unsupported(
            format!("search_path {value} with \"{first}\" before public"),
            "shardd plans names without a schema as those of public: put it first, or write the other schema's name.",
        )),
    }
}

pub(super) fn float_digits(value: &str, of_server: bool) -> Result<String> {
    let digits: i32 = value.trim().parse().map_err(|_| invalid_value("extra_float_digits", value))?;
    match digits {
        1..=3 => Ok(digits.to_string()),
        -15..=0 if of_server => Ok(digits.to_string()),
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
