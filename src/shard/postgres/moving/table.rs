//! A table whose rows move, as both shards' catalogs describe it, and how its columns and keys are written in SQL.

use xxhash_rust::xxh3::xxh3_64;

use super::super::guard::{self, Guarded};
use super::super::own_connection::TextRows;
use super::super::session_state::quoted;
use crate::error::{Error, Result, SqlState};
use crate::sql::quote_identifier;
use crate::topology::SlotSet;
use crate::types::KeyType;

/// The one schema whose tables are served.
pub(super) const SCHEMA: &str = "public";

/// A sharded table, as the topology knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardedTable {
    pub name: String,
    pub key_column: String,
    pub key_type: KeyType,
}

impl ShardedTable {
    pub(super) fn guarded(&self) -> Guarded<'_> {
        Guarded { schema: SCHEMA, table: &self.name, key_column: &self.key_column, key_type: self.key_type }
    }
}

/// The same, with what moving its rows needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MovedTable {
    pub(super) table: ShardedTable,
    /// It names what is made for the table.
    pub(super) tag: String,
    /// Without those that are generated.
    columns: Vec<Column>,
    /// Places in `columns`, in the key's order.
    primary_key: Vec<usize>,
    /// Foreign keys or triggers of the user's, which the move must not set off.
    pub(super) has_triggers: bool,
    /// The guard's trigger is there, and always fires.
    pub(super) is_guarded: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    name: String,
    type_name: String,
}

/// A key's values as COPY writes them, with tabs between them.
pub(super) type KeyText = String;

/// One row for each column of these tables, and what is to be known of the table with each.
pub(super) fn describe(tables: &[ShardedTable]) -> String {
    let names: Vec<String> = tables.iter().map(|table| quoted(&table.name)).collect();
    format!(
        "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attgenerated <> '', \
           array_position((i.indkey::int2[])[0:i.indnkeyatts - 1], a.attnum), \
           base.typnamespace = 'pg_catalog'::regnamespace OR base.typtype = 'e', \
           EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname NOT LIKE 'shardd\\_%'), \
           EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = '{guard}' AND t.tgenabled = 'A') \
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
           JOIN pg_type ty ON ty.oid = a.atttypid \
           JOIN pg_type base ON base.oid = COALESCE(NULLIF(ty.typbasetype, 0), ty.oid) \
           LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary \
         WHERE c.relnamespace = '{SCHEMA}'::regnamespace AND c.relkind = 'r' AND c.relname = ANY (ARRAY[{names}]::text[]) \
         ORDER BY c.relname, a.attname",
        guard = guard::TRIGGER,
        names = names.join(", "),
    )
}

/// The tables of the answer to [`describe`], in their own order.
///
/// # Errors
/// 0A000: one cannot be moved, and why. 55000: one is not there.
pub(super) fn read(shard: &str, tables: &[ShardedTable], rows: &TextRows) -> Result<Vec<MovedTable>> {
    tables.iter().map(|table| MovedTable::read(shard, table, rows)).collect()
}

impl MovedTable {
    fn read(shard: &str, table: &ShardedTable, rows: &TextRows) -> Result<MovedTable> {
        let mut moved = MovedTable {
            table: table.clone(),
            tag: format!("{:016x}", xxh3_64(table.name.as_bytes())),
            columns: Vec::new(),
            primary_key: Vec::new(),
            has_triggers: false,
            is_guarded: false,
        };
        let mut key: Vec<(u16, usize)> = Vec::new();
        for row in rows.iter().filter(|row| row.first().is_some_and(|name| name.as_deref() == Some(&*table.name))) {
            let text = |place: usize| row.get(place).and_then(|value| value.as_deref());
            let is = |place: usize| text(place) == Some("t");
            moved.has_triggers |= is(6);
            moved.is_guarded |= is(7);
            let place = text(4).and_then(|place| place.parse().ok());
            if place.is_some() && (is(3) || !is(5)) {
                let name = text(1).unwrap_or_default();
                return Err(cannot(
                    &table.name,
                    format_args!(
                        "column \"{name}\" of its primary key is generated, or of a type of \
                    an extension's or a user's"
                    ),
                ));
            }
            if is(3) {
                continue;
            }
            key.extend(place.map(|place| (place, moved.columns.len())));
            let (name, type_name) = (text(1).unwrap_or_default().to_owned(), text(2).unwrap_or_default().to_owned());
            moved.columns.push(Column { name, type_name });
        }
        if moved.columns.is_empty() {
            let message =
                format!("table \"{}\" is not on shard \"{shard}\", or not an ordinary table there", table.name);
            return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                .hint("`shardctl schema diff` shows how the shards differ."));
        }
        if key.is_empty() {
            return Err(cannot(&table.name, "it has no primary key").hint(format!(
                "ALTER TABLE {} ADD PRIMARY KEY (...), then start the move again.",
                quote_identifier(&table.name)
            )));
        }
        key.sort_unstable();
        moved.primary_key = key.into_iter().map(|(_, column)| column).collect();
        Ok(moved)
    }

    /// Whether it is the same table on both shards, as far as moving its rows goes.
    pub(super) fn is_like(&self, other: &MovedTable) -> bool {
        (&self.table, &self.columns, &self.primary_key) == (&other.table, &other.columns, &other.primary_key)
    }

    /// The table's name in SQL.
    pub(super) fn sql_name(&self) -> String {
        format!("{SCHEMA}.{}", quote_identifier(&self.table.name))
    }

    pub(super) fn guarded(&self) -> Guarded<'_> {
        self.table.guarded()
    }

    /// All columns, as a list.
    pub(super) fn columns(&self, of: &str) -> String {
        list(self.columns.iter(), of)
    }

    /// The primary key's columns, as a list.
    pub(super) fn key(&self, of: &str) -> String {
        list(self.key_columns(), of)
    }

    /// That two rows have the same primary key.
    pub(super) fn same_key(&self, one: &str, other: &str) -> String {
        let same = |column: &Column| {
            let column = quote_identifier(&column.name);
            format!("{one}.{column} = {other}.{column}")
        };
        self.key_columns().map(same).collect::<Vec<_>>().join(" AND ")
    }

    /// That a row's primary key stands in this relation to a known one: `>`, `<=`.
    pub(super) fn key_compares(&self, of: &str, operator: &str, key: &KeyText) -> String {
        let values = self.key_columns().zip(key.split('\t'));
        let values = values.map(|(column, value)| format!("{}::{}", quoted(&unescaped(value)), column.type_name));
        format!("ROW({}) {operator} ROW({})", self.key(of), values.collect::<Vec<_>>().join(", "))
    }

    /// That a row's slot is one of these.
    pub(super) fn in_slots(&self, of: &str, slots: &SlotSet) -> String {
        let column = format!("{of}.{}", quote_identifier(&self.table.key_column));
        guard::in_slots(&column, self.table.key_type, slots)
    }

    /// A number of type bigint that tells rows apart: a hash of all their values.
    pub(super) fn row_hash(&self, of: &str) -> String {
        format!("hashtextextended(ROW({})::text, 0)", self.columns(of))
    }

    /// The primary key in a line of [`MovedTable::columns`] that COPY wrote.
    pub(super) fn key_of_line(&self, line: &str) -> KeyText {
        let fields: Vec<&str> = line.split('\t').collect();
        let key = self.primary_key.iter().map(|place| fields.get(*place).copied().unwrap_or_default());
        key.collect::<Vec<_>>().join("\t")
    }

    fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.primary_key.iter().filter_map(|place| self.columns.get(*place))
    }
}

/// Names, of a row where one is named.
fn list<'c>(columns: impl Iterator<Item = &'c Column>, of: &str) -> String {
    let name = |column: &Column| match of {
        "" => quote_identifier(&column.name),
        of => format!("{of}.{}", quote_identifier(&column.name)),
    };
    columns.map(name).collect::<Vec<_>>().join(", ")
}

fn cannot(table: &str, why: impl std::fmt::Display) -> Error {
    Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("the rows of table \"{table}\" cannot be moved: {why}"))
}

/// The lines of what COPY wrote: a line's end within a value is escaped.
pub(super) fn lines(copied: &[u8]) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
    // A value that is empty gives an empty line, where it is alone.
    let ended = copied.iter().filter(|byte| **byte == b'\n').count();
    copied.split(|byte| *byte == b'\n').take(ended).map(String::from_utf8_lossy)
}

/// A field of COPY's text format as the value's own text. It is not NULL.
fn unescaped(field: &str) -> String {
    let mut value = String::with_capacity(field.len());
    let mut characters = field.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|escaped| match escaped {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                other => other,
            })),
            character => value.push(character),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> ShardedTable {
        ShardedTable { name: "seats".into(), key_column: "event_id".into(), key_type: KeyType::Bigint }
    }

    fn column(name: &str, type_name: &str, key: Option<&str>, generated: bool) -> Vec<Option<String>> {
        let flag = |is: bool| Some(if is { "t" } else { "f" }.to_owned());
        vec![
            Some("seats".into()),
            Some(name.into()),
            Some(type_name.into()),
            flag(generated),
            key.map(str::to_owned),
            flag(true),
            flag(false),
            flag(true),
        ]
    }

    fn moved() -> MovedTable {
        let rows = vec![
            column("Code", "text", Some("1"), false),
            column("event_id", "bigint", Some("0"), false),
            column("total", "integer", None, true),
            column("user", "text", None, false),
        ];
        read("s1", &[table()], &rows).unwrap().remove(0)
    }

    #[test]
    fn keys_are_compared_in_the_key_s_order_with_their_types() {
        let moved = moved();
        assert_eq!(moved.columns(""), "\"Code\", event_id, \"user\"");
        assert_eq!(moved.key("it"), "it.event_id, it.\"Code\"");
        let key = moved.key_of_line("a\\tb\t7\t\\N");
        assert_eq!(key, "7\ta\\tb");
        assert_eq!(
            moved.key_compares("it", ">", &key),
            "ROW(it.event_id, it.\"Code\") > ROW(E'7'::bigint, E'a\tb'::text)"
        );
        assert_eq!(moved.same_key("a", "b"), "a.event_id = b.event_id AND a.\"Code\" = b.\"Code\"");
    }

    #[test]
    fn what_cannot_be_moved_is_refused_with_the_reason() {
        let of = |rows: Vec<Vec<Option<String>>>| read("s1", &[table()], &rows).unwrap_err();
        let error = of(vec![column("event_id", "bigint", None, false)]);
        assert!(error.message().contains("no primary key"), "{error:?}");
        let error = of(vec![column("event_id", "bigint", Some("0"), true)]);
        assert!(error.message().contains("is generated"), "{error:?}");
        assert_eq!(of(Vec::new()).sqlstate(), SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    }
}
