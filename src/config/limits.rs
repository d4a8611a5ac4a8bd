//! Every bound that an operator may set, with its unit in its name.
//!
//! One list makes the structure, the file's section, the environment's names, the reference and the checks, so that a limit
//! cannot exist in one of them only.

/// What a setting is called, what it is when nobody sets it, and what it means. For the reference and for `config show`.
#[derive(Clone, Copy, Debug)]
pub struct LimitSetting {
    pub name: &'static str,
    pub default: u64,
    pub least: u64,
    pub most: u64,
    pub meaning: &'static str,
}

/// Makes a section of numbers: the values, the section as it is written, and the list of its settings.
macro_rules! bounds {
    (
        $(#[doc = $about:literal])* $Bounds:ident, $BoundsFile:ident, $SETTINGS:ident:
        $($name:ident = $default:expr, $least:literal ..= $most:expr, $meaning:literal;)*
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
        pub struct $Bounds {
            $(#[doc = $meaning] pub $name: u64,)*
        }

        /// The section as it is written.
        #[derive(Default, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $BoundsFile {
            $(pub(super) $name: Option<u64>,)*
        }

        /// All of the section's settings, in the order of the reference.
        pub const $SETTINGS: &[LimitSetting] = &[
            $(LimitSetting {
                name: stringify!($name), default: $default, least: $least, most: $most, meaning: $meaning,
            },)*
        ];

        impl Default for $Bounds {
            fn default() -> $Bounds {
                $Bounds { $($name: $default,)* }
            }
        }

        impl $Bounds {
            /// The value of the setting of this name, as in the list.
            pub fn get(&self, name: &str) -> Option<u64> {
                match name {
                    $(stringify!($name) => Some(self.$name),)*
                    _ => None,
                }
            }
        }

        impl $BoundsFile {
            pub(super) fn set(&mut self, name: &str, value: u64) {
                match name {
                    $(stringify!($name) => self.$name = Some(value),)*
                    _ => {}
                }
            }

            /// The values, and the settings that are out of range.
            pub(super) fn validated(&self) -> ($Bounds, Vec<&'static LimitSetting>) {
                let bounds = $Bounds { $($name: self.$name.unwrap_or($default),)* };
                let out_of_range = $SETTINGS.iter().filter(|setting| {
                    bounds.get(setting.name).is_some_and(|value| value < setting.least || value > setting.most)
                });
                let out_of_range = out_of_range.collect();
                (bounds, out_of_range)
            }
        }
    };
}

const MIB: u64 = 1024 * 1024;
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

bounds! {
    /// The bounds of one server.
    Limits, LimitsFile, LIMIT_SETTINGS:
    max_clients = 1_000, 1..=100_000,
        "Connections to the Postgres door. One more is refused with 53300.";
    login_timeout_ms = 10_000, 100..=DAY_MS,
        "From a client's connection to the Postgres door to the end of its authentication.";
    auth_query_timeout_ms = 2_000, 50..=DAY_MS,
        "How long one shard may take to answer the auth_query. Past it the next is asked.";
    auth_query_keep_ms = MINUTE_MS, 0..=DAY_MS,
        "How old an answer to the auth_query may be that is used when no shard answers. 0 uses none.";
    auth_query_max_clients = 0, 0..=100_000,
        "Connections of each user whom the auth_query finds. One more is refused with 53300. 0: only limits.max_clients holds.";
    max_message_bytes = 64 * MIB, 65_536..=1024 * MIB,
        "One message of the Postgres protocol. A longer one ends its connection before memory is taken.";
    statement_timeout_ms = 0, 0..=DAY_MS,
        "One statement, unless its session sets statement_timeout; 57014 past it. 0 is no limit.";
    idle_in_transaction_timeout_ms = MINUTE_MS, 0..=DAY_MS,
        "An open transaction whose client sends nothing; 25P03 past it. It may hold a shard's only writer. 0 is no limit.";
    idle_session_timeout_ms = 0, 0..=DAY_MS,
        "A client that keeps connections to Postgres shards (of the session listener, or with an advisory lock) and sends nothing \
         between its transactions; 57P05 past it. 0 is no limit.";
    max_http_connections = 10_000, 1..=100_000,
        "Connections to the HTTP door. One more is answered 503 and closed.";
    max_http_requests = 1_000, 1..=100_000,
        "Requests of the HTTP door that run at the same time. One more is answered 503.";
    http_head_timeout_ms = MINUTE_MS, 100..=DAY_MS,
        "For an HTTP request's head to arrive, and for a connection to stay idle.";
    http_body_timeout_ms = 30_000, 100..=DAY_MS,
        "For an HTTP request's body to arrive.";
    http_request_timeout_ms = 30_000, 100..=DAY_MS,
        "For an HTTP request's statements.";
    http_body_max_bytes = 8 * MIB, 1_024..=1024 * MIB,
        "A JSON body of the HTTP door. A longer one is answered 413.";
    http_result_max_bytes = 16 * MIB, 1_024..=1024 * MIB,
        "What one statement of POST /v1/sql may answer.";
    http_result_max_rows = 10_000, 1..=10_000_000,
        "Rows that one statement of POST /v1/sql may answer.";
    http_idempotency_keep_ms = DAY_MS, 1_000..=2_592_000_000,
        "How long the answer to an Idempotency-Key is kept.";
    kv_value_max_bytes = MIB, 1..=256 * MIB,
        "One value of the HTTP key-value door. A longer one is answered 413.";
    queue_wait_ms = 5_000, 1..=DAY_MS,
        "How long a statement waits for its turn on a shard; 55P03 or 53300 past it.";
    lock_wait_ms = 5_000, 1..=DAY_MS,
        "How long a statement waits for another's change of the schema; 55P03 past it.";
    deadlock_wait_ms = 10_000, 1_000..=DAY_MS,
        "How long a transaction over several Postgres shards waits for a lock; 40P01 past it. A circle that is seen ends sooner.";
    resolve_after_ms = 10_000, 500..=DAY_MS,
        "How old a prepared transaction on a Postgres shard is that another instance, or one that crashed, seems not to finish.";
    move_hold_ms = 1_000, 1..=MINUTE_MS,
        "How long a statement waits while the rows that it needs change their shard; 40001 past it.";
    move_held_statements = 1_000, 0..=1_000_000,
        "Statements that wait so. One more fails with 40001.";
    write_queue_statements = 8_192, 1..=1_000_000,
        "Writes that wait for one shard's writer. One more is refused with 53300.";
    readers_per_shard = 0, 0..=256,
        "Connections that read from one SQLite shard. 0 is twice the number of cores, from 4 to 16.";
    replica_max_lag_ms = 10_000, 200..=DAY_MS,
        "How old what a shard's replica shows may be that is read there. Past it the shard's own server is read.";
    merge_max_bytes = 64 * MIB, 65_536..=65_536 * MIB,
        "Memory that one statement may take to put the rows of several shards together; 53400 past it.";
    gather_max_bytes = 256 * MIB, 65_536..=65_536 * MIB,
        "Rows that may be brought to one place for a read that no merge can answer; 54000 past it.";
    cursors_max_bytes = 1024 * MIB, 65_536..=65_536 * MIB,
        "Rows of cursors that are kept here, of all sessions together; 53200 past it. Those of one session are bounded by gather_max_bytes.";
    worker_threads = 0, 0 ..= 1_024,
        "Threads that serve the Postgres door's clients. 0 is the number of cores for SQLite shards, half of it for Postgres shards.";
    plan_cache_statements = 4_096, 1..=1_000_000,
        "Statements whose plan is kept.";
    prepared_statements_per_session = 10_000, 1..=1_000_000,
        "Named prepared statements of one session; 53400 past it.";
    shutdown_grace_ms = 10_000, 0..=DAY_MS,
        "From the order to stop until what is unfinished is cut off.";
}

bounds! {
    /// The connections to each Postgres shard.
    PoolSettings, PoolFile, POOL_SETTINGS:
    size = 20, 1..=10_000,
        "Connections to one Postgres shard at most. Its server needs room for as many from every shardd, and for a few more.";
    minimum = 0, 0..=10_000,
        "Connections to one shard that are opened before anybody asks, and kept though nobody uses them.";
    queue_clients = 1_000, 0..=100_000,
        "Clients that wait for a connection to one shard. One more is refused with 53300.";
    checkout_deadline_ms = 5_000, 1..=DAY_MS,
        "How long a statement waits for a connection; 57014 past it.";
    connect_timeout_ms = 3_000, 10..=DAY_MS,
        "For a connection to be made and logged in. connect_timeout in a shard's URL may say less.";
    max_lifetime_ms = 60 * MINUTE_MS, 0..=30 * DAY_MS,
        "A connection is not given out again after this, give or take a tenth. 0 is no limit.";
    idle_timeout_ms = 10 * MINUTE_MS, 0..=30 * DAY_MS,
        "A connection that nobody used for so long is closed, down to the minimum. 0 is no limit.";
}
