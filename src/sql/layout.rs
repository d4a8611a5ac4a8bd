//! Where the clauses of a query begin in its text.
//!
//! The words that begin clauses are reserved: outside of parentheses they can only be a label behind AS, or a field behind a
//! dot. Those that begin other things, too, are told apart by their neighbours (`IS DISTINCT FROM`, `WITHIN GROUP`,
//! `COLLATION FOR`).
//! <https://www.postgresql.org/docs/15/sql-select.html>

use std::ops::Range;

use super::lexer::TokenKind;
use super::outer::Outer;

/// A part of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clause {
    With,
    /// SELECT and its list.
    Select,
    /// `TABLE name`
    Table,
    /// Several queries with UNION and its like between them, or one that is no SELECT.
    Body,
    From,
    Where,
    Group,
    Having,
    Window,
    Order,
    Limit,
    Offset,
    Fetch,
    /// FOR UPDATE and its kin, all of them.
    Lock,
}

/// The clauses of a query, in the order of its text. Each goes from its first word to the next one.
#[derive(Debug)]
pub(super) struct Layout {
    clauses: Vec<(Clause, Range<usize>)>,
}

impl Layout {
    /// Reads the query that begins at the first of these tokens. It ends with them, or with the parentheses around it.
    pub(super) fn of(outer: &Outer<'_, '_>, within: Range<usize>) -> Layout {
        let mut begins: Vec<(Clause, usize)> = Vec::new();
        if outer.is(within.start, "with") {
            begins.push((Clause::With, within.start));
        } else if !outer.is_one_of(within.start, &["select", "table"]) {
            begins.push((Clause::Body, within.start));
        }
        let (mut depth, mut end) = (0_usize, within.end);
        for at in within.clone() {
            match outer.kind(at) {
                Some(TokenKind::LeftParen | TokenKind::LeftBracket) => depth += 1,
                Some(TokenKind::RightParen | TokenKind::RightBracket) if depth == 0 => {
                    end = at;
                    break;
                }
                Some(TokenKind::RightParen | TokenKind::RightBracket) => depth -= 1,
                Some(TokenKind::Word) if depth == 0 => {
                    if let Some(clause) = begun(outer, at) {
                        note(&mut begins, clause, at);
                    }
                }
                _ => {}
            }
        }
        let ends = begins.iter().skip(1).map(|(_, begin)| *begin).chain([end]);
        let clauses = begins.iter().zip(ends).map(|((clause, begin), end)| (*clause, *begin..end)).collect();
        Layout { clauses }
    }

    pub(super) fn clauses(&self) -> impl Iterator<Item = (Clause, Range<usize>)> + '_ {
        self.clauses.iter().cloned()
    }

    pub(super) fn get(&self, clause: Clause) -> Option<Range<usize>> {
        self.clauses.iter().find(|(other, _)| *other == clause).map(|(_, tokens)| tokens.clone())
    }
}

fn note(begins: &mut Vec<(Clause, usize)>, clause: Clause, at: usize) {
    let has = |wanted: &[Clause]| begins.iter().any(|(clause, _)| wanted.contains(clause));
    match clause {
        Clause::Body => {
            let begin = begins.iter().find(|(clause, _)| *clause != Clause::With).map_or(at, |(_, begin)| *begin);
            begins.retain(|(clause, _)| *clause == Clause::With);
            begins.push((Clause::Body, begin));
        }
        // Of one of the queries.
        Clause::Select | Clause::Table | Clause::From | Clause::Where | Clause::Group if has(&[Clause::Body]) => {}
        Clause::Having | Clause::Window if has(&[Clause::Body]) => {}
        Clause::Select | Clause::Table if has(&[Clause::Select, Clause::Table]) => {}
        clause if has(&[clause]) => {}
        clause => begins.push((clause, at)),
    }
}

/// The clause that begins with the word here.
fn begun(outer: &Outer<'_, '_>, at: usize) -> Option<Clause> {
    if outer.is_before(at, 1, "as") {
        return None;
    }
    // A field behind a dot is no word.
    Some(match outer.word(at)?.to_ascii_lowercase().as_str() {
        "select" => Clause::Select,
        "table" => Clause::Table,
        "union" | "intersect" | "except" => Clause::Body,
        "from" if !outer.compares_distinct(at) => Clause::From,
        "where" => Clause::Where,
        "group" if outer.is(at + 1, "by") => Clause::Group,
        "having" => Clause::Having,
        "window" => Clause::Window,
        "order" if outer.is(at + 1, "by") => Clause::Order,
        "limit" => Clause::Limit,
        "offset" => Clause::Offset,
        "fetch" => Clause::Fetch,
        "for" if outer.is_one_of(at + 1, &["update", "no", "share", "key", "read"]) => Clause::Lock,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::cursor::Cursor;
    use super::*;

    fn parts(text: &str) -> Vec<(Clause, &str)> {
        let cursor = Cursor::new(text).unwrap();
        let outer = Outer { text, tokens: cursor.tokens() };
        Layout::of(&outer, outer.all()).clauses().map(|(clause, tokens)| (clause, outer.slice(tokens))).collect()
    }

    #[test]
    fn each_clause_goes_from_its_word_to_the_next_ones() {
        use Clause::{
            Body, Fetch, From, Group, Having, Limit, Lock, Offset, Order, Select, Table, Where, Window, With,
        };
        for (text, expected) in [
            (
                "WITH x AS (SELECT 1 FROM a WHERE b ORDER BY c) SELECT a FROM t, x WHERE a GROUP BY b HAVING c WINDOW w AS (ORDER BY d) \
                 ORDER BY e LIMIT 1 OFFSET 2 FOR UPDATE OF t FOR SHARE;",
                vec![
                    (With, "WITH x AS (SELECT 1 FROM a WHERE b ORDER BY c)"),
                    (Select, "SELECT a"),
                    (From, "FROM t, x"),
                    (Where, "WHERE a"),
                    (Group, "GROUP BY b"),
                    (Having, "HAVING c"),
                    (Window, "WINDOW w AS (ORDER BY d)"),
                    (Order, "ORDER BY e"),
                    (Limit, "LIMIT 1"),
                    (Offset, "OFFSET 2"),
                    (Lock, "FOR UPDATE OF t FOR SHARE"),
                ],
            ),
            (
                "select a is not distinct from b, percentile_cont(0.5) within group (order by a), collation for (a), x.from, 1 as from, \
                 a[1:(SELECT b FROM c)], 'from' \"from\" from t",
                vec![
                    (
                        Select,
                        "select a is not distinct from b, percentile_cont(0.5) within group (order by a), collation for (a), x.from, 1 as from, \
                         a[1:(SELECT b FROM c)], 'from' \"from\"",
                    ),
                    (From, "from t"),
                ],
            ),
            (
                "SELECT a FROM t UNION ALL SELECT b FROM u WHERE c ORDER BY 1 FETCH FIRST ROW ONLY",
                vec![
                    (Body, "SELECT a FROM t UNION ALL SELECT b FROM u WHERE c"),
                    (Order, "ORDER BY 1"),
                    (Fetch, "FETCH FIRST ROW ONLY"),
                ],
            ),
            ("(SELECT a FROM t LIMIT 1) LIMIT 2", vec![(Body, "(SELECT a FROM t LIMIT 1)"), (Limit, "LIMIT 2")]),
            ("VALUES (1), (2) OFFSET 1", vec![(Body, "VALUES (1), (2)"), (Offset, "OFFSET 1")]),
            ("TABLE t ORDER BY a", vec![(Table, "TABLE t"), (Order, "ORDER BY a")]),
            ("SELECT DISTINCT FROM t", vec![(Select, "SELECT DISTINCT"), (From, "FROM t")]),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    #[test]
    fn a_query_ends_with_the_parentheses_around_it() {
        let text = "SELECT 1 WHERE (SELECT a FROM t WHERE b) > 1 LIMIT 2";
        let cursor = Cursor::new(text).unwrap();
        let outer = Outer { text, tokens: cursor.tokens() };
        let layout = Layout::of(&outer, 4..outer.tokens.len());
        assert_eq!(layout.get(Clause::Where).map(|tokens| outer.slice(tokens)), Some("WHERE b"));
        assert_eq!(layout.get(Clause::Limit), None);
    }
}
