//! The values of a Bind message, decoded as far as planning needs them.

use super::statement::{Prepared, Statement};
use crate::error::{Error, Result, SqlState};
use crate::shard::{Program, RawParameters};
use crate::types::{Datum, Format, PgType, TextStyle};

/// The client's parameters. For Postgres shards, which get them as they came, a value of a type that shardd does not
/// know, or of a form that it cannot read, becomes bytes: nobody here can tell what they equal.
///
/// # Errors
/// Their number is not the statement's, or one is no value of its type.
pub(super) fn decode(
    statement: &Statement,
    prepared: &Prepared,
    raw: &RawParameters,
    style: &TextStyle,
) -> Result<Vec<Datum>> {
    let types = statement.parameters();
    if raw.values.len() != types.len() {
        return Err(Error::new(
            SqlState::PROTOCOL_VIOLATION,
            format!(
                "bind message supplies {} parameters, but the prepared statement requires {}",
                raw.values.len(),
                types.len()
            ),
        ));
    }
    if raw.formats.len() > 1 && raw.formats.len() != raw.values.len() {
        return Err(Error::new(
            SqlState::PROTOCOL_VIOLATION,
            format!("bind message has {} parameter formats but {} parameters", raw.formats.len(), raw.values.len()),
        ));
    }
    let format = |index: usize| match raw.formats.as_slice() {
        [] => Format::Text,
        [one] => *one,
        each => each[index],
    };
    let described = statement.description().map(|description| description.parameter_oids.as_slice());
    let told = |index: usize| {
        let oids = described.unwrap_or(&prepared.type_oids);
        oids.get(index).copied().filter(|oid| *oid != 0)
    };
    let passed_on = matches!(statement.program, Some(Program::Postgres(_)));
    let values = raw.values.iter().zip(types).enumerate();
    values
        .map(|(index, (value, data_type))| {
            let Some(value) = value.as_deref() else { return Ok(Datum::Null) };
            let data_type = match data_type {
                PgType::Unknown => match told(index) {
                    None if format(index) == Format::Text => PgType::Text,
                    told => match told.and_then(PgType::from_oid) {
                        // Which blanks of a `character` count is up to what it is compared with.
                        Some(data_type) if data_type != PgType::Bpchar => data_type,
                        _ => return Ok(Datum::Bytea(value.into())),
                    },
                },
                data_type => *data_type,
            };
            match decode_one(value, data_type, format(index), style) {
                // A shard reads it by itself.
                Err(error) if passed_on && error.sqlstate() == SqlState::FEATURE_NOT_SUPPORTED => {
                    Ok(Datum::Bytea(value.into()))
                }
                decoded => decoded,
            }
        })
        .collect()
}

fn decode_one(value: &[u8], data_type: PgType, format: Format, style: &TextStyle) -> Result<Datum> {
    match format {
        Format::Binary => Datum::from_binary(data_type, value),
        Format::Text => {
            let text = std::str::from_utf8(value).map_err(|_| {
                Error::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\"")
            })?;
            Datum::from_text(data_type, text, style)
        }
    }
}
