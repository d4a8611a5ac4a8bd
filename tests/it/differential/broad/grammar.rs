//! Queries: WITH, set operations, ORDER BY, LIMIT and row locks around a SELECT.
//!
//! A query with LIMIT orders by something that leaves one right answer: by what names a row, or by all of its columns where equal ones look the same.

use super::language::LANGUAGE;
use super::select::Core;
use super::sources::Source;
use crate::differential::expressions::{Expressions, Reference};
use crate::differential::random::Random;
use crate::differential::reads;
use crate::differential::values::Type;

pub struct Grammar<'a> {
    pub random: &'a mut Random,
    /// Names of WITH that can be read now, their columns' types, and whether no two of their rows are the same.
    pub tables: Vec<(String, Vec<Type>, bool)>,
    aliases: usize,
}

/// Where a query stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Statement,
    /// In FROM or WITH.
    Derived,
}

pub struct Query {
    pub sql: String,
    pub ordered: bool,
    pub types: Vec<Type>,
    pub distinct_rows: bool,
}

/// How deep queries stand in one another.
const DEPTH: usize = 2;

pub fn query(random: &mut Random) -> reads::Query {
    let mut grammar = Grammar::new(random);
    let query = grammar.query(DEPTH, Kind::Statement);
    reads::Query { sql: query.sql, ordered: query.ordered }
}

impl<'a> Grammar<'a> {
    pub fn new(random: &'a mut Random) -> Grammar<'a> {
        Grammar { random, tables: Vec::new(), aliases: 0 }
    }

    pub fn alias(&mut self, prefix: &str) -> String {
        self.aliases += 1;
        format!("{prefix}{}", self.aliases)
    }

    pub fn expressions<'b>(&'b mut self, columns: &'b [Reference]) -> Expressions<'b> {
        Expressions { random: self.random, columns, language: &LANGUAGE }
    }

    pub fn predicate(&mut self, columns: &[Reference], depth: usize) -> String {
        self.expressions(columns).predicate(depth)
    }

    pub fn query(&mut self, depth: usize, kind: Kind) -> Query {
        let named = self.tables.len();
        let with = if depth > 0 && self.random.chance(if kind == Kind::Statement { 18 } else { 4 }) {
            self.with(depth - 1)
        } else {
            String::new()
        };
        let core = if self.random.chance(12) { self.set_operation(depth) } else { self.select(depth, None) };
        let wanted = if kind == Kind::Statement { 65 } else { 30 };
        let (order, ordered) = if self.random.chance(wanted) { self.order(&core) } else { (String::new(), false) };
        let limit = if ordered { self.limit() } else { String::new() };
        let locks = if kind == Kind::Statement { self.locks(&core, &with) } else { String::new() };
        self.tables.truncate(named);
        Query {
            sql: format!("{with}{}{order}{limit}{locks}", core.text),
            ordered,
            types: core.items.iter().map(|(_, data_type)| *data_type).collect(),
            distinct_rows: core.distinct_rows,
        }
    }

    fn with(&mut self, depth: usize) -> String {
        let mut tables = Vec::new();
        let recursive = self.random.chance(15);
        if recursive {
            tables.push("n0 (c0) AS (SELECT 1 UNION ALL SELECT c0 + 1 FROM n0 WHERE c0 < 5)".to_owned());
            self.tables.push(("n0".to_owned(), vec![Type::Int4], true));
        }
        for _ in 0..1 + self.random.below(2) {
            let name = self.alias("with");
            let query = self.query(depth, Kind::Derived);
            let names: Vec<String> = (0..query.types.len()).map(|position| format!("c{position}")).collect();
            let how = self.random.pick(&["", "", "", "MATERIALIZED ", "NOT MATERIALIZED "]);
            tables.push(format!("{name} ({}) AS {how}({})", names.join(", "), query.sql));
            self.tables.push((name, query.types, query.distinct_rows));
        }
        format!("WITH {}{} ", if recursive { "RECURSIVE " } else { "" }, tables.join(", "))
    }

    fn set_operation(&mut self, depth: usize) -> Core {
        const TYPES: &[Type] =
            &[Type::Int4, Type::Int8, Type::Text, Type::Text, Type::Local, Type::Date, Type::Bool, Type::State];
        let types: Vec<Type> = (0..1 + self.random.below(3)).map(|_| self.random.pick(TYPES)).collect();
        let first = self.select(depth.saturating_sub(1), Some(&types));
        let mut text = first.text;
        let mut distinct_rows = false;
        for _ in 0..self.random.pick(&[1, 1, 1, 2]) {
            let other = self.select(0, Some(&types));
            let operation =
                self.random.pick(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"]);
            distinct_rows = !operation.ends_with(" ALL");
            text = match self.random.below(3) {
                0 => format!("({text}) {operation} ({})", other.text),
                _ if text.contains(" UNION ") || text.contains(" EXCEPT ") => {
                    format!("({text}) {operation} {}", other.text)
                }
                _ => format!("{text} {operation} {}", other.text),
            };
        }
        let items = types.into_iter().map(|data_type| (String::new(), data_type)).collect();
        Core { text, items, stable: true, distinct_rows, source: None, order: None }
    }

    /// ORDER BY, and whether it leaves one order.
    fn order(&mut self, core: &Core) -> (String, bool) {
        if let Some(order) = &core.order {
            return (format!(" ORDER BY {order}"), true);
        }
        if let Some(source) = &core.source
            && let Some(unique) = &source.unique
        {
            let mut keys = Vec::new();
            for _ in 0..self.random.below(3) {
                let key = self.order_key(source, core.items.len());
                keys.push(format!("{key}{}", self.direction()));
            }
            keys.extend(unique.iter().cloned());
            return (format!(" ORDER BY {}", keys.join(", ")), true);
        }
        if !core.stable {
            return (String::new(), false);
        }
        let mut positions: Vec<usize> = (1..=core.items.len()).collect();
        let first = self.random.below(positions.len());
        positions.swap(0, first);
        let keys: Vec<String> =
            positions.into_iter().map(|position| format!("{position}{}", self.direction())).collect();
        (format!(" ORDER BY {}", keys.join(", ")), true)
    }

    fn order_key(&mut self, source: &Source, items: usize) -> String {
        if self.random.chance(20) {
            return (1 + self.random.below(items)).to_string();
        }
        let column = source.columns[self.random.below(source.columns.len())].clone();
        let text = &column.text;
        match column.data_type {
            Type::Text if self.random.chance(30) => format!("{text} COLLATE \"und-x-icu\""),
            Type::Local if self.random.chance(30) => format!("{text} COLLATE \"C\""),
            Type::Text | Type::Local if self.random.chance(20) => format!("lower({text})"),
            Type::Int4 if self.random.chance(30) => format!("{text} % 3"),
            Type::Numeric if self.random.chance(30) => format!("coalesce({text}, 3)"),
            Type::Jsonb if self.random.chance(50) => format!("{text} ->> 'name'"),
            Type::Bool if self.random.chance(30) => format!("CASE WHEN {text} THEN 1 END"),
            _ => text.clone(),
        }
    }

    fn direction(&mut self) -> &'static str {
        self.random.pick(&["", "", "", " DESC", " ASC", " NULLS FIRST", " DESC NULLS LAST", " USING >"])
    }

    fn limit(&mut self) -> String {
        match self.random.below(14) {
            0 => " LIMIT 3".to_owned(),
            1 => format!(" LIMIT {} OFFSET {}", self.random.below(8), self.random.below(5)),
            2 => " OFFSET 2".to_owned(),
            3 => " FETCH FIRST 3 ROWS ONLY".to_owned(),
            4 => " FETCH NEXT 2 ROWS WITH TIES".to_owned(),
            5 => " OFFSET 1 ROWS FETCH FIRST ROW ONLY".to_owned(),
            6 => " LIMIT ALL".to_owned(),
            7 => " LIMIT (SELECT 2 + 2)".to_owned(),
            _ => String::new(),
        }
    }

    fn locks(&mut self, core: &Core, with: &str) -> String {
        let Some(source) = core.source.as_ref().filter(|source| !source.lockable.is_empty()) else {
            return String::new();
        };
        if core.text.contains(" OVER ") || !self.random.chance(10) {
            return String::new();
        }
        let name = &source.lockable[self.random.below(source.lockable.len())];
        let how = self.random.pick(&["UPDATE", "SHARE", "NO KEY UPDATE", "KEY SHARE"]);
        // Rows that are skipped would be missing where a statement only reads them.
        let alone = core.text.matches("SELECT").count() == 1 && !core.text.contains(" JOIN ") && with.is_empty();
        let waits = if alone { [" SKIP LOCKED", ""] } else { [" NOWAIT", ""] };
        format!(" FOR {how} OF {name}{}", self.random.pick(&waits))
    }
}
