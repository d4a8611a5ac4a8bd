//! A schema with the numbers and definitions that Postgres would give its parts.
//!
//! Tables have oids of their own. Those of indexes, sequences and constraints come from their names, so that they are the
//! same wherever and whenever they are computed.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64;

use super::expression;
use crate::sql::{Tree, ast, fold};
use crate::topology::{Column, Identity, KV_KEYSPACE, SHARD_NUMBER_MAX, Schema, Table, TableKind, UniqueKey};
use crate::types::PgType;

/// Oids that come from names are from here up, far from those that tables count.
const FIRST_DERIVED: u32 = 1 << 30;

#[derive(Debug)]
pub(super) struct Model<'a> {
    pub(super) schema: &'a Schema,
    pub(super) tables: Vec<&'a Table>,
    pub(super) indexes: Vec<IndexModel<'a>>,
    pub(super) sequences: Vec<SequenceModel<'a>>,
    pub(super) constraints: Vec<ConstraintModel<'a>>,
    pub(super) defaults: Vec<DefaultModel<'a>>,
}

/// A column's default.
#[derive(Debug)]
pub(super) struct DefaultModel<'a> {
    pub(super) oid: u32,
    pub(super) table: &'a Table,
    /// From 0.
    pub(super) column: usize,
    /// Plain and pretty.
    pub(super) text: [String; 2],
}

#[derive(Debug)]
pub(super) struct IndexModel<'a> {
    pub(super) oid: u32,
    pub(super) name: &'a str,
    pub(super) table: &'a Table,
    pub(super) unique: bool,
    pub(super) primary: bool,
    pub(super) keys: Vec<IndexKey>,
    /// The condition of a partial index: plain and pretty.
    pub(super) predicate: Option<[String; 2]>,
}

/// A column of an index, or an expression.
#[derive(Debug)]
pub(super) struct IndexKey {
    /// The index's own column: a table's, or what an expression is called.
    pub(super) name: String,
    /// From 0.
    pub(super) column: Option<usize>,
    /// As Postgres prints it: plain and pretty.
    pub(super) text: [String; 2],
    pub(super) data_type: PgType,
    pub(super) descending: bool,
    pub(super) nulls_first: bool,
}

impl IndexKey {
    /// `pg_index.indoption`.
    pub(super) fn option(&self) -> usize {
        usize::from(self.descending) | (usize::from(self.nulls_first) << 1)
    }
}

#[derive(Debug)]
pub(super) struct SequenceModel<'a> {
    pub(super) oid: u32,
    pub(super) name: String,
    pub(super) table: &'a Table,
    /// From 0.
    pub(super) column: usize,
}

impl SequenceModel<'_> {
    pub(super) fn data_type(&self) -> PgType {
        self.table.columns[self.column].data_type
    }

    /// Ids of a sharded table step over those of the other shards.
    pub(super) fn step(&self) -> i64 {
        match self.table.kind {
            TableKind::Sharded { .. } => i64::from(SHARD_NUMBER_MAX),
            TableKind::Reference => 1,
        }
    }

    /// The largest value that its column can take.
    pub(super) fn maximum(&self) -> i64 {
        match self.data_type() {
            PgType::Int2 => i64::from(i16::MAX),
            PgType::Int4 => i64::from(i32::MAX),
            _ => i64::MAX,
        }
    }
}

#[derive(Debug)]
pub(super) struct ConstraintModel<'a> {
    pub(super) oid: u32,
    pub(super) name: &'a str,
    pub(super) table: &'a Table,
    pub(super) kind: ConstraintKind<'a>,
}

#[derive(Debug)]
pub(super) enum ConstraintKind<'a> {
    Key { key: &'a UniqueKey, primary: bool },
    Check { columns: Vec<usize>, condition: [String; 2] },
    Foreign(&'a crate::topology::ForeignKey),
}

impl<'a> Model<'a> {
    pub(super) fn new(schema: &'a Schema) -> Model<'a> {
        let mut model = Model {
            schema,
            // The HTTP door's own are nobody's to change.
            tables: schema.tables.values().map(AsRef::as_ref).filter(|table| table.keyspace != KV_KEYSPACE).collect(),
            indexes: Vec::new(),
            sequences: Vec::new(),
            constraints: Vec::new(),
            defaults: Vec::new(),
        };
        let mut given = Given(HashSet::new());
        for table in model.tables.clone() {
            model.add_sequences(table, &mut given);
            model.add_defaults(table, &mut given);
            model.add_keys(table, &mut given);
            model.add_indexes(table, &mut given);
            model.add_conditions(table, &mut given);
        }
        model
    }

    fn add_sequences(&mut self, table: &'a Table, given: &mut Given) {
        for (column, _) in table.columns.iter().enumerate().filter(|(_, column)| column.identity.is_some()) {
            let name = sequence_name(table, &table.columns[column]);
            self.sequences.push(SequenceModel { oid: given.relation(&name), name, table, column });
        }
    }

    fn add_defaults(&mut self, table: &'a Table, given: &mut Given) {
        for (number, column) in table.columns.iter().enumerate() {
            let text = match (&column.default, column.identity) {
                (_, Some(Identity::Serial)) => {
                    let text = super::views::next_value(&sequence_name(table, column));
                    [text.clone(), text]
                }
                (Some(default), _) => match crate::sql::parse_expression(default) {
                    Ok(tree) => expression::both(&tree, table, Some(column.data_type)),
                    Err(_) => [default.clone(), default.clone()],
                },
                _ => continue,
            };
            let oid = given.next(&format!("default {} {}", table.name, column.name));
            self.defaults.push(DefaultModel { oid, table, column: number, text });
        }
    }

    fn add_keys(&mut self, table: &'a Table, given: &mut Given) {
        let primary = table.primary_key.iter().map(|key| (key, true));
        for (key, primary) in primary.chain(table.unique_keys.iter().map(|key| (key, false))) {
            let keys = key.columns.iter().map(|column| plain_key(table, *column)).collect();
            let oid = given.relation(&key.name);
            self.indexes.push(IndexModel { oid, name: &key.name, table, unique: true, primary, keys, predicate: None });
            let oid = given.constraint(table, &key.name);
            let kind = ConstraintKind::Key { key, primary };
            self.constraints.push(ConstraintModel { oid, name: &key.name, table, kind });
        }
    }

    fn add_indexes(&mut self, table: &'a Table, given: &mut Given) {
        for index in &table.indexes {
            let Some(definition) = definition(&index.definition) else { continue };
            let mut keys: Vec<IndexKey> = Vec::with_capacity(definition.columns.len());
            for key in &definition.columns {
                let mut key = index_key(table, &key.column);
                let base = key.name.clone();
                let mut number = 0;
                while keys.iter().any(|before| before.name == key.name) {
                    number += 1;
                    key.name = format!("{base}{number}");
                }
                keys.push(key);
            }
            let predicate = definition.predicate.as_ref();
            self.indexes.push(IndexModel {
                oid: given.relation(&index.name),
                name: &index.name,
                table,
                unique: index.unique,
                primary: false,
                keys,
                predicate: predicate.map(|condition| expression::both(condition, table, Some(PgType::Bool))),
            });
        }
    }

    fn add_conditions(&mut self, table: &'a Table, given: &mut Given) {
        for check in &table.checks {
            let Ok(tree) = crate::sql::parse_expression(&check.expression) else { continue };
            let kind = ConstraintKind::Check {
                columns: expression::columns(&tree, table),
                condition: expression::both(&tree, table, Some(PgType::Bool)),
            };
            let oid = given.constraint(table, &check.name);
            self.constraints.push(ConstraintModel { oid, name: &check.name, table, kind });
        }
        for key in &table.foreign_keys {
            let oid = given.constraint(table, &key.name);
            self.constraints.push(ConstraintModel { oid, name: &key.name, table, kind: ConstraintKind::Foreign(key) });
        }
    }

    pub(super) fn index(&self, name: &str) -> Option<&IndexModel<'a>> {
        self.indexes.iter().find(|index| index.name == name)
    }

    /// The index of the key that a foreign key refers to.
    pub(super) fn referenced_index(&self, table: &str, columns: &[usize]) -> Option<&IndexModel<'a>> {
        self.indexes.iter().find(|index| {
            let keys = index.keys.iter().map(|key| key.column);
            index.unique && index.table.name == table && keys.eq(columns.iter().copied().map(Some))
        })
    }

    pub(super) fn sequence_of(&self, table: &Table, column: usize) -> Option<&SequenceModel<'a>> {
        self.sequences.iter().find(|sequence| sequence.table.oid == table.oid && sequence.column == column)
    }
}

/// The oids that were given out.
struct Given(HashSet<u32>);

impl Given {
    fn relation(&mut self, name: &str) -> u32 {
        self.next(name)
    }

    fn constraint(&mut self, table: &Table, name: &str) -> u32 {
        self.next(&format!("constraint {} {name}", table.name))
    }

    fn next(&mut self, what: &str) -> u32 {
        let mut oid = FIRST_DERIVED | (xxh3_64(what.as_bytes()) as u32 & (FIRST_DERIVED - 1));
        while !self.0.insert(oid) {
            oid = FIRST_DERIVED | (oid.wrapping_add(1) & (FIRST_DERIVED - 1));
        }
        oid
    }
}

/// `table_column_seq`, its parts cut as Postgres cuts them.
pub(super) fn sequence_name(table: &Table, column: &Column) -> String {
    const ROOM: usize = 63 - "__seq".len();
    let (mut first, mut second) = (table.name.len(), column.name.len());
    while first + second > ROOM {
        if first > second { first -= 1 } else { second -= 1 }
    }
    let cut = |name: &str, mut end: usize| {
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name[..end].to_owned()
    };
    format!("{}_{}_seq", cut(&table.name, first), cut(&column.name, second))
}

fn definition(text: &str) -> Option<ast::CreateIndex> {
    match crate::sql::parse(text, 0, Vec::new()).ok()?.tree {
        Tree::Sql(statement) => match *statement {
            ast::Statement::CreateIndex(definition) => Some(definition),
            _ => None,
        },
        Tree::Local(_) => None,
    }
}

fn plain_key(table: &Table, column: usize) -> IndexKey {
    let name = expression::quoted(&table.columns[column].name);
    IndexKey {
        name: table.columns[column].name.clone(),
        column: Some(column),
        text: [name.clone(), name],
        data_type: table.columns[column].data_type,
        descending: false,
        nulls_first: false,
    }
}

fn index_key(table: &Table, key: &ast::OrderByExpr) -> IndexKey {
    let column = match &key.expr {
        ast::Expr::Identifier(name) => table.column(&fold(name)).map(|(index, _)| index),
        _ => None,
    };
    let mut known = match column {
        Some(column) => plain_key(table, column),
        None => IndexKey {
            name: expression::column_name(&key.expr),
            column: None,
            text: expression::both(&key.expr, table, None),
            data_type: expression::data_type(&key.expr, table),
            descending: false,
            nulls_first: false,
        },
    };
    known.descending = matches!(key.options.sort, Some(ast::OrderBySort::Desc));
    known.nulls_first = key.options.nulls_first.unwrap_or(known.descending);
    known
}
