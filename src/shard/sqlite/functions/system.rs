//! What the system catalog's functions and types need: the names of oids, types as `format_type` writes them, sizes.

use rusqlite::types::Value;

use super::call::{Arguments, Function, lax, strict, text};
use crate::error::{Error, Result, SqlState};
use crate::shard::sqlite::storage;
use crate::sql::quote_identifier;
use crate::system_catalog;
use crate::types::PgType;
use crate::types::json::Json;

pub(super) const FUNCTIONS: &[Function] = &[
    lax("pg_format_type", 2, format_type),
    strict("pg_qualified_name", 1, |a| Ok(qualified_name(a.text(0)?).map_or(Value::Null, text))),
    lax("pg_reg_found", 3, reg_found),
    strict("pg_reg_read", 2, reg_read),
    strict("pg_to_regtype", 1, |a| Ok(type_oid(a.text(0)?).map_or(Value::Null, |oid| Value::Integer(i64::from(oid))))),
    strict("pg_reg_show", 2, |a| Ok(text(storage::reg_text(a.integer(0)?, a.data_type(1)?)))),
    strict("pg_vector_text", 1, |a| Ok(storage::vector_text(a.bytes(0)?).map_or(Value::Null, text))),
    strict("pg_subscripts", 2, |a| subscripts(a, 1)),
    strict("pg_subscripts_from_0", 2, |a| subscripts(a, 0)),
    strict("pg_expandarray", 1, expand),
    lax("pg_array_zip", -1, zip),
    strict("pg_size_pretty", 1, |a| Ok(text(size_pretty(a.integer(0)?)))),
    strict("pg_fixed_setting", 2, fixed_setting),
];

/// (oid, modifier or NULL)
fn format_type(arguments: &Arguments<'_>) -> Result<Value> {
    if arguments.is_null(0) {
        return Ok(Value::Null);
    }
    let oid = u32::try_from(arguments.integer(0)?).unwrap_or_default();
    let Some(data_type) = PgType::from_oid(oid) else {
        return Ok(text(if oid == 0 { "-" } else { "???" }));
    };
    let modifier = if arguments.is_null(1) { -1 } else { arguments.int4(1)? };
    let (element, array) = match data_type.element() {
        Some(element) if !data_type.is_vector() => (element, "[]"),
        _ => (data_type, ""),
    };
    let name = element.sql_name();
    let shown = match element {
        // A plain character is one of length 1.
        PgType::Bpchar if modifier == -1 && !arguments.is_null(1) => "bpchar".to_owned(),
        _ if modifier == -1 => name.to_owned(),
        PgType::Varchar | PgType::Bpchar => format!("{name}({})", modifier - 4),
        PgType::Numeric => {
            let packed = modifier - 4;
            let scale = ((packed & 0x7ff) ^ 1_024) - 1_024;
            format!("{name}({},{scale})", (packed >> 16) & 0xffff)
        }
        PgType::Timestamp | PgType::Timestamptz | PgType::Time => match name.split_once(' ') {
            Some((first, rest)) => format!("{first}({modifier}) {rest}"),
            None => name.to_owned(),
        },
        _ => name.to_owned(),
    };
    Ok(text(format!("{shown}{array}")))
}

/// `Public."Seats"` as the catalog has it: `public."Seats"`. None when it is no name.
fn qualified_name(written: &str) -> Option<String> {
    let parts: Vec<String> = identifiers(written)?.iter().map(|part| quote_identifier(part)).collect();
    Some(parts.join("."))
}

/// The parts of a name, without their quotes.
fn identifiers(written: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = written.trim();
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut name = String::new();
                let mut letters = quoted.char_indices().peekable();
                let end = loop {
                    match letters.next()? {
                        (_, '"') if letters.next_if(|(_, next)| *next == '"').is_some() => name.push('"'),
                        (at, '"') => break at + 1,
                        (_, letter) => name.push(letter),
                    }
                };
                (name, &quoted[end..])
            }
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                (rest[..end].trim().to_ascii_lowercase(), &rest[end..])
            }
        };
        parts.push(part);
        match after.trim_start().strip_prefix('.') {
            Some(after) => rest = after.trim_start(),
            None if after.trim().is_empty() => return Some(parts),
            None => return None,
        }
    }
}

/// An oid in digits, or none.
fn number(written: &str) -> Option<i64> {
    match written.trim() {
        "-" => Some(0),
        digits => digits.parse::<u32>().ok().map(i64::from),
    }
}

/// (text, oid or NULL, what)
fn reg_found(arguments: &Arguments<'_>) -> Result<Value> {
    if arguments.is_null(0) {
        return Ok(Value::Null);
    }
    let written = arguments.text(0)?;
    if let Some(oid) = number(written) {
        return Ok(Value::Integer(oid));
    }
    if arguments.is_null(1) {
        let what = arguments.text(2)?;
        let state = if what == "role" { SqlState::UNDEFINED_OBJECT } else { SqlState::UNDEFINED_TABLE };
        return Err(Error::new(state, format!("{what} \"{written}\" does not exist")));
    }
    Ok(Value::Integer(arguments.integer(1)?))
}

/// (text, type): of what is the same in every catalog.
fn reg_read(arguments: &Arguments<'_>) -> Result<Value> {
    let written = arguments.text(0)?;
    if let Some(oid) = number(written) {
        return Ok(Value::Integer(oid));
    }
    let (oid, state, what) = match arguments.data_type(1)? {
        PgType::Regtype => (type_oid(written), SqlState::UNDEFINED_OBJECT, "type"),
        PgType::Regnamespace => {
            let known =
                [11, 2_200, 13_207].into_iter().find(|oid| system_catalog::namespace_name(*oid) == Some(written));
            (known, SqlState::INVALID_SCHEMA_NAME, "schema")
        }
        _ => (system_catalog::procedure_oid(written), SqlState::UNDEFINED_FUNCTION, "function"),
    };
    match oid {
        Some(oid) => Ok(Value::Integer(i64::from(oid))),
        None => Err(Error::new(state, format!("{what} \"{written}\" does not exist"))),
    }
}

/// A type by any of its names.
fn type_oid(written: &str) -> Option<u32> {
    let (name, array) = match written.trim().strip_suffix("[]") {
        Some(element) => (element, true),
        None => (written.trim(), false),
    };
    let known = if name.contains('"') {
        let parts = identifiers(name)?;
        let name = match parts.as_slice() {
            [name] => name,
            [schema, name] if schema == "pg_catalog" => name,
            _ => return None,
        };
        PgType::ALL.iter().find(|known| known.name() == name)?
    } else {
        let lower = name.to_ascii_lowercase();
        let name = match lower.strip_prefix("pg_catalog.").unwrap_or(&lower) {
            "int" => "integer",
            "decimal" => "numeric",
            "float" => "double precision",
            "timestamp" => "timestamp without time zone",
            "char" => "character",
            other => other,
        };
        PgType::ALL.iter().find(|known| known.name() == name || known.sql_name() == name)?
    };
    if array { known.array().map(PgType::oid) } else { Some(known.oid()) }
}

/// (array, dimension)
fn subscripts(arguments: &Arguments<'_>, first: usize) -> Result<Value> {
    let count = super::arrays::cells(arguments.text(0)?)?.len();
    let count = if arguments.integer(1)? == 1 { count } else { 0 };
    let numbers: Vec<String> = (first..first + count).map(|number| number.to_string()).collect();
    Ok(text(format!("[{}]", numbers.join(","))))
}

/// Each element with its number, from 1.
fn expand(arguments: &Arguments<'_>) -> Result<Value> {
    let cells = super::arrays::cells(arguments.text(0)?)?;
    let numbered = cells.into_iter().enumerate();
    let pair = |(at, cell): (usize, Json)| Json::Array(vec![cell, Json::Number((at + 1).to_string().into())]);
    Ok(text(Json::Array(numbered.map(pair).collect()).to_string()))
}

/// Arrays side by side: an array of arrays, with NULL where one is shorter.
fn zip(arguments: &Arguments<'_>) -> Result<Value> {
    let mut arrays = Vec::with_capacity(arguments.len());
    for index in 0..arguments.len() {
        let cells = if arguments.is_null(index) { Vec::new() } else { super::arrays::cells(arguments.text(index)?)? };
        arrays.push(cells);
    }
    let longest = arrays.iter().map(Vec::len).max().unwrap_or(0);
    let row =
        |at: usize| Json::Array(arrays.iter().map(|cells| cells.get(at).cloned().unwrap_or(Json::Null)).collect());
    Ok(text(Json::Array((0..longest).map(row).collect()).to_string()))
}

/// Bytes in the largest unit that leaves at most five digits, rounded half away from zero.
fn size_pretty(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    let mut size = i128::from(bytes);
    let mut unit = 0;
    // Half units until the last step, so that it can be rounded.
    let mut halves = size * 2;
    let limit = |unit: usize| if unit == 0 { 10 * 1_024 } else { 20 * 1_024 - 1 };
    while unit + 1 < UNITS.len() && (if unit == 0 { size } else { halves }).abs() >= limit(unit) {
        halves = if unit == 0 { size / 512 } else { halves / 1_024 };
        size = halves / 2;
        unit += 1;
    }
    if unit > 0 {
        size = (halves + halves.signum()) / 2;
    }
    format!("{size} {}", UNITS[unit])
}

/// (name, zone): a setting that is the same in every session, or TimeZone.
fn fixed_setting(arguments: &Arguments<'_>) -> Result<Value> {
    let name = arguments.text(0)?.to_ascii_lowercase();
    let value = match name.as_str() {
        "server_version" => crate::SERVER_VERSION,
        "server_version_num" => "150018",
        "server_encoding" => "UTF8",
        "integer_datetimes" | "standard_conforming_strings" => "on",
        "jit" => "off",
        "default_table_access_method" => "heap",
        "default_tablespace" => "",
        "max_index_keys" => "32",
        "max_identifier_length" => "63",
        "timezone" => arguments.text(1)?,
        _ => {
            return Err(Error::unsupported(format_args!("current_setting('{name}')"), "Ask with SHOW, by itself."));
        }
    };
    Ok(text(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_postgres_writes_them() {
        for (bytes, shown) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (8_388_608, "8192 kB"),
            (10_484_736, "10239 kB"),
            (10_485_247, "10239 kB"),
            (10_485_248, "10 MB"),
            (-10_240, "-10 kB"),
        ] {
            assert_eq!(size_pretty(bytes), shown);
        }
    }

    #[test]
    fn names_are_read_as_identifiers_are() {
        for (written, read) in [
            ("Seats", Some("seats")),
            ("public.seats", Some("public.seats")),
            ("\"Seats\"", Some("\"Seats\"")),
            (" public . \"a\"\"b\" ", Some("public.\"a\"\"b\"")),
            ("\"open", None),
        ] {
            assert_eq!(qualified_name(written).as_deref(), read, "{written}");
        }
    }
}
