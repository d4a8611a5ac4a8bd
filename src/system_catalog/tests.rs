//! The rows of small schemas.

use super::*;
use crate::topology::{Check, Column, Table, TableKind};
use crate::types::PgType;

fn surroundings() -> Surroundings {
    Surroundings { database: "tickets".to_owned(), user: "app".to_owned() }
}

#[test]
fn every_row_has_a_value_for_every_column() {
    for relation in contents(&Schema::default(), &surroundings()) {
        let width = match relations().table(relation.name) {
            Some(table) => table.columns.len(),
            None => lookups().iter().find(|known| known.name == relation.name).expect("a lookup").columns.len(),
        };
        assert!(relation.rows.iter().all(|row| row.len() == width), "{}", relation.name);
    }
}

#[test]
fn names_are_found_as_the_search_path_finds_them() {
    assert_eq!(find(None, "pg_class").map(|table| table.oid), Some(1_259));
    assert_eq!(find(Some("pg_catalog"), "pg_class").map(|table| table.oid), Some(1_259));
    assert!(find(Some("information_schema"), "tables").is_some());
    for (schema, name) in [(None, "tables"), (None, "information_schema.tables"), (Some("public"), "pg_class")] {
        assert!(find(schema, name).is_none(), "{schema:?} {name}");
    }
}

fn printed(expression: &str) -> [String; 2] {
    let column = |name: &str, data_type| Column::new(name, data_type);
    let table = Table {
        oid: 16_384,
        name: "t".to_owned(),
        keyspace: String::new(),
        kind: TableKind::Reference,
        columns: vec![
            column("i", PgType::Int4),
            column("b", PgType::Int8),
            column("n", PgType::Numeric),
            column("t", PgType::Text),
            column("v", PgType::Varchar),
        ],
        primary_key: None,
        unique_keys: Vec::new(),
        checks: vec![Check { name: "c".to_owned(), expression: expression.to_owned() }],
        foreign_keys: Vec::new(),
        indexes: Vec::new(),
    };
    let schema = Schema { tables: [("t".to_owned(), table.into())].into(), ..Schema::default() };
    let model = model::Model::new(&schema);
    constraints::definition(&model.constraints[0], &model)
}

/// Each pair is Postgres 15's own answer.
#[test]
fn conditions_are_printed_as_postgres_prints_them() {
    let cases = [
        ("i > 0", "CHECK ((i > 0))", "CHECK (i > 0)"),
        ("n > 0 AND n < 10.5", "CHECK (((n > (0)::numeric) AND (n < 10.5)))", "CHECK (n > 0::numeric AND n < 10.5)"),
        (
            "i > -1 OR b IS NULL",
            "CHECK (((i > '-1'::integer) OR (b IS NULL)))",
            "CHECK (i > '-1'::integer OR b IS NULL)",
        ),
        ("i + b * 2 > 3", "CHECK (((i + (b * 2)) > 3))", "CHECK ((i + b * 2) > 3)"),
        (
            "t IN ('a', 'b')",
            "CHECK ((t = ANY (ARRAY['a'::text, 'b'::text])))",
            "CHECK (t = ANY (ARRAY['a'::text, 'b'::text]))",
        ),
        (
            "v IN ('a', 'b')",
            "CHECK (((v)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))",
            "CHECK (v::text = ANY (ARRAY['a'::character varying, 'b'::character varying]::text[]))",
        ),
        ("v <> ''", "CHECK (((v)::text <> ''::text))", "CHECK (v::text <> ''::text)"),
        (
            "length(t) BETWEEN 1 AND 5",
            "CHECK (((length(t) >= 1) AND (length(t) <= 5)))",
            "CHECK (length(t) >= 1 AND length(t) <= 5)",
        ),
        ("NOT (i = 1 OR i = 2)", "CHECK ((NOT ((i = 1) OR (i = 2))))", "CHECK (NOT (i = 1 OR i = 2))"),
        ("t LIKE 'a%'", "CHECK ((t ~~ 'a%'::text))", "CHECK (t ~~ 'a%'::text)"),
        ("lower(v) = t", "CHECK ((lower((v)::text) = t))", "CHECK (lower(v::text) = t)"),
        ("i NOT IN (1, 2)", "CHECK ((i <> ALL (ARRAY[1, 2])))", "CHECK (i <> ALL (ARRAY[1, 2]))"),
    ];
    for (written, plain, pretty) in cases {
        assert_eq!(printed(written), [plain, pretty], "{written}");
    }
}
