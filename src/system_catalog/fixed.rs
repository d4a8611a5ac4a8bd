//! What is the same for every schema: types, schemas, access methods, and the one database with the one who asks.
//!
//! The numbers are Postgres 15's own. `types.txt` is its `pg_type` for the types that shardd has, `procedures.txt` the
//! functions that those name: their columns are read in [`types`] and [`procedures`].

use std::sync::LazyLock;

use super::Surroundings;
use super::relations::{INFORMATION_SCHEMA, PG_CATALOG, PUBLIC};
use super::rows::{Rows, flag, int2, int4, letter, oid, oid_array, text};
use crate::types::{Datum, PgType};

/// The oid of whoever asks: Postgres's first user.
pub(super) const OWNER: u32 = 10;
/// Below the tables' oids.
const DATABASE: u32 = 16_383;
/// `heap`, `btree`: access methods.
pub(super) const HEAP: u32 = 2;
pub(super) const BTREE: u32 = 403;
const DEFAULT_COLLATION: u32 = 100;
const DEFAULT_TABLESPACE: u32 = 1_663;
/// UTF8.
const ENCODING: i32 = 6;

const NAMESPACES: [(u32, &str); 3] =
    [(PG_CATALOG, "pg_catalog"), (PUBLIC, "public"), (INFORMATION_SCHEMA, "information_schema")];

const TYPES: &str = include_str!("types.txt");
const PROCEDURES: &str = include_str!("procedures.txt");

/// A type as `pg_type` has it.
#[derive(Debug)]
pub(super) struct TypeRow {
    pub(super) oid: u32,
    words: Vec<&'static str>,
}

impl TypeRow {
    fn number(&self, index: usize) -> u32 {
        self.words[index].parse().unwrap_or_default()
    }

    pub(super) fn by_value(&self) -> bool {
        self.words[3] == "t"
    }

    pub(super) fn align(&self) -> &'static str {
        self.words[17]
    }

    pub(super) fn storage(&self) -> &'static str {
        self.words[18]
    }

    pub(super) fn collation(&self) -> u32 {
        self.number(19)
    }
}

/// oid typname typlen typbyval typtype typcategory typispreferred typdelim typsubscript typelem typarray typinput
/// typoutput typreceive typsend typmodin typmodout typalign typstorage typcollation
fn types() -> &'static [TypeRow] {
    static TYPE_ROWS: LazyLock<Vec<TypeRow>> = LazyLock::new(|| {
        let read = |line: &'static str| {
            let words: Vec<&str> = line.split(' ').collect();
            (words.len() == 20).then(|| TypeRow { oid: words[0].parse().unwrap_or_default(), words })
        };
        TYPES.lines().filter_map(read).collect()
    });
    &TYPE_ROWS
}

/// The row of a type; text's for one that only expressions have.
pub(super) fn type_row(data_type: PgType) -> &'static TypeRow {
    let known = types().iter().find(|known| known.oid == data_type.oid());
    known.or_else(|| types().iter().find(|known| known.oid == PgType::Text.oid())).unwrap_or(&types()[0])
}

/// The collation that a column of a type has.
pub(super) fn collation(data_type: PgType) -> u32 {
    type_row(data_type).collation()
}

#[derive(Debug)]
struct Procedure {
    oid: u32,
    name: &'static str,
    result: u32,
    arguments: Vec<u32>,
    volatility: &'static str,
    strict: bool,
}

/// oid proname prorettype proargtypes... provolatile proisstrict
fn procedures() -> &'static [Procedure] {
    static PROCEDURE_ROWS: LazyLock<Vec<Procedure>> = LazyLock::new(|| {
        let read = |line: &'static str| {
            let words: Vec<&str> = line.split(' ').collect();
            let [oid, name, result, arguments @ .., volatility, strict] = words.as_slice() else { return None };
            Some(Procedure {
                oid: oid.parse().ok()?,
                name,
                result: result.parse().ok()?,
                arguments: arguments.iter().filter_map(|argument| argument.parse().ok()).collect(),
                volatility,
                strict: *strict == "t",
            })
        };
        PROCEDURES.lines().filter_map(read).collect()
    });
    &PROCEDURE_ROWS
}

/// How `regnamespace` shows an oid.
pub fn namespace_name(oid: u32) -> Option<&'static str> {
    NAMESPACES.iter().find(|(known, _)| *known == oid).map(|(_, name)| *name)
}

/// How `regtype` shows an oid.
pub fn type_name(oid: u32) -> Option<&'static str> {
    PgType::from_oid(oid).map(PgType::sql_name)
}

/// How `regproc` shows an oid.
pub fn procedure_name(oid: u32) -> Option<&'static str> {
    procedures().iter().find(|known| known.oid == oid).map(|known| known.name)
}

/// What a name means as `regproc`; arguments behind it, as `regprocedure` has them, are passed over.
pub fn procedure_oid(name: &str) -> Option<u32> {
    let name = name.split('(').next().unwrap_or(name).trim();
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    procedures().iter().find(|known| known.name == name).map(|known| known.oid)
}

/// The default btree operator class of each type: its oid and name.
const OPERATOR_CLASSES: &[(PgType, u32, &str)] = &[
    (PgType::Bool, 10_003, "bool_ops"),
    (PgType::Bytea, 10_006, "bytea_ops"),
    (PgType::Char, 10_007, "char_ops"),
    (PgType::Name, 10_028, "name_ops"),
    (PgType::Int8, 3_124, "int8_ops"),
    (PgType::Int2, 1_979, "int2_ops"),
    (PgType::Int4, 1_978, "int4_ops"),
    (PgType::Text, 3_126, "text_ops"),
    (PgType::Oid, 1_981, "oid_ops"),
    (PgType::Float4, 10_012, "float4_ops"),
    (PgType::Float8, 3_123, "float8_ops"),
    (PgType::Bpchar, 10_004, "bpchar_ops"),
    (PgType::Date, 3_122, "date_ops"),
    (PgType::Timestamp, 3_128, "timestamp_ops"),
    (PgType::Timestamptz, 3_127, "timestamptz_ops"),
    (PgType::Interval, 10_022, "interval_ops"),
    (PgType::Numeric, 3_125, "numeric_ops"),
    (PgType::Uuid, 10_065, "uuid_ops"),
    (PgType::Jsonb, 10_088, "jsonb_ops"),
];

pub(super) fn operator_class(data_type: PgType) -> u32 {
    // varchar is ordered as text.
    let data_type = if data_type == PgType::Varchar { PgType::Text } else { data_type };
    OPERATOR_CLASSES.iter().find(|(known, ..)| *known == data_type).map_or(0, |(_, oid, _)| *oid)
}

pub(super) fn add(rows: &mut Rows, surroundings: &Surroundings) {
    add_namespaces(rows);
    add_types(rows);
    add_procedures(rows);
    add_methods(rows);
    add_database(rows, surroundings);
    add_role(rows, &surroundings.user);
    add_settings(rows);
}

fn add_namespaces(rows: &mut Rows) {
    for (number, name) in NAMESPACES {
        rows.add("pg_namespace", &[("oid", oid(number)), ("nspname", text(name)), ("nspowner", oid(OWNER))]);
    }
    for (number, name, locale) in
        [(DEFAULT_COLLATION, "default", None), (950, "C", Some("C")), (951, "POSIX", Some("POSIX"))]
    {
        let locale_text = locale.map_or(Datum::Null, text);
        rows.add(
            "pg_collation",
            &[
                ("oid", oid(number)),
                ("collname", text(name)),
                ("collnamespace", oid(PG_CATALOG)),
                ("collowner", oid(OWNER)),
                ("collprovider", letter(if locale.is_some() { 'c' } else { 'd' })),
                ("collisdeterministic", flag(true)),
                ("collencoding", int4(-1)),
                ("collcollate", locale_text.clone()),
                ("collctype", locale_text),
            ],
        );
    }
}

fn add_types(rows: &mut Rows) {
    for known in types() {
        rows.add(
            "pg_type",
            &[
                ("oid", oid(known.oid)),
                ("typname", text(known.words[1])),
                ("typnamespace", oid(PG_CATALOG)),
                ("typowner", oid(OWNER)),
                ("typlen", Datum::Int2(known.words[2].parse().unwrap_or(-1))),
                ("typbyval", flag(known.by_value())),
                ("typtype", text(known.words[4])),
                ("typcategory", text(known.words[5])),
                ("typispreferred", flag(known.words[6] == "t")),
                ("typisdefined", flag(true)),
                ("typdelim", text(known.words[7])),
                ("typsubscript", oid(known.number(8))),
                ("typelem", oid(known.number(9))),
                ("typarray", oid(known.number(10))),
                ("typinput", oid(known.number(11))),
                ("typoutput", oid(known.number(12))),
                ("typreceive", oid(known.number(13))),
                ("typsend", oid(known.number(14))),
                ("typmodin", oid(known.number(15))),
                ("typmodout", oid(known.number(16))),
                ("typalign", text(known.align())),
                ("typstorage", text(known.storage())),
                ("typtypmod", int4(-1)),
                ("typcollation", oid(known.collation())),
            ],
        );
    }
}

fn add_procedures(rows: &mut Rows) {
    for known in procedures() {
        rows.add(
            "pg_proc",
            &[
                ("oid", oid(known.oid)),
                ("proname", text(known.name)),
                ("pronamespace", oid(PG_CATALOG)),
                ("proowner", oid(OWNER)),
                ("prolang", oid(12)),
                ("procost", Datum::Float4(1.0)),
                ("prokind", letter('f')),
                ("proisstrict", flag(known.strict)),
                ("provolatile", text(known.volatility)),
                ("proparallel", letter('s')),
                ("pronargs", int2(known.arguments.len())),
                ("prorettype", oid(known.result)),
                ("proargtypes", oid_array(known.arguments.iter().copied())),
                ("prosrc", text(known.name)),
            ],
        );
    }
    for (number, name, trusted) in [(12, "internal", false), (13, "c", false), (14, "sql", true)] {
        let known = [("oid", oid(number)), ("lanname", text(name)), ("lanowner", oid(OWNER))];
        rows.add("pg_language", &[&known[..], &[("lanpltrusted", flag(trusted))]].concat());
    }
}

fn add_methods(rows: &mut Rows) {
    for (number, name, kind) in [(HEAP, "heap", 't'), (BTREE, "btree", 'i')] {
        rows.add("pg_am", &[("oid", oid(number)), ("amname", text(name)), ("amtype", letter(kind))]);
    }
    for (data_type, number, name) in OPERATOR_CLASSES {
        rows.add(
            "pg_opclass",
            &[
                ("oid", oid(*number)),
                ("opcmethod", oid(BTREE)),
                ("opcname", text(name)),
                ("opcnamespace", oid(PG_CATALOG)),
                ("opcowner", oid(OWNER)),
                ("opcintype", oid(data_type.oid())),
                ("opcdefault", flag(true)),
            ],
        );
    }
    for (number, name) in [(DEFAULT_TABLESPACE, "pg_default"), (1_664, "pg_global")] {
        rows.add("pg_tablespace", &[("oid", oid(number)), ("spcname", text(name)), ("spcowner", oid(OWNER))]);
    }
}

fn add_database(rows: &mut Rows, surroundings: &Surroundings) {
    rows.add(
        "pg_database",
        &[
            ("oid", oid(DATABASE)),
            ("datname", text(&surroundings.database)),
            ("datdba", oid(OWNER)),
            ("encoding", int4(ENCODING)),
            ("datlocprovider", letter('c')),
            ("datallowconn", flag(true)),
            ("datconnlimit", int4(-1)),
            ("dattablespace", oid(DEFAULT_TABLESPACE)),
            ("datcollate", text("C")),
            ("datctype", text("C")),
        ],
    );
}

fn add_role(rows: &mut Rows, user: &str) {
    let role = [
        ("oid", oid(OWNER)),
        ("rolname", text(user)),
        ("rolinherit", flag(true)),
        ("rolcanlogin", flag(true)),
        ("rolconnlimit", int4(-1)),
    ];
    rows.add("pg_authid", &role);
    let shown = [("rolsuper", flag(false)), ("rolcreaterole", flag(false)), ("rolcreatedb", flag(false))];
    let more = [("rolreplication", flag(false)), ("rolbypassrls", flag(false)), ("rolpassword", text("********"))];
    rows.add("pg_roles", &[&role[..], &shown, &more].concat());
    let account = [("usename", text(user)), ("usesysid", oid(OWNER)), ("usecreatedb", flag(false))];
    let more = [("usesuper", flag(false)), ("userepl", flag(false)), ("usebypassrls", flag(false))];
    let masked = [("passwd", text("********"))];
    rows.add("pg_user", &[&account[..], &more, &masked].concat());
    rows.add("information_schema.enabled_roles", &[("role_name", text(user))]);
}

/// Settings that cannot be changed here: a session's own are told by SHOW.
const SETTINGS: &[(&str, &str, &str)] = &[
    ("block_size", "8192", "integer"),
    ("integer_datetimes", "on", "bool"),
    ("lc_collate", "C", "string"),
    ("lc_ctype", "C", "string"),
    ("max_identifier_length", "63", "integer"),
    ("max_index_keys", "32", "integer"),
    ("server_encoding", "UTF8", "string"),
    ("server_version", crate::SERVER_VERSION, "string"),
    ("server_version_num", "150018", "integer"),
    ("standard_conforming_strings", "on", "bool"),
];

fn add_settings(rows: &mut Rows) {
    for (name, value, kind) in SETTINGS {
        rows.add(
            "pg_settings",
            &[
                ("name", text(name)),
                ("setting", text(value)),
                ("context", text("internal")),
                ("vartype", text(kind)),
                ("source", text("default")),
                ("boot_val", text(value)),
                ("reset_val", text(value)),
                ("pending_restart", flag(false)),
            ],
        );
    }
}
