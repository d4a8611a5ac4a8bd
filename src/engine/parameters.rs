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
    let values = raw.values.iter().enumerate();
    values
        .map(|(index, value)| match value.as_deref() {
            None => Ok(Datum::Null),
            Some(value) => decode_parameter(statement, prepared, index, value, format(index), style),
        })
        .collect()
}

/// The value of one parameter, by its number from 0.
///
/// # Errors
/// It is no value of its type.
pub(super) fn decode_parameter(
    statement: &Statement,
    prepared: &Prepared,
    index: usize,
    value: &[u8],
    format: Format,
    style: &TextStyle,
) -> Result<Datum> {
    let data_type = match statement.parameters().get(index) {
        None | Some(PgType::Unknown) => {
            let described = statement.description().map(|description| description.parameter_oids.as_slice());
            let told = described.unwrap_or(&prepared.type_oids).get(index).copied().filter(|oid| *oid != 0);
            match told {
                None if format == Format::Text => PgType::Text,
                told => match told.and_then(PgType::from_oid) {
                    // Which blanks of a `character` count is up to what it is compared with.
                    Some(data_type) if data_type != PgType::Bpchar => data_type,
                    _ => return Ok(Datum::Bytea(value.into())),
                },
            }
        }
        Some(data_type) => *data_type,
    };
    match decode_one(value, data_type, format, style) {
        // A shard reads it by itself.
        Err(error)
            if error.sqlstate() == SqlState::FEATURE_NOT_SUPPORTED
                && matches!(statement.program, Some(Program::Postgres(_))) =>
        {
            Ok(Datum::Bytea(value.into()))
        }
        decoded => decoded,
    }
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
