//! What a session has on a connection that no other could give it: asked of the server, which alone knows.

use std::collections::BTreeMap;

use crate::metrics::PinReason;

/// Kind, name, and for relations their columns and the numbers of their types, one in a row.
pub(super) const QUESTION: &str = "\
SELECT 'lock', '', '', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()) \
UNION ALL SELECT 'channel', '', '', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_listening_channels()) \
UNION ALL SELECT 'cursor', name, '', '' FROM pg_catalog.pg_cursors WHERE is_holdable \
UNION ALL (SELECT 'relation', c.relname::text, coalesce(a.attname::text, ''), coalesce(a.atttypid::text, '') FROM pg_catalog.pg_class c \
 LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
 WHERE c.relnamespace = pg_catalog.pg_my_temp_schema() AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') ORDER BY c.oid, a.attnum)";

/// The possessions of a session on one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Possessions {
    /// Advisory locks.
    pub locks: bool,
    /// It listens.
    pub channels: bool,
    /// Cursors that outlive their transactions.
    pub cursors: Vec<String>,
    /// Temporary tables, views and sequences, with their columns and the numbers of those' types.
    pub relations: BTreeMap<String, Vec<(String, u32)>>,
}

impl Possessions {
    pub(super) fn read(rows: &[Vec<Option<String>>]) -> Possessions {
        let mut possessions = Possessions::default();
        for row in rows {
            let [Some(kind), Some(name), Some(column), Some(type_oid)] = row.as_slice() else { continue };
            match kind.as_str() {
                "lock" => possessions.locks = true,
                "channel" => possessions.channels = true,
                "cursor" => possessions.cursors.push(name.clone()),
                _ => {
                    let columns = possessions.relations.entry(name.clone()).or_default();
                    if let Ok(type_oid) = type_oid.parse() {
                        columns.push((column.clone(), type_oid));
                    }
                }
            }
        }
        possessions
    }

    /// Why the connection has to stay with its session.
    pub fn reasons(&self) -> Vec<PinReason> {
        let all = [
            (self.locks, PinReason::AdvisoryLock),
            (self.channels, PinReason::Listen),
            (!self.relations.is_empty(), PinReason::TemporaryTable),
            (!self.cursors.is_empty(), PinReason::HeldCursor),
        ];
        all.into_iter().filter(|(has, _)| *has).map(|(_, reason)| reason).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_by_their_kind() {
        let row = |texts: [&str; 4]| texts.iter().map(|text| Some((*text).to_owned())).collect();
        let rows = [
            row(["lock", "", "", ""]),
            row(["cursor", "c", "", ""]),
            row(["relation", "t", "a", "23"]),
            row(["relation", "t", "b", "25"]),
            row(["relation", "empty", "", ""]),
        ];
        let possessions = Possessions::read(&rows);
        assert!(possessions.locks && !possessions.channels);
        assert_eq!(possessions.relations["t"], [("a".to_owned(), 23), ("b".to_owned(), 25)]);
        assert_eq!(possessions.relations["empty"], []);
        assert_eq!(possessions.reasons(), [PinReason::AdvisoryLock, PinReason::TemporaryTable, PinReason::HeldCursor]);
    }
}
