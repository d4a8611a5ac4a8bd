//! What Postgres has, and what of it shardd does: operators and functions by name and argument types.
//!
//! Each line of the tables is one of Postgres's: name, argument types, result type, and SQLite's form of it. `-` in place
//! of a form says that Postgres has it and shardd does not. Nothing that is missing here is guessed at.

pub(super) mod functions;
pub(super) mod operators;

mod names;
mod resolve;

pub(super) use names::is_postgres_function;
pub(super) use resolve::{Candidate, Choice, choose, polymorphic};

use crate::types::PgType;

/// The type of an argument as a declaration gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    Exact(PgType),
    /// Anything, each on its own.
    Any,
    /// One type for all of them.
    AnyElement,
    AnyArray,
    AnyNonArray,
    /// One type that all can be brought to.
    AnyCompatible,
    AnyCompatibleArray,
}

impl Argument {
    fn read(name: &str) -> Option<Argument> {
        Some(match name {
            "any" => Argument::Any,
            "anyelement" => Argument::AnyElement,
            "anyarray" => Argument::AnyArray,
            "anynonarray" => Argument::AnyNonArray,
            "anycompatible" => Argument::AnyCompatible,
            "anycompatiblearray" => Argument::AnyCompatibleArray,
            name => Argument::Exact(PgType::ALL.iter().copied().find(|known| known.name() == name)?),
        })
    }
}

/// An operator or a function.
#[derive(Debug)]
pub(super) struct Signature {
    pub(super) name: &'static str,
    pub(super) arguments: Vec<Argument>,
    pub(super) result: Argument,
    /// The last argument may be repeated.
    pub(super) variadic: bool,
    /// How many of the last arguments may be left out.
    pub(super) optional: usize,
    /// SQLite's form: `{0}`, `{1}`, ... stand for the arguments, `{*}` for all of them, `{tz}`, `{now}`, ... for what the
    /// session gives. `None`: not done.
    pub(super) form: Option<&'static str>,
}

impl Signature {
    /// The form asks the system catalog.
    pub(super) fn looks_up(&self) -> bool {
        self.form.is_some_and(|form| form.contains(" FROM "))
    }

    /// The declared types, with a variadic one repeated so that there are `count`; none when they cannot be that many.
    pub(super) fn arguments_for(&self, count: usize) -> Option<Vec<Argument>> {
        let declared = self.arguments.len();
        if self.variadic {
            let last = *self.arguments.last()?;
            if count < declared {
                return None;
            }
            let mut arguments = self.arguments.clone();
            arguments.resize(count, last);
            return Some(arguments);
        }
        if count > declared || count + self.optional < declared {
            return None;
        }
        Some(self.arguments[..count].to_vec())
    }
}
