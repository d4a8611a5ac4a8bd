//! Who takes numbers from sequences unseen: functions of the user's, triggers, views, and the tables that name them.
//!
//! What a session's last number is (`lastval()`) has to be told from what its statements did. An INSERT shows which columns it
//! leaves to their sequences; whatever else may take a number is found by the words of the catalog's texts, as
//! [`Hazards`](super::Hazards) are: a word too many makes a number untold, a word too few makes an old one told for new.

use std::collections::{HashMap, HashSet};

use super::hazards::words;

/// Functions that do it themselves, or run a text that can.
const BUILT_IN: &[&str] =
    &["nextval", "setval", "query_to_xml", "query_to_xml_and_xmlschema", "query_to_xmlschema", "cursor_to_xml"];

/// Words with which a text writes rows, which columns may be filled for.
const WRITING: &[&str] = &["insert", "merge", "copy", "default"];

/// What mentions a name in such a way takes numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    /// A statement that writes: the table has a trigger, for one.
    Writing,
    /// Any: a function, or a view that calls one.
    Reading,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Takers {
    names: HashMap<String, How>,
    /// Tables with columns that a sequence fills.
    filled: HashSet<String>,
    /// An operator or a cast takes some, which statements need not name.
    everything: bool,
}

/// A thing that can run what its text names.
struct Thing<'a> {
    name: &'a str,
    words: HashSet<String>,
    how: How,
    takes: bool,
}

impl Takers {
    /// `rows`: as [`Hazards::read`](super::Hazards::read) is given them.
    pub(super) fn read(rows: &[Vec<Option<String>>]) -> Takers {
        let mut takers = Takers::default();
        takers.names.extend(BUILT_IN.iter().map(|name| ((*name).to_owned(), How::Reading)));
        let mut things = Vec::new();
        for row in rows {
            let [kind, name, text, language] = row.as_slice() else { continue };
            let (kind, name) = (kind.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default());
            let (text, language) = (text.as_deref().unwrap_or_default(), language.as_deref().unwrap_or_default());
            let words: HashSet<String> = words(text).collect();
            let thing = |how, takes| Thing { name, words: words.clone(), how, takes };
            match kind {
                "f" => match language.trim_end_matches(" volatile") {
                    "sql" | "plpgsql" => things.push(thing(How::Reading, words.contains("execute"))),
                    "extension" => {}
                    "internal" if text == "aggregate_dummy" => {}
                    _ => things.push(thing(How::Reading, true)),
                },
                "d" if words.contains("nextval") => takers.filled.extend(self::words(name)),
                "r" if text.starts_with("CREATE RULE") => things.push(thing(How::Reading, false)),
                "d" | "r" | "o" => things.push(thing(How::Writing, false)),
                _ => {}
            }
        }
        takers.close(&mut things);
        takers
    }

    /// Whatever names a taker becomes one, until nothing new does.
    fn close(&mut self, things: &mut [Thing<'_>]) {
        loop {
            let mut is_new = false;
            for thing in things.iter_mut() {
                let writes = WRITING.iter().any(|word| thing.words.contains(*word));
                let takes = |word: &String| self.names.contains_key(word) || (writes && self.filled.contains(word));
                thing.takes = thing.takes || thing.words.iter().any(takes);
                if !thing.takes {
                    continue;
                }
                is_new |= thing.name.is_empty() && !std::mem::replace(&mut self.everything, thing.name.is_empty());
                for word in words(thing.name) {
                    let known = self.names.get(&word).copied();
                    if known.is_none_or(|known| known < thing.how) {
                        self.names.insert(word, thing.how);
                        is_new = true;
                    }
                }
            }
            if !is_new {
                return;
            }
        }
    }

    /// Whether a statement may take numbers that it does not show. `text`: without literals. `reads`: it does nothing else.
    pub(super) fn takes(&self, text: &str, reads: bool) -> bool {
        let takes = |word: String| self.names.get(&word).is_some_and(|how| *how == How::Reading || !reads);
        self.everything || words(text).any(takes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_numbers_is_found_by_what_it_names() {
        let rows = [
            ["f", "stamp", "BEGIN NEW.at = now(); RETURN NEW; END", "plpgsql volatile"],
            ["f", "log", "BEGIN INSERT INTO audit (note) VALUES ('x'); RETURN NEW; END", "plpgsql volatile"],
            ["f", "count_audit", "SELECT count(*) FROM audit", "sql"],
            ["f", "ticket", "SELECT nextval('tickets')", "sql volatile"],
            ["f", "other", "", "plpython3u"],
            ["d", "audit", "nextval('audit_id_seq'::regclass)", ""],
            ["d", "orders", "nextval", ""],
            ["d", "coupons", "ticket()", ""],
            ["r", "calm", "stamp", ""],
            ["r", "seats", "log", ""],
            ["r", "events", "seats", ""],
            ["r", "next_ticket", "CREATE RULE \"_RETURN\" AS ON SELECT TO next_ticket DO INSTEAD SELECT ticket()", ""],
            [
                "r",
                "all_orders",
                "CREATE RULE \"_RETURN\" AS ON SELECT TO all_orders DO INSTEAD SELECT * FROM orders",
                "",
            ],
        ];
        let owned = |row: &[&str; 4]| row.iter().map(|value| Some((*value).to_owned())).collect();
        let takers = Takers::read(&rows.iter().map(owned).collect::<Vec<_>>());
        for (text, reads, expected) in [
            ("INSERT INTO orders VALUES ($1)", false, false),
            ("SELECT * FROM orders", true, false),
            ("SELECT * FROM all_orders", true, false),
            ("SELECT * FROM next_ticket", true, true),
            ("INSERT INTO calm VALUES ($1)", false, false),
            ("UPDATE seats SET a = $1", false, true),
            ("SELECT * FROM seats", true, false),
            ("DELETE FROM events", false, true),
            ("INSERT INTO coupons VALUES ($1)", false, true),
            ("SELECT ticket()", true, true),
            ("SELECT other()", true, true),
            ("SELECT count_audit(), lower($1)", true, false),
        ] {
            assert_eq!(takers.takes(text, reads), expected, "{text}");
        }
    }
}
