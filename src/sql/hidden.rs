//! Constructs of Postgres for which the parser has no tree.
//!
//! It is given other tokens in their place, or none, such that the tree still names every table and function that the statement
//! reads, and says of no key what the statement does not say. Other conditions may be there as the parser was given them only. What
//! they mean is lost to it, and the statement says so ([`Parsed::hidden`](super::Parsed::hidden)): Postgres shards get the client's
//! own text, and no condition is printed from the tree.

use std::ops::{ControlFlow, Range};

use sqlparser::ast::{AccessExpr, Expr, SetExpr, Statement};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token as ParserToken;

use super::lexer::TokenKind;
use super::spelling::{Here, Respelled, keyword};
use super::walk::walk_expressions;
use crate::error::{Error, Result, SqlState};

/// How many tokens are looked through for the parenthesis that a word stands in: what is further away is not found, so that a
/// text of many such words takes no more time than others.
const LOOK_BACK: usize = 1_000;

/// How deep parentheses may nest in what is looked through for its end. Each is looked through once for every one around it.
const LOOK_DEPTH: usize = 64;

/// What stands for all fields of a value: `(value).*`.
const ALL_FIELDS: &str = "*";

/// The call that stands for `ROWS FROM`, which no client can write without quotes.
const ROWS_FROM: &str = "rows from";

/// Words behind which a table is named.
const TABLE_FOLLOWS: &[&str] = &["from", "join", "update", "truncate", "table"];

/// Words that may follow a table's name, and are no column's.
const BEHIND_TABLE: &[&str] = &[
    "as",
    "cross",
    "except",
    "fetch",
    "for",
    "full",
    "group",
    "having",
    "inner",
    "intersect",
    "join",
    "left",
    "limit",
    "natural",
    "offset",
    "on",
    "order",
    "returning",
    "right",
    "union",
    "using",
    "where",
    "window",
];

/// What the tree does not show.
pub(super) struct Hidden {
    /// Why the statement is refused where its tree is needed.
    pub(super) refusal: Error,
    /// It returns a number of columns that only the shards know.
    pub(super) is_all_fields: bool,
    /// Where its rows are brought to one place it would mean something else.
    pub(super) on_one_shard: bool,
    /// It is another thing each time it runs.
    pub(super) is_random: bool,
    /// `WHERE CURRENT OF` this cursor.
    pub(super) current_of: Option<String>,
}

impl Hidden {
    pub(super) fn new(refusal: Error) -> Hidden {
        Hidden { refusal, is_all_fields: false, on_one_shard: false, is_random: false, current_of: None }
    }
}

impl Here<'_> {
    /// What is given to the parser for a construct that it does not know, which begins here.
    ///
    /// # Errors
    /// 0A000 for what cannot be hidden from it.
    pub(super) fn hidden(&self) -> Result<Option<Respelled>> {
        let word = self.text_at(0).to_ascii_lowercase();
        Ok(match word.as_str() {
            "all" if self.groups_by() && self.kind(1).is_some_and(|kind| kind != TokenKind::RightParen) => {
                Respelled::dropped(1)
            }
            "as" => return self.named(),
            "asymmetric" if self.is(-1, "between") => Respelled::dropped(1),
            "by" if self.is(-1, "group") && self.groups_by_nothing() => {
                let (open, close) = (ParserToken::LParen, ParserToken::RParen);
                let sets = [keyword(Keyword::BY), keyword(Keyword::GROUPING), keyword(Keyword::SETS)];
                Some(Respelled::new(3, sets.into_iter().chain([open.clone(), open, close.clone(), close]).collect()))
            }
            "collation" if self.is(1, "for") && self.kind(2) == Some(TokenKind::LeftParen) => {
                Some(Respelled::new(2, vec![ParserToken::make_word("pg_collation_for", None)]))
            }
            "conflict" if self.is(-1, "on") => self.conflict_target()?,
            "content" | "document" if self.follows_paren_of(&["xmlserialize"]) => self.xml(1, Vec::new()),
            "current" if self.is(-1, "where") && self.is(1, "of") => self.current_of()?,
            "cycle" if self.follows_query() => self.cycle(),
            "distinct" if self.groups_by() => self.hide("GROUP BY DISTINCT", "Leave DISTINCT out.", 1, Vec::new()),
            "document" if self.is(-1, "is") || (self.is(-1, "not") && self.is(-2, "is")) => {
                self.xml(1, vec![keyword(Keyword::TRUE)])
            }
            "escape" if self.is_in_call(&["substring"]) && self.has_before("similar") => {
                Some(Respelled::new(1, vec![ParserToken::Comma]))
            }
            "fetch" if self.is_one_of(1, &["first", "next"]) && self.kind(2) == Some(TokenKind::LeftParen) => {
                return self.fetch_first();
            }
            "for" if self.is(1, "read") && self.is(2, "only") && self.ends_query(3) => Respelled::dropped(3),
            "name" if self.follows_paren_of(&["xmlelement", "xmlpi"]) => {
                let comma = self.kind(2) == Some(TokenKind::Comma);
                self.xml(2 + usize::from(comma), Vec::new())
            }
            "only" if self.first_is(&["truncate", "alter", "create"]) => None,
            "only"
                if self.is_one_of(-1, TABLE_FOLLOWS)
                    || self.is_one_of(-1, &["into", "using"])
                    || self.kind(-1) == Some(TokenKind::Comma) =>
            {
                Some(self.only()?.ok_or_else(|| self.syntax_error(1))?)
            }
            "row" | "rows" if self.is(1, "only") && self.kind(-1) == Some(TokenKind::RightParen) => {
                Respelled::dropped(2)
            }
            "rows" if self.is(1, "from") && self.kind(2) == Some(TokenKind::LeftParen) => {
                self.hide("ROWS FROM", "Join the functions.", 2, vec![ParserToken::make_word(ROWS_FROM, Some('"'))])
            }
            "search" if self.follows_query() => self.search(),
            "similar" if !self.is(1, "to") && self.is_in_call(&["substring"]) => self.hide(
                "substring(... SIMILAR ... ESCAPE ...)",
                "Use a regular expression: substring(... FROM ...).",
                1,
                vec![ParserToken::Comma],
            ),
            "tablesample" if matches!(self.kind(1), Some(TokenKind::Word | TokenKind::QuotedWord)) => self.sample()?,
            "where" if self.is(-1, "select") => self.hide(
                "SELECT without columns and FROM",
                "Select a constant.",
                1,
                vec![keyword(Keyword::NULL), keyword(Keyword::WHERE)],
            ),
            "variadic" if self.follows_separator() => {
                self.hide("VARIADIC in a call", "Give the arguments one by one.", 1, Vec::new())
            }
            _ => None,
        })
    }

    /// `FETCH FIRST (count) ROWS`: LIMIT, which has no ties.
    fn fetch_first(&self) -> Result<Option<Respelled>> {
        let end = self.end_of(2)?;
        if !(self.is_one_of(end + 1, &["row", "rows"]) && self.is(end + 2, "with")) {
            return Ok(Some(Respelled::new(2, vec![keyword(Keyword::LIMIT)])));
        }
        let count = match self.kind(3) {
            Some(TokenKind::Integer) if end == 4 => ParserToken::Number(self.text_at(3).to_owned(), false),
            Some(TokenKind::Parameter) if end == 4 => ParserToken::Placeholder(self.text_at(3).to_owned()),
            _ => return Err(self.refuse("a computed count before WITH TIES", "Give it as a constant or a parameter.")),
        };
        Ok(Some(Respelled::new(end as usize + 1, vec![keyword(Keyword::FETCH), keyword(Keyword::FIRST), count])))
    }

    /// What a `*` is that is no operator.
    pub(super) fn asterisk(&self) -> Option<Respelled> {
        if self.follows_table_name() { Respelled::dropped(1) } else { self.all_fields() }
    }

    /// `FROM t *`: the old word for a table with its descendants, which it means without.
    fn follows_table_name(&self) -> bool {
        let is_name = |at: isize| matches!(self.kind(at), Some(TokenKind::Word | TokenKind::QuotedWord));
        let before = if self.kind(-2) == Some(TokenKind::Dot) { -4 } else { -2 };
        let ends = match self.kind(1) {
            None | Some(TokenKind::RightParen | TokenKind::Comma) => true,
            _ if self.is(before, "update") => self.is(1, "set"),
            _ if self.first_is(&["truncate"]) => self.is_one_of(1, &["cascade", "continue", "restart", "restrict"]),
            _ => self.is_one_of(1, BEHIND_TABLE) && self.kind(2) != Some(TokenKind::LeftParen),
        };
        let follows = self.is_one_of(before, TABLE_FOLLOWS) && !self.is(before - 1, "distinct");
        self.text_at(0) == "*" && ends && is_name(-1) && follows
    }

    /// `ONLY t` and `ONLY (t)`. Where rows are brought together, a table has no partitions.
    fn only(&self) -> Result<Option<Respelled>> {
        let (taken, tokens) = match self.kind(1) {
            Some(TokenKind::Word | TokenKind::QuotedWord) => (1, Vec::new()),
            Some(TokenKind::LeftParen) => {
                let end = self.end_of(1)?;
                let name = (2..end).map(|at| match self.kind(at) {
                    Some(TokenKind::Dot) => Some(ParserToken::Period),
                    _ => self.name_at(at).ok()?.map(|name| ParserToken::make_word(&name, Some('"'))),
                });
                let Some(name) = name.collect() else { return Ok(None) };
                (end as usize + 1, name)
            }
            _ => return Ok(None),
        };
        Ok(self.hide_on_one_shard("ONLY", "Leave it out: tables have no children here.", taken, tokens))
    }

    fn sample(&self) -> Result<Option<Respelled>> {
        let mut end = self.end_of(2)?;
        self.refuse_calls(3..end, "a call or a subquery in TABLESAMPLE")?;
        if self.is(end + 1, "repeatable") {
            let open = end + 2;
            end = self.end_of(open)?;
            self.refuse_calls(open + 1..end, "a call or a subquery in TABLESAMPLE")?;
        }
        let hint = "Use ORDER BY random() LIMIT n.";
        let mut respelled = self.hide_on_one_shard("TABLESAMPLE", hint, end as usize + 1, Vec::new());
        if let Some(hides) = respelled.as_mut().and_then(|respelled| respelled.hides.as_mut()) {
            hides.is_random = true;
        }
        Ok(respelled)
    }

    /// What is in parentheses may name tables and functions, which the tree has to name.
    fn refuse_calls(&self, mut within: Range<isize>, what: &str) -> Result<()> {
        match within.any(|at| self.kind(at) == Some(TokenKind::LeftParen)) {
            true => Err(self.refuse(what, "Compute it first, and give the value.")),
            false => Ok(()),
        }
    }

    fn hide_on_one_shard(&self, what: &str, hint: &str, taken: usize, tokens: Vec<ParserToken>) -> Option<Respelled> {
        let mut respelled = self.hide(what, hint, taken, tokens)?;
        if let Some(hides) = &mut respelled.hides {
            hides.on_one_shard = true;
        }
        Some(respelled)
    }

    /// `(value).*`, which begins at `*`.
    fn all_fields(&self) -> Option<Respelled> {
        let is_all = self.text_at(0) == ALL_FIELDS
            && self.kind(-1) == Some(TokenKind::Dot)
            && matches!(self.kind(-2), Some(TokenKind::RightParen | TokenKind::RightBracket));
        let hidden = self.hide("(...).*", "Name the fields.", 1, vec![ParserToken::make_word(ALL_FIELDS, Some('"'))]);
        hidden.filter(|_| is_all).map(|hidden| Respelled {
            hides: hidden.hides.map(|hides| Hidden { is_all_fields: true, ..hides }),
            ..hidden
        })
    }

    /// The subscripts of what is assigned to: `SET a[2] = ...`, `INSERT INTO t (a[2])`.
    pub(super) fn subscripts_of_target(&self) -> Result<Option<Respelled>> {
        let follows = self.is(-2, "set") || self.kind(-2) == Some(TokenKind::Comma);
        let begins = follows || self.kind(-2) == Some(TokenKind::LeftParen);
        let is_name = matches!(self.kind(-1), Some(TokenKind::Word | TokenKind::QuotedWord));
        if !self.first_is(&["update", "insert"]) || !begins || !is_name {
            return Ok(None);
        }
        let mut taken = 0;
        while self.kind(taken) == Some(TokenKind::LeftBracket) {
            let Some(end) = self.closed(taken)? else { return Ok(None) };
            taken = end + 1;
        }
        let subscripts = 1..taken;
        let in_columns = || {
            let open = self.opened_around(0)?;
            let before = if self.kind(open - 2) == Some(TokenKind::Dot) { open - 4 } else { open - 2 };
            self.is(before, "into").then_some(())
        };
        let is_target = (follows && self.text_at(taken) == "=") || in_columns().is_some();
        let hint = "Assign the whole column.";
        if !is_target {
            return Ok(None);
        }
        self.refuse_calls(subscripts, "a call or a subquery in the subscript of what is assigned to")?;
        Ok(self.hide("assigning to a part of a column", hint, taken as usize, Vec::new()))
    }

    /// `CURRENT OF name`, which stands for one row, as a condition that all satisfy.
    fn current_of(&self) -> Result<Option<Respelled>> {
        let Some(name) = self.name_at(2)? else { return Ok(None) };
        let hint = "Give the key and the rest of the row's primary key in WHERE.";
        let mut hides = Hidden::new(self.refuse("WHERE CURRENT OF", hint));
        hides.current_of = Some(name);
        Ok(Some(Respelled { taken: 3, tokens: vec![keyword(Keyword::TRUE)], hides: Some(hides) }))
    }

    fn hide(&self, construct: &str, hint: &str, taken: usize, tokens: Vec<ParserToken>) -> Option<Respelled> {
        let hides = Some(Hidden::new(self.refuse(construct, hint)));
        Some(Respelled { taken, tokens, hides })
    }

    fn xml(&self, taken: usize, tokens: Vec<ParserToken>) -> Option<Respelled> {
        self.hide("XML", "Make it in the application.", taken, tokens)
    }

    fn groups_by(&self) -> bool {
        self.is(-1, "by") && self.is(-2, "group")
    }

    /// `GROUP BY ()` and nothing else.
    fn groups_by_nothing(&self) -> bool {
        self.kind(1) == Some(TokenKind::LeftParen)
            && self.kind(2) == Some(TokenKind::RightParen)
            && self.kind(3) != Some(TokenKind::Comma)
    }

    fn follows_separator(&self) -> bool {
        matches!(self.kind(-1), Some(TokenKind::LeftParen | TokenKind::Comma))
    }

    /// A clause behind a query of WITH, or behind another one there.
    fn follows_query(&self) -> bool {
        self.first_is(&["with", "insert"]) && (self.kind(-1) == Some(TokenKind::RightParen) || self.is(-2, "set"))
    }

    /// `SEARCH DEPTH FIRST BY a, b SET c`.
    fn search(&self) -> Option<Respelled> {
        let begins = self.is_one_of(1, &["depth", "breadth"]) && self.is(2, "first") && self.is(3, "by");
        let set = self.names_end(4).filter(|set| begins && self.is(*set, "set"))?;
        self.hide_clause(set + 1)
    }

    /// `CYCLE a, b SET c TO x DEFAULT y USING d`.
    fn cycle(&self) -> Option<Respelled> {
        let set = self.names_end(1).filter(|set| self.is(*set, "set"))?;
        let using = (set + 2..set + 9).find(|at| self.is(*at, "using"))?;
        self.hide_clause(using + 1)
    }

    fn hide_clause(&self, last: isize) -> Option<Respelled> {
        let hint = "Count the depth in a column of its own.";
        self.hide("SEARCH and CYCLE in WITH", hint, last as usize + 1, Vec::new())
    }

    /// Behind a list of names.
    fn names_end(&self, mut at: isize) -> Option<isize> {
        loop {
            matches!(self.kind(at)?, TokenKind::Word | TokenKind::QuotedWord).then_some(())?;
            if self.kind(at + 1) != Some(TokenKind::Comma) {
                return Some(at + 1);
            }
            at += 2;
        }
    }

    fn ends_query(&self, at: isize) -> bool {
        matches!(self.kind(at), None | Some(TokenKind::RightParen))
    }

    /// The target of ON CONFLICT, where it is more than columns.
    fn conflict_target(&self) -> Result<Option<Respelled>> {
        if self.kind(1) != Some(TokenKind::LeftParen) {
            return Ok(None);
        }
        let end = self.end_of(1)?;
        let plain =
            (2..end).all(|at| matches!(self.kind(at), Some(TokenKind::Word | TokenKind::QuotedWord)) == (at % 2 == 0));
        let hint = "Leave the target out (DO NOTHING), or name columns with a whole unique constraint.";
        let keep = vec![keyword(Keyword::CONFLICT)];
        let hidden = || self.hide("expressions in ON CONFLICT's target", hint, end as usize + 1, keep);
        Ok((!plain).then(hidden).flatten())
    }

    /// What AS names, in places where the parser does not expect it.
    fn named(&self) -> Result<Option<Respelled>> {
        if self.is_in_call(&["xmlattributes", "xmlforest", "xmlserialize"]) {
            return Ok(self.xml(self.end_of_argument(), Vec::new()));
        }
        if self.kind(-1) != Some(TokenKind::RightParen) {
            return Ok(None);
        }
        let Some(open) = self.opened(-1) else { return Ok(None) };
        if self.kind(1) == Some(TokenKind::LeftParen) {
            return self.column_definitions(open);
        }
        let is_name =
            |at: isize| matches!(self.kind(at), Some(TokenKind::Word | TokenKind::QuotedWord | TokenKind::Comma));
        if self.is(open - 1, "using") && (open + 1..-1).all(is_name) {
            return Err(self.refuse("a name for the columns of USING", "Name one of the tables."));
        }
        Ok(None)
    }

    /// `f(...) AS (a int, b text)`: the function's name is the table's.
    fn column_definitions(&self, open: isize) -> Result<Option<Respelled>> {
        let is_name = |at: isize| matches!(self.kind(at), Some(TokenKind::Word | TokenKind::QuotedWord));
        let begins_query =
            self.is_one_of(2, &["select", "with", "values", "table", "insert", "update", "delete", "merge"]);
        if begins_query || !is_name(2) || !is_name(3) || !is_name(open - 1) {
            return Ok(None);
        }
        if self.call_around().is_some_and(|at| self.is(at - 1, "rows") && self.is(at, "from")) {
            return Ok(Respelled::dropped(self.end_of(1)? as usize + 1));
        }
        let name = ParserToken::make_word(self.text_at(open - 1).trim_matches('"'), Some('"'));
        Ok(Some(Respelled::new(1, vec![keyword(Keyword::AS), name])))
    }

    /// How many tokens there are to the end of the argument that this one is a part of.
    fn end_of_argument(&self) -> usize {
        let (mut depth, mut at) = (0_usize, 0);
        loop {
            match self.kind(at) {
                None => break,
                Some(TokenKind::LeftParen) => depth += 1,
                Some(TokenKind::RightParen | TokenKind::Comma) if depth == 0 => break,
                Some(TokenKind::RightParen) => depth -= 1,
                Some(_) => {}
            }
            at += 1;
        }
        at as usize
    }

    /// The word before the parenthesis that opens right before this token is one of these.
    fn follows_paren_of(&self, calls: &[&str]) -> bool {
        self.kind(-1) == Some(TokenKind::LeftParen) && self.is_one_of(-2, calls)
    }

    fn is_in_call(&self, calls: &[&str]) -> bool {
        self.call_around().is_some_and(|at| self.is_one_of(at, calls))
    }

    /// Where the word stands that the parentheses around this token belong to.
    fn call_around(&self) -> Option<isize> {
        self.opened_around(0).map(|open| open - 1)
    }

    /// The parenthesis that the one at `close` closes.
    fn opened(&self, close: isize) -> Option<isize> {
        self.opened_around(close)
    }

    /// The parenthesis that is open before the token at `from`.
    fn opened_around(&self, from: isize) -> Option<isize> {
        let mut depth = 0_usize;
        for at in (from - LOOK_BACK as isize..from).rev() {
            match self.kind(at)? {
                TokenKind::RightParen => depth += 1,
                TokenKind::LeftParen if depth == 0 => return Some(at),
                TokenKind::LeftParen => depth -= 1,
                _ => {}
            }
        }
        None
    }

    /// The bracket or parenthesis that closes the one at `open`; `None` when they nest too deeply.
    ///
    /// # Errors
    /// 42601: there is none, or nothing opens there.
    fn closed(&self, open: isize) -> Result<Option<isize>> {
        let (mut depth, mut at) = (0_usize, open);
        loop {
            match self.kind(at) {
                Some(TokenKind::LeftParen | TokenKind::LeftBracket) => depth += 1,
                Some(TokenKind::RightParen | TokenKind::RightBracket) if depth > 0 => depth -= 1,
                Some(_) if depth > 0 => {}
                _ => return Err(self.syntax_error(at)),
            }
            match depth {
                0 => return Ok(Some(at)),
                1..=LOOK_DEPTH => at += 1,
                _ => return Ok(None),
            }
        }
    }

    /// The same, where it must be found.
    ///
    /// # Errors
    /// 42601; 54001 when they nest too deeply.
    fn end_of(&self, open: isize) -> Result<isize> {
        self.closed(open)?.ok_or_else(|| {
            let what = self.text_at(0).to_ascii_uppercase();
            Error::new(
                SqlState::STATEMENT_TOO_COMPLEX,
                format!("parentheses nest deeper than {LOOK_DEPTH} levels behind {what}"),
            )
            .hint("Use fewer parentheses there.")
        })
    }

    /// Whether this word stands before this token in the same parentheses.
    fn has_before(&self, word: &str) -> bool {
        let Some(open) = self.opened_around(0) else { return false };
        (open..0).any(|at| self.is(at, word))
    }
}

/// What stands for several columns may stand only where nobody counts them: in the list of the outermost SELECT.
pub(super) fn all_fields_are_outermost(statement: &Statement) -> bool {
    let mut everywhere = 0_usize;
    let _ = walk_expressions::<()>(statement, |expression| {
        everywhere += usize::from(is_all_fields(expression));
        ControlFlow::Continue(())
    });
    let Statement::Query(query) = statement else { return everywhere == 0 };
    let SetExpr::Select(select) = &*query.body else { return everywhere == 0 };
    let listed = select.projection.iter().filter(|item| match item {
        sqlparser::ast::SelectItem::UnnamedExpr(expression) => is_all_fields(expression),
        _ => false,
    });
    listed.count() == everywhere
}

fn is_all_fields(expression: &Expr) -> bool {
    let Expr::CompoundFieldAccess { access_chain, .. } = expression else { return false };
    matches!(access_chain.last(), Some(AccessExpr::Dot(Expr::Identifier(name))) if name.value == ALL_FIELDS)
}

#[cfg(test)]
mod tests {
    use super::super::{Tree, parse};

    /// What the tree of a text prints, and what it hides.
    fn shown(text: &str) -> (String, Option<String>) {
        let parsed = match parse(text, 0, Vec::new()) {
            Ok(parsed) => parsed,
            Err(error) => return (error.message().to_owned(), None),
        };
        let Tree::Sql(tree) = &parsed.tree else { return (String::new(), None) };
        let hidden = parsed.hidden.map(|hidden| hidden.refusal.message().to_owned());
        (tree.to_string(), hidden.map(|message| message.replace(" is not supported by shardd", "")))
    }

    /// Texts, what is printed of their trees, and what these lack.
    const HIDDEN: &[(&str, &str, &str)] = &[
        ("SELECT collation for (a)", "SELECT pg_collation_for(a)", ""),
        ("SELECT a FROM t GROUP BY ()", "SELECT a FROM t GROUP BY GROUPING SETS (())", ""),
        ("SELECT a FROM t GROUP BY ALL a", "SELECT a FROM t GROUP BY a", ""),
        ("SELECT a FROM t FETCH NEXT (1 + 1) ROWS ONLY", "SELECT a FROM t LIMIT (1 + 1)", ""),
        (
            "SELECT a FROM t ORDER BY a FETCH FIRST (5) ROWS WITH TIES",
            "SELECT a FROM t ORDER BY a FETCH FIRST 5 ROWS WITH TIES",
            "",
        ),
        ("SELECT a FROM t FETCH NEXT ($1) ROW WITH TIES", "SELECT a FROM t FETCH FIRST $1 ROWS WITH TIES", ""),
        (
            "SELECT a FROM t FETCH NEXT (1 + 1) ROWS WITH TIES",
            "a computed count before WITH TIES is not supported by shardd",
            "",
        ),
        ("SELECT a FROM t FOR READ ONLY", "SELECT a FROM t", ""),
        ("SELECT a FROM t * WHERE b", "SELECT a FROM t WHERE b", ""),
        ("SELECT a IS DISTINCT FROM b * set FROM s.t *", "SELECT a IS DISTINCT FROM b * set FROM s.t", ""),
        ("SELECT extract(year FROM b * restrict) FROM t", "SELECT EXTRACT(YEAR FROM b * restrict) FROM t", ""),
        ("UPDATE t * SET a = 1", "UPDATE t SET a = 1", ""),
        ("WITH a AS (SELECT 1) UPDATE s.t * SET a = 1", "WITH a AS (SELECT 1) UPDATE s.t SET a = 1", ""),
        ("TRUNCATE TABLE t * RESTART IDENTITY", "TRUNCATE TABLE t RESTART IDENTITY", ""),
        ("SELECT extract(year FROM b * c) FROM t", "SELECT EXTRACT(YEAR FROM b * c) FROM t", ""),
        ("SELECT * FROM f(1) AS (a int)", "SELECT * FROM f(1) AS \"f\" (a INT)", ""),
        ("SELECT f(a, VARIADIC b)", "SELECT f(a, b)", "VARIADIC in a call"),
        (
            "SELECT substring(a SIMILAR b ESCAPE c)",
            "SELECT substring(a, b, c)",
            "substring(... SIMILAR ... ESCAPE ...)",
        ),
        ("SELECT (e).* FROM t e", "SELECT (e).\"*\" FROM t e", "(...).*"),
        ("SELECT * FROM ROWS FROM (f(1) AS (a int), g(2))", "SELECT * FROM \"rows from\"(f(1), g(2))", "ROWS FROM"),
        ("SELECT * FROM ONLY t, ONLY (s.u)", "SELECT * FROM t, \"s\".\"u\"", "ONLY"),
        (
            "MERGE INTO ONLY t USING ONLY (s.u) ON a = b WHEN MATCHED THEN DELETE",
            "MERGE INTO t USING \"s\".\"u\" ON a = b WHEN MATCHED THEN DELETE",
            "ONLY",
        ),
        ("SELECT * FROM t TABLESAMPLE system (9) REPEATABLE (1) WHERE a", "SELECT * FROM t WHERE a", "TABLESAMPLE"),
        (
            "WITH RECURSIVE t AS (SELECT 1) SEARCH DEPTH FIRST BY a, b SET c CYCLE a SET d TO 'Y' DEFAULT 'N' USING e SELECT c FROM t",
            "WITH RECURSIVE t AS (SELECT 1) SELECT c FROM t",
            "SEARCH and CYCLE in WITH",
        ),
        (
            "INSERT INTO u WITH RECURSIVE t AS (SELECT 1) SEARCH BREADTH FIRST BY a SET b CYCLE a SET d USING e SELECT * FROM t",
            "INSERT INTO u WITH RECURSIVE t AS (SELECT 1) SELECT * FROM t",
            "SEARCH and CYCLE in WITH",
        ),
        (
            "WITH t AS (SELECT 1) SELECT count(*) cycle FROM t JOIN u USING (a)",
            "WITH t AS (SELECT 1) SELECT count(*) AS cycle FROM t JOIN u USING(a)",
            "",
        ),
        ("TRUNCATE a, b", "TRUNCATE a, b", ""),
        ("SELECT xmlparse(CONTENT a)", "SELECT xmlparse(CONTENT a)", ""),
        ("SELECT xmlserialize(DOCUMENT a AS character varying(3))", "SELECT xmlserialize(a)", "XML"),
        (
            "SELECT xmlelement(NAME a, xmlattributes(b AS c, d), 'e')",
            "SELECT xmlelement(xmlattributes(b, d), 'e')",
            "XML",
        ),
        ("SELECT a IS NOT DOCUMENT", "SELECT a IS NOT TRUE", "XML"),
        ("SELECT WHERE false", "SELECT NULL WHERE false", "SELECT without columns and FROM"),
        ("UPDATE t SET a[1] = 2, b[1:2][3] = c[4]", "UPDATE t SET a = 2, b = c[4]", "assigning to a part of a column"),
        (
            "INSERT INTO s.t (a[1], b[2]) VALUES (c[1], 2)",
            "INSERT INTO s.t (a, b) VALUES (c[1], 2)",
            "assigning to a part of a column",
        ),
        (
            "UPDATE t SET a[(SELECT b FROM u)] = 2",
            "a call or a subquery in the subscript of what is assigned to is not supported by shardd",
            "",
        ),
        (
            "SELECT * FROM t TABLESAMPLE system (9) REPEATABLE (f(1))",
            "a call or a subquery in TABLESAMPLE is not supported by shardd",
            "",
        ),
        ("DELETE FROM t WHERE CURRENT OF \"C\"", "DELETE FROM t WHERE true", "WHERE CURRENT OF"),
        (
            "INSERT INTO t VALUES (1) ON CONFLICT (lower(a), b) WHERE c DO NOTHING",
            "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
            "expressions in ON CONFLICT's target",
        ),
        (
            "CREATE TABLE t (LIKE u INCLUDING ALL, b int)",
            "CREATE TABLE t (\"like\" TEXT, b INT)",
            "CREATE TABLE ... (LIKE ...)",
        ),
    ];

    #[test]
    fn what_the_parser_does_not_know_is_hidden_from_it() {
        let mut wrong = Vec::new();
        for &(text, tree, hidden) in HIDDEN {
            let (printed, hides) = shown(text);
            let expected = (tree.to_lowercase(), hidden);
            if (printed.to_lowercase(), hides.as_deref().unwrap_or_default()) != expected {
                wrong.push(format!("{text}: {printed} ({hides:?})"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn no_text_is_looked_through_again_and_again() {
        for (text, code) in [
            ("INSERT INTO t VALUES (1) ON CONFLICT (a", "42601"),
            ("SELECT * FROM t TABLESAMPLE system", "42601"),
            ("SELECT * FROM t TABLESAMPLE system (1", "42601"),
            ("SELECT * FROM ROWS FROM (f(1) AS (a int, b int", "42601"),
            ("UPDATE t SET a[1 = 2", "42601"),
            ("INSERT INTO t OVERRIDING USER VALUE OVERRIDING USER VALUE VALUES (1)", "42601"),
        ] {
            assert_eq!(parse(text, 0, Vec::new()).unwrap_err().sqlstate().code(), code, "{text}");
        }
        let repeated = |begin: &str, part: &str| format!("{begin}{}", part.repeat(40_000));
        let deep = |depth| format!("ON CONFLICT ({}a{}) DO NOTHING", "(".repeat(depth), ")".repeat(depth));
        let merge = |count, other: &str| {
            let when = "WHEN NOT MATCHED THEN INSERT OVERRIDING USER VALUE VALUES (1) ".repeat(count);
            format!("MERGE INTO t USING u ON t.a = u.a {when}{other}")
        };
        let began = std::time::Instant::now();
        for (text, code) in [
            (repeated("INSERT INTO t VALUES (1) ", "ON CONFLICT (a "), "54001"),
            (repeated("SELECT * FROM t ", "TABLESAMPLE s ("), "54001"),
            (repeated("UPDATE t SET a[1] = 2", ", a[1"), "54001"),
            (repeated("INSERT INTO t ", "OVERRIDING USER VALUE "), "42601"),
            (format!("INSERT INTO t VALUES (1) {}", deep(64)), "54001"),
            (merge(9, ""), "54001"),
            (merge(1, "WHEN NOT MATCHED THEN INSERT OVERRIDING SYSTEM VALUE VALUES (1)"), "0A000"),
        ] {
            assert_eq!(parse(&text, 0, Vec::new()).unwrap_err().sqlstate().code(), code, "{}", &text[..60]);
        }
        assert!(began.elapsed().as_secs() < 20);
        for text in [format!("INSERT INTO t VALUES (1) {}", deep(63)), merge(8, "")] {
            assert!(parse(&text, 0, Vec::new()).is_ok(), "{}", &text[..60]);
        }
    }

    #[test]
    fn fields_are_counted_by_nobody_or_refused() {
        for text in [
            "INSERT INTO t SELECT (e).* FROM e",
            "SELECT a FROM (SELECT (e).*, 1 FROM e) x (a, b)",
            "SELECT (e).* FROM e UNION SELECT 1",
            "SELECT a FROM t WHERE b IN (SELECT (e).* FROM e)",
        ] {
            assert_eq!(parse(text, 0, Vec::new()).unwrap_err().sqlstate().code(), "0A000", "{text}");
        }
    }
}
