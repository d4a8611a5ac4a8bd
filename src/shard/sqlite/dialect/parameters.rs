//! The statement's placeholders, whose types are found while it is translated, and what it asks of its session.
//!
//! A placeholder without a declared type takes that of its first use; later uses are cast from it. So it is in
//! Postgres's `parse_param.c`.

use super::ParameterTypes;
use super::typed::{Origin, Typed};
use crate::error::{Error, Result, SqlState};
use crate::shard::sqlite::EnvironmentValue;
use crate::sql::LiteralKind;
use crate::types::PgType;

pub(super) struct Parameters<'a> {
    known: ParameterTypes<'a>,
    /// By number; `None` until a use decides.
    types: Vec<Option<PgType>>,
    pub(super) environment: Vec<EnvironmentValue>,
}

impl<'a> Parameters<'a> {
    pub(super) fn new(known: ParameterTypes<'a>) -> Parameters<'a> {
        let declared = |number: usize| match known.declared.get(number) {
            Some(Some(PgType::Unknown)) | None => None,
            Some(declared) => *declared,
        };
        let lifted = known.lifted.iter().map(|kind| match kind {
            LiteralKind::Int4 => Some(PgType::Int4),
            LiteralKind::Int8 => Some(PgType::Int8),
            LiteralKind::Numeric => Some(PgType::Numeric),
            LiteralKind::Text => None,
        });
        let types = (0..known.client_parameters).map(declared).chain(lifted).collect();
        Parameters { known, types, environment: Vec::new() }
    }

    /// What `$number` stands for.
    ///
    /// # Errors
    /// 42P02: the statement has no such parameter.
    pub(super) fn reference(&self, number: usize) -> Result<Typed> {
        let Some(known) = number.checked_sub(1).and_then(|index| self.types.get(index)) else {
            return Err(Error::new(SqlState::UNDEFINED_PARAMETER, format!("there is no parameter ${number}")));
        };
        let mut typed = Typed::constant(format!("?{number}"), known.unwrap_or(PgType::Unknown));
        typed.facts.not_null = number > self.known.client_parameters;
        if known.is_none() {
            typed.origin = Origin::UntypedParameter(number);
        }
        Ok(typed)
    }

    /// A lifted literal, which a cast in the text may have given its type. Not a client's parameter.
    pub(super) fn is_lifted(&self, number: usize) -> bool {
        number > self.known.client_parameters
    }

    /// Gives `$number` the type that its context asks for.
    ///
    /// # Errors
    /// 42P08: two uses of one untyped placeholder ask for different types.
    pub(super) fn decide(&mut self, number: usize, data_type: PgType) -> Result<()> {
        let slot = &mut self.types[number - 1];
        match *slot {
            Some(known) if known != data_type => Err(Error::new(
                SqlState::AMBIGUOUS_PARAMETER,
                format!("inconsistent types deduced for parameter ${number}"),
            )
            .detail(format!("{known} versus {data_type}"))),
            _ => {
                *slot = Some(data_type);
                Ok(())
            }
        }
    }

    /// The placeholder that `value` will be bound to.
    pub(super) fn environment(&mut self, value: EnvironmentValue) -> String {
        let index = match self.environment.iter().position(|known| *known == value) {
            Some(index) => index,
            None => {
                self.environment.push(value);
                self.environment.len() - 1
            }
        };
        format!("?{}", self.types.len() + index + 1)
    }

    /// The types of all placeholders, once the statement is translated.
    ///
    /// # Errors
    /// 42P18: nothing in the statement gives a client's parameter a type.
    pub(super) fn finish(self) -> Result<(Vec<PgType>, Vec<EnvironmentValue>)> {
        let mut types = Vec::with_capacity(self.types.len());
        for (index, known) in self.types.iter().enumerate() {
            let number = index + 1;
            let data_type = match known {
                Some(data_type) => *data_type,
                None if self.is_lifted(number) => PgType::Text,
                None => {
                    return Err(Error::new(
                        SqlState::INDETERMINATE_DATATYPE,
                        format!("could not determine data type of parameter ${number}"),
                    ));
                }
            };
            types.push(data_type);
        }
        Ok((types, self.environment))
    }
}
