//! Statements and the plans that they must get.

mod aggregates;
mod deep;
mod own_rows;
mod reads;
mod routes;
mod soundness;
mod spliced;
mod spoiled;
mod writes;

use std::sync::Arc;

use super::{Distinct, KeyExpression, Keys, Merge, Pin, Plan, ReadSource, Scatter, plan};
use crate::error::{Error, Result};
use crate::sql::{Derived, Parsed, lift, parse};
use crate::topology::{Column, Identity, Keyspace, Refused, Schema, Table, TableKind};
use crate::types::{KeyType, PgType, SLOTS, ShardId};

/// The ticket service: events, seats, orders by `event_id`; venues everywhere; and tables keyed by text and uuid.
pub(super) fn schema() -> Schema {
    use PgType::{Bool, Date, Float4, Float8, Int4, Int8, Interval, Numeric, Text, Timestamptz, Uuid};
    let mut schema = Schema::default();
    let mut add = |name: &str, keyspace: &str, key: Option<(usize, KeyType)>, columns: &[(&str, PgType)]| {
        let kind =
            key.map_or(TableKind::Reference, |(key_column, key_type)| TableKind::Sharded { key_column, key_type });
        let columns = columns.iter().map(|(name, data_type)| Column::new(*name, *data_type)).collect();
        let table = Table {
            oid: 16_384,
            name: name.to_owned(),
            keyspace: keyspace.to_owned(),
            kind,
            columns,
            primary_key: None,
            unique_keys: Vec::new(),
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            indexes: Vec::new(),
        };
        schema.tables.insert(name.to_owned(), Arc::new(table));
    };
    let by_event = Some((0, KeyType::Bigint));
    add("events", "main", by_event, &[("event_id", Int8), ("name", Text), ("venue_id", Int8), ("day", Date)]);
    add("seats", "main", by_event, &[("event_id", Int8), ("seat_id", Int4), ("status", Text), ("price", Numeric)]);
    add(
        "orders",
        "main",
        Some((1, KeyType::Bigint)),
        &[
            ("order_id", Int8),
            ("event_id", Int8),
            ("buyer", Text),
            ("total", Numeric),
            ("weight", Float4),
            ("ratio", Float8),
            ("wait", Interval),
            ("paid", Bool),
            ("at", Timestamptz),
        ],
    );
    add("venues", "main", None, &[("venue_id", Int8), ("name", Text), ("event_count", Int4)]);
    add("Odd", "main", by_event, &[("event_id", Int8), ("Name", Text)]);
    add("users", "people", Some((0, KeyType::Text)), &[("email", Text), ("name", Text)]);
    add("sessions", "things", Some((0, KeyType::Uuid)), &[("id", Uuid), ("data", Text)]);
    let mut generated = (**schema.table("events").unwrap()).clone();
    generated.name = "generated".into();
    generated.columns[0].identity = Some(Identity::Serial);
    schema.tables.insert("generated".into(), Arc::new(generated));
    let mut short = (**schema.table("users").unwrap()).clone();
    short.name = "short_users".into();
    // varchar(3)
    (short.columns[0].data_type, short.columns[0].modifier) = (PgType::Varchar, 7);
    schema.tables.insert("short_users".into(), Arc::new(short));
    for (name, what) in
        [("cheap", "the view \"cheap\""), ("audit.log", "the table \"audit.log\" outside of the schema public")]
    {
        schema.refused.insert(name.into(), Refused { what: what.into(), hint: "Query the tables.".into() });
    }
    schema
}

pub(super) fn keyspaces() -> Vec<Arc<Keyspace>> {
    [("main", "event_id", KeyType::Bigint), ("people", "email", KeyType::Text), ("things", "id", KeyType::Uuid)]
        .into_iter()
        .map(|(name, column, key_type)| {
            Arc::new(Keyspace {
                name: name.to_owned(),
                key_column: column.to_owned(),
                key_type,
                key_columns: Vec::new(),
                shards: (1..=4).map(ShardId).collect(),
                owners: (0..SLOTS).map(|slot| ShardId(slot / (SLOTS / 4) + 1)).collect(),
                strays: Vec::new(),
                held: crate::topology::SlotSet::default(),
            })
        })
        .collect()
}

/// Plans a text as it is, without lifting its literals, so that expectations can name them.
pub(super) fn planned(text: &str) -> Result<Plan> {
    let parameters = lift(text)?.client_parameters;
    plan(&parse(text, parameters, Vec::new())?, &schema(), &keyspaces())
}

/// The same, with what it was planned from.
pub(super) fn planned_parsed(text: &str) -> (Parsed, Result<Plan>) {
    let parsed = parse(text, lift(text).unwrap().client_parameters, Vec::new()).unwrap();
    let planned = plan(&parsed, &schema(), &keyspaces());
    (parsed, planned)
}

/// Plans a text as the engine does.
pub(super) fn planned_lifted(text: &str) -> Result<Plan> {
    let lifted = lift(text)?;
    plan(&parse(&lifted.text, lifted.client_parameters, lifted.kinds().collect())?, &schema(), &keyspaces())
}

fn describe_keys(keys: &Keys) -> String {
    match keys {
        Keys::Any => "any".into(),
        Keys::Every => "every".into(),
        Keys::Of(pins) => pins.iter().map(describe_pin).collect::<Vec<_>>().join(" + "),
    }
}

fn describe_pin(pin: &Pin) -> String {
    let union = |keys: &Vec<KeyExpression>| {
        format!("{{{}}}", keys.iter().map(KeyExpression::describe).collect::<Vec<_>>().join(","))
    };
    pin.all_of.iter().map(union).collect::<Vec<_>>().join("&")
}

fn describe_merge(merge: &Merge) -> String {
    let mut text = String::from("merge");
    if merge.hidden_columns > 0 {
        text.push_str(&format!(" hidden {}", merge.hidden_columns));
    }
    if !merge.order.is_empty() {
        let keys: Vec<String> = merge
            .order
            .iter()
            .map(|key| {
                let direction = if key.descending { " desc" } else { "" };
                let nulls = if key.nulls_first == key.descending {
                    ""
                } else if key.nulls_first {
                    " nulls first"
                } else {
                    " nulls last"
                };
                format!("{}{direction}{nulls}", key.column)
            })
            .collect();
        text.push_str(&format!(" order {}", keys.join(",")));
    }
    match &merge.distinct {
        Distinct::No => {}
        Distinct::Rows => text.push_str(" distinct"),
        Distinct::On(columns) => text.push_str(&format!(" distinct on {columns:?}")),
    }
    if let Some(limit) = &merge.limit {
        text.push_str(&format!(" limit {limit}"));
    }
    if let Some(offset) = &merge.offset {
        text.push_str(&format!(" offset {offset}"));
    }
    text
}

fn describe_error(error: &Error) -> String {
    format!("{} {}", error.sqlstate(), error.message())
}

/// A plan in one line: `{1} | merge order 0`, `write {1}`, `insert {1} {2}`, or an error's code and message.
pub(super) fn line(text: &str) -> String {
    let plan = match planned(text) {
        Ok(plan) => plan,
        Err(error) => return describe_error(&error),
    };
    if let Plan::Read(read) = &plan
        && read.scatter.is_ok()
    {
        let (parsed, _) = planned_parsed(text);
        assert!(spliced::of_shards(&parsed, read).is_some(), "{text} is not found in its own text");
        own_rows::check_read(&parsed, read);
    }
    match plan {
        Plan::Read(read) if read.source == ReadSource::Nowhere => "tableless".into(),
        Plan::Read(read) if read.source == ReadSource::SystemCatalog => "system catalog".into(),
        Plan::Read(read) => {
            let keys = describe_keys(&read.route.keys);
            match &read.scatter {
                _ if read.route.keys == Keys::Any => keys,
                Ok(Scatter::Merge { merge, .. }) => format!("{keys} | {}", describe_merge(merge)),
                Ok(Scatter::Aggregate(_)) => format!("{keys} | aggregate"),
                Err(error) => format!("{keys} | {}", describe_error(error)),
            }
        }
        Plan::Insert(insert) => {
            format!("insert {}", insert.row_keys.iter().map(KeyExpression::describe).collect::<Vec<_>>().join(" "))
        }
        Plan::Write(write) => {
            let keys = describe_keys(&write.route.keys);
            match &write.several {
                Ok(()) => {
                    if Derived::read(text.to_owned()).is_ok() && !text.contains("CURRENT OF") {
                        own_rows::with_own_rows(text);
                    }
                    format!("write {keys}")
                }
                Err(error) => format!("write {keys} | {}", describe_error(error)),
            }
        }
        Plan::WriteReference(write) => format!("reference {}", write.table),
        Plan::Copy(copy) => format!("{:?}", copy.way),
        Plan::Ddl(_) => "ddl".into(),
        Plan::Local(local) => format!("{local:?}"),
    }
}

/// Checks lines of `statement => plan`; a plan that ends in `...` only begins so.
pub(super) fn check(cases: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (text, wanted) in cases {
        let got = line(text);
        let right = match wanted.strip_suffix("...") {
            Some(beginning) => got.starts_with(beginning),
            None => got == *wanted,
        };
        if !right {
            wrong.push(format!("{text}\n     got: {got}\n  wanted: {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
