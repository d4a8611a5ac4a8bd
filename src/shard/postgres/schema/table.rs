//! From the catalog's rows to the tables that statements are planned by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::catalog::{self, Document, Relation};
use super::fact::{self, Facts, Fingerprint};
use super::{Function, Guard, Sequence, Server, ShardSchema, UserType, column_type, refusal};
use crate::topology::{
    self, Check, Column, ForeignKey, ForeignKeyAction, Identity, Index, Keyspace, Misplaced, Placement, Placements,
    Table, UniqueKey,
};
use crate::types::ShardId;

/// A table that is served, and what its shard says of it besides.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardTable {
    pub table: Arc<Table>,
    pub unlogged: bool,
    /// Which rows a role sees is decided by policies.
    pub row_security: bool,
    /// `RANGE (day)`
    pub partition_key: Option<String>,
    /// Its partitions, as `schema.name`.
    pub partitions: Vec<String>,
    /// Triggers of the users' own, by name.
    pub triggers: Vec<String>,
    /// Whether one of them tells apart statements that write the same rows.
    pub fired_by_statement: bool,
    pub unique: Vec<UniqueIndex>,
    /// By column number (from 0): the sequence that fills it.
    pub sequences: BTreeMap<usize, String>,
    /// What refuses rows of slots that the shard does not own. Not among the facts: each shard has its own slots.
    pub guard: Option<Guard>,
    /// shardd's role may alter it.
    pub ours: bool,
    pub(super) facts: Facts,
}

/// Whatever keeps two rows from having the same values: a key, a unique index or an exclusion constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueIndex {
    pub name: String,
    /// Numbers from 0; none for an expression.
    pub columns: Vec<Option<usize>>,
}

impl ShardTable {
    /// Equal on two shards where reads are answered, and writes accepted and filled in, alike.
    pub fn fingerprint(&self) -> Fingerprint {
        fact::fingerprint(&self.facts)
    }
}

/// What the rows of one relation refer to in others.
struct Catalog<'d> {
    types: BTreeMap<u32, &'d catalog::Type>,
    sequences: BTreeMap<u32, &'d catalog::Sequence>,
    relations: BTreeMap<u32, &'d Relation>,
}

pub(super) fn assemble(
    (shard, shard_name): (ShardId, &str),
    document: Document,
    keyspaces: &[Arc<Keyspace>],
    placements: Placements,
) -> ShardSchema {
    let held = keyspaces.iter().filter(|keyspace| keyspace.shards.contains(&shard));
    let catalog = Catalog {
        types: document.types.iter().map(|known| (known.oid, known)).collect(),
        sequences: document.sequences.iter().map(|known| (known.oid, known)).collect(),
        relations: document.relations.iter().map(|known| (known.oid, known)).collect(),
    };
    let (mut tables, mut refused, mut misplaced) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    for relation in &document.relations {
        let name = refusal::known_name(relation);
        let placed = match refusal::of_relation(relation) {
            Some(reason) => Err(reason),
            None => {
                let columns = catalog.columns(relation);
                // There always is one: the HTTP door's.
                let placed = placements.get(&relation.name);
                match topology::place_as(&relation.name, &columns, keyspaces, placed) {
                    Ok(None) => continue,
                    // Another keyspace's, which nobody asks this shard for.
                    Ok(Some(Placement { keyspace, .. })) | Err(Misplaced::NoKeyColumn(keyspace, _))
                        if !keyspace.shards.contains(&shard) =>
                    {
                        continue;
                    }
                    Err(lost) => {
                        misplaced.insert(name.clone());
                        Err(refusal::of_misplaced(&relation.name, &lost))
                    }
                    Ok(Some(placement)) => match refusal::of_placement(&relation.name, &relation.columns, &placement) {
                        Some(reason) => Err(reason),
                        None => Ok(catalog.table(relation, columns, &placement)),
                    },
                }
            }
        };
        match placed {
            Ok(table) => drop(tables.insert(name, table)),
            Err(reason) => drop(refused.insert(name, reason)),
        }
    }
    catalog.add_references(&mut tables);
    ShardSchema {
        shard: shard_name.to_owned(),
        keyspaces: held.map(|keyspace| keyspace.name.clone()).collect(),
        server: server(document.server),
        schemas: document.schemas,
        extensions: document.extensions.into_iter().map(|known| (known.name, known.version)).collect(),
        sequences: document.sequences.iter().map(|known| (known.name.clone(), Sequence::read(known))).collect(),
        types: document.types.into_iter().map(user_type).collect(),
        functions: document.functions.into_iter().map(function).collect(),
        tables,
        refused,
        misplaced,
        unused_guards: document.unused_guards,
        relations: document.relations.iter().map(refusal::known_name).collect(),
        placements,
    }
}

impl Catalog<'_> {
    fn columns(&self, relation: &Relation) -> Vec<Column> {
        let column = |raw: &catalog::Column| {
            let column_type = column_type::of(raw, &self.types);
            let generated = !raw.generated.is_empty();
            let identity = self.identity(relation, raw);
            let plain_default = raw.default.clone().filter(|_| !generated && identity.is_none());
            Column {
                name: raw.name.clone(),
                data_type: column_type.data_type,
                named_type: column_type.named_type,
                modifier: column_type.modifier,
                not_null: raw.not_null,
                default: plain_default,
                identity,
                generated: raw.default.clone().filter(|_| generated),
                collation: raw.collation.clone(),
            }
        };
        relation.columns.iter().map(column).collect()
    }

    fn identity(&self, relation: &Relation, column: &catalog::Column) -> Option<Identity> {
        match column.identity.as_str() {
            "a" => return Some(Identity::Always),
            "d" => return Some(Identity::ByDefault),
            _ => {}
        }
        let sequence = self.sequences.get(&column.sequence?)?;
        let owned = sequence.owner == Some(relation.oid) && sequence.owner_column == Some(column.number);
        let next = format!("nextval('{}'::regclass)", sequence.name.replace('\'', "''"));
        (owned && column.default.as_ref() == Some(&next)).then_some(Identity::Serial)
    }

    /// By column number, the sequence that fills it: as its identity, or in its default.
    fn sequences_of(&self, relation: &Relation) -> BTreeMap<usize, String> {
        let of = |column: &catalog::Column| {
            let owned = || {
                self.sequences.values().find(|sequence| {
                    sequence.owner == Some(relation.oid) && sequence.owner_column == Some(column.number)
                })
            };
            match column.sequence {
                Some(oid) => self.sequences.get(&oid),
                None if !column.identity.is_empty() => owned(),
                None => None,
            }
        };
        let columns = relation.columns.iter().enumerate();
        columns.filter_map(|(number, column)| Some((number, of(column)?.name.clone()))).collect()
    }

    fn table(&self, relation: &Relation, columns: Vec<Column>, placement: &Placement<'_>) -> ShardTable {
        let of_kind = |kind: char| relation.constraints.iter().filter(move |constraint| constraint.kind == kind);
        let key = |constraint: &catalog::Constraint| UniqueKey {
            name: constraint.name.clone(),
            columns: constraint.columns.iter().filter_map(|number| position(relation, *number)).collect(),
        };
        let check = |constraint: &catalog::Constraint| Check {
            name: constraint.name.clone(),
            expression: constraint.expression.clone().unwrap_or_default(),
        };
        let index = |index: &catalog::Index| Index {
            name: index.name.clone(),
            definition: index.definition.clone(),
            unique: index.unique,
        };
        let table = Table {
            oid: relation.oid,
            name: relation.name.clone(),
            keyspace: placement.keyspace.name.clone(),
            kind: placement.kind,
            columns,
            primary_key: of_kind('p').next().map(key),
            unique_keys: of_kind('u').map(key).collect(),
            checks: of_kind('c').map(check).collect(),
            foreign_keys: of_kind('f').filter_map(|constraint| self.foreign_key(relation, constraint)).collect(),
            indexes: plain_indexes(relation).map(index).collect(),
        };
        ShardTable {
            facts: fact::of_table(relation, &table, &self.types),
            table: Arc::new(table),
            unlogged: relation.unlogged,
            row_security: relation.row_security,
            partition_key: relation.partition_key.clone(),
            partitions: relation.partitions.iter().map(|partition| partition.name.clone()).collect(),
            triggers: relation.triggers.iter().map(|trigger| trigger.name.clone()).collect(),
            fired_by_statement: relation.triggers.iter().any(is_fired_by_statement),
            unique: unique_indexes(relation),
            sequences: self.sequences_of(relation),
            guard: relation.guard.as_ref().map(Guard::read),
            ours: relation.ours,
        }
    }

    /// `None` when the referenced table is not among those that are read.
    fn foreign_key(&self, relation: &Relation, constraint: &catalog::Constraint) -> Option<ForeignKey> {
        let target = self.relations.get(&constraint.references?)?;
        let positions = |of: &Relation, numbers: &[i32]| -> Option<Vec<usize>> {
            numbers.iter().map(|number| position(of, *number)).collect()
        };
        Some(ForeignKey {
            name: constraint.name.clone(),
            columns: positions(relation, &constraint.columns)?,
            references: refusal::known_name(target),
            referenced_columns: positions(target, &constraint.referenced_columns)?,
            on_delete: action(constraint.on_delete),
            on_update: action(constraint.on_update),
        })
    }

    /// Tells every referenced table who refers to it: its deletes depend on that.
    fn add_references(&self, tables: &mut BTreeMap<String, ShardTable>) {
        for relation in self.relations.values() {
            for constraint in relation.constraints.iter().filter(|constraint| constraint.kind == 'f') {
                let target = constraint.references.and_then(|oid| self.relations.get(&oid));
                // A partition's own are its table's.
                let Some(target) = target.filter(|_| !relation.partition) else { continue };
                if let Some(table) = tables.get_mut(&refusal::known_name(target)) {
                    fact::add_reference(&mut table.facts, &refusal::known_name(relation), constraint);
                }
            }
        }
    }
}

/// The place of a column among those that were not dropped.
fn position(relation: &Relation, number: i32) -> Option<usize> {
    relation.columns.iter().position(|column| column.number == number)
}

/// The indexes that no constraint made.
pub(super) fn plain_indexes(relation: &Relation) -> impl Iterator<Item = &catalog::Index> {
    relation.indexes.iter().filter(|index| {
        let made = |constraint: &catalog::Constraint| {
            matches!(constraint.kind, 'p' | 'u' | 'x') && constraint.index == Some(index.oid)
        };
        !relation.constraints.iter().any(made)
    })
}

fn unique_indexes(relation: &Relation) -> Vec<UniqueIndex> {
    let excludes = |index: &catalog::Index| {
        relation.constraints.iter().any(|constraint| constraint.kind == 'x' && constraint.index == Some(index.oid))
    };
    let unique = relation.indexes.iter().filter(|index| index.unique || excludes(index));
    let columns = |index: &catalog::Index| index.columns.iter().map(|number| position(relation, *number)).collect();
    unique.map(|index| UniqueIndex { name: index.name.clone(), columns: columns(index) }).collect()
}

fn action(letter: char) -> ForeignKeyAction {
    match letter {
        'r' => ForeignKeyAction::Restrict,
        'c' => ForeignKeyAction::Cascade,
        'n' => ForeignKeyAction::SetNull,
        'd' => ForeignKeyAction::SetDefault,
        _ => ForeignKeyAction::NoAction,
    }
}

fn server(raw: catalog::Server) -> Server {
    let collate = raw.collate.unwrap_or_default();
    let locale = raw.locale.unwrap_or_default();
    let (name, text_order_is_c) = match raw.locale_provider {
        // Every locale that is built in orders by code points, which is the order of UTF-8's bytes.
        'b' => (format!("the built-in {locale}"), true),
        'i' => (format!("ICU's {locale}"), false),
        _ => (format!("the C library's {collate}"), matches!(collate.as_str(), "C" | "POSIX")),
    };
    let version = raw.collation_version.map_or_else(String::new, |version| format!(" in version {version}"));
    Server {
        version: raw.version,
        encoding: raw.encoding,
        max_prepared_transactions: raw.max_prepared_transactions,
        wal_level: raw.wal_level,
        integer_datetimes: raw.integer_datetimes,
        in_recovery: raw.in_recovery,
        collation: if text_order_is_c { "by bytes".to_owned() } else { format!("{name}{version}") },
        text_order_is_c,
        character_type: raw.character_type.unwrap_or_default(),
        settings: raw.settings,
    }
}

fn user_type(raw: catalog::Type) -> (String, UserType) {
    let kind = match raw.kind {
        'c' => "a composite",
        'd' => "a domain",
        'e' => "an enum",
        'm' => "a multirange",
        'r' => "a range",
        _ => "a base type",
    };
    let definition = raw.definition.unwrap_or_default();
    let known = UserType { oid: raw.oid, array_oid: raw.array, kind, definition, extension: raw.extension };
    (raw.name, known)
}

fn function(raw: catalog::Function) -> (String, Function) {
    let known = Function { kind: raw.kind, volatility: raw.volatility, result: raw.result, definition: raw.definition };
    (raw.name, known)
}

/// By its definition as the server prints it. A name that has these words makes it one at worst.
fn is_fired_by_statement(trigger: &catalog::Trigger) -> bool {
    let says = |words: &str| trigger.definition.contains(words);
    let of_truncate = says(" BEFORE TRUNCATE ON ") || says(" AFTER TRUNCATE ON ");
    let by_statement = says(" FOR EACH STATEMENT ") || says(" UPDATE OF ") || says(" REFERENCING ");
    trigger.enabled != 'D' && by_statement && !of_truncate
}
