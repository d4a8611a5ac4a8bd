//! The names that Postgres gives constraints and indexes without one (`ChooseRelationName`, `makeObjectName`).

use super::super::names::cut;

/// The longest name, in bytes.
const NAME_BYTES: usize = 63;

/// `{first}_{second}_{label}`, cut to fit and numbered until it is free.
pub(super) fn choose(first: &str, second: &str, label: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut number = 0;
    loop {
        let label = if number == 0 { label.to_owned() } else { format!("{label}{number}") };
        let name = object_name(first, second, &label);
        if !taken(&name) {
            return name;
        }
        number += 1;
    }
}

fn object_name(first: &str, second: &str, label: &str) -> String {
    let underscores = if second.is_empty() { 1 } else { 2 };
    let room = NAME_BYTES.saturating_sub(label.len() + underscores);
    let (mut first_bytes, mut second_bytes) = (first.len(), second.len());
    while first_bytes + second_bytes > room {
        if first_bytes > second_bytes {
            first_bytes -= 1;
        } else {
            second_bytes -= 1;
        }
    }
    let (mut first, mut second) = (first.to_owned(), second.to_owned());
    cut(&mut first, first_bytes);
    cut(&mut second, second_bytes);
    if second.is_empty() { format!("{first}_{label}") } else { format!("{first}_{second}_{label}") }
}

/// The columns' names as part of a name: joined, and cut as Postgres cuts them.
pub(super) fn joined<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let mut joined = String::new();
    for name in names {
        if !joined.is_empty() {
            joined.push('_');
        }
        joined.push_str(name);
        if joined.len() > NAME_BYTES {
            break;
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_postgres_own() {
        assert_eq!(choose("seats", "", "pkey", |_| false), "seats_pkey");
        assert_eq!(choose("seats", "status", "check", |name| name == "seats_status_check"), "seats_status_check1");
        let long = choose(&"a".repeat(60), &"b".repeat(60), "key", |_| false);
        assert_eq!(long, format!("{}_{}_key", "a".repeat(29), "b".repeat(29)));
    }
}
