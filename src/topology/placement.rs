//! Where a table lives: sharded by its keyspace's key, or a full copy on every shard.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Column, Keyspace, TableKind};
use crate::types::{KeyType, PgType};

/// What the keyspaces make of a table.
#[derive(Clone, Debug)]
pub struct Placement<'k> {
    pub keyspace: &'k Keyspace,
    pub kind: TableKind,
    /// Keyspaces whose key column the table has, but in a type that is no key of theirs: (keyspace, column).
    pub mistyped: Vec<(&'k Keyspace, usize)>,
}

/// A table that was made another kind than its columns' names say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placed {
    pub keyspace: String,
    /// Absent for a reference table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_column: Option<String>,
}

/// All such tables, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placements {
    shardd_tables: BTreeMap<String, Placed>,
}

impl Placements {
    /// What [`Placements::to_text`] wrote; `None` for a text that is somebody else's.
    ///
    /// # Errors
    /// It is meant to be one, and cannot be read.
    pub fn read(text: &str) -> Option<Result<Placements, serde_json::Error>> {
        text.contains("shardd_tables").then(|| serde_json::from_str(text))
    }

    /// # Errors
    /// None is known.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    pub fn insert(&mut self, table: String, placed: Placed) {
        self.shardd_tables.insert(table, placed);
    }

    pub fn get(&self, table: &str) -> Option<&Placed> {
        self.shardd_tables.get(table)
    }

    pub fn is_empty(&self) -> bool {
        self.shardd_tables.is_empty()
    }

    /// After a change of the schema: those of the tables that exist, and with `renamed` (old name, new name) under its new name
    /// what is there no longer under the old one.
    #[must_use]
    pub fn following(&self, exists: impl Fn(&str) -> bool, renamed: Option<(&str, &str)>) -> Placements {
        let renamed = renamed.filter(|(old, new)| !exists(old) && exists(new));
        let name_now = |table: &str| match renamed {
            Some((old, new)) if old == table => Some(new.to_owned()),
            _ => exists(table).then(|| table.to_owned()),
        };
        let kept = self.shardd_tables.iter().filter_map(|(table, placed)| Some((name_now(table)?, placed.clone())));
        Placements { shardd_tables: kept.collect() }
    }
}

/// A table that is no longer what it was made: its rows lie where nothing says any more.
#[derive(Clone, Debug)]
pub enum Misplaced<'k> {
    /// Its keyspace is gone.
    NoKeyspace(&'k str),
    /// The key column is gone.
    NoKeyColumn(&'k Keyspace, &'k str),
}

/// As [`place`] has it, unless the table was made another kind.
///
/// # Errors
/// It can no longer be of that kind. Another kind would look for its rows on other shards.
pub fn place_as<'k>(
    table: &str,
    columns: &[Column],
    keyspaces: &'k [Arc<Keyspace>],
    placed: Option<&'k Placed>,
) -> Result<Option<Placement<'k>>, Misplaced<'k>> {
    let Some(placed) = placed else { return Ok(place(table, columns, keyspaces)) };
    let keyspace = keyspaces.iter().find(|keyspace| keyspace.name == placed.keyspace);
    let keyspace = &**keyspace.ok_or(Misplaced::NoKeyspace(&placed.keyspace))?;
    let reference = Placement { keyspace, kind: TableKind::Reference, mistyped: Vec::new() };
    let Some(wanted) = &placed.key_column else { return Ok(Some(reference)) };
    let key_column = columns.iter().position(|column| column.name == *wanted);
    let key_column = key_column.ok_or(Misplaced::NoKeyColumn(keyspace, wanted))?;
    Ok(Some(match can_be_key(columns[key_column].data_type, keyspace.key_type) {
        true => Placement { kind: TableKind::Sharded { key_column, key_type: keyspace.key_type }, ..reference },
        false => Placement { mistyped: vec![(keyspace, key_column)], ..reference },
    }))
}

/// The first keyspace whose key column the table has makes it sharded; with none, it is a reference table of the first
/// keyspace. `None` when there is no keyspace.
///
/// A domain over a key type is one: its values are its base type's, and hash as they do.
pub fn place<'k>(table: &str, columns: &[Column], keyspaces: &'k [Arc<Keyspace>]) -> Option<Placement<'k>> {
    let mut mistyped = Vec::new();
    for keyspace in keyspaces {
        let wanted = keyspace.key_column_of(table);
        let Some(key_column) = columns.iter().position(|column| column.name == wanted) else { continue };
        if !can_be_key(columns[key_column].data_type, keyspace.key_type) {
            mistyped.push((&**keyspace, key_column));
            continue;
        }
        let kind = TableKind::Sharded { key_column, key_type: keyspace.key_type };
        return Some(Placement { keyspace, kind, mistyped });
    }
    Some(Placement { keyspace: keyspaces.first()?, kind: TableKind::Reference, mistyped })
}

/// Whether a column of this type can be a key of that one.
pub fn can_be_key(data_type: PgType, key_type: KeyType) -> bool {
    match key_type {
        KeyType::Bigint => matches!(data_type, PgType::Int2 | PgType::Int4 | PgType::Int8),
        KeyType::Text => matches!(data_type, PgType::Text | PgType::Varchar),
        KeyType::Uuid => data_type == PgType::Uuid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Shard;
    use crate::types::ShardId;

    fn keyspaces() -> Vec<Arc<Keyspace>> {
        let shard = Shard { id: ShardId(1), name: "a".into(), url: "sqlite:a.db".into(), weight: 1.0 };
        let shards = [shard];
        let keyspace = |name, column, key_type| Arc::new(Keyspace::create(name, column, key_type, &shards).unwrap());
        vec![keyspace("tickets", "event_id", KeyType::Bigint), keyspace("people", "person", KeyType::Uuid)]
    }

    #[test]
    fn the_key_column_makes_a_table_sharded() {
        let keyspaces = keyspaces();
        let columns = [Column::new("note", PgType::Text), Column::new("event_id", PgType::Int4)];
        let placement = place("seats", &columns, &keyspaces).unwrap();
        assert_eq!(placement.keyspace.name, "tickets");
        assert_eq!(placement.kind, TableKind::Sharded { key_column: 1, key_type: KeyType::Bigint });
        let placement = place("countries", &columns[..1], &keyspaces).unwrap();
        assert_eq!((placement.keyspace.name.as_str(), placement.kind), ("tickets", TableKind::Reference));
        assert!(place("countries", &columns, &[]).is_none());
    }

    #[test]
    fn what_was_placed_follows_its_table() {
        let placed = |column: &str| Placed { keyspace: "tickets".into(), key_column: Some(column.into()) };
        let mut placements = Placements::default();
        placements.insert("venues".into(), placed("venue_id"));
        placements.insert("halls".into(), placed("hall_id"));
        assert_eq!(placements.following(|_| true, Some(("venues", "places"))), placements);
        let left = placements.following(|table| table != "halls", None);
        assert_eq!((left.get("venues"), left.get("halls")), (Some(&placed("venue_id")), None));
        let moved = placements.following(|table| table != "venues", Some(("venues", "places")));
        assert_eq!((moved.get("venues"), moved.get("places")), (None, Some(&placed("venue_id"))));
    }

    #[test]
    fn a_table_that_has_lost_what_it_was_placed_by_is_placed_by_nothing_else() {
        let keyspaces = keyspaces();
        let columns = [Column::new("event_id", PgType::Int8), Column::new("seat", PgType::Int8)];
        let placed =
            |keyspace: &str, column: &str| Placed { keyspace: keyspace.into(), key_column: Some(column.into()) };
        let by_seat = placed("tickets", "seat");
        let found = place_as("seats", &columns, &keyspaces, Some(&by_seat)).unwrap().unwrap();
        assert_eq!(found.kind, TableKind::Sharded { key_column: 1, key_type: KeyType::Bigint });
        let lost = place_as("seats", &columns[..1], &keyspaces, Some(&by_seat));
        assert!(matches!(lost, Err(Misplaced::NoKeyColumn(_, "seat"))), "{lost:?}");
        let gone = placed("gone", "seat");
        let lost = place_as("seats", &columns, &keyspaces, Some(&gone));
        assert!(matches!(lost, Err(Misplaced::NoKeyspace("gone"))), "{lost:?}");
    }

    #[test]
    fn a_key_column_of_another_type_is_told_and_passed_over() {
        let keyspaces = keyspaces();
        let columns = [Column::new("event_id", PgType::Numeric), Column::new("person", PgType::Uuid)];
        let placement = place("visits", &columns, &keyspaces).unwrap();
        assert_eq!(placement.keyspace.name, "people");
        assert_eq!(placement.mistyped.len(), 1);
        assert_eq!((placement.mistyped[0].0.name.as_str(), placement.mistyped[0].1), ("tickets", 0));
    }
}
