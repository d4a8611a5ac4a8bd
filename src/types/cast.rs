//! Explicit casts between the types, as Postgres defines them in `pg_cast`.

use super::datum::Datum;
use super::numeric::Numeric;
use super::pg_type::PgType;
use super::style::TextStyle;
use super::{datetime, json, scalar};
use crate::error::{Error, Result, SqlState};

impl Datum {
    /// The value as another type, as `CAST` makes it; NULL stays NULL. Casts that Postgres does not have are 42846.
    pub fn cast(self, to: PgType, style: &TextStyle) -> Result<Datum> {
        if self.is_null() {
            return Ok(self);
        }
        if let (Datum::Array { values, .. }, Some(element)) = (&self, to.element()) {
            let values = values.iter().map(|value| value.clone().cast(element, style)).collect::<Result<_>>()?;
            return Ok(Datum::Array { element, values });
        }
        match to {
            PgType::Text | PgType::Varchar | PgType::Bpchar | PgType::Name => Ok(self.into_text(to, style)),
            _ => match self {
                Datum::Text(text) => Datum::from_text(to, &text, style),
                Datum::Int2(value) => from_integer(i64::from(value), PgType::Int2, to),
                Datum::Int4(value) => from_integer(i64::from(value), PgType::Int4, to),
                Datum::Int8(value) => from_integer(value, PgType::Int8, to),
                Datum::Oid(value) => from_integer(i64::from(value), PgType::Oid, to),
                Datum::Bool(value) if to == PgType::Int4 => Ok(Datum::Int4(i32::from(value))),
                Datum::Float4(value) => from_float(f64::from(value), PgType::Float4, to),
                Datum::Float8(value) => from_float(value, PgType::Float8, to),
                Datum::Numeric(value) => from_numeric(value, to),
                Datum::Date(_) | Datum::Timestamp(_) | Datum::Timestamptz(_) => self.cast_datetime(to, style),
                Datum::Json(text) if to == PgType::Jsonb => Ok(Datum::Jsonb(json::canonical(&text)?.into())),
                Datum::Jsonb(text) => from_jsonb(&text, to, style),
                other if other.data_type() == Some(to) => Ok(other),
                other => Err(no_cast(other.data_type(), to)),
            },
        }
    }

    /// Casts to text give booleans their whole names; otherwise the text form.
    fn into_text(self, to: PgType, style: &TextStyle) -> Datum {
        let text: Box<str> = match self {
            Datum::Text(text) => text,
            Datum::Bool(value) => if value { "true" } else { "false" }.into(),
            other => other.to_text(style).unwrap_or_default().into(),
        };
        match to {
            PgType::Name => Datum::Text(scalar::truncate_name(&text).into()),
            _ => Datum::Text(text),
        }
    }

    fn cast_datetime(self, to: PgType, style: &TextStyle) -> Result<Datum> {
        Ok(match (self, to) {
            (Datum::Date(days), PgType::Timestamp) => Datum::Timestamp(datetime::date_to_timestamp(days)?),
            (Datum::Date(days), PgType::Timestamptz) => {
                let local = datetime::date_to_timestamp(days)?;
                Datum::Timestamptz(datetime::local_to_timestamptz(local, &style.zone)?)
            }
            (Datum::Timestamp(local), PgType::Timestamptz) => {
                Datum::Timestamptz(datetime::local_to_timestamptz(local, &style.zone)?)
            }
            (Datum::Timestamptz(instant), PgType::Timestamp) => {
                Datum::Timestamp(datetime::timestamptz_to_local(instant, &style.zone))
            }
            (Datum::Timestamp(local), PgType::Date) => Datum::Date(datetime::timestamp_to_date(local)),
            (Datum::Timestamptz(instant), PgType::Date) => {
                Datum::Date(datetime::timestamp_to_date(datetime::timestamptz_to_local(instant, &style.zone)))
            }
            (Datum::Timestamp(local), PgType::Time) => {
                datetime::timestamp_to_time(local).map_or(Datum::Null, Datum::Time)
            }
            (Datum::Timestamptz(instant), PgType::Time) => {
                let local = datetime::timestamptz_to_local(instant, &style.zone);
                datetime::timestamp_to_time(local).map_or(Datum::Null, Datum::Time)
            }
            (same, to) if same.data_type() == Some(to) => same,
            (other, to) => return Err(no_cast(other.data_type(), to)),
        })
    }
}

/// 22003, as casts and arithmetic report it: `integer out of range`.
pub fn out_of_range(data_type: PgType) -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{data_type} out of range"))
}

fn no_cast(from: Option<PgType>, to: PgType) -> Error {
    let from = from.map_or("unknown", PgType::sql_name);
    Error::new(SqlState::CANNOT_COERCE, format!("cannot cast type {from} to {to}"))
}

fn from_integer(value: i64, from: PgType, to: PgType) -> Result<Datum> {
    Ok(match to {
        PgType::Int2 => Datum::Int2(i16::try_from(value).map_err(|_| out_of_range(to))?),
        PgType::Int4 => Datum::Int4(i32::try_from(value).map_err(|_| out_of_range(to))?),
        PgType::Int8 => Datum::Int8(value),
        // A negative integer names the oid of the same bits.
        PgType::Oid if from != PgType::Int8 && value < 0 => Datum::Oid(value as u32),
        PgType::Oid => {
            let error = || Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "OID out of range");
            Datum::Oid(u32::try_from(value).map_err(|_| error())?)
        }
        PgType::Float4 => Datum::Float4(value as f32),
        PgType::Float8 => Datum::Float8(value as f64),
        PgType::Numeric => Datum::Numeric(Numeric::from(value)),
        PgType::Bool if from == PgType::Int4 => Datum::Bool(value != 0),
        _ => return Err(no_cast(Some(from), to)),
    })
}

fn from_float(value: f64, from: PgType, to: PgType) -> Result<Datum> {
    Ok(match to {
        PgType::Int2 | PgType::Int4 | PgType::Int8 => {
            let rounded = value.round_ties_even();
            // 2^63 as a double; the comparison is false for NaN.
            if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded) {
                return Err(out_of_range(to));
            }
            return from_integer(rounded as i64, PgType::Int8, to);
        }
        PgType::Float4 => {
            let narrow = value as f32;
            if narrow.is_infinite() && value.is_finite() {
                return Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow"));
            }
            if narrow == 0.0 && value != 0.0 {
                return Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: underflow"));
            }
            Datum::Float4(narrow)
        }
        PgType::Float8 => Datum::Float8(value),
        PgType::Numeric if from == PgType::Float4 => Datum::Numeric(Numeric::from_f32(value as f32)?),
        PgType::Numeric => Datum::Numeric(Numeric::from_f64(value)?),
        _ => return Err(no_cast(Some(from), to)),
    })
}

fn from_numeric(value: Numeric, to: PgType) -> Result<Datum> {
    Ok(match to {
        PgType::Int2 => Datum::Int2(value.to_integer("smallint")?),
        PgType::Int4 => Datum::Int4(value.to_integer("integer")?),
        PgType::Int8 => Datum::Int8(value.to_integer("bigint")?),
        PgType::Float4 => Datum::Float4(scalar::parse_f32(&value.to_string())?),
        PgType::Float8 => Datum::Float8(value.to_f64()?),
        PgType::Numeric => Datum::Numeric(value),
        _ => return Err(no_cast(Some(PgType::Numeric), to)),
    })
}

/// Numbers and booleans of jsonb; anything else in it is no such value.
fn from_jsonb(text: &str, to: PgType, style: &TextStyle) -> Result<Datum> {
    if to == PgType::Jsonb {
        return Ok(Datum::Jsonb(text.into()));
    }
    if to == PgType::Json {
        return Ok(Datum::Json(text.into()));
    }
    let value = json::parse(text)?;
    match (&value, to) {
        (json::Json::Bool(value), PgType::Bool) => Ok(Datum::Bool(*value)),
        (
            json::Json::Number(number),
            PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::Float4 | PgType::Float8 | PgType::Numeric,
        ) => Datum::Numeric(Numeric::parse(number)?).cast(to, style),
        (
            _,
            PgType::Bool
            | PgType::Int2
            | PgType::Int4
            | PgType::Int8
            | PgType::Float4
            | PgType::Float8
            | PgType::Numeric,
        ) => {
            let kind = value.type_name();
            let message = format!("cannot cast jsonb {kind} to type {to}");
            Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message))
        }
        _ => Err(no_cast(Some(PgType::Jsonb), to)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cast(from: PgType, text: &str, to: PgType) -> Result<String> {
        let style = TextStyle::default();
        let datum = Datum::from_text(from, text, &style).unwrap().cast(to, &style)?;
        assert_eq!(datum.data_type(), Some(to));
        Ok(datum.to_text(&style).unwrap())
    }

    // Each expected text was taken from PostgreSQL 15.

    #[test]
    fn numbers_round_as_their_types_do() {
        assert_eq!(cast(PgType::Float8, "2.5", PgType::Int4).unwrap(), "2");
        assert_eq!(cast(PgType::Float8, "3.5", PgType::Int8).unwrap(), "4");
        assert_eq!(cast(PgType::Numeric, "2.5", PgType::Int4).unwrap(), "3");
        assert_eq!(cast(PgType::Float8, "0.1", PgType::Numeric).unwrap(), "0.1");
        assert_eq!(cast(PgType::Int8, "7", PgType::Numeric).unwrap(), "7");
        for (from, text, to, message) in [
            (PgType::Float8, "1e10", PgType::Int4, "integer out of range"),
            (PgType::Float8, "NaN", PgType::Int8, "bigint out of range"),
            (PgType::Int8, "40000", PgType::Int2, "smallint out of range"),
            (PgType::Float8, "1e300", PgType::Float4, "value out of range: overflow"),
        ] {
            let error = cast(from, text, to).unwrap_err();
            assert_eq!((error.sqlstate().code(), error.message()), ("22003", message));
        }
    }

    #[test]
    fn text_goes_both_ways() {
        assert_eq!(cast(PgType::Bool, "t", PgType::Text).unwrap(), "true");
        assert_eq!(cast(PgType::Text, "2020-01-01", PgType::Date).unwrap(), "2020-01-01");
        assert_eq!(cast(PgType::Int4Array, "{1,2}", PgType::TextArray).unwrap(), "{1,2}");
        assert_eq!(
            cast(PgType::Uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", PgType::Int4).unwrap_err().message(),
            "cannot cast type uuid to integer"
        );
    }

    #[test]
    fn jsonb_scalars_become_numbers() {
        assert_eq!(cast(PgType::Jsonb, "2.5", PgType::Int4).unwrap(), "3");
        assert_eq!(cast(PgType::Jsonb, "true", PgType::Bool).unwrap(), "t");
        let error = cast(PgType::Jsonb, "\"x\"", PgType::Int4).unwrap_err();
        assert_eq!(error.message(), "cannot cast jsonb string to type integer");
    }
}
