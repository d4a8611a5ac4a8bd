//! Statements whose answers Postgres 15 gave, translated and run on SQLite.
//!
//! `answers.txt` holds a session over the ticket schema, `reads.txt` more reads of it, `described.txt` result columns: a line that begins with `>` is a
//! statement, those with `|` are its rows or columns, and `!` is the SQLSTATE it ends with. Both were written by psql against
//! a real server (locale C, time zone UTC, `now()` being 2025-12-31).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::Value;

use super::{ParameterTypes, change, translate};
use crate::error::{Error, Result, SqlState};
use crate::shard::sqlite::{EnvironmentValue, Program, functions, storage};
use crate::sql::{Tree, ast};
use crate::topology::{Keyspace, Schema};
use crate::types::{Datum, KeyType, PgType, TextStyle};

/// 2025-12-31 00:00 UTC.
const NOW: i64 = 820_454_400_000_000;

struct Shard {
    connection: Connection,
    schema: Schema,
    keyspaces: [Arc<Keyspace>; 1],
}

impl Shard {
    fn new() -> Shard {
        let connection = Connection::open_in_memory().unwrap();
        functions::register(&connection).unwrap();
        for (setting, on) in
            [(DbConfig::SQLITE_DBCONFIG_DQS_DML, false), (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)]
        {
            connection.set_db_config(setting, on).unwrap();
        }
        let bookkeeping = "CREATE TABLE shardd_table (name TEXT PRIMARY KEY, definition TEXT NOT NULL);
            CREATE TABLE shardd_sequence (table_name TEXT, column_name TEXT, next INTEGER, step INTEGER)";
        connection.execute_batch(bookkeeping).unwrap();
        let next = AtomicI64::new(1);
        let next_id = move |_: &rusqlite::functions::Context<'_>| Ok(next.fetch_add(1, Ordering::Relaxed));
        connection.create_scalar_function("pg_next_id", 2, FunctionFlags::SQLITE_UTF8, next_id).unwrap();
        let keyspace = Keyspace {
            name: "main".to_owned(),
            key_column: "event_id".to_owned(),
            key_type: KeyType::Bigint,
            key_columns: Vec::new(),
            shards: Vec::new(),
            owners: Box::default(),
            strays: Vec::new(),
            held: crate::topology::SlotSet::default(),
        };
        Shard { connection, schema: Schema::default(), keyspaces: [Arc::new(keyspace)] }
    }

    fn program(&self, text: &str) -> Result<Option<Program>> {
        let client_parameters = (1..20).take_while(|number| text.contains(&format!("${number}"))).count();
        let parsed = crate::sql::parse(text, client_parameters, Vec::new())?;
        if let Some(hidden) = parsed.hidden {
            return Err(hidden.refusal);
        }
        let Tree::Sql(tree) = parsed.tree else { panic!("{text} is for the session") };
        match *tree {
            ast::Statement::Query(_)
            | ast::Statement::Insert(_)
            | ast::Statement::Update(_)
            | ast::Statement::Delete(_) => {
                let known = ParameterTypes { declared: &[], client_parameters, lifted: &[], text, overriding: None };
                translate(&tree, &self.schema, known).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Runs a statement: its rows as psql shows them.
    fn run(&mut self, text: &str) -> Result<Vec<String>> {
        match self.program(text)? {
            Some(program) => self.rows(&program, &[]),
            None => self.change(text).map(|()| Vec::new()),
        }
    }

    fn change(&mut self, text: &str) -> Result<()> {
        let parsed = crate::sql::parse(text, 0, Vec::new())?;
        let Tree::Sql(tree) = parsed.tree else { panic!("{text} is for the session") };
        let change = change(&tree, &self.schema, &self.keyspaces, NOW)?;
        // As the store does, so that rebuilding a table does not empty those that refer to it.
        self.connection.pragma_update(None, "foreign_keys", false).unwrap();
        let transaction = self.connection.transaction().unwrap();
        for statement in &change.statements {
            transaction.execute_batch(statement).map_err(|error| told(&error))?;
        }
        transaction.commit().unwrap();
        self.connection.pragma_update(None, "foreign_keys", true).unwrap();
        self.schema = change.schema;
        Ok(())
    }

    fn rows(&self, program: &Program, parameters: &[&str]) -> Result<Vec<String>> {
        let mut statement = self.connection.prepare(&program.sql).map_err(|error| told(&error))?;
        let style = TextStyle::default();
        for (index, (data_type, text)) in program.parameters.iter().zip(parameters).enumerate() {
            let datum = Datum::from_text(*data_type, text, &style)?;
            statement.raw_bind_parameter(index + 1, storage::to_sqlite(&datum)?).unwrap();
        }
        for (index, value) in program.environment.iter().enumerate() {
            let value = match value {
                EnvironmentValue::TransactionTimestamp | EnvironmentValue::StatementTimestamp => Value::Integer(NOW),
                EnvironmentValue::TimeZone => Value::Text("UTC".to_owned()),
                EnvironmentValue::User => Value::Text("postgres".to_owned()),
                EnvironmentValue::Database => Value::Text("probe".to_owned()),
                EnvironmentValue::BackendPid => Value::Integer(7),
                EnvironmentValue::Version => Value::Text("PostgreSQL 15".to_owned()),
                EnvironmentValue::Schema => Value::Text("public".to_owned()),
                EnvironmentValue::Schemas => Value::Text(r#"["public"]"#.to_owned()),
                EnvironmentValue::AllSchemas => Value::Text(r#"["pg_catalog","public"]"#.to_owned()),
            };
            statement.raw_bind_parameter(program.parameters.len() + index + 1, value).unwrap();
        }
        let mut found = Vec::new();
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(|error| told(&error))? {
            let mut cells = Vec::new();
            for (index, column) in program.columns.iter().enumerate() {
                let datum = storage::from_sqlite(row.get_ref(index).unwrap(), column.data_type)?;
                cells.push(datum.to_text(&style).unwrap_or_default());
            }
            found.push(cells.join("|"));
        }
        Ok(found)
    }
}

fn told(error: &rusqlite::Error) -> Error {
    functions::raised(error).unwrap_or_else(|| Error::new(SqlState::INTERNAL_ERROR, error.to_string()))
}

/// A statement and what Postgres answered.
struct Case<'f> {
    statement: &'f str,
    answer: Result<Vec<&'f str>, &'f str>,
}

fn cases(file: &str) -> Vec<Case<'_>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    for line in file.lines() {
        let (mark, rest) = line.split_at(2);
        match (mark, cases.last_mut()) {
            ("> ", _) => cases.push(Case { statement: rest, answer: Ok(Vec::new()) }),
            ("| ", Some(Case { answer: Ok(rows), .. })) => rows.push(rest),
            ("! ", Some(case)) => case.answer = Err(rest),
            _ => panic!("{line}"),
        }
    }
    cases
}

fn compare(case: &Case<'_>, found: Result<Vec<String>>, differences: &mut Vec<String>) {
    let same = match (&case.answer, &found) {
        (Ok(expected), Ok(found)) => expected.iter().eq(found.iter()),
        (Err(expected), Err(error)) => error.sqlstate().code() == *expected,
        _ => false,
    };
    if !same {
        differences.push(format!("{}\n  expected {:?}\n  found    {found:?}", case.statement, case.answer));
    }
}

#[test]
fn a_session_over_the_ticket_schema_is_answered_as_by_postgres() {
    let mut shard = Shard::new();
    let mut differences = Vec::new();
    for case in cases(include_str!("answers.txt")) {
        let found = shard.run(case.statement);
        compare(&case, found, &mut differences);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Grouping sets, LATERAL, set operations and what else SQLite has no word for.
#[test]
fn reads_that_sqlite_does_not_know_are_answered_as_by_postgres() {
    let mut shard = Shard::new();
    let mut differences = Vec::new();
    for case in cases(include_str!("reads.txt")) {
        let found = shard.run(case.statement);
        // A line of the file is a row.
        let found = found.map(|rows| rows.into_iter().map(|row| row.replace('\n', "\\n")).collect());
        compare(&case, found, &mut differences);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn columns_and_errors_are_described_as_by_postgres() {
    let mut shard = Shard::new();
    for case in cases(include_str!("answers.txt")).iter().take_while(|case| case.statement.starts_with("CREATE")) {
        shard.run(case.statement).unwrap();
    }
    let mut differences = Vec::new();
    for case in cases(include_str!("described.txt")) {
        let described = shard.program(case.statement).map(|program| {
            let columns = program.map(|program| program.columns).unwrap_or_default();
            columns.iter().map(|column| format!("{} {}", column.name, column.data_type)).collect()
        });
        compare(&case, described, &mut differences);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn every_described_query_is_one_that_sqlite_can_prepare() {
    let mut shard = Shard::new();
    for case in cases(include_str!("answers.txt")).iter().take_while(|case| case.statement.starts_with("CREATE")) {
        shard.run(case.statement).unwrap();
    }
    for case in cases(include_str!("described.txt")) {
        if let Ok(Some(program)) = shard.program(case.statement) {
            let prepared = shard.connection.prepare(&program.sql);
            assert!(prepared.is_ok(), "{}\n{}\n{:?}", case.statement, program.sql, prepared.err());
        }
    }
}

#[test]
fn the_hold_takes_free_and_expired_seats_by_parameters() {
    let mut shard = Shard::new();
    for case in cases(include_str!("answers.txt")).iter().take_while(|case| !case.statement.starts_with("SELECT")) {
        shard.run(case.statement).unwrap();
    }
    let hold = "UPDATE seats SET status='held', hold_id=$2, hold_expires_at=now()+interval '5 minutes' \
                WHERE event_id=$1 AND seat_id=ANY($3) AND (status='free' OR (status='held' AND hold_expires_at<now())) \
                RETURNING seat_id, price";
    let program = shard.program(hold).unwrap().unwrap();
    assert_eq!(program.parameters, [PgType::Int8, PgType::Uuid, PgType::Int4Array]);
    let parameters = ["2", "5f0c3c3e-1111-2222-3333-444455556666", "{1,2,3}"];
    assert_eq!(shard.rows(&program, &parameters).unwrap(), ["2|", "3|1.10"]);
    assert!(shard.rows(&program, &parameters).unwrap().is_empty());
}

#[test]
fn a_whole_key_makes_a_point_read() {
    let mut shard = Shard::new();
    for case in cases(include_str!("answers.txt")).iter().take_while(|case| case.statement.starts_with("CREATE")) {
        shard.run(case.statement).unwrap();
    }
    let is_point_read = |text: &str| shard.program(text).unwrap().unwrap().point_read;
    assert!(is_point_read("SELECT * FROM seats WHERE event_id = $1 AND seat_id = 2 AND status = 'free'"));
    assert!(is_point_read("SELECT name FROM events e WHERE (e.event_id) = $1::bigint"));
    assert!(!is_point_read("SELECT * FROM seats WHERE event_id = $1"));
    assert!(!is_point_read("SELECT * FROM seats WHERE event_id = $1 OR seat_id = 2"));
    assert!(!is_point_read("SELECT count(*) FROM seats WHERE event_id = $1 AND seat_id = 2"));
    assert!(!is_point_read("SELECT 1 FROM seats s, events e WHERE s.event_id = 1 AND s.seat_id = 2"));
}

#[test]
fn lifted_literals_have_the_types_that_they_would_have_in_the_text() {
    use crate::sql::LiteralKind;
    let mut shard = Shard::new();
    for case in cases(include_str!("answers.txt")).iter().take_while(|case| case.statement.starts_with("CREATE")) {
        shard.run(case.statement).unwrap();
    }
    let text = "SELECT seat_id FROM seats WHERE event_id = $2 AND price > $3 AND status = $4 AND seat_id = $1";
    let parsed = crate::sql::parse(text, 1, Vec::new()).unwrap();
    let Tree::Sql(tree) = parsed.tree else { panic!("not SQL") };
    let lifted = [LiteralKind::Int4, LiteralKind::Numeric, LiteralKind::Text];
    let known = ParameterTypes { declared: &[], client_parameters: 1, lifted: &lifted, text, overriding: None };
    let program = translate(&tree, &shard.schema, known).unwrap();
    assert_eq!(program.parameters, [PgType::Int4, PgType::Int4, PgType::Numeric, PgType::Text]);
}
