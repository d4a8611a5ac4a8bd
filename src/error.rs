//! What a client is told when a statement cannot be answered.
//!
//! Every layer that can fail a statement produces an [`Error`]: a SQLSTATE, a message, and where they help a detail, a
//! hint and a position. The Postgres door renders it as an ErrorResponse, the HTTP door as problem+json. It also says
//! whose fault the failure is and whether a retry is safe, so that no caller has to guess from the text.
//!
//! <https://www.postgresql.org/docs/current/errcodes-appendix.html>

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A five-character SQLSTATE: one of Postgres's, or one that a function on a shard raised.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

macro_rules! sqlstates {
    ($($name:ident = $code:literal;)*) => {
        impl SqlState {
            $(pub const $name: SqlState = SqlState::literal($code);)*
        }
    };
}

sqlstates! {
    SUCCESSFUL_COMPLETION = "00000";
    WARNING = "01000";
    CONNECTION_FAILURE = "08006";
    TRANSACTION_RESOLUTION_UNKNOWN = "08007";
    PROTOCOL_VIOLATION = "08P01";
    FEATURE_NOT_SUPPORTED = "0A000";
    CARDINALITY_VIOLATION = "21000";
    STRING_DATA_RIGHT_TRUNCATION = "22001";
    NUMERIC_VALUE_OUT_OF_RANGE = "22003";
    INVALID_DATETIME_FORMAT = "22007";
    DATETIME_FIELD_OVERFLOW = "22008";
    INVALID_TIME_ZONE_DISPLACEMENT_VALUE = "22009";
    INTERVAL_FIELD_OVERFLOW = "22015";
    SUBSTRING_ERROR = "22011";
    DIVISION_BY_ZERO = "22012";
    INVALID_ESCAPE_SEQUENCE = "22025";
    INVALID_PARAMETER_VALUE = "22023";
    INVALID_ROW_COUNT_IN_LIMIT_CLAUSE = "2201W";
    INVALID_ROW_COUNT_IN_RESULT_OFFSET_CLAUSE = "2201X";
    INVALID_REGULAR_EXPRESSION = "2201B";
    INVALID_ARGUMENT_FOR_LOGARITHM = "2201E";
    INVALID_PRECEDING_OR_FOLLOWING_SIZE = "22013";
    INVALID_ARGUMENT_FOR_NTILE_FUNCTION = "22014";
    INVALID_ARGUMENT_FOR_NTH_VALUE_FUNCTION = "22016";
    INVALID_ARGUMENT_FOR_POWER_FUNCTION = "2201F";
    NULL_VALUE_NOT_ALLOWED = "22004";
    ARRAY_SUBSCRIPT_ERROR = "2202E";
    SEQUENCE_GENERATOR_LIMIT_EXCEEDED = "2200H";
    INVALID_TEXT_REPRESENTATION = "22P02";
    INVALID_BINARY_REPRESENTATION = "22P03";
    BAD_COPY_FILE_FORMAT = "22P04";
    UNTRANSLATABLE_CHARACTER = "22P05";
    CHARACTER_NOT_IN_REPERTOIRE = "22021";
    INTEGRITY_CONSTRAINT_VIOLATION = "23000";
    NOT_NULL_VIOLATION = "23502";
    FOREIGN_KEY_VIOLATION = "23503";
    UNIQUE_VIOLATION = "23505";
    CHECK_VIOLATION = "23514";
    ACTIVE_SQL_TRANSACTION = "25001";
    READ_ONLY_SQL_TRANSACTION = "25006";
    NO_ACTIVE_SQL_TRANSACTION = "25P01";
    IN_FAILED_SQL_TRANSACTION = "25P02";
    IDLE_IN_TRANSACTION_SESSION_TIMEOUT = "25P03";
    INVALID_SQL_STATEMENT_NAME = "26000";
    INVALID_AUTHORIZATION_SPECIFICATION = "28000";
    INVALID_PASSWORD = "28P01";
    DEPENDENT_OBJECTS_STILL_EXIST = "2BP01";
    INVALID_CURSOR_NAME = "34000";
    INVALID_CATALOG_NAME = "3D000";
    INVALID_SCHEMA_NAME = "3F000";
    SAVEPOINT_EXCEPTION = "3B001";
    SERIALIZATION_FAILURE = "40001";
    STATEMENT_COMPLETION_UNKNOWN = "40003";
    DEADLOCK_DETECTED = "40P01";
    INSUFFICIENT_PRIVILEGE = "42501";
    SYNTAX_ERROR = "42601";
    GROUPING_ERROR = "42803";
    DATATYPE_MISMATCH = "42804";
    INVALID_COLUMN_REFERENCE = "42P10";
    INVALID_COLUMN_DEFINITION = "42611";
    INVALID_TABLE_DEFINITION = "42P16";
    INVALID_FOREIGN_KEY = "42830";
    WRONG_OBJECT_TYPE = "42809";
    UNDEFINED_COLUMN = "42703";
    UNDEFINED_FUNCTION = "42883";
    UNDEFINED_TABLE = "42P01";
    UNDEFINED_PARAMETER = "42P02";
    UNDEFINED_OBJECT = "42704";
    DUPLICATE_COLUMN = "42701";
    DUPLICATE_CURSOR = "42P03";
    DUPLICATE_PREPARED_STATEMENT = "42P05";
    DUPLICATE_TABLE = "42P07";
    DUPLICATE_ALIAS = "42712";
    DUPLICATE_OBJECT = "42710";
    AMBIGUOUS_COLUMN = "42702";
    AMBIGUOUS_FUNCTION = "42725";
    AMBIGUOUS_PARAMETER = "42P08";
    GENERATED_ALWAYS = "428C9";
    INDETERMINATE_DATATYPE = "42P18";
    INVALID_OBJECT_DEFINITION = "42P17";
    WINDOWING_ERROR = "42P20";
    INVALID_RECURSION = "42P19";
    CANNOT_COERCE = "42846";
    COLLATION_MISMATCH = "42P21";
    WITH_CHECK_OPTION_VIOLATION = "44000";
    INSUFFICIENT_RESOURCES = "53000";
    DISK_FULL = "53100";
    OUT_OF_MEMORY = "53200";
    TOO_MANY_CONNECTIONS = "53300";
    CONFIGURATION_LIMIT_EXCEEDED = "53400";
    PROGRAM_LIMIT_EXCEEDED = "54000";
    STATEMENT_TOO_COMPLEX = "54001";
    TOO_MANY_COLUMNS = "54011";
    TOO_MANY_ARGUMENTS = "54023";
    OBJECT_NOT_IN_PREREQUISITE_STATE = "55000";
    OBJECT_IN_USE = "55006";
    CANT_CHANGE_RUNTIME_PARAM = "55P02";
    LOCK_NOT_AVAILABLE = "55P03";
    QUERY_CANCELED = "57014";
    ADMIN_SHUTDOWN = "57P01";
    CRASH_SHUTDOWN = "57P02";
    CANNOT_CONNECT_NOW = "57P03";
    IDLE_SESSION_TIMEOUT = "57P05";
    SYSTEM_ERROR = "58000";
    IO_ERROR = "58030";
    INTERNAL_ERROR = "XX000";
    DATA_CORRUPTED = "XX001";
}

impl SqlState {
    const fn literal(code: &str) -> SqlState {
        match code.as_bytes().first_chunk() {
            Some(code) => SqlState(*code),
            None => panic!("an SQLSTATE has five characters"),
        }
    }

    /// The state with this code; `INTERNAL_ERROR` for what is no code: five digits and upper-case letters.
    pub fn from_code(code: &str) -> SqlState {
        match <[u8; 5]>::try_from(code.as_bytes()) {
            Ok(code) if code.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()) => SqlState(code),
            _ => SqlState::INTERNAL_ERROR,
        }
    }

    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }

    /// Whether a notice of this state is a warning: warnings proper; transaction commands out of place; objects in the
    /// wrong state.
    pub fn is_warning(self) -> bool {
        matches!(&self.0[..2], b"01" | b"25" | b"55")
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Who has to act to make the failure go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The statement, its parameters or the client's use of the protocol.
    Client,
    /// shardd itself: a limit, its configuration, or a defect.
    Proxy,
    /// One shard: down, full, corrupt.
    Shard,
}

/// Whether sending the same work again is safe and may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same statement fails the same way.
    Never,
    /// Nothing was executed: the whole transaction can be sent again.
    Safe,
    /// The outcome is unknown: read before writing again.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fields {
    sqlstate: SqlState,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    position: Option<u32>,
    table: Option<String>,
    column: Option<String>,
    constraint: Option<String>,
    /// What else a Postgres shard reported, by the letters of the protocol.
    others: Vec<(u8, String)>,
    fault: Fault,
    retry: Retry,
}

/// A failed statement, as a client is told of it. One pointer wide, so that it is cheap in a `Result`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} ({})", .0.message, .0.sqlstate)]
pub struct Error(Box<Fields>);

impl Error {
    /// An error that is the client's to mend. The message begins in lower case, as Postgres's do.
    pub fn new(sqlstate: SqlState, message: impl Into<String>) -> Error {
        Error(Box::new(Fields {
            sqlstate,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            table: None,
            column: None,
            constraint: None,
            others: Vec::new(),
            fault: Fault::Client,
            retry: Retry::Never,
        }))
    }

    /// 0A000: `construct` is named as the user wrote it ("window functions across shards"); the hint says what to write.
    pub fn unsupported(construct: impl fmt::Display, hint: impl Into<String>) -> Error {
        Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("{construct} is not supported by shardd")).hint(hint)
    }

    /// XX000: a state that the code holds impossible. The message must help whoever reads the report.
    pub fn internal(message: impl Into<String>) -> Error {
        Error::new(SqlState::INTERNAL_ERROR, message)
            .fault(Fault::Proxy)
            .hint("This is a defect in shardd. Please report it with the statement that caused it.")
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Error {
        self.0.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Error {
        self.0.message = message.into();
        self
    }

    #[must_use]
    pub fn with_sqlstate(mut self, sqlstate: SqlState) -> Error {
        self.0.sqlstate = sqlstate;
        self
    }

    /// Says whose fault a shard's own report is, by its class: what its disk, its memory or its end did is the shard's.
    #[must_use]
    pub fn with_fault_of_class(mut self) -> Error {
        if matches!(&self.0.sqlstate.0[..2], b"08" | b"53" | b"57" | b"58" | b"F0" | b"XX")
            && self.0.sqlstate != SqlState::QUERY_CANCELED
        {
            self.0.fault = Fault::Shard;
        }
        if matches!(self.0.sqlstate, SqlState::SERIALIZATION_FAILURE | SqlState::DEADLOCK_DETECTED) {
            self.0.retry = Retry::Safe;
        }
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint = Some(hint.into());
        self
    }

    /// `position`: 1-based, in characters of the statement's text.
    #[must_use]
    pub fn position(mut self, position: u32) -> Error {
        self.0.position = Some(position);
        self
    }

    #[must_use]
    pub fn without_position(mut self) -> Error {
        self.0.position = None;
        self
    }

    #[must_use]
    pub fn table(mut self, table: impl Into<String>) -> Error {
        self.0.table = Some(table.into());
        self
    }

    #[must_use]
    pub fn column(mut self, column: impl Into<String>) -> Error {
        self.0.column = Some(column.into());
        self
    }

    #[must_use]
    pub fn constraint(mut self, constraint: impl Into<String>) -> Error {
        self.0.constraint = Some(constraint.into());
        self
    }

    /// A field of a Postgres shard's report that none of the others holds: where it happened, in which schema.
    #[must_use]
    pub fn other(mut self, letter: u8, value: impl Into<String>) -> Error {
        self.0.others.push((letter, value.into()));
        self
    }

    /// Without the field of this letter.
    #[must_use]
    pub fn without_other(mut self, letter: u8) -> Error {
        self.0.others.retain(|(other, _)| *other != letter);
        self
    }

    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Error {
        self.0.fault = fault;
        self
    }

    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Error {
        self.0.retry = retry;
        self
    }

    pub fn sqlstate(&self) -> SqlState {
        self.0.sqlstate
    }

    pub fn code(&self) -> &str {
        self.0.sqlstate.code()
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn get_detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    pub fn get_hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    pub fn get_position(&self) -> Option<u32> {
        self.0.position
    }

    pub fn get_table(&self) -> Option<&str> {
        self.0.table.as_deref()
    }

    pub fn get_column(&self) -> Option<&str> {
        self.0.column.as_deref()
    }

    pub fn get_constraint(&self) -> Option<&str> {
        self.0.constraint.as_deref()
    }

    pub fn get_others(&self) -> &[(u8, String)] {
        &self.0.others
    }

    pub fn get_fault(&self) -> Fault {
        self.0.fault
    }

    pub fn get_retry(&self) -> Retry {
        self.0.retry
    }
}
