//! Where a table lives: sharded by its keyspace's key, or a full copy on every shard.

use std::sync::Arc;

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

/// The first keyspace whose key column the table has makes it sharded; with none, it is a reference table of the first
/// keyspace. `None` when there is no keyspace.
///
/// A domain over a key type is one: its values are its base type's, and hash as they do.
pub fn place<'k>(table: &str, columns: &[Column], keyspaces: &'k [Arc<Keyspace>]) -> Option<Placement<'k>> {
    let mut mistyped = Vec::new();
    for keyspace in keyspaces {
        let wanted = keyspace.key_column_of(table);
        let Some(key_column) = columns.iter().position(|column| column.name == wanted) else { continue };
        if !fits(columns[key_column].data_type, keyspace.key_type) {
            mistyped.push((&**keyspace, key_column));
            continue;
        }
        let kind = TableKind::Sharded { key_column, key_type: keyspace.key_type };
        return Some(Placement { keyspace, kind, mistyped });
    }
    Some(Placement { keyspace: keyspaces.first()?, kind: TableKind::Reference, mistyped })
}

fn fits(data_type: PgType, key_type: KeyType) -> bool {
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
    fn a_key_column_of_another_type_is_told_and_passed_over() {
        let keyspaces = keyspaces();
        let columns = [Column::new("event_id", PgType::Numeric), Column::new("person", PgType::Uuid)];
        let placement = place("visits", &columns, &keyspaces).unwrap();
        assert_eq!(placement.keyspace.name, "people");
        assert_eq!(placement.mistyped.len(), 1);
        assert_eq!((placement.mistyped[0].0.name.as_str(), placement.mistyped[0].1), ("tickets", 0));
    }
}
