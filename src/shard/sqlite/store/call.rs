//! One statement for one shard, with everything it needs to run there.

use std::sync::{Arc, LazyLock};

use crate::error::Result;
use crate::shard::CancelFlag;
use crate::shard::Formats;
use crate::shard::schema_changed;
use crate::shard::sqlite::{EnvironmentValue, Program};
use crate::topology::Schema;
use crate::types::{Datum, TextStyle};

/// A program and its values.
#[derive(Clone, Debug)]
pub struct Call {
    pub program: Arc<Program>,
    /// The client's parameters, then the lifted literals, in the types of `program.parameters`.
    pub parameters: Arc<[Datum]>,
    pub formats: Formats,
    pub environment: Arc<Environment>,
    pub style: TextStyle,
    pub cancel: CancelFlag,
    /// The schema that the program was translated for. `None`: it is its transaction's own, which nobody else changes.
    pub schema: Option<Arc<Schema>>,
}

impl Call {
    /// # Errors
    /// [`schema_changed`] when the shard's schema is another by now. To be asked where it can change no more: with the
    /// writer held, or in a snapshot.
    pub(super) fn check_schema(&self, current: &Arc<Schema>) -> Result<()> {
        match &self.schema {
            Some(schema) if !Arc::ptr_eq(schema, current) => Err(schema_changed()),
            _ => Ok(()),
        }
    }
}

/// What a statement may learn of its session. Times are microseconds since 2000-01-01 UTC.
#[derive(Clone, Debug)]
pub struct Environment {
    pub transaction_timestamp: i64,
    pub statement_timestamp: i64,
    pub time_zone: Arc<str>,
    pub user: Arc<str>,
    pub database: Arc<str>,
    pub backend_pid: i32,
    pub whereabouts: Arc<Whereabouts>,
}

/// Which server answers, and where it looks names up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// `version()`.
    pub version: String,
    /// `current_schema()`. `None`: the search path names no schema that exists.
    pub schema: Option<String>,
    /// `current_schemas(false)`, as an array's JSON.
    pub schemas: String,
    /// `current_schemas(true)`.
    pub all_schemas: String,
}

impl Whereabouts {
    /// Those of SQLite shards.
    pub fn own() -> Arc<Whereabouts> {
        static OWN: LazyLock<Arc<Whereabouts>> = LazyLock::new(|| {
            Arc::new(Whereabouts {
                version: format!("PostgreSQL {} (shardd {})", crate::SERVER_VERSION, env!("CARGO_PKG_VERSION")),
                schema: Some("public".to_owned()),
                schemas: r#"["public"]"#.to_owned(),
                all_schemas: r#"["pg_catalog","public"]"#.to_owned(),
            })
        });
        Arc::clone(&OWN)
    }
}

impl Environment {
    /// For programs that ask nothing of their session: most.
    pub fn unasked() -> Arc<Environment> {
        static UNASKED: LazyLock<Arc<Environment>> = LazyLock::new(|| {
            Arc::new(Environment {
                transaction_timestamp: 0,
                statement_timestamp: 0,
                time_zone: "UTC".into(),
                user: "".into(),
                database: "".into(),
                backend_pid: 0,
                whereabouts: Whereabouts::own(),
            })
        });
        Arc::clone(&UNASKED)
    }

    pub(super) fn value(&self, asked: EnvironmentValue) -> rusqlite::types::ValueRef<'_> {
        use rusqlite::types::ValueRef::{Integer, Null, Text};
        let Whereabouts { version, schema, schemas, all_schemas } = &*self.whereabouts;
        match asked {
            EnvironmentValue::TransactionTimestamp => Integer(self.transaction_timestamp),
            EnvironmentValue::StatementTimestamp => Integer(self.statement_timestamp),
            EnvironmentValue::TimeZone => Text(self.time_zone.as_bytes()),
            EnvironmentValue::User => Text(self.user.as_bytes()),
            EnvironmentValue::Database => Text(self.database.as_bytes()),
            EnvironmentValue::BackendPid => Integer(i64::from(self.backend_pid)),
            EnvironmentValue::Version => Text(version.as_bytes()),
            EnvironmentValue::Schema => schema.as_ref().map_or(Null, |schema| Text(schema.as_bytes())),
            EnvironmentValue::Schemas => Text(schemas.as_bytes()),
            EnvironmentValue::AllSchemas => Text(all_schemas.as_bytes()),
        }
    }
}
