//! Changes of the schema that the parser cannot read.
//!
//! Postgres shards get the client's own text, whatever is in it, and their schemas are looked at before it is committed: only
//! what kind of change it is, and of what, has to be known beforehand. So a plain change of the same kind stands in the tree.

use super::cursor::Cursor;
use super::lexer::TokenKind;
use crate::error::Error;

/// The text of a plain statement that changes the same thing; `None` when it is not plain to see what that is.
pub(super) fn stand_in(cursor: &Cursor<'_>) -> Option<String> {
    let mut cursor = cursor.clone();
    let verb = cursor.advance_text().to_ascii_lowercase();
    match verb.as_str() {
        "create" => created(&mut cursor),
        "alter" => altered(&mut cursor),
        "comment" => cursor.eat_word("on").then(|| "COMMENT ON TABLE t IS NULL".to_owned()),
        _ => None,
    }
}

fn created(cursor: &mut Cursor<'_>) -> Option<String> {
    cursor.eat_words(&["or", "replace"]);
    cursor.eat_word("recursive");
    if cursor.eat_word("view") {
        return Some(format!("CREATE VIEW {} AS SELECT 1", name(cursor)?));
    }
    let unique = cursor.eat_word("unique");
    if cursor.eat_word("index") {
        return index(cursor, unique);
    }
    if unique {
        return None;
    }
    let temporary = cursor.eat_word("temporary") || cursor.eat_word("temp");
    let _ = cursor.eat_word("unlogged");
    if cursor.eat_word("table") {
        cursor.eat_words(&["if", "not", "exists"]);
        let name = name(cursor)?;
        // What it is made from has to be read.
        if has_outer_word(cursor, "as") {
            return None;
        }
        return Some(format!("CREATE {}TABLE {name} (a int)", if temporary { "TEMPORARY " } else { "" }));
    }
    if !temporary && cursor.eat_word("domain") {
        return Some(format!("CREATE DOMAIN {} AS int", name(cursor)?));
    }
    None
}

/// With its name, and the columns that it names by themselves: shards have it by this name, and whether a key is among them
/// decides whether it may be unique.
fn index(cursor: &mut Cursor<'_>, unique: bool) -> Option<String> {
    let unique = if unique { "UNIQUE " } else { "" };
    let concurrently = if cursor.eat_word("concurrently") { "CONCURRENTLY " } else { "" };
    let missing = if cursor.eat_words(&["if", "not", "exists"]) { "IF NOT EXISTS " } else { "" };
    let own = match cursor.eat_word("on") {
        true => "",
        false => {
            let own = name(cursor)?;
            cursor.eat_word("on").then_some(own)?
        }
    };
    cursor.eat_word("only");
    let table = name(cursor)?;
    if cursor.eat_word("using") {
        name(cursor)?;
    }
    let columns = indexed_columns(cursor)?;
    let columns = if columns.is_empty() { "NULL".to_owned() } else { columns.join(", ") };
    Some(format!("CREATE {unique}INDEX {concurrently}{missing}{own} ON {table} ({columns})"))
}

/// The names in the list that follows, without those that begin an expression.
fn indexed_columns<'t>(cursor: &mut Cursor<'t>) -> Option<Vec<&'t str>> {
    cursor.eat(TokenKind::LeftParen).then_some(())?;
    let (mut depth, mut begins, mut columns) = (0_usize, true, Vec::new());
    loop {
        let token = cursor.peek()?;
        cursor.advance();
        let is_name = matches!(token.kind, TokenKind::Word | TokenKind::QuotedWord);
        let calls = cursor.peek().is_some_and(|next| next.kind == TokenKind::LeftParen);
        if begins && is_name && !calls {
            columns.push(token.text(cursor.text()));
        }
        begins = depth == 0 && token.kind == TokenKind::Comma;
        match token.kind {
            TokenKind::LeftParen => depth += 1,
            TokenKind::RightParen if depth == 0 => return Some(columns),
            TokenKind::RightParen => depth -= 1,
            _ => {}
        }
    }
}

fn altered(cursor: &mut Cursor<'_>) -> Option<String> {
    let kind = cursor.advance_text().to_ascii_uppercase();
    if !matches!(kind.as_str(), "TABLE" | "INDEX" | "TYPE") {
        return None;
    }
    cursor.eat_words(&["if", "exists"]);
    cursor.eat_word("only");
    let name = name(cursor)?;
    // Another name might be one that makes it a table of another kind.
    Some(format!("ALTER {kind} {name} RENAME TO {}", last_part(name)))
}

/// The table that an ALTER TABLE makes a partition, in its public schema.
pub fn attached_partition(text: &str) -> Option<String> {
    let mut cursor = Cursor::new(text).ok()?;
    cursor.eat_words(&["alter", "table"]).then_some(())?;
    cursor.eat_words(&["if", "exists"]);
    cursor.eat_word("only");
    name(&mut cursor)?;
    cursor.eat_words(&["attach", "partition"]).then_some(())?;
    let first = cursor.name().ok()?;
    match cursor.eat(TokenKind::Dot) {
        true => cursor.name().ok().filter(|_| first == "public"),
        false => Some(first),
    }
}

/// A name without its schema, as it is written.
fn last_part(name: &str) -> &str {
    let mut quoted = false;
    let dot = name.rfind(|character| {
        quoted ^= character == '"';
        character == '.' && !quoted
    });
    dot.map_or(name, |dot| name[dot + 1..].trim_start())
}

/// A name with or without a schema, as it is written.
fn name<'t>(cursor: &mut Cursor<'t>) -> Option<&'t str> {
    let text = cursor.text();
    let first = cursor.peek()?;
    cursor.name().ok()?;
    let mut end = first.end;
    while cursor.eat(TokenKind::Dot) {
        end = cursor.peek()?.end;
        cursor.name().ok()?;
    }
    text.get(first.start as usize..end as usize)
}

/// Valid changes of the schema that have no such text.
pub(super) fn cannot_be_read(cursor: &Cursor<'_>) -> Option<Error> {
    let mut cursor = cursor.clone();
    let verb = cursor.advance_text().to_ascii_uppercase();
    let object = cursor.peek_word()?.to_ascii_uppercase();
    let hint = match (verb.as_str(), object.as_str()) {
        ("ALTER", "DOMAIN") => {
            "Make a new domain, and change the columns to it: ALTER TABLE ... ALTER COLUMN ... TYPE."
        }
        ("CREATE", "MATERIALIZED") => "Query the tables: each shard's copy knows that shard's rows only.",
        ("CREATE", "TABLE") if has_outer_word(&cursor, "as") => "Create the table, and INSERT what the query gives.",
        _ => return None,
    };
    Some(Error::unsupported(format!("this form of {verb} {object}"), hint))
}

/// Whether a word stands in no parentheses behind here.
fn has_outer_word(cursor: &Cursor<'_>, word: &str) -> bool {
    let mut cursor = cursor.clone();
    let mut depth = 0_i32;
    while let Some(token) = cursor.peek() {
        match token.kind {
            TokenKind::LeftParen => depth += 1,
            TokenKind::RightParen => depth -= 1,
            TokenKind::Word if depth == 0 && token.text(cursor.text()).eq_ignore_ascii_case(word) => return true,
            _ => {}
        }
        cursor.advance();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::{Tree, parse};
    use super::attached_partition;

    #[test]
    fn a_table_that_becomes_a_partition_is_found() {
        for (text, expected) in [
            ("ALTER TABLE p ATTACH PARTITION c DEFAULT", Some("c")),
            ("alter table if exists only public.p attach partition Public.\"C d\" for values in (1)", Some("C d")),
            ("ALTER TABLE p ATTACH PARTITION other.c DEFAULT", None),
            ("ALTER TABLE p DETACH PARTITION c", None),
        ] {
            assert_eq!(attached_partition(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_plain_change_of_the_same_thing_stands_in_the_tree() {
        for (text, stands) in [
            ("CREATE UNIQUE INDEX i ON ONLY public.t (a) TABLESPACE x", "CREATE UNIQUE INDEX i ON public.t(a)"),
            ("CREATE INDEX ON t USING btree (\"A\" DESC) TABLESPACE x", "CREATE INDEX ON t(\"A\")"),
            ("CREATE INDEX CONCURRENTLY ON t ((a + 1), f(b, c)) TABLESPACE x", "CREATE INDEX CONCURRENTLY ON t(NULL)"),
            (
                "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS \"I\" ON t (f(b, c), a text_pattern_ops, (d), e) TABLESPACE x",
                "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS \"I\" ON t(a, e)",
            ),
            ("CREATE TABLE IF NOT EXISTS \"T\" (a int) USING heap TABLESPACE x", "CREATE TABLE \"T\" (a INT)"),
            ("CREATE OR REPLACE RECURSIVE VIEW v (n) AS SELECT 1", "CREATE VIEW v AS SELECT 1"),
            ("CREATE DOMAIN d AS int NOT NULL", "CREATE DOMAIN d AS INT"),
            ("ALTER TABLE IF EXISTS ONLY t CLUSTER ON i", "ALTER TABLE t RENAME TO t"),
            ("ALTER TABLE public.u CLUSTER ON i", "ALTER TABLE public.u RENAME TO u"),
            ("ALTER TABLE public . \"u.\"\"v\" CLUSTER ON i", "ALTER TABLE public.\"u.\"\"v\" RENAME TO \"u.\"\"v\""),
            ("ALTER INDEX i SET (fillfactor = 60)", "ALTER INDEX i RENAME TO i"),
            ("ALTER TYPE p ADD ATTRIBUTE c int, DROP ATTRIBUTE b", "ALTER TYPE p RENAME TO p"),
            ("COMMENT ON CONSTRAINT p ON t IS 'x'", "COMMENT ON TABLE t IS NULL"),
        ] {
            let parsed = parse(text, 0, Vec::new()).unwrap();
            let Tree::Sql(tree) = &parsed.tree else { panic!("{text}") };
            assert_eq!(tree.to_string(), stands, "{text}");
            assert_eq!(parsed.hidden.unwrap().refusal.sqlstate().code(), "42601", "{text}");
        }
        for text in ["CREATE VIEW", "DROP TABLE", "SELECT 1 +"] {
            assert!(parse(text, 0, Vec::new()).is_err(), "{text}");
        }
    }
}
