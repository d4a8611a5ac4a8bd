//! Which of several operators or functions of one name is meant.
//!
//! Postgres's own rules: <https://www.postgresql.org/docs/15/typeconv-oper.html>, `func_select_candidate` in its parser.

use super::super::coerce::{Category, Context, can_cast, category, is_preferred};
use super::{Argument, Signature};
use crate::error::{Error, Result, SqlState};
use crate::types::PgType;

/// One that could be meant: which it is, and its arguments' types.
#[derive(Clone, Debug)]
pub(in super::super) struct Candidate {
    pub(in super::super) index: usize,
    pub(in super::super) arguments: Vec<Argument>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Choice {
    None,
    One(usize),
    /// Several are as good.
    Ambiguous,
}

/// Chooses among candidates that all take as many arguments as there are `given`.
pub(in super::super) fn choose(given: &[PgType], mut candidates: Vec<Candidate>) -> Choice {
    if let Some(exact) = candidates.iter().find(|candidate| is_exact(given, &candidate.arguments)) {
        return Choice::One(exact.index);
    }
    candidates.retain(|candidate| accepts(given, &candidate.arguments));
    match candidates.as_slice() {
        [] => Choice::None,
        [only] => Choice::One(only.index),
        _ => select(given, candidates),
    }
}

fn is_exact(given: &[PgType], declared: &[Argument]) -> bool {
    given.iter().zip(declared).all(|(given, declared)| *declared == Argument::Exact(*given))
}

/// Whether implicit casts bring all arguments to the declared types.
fn accepts(given: &[PgType], declared: &[Argument]) -> bool {
    given.iter().zip(declared).all(|(given, declared)| match declared {
        Argument::Exact(declared) => can_cast(*given, *declared, Context::Implicit),
        Argument::Any | Argument::AnyElement | Argument::AnyCompatible => true,
        Argument::AnyNonArray => !given.is_array(),
        Argument::AnyArray | Argument::AnyCompatibleArray => *given == PgType::Unknown || given.is_array(),
    }) && consistent(given, declared)
}

/// Whether the polymorphic arguments agree on a type.
fn consistent(given: &[PgType], declared: &[Argument]) -> bool {
    element_type(given, declared).is_ok() && compatible_type(given, declared).is_ok()
}

/// The type that `anyelement` stands for; `None` when no argument says.
pub(in super::super) fn element_type(given: &[PgType], declared: &[Argument]) -> Result<Option<PgType>, ()> {
    let mut element: Option<PgType> = None;
    for (given, declared) in given.iter().zip(declared) {
        let next = match declared {
            _ if *given == PgType::Unknown => continue,
            Argument::AnyElement | Argument::AnyNonArray => *given,
            Argument::AnyArray => given.element().ok_or(())?,
            _ => continue,
        };
        match element {
            Some(known) if known != next => return Err(()),
            _ => element = Some(next),
        }
    }
    Ok(element)
}

/// The type that `anycompatible` stands for; `None` when no argument says.
pub(in super::super) fn compatible_type(given: &[PgType], declared: &[Argument]) -> Result<Option<PgType>, ()> {
    let mut common: Option<PgType> = None;
    for (given, declared) in given.iter().zip(declared) {
        let next = match declared {
            _ if *given == PgType::Unknown => continue,
            Argument::AnyCompatible => *given,
            Argument::AnyCompatibleArray => given.element().ok_or(())?,
            _ => continue,
        };
        common = Some(match common {
            None => next,
            Some(known) if known == next => known,
            Some(known) if category(known) != category(next) => return Err(()),
            Some(known)
                if !is_preferred(known)
                    && can_cast(known, next, Context::Implicit)
                    && !can_cast(next, known, Context::Implicit) =>
            {
                next
            }
            Some(known) => known,
        });
    }
    Ok(common)
}

fn select(given: &[PgType], candidates: Vec<Candidate>) -> Choice {
    let candidates = keep_best(candidates, |candidate| {
        count(given, candidate, |given, declared| declared == Argument::Exact(given))
    });
    if let [only] = candidates.as_slice() {
        return Choice::One(only.index);
    }
    let candidates = keep_best(candidates, |candidate| {
        count(given, candidate, |given, declared| match declared {
            Argument::Exact(declared) => {
                declared == given || (category(declared) == category(given) && is_preferred(declared))
            }
            _ => false,
        })
    });
    if let [only] = candidates.as_slice() {
        return Choice::One(only.index);
    }
    if !given.contains(&PgType::Unknown) {
        return Choice::Ambiguous;
    }
    match by_category(given, &candidates) {
        Some(index) => Choice::One(index),
        None => by_likeness(given, &candidates),
    }
}

fn count(given: &[PgType], candidate: &Candidate, good: impl Fn(PgType, Argument) -> bool) -> usize {
    let pairs = given.iter().zip(&candidate.arguments);
    pairs.filter(|(given, declared)| **given != PgType::Unknown && good(**given, **declared)).count()
}

fn keep_best(candidates: Vec<Candidate>, score: impl Fn(&Candidate) -> usize) -> Vec<Candidate> {
    let best = candidates.iter().map(&score).max().unwrap_or(0);
    candidates.into_iter().filter(|candidate| score(candidate) == best).collect()
}

fn declared_category(declared: Argument) -> (Category, bool) {
    match declared {
        Argument::Exact(declared) => (category(declared), is_preferred(declared)),
        _ => (Category::Pseudo, false),
    }
}

/// For each untyped argument: strings if any candidate takes one, otherwise the one category that all take.
fn by_category(given: &[PgType], candidates: &[Candidate]) -> Option<usize> {
    let mut slots = Vec::new();
    for position in (0..given.len()).filter(|position| given[*position] == PgType::Unknown) {
        let of = |candidate: &Candidate| declared_category(candidate.arguments[position]);
        let category = if candidates.iter().any(|candidate| of(candidate).0 == Category::String) {
            Category::String
        } else {
            let first = of(candidates.first()?).0;
            if candidates.iter().any(|candidate| of(candidate).0 != first) {
                return None;
            }
            first
        };
        let preferred = candidates.iter().any(|candidate| of(candidate) == (category, true));
        slots.push((position, category, preferred));
    }
    let mut fitting = candidates.iter().filter(|candidate| {
        slots.iter().all(|(position, category, preferred)| {
            let (own, own_preferred) = declared_category(candidate.arguments[*position]);
            own == *category && (own_preferred || !preferred)
        })
    });
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Some(only.index),
        _ => None,
    }
}

/// If all typed arguments have one type, the untyped ones are taken to have it too.
fn by_likeness(given: &[PgType], candidates: &[Candidate]) -> Choice {
    let mut typed = given.iter().copied().filter(|given| *given != PgType::Unknown);
    let Some(first) = typed.next() else { return Choice::Ambiguous };
    if typed.any(|other| other != first) {
        return Choice::Ambiguous;
    }
    let alike = vec![first; given.len()];
    let mut fitting = candidates.iter().filter(|candidate| accepts(&alike, &candidate.arguments));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Choice::One(only.index),
        _ => Choice::Ambiguous,
    }
}

/// What the types of a signature come to for the arguments at hand.
#[derive(Clone, Debug)]
pub(in super::super) struct Types {
    pub(in super::super) arguments: Vec<PgType>,
    pub(in super::super) result: PgType,
}

/// Puts types for the polymorphic ones of a signature.
///
/// # Errors
/// 42804: the arguments do not say which.
pub(in super::super) fn polymorphic(signature: &Signature, given: &[PgType]) -> Result<Types> {
    let declared = signature.arguments_for(given.len()).unwrap_or_else(|| signature.arguments.clone());
    let element = element_type(given, &declared).ok().flatten();
    let compatible = compatible_type(given, &declared).ok().flatten();
    let undetermined = || {
        Error::new(SqlState::DATATYPE_MISMATCH, "could not determine polymorphic type because input has type unknown")
    };
    let array_of = |element: PgType| {
        element.array().ok_or_else(|| {
            let message = format!("could not find array type for data type {element}");
            Error::new(SqlState::UNDEFINED_OBJECT, message)
        })
    };
    // Only `anycompatible` falls back to text.
    let compatible = || compatible.unwrap_or(PgType::Text);
    let concrete = |argument: Argument, own: Option<PgType>| -> Result<PgType> {
        match argument {
            Argument::Exact(known) => Ok(known),
            Argument::Any => Ok(match own {
                Some(PgType::Unknown) | None => PgType::Text,
                Some(own) => own,
            }),
            Argument::AnyElement | Argument::AnyNonArray => match (element, own) {
                (Some(element), _) => Ok(element),
                // `text || unknown` and its kin: an operand by itself.
                (None, Some(PgType::Unknown)) if argument == Argument::AnyNonArray => Ok(PgType::Text),
                _ => Err(undetermined()),
            },
            Argument::AnyArray => array_of(element.ok_or_else(undetermined)?),
            Argument::AnyCompatible => Ok(compatible()),
            Argument::AnyCompatibleArray => array_of(compatible()),
        }
    };
    let arguments = declared
        .iter()
        .zip(given)
        .map(|(declared, own)| concrete(*declared, Some(*own)))
        .collect::<Result<Vec<_>>>()?;
    let result = concrete(signature.result, None)?;
    Ok(Types { arguments, result })
}
