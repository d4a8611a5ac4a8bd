//! The settings that shardd knows, and their defaults where no server tells them.

use crate::SERVER_VERSION;

/// The settings that Postgres reports to clients when they change, in its spelling.
pub(super) const REPORTED: &[&str] = &[
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
    "TimeZone",
];

/// Settings of one value, or that a session cannot set.
pub(super) const FIXED: &[(&str, &str)] = &[
    ("in_hot_standby", "off"),
    ("block_size", "8192"),
    ("integer_datetimes", "on"),
    ("is_superuser", "off"),
    ("lc_collate", "C"),
    ("lc_ctype", "C"),
    ("max_identifier_length", "63"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "150018"),
    ("ssl", "off"),
    ("transaction_deferrable", "off"),
    ("wal_level", "replica"),
];

/// What a fresh session has, for the settings that clients may change.
pub(super) const DEFAULTS: &[(&str, &str)] = &[
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("DateStyle", "ISO, MDY"),
    ("default_transaction_deferrable", "off"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("extra_float_digits", "1"),
    ("idle_in_transaction_session_timeout", "0"),
    ("IntervalStyle", "postgres"),
    ("jit", "off"),
    ("lock_timeout", "0"),
    ("role", "none"),
    ("row_security", "on"),
    ("search_path", "\"$user\", public"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("TimeZone", "UTC"),
    ("xmloption", "content"),
];

/// Settings that change no answer of shardd's, with Postgres's defaults: kept and shown, without effect.
pub(super) const HARMLESS: &[(&str, &str)] = &[
    ("backslash_quote", "safe_encoding"),
    ("check_function_bodies", "on"),
    ("cursor_tuple_fraction", "0.1"),
    ("default_table_access_method", "heap"),
    ("default_tablespace", ""),
    ("default_text_search_config", "pg_catalog.english"),
    ("enable_bitmapscan", "on"),
    ("enable_hashagg", "on"),
    ("enable_hashjoin", "on"),
    ("enable_indexonlyscan", "on"),
    ("enable_indexscan", "on"),
    ("enable_material", "on"),
    ("enable_mergejoin", "on"),
    ("enable_nestloop", "on"),
    ("enable_seqscan", "on"),
    ("enable_sort", "on"),
    ("escape_string_warning", "on"),
    ("geqo", "on"),
    ("idle_session_timeout", "0"),
    ("lc_messages", "C"),
    ("lc_monetary", "C"),
    ("lc_numeric", "C"),
    ("lc_time", "C"),
    ("maintenance_work_mem", "64MB"),
    ("max_parallel_workers_per_gather", "2"),
    ("password_encryption", "scram-sha-256"),
    ("plan_cache_mode", "auto"),
    ("quote_all_identifiers", "off"),
    ("ssl_renegotiation_limit", "0"),
    ("synchronize_seqscans", "on"),
    ("synchronous_commit", "on"),
    ("temp_buffers", "8MB"),
    ("transaction_timeout", "0"),
    ("work_mem", "4MB"),
];

/// Settings that decide how a shard writes values, in lower case.
pub(in crate::engine) const WRITES_VALUES: &[&str] =
    &["bytea_output", "datestyle", "extra_float_digits", "intervalstyle", "timezone"];

/// Settings that shardd follows itself.
pub(super) const KEPT_HERE: &[&str] =
    &["client_encoding", "client_min_messages", "idle_in_transaction_session_timeout", "statement_timeout"];

/// Settings that belong to shardd alone even where a server could tell them.
pub(super) const NEVER_A_SERVERS: &[&str] = &["application_name", "client_encoding", "session_authorization"];

/// Settings whose values are read here as Postgres reads them; any other is given to a shard to look at.
pub(super) const READ_HERE: &[&str] = &[
    "application_name",
    "client_encoding",
    "client_min_messages",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "lock_timeout",
    "search_path",
    "standard_conforming_strings",
    "statement_timeout",
];

/// Settings that RESET ALL leaves as they are.
pub(super) const NOT_RESET_WITH_ALL: &[&str] = &["role", "session_authorization"];
