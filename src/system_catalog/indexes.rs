//! Indexes: `pg_index`, `pg_indexes`, and their definitions.

use super::expression::{names, quoted};
use super::fixed::operator_class;
use super::model::{IndexKey, IndexModel, Model};
use super::rows::{Rows, flag, int2, int2_array, int4, oid, oid_array, text};
use crate::types::{Datum, PgType};

pub(super) fn add(rows: &mut Rows, model: &Model<'_>) {
    for index in &model.indexes {
        let [plain, pretty] = definition(index);
        rows.add(
            "pg_indexes",
            &[
                ("schemaname", text("public")),
                ("tablename", text(&index.table.name)),
                ("indexname", text(index.name)),
                ("indexdef", text(&plain)),
            ],
        );
        rows.add_lookup("shardd_index", vec![oid(index.oid), int4(0), text(&plain), text(&pretty)]);
        for (number, key) in index.keys.iter().enumerate() {
            let number = i32::try_from(number + 1).unwrap_or(i32::MAX);
            let [plain, pretty] = key_texts(key);
            rows.add_lookup("shardd_index", vec![oid(index.oid), int4(number), text(plain), text(pretty)]);
        }
        add_row(rows, index);
    }
}

fn add_row(rows: &mut Rows, index: &IndexModel<'_>) {
    let expressions: Vec<&IndexKey> = index.keys.iter().filter(|key| key.column.is_none()).collect();
    let tree = |texts: [String; 2]| Datum::Text(node_tree(&texts).into());
    let expressions = match expressions.as_slice() {
        [] => Datum::Null,
        keys => tree([0, 1].map(|form| keys.iter().map(|key| key.text[form].clone()).collect::<Vec<_>>().join(", "))),
    };
    rows.add(
        "pg_index",
        &[
            ("indexrelid", oid(index.oid)),
            ("indrelid", oid(index.table.oid)),
            ("indnatts", int2(index.keys.len())),
            ("indnkeyatts", int2(index.keys.len())),
            ("indisunique", flag(index.unique)),
            ("indisprimary", flag(index.primary)),
            ("indimmediate", flag(true)),
            ("indisvalid", flag(true)),
            ("indisready", flag(true)),
            ("indislive", flag(true)),
            ("indkey", int2_array(index.keys.iter().map(|key| key.column.map_or(0, |column| column + 1)))),
            ("indcollation", oid_array(index.keys.iter().map(|key| super::fixed::collation(key.data_type)))),
            ("indclass", oid_array(index.keys.iter().map(|key| operator_class(key.data_type)))),
            ("indoption", int2_array(index.keys.iter().map(IndexKey::option))),
            ("indexprs", expressions),
            ("indpred", index.predicate.clone().map_or(Datum::Null, tree)),
        ],
    );
}

/// A key's text in a definition: expressions other than calls stand in parentheses.
fn key_texts(key: &IndexKey) -> [String; 2] {
    key.text.clone().map(|text| if key.column.is_some() || is_call(&text) { text } else { format!("({text})") })
}

/// `name(...)`, to its end.
fn is_call(text: &str) -> bool {
    let Some((name, arguments)) = text.split_once('(') else { return false };
    let mut depth = 1;
    let closing = arguments.char_indices().find(|(_, letter)| {
        depth += match letter {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0
    });
    !name.is_empty()
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && closing.is_some_and(|(at, _)| at + 1 == arguments.len())
}

/// `CREATE INDEX ...`, as `pg_get_indexdef` gives it: plain and pretty.
fn definition(index: &IndexModel<'_>) -> [String; 2] {
    let unique = if index.unique { "UNIQUE " } else { "" };
    let keys = |form: usize| {
        let key = |key: &IndexKey| format!("{}{}", key_texts(key)[form], order(key));
        index.keys.iter().map(key).collect::<Vec<_>>().join(", ")
    };
    let table = quoted(&index.table.name);
    [format!("public.{table}"), table].map(|table| {
        let form = usize::from(!table.starts_with("public."));
        let condition = index.predicate.as_ref().map_or_else(String::new, |text| format!(" WHERE {}", text[form]));
        format!("CREATE {unique}INDEX {} ON {table} USING btree ({}){condition}", names([index.name]), keys(form))
    })
}

fn order(key: &IndexKey) -> &'static str {
    match (key.descending, key.nulls_first) {
        (false, false) => "",
        (false, true) => " NULLS FIRST",
        (true, true) => " DESC",
        (true, false) => " DESC NULLS LAST",
    }
}

/// An expression in a column of type pg_node_tree: `pg_get_expr` takes its text out again.
pub(super) fn node_tree(texts: &[String; 2]) -> String {
    let strings = texts.iter().map(|text| {
        let mut quoted = bytes::BytesMut::new();
        crate::types::json::write_string(text, &mut quoted);
        String::from_utf8_lossy(&quoted).into_owned()
    });
    format!("[{}]", strings.collect::<Vec<_>>().join(","))
}

/// Types whose index is stored as they are.
pub(super) fn length(data_type: PgType) -> Datum {
    Datum::Int2(data_type.size())
}
