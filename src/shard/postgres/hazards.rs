//! What may change a session behind shardd's back: functions of the user's, and the tables and views that call them.
//!
//! SET and its like are read and tracked. A function can do the same unseen (`set_config` in a trigger, `EXECUTE` of a text
//! that nobody can read), so the catalog is asked for everything that can run one: function bodies, triggers, defaults,
//! policies, rules, views, constraints. Whatever names a hazard is one itself. A statement whose text names none changes
//! nothing that it does not say; after any other, its connection's session is made anew before the next client gets it.

use std::collections::{HashMap, HashSet};

use super::call::Aftermath;
use super::takers::Takers;

/// Built-in functions that change their session, or run a text that can.
const BUILT_IN: &[(&str, Aftermath)] = &[
    ("cursor_to_xml", Aftermath::Close),
    ("pg_advisory_lock", Aftermath::Reset),
    ("pg_advisory_lock_shared", Aftermath::Reset),
    ("pg_try_advisory_lock", Aftermath::Reset),
    ("pg_try_advisory_lock_shared", Aftermath::Reset),
    ("query_to_xml", Aftermath::Close),
    ("query_to_xml_and_xmlschema", Aftermath::Close),
    ("query_to_xmlschema", Aftermath::Close),
    ("set_config", Aftermath::Close),
    // No statement puts the generator back.
    ("setseed", Aftermath::Close),
    ("ts_rewrite", Aftermath::Close),
    ("ts_stat", Aftermath::Close),
];

/// What the grammar has in place of functions, and the catalog does not list.
const OF_THE_GRAMMAR: &[&str] = &[
    "array",
    "coalesce",
    "cube",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "greatest",
    "grouping",
    "least",
    "localtime",
    "localtimestamp",
    "nullif",
    "rollup",
    "rows from",
    "session_user",
    "user",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlforest",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
];

/// Functions of extensions that do.
const OF_EXTENSIONS: &[(&str, Aftermath)] = &[
    ("connectby", Aftermath::Close),
    ("crosstab", Aftermath::Close),
    ("crosstab2", Aftermath::Close),
    ("crosstab3", Aftermath::Close),
    ("crosstab4", Aftermath::Close),
    ("set_limit", Aftermath::Reset),
    ("xpath_table", Aftermath::Close),
];

/// Words of a function's body that do, wherever they stand.
const IN_BODIES: &[(&str, Aftermath)] = &[
    ("deallocate", Aftermath::Reset),
    ("discard", Aftermath::Reset),
    ("execute", Aftermath::Close),
    ("hold", Aftermath::Reset),
    ("listen", Aftermath::Reset),
    ("load", Aftermath::Close),
    ("pg_temp", Aftermath::Reset),
    ("prepare", Aftermath::Reset),
    ("reset", Aftermath::Reset),
    ("temp", Aftermath::Reset),
    ("temporary", Aftermath::Reset),
];

/// The catalog's rows: what it is, its name, its text, and for functions their language. Without the guards of tables, which only
/// look at rows.
pub(super) const CATALOG: &str = "\
SELECT DISTINCT 'b', proname::text, '', '' FROM pg_catalog.pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace \
UNION ALL SELECT 'f', p.proname::text, \
 CASE WHEN p.prosrc = '' AND p.prokind <> 'a' THEN pg_catalog.pg_get_functiondef(p.oid) ELSE p.prosrc END, \
 CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::regclass \
  AND d.objid = p.oid AND d.deptype = 'e') THEN 'extension' ELSE l.lanname::text END || CASE p.provolatile WHEN 'v' THEN ' volatile' ELSE '' END \
 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
 WHERE p.pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) \
 AND NOT (p.proname LIKE 'guard\\_%' AND p.pronamespace IN (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'shardd')) \
UNION ALL SELECT 'a', p.proname::text, '', '' FROM pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc p ON p.oid = a.aggfnoid \
 WHERE a.aggkind <> 'h' \
UNION ALL SELECT 'r', p.proname::text, pg_catalog.concat_ws(' ', a.aggtransfn, a.aggfinalfn, a.aggcombinefn), '' \
 FROM pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc p ON p.oid = a.aggfnoid \
 WHERE p.pronamespace <> 'pg_catalog'::regnamespace \
UNION ALL SELECT 'r', c.relname::text, p.proname::text, '' FROM pg_catalog.pg_trigger t \
 JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid WHERE NOT t.tgisinternal \
 AND NOT (p.proname LIKE 'guard\\_%' AND p.pronamespace IN (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'shardd')) \
UNION ALL SELECT 'd', c.relname::text, pg_catalog.pg_get_expr(d.adbin, d.adrelid), '' FROM pg_catalog.pg_attrdef d \
 JOIN pg_catalog.pg_class c ON c.oid = d.adrelid \
UNION ALL SELECT 'd', c.relname::text, 'nextval', '' FROM pg_catalog.pg_attribute a \
 JOIN pg_catalog.pg_class c ON c.oid = a.attrelid WHERE a.attidentity <> '' \
UNION ALL SELECT 'r', c.relname::text, pg_catalog.concat_ws(' ', pg_catalog.pg_get_expr(p.polqual, p.polrelid), \
 pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)), '' FROM pg_catalog.pg_policy p \
 JOIN pg_catalog.pg_class c ON c.oid = p.polrelid \
UNION ALL SELECT 'r', c.relname::text, pg_catalog.pg_get_ruledef(r.oid), '' FROM pg_catalog.pg_rewrite r \
 JOIN pg_catalog.pg_class c ON c.oid = r.ev_class \
 WHERE c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) \
UNION ALL SELECT 'r', c.relname::text, pg_catalog.pg_get_constraintdef(k.oid), '' FROM pg_catalog.pg_constraint k \
 JOIN pg_catalog.pg_class c ON c.oid = k.conrelid WHERE k.contype = 'c' \
UNION ALL SELECT 'r', p.relname::text, c.relname::text, '' FROM pg_catalog.pg_constraint k \
 JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_class p ON p.oid = k.confrelid \
 WHERE k.contype = 'f' AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd')) \
UNION ALL SELECT 'r', p.relname::text, c.relname::text, '' FROM pg_catalog.pg_inherits i \
 JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid JOIN pg_catalog.pg_class p ON p.oid = i.inhparent \
UNION ALL SELECT 'r', c.relname::text, y.typname::text, '' FROM pg_catalog.pg_attribute a \
 JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_type y ON y.oid = a.atttypid \
 WHERE y.typtype = 'd' AND c.relkind IN ('r', 'p') \
UNION ALL SELECT 'r', y.typname::text, pg_catalog.pg_get_constraintdef(k.oid), '' FROM pg_catalog.pg_constraint k \
 JOIN pg_catalog.pg_type y ON y.oid = k.contypid \
UNION ALL SELECT 'r', y.typname::text, pg_catalog.pg_get_expr(y.typdefaultbin, 0), '' FROM pg_catalog.pg_type y \
 WHERE y.typtype = 'd' AND y.typdefaultbin IS NOT NULL \
UNION ALL SELECT 'o', '', p.proname::text, '' FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode \
 WHERE p.pronamespace <> 'pg_catalog'::regnamespace \
UNION ALL SELECT 'o', '', p.proname::text, '' FROM pg_catalog.pg_cast k JOIN pg_catalog.pg_proc p ON p.oid = k.castfunc \
 WHERE p.pronamespace <> 'pg_catalog'::regnamespace";

/// The hazards of the shards' databases.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hazards {
    names: HashMap<String, Aftermath>,
    /// Functions that are known, so that a new one is told.
    functions: HashSet<String>,
    /// Functions of the user's that may change something.
    volatile: HashSet<String>,
    aggregates: HashSet<String>,
    /// The words of the bodies of the user's functions, by the functions' names.
    bodies: HashMap<String, HashSet<String>>,
    /// Of statements that need name nothing: an operator or a cast is a hazard.
    everything: Aftermath,
    takers: Takers,
}

/// A thing that can run what its text names.
#[derive(Debug)]
struct Thing<'a> {
    name: &'a str,
    words: HashSet<String>,
    aftermath: Aftermath,
}

impl Hazards {
    /// Reads the rows of `CATALOG`, from one shard or one after the other from all.
    pub fn read(rows: &[Vec<Option<String>>]) -> Hazards {
        let mut hazards = Hazards { takers: Takers::read(rows), ..Hazards::default() };
        hazards.functions.extend(OF_THE_GRAMMAR.iter().map(|name| (*name).to_owned()));
        hazards.names.extend(BUILT_IN.iter().map(|(name, aftermath)| ((*name).to_owned(), *aftermath)));
        let mut things = Vec::new();
        for row in rows {
            let [kind, name, text, language] = row.as_slice() else { continue };
            let (kind, name) = (kind.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default());
            let (text, language) = (text.as_deref().unwrap_or_default(), language.as_deref().unwrap_or_default());
            if matches!(kind, "b" | "f") {
                hazards.functions.insert(name.to_lowercase());
            }
            if kind == "a" {
                hazards.aggregates.insert(name.to_lowercase());
                continue;
            }
            let is_volatile = language.ends_with(" volatile");
            let language = language.trim_end_matches(" volatile");
            if is_volatile && language != "extension" {
                hazards.volatile.insert(name.to_lowercase());
            }
            match kind {
                "f" => {
                    if language != "extension" {
                        hazards.bodies.entry(name.to_lowercase()).or_default().extend(words(text));
                    }
                    things.push(function(name, text, language));
                }
                "r" | "d" | "o" => {
                    things.push(Thing { name, words: words(text).collect(), aftermath: Aftermath::Keep });
                }
                _ => {}
            }
        }
        hazards.close(&mut things);
        hazards
    }

    /// Whatever names a hazard becomes one, until nothing new does.
    fn close(&mut self, things: &mut [Thing<'_>]) {
        loop {
            let before = (self.names.values().map(|aftermath| *aftermath as usize + 1).sum::<usize>(), self.everything);
            for thing in things.iter_mut() {
                let named = thing.words.iter().filter_map(|word| self.names.get(word)).max();
                thing.aftermath = thing.aftermath.max(named.copied().unwrap_or_default());
                if thing.aftermath == Aftermath::Keep {
                    continue;
                }
                if thing.name.is_empty() {
                    self.everything = self.everything.max(thing.aftermath);
                }
                for word in words(thing.name) {
                    let known = self.names.entry(word).or_default();
                    *known = (*known).max(thing.aftermath);
                }
            }
            let after = (self.names.values().map(|aftermath| *aftermath as usize + 1).sum::<usize>(), self.everything);
            if before == after {
                return;
            }
        }
    }

    pub(super) fn is_aggregate(&self, function: &str) -> bool {
        self.aggregates.contains(&function.to_lowercase())
    }

    pub(super) fn is_volatile(&self, function: &str) -> bool {
        self.volatile.contains(&function.to_lowercase())
    }

    /// The first of these functions whose body, or that of a function that it names, names something like this, or runs what
    /// nobody can read.
    pub(super) fn naming(&self, functions: &[Box<str>], asked: &dyn Fn(&str) -> bool) -> Option<String> {
        let names = |function: &str| {
            let mut open = vec![function.to_lowercase()];
            let mut seen = HashSet::new();
            while let Some(name) = open.pop() {
                let Some(body) = self.bodies.get(&name).filter(|_| seen.insert(name.clone())) else { continue };
                if body.iter().any(|word| word == "execute" || asked(word)) {
                    return true;
                }
                open.extend(body.iter().filter(|word| self.bodies.contains_key(*word)).cloned());
            }
            false
        };
        functions.iter().find(|function| names(function)).map(|function| function.to_string())
    }

    /// Whether a statement may take numbers from sequences unseen: its text without literals, and whether it only reads.
    pub(super) fn takes_numbers(&self, text: &str, reads: bool) -> bool {
        self.takers.takes(text, reads)
    }

    /// What has to follow a statement: its text without literals, and the functions that it calls.
    pub fn aftermath(&self, text: &str, calls: &[Box<str>]) -> Aftermath {
        let named = words(text).filter_map(|word| self.names.get(&word).copied()).max().unwrap_or_default();
        let unknown = calls.iter().any(|name| !self.functions.contains(&name.to_lowercase()));
        named.max(self.everything).max(if unknown { Aftermath::Close } else { Aftermath::Keep })
    }

    /// What has to follow a text that nobody has read, whose strings may be the body of a DO.
    pub fn aftermath_of_unread(&self, text: &str) -> Aftermath {
        let tokens: Vec<String> = tokens(text).collect();
        let is_call = tokens.first().is_some_and(|word| word == "call");
        let called = tokens.iter().position(|token| token == "(").and_then(|at| tokens.get(at.checked_sub(1)?));
        let unknown = is_call && called.is_none_or(|name| !self.functions.contains(name));
        let least = if unknown { Aftermath::Close } else { Aftermath::Reset };
        least.max(of_body(text)).max(self.aftermath(text, &[]))
    }
}

fn function<'a>(name: &'a str, body: &str, language: &str) -> Thing<'a> {
    let (aftermath, words) = match language {
        "extension" => (of(OF_EXTENSIONS, &name.to_lowercase()), HashSet::new()),
        "sql" | "plpgsql" => (of_body(body), words(body).filter(|word| word != "set_config").collect()),
        // An aggregate does what its parts do.
        "internal" if body == "aggregate_dummy" => (Aftermath::Keep, HashSet::new()),
        // What it keeps in its process nobody can put back.
        _ => (Aftermath::Close, HashSet::new()),
    };
    Thing { name, words, aftermath }
}

fn of(list: &[(&str, Aftermath)], word: &str) -> Aftermath {
    list.iter().find(|(name, _)| *name == word).map(|(_, aftermath)| *aftermath).unwrap_or_default()
}

/// `SET` begins a statement only after one, and `UPDATE ... SET` is none; SET LOCAL and set_config(..., true) end with the
/// transaction.
fn of_body(body: &str) -> Aftermath {
    let tokens: Vec<String> = tokens(body).collect();
    let mut worst = Aftermath::Keep;
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| tokens[at].as_str());
        let begins = matches!(before, None | Some(";" | "begin" | "then" | "else" | "loop" | "$"));
        let after = tokens.get(at + 1).map(String::as_str);
        let found = match token.as_str() {
            "set" if begins && !matches!(after, Some("local" | "transaction" | "constraints")) => {
                of_set(&tokens[at + 1..])
            }
            "set_config" if !is_local(&tokens[at..]) => match tokens.get(at + 2).map(String::as_str) {
                Some("'") => of_set(&tokens[at + 3..]),
                _ => Aftermath::Close,
            },
            word => of(IN_BODIES, word),
        };
        worst = worst.max(found);
    }
    worst
}

/// A name with a dot is one that the server never forgets, and so is one that cannot be read.
fn of_set(name: &[String]) -> Aftermath {
    let name = if name.first().is_some_and(|word| word == "session") { &name[1..] } else { name };
    let is_known = name.first().is_some_and(|word| word.starts_with(is_word_part));
    let has_dot = name.get(1).is_none_or(|token| token == ".");
    if is_known && !has_dot { Aftermath::Reset } else { Aftermath::Close }
}

/// Whether the call that begins here ends in `, true)`.
fn is_local(call: &[String]) -> bool {
    let mut depth = 0;
    for (at, token) in call.iter().enumerate() {
        match token.as_str() {
            "(" => depth += 1,
            ")" if depth == 1 => {
                return at >= 2 && call[at - 1] == "true" && call[at - 2] == ",";
            }
            ")" => depth -= 1,
            _ => {}
        }
    }
    false
}

/// The words of a text, in lower case; those in its strings and comments, too.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> {
    tokens(text).filter(|token| token.starts_with(is_word_part))
}

/// Words, and every other character that is no blank.
fn tokens(text: &str) -> impl Iterator<Item = String> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let first = rest.chars().next()?;
        let end = match is_word_part(first) {
            true => rest.find(|character| !is_word_part(character)).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (token, after) = rest.split_at(end);
        rest = after;
        Some(token.to_lowercase())
    })
}

fn is_word_part(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rows: &[[&str; 4]]) -> Hazards {
        let owned = |row: &[&str; 4]| row.iter().map(|value| Some((*value).to_owned())).collect();
        Hazards::read(&rows.iter().map(owned).collect::<Vec<_>>())
    }

    #[test]
    fn bodies_that_change_the_session_are_told_from_those_that_do_not() {
        for (body, expected) in [
            ("BEGIN UPDATE t SET a = 1; RETURN NEW; END", Aftermath::Keep),
            ("BEGIN PERFORM set_config('a.b', 'c', true); RETURN NEW; END", Aftermath::Keep),
            ("BEGIN SET LOCAL a.b = 1; RETURN NEW; END", Aftermath::Keep),
            ("BEGIN PERFORM set_config('a.b', coalesce(x, 'c'), false); END", Aftermath::Close),
            ("BEGIN PERFORM set_config('a', 'c', l); END", Aftermath::Reset),
            ("BEGIN PERFORM set_config(a, 'c', false); END", Aftermath::Close),
            ("BEGIN SET a.b = 1; END", Aftermath::Close),
            ("BEGIN SET work_mem = 1; END", Aftermath::Reset),
            ("SET ROLE x", Aftermath::Reset),
            ("BEGIN EXECUTE format('x'); END", Aftermath::Close),
            ("BEGIN LOAD 'x'; END", Aftermath::Close),
        ] {
            assert_eq!(of_body(body), expected, "{body}");
        }
    }

    #[test]
    fn what_names_a_hazard_is_one() {
        let hazards = read(&[
            ["b", "lower", "", ""],
            ["f", "Mark", "BEGIN PERFORM set_config('a.b', 'c', false); END", "plpgsql"],
            ["f", "outer_one", "SELECT \"Mark\"()", "sql"],
            ["f", "stamp", "BEGIN NEW.at = now(); RETURN NEW; END", "plpgsql"],
            ["f", "py", "", "plpython3u"],
            ["r", "child", "outer_one", ""],
            ["r", "parent", "child", ""],
            ["r", "calm", "stamp", ""],
        ]);
        for (text, expected) in [
            ("SELECT lower($1)", Aftermath::Keep),
            ("SELECT outer_one()", Aftermath::Close),
            ("DELETE FROM parent", Aftermath::Close),
            ("INSERT INTO calm VALUES ($1)", Aftermath::Keep),
            ("SELECT py()", Aftermath::Close),
            ("SELECT setseed($1)", Aftermath::Close),
        ] {
            assert_eq!(hazards.aftermath(text, &[]), expected, "{text}");
        }
        assert_eq!(hazards.aftermath("SELECT f()", &["f".into()]), Aftermath::Close);
        assert_eq!(hazards.aftermath("SELECT LOWER(a)", &["lower".into()]), Aftermath::Keep);
    }

    #[test]
    fn an_operator_that_is_a_hazard_makes_everything_one() {
        let hazards = read(&[["f", "bad", "DISCARD ALL", "sql"], ["o", "", "bad", ""]]);
        assert_eq!(hazards.aftermath("SELECT 1", &[]), Aftermath::Reset);
    }

    #[test]
    fn what_the_grammar_has_in_place_of_functions_is_known() {
        let hazards = Hazards::read(&[]);
        let calls = |names: &[&str]| -> Vec<Box<str>> { names.iter().map(|name| Box::from(*name)).collect() };
        let text = "INSERT INTO h VALUES ($1, COALESCE($2, 0), CURRENT_TIMESTAMP)";
        assert_eq!(hazards.aftermath(text, &calls(&["coalesce", "current_timestamp"])), Aftermath::Keep);
        assert_eq!(hazards.aftermath(text, &calls(&["coalesce", "nobodys"])), Aftermath::Close);
    }
}
