//! Where the clauses of a client's own text begin, so that a part of it can be sent without being printed anew.

use std::ops::Range;

use super::cursor::Cursor;
use super::lexer::TokenKind;
use super::outer::Outer;
use crate::error::Result;

/// The parts of an INSERT that follow one another in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InsertClauses<'t> {
    /// WITH and its queries; empty without one.
    pub with: &'t str,
    /// From INSERT to the columns, or OVERRIDING.
    pub target: &'t str,
    /// The query, or VALUES.
    pub source: &'t str,
    /// ON CONFLICT and RETURNING; empty without them.
    pub rest: &'t str,
}

/// What an INSERT does with values that are given for identity columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overriding {
    /// They are taken, also where the column always counts by itself.
    SystemValue,
    /// They are left out.
    UserValue,
}

impl Overriding {
    /// As it is written behind the columns.
    pub fn clause(self) -> &'static str {
        match self {
            Overriding::SystemValue => "OVERRIDING SYSTEM VALUE",
            Overriding::UserValue => "OVERRIDING USER VALUE",
        }
    }
}

/// What an INSERT says of it; `None` when it says nothing, or is none.
///
/// # Errors
/// The text has a token that cannot be read.
pub fn overriding(text: &str) -> Result<Option<Overriding>> {
    // Nearly all texts are done with here.
    if !text.as_bytes().windows(10).any(|window| window.eq_ignore_ascii_case(b"overriding")) {
        return Ok(None);
    }
    let cursor = Cursor::new(text)?;
    let outer = Outer { text, tokens: cursor.tokens() };
    let begin = outer.find(0..outer.tokens.len(), |at| {
        outer.is(at, "overriding")
            && (outer.is(at + 1, "system") || outer.is(at + 1, "user"))
            && outer.is(at + 2, "value")
    });
    Ok(begin.map(|at| if outer.is(at + 1, "system") { Overriding::SystemValue } else { Overriding::UserValue }))
}

/// Takes an INSERT apart; `None` when it has no rows to insert, or cannot be read.
///
/// # Errors
/// The text has a token that cannot be read.
pub fn insert_clauses(text: &str) -> Result<Option<InsertClauses<'_>>> {
    let cursor = Cursor::new(text)?;
    let outer = Outer { text, tokens: cursor.tokens() };
    Ok(outer.insert_clauses())
}

/// The parts of a MERGE that follow one another in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeClauses<'t> {
    /// WITH and its queries; empty without one.
    pub with: &'t str,
    /// From MERGE to the table's alias.
    pub target: &'t str,
    /// What stands behind USING, with its alias.
    pub source: &'t str,
    /// From ON to the end.
    pub rest: &'t str,
}

/// Takes a MERGE apart; `None` when it cannot be read.
///
/// # Errors
/// The text has a token that cannot be read.
pub fn merge_clauses(text: &str) -> Result<Option<MergeClauses<'_>>> {
    let cursor = Cursor::new(text)?;
    let outer = Outer { text, tokens: cursor.tokens() };
    Ok(outer.merge_clauses())
}

/// The parts of an UPDATE or a DELETE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteClauses<'t> {
    /// WITH and its queries; empty without one.
    pub with: &'t str,
    /// The table that is written, with its alias.
    pub target: &'t str,
    /// What is assigned, value by value; none of a DELETE.
    pub values: Vec<&'t str>,
    /// What stands behind FROM or USING; empty without it.
    pub others: &'t str,
    /// What stands behind WHERE; empty without it.
    pub condition: &'t str,
}

impl WriteClauses<'_> {
    /// WHERE and its condition, if there is one, with a blank before.
    pub fn filter(&self) -> String {
        if self.condition.is_empty() { String::new() } else { format!(" WHERE {}", self.condition) }
    }

    /// WITH and its queries, if there are any, with a blank behind.
    pub fn prefix(&self) -> String {
        if self.with.is_empty() { String::new() } else { format!("{} ", self.with) }
    }
}

/// Takes an UPDATE or a DELETE apart; `None` when it cannot be read.
///
/// # Errors
/// The text has a token that cannot be read.
pub fn write_clauses(text: &str) -> Result<Option<WriteClauses<'_>>> {
    let cursor = Cursor::new(text)?;
    let outer = Outer { text, tokens: cursor.tokens() };
    Ok(outer.write_clauses())
}

/// The query that a table or a view is made from; `None` when there is none.
///
/// # Errors
/// The text has a token that cannot be read.
pub fn query_of_definition(text: &str) -> Result<Option<&str>> {
    let cursor = Cursor::new(text)?;
    let outer = Outer { text, tokens: cursor.tokens() };
    Ok(outer.query_of_definition())
}

/// A SELECT behind one write within WITH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenWith<'t> {
    /// The name of what the write returns.
    pub name: &'t str,
    /// The names of its columns, in parentheses; empty where it has its own.
    pub columns: &'t str,
    pub write: &'t str,
    pub rest: &'t str,
}

/// Takes it apart; `None` when WITH has more than one query, or cannot be read.
///
/// # Errors
/// The text has a token that cannot be read.
pub fn written_with(text: &str) -> Result<Option<WrittenWith<'_>>> {
    let cursor = Cursor::new(text)?;
    let outer = Outer { text, tokens: cursor.tokens() };
    Ok(outer.written_with())
}

/// INSERT ... VALUES with only these of its `count` rows, by their places. `None` when it has others than these, or cannot be read.
///
/// # Errors
/// The text has a token that cannot be read.
pub fn insert_of_rows(text: &str, rows: &[usize], count: usize) -> Result<Option<String>> {
    let cursor = Cursor::new(text)?;
    let outer = Outer { text, tokens: cursor.tokens() };
    Ok(outer.insert_of_rows(rows, count))
}

/// RETURNING and what follows it; empty without one.
///
/// # Errors
/// The text has a token that cannot be read.
pub fn returning_clause(text: &str) -> Result<&str> {
    let cursor = Cursor::new(text)?;
    let outer = Outer { text, tokens: cursor.tokens() };
    let all = 0..outer.tokens.len();
    let begin = outer.find(all.clone(), |at| outer.begins(at, "returning"));
    Ok(begin.map_or("", |begin| outer.slice(begin..all.end)))
}

/// The same statement, returning these columns too.
///
/// # Errors
/// The text has a token that cannot be read.
pub fn with_more_returned(text: &str, columns: &str) -> Result<String> {
    let cursor = Cursor::new(text)?;
    let returns = !returning_clause(text)?.is_empty();
    // Behind it there may be a comment.
    let end = cursor.tokens().last().map_or(0, |last| last.end as usize);
    let begin = if returns { ", " } else { " RETURNING " };
    Ok(format!("{}{begin}{columns}", &text[..end]))
}

impl<'t> Outer<'t, '_> {
    fn insert_clauses(&self) -> Option<InsertClauses<'t>> {
        let end = self.tokens.len();
        let insert = self.find(0..end, |at| self.is(at, "insert") && self.is(at + 1, "into"))?;
        let mut at = self.name_end(insert + 2)?;
        if self.is(at, "as") {
            at += 2;
        }
        if self.kind(at) == Some(TokenKind::LeftParen) && !self.begins_query(at + 1) {
            at = self.closed(at)? + 1;
        }
        if self.is(at, "overriding") {
            at += 3;
        }
        let source = at;
        if source >= end || self.is(source, "default") {
            return None;
        }
        let rest = self.find(source..end, |at| self.begins_conflict(at) || self.begins(at, "returning")).unwrap_or(end);
        (rest > source).then(|| InsertClauses {
            with: self.slice(0..insert),
            target: self.slice(insert..source),
            source: self.slice(source..rest),
            rest: self.slice(rest..end),
        })
    }

    fn merge_clauses(&self) -> Option<MergeClauses<'t>> {
        let end = self.tokens.len();
        let merge = self.find(0..end, |at| self.is(at, "merge") && self.is(at + 1, "into"))?;
        let using = self.find(merge..end, |at| self.is(at, "using"))?;
        let on = self.find(using..end, |at| self.is(at, "on"))?;
        Some(MergeClauses {
            with: self.slice(0..merge),
            target: self.slice(merge..using),
            source: self.slice(using + 1..on),
            rest: self.slice(on..end),
        })
    }

    fn query_of_definition(&self) -> Option<&'t str> {
        let begin = self.find(self.all(), |at| self.is(at, "as"))? + 1;
        let mut end = self.tokens.len();
        let ends = |end: usize, words: &[&str]| {
            let begin = end.checked_sub(words.len())?;
            words.iter().enumerate().all(|(place, word)| self.is(begin + place, word)).then_some(begin)
        };
        for words in [["with", "data"].as_slice(), &["with", "no", "data"]] {
            end = ends(end, words).unwrap_or(end);
        }
        if let Some(before) = ends(end, &["check", "option"]) {
            let kind = usize::from(self.is_before(before, 1, "local") || self.is_before(before, 1, "cascaded"));
            end = before.checked_sub(kind + 1)?;
        }
        (begin < end).then(|| self.slice(begin..end))
    }

    fn write_clauses(&self) -> Option<WriteClauses<'t>> {
        let end = self.tokens.len();
        // A query of WITH may be called like it.
        let is_name = |at: usize| self.is(at + 1, "as") || self.kind(at + 1) == Some(TokenKind::LeftParen);
        let verb = self.find(0..end, |at| self.is_one_of(at, &["update", "delete"]) && !is_name(at))?;
        let updates = self.is(verb, "update");
        let mut target = if updates { verb + 1 } else { verb + 2 };
        if self.is(target, "only") {
            target += 1;
        }
        // A name may be any word that is not reserved: SET is none.
        let named = match self.within_parens(target..self.closed(target)? + 1) {
            Some(within) => within.end + 1,
            None => self.name_end(target)?,
        };
        let target = if updates { verb + 1 } else { verb + 2 };
        let returning = self.find(named..end, |at| self.begins(at, "returning")).unwrap_or(end);
        let condition = self.find(named..returning, |at| self.is(at, "where")).unwrap_or(returning);
        let set = match updates {
            true => Some(self.find(named..condition, |at| self.is(at, "set") && !self.is_before(at, 1, "as"))?),
            false => None,
        };
        let is_from = |at: usize| match updates {
            true => self.is(at, "from") && !self.compares_distinct(at),
            false => self.is(at, "using"),
        };
        let others = self.find(set.unwrap_or(named)..condition, is_from).unwrap_or(condition);
        Some(WriteClauses {
            with: self.slice(0..verb),
            target: self.slice(target..set.unwrap_or(others)),
            values: set.map_or(Some(Vec::new()), |set| self.assigned(set + 1..others))?,
            others: self.slice(others + 1..condition),
            condition: self.slice(condition + 1..returning),
        })
    }

    /// The values of `a = 1, (b, c) = (2, 3)`.
    fn assigned(&self, list: Range<usize>) -> Option<Vec<&'t str>> {
        let mut values = Vec::new();
        for item in self.items(list) {
            let equals = self.find(item.clone(), |at| self.is_operator(at, "="))?;
            let value = equals + 1..item.end;
            let several = self.kind(item.start) == Some(TokenKind::LeftParen) && equals > item.start + 3;
            match self.within_parens(value.clone()).filter(|_| several) {
                Some(within) => values.extend(self.items(within).into_iter().map(|value| self.slice(value))),
                None => values.push(self.slice(value)),
            }
        }
        Some(values)
    }

    fn written_with(&self) -> Option<WrittenWith<'t>> {
        if !self.is(0, "with") || self.is(1, "recursive") && !self.is(2, "as") {
            return None;
        }
        let mut at = 2;
        let mut columns = "";
        if self.kind(at) == Some(TokenKind::LeftParen) {
            let close = self.closed(at)?;
            columns = self.slice(at..close + 1);
            at = close + 1;
        }
        if !self.is(at, "as") {
            return None;
        }
        at += 1;
        at += usize::from(self.is(at, "not"));
        at += usize::from(self.is(at, "materialized"));
        let close = self.closed(at).filter(|_| self.kind(at) == Some(TokenKind::LeftParen))?;
        let is_only = matches!(self.kind(close + 1), Some(TokenKind::Word | TokenKind::LeftParen));
        is_only.then(|| WrittenWith {
            name: self.slice(1..2),
            columns,
            write: self.slice(at + 1..close),
            rest: self.slice(close + 1..self.tokens.len()),
        })
    }

    fn insert_of_rows(&self, rows: &[usize], count: usize) -> Option<String> {
        let clauses = self.insert_clauses()?;
        let from = clauses.source.as_ptr() as usize - self.text.as_ptr() as usize;
        let values = self.tokens.iter().position(|token| token.start as usize == from)?;
        if !self.is(values, "values") {
            return None;
        }
        let mut found = Vec::with_capacity(count);
        let mut at = values + 1;
        loop {
            let close = self.closed(at).filter(|_| self.kind(at) == Some(TokenKind::LeftParen))?;
            found.push(self.slice(at..close + 1));
            at = close + 1;
            if self.kind(at) != Some(TokenKind::Comma) {
                break;
            }
            at += 1;
        }
        let end = self.tokens.get(at).map_or(self.text.len(), |token| token.start as usize);
        let wanted: Option<Vec<&str>> = rows.iter().map(|row| found.get(*row).copied()).collect();
        let ends = found.len() == count && end >= from + clauses.source.len();
        let before = self.text.get(..self.tokens[values].end as usize)?;
        ends.then_some(wanted?).map(|rows| format!("{before} {} {}", rows.join(", "), &self.text[end..]))
    }

    fn begins_query(&self, at: usize) -> bool {
        let begins = ["select", "with", "values", "table"].iter().any(|word| self.is(at, word));
        begins && self.kind(at + 1) != Some(TokenKind::Comma) && self.kind(at + 1) != Some(TokenKind::RightParen)
            || self.kind(at) == Some(TokenKind::LeftParen)
    }

    /// ON CONFLICT, and not a join on a column of that name.
    fn begins_conflict(&self, at: usize) -> bool {
        self.is(at, "on")
            && self.is(at + 1, "conflict")
            && (self.kind(at + 2) == Some(TokenKind::LeftParen) || self.is(at + 2, "on") || self.is(at + 2, "do"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> [&str; 4] {
        let InsertClauses { with, target, source, rest } = insert_clauses(text).unwrap().unwrap();
        [with, target, source, rest]
    }

    #[test]
    fn an_insert_is_taken_apart_where_its_clauses_begin() {
        for (text, expected) in [
            ("INSERT INTO t SELECT 1", ["", "INSERT INTO t", "SELECT 1", ""]),
            (
                "insert into public.\"T\" AS x (a, \"b\") values (1, (2)) ;",
                ["", "insert into public.\"T\" AS x (a, \"b\")", "values (1, (2))", ""],
            ),
            ("INSERT INTO t (SELECT a FROM b) RETURNING a", ["", "INSERT INTO t", "(SELECT a FROM b)", "RETURNING a"]),
            ("INSERT INTO t ((SELECT 1) UNION SELECT 2)", ["", "INSERT INTO t", "((SELECT 1) UNION SELECT 2)", ""]),
            ("INSERT INTO t (values) VALUES (1)", ["", "INSERT INTO t (values)", "VALUES (1)", ""]),
            (
                "WITH x AS (INSERT INTO u VALUES (1) RETURNING *) INSERT INTO t TABLE x ON CONFLICT (a) DO NOTHING RETURNING *",
                [
                    "WITH x AS (INSERT INTO u VALUES (1) RETURNING *)",
                    "INSERT INTO t",
                    "TABLE x",
                    "ON CONFLICT (a) DO NOTHING RETURNING *",
                ],
            ),
            (
                "INSERT INTO t SELECT a FROM b JOIN c ON conflict = 1 ON CONFLICT DO NOTHING",
                ["", "INSERT INTO t", "SELECT a FROM b JOIN c ON conflict = 1", "ON CONFLICT DO NOTHING"],
            ),
            (
                "WITH insert AS (SELECT 1) INSERT INTO t SELECT b.returning, 1 AS returning FROM b RETURNING a.returning",
                [
                    "WITH insert AS (SELECT 1)",
                    "INSERT INTO t",
                    "SELECT b.returning, 1 AS returning FROM b",
                    "RETURNING a.returning",
                ],
            ),
            (
                "INSERT INTO t (a) OVERRIDING SYSTEM VALUE SELECT 1",
                ["", "INSERT INTO t (a) OVERRIDING SYSTEM VALUE", "SELECT 1", ""],
            ),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
        assert_eq!(insert_clauses("INSERT INTO t DEFAULT VALUES").unwrap(), None);
        assert_eq!(insert_clauses("SELECT 1").unwrap(), None);
    }

    #[test]
    fn a_merge_is_taken_apart_where_its_clauses_begin() {
        let text = "WITH x AS (SELECT 1 AS a) MERGE INTO t AS y USING (SELECT * FROM u JOIN v ON u.a = v.a) s \
                    ON y.a = s.a WHEN MATCHED THEN DELETE";
        let clauses = merge_clauses(text).unwrap().unwrap();
        assert_eq!(clauses.with, "WITH x AS (SELECT 1 AS a)");
        assert_eq!(clauses.target, "MERGE INTO t AS y");
        assert_eq!(clauses.source, "(SELECT * FROM u JOIN v ON u.a = v.a) s");
        assert_eq!(clauses.rest, "ON y.a = s.a WHEN MATCHED THEN DELETE");
        assert_eq!(merge_clauses("SELECT 1").unwrap(), None);
    }

    #[test]
    fn an_update_or_delete_is_taken_apart_where_its_clauses_begin() {
        let parts = |text| write_clauses(text).unwrap().unwrap();
        for (text, expected) in [
            (
                "WITH update (a) AS (DELETE FROM a WHERE b RETURNING c), w AS (SELECT 1) UPDATE set AS s SET a = 1, b = CASE WHEN x = 2 THEN (3) END, (c, \"d\") = (f(4, 5), [6]), \
                 (e) = (7) FROM w JOIN v ON w.a = v.a WHERE s.a IS DISTINCT FROM w.c RETURNING a AS from, b",
                (
                    "WITH update (a) AS (DELETE FROM a WHERE b RETURNING c), w AS (SELECT 1)",
                    "set AS s",
                    vec!["1", "CASE WHEN x = 2 THEN (3) END", "f(4, 5)", "[6]", "(7)"],
                    "w JOIN v ON w.a = v.a",
                    "s.a IS DISTINCT FROM w.c",
                ),
            ),
            ("UPDATE t SET a = b IS NOT DISTINCT FROM c;", ("", "t", vec!["b IS NOT DISTINCT FROM c"], "", "")),
            (
                "update only (public.t) * x set a.b[1] = (SELECT 1 FROM u WHERE v) where c",
                ("", "only (public.t) * x", vec!["(SELECT 1 FROM u WHERE v)"], "", "c"),
            ),
            (
                "DELETE FROM ONLY t AS x USING u, v JOIN w USING (a) WHERE 'RETURNING' = b -- all\n",
                ("", "ONLY t AS x", vec![], "u, v JOIN w USING (a)", "'RETURNING' = b"),
            ),
            ("DELETE FROM t RETURNING *", ("", "t", vec![], "", "")),
            (
                "UPDATE t SET a = t.where, b = t . from FROM u WHERE t.returning = u.set AND t.as = 1 RETURNING t.where",
                ("", "t", vec!["t.where", "t . from"], "u", "t.returning = u.set AND t.as = 1"),
            ),
            (
                "DELETE FROM t USING u WHERE t.using = u.where AND u.returning IN (SELECT 1)",
                ("", "t", vec![], "u", "t.using = u.where AND u.returning IN (SELECT 1)"),
            ),
        ] {
            let WriteClauses { with, target, values, others, condition } = parts(text);
            assert_eq!((with, target, values, others, condition), expected, "{text}");
        }
        assert_eq!(write_clauses("SELECT 1").unwrap(), None);
    }

    #[test]
    fn a_definitions_query_is_what_stands_behind_as() {
        for (text, expected) in [
            (
                "CREATE TEMP TABLE t (a, b) WITH (fillfactor = 70) ON COMMIT DROP AS SELECT @ -5 AS a;",
                Some("SELECT @ -5 AS a"),
            ),
            ("CREATE TEMP TABLE t AS TABLE u WITH NO DATA", Some("TABLE u")),
            ("CREATE TEMP TABLE t AS (VALUES (1)) with data", Some("(VALUES (1))")),
            ("CREATE TEMP VIEW v AS SELECT a FROM data WITH LOCAL CHECK OPTION", Some("SELECT a FROM data")),
            ("CREATE TEMP VIEW v AS SELECT a FROM t WITH CHECK OPTION", Some("SELECT a FROM t")),
            ("CREATE TEMP TABLE t (a int)", None),
        ] {
            assert_eq!(query_of_definition(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_write_within_with_is_taken_out_of_its_statement() {
        let read = |text: &'static str| {
            written_with(text).unwrap().map(|parts| (parts.name, parts.columns, parts.write, parts.rest))
        };
        assert_eq!(
            read("WITH w AS (DELETE FROM t WHERE (a) = 1 RETURNING *) SELECT count(*) FROM w;"),
            Some(("w", "", "DELETE FROM t WHERE (a) = 1 RETURNING *", "SELECT count(*) FROM w"))
        );
        assert_eq!(
            read("with \"W\" (a, b) as not materialized (UPDATE t SET a = 1 RETURNING a, b) (TABLE \"W\")"),
            Some(("\"W\"", "(a, b)", "UPDATE t SET a = 1 RETURNING a, b", "(TABLE \"W\")"))
        );
        for other in [
            "WITH w AS (DELETE FROM t RETURNING *), v AS (SELECT 1) SELECT count(*) FROM w",
            "WITH RECURSIVE w AS (SELECT 1) SELECT 2",
            "SELECT 1",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_overridden_is_said_in_no_parentheses() {
        for (text, expected) in [
            ("INSERT INTO t (a) overriding User value VALUES (1)", Some(Overriding::UserValue)),
            ("INSERT INTO t OVERRIDING SYSTEM VALUE TABLE u", Some(Overriding::SystemValue)),
            ("INSERT INTO t VALUES ('OVERRIDING SYSTEM VALUE')", None),
            ("WITH x AS (INSERT INTO t (a) OVERRIDING SYSTEM VALUE VALUES (1)) SELECT 1", None),
        ] {
            assert_eq!(overriding(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn some_rows_of_an_insert_are_cut_out_of_its_text() {
        let text = "INSERT INTO t (a[1], b) OVERRIDING SYSTEM VALUE VALUES (1, (2)), (f(3, 4), 5) , ($1,DEFAULT) ON CONFLICT (a) WHERE x DO NOTHING RETURNING a;";
        assert_eq!(
            insert_of_rows(text, &[2, 0], 3).unwrap().unwrap(),
            "INSERT INTO t (a[1], b) OVERRIDING SYSTEM VALUE VALUES ($1,DEFAULT), (1, (2)) ON CONFLICT (a) WHERE x DO NOTHING RETURNING a;"
        );
        assert_eq!(
            insert_of_rows("INSERT INTO t VALUES (1), (2)", &[1], 2).unwrap().unwrap(),
            "INSERT INTO t VALUES (2) "
        );
        // Others than these.
        assert_eq!(insert_of_rows(text, &[0], 2).unwrap(), None);
        assert_eq!(insert_of_rows("INSERT INTO t VALUES (1), (2) ORDER BY 1", &[1], 2).unwrap(), None);
        assert_eq!(insert_of_rows("INSERT INTO t SELECT 1", &[0], 1).unwrap(), None);
    }

    #[test]
    fn returning_begins_in_no_parentheses() {
        assert_eq!(returning_clause("UPDATE t SET a = 1 RETURNING a, b;").unwrap(), "RETURNING a, b");
        assert_eq!(returning_clause("UPDATE t SET a = 'x RETURNING y'").unwrap(), "");
        assert_eq!(
            returning_clause("DELETE FROM t WHERE t.returning = 1 RETURNING t.returning").unwrap(),
            "RETURNING t.returning"
        );
        let more = |text| with_more_returned(text, "b").unwrap();
        assert_eq!(more("INSERT INTO t VALUES (1); -- all"), "INSERT INTO t VALUES (1) RETURNING b");
        assert_eq!(more("INSERT INTO t VALUES (1) RETURNING a -- all"), "INSERT INTO t VALUES (1) RETURNING a, b");
    }
}
