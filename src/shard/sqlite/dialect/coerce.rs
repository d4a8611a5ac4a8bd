//! Casts: which Postgres allows where, and what they are in SQLite.
//!
//! The table is `pg_cast` for the types that shardd has. <https://www.postgresql.org/docs/15/typeconv.html>

use super::Translator;
use super::data_type::TypeName;
use super::literal;
use super::names::quote_text;
use super::typed::{Origin, Typed};
use crate::error::{Error, Result, SqlState};
use crate::shard::sqlite::EnvironmentValue;
use crate::types::PgType;

/// How willing the context is to cast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Context {
    /// An operand or an argument.
    Implicit,
    /// A value for a column.
    Assignment,
    /// `CAST`, `::`.
    Explicit,
}

/// `pg_type.typcategory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Category {
    Array,
    Boolean,
    DateTime,
    Numeric,
    String,
    Timespan,
    User,
    Internal,
    Unknown,
    Pseudo,
}

pub(super) fn category(data_type: PgType) -> Category {
    match data_type {
        PgType::Bool => Category::Boolean,
        PgType::Int2
        | PgType::Int4
        | PgType::Int8
        | PgType::Float4
        | PgType::Float8
        | PgType::Numeric
        | PgType::Oid => Category::Numeric,
        reg if reg.is_reg() => Category::Numeric,
        PgType::Text | PgType::Varchar | PgType::Bpchar | PgType::Name => Category::String,
        PgType::Date | PgType::Time | PgType::Timestamp | PgType::Timestamptz => Category::DateTime,
        PgType::Interval => Category::Timespan,
        PgType::Char | PgType::NodeTree => Category::Internal,
        PgType::Unknown => Category::Unknown,
        PgType::Void | PgType::Record => Category::Pseudo,
        PgType::Bytea | PgType::Uuid | PgType::Json | PgType::Jsonb | PgType::Xid | PgType::Aclitem => Category::User,
        _ => Category::Array,
    }
}

/// `pg_type.typispreferred`.
pub(super) fn is_preferred(data_type: PgType) -> bool {
    matches!(
        data_type,
        PgType::Bool | PgType::Text | PgType::Float8 | PgType::Oid | PgType::Timestamptz | PgType::Interval
    )
}

/// How a cast is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// The cell stays as it is.
    Relabel,
    /// By the form that [`form`] gives.
    Convert,
}

/// The context that the cast between two types asks for, and how it is done; none when there is no cast.
fn path(from: PgType, to: PgType) -> Option<(Context, Path)> {
    use Context::{Assignment, Explicit, Implicit};
    use Path::{Convert, Relabel};
    use PgType as T;
    if from == to {
        return Some((Implicit, Relabel));
    }
    if to.is_vector() {
        return None;
    }
    if let (Some(from), Some(to)) = (from.element(), to.element()) {
        return path(from, to);
    }
    Some(match (from, to) {
        (T::Int2, T::Int4 | T::Int8) | (T::Int4, T::Int8) => (Implicit, Relabel),
        (T::Int2 | T::Int4 | T::Int8, T::Oid) => (Implicit, Convert),
        (T::Int2 | T::Int4 | T::Int8, reg) if reg.is_reg() => (Implicit, Convert),
        (T::Oid, reg) | (reg, T::Oid) if reg.is_reg() => (Implicit, Relabel),
        (T::Regproc, T::Regprocedure) | (T::Regprocedure, T::Regproc) => (Implicit, Relabel),
        (T::Oid, T::Int8) => (Assignment, Relabel),
        (T::Oid, T::Int4) => (Assignment, Convert),
        (reg, T::Int8) if reg.is_reg() => (Assignment, Relabel),
        (reg, T::Int4) if reg.is_reg() => (Assignment, Convert),
        (T::NodeTree, T::Text) => (Implicit, Relabel),
        (T::Int4, T::Xid) | (T::Xid, T::Int4 | T::Int8) => (Explicit, Relabel),
        (T::Int2 | T::Int4 | T::Int8, T::Float4 | T::Float8 | T::Numeric) => (Implicit, Convert),
        (T::Int8, T::Int4 | T::Int2) | (T::Int4, T::Int2) => (Assignment, Convert),
        (T::Float4, T::Float8) => (Implicit, Relabel),
        (T::Numeric, T::Float4 | T::Float8) => (Implicit, Convert),
        (T::Float8, T::Float4) => (Assignment, Convert),
        (T::Float4 | T::Float8, T::Int2 | T::Int4 | T::Int8 | T::Numeric) => (Assignment, Convert),
        (T::Numeric, T::Int2 | T::Int4 | T::Int8) => (Assignment, Convert),
        (T::Bool, T::Int4) => (Explicit, Relabel),
        (T::Int4, T::Bool) => (Explicit, Convert),
        (T::Text, T::Varchar | T::Name | T::Bpchar) => (Implicit, if to == T::Name { Convert } else { Relabel }),
        (T::Varchar, T::Text | T::Bpchar) => (Implicit, Relabel),
        (T::Varchar, T::Name) => (Implicit, Convert),
        // The padding goes.
        (T::Bpchar, T::Text | T::Varchar | T::Name) => (Implicit, Convert),
        (T::Name, T::Text) => (Implicit, Relabel),
        (T::Name, T::Varchar | T::Bpchar) => (Assignment, Relabel),
        (T::Char, T::Text) => (Implicit, Relabel),
        (T::Char, T::Varchar | T::Bpchar) | (T::Text | T::Varchar, T::Char) => (Assignment, Relabel),
        (T::Text | T::Varchar, T::Regclass) => (Implicit, Convert),
        (T::Date, T::Timestamp | T::Timestamptz) | (T::Timestamp, T::Timestamptz) => (Implicit, Convert),
        (T::Timestamp | T::Timestamptz, T::Date) | (T::Timestamptz, T::Timestamp) => (Assignment, Convert),
        (T::Jsonb, T::Json) => (Assignment, Relabel),
        (T::Json, T::Jsonb) => (Assignment, Convert),
        (T::Jsonb, T::Bool | T::Int2 | T::Int4 | T::Int8 | T::Float4 | T::Float8 | T::Numeric) => (Explicit, Convert),
        // Through the text form.
        (_, T::Text | T::Varchar | T::Bpchar | T::Name) if from != T::Unknown && from != T::Void => {
            (Assignment, Convert)
        }
        (T::Text | T::Varchar | T::Bpchar | T::Name, _) if to != T::Unknown && to != T::Void => (Explicit, Convert),
        _ => return None,
    })
}

/// Whether a value of one type can be given where another is asked for.
pub(super) fn can_cast(from: PgType, to: PgType, context: Context) -> bool {
    from == PgType::Unknown || path(from, to).is_some_and(|(least, _)| least <= context)
}

/// The one type that several values are brought to, as in Postgres's `select_common_type`: UNION, CASE, VALUES, ...
///
/// # Errors
/// 42804: two of them have nothing in common. `construct` is as the message names it: `CASE`, `UNION`.
pub(super) fn common_type<'t>(types: impl IntoIterator<Item = &'t Typed>, construct: &str) -> Result<PgType> {
    let mut common: Option<PgType> = None;
    for typed in types {
        let next = typed.data_type;
        if next == PgType::Unknown {
            continue;
        }
        let Some(current) = common else {
            common = Some(next);
            continue;
        };
        if current == next {
            continue;
        }
        if category(current) != category(next) {
            let message = format!("{construct} types {current} and {next} cannot be matched");
            return Err(Error::new(SqlState::DATATYPE_MISMATCH, message));
        }
        if !is_preferred(current)
            && can_cast(current, next, Context::Implicit)
            && !can_cast(next, current, Context::Implicit)
        {
            common = Some(next);
        }
    }
    Ok(common.unwrap_or(PgType::Text))
}

impl Translator<'_> {
    /// Brings a value to a type, or says that it cannot be.
    ///
    /// # Errors
    /// 42846: there is no such cast. 22P02 and its kin: a literal is no value of the type.
    pub(super) fn cast(&mut self, value: Typed, to: TypeName, context: Context) -> Result<Typed> {
        let from = value.data_type;
        match self.try_cast(value, to, context)? {
            Some(cast) => Ok(cast),
            None => {
                let message = format!("cannot cast type {from} to {}", to.data_type);
                Err(Error::new(SqlState::CANNOT_COERCE, message))
            }
        }
    }

    /// As [`Translator::cast`], with `None` when the context does not allow it.
    pub(super) fn try_cast(&mut self, value: Typed, to: TypeName, context: Context) -> Result<Option<Typed>> {
        let from = value.data_type;
        if from == PgType::Unknown {
            let typed = self.type_untyped(value, to.data_type)?;
            return Ok(Some(self.apply_modifier(typed, to, context)));
        }
        let Some((least, path)) = path(from, to.data_type) else { return Ok(None) };
        if least > context {
            return Ok(None);
        }
        let keeps_modifier = from == to.data_type && to.modifier == -1 && context != Context::Explicit;
        let mut cast = match path {
            Path::Relabel => value,
            Path::Convert => self.convert(value, to.data_type)?,
        };
        cast.data_type = to.data_type;
        if !keeps_modifier {
            cast = self.apply_modifier(cast, to, context);
        }
        if from != to.data_type && !matches!(cast.origin, Origin::Constant) {
            cast.origin = Origin::Computed;
        }
        Ok(Some(cast))
    }

    /// Brings a value to a type where only implicit casts are made; the caller knows that there is one.
    pub(super) fn implicit(&mut self, value: Typed, to: PgType) -> Result<Typed> {
        self.cast(value, to.into(), Context::Implicit)
    }

    /// An untyped literal or parameter becomes a value of `to`.
    fn type_untyped(&mut self, value: Typed, to: PgType) -> Result<Typed> {
        let mut typed = value;
        match &typed.origin {
            Origin::Null => typed.data_type = to,
            Origin::UntypedParameter(number) if to.is_catalogs_own() && to != PgType::Xid => {
                // It comes as text, whatever it stands for.
                self.parameters.decide(*number, PgType::Text)?;
                typed.data_type = PgType::Text;
                typed.origin = Origin::Constant;
                return self.cast(typed, to.into(), Context::Explicit);
            }
            Origin::UntypedParameter(number) => {
                let number = *number;
                let known = self.parameters.reference(number)?;
                if known.data_type != PgType::Unknown && self.parameters.is_lifted(number) {
                    // One literal that stands in two places of the text that comes out.
                    return self.cast(known, to.into(), Context::Explicit);
                }
                let bound = if to == PgType::Unknown { PgType::Text } else { to };
                self.parameters.decide(number, bound)?;
                typed.data_type = to;
                typed.origin = Origin::Constant;
            }
            Origin::UntypedText(text) => {
                typed.sql = match literal::cell(text, to)? {
                    Some(cell) => cell,
                    None => {
                        let text = Typed::constant(quote_text(text), PgType::Text);
                        self.convert(text, to)?.sql
                    }
                };
                typed.data_type = to;
                typed.origin = Origin::Constant;
            }
            // A column of a subquery that nothing gave a type is text by now.
            _ => {
                typed.data_type = PgType::Text;
                return self.cast(typed, to.into(), Context::Explicit);
            }
        }
        Ok(typed)
    }

    /// varchar(n), char(n), numeric(p,s), timestamp(p).
    fn apply_modifier(&mut self, mut value: Typed, to: TypeName, context: Context) -> Typed {
        if to.modifier == -1 {
            value.modifier = -1;
            return value;
        }
        if value.modifier == to.modifier
            && value.data_type == to.data_type
            && matches!(value.origin, Origin::Column { .. })
        {
            return value;
        }
        let explicit = u8::from(context == Context::Explicit);
        let (sql, modifier) = (&value.sql, to.modifier);
        value.sql = match to.data_type {
            PgType::Varchar => format!("pg_varchar({sql}, {}, {explicit})", modifier - 4),
            PgType::Bpchar => format!("pg_bpchar({sql}, {}, {explicit})", modifier - 4),
            PgType::Numeric => format!("pg_numeric_modifier({sql}, {modifier})"),
            PgType::Timestamp | PgType::Timestamptz => format!("pg_timestamp_precision({sql}, {modifier})"),
            other if other.is_array() => {
                format!("pg_array_modifier({sql}, '{}', {modifier}, {explicit})", other.name())
            }
            _ => sql.clone(),
        };
        value.modifier = modifier;
        if !value.is_constant() {
            value.origin = Origin::Computed;
        }
        value
    }

    fn convert(&mut self, value: Typed, to: PgType) -> Result<Typed> {
        let from = value.data_type;
        if to.is_reg() && category(from) == Category::String {
            return Ok(Typed { sql: self.read_reg(&value, to)?, ..value });
        }
        if from.is_reg() && category(to) == Category::String {
            return Ok(Typed { sql: self.show_reg(&value.sql, from)?, ..value });
        }
        let zone = |translator: &mut Self| translator.parameters.environment(EnvironmentValue::TimeZone);
        if let (Some(from_element), Some(to_element)) = (from.element(), to.element()) {
            let time_zone = zone(self);
            let sql = format!(
                "pg_array_cast({}, '{}', '{}', {time_zone})",
                value.sql,
                from_element.name(),
                to_element.name()
            );
            return Ok(Typed { sql, ..value });
        }
        let sql = form(from, to, &value.sql);
        let sql = if sql.contains("{tz}") { sql.replace("{tz}", &zone(self)) } else { sql };
        Ok(Typed { sql, ..value })
    }
}

/// The SQLite form of a cast that changes the cell; `{tz}` stands for the session's time zone.
fn form(from: PgType, to: PgType, sql: &str) -> String {
    use PgType as T;
    match (from, to) {
        (T::Int2 | T::Int4 | T::Int8, T::Numeric) => format!("CAST({sql} AS TEXT)"),
        (T::Int2 | T::Int4 | T::Int8, T::Float8) => format!("CAST({sql} AS REAL)"),
        (T::Int4, T::Bool) => format!("({sql} <> 0)"),
        (T::Int2 | T::Int4 | T::Int8 | T::Oid, T::Int2) => format!("pg_int2({sql})"),
        (T::Int2 | T::Int4 | T::Int8 | T::Oid, T::Int4) => format!("pg_int4({sql})"),
        (reg, T::Int4) if reg.is_reg() => format!("pg_int4({sql})"),
        (T::Int2 | T::Int4 | T::Int8, T::Oid) => format!("pg_oid({sql})"),
        (T::Int2 | T::Int4 | T::Int8, reg) if reg.is_reg() => format!("pg_oid({sql})"),
        (vector, T::Text | T::Varchar | T::Bpchar) if vector.is_vector() => format!("pg_vector_text({sql})"),
        (T::Bpchar, T::Text | T::Varchar) => format!("rtrim({sql}, ' ')"),
        (T::Int2 | T::Int4 | T::Int8 | T::Oid | T::Xid, T::Text | T::Varchar | T::Bpchar) => {
            format!("CAST({sql} AS TEXT)")
        }
        // Their cells are their text.
        (
            T::Numeric | T::Json | T::Jsonb | T::Char | T::Name | T::NodeTree | T::Aclitem,
            T::Text | T::Varchar | T::Bpchar,
        ) => sql.to_owned(),
        _ => {
            let from = if matches!(from, T::Varchar | T::Name) { T::Text } else { from };
            let to = if matches!(to, T::Varchar) { T::Text } else { to };
            let zoned = needs_time_zone(from, to);
            let arguments = if zoned { format!("{sql}, {{tz}}") } else { sql.to_owned() };
            format!("pg_{}_{}({arguments})", from.name().replace('_', "array_"), to.name().replace('_', "array_"))
        }
    }
}

/// Whether a cast depends on the session's time zone.
pub(super) fn needs_time_zone(from: PgType, to: PgType) -> bool {
    use PgType as T;
    let zoned = |data_type| matches!(data_type, T::Timestamptz | T::TimestamptzArray);
    let clockwise = |data_type| matches!(data_type, T::Date | T::Timestamp | T::DateArray | T::TimestampArray);
    zoned(from) || zoned(to) || (from == T::Text && clockwise(to))
}
