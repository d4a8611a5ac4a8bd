//! The configuration file as it is written: read, with the line of every key.
//!
//! serde stops at its first error. So that all of them are told at once, the offending key is noted and taken out, and the rest is
//! read again, until nothing is wrong. Values may be secrets, so none is ever repeated in a message.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::limits::{LimitsFile, PoolFile};

/// A configuration file may not be longer.
pub(super) const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// What a file may say. Everything may be left out here; what must not be is the validation's to say.
/// It has no `Debug`: it holds secrets.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) data_dir: Option<String>,
    pub(super) database: Option<String>,
    pub(super) allow_insecure_listener: Option<bool>,
    pub(super) listen: ListenFile,
    pub(super) http: HttpFile,
    pub(super) admin: AdminFile,
    pub(super) catalog: CatalogFile,
    pub(super) limits: LimitsFile,
    pub(super) pool: PoolFile,
    pub(super) keyspaces: Option<Vec<KeyspaceFile>>,
    pub(super) shards: Option<Vec<ShardFile>>,
    pub(super) users: Vec<UserFile>,
    pub(super) auth_query: AuthQueryFile,
    pub(super) tokens: Vec<TokenFile>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ListenFile {
    pub(super) postgres: Option<String>,
    pub(super) postgres_session: Option<String>,
    pub(super) http: Option<String>,
    pub(super) admin: Option<String>,
    pub(super) allowed_hosts: Vec<String>,
    pub(super) postgres_socket_dir: Option<String>,
    pub(super) tls: TlsFile,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TlsFile {
    pub(super) certificate_file: Option<String>,
    pub(super) key_file: Option<String>,
    pub(super) client_ca_file: Option<String>,
    pub(super) required: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HttpFile {
    pub(super) require_preconditions: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AdminFile {
    pub(super) token_file: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CatalogFile {
    pub(super) url: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct KeyspaceFile {
    pub(super) name: Option<String>,
    pub(super) key_column: Option<String>,
    pub(super) key_type: Option<String>,
    pub(super) key_columns: BTreeMap<String, String>,
    pub(super) shards: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ShardFile {
    pub(super) name: Option<String>,
    pub(super) url: Option<String>,
    pub(super) weight: Option<f64>,
    pub(super) replicas: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct UserFile {
    pub(super) name: Option<String>,
    pub(super) verifier: Option<String>,
    pub(super) password_file: Option<String>,
    pub(super) authentication: Option<String>,
    pub(super) certificate_name: Option<String>,
    pub(super) require_tls: Option<bool>,
    pub(super) max_clients: Option<u64>,
    pub(super) read_only: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AuthQueryFile {
    pub(super) user: Option<String>,
    pub(super) password_file: Option<String>,
    pub(super) query: Option<String>,
    pub(super) shards: Vec<String>,
    pub(super) require_tls: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TokenFile {
    pub(super) user: Option<String>,
    pub(super) token_file: Option<String>,
}

/// A file that was read as far as it makes sense.
#[derive(Default)]
pub(super) struct Parsed {
    pub(super) file: File,
    /// The line of every key, by its path.
    pub(super) lines: BTreeMap<String, usize>,
    pub(super) problems: Vec<FileProblem>,
    /// The text is no TOML: what could be read of it means nothing.
    pub(super) malformed: bool,
}

pub(super) struct FileProblem {
    pub(super) line: Option<usize>,
    pub(super) key: String,
    pub(super) message: String,
}

/// Reads a file's text.
pub(super) fn parse(text: &str) -> Parsed {
    let line_of = |offset: usize| 1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count();
    let (mut table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problem = |error: &toml::de::Error| FileProblem {
            line: error.span().map(|span| line_of(span.start)),
            key: String::new(),
            message: format!("this is no TOML: {}", error.message().replace('\n', ", ")),
        };
        let mut problems: Vec<FileProblem> = errors.iter().map(problem).collect();
        problems.sort_by_key(|problem| problem.line);
        return Parsed { problems, malformed: true, ..Parsed::default() };
    }
    let mut parsed = Parsed::default();
    let mut places = Vec::new();
    collect_table(table.get_ref(), &Place::default(), &mut places);
    for place in &places {
        parsed.lines.entry(place.path()).or_insert_with(|| line_of(place.span.start));
    }
    loop {
        let error = match File::deserialize(toml::Deserializer::from(table.clone())) {
            Ok(file) => {
                parsed.file = file;
                return parsed;
            }
            Err(error) => error,
        };
        let span = error.span();
        let place = span.clone().and_then(|span| smallest_around(&places, &span));
        parsed.problems.push(FileProblem {
            line: span.map(|span| line_of(span.start)),
            key: place.map(Place::path).unwrap_or_default(),
            message: without_value(error.message()),
        });
        // Each round takes a key out, so this ends.
        if !place.is_some_and(|place| remove(table.get_mut(), &place.segments)) {
            return parsed;
        }
        places.clear();
        collect_table(table.get_ref(), &Place::default(), &mut places);
    }
}

/// serde repeats a string of the wrong type, which may be a password or hold one.
fn without_value(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default();
    let message = message.replace("unknown field", "unknown key");
    let message = message.replace("expected u64", "expected a whole number, not negative");
    for kind in ["invalid type: string ", "invalid value: string ", "invalid type: map", "invalid type: sequence"] {
        if let (true, Some((_, expected))) = (message.starts_with(kind), message.rsplit_once(", expected ")) {
            let given = kind.rsplit_once(": ").map_or(kind, |(_, given)| given).trim();
            let given = if given == "map" { "section" } else { given };
            return format!("this is a {given}, and should be {expected}").replace("sequence", "list");
        }
    }
    message
}

#[derive(Clone, Debug, PartialEq)]
enum Segment {
    Key(String),
    Index(usize),
}

/// A key or value of the file, and where it stands.
#[derive(Clone, Debug, Default)]
struct Place {
    segments: Vec<Segment>,
    span: Range<usize>,
}

impl Place {
    fn path(&self) -> String {
        let mut path = String::new();
        for segment in &self.segments {
            match segment {
                Segment::Index(index) => path.push_str(&format!("[{index}]")),
                Segment::Key(key) if path.is_empty() => path.push_str(key),
                Segment::Key(key) => path.push_str(&format!(".{key}")),
            }
        }
        path
    }

    fn below(&self, segment: Segment, span: Range<usize>) -> Place {
        let mut segments = self.segments.clone();
        segments.push(segment);
        Place { segments, span }
    }
}

fn collect_table(table: &DeTable<'_>, parent: &Place, places: &mut Vec<Place>) {
    for (key, value) in table {
        let name = Segment::Key(key.get_ref().to_string());
        places.push(parent.below(name.clone(), key.span()));
        collect_value(value, parent.below(name, value.span()), places);
    }
}

fn collect_value(value: &Spanned<DeValue<'_>>, place: Place, places: &mut Vec<Place>) {
    match value.get_ref() {
        DeValue::Table(table) => collect_table(table, &place, places),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let item_place = place.below(Segment::Index(index), item.span());
                places.push(item_place.clone());
                collect_value(item, item_place, places);
            }
        }
        _ => {}
    }
    places.push(place);
}

fn smallest_around<'a>(places: &'a [Place], span: &Range<usize>) -> Option<&'a Place> {
    let around = places.iter().filter(|place| place.span.start <= span.start && span.end <= place.span.end);
    around.min_by_key(|place| place.span.len())
}

/// Takes a key out. An item of a list is taken out with its list, so that the others keep their numbers.
fn remove(table: &mut DeTable<'_>, segments: &[Segment]) -> bool {
    let Some((Segment::Key(name), rest)) = segments.split_first() else { return false };
    let Some(key) = table.keys().find(|key| key.get_ref().as_ref() == name).cloned() else { return false };
    let removed_below = match rest {
        [] => false,
        [Segment::Index(index), below @ ..] => table.get_mut(&key).is_some_and(|value| match value.get_mut() {
            DeValue::Array(items) => match items.get_mut(*index).map(Spanned::get_mut) {
                Some(DeValue::Table(item)) => remove(item, below),
                _ => false,
            },
            _ => false,
        }),
        [Segment::Key(_), ..] => table.get_mut(&key).is_some_and(|value| match value.get_mut() {
            DeValue::Table(inner) => remove(inner, rest),
            _ => false,
        }),
    };
    removed_below || table.remove(&key).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let problem = |problem: FileProblem| {
            format!("{}: {}: {}", problem.line.unwrap_or_default(), problem.key, problem.message)
        };
        parse(text).problems.into_iter().map(problem).collect()
    }

    #[test]
    fn every_key_that_serde_refuses_is_told_with_its_line() {
        let text = "\
datadir = 'x'
database = 7
[limits]
max_clients = 'many'
merge_max_bytes = -1
max_clints = 3
[[shards]]
name = 'a'
wieght = 2
[[shards]]
name = 'b'
url = ['x']
[[shards]]
weight = true
";
        let problems = problems(text);
        let starts = [
            "1: datadir: unknown key `datadir`",
            "2: database: invalid type: integer `7`",
            "4: limits.max_clients: this is a string, and should be a whole number, not negative",
            "5: limits.merge_max_bytes: invalid value: integer `-1`",
            "6: limits.max_clints: unknown key `max_clints`",
            "9: shards[0].wieght: unknown key `wieght`",
            "12: shards[1].url: this is a list",
            "14: shards[2].weight: invalid type: boolean `true`",
        ];
        for start in starts {
            assert!(problems.iter().any(|problem| problem.starts_with(start)), "{start}\n{problems:#?}");
        }
        assert_eq!(problems.len(), starts.len(), "{problems:#?}");
    }

    #[test]
    fn text_that_is_no_toml_is_told_with_its_lines() {
        let parsed = parse("database = \n[limits\nmax_clients = 3\n");
        assert!(parsed.malformed);
        let lines: Vec<Option<usize>> = parsed.problems.iter().map(|problem| problem.line).collect();
        assert!(lines.contains(&Some(1)) && lines.contains(&Some(2)), "{lines:?}");
    }

    #[test]
    fn a_value_of_the_wrong_type_is_not_repeated() {
        for text in ["shards = 'canary'", "listen = 'canary'", "users = ['canary']", "[limits]\nmax_clients = 'canary'"]
        {
            let problems = problems(text);
            assert!(!problems.is_empty() && !problems.join("\n").contains("canary"), "{problems:?}");
        }
    }

    #[test]
    fn every_key_has_its_line() {
        let lines = parse("a = 1\n[listen]\nhttp = ''\n\n[[shards]]\nname = 'a'\n[[shards]]\nurl = ''\n").lines;
        for (key, line) in [("a", 1), ("listen.http", 3), ("shards[0].name", 6), ("shards[1]", 7), ("shards[1].url", 8)]
        {
            assert_eq!(lines.get(key), Some(&line), "{key} in {lines:?}");
        }
    }
}
