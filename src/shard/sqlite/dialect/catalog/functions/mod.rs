//! Postgres's functions for the types that shardd has (`pg_proc`), and SQLite's forms of them.
//!
//! A line is: kind, name, argument types, result type, form. Kinds: `f` plain, `s` set-returning, `a` aggregate, `w`
//! window. Arguments: `...` before the last one says that it may be repeated, `?` after one that it may be left out.
//! Forms: `{0}`, `{1}` are arguments; `{text 0}` an argument cast to text, `{out 0}` its output form, `{json 0}` and
//! `{jsonb 0}` its JSON, `{typeof 0}` its type's oid, `{cell 0}` its form inside an array's cell, `{element 0}` the name of an array's element type;
//! `*` in place of a number stands for the variadic arguments; `{tz}`, `{now}`, `{statement}`, `{user}`, `{database}`,
//! `{pid}`, `{today}` and `{version}` are the session's. The form of a set-returning function names it for `from`.

mod aggregates;
mod arrays;
mod dates;
mod json;
mod numbers;
mod session;
mod strings;
mod system;
mod windows;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Argument, Signature};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    Plain,
    SetReturning,
    Aggregate,
    Window,
}

/// All functions of a name.
pub(in super::super) fn functions(name: &str) -> &'static [(Kind, Signature)] {
    static FUNCTIONS: LazyLock<HashMap<&str, Vec<(Kind, Signature)>>> = LazyLock::new(|| {
        let mut functions: HashMap<&str, Vec<(Kind, Signature)>> = HashMap::new();
        for line in TABLES.iter().flat_map(|table| table.lines()) {
            if let Some((kind, signature)) = read(line) {
                functions.entry(signature.name).or_default().push((kind, signature));
            }
        }
        functions
    });
    FUNCTIONS.get(name).map_or(&[], Vec::as_slice)
}

const TABLES: [&str; 9] = [
    aggregates::TABLE,
    arrays::TABLE,
    dates::TABLE,
    json::TABLE,
    numbers::TABLE,
    session::TABLE,
    strings::TABLE,
    system::TABLE,
    windows::TABLE,
];

fn read(line: &'static str) -> Option<(Kind, Signature)> {
    let mut words = line.splitn(5, ' ');
    let kind = match words.next()? {
        "f" => Kind::Plain,
        "s" => Kind::SetReturning,
        "a" => Kind::Aggregate,
        "w" => Kind::Window,
        _ => return None,
    };
    let (name, arguments, result, form) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let variadic = arguments.contains("...");
    let optional = arguments.matches('?').count();
    let arguments = match arguments {
        "()" => Vec::new(),
        list => list
            .split(',')
            .map(|argument| Argument::read(argument.trim_start_matches("...").trim_end_matches('?')))
            .collect::<Option<Vec<_>>>()?,
    };
    // A variadic array parameter takes its elements one by one.
    let arguments = match (variadic, arguments.as_slice()) {
        (true, [first @ .., Argument::Exact(last)]) if last.is_array() => {
            first.iter().copied().chain(last.element().map(Argument::Exact)).collect()
        }
        _ => arguments,
    };
    let result = Argument::read(result)?;
    let form = (form != "-").then_some(form);
    Some((kind, Signature { name, arguments, result, variadic, optional, form }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_tables_is_read() {
        for line in TABLES.iter().flat_map(|table| table.lines()) {
            assert!(read(line).is_some(), "{line}");
        }
    }

    #[test]
    fn variadic_and_optional_arguments_are_told() {
        let concat = &functions("concat")[0].1;
        assert!(concat.variadic);
        assert_eq!(concat.arguments_for(3).map(|arguments| arguments.len()), Some(3));
        let set = &functions("jsonb_set")[0].1;
        assert!(set.arguments_for(3).is_some() && set.arguments_for(2).is_none());
    }
}
