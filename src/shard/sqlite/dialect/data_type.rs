//! Type names in a statement, as Postgres reads them.

use super::names::QualifiedName;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, TimezoneInfo};
use crate::types::PgType;

/// The bytes that Postgres adds to a length or a precision in `atttypmod`.
const HEADER: i32 = 4;

/// The longest `varchar(n)` that Postgres takes.
const MAX_LENGTH: u64 = 10_485_760;

/// A type with its modifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TypeName {
    pub(super) data_type: PgType,
    pub(super) modifier: i32,
}

impl From<PgType> for TypeName {
    fn from(data_type: PgType) -> TypeName {
        TypeName { data_type, modifier: -1 }
    }
}

/// What a type's name stands for.
///
/// # Errors
/// 42704: Postgres does not know the type either. 0A000: shardd does not have it. 22023: its modifier is impossible.
pub(super) fn type_name(written: &DataType) -> Result<TypeName> {
    let plain = |data_type: PgType| Ok(TypeName::from(data_type));
    match written {
        DataType::Int2(None) | DataType::SmallInt(None) => plain(PgType::Int2),
        DataType::Int(None) | DataType::Int4(None) | DataType::Integer(None) => plain(PgType::Int4),
        DataType::Int8(None) | DataType::BigInt(None) => plain(PgType::Int8),
        DataType::Float4 | DataType::Real => plain(PgType::Float4),
        DataType::Float8 | DataType::DoublePrecision | DataType::Double(ExactNumberInfo::None) => plain(PgType::Float8),
        DataType::Float(info) => float(info),
        DataType::Bool | DataType::Boolean => plain(PgType::Bool),
        DataType::Text => plain(PgType::Text),
        DataType::Uuid => plain(PgType::Uuid),
        DataType::Bytea => plain(PgType::Bytea),
        DataType::JSON => plain(PgType::Json),
        DataType::JSONB => plain(PgType::Jsonb),
        DataType::Date => plain(PgType::Date),
        DataType::Regclass => plain(PgType::Regclass),
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => numeric(info),
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            Ok(TypeName {
                data_type: PgType::Varchar,
                modifier: length_modifier("varchar", length.as_ref())?.unwrap_or(-1),
            })
        }
        DataType::Char(length) | DataType::Character(length) => {
            let modifier = length_modifier("char", length.as_ref())?.unwrap_or(HEADER + 1);
            Ok(TypeName { data_type: PgType::Bpchar, modifier })
        }
        DataType::Timestamp(precision, zone) => timestamp(*precision, *zone),
        DataType::Interval { fields: None, precision: None } => plain(PgType::Interval),
        DataType::Time(_, _) => Err(refused(written)),
        DataType::Array(element) => array(element),
        DataType::Custom(name, modifiers) => custom(&QualifiedName::new(name)?, modifiers),
        _ => Err(refused(written)),
    }
}

fn refused(written: &DataType) -> Error {
    Error::unsupported(
        format_args!("type {}", written.to_string().to_lowercase()),
        "The types that shardd has are listed in docs/sql.md.",
    )
}

fn float(info: &ExactNumberInfo) -> Result<TypeName> {
    match info {
        ExactNumberInfo::None => Ok(PgType::Float8.into()),
        ExactNumberInfo::Precision(1..=24) => Ok(PgType::Float4.into()),
        ExactNumberInfo::Precision(25..=53) => Ok(PgType::Float8.into()),
        _ => Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "precision for type float must be less than 54 bits")),
    }
}

fn numeric(info: &ExactNumberInfo) -> Result<TypeName> {
    let (precision, scale) = match *info {
        ExactNumberInfo::None => return Ok(PgType::Numeric.into()),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    if !(1..=1000).contains(&precision) {
        let message = format!("NUMERIC precision {precision} must be between 1 and 1000");
        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    if !(-1000..=1000).contains(&scale) {
        let message = format!("NUMERIC scale {scale} must be between -1000 and 1000");
        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    // Both are in range: eleven bits hold the scale, as in `numerictypmodin`.
    let (precision, scale) = (precision as i32, scale as i32);
    Ok(TypeName { data_type: PgType::Numeric, modifier: ((precision << 16) | (scale & 0x7ff)) + HEADER })
}

fn length_modifier(name: &str, length: Option<&CharacterLength>) -> Result<Option<i32>> {
    match length {
        None => Ok(None),
        Some(CharacterLength::IntegerLength { length, unit: None }) => length_in_range(name, *length).map(Some),
        Some(_) => Err(Error::new(SqlState::SYNTAX_ERROR, format!("invalid length for type {name}"))),
    }
}

fn length_in_range(name: &str, length: u64) -> Result<i32> {
    if length == 0 {
        let message = format!("length for type {name} must be at least 1");
        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    if length > MAX_LENGTH {
        let message = format!("length for type {name} cannot exceed {MAX_LENGTH}");
        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    Ok(length as i32 + HEADER)
}

fn timestamp(precision: Option<u64>, zone: TimezoneInfo) -> Result<TypeName> {
    let data_type = match zone {
        TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => PgType::Timestamp,
        TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => PgType::Timestamptz,
    };
    match precision {
        None => Ok(data_type.into()),
        // Values have microseconds anyway.
        Some(precision) if precision >= 6 => Ok(TypeName { data_type, modifier: 6 }),
        Some(precision) => Ok(TypeName { data_type, modifier: precision as i32 }),
    }
}

fn array(element: &ArrayElemTypeDef) -> Result<TypeName> {
    let (ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::Qualified(element, _)) = element else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "invalid array type"));
    };
    let element = type_name(element)?;
    // `integer[][]` is the same type as `integer[]`.
    if element.data_type.is_array() {
        return Ok(element);
    }
    match element.data_type.array() {
        Some(data_type) => Ok(TypeName { data_type, modifier: element.modifier }),
        None => Err(Error::unsupported(format_args!("type {}[]", element.data_type), "Use an array of another type.")),
    }
}

fn custom(name: &QualifiedName, modifiers: &[String]) -> Result<TypeName> {
    let unknown = || Error::new(SqlState::UNDEFINED_OBJECT, format!("type \"{}\" does not exist", name.display()));
    if !name.is_builtin() {
        return Err(unknown());
    }
    if name.name == "bpchar" {
        let modifier = match modifiers {
            [] => -1,
            [length] => length_in_range("char", length.parse().map_err(|_| unknown())?)?,
            _ => return Err(unknown()),
        };
        return Ok(TypeName { data_type: PgType::Bpchar, modifier });
    }
    let known = PgType::ALL.iter().copied().find(|known| known.name() == name.name);
    match known {
        Some(PgType::Time) => Err(Error::unsupported("type time", "Use timestamp, interval or text.")),
        Some(known) if modifiers.is_empty() => Ok(known.into()),
        Some(PgType::Varchar) => match modifiers {
            [length] => {
                let modifier = length_in_range("varchar", length.parse().map_err(|_| unknown())?)?;
                Ok(TypeName { data_type: PgType::Varchar, modifier })
            }
            _ => Err(unknown()),
        },
        Some(known) => {
            let message = format!("type modifier is not allowed for type \"{}\"", known.name());
            Err(Error::new(SqlState::SYNTAX_ERROR, message))
        }
        None if UNSUPPORTED_TYPES.contains(&name.name.as_str()) => Err(Error::unsupported(
            format_args!("type {}", name.name),
            "The types that shardd has are listed in docs/sql.md.",
        )),
        None => Err(unknown()),
    }
}

/// Types of Postgres's that shardd does not have.
pub(super) const UNSUPPORTED_TYPES: &[&str] = &[
    "bit",
    "box",
    "box2d",
    "cidr",
    "circle",
    "daterange",
    "datemultirange",
    "inet",
    "int4range",
    "int8range",
    "jsonpath",
    "line",
    "lseg",
    "macaddr",
    "macaddr8",
    "money",
    "numrange",
    "path",
    "pg_lsn",
    "point",
    "polygon",
    "record",
    "regproc",
    "regnamespace",
    "regoper",
    "regrole",
    "time",
    "timetz",
    "tsquery",
    "tsrange",
    "tstzrange",
    "tsvector",
    "varbit",
    "xid",
    "xml",
    "cid",
    "tid",
    "int2vector",
    "oidvector",
    "cstring",
];

#[cfg(test)]
mod tests {
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::parser::Parser;

    use super::*;

    fn read(text: &str) -> Result<TypeName> {
        let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).expect("tokens");
        type_name(&parser.parse_data_type().expect("a type"))
    }

    #[test]
    fn names_become_types_and_modifiers() {
        let cases = [
            ("bigint", PgType::Int8, -1),
            ("int", PgType::Int4, -1),
            ("numeric(10,2)", PgType::Numeric, 655_366),
            ("numeric(3,-2)", PgType::Numeric, ((3 << 16) | 0x7fe) + 4),
            ("varchar(20)", PgType::Varchar, 24),
            ("character varying", PgType::Varchar, -1),
            ("char", PgType::Bpchar, 5),
            ("timestamp with time zone", PgType::Timestamptz, -1),
            ("timestamptz(3)", PgType::Timestamptz, 3),
            ("timestamp", PgType::Timestamp, -1),
            ("float(24)", PgType::Float4, -1),
            ("text[]", PgType::TextArray, -1),
            ("pg_catalog.int4", PgType::Int4, -1),
            ("oid", PgType::Oid, -1),
            ("name", PgType::Name, -1),
        ];
        for (text, data_type, modifier) in cases {
            assert_eq!(read(text).expect(text), TypeName { data_type, modifier }, "{text}");
        }
    }

    #[test]
    fn unknown_types_and_those_not_done_differ() {
        assert_eq!(read("nonsense").unwrap_err().sqlstate(), SqlState::UNDEFINED_OBJECT);
        assert_eq!(read("inet").unwrap_err().sqlstate(), SqlState::FEATURE_NOT_SUPPORTED);
        assert_eq!(read("varchar(0)").unwrap_err().sqlstate(), SqlState::INVALID_PARAMETER_VALUE);
    }
}
