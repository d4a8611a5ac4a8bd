//! What Postgres does and SQLite shards do not: one list, which the manual prints.

use crate::error::Error;

/// A construct that is refused with 0A000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// As the error names it: "... is not supported by shardd".
    pub construct: &'static str,
    pub hint: &'static str,
}

impl Refusal {
    pub(super) fn error(self) -> Error {
        Error::unsupported(self.construct, self.hint)
    }
}

macro_rules! refusals {
    ($($name:ident = $construct:literal, $hint:literal;)*) => {
        $(pub(super) const $name: Refusal = Refusal { construct: $construct, hint: $hint };)*

        /// All constructs that are refused by name. Functions and operators that are not done are in the catalog's tables.
        pub const REFUSALS: &[Refusal] = &[$($name,)*];
    };
}

refusals! {
    MERGE = "MERGE", "Use INSERT ... ON CONFLICT.";
    TABLESAMPLE = "TABLESAMPLE", "Use ORDER BY random() LIMIT n.";
    WITH_TIES = "DISTINCT ON with WITH TIES of what it does not give", "Add the expressions of ORDER BY to the select list.";
    SELECT_INTO = "SELECT INTO", "Use CREATE TABLE and INSERT ... SELECT.";
    DATA_MODIFYING_WITH = "a data-modifying statement in WITH", "Send the statements one by one in a transaction.";
    WHOLE_ROW = "a whole-row reference", "Name the columns.";
    SYSTEM_COLUMN = "a system column", "Name the table's own columns.";
    ROW_VALUE = "a row value outside a comparison", "Use its columns one by one.";
    FIELD_ACCESS = "access to a field of a composite value", "Use columns or jsonb.";
    COPIED_KEY = "changing the primary key of a reference table that other tables refer to", "Insert the new row, let the others refer to it, then delete the old one.";
    JSON_PATH = "an operator of jsonpath", "Use -> with keys, @> or ?.";
    VECTOR_SLICE = "a slice of an oidvector or int2vector", "Take the elements one by one.";
    SEVERAL_SUBSCRIPTS = "several subscripts of one array", "Arrays have one dimension here; use jsonb for more.";
    IS_JSON = "IS JSON", "Cast to jsonb.";
    NORMALIZED = "IS NORMALIZED", "Normalise text in the application.";
    COLLATION = "a collation other than \"C\"", "Text is compared bytewise, as under COLLATE \"C\".";
    ORDERED_SET = "this aggregate WITHIN GROUP", "Of these there are percentile_cont of numbers, percentile_disc and mode.";
    NESTED_OUTER_AGGREGATE = "an aggregate over the columns of an outer query", "Aggregate in the query that has the columns.";
    AGGREGATE_ORDER = "ORDER BY in this aggregate function", "Order the rows in a subquery.";
    WINDOW_DISTINCT = "DISTINCT in a window function", "Remove duplicates in a subquery.";
    RANGE_OFFSET = "RANGE with an offset", "Use ROWS or GROUPS.";
    NAMED_ARGUMENTS = "an argument given by name", "Give the arguments in order.";
    FUNCTION_IN_FROM = "this function in FROM", "Only generate_series, unnest and the jsonb set-returning functions can stand in FROM.";
    SET_RETURNING = "a set-returning function outside FROM", "Put it in FROM.";
    RETURNING_OTHER = "RETURNING columns of a table other than the one written", "Select them in a statement of their own.";
    UPDATE_ALIAS_COLUMNS = "this kind of target table", "Name one table, with at most an alias.";
    UPDATE_SUBFIELD = "assigning to a part of a column", "Assign the whole column.";
    PARTITIONS = "partitioned tables", "Sharding partitions the table already.";
    TEMPORARY_TABLES = "temporary tables", "Use WITH, or an ordinary table.";
    INHERITANCE = "table inheritance", "Use a table of its own, or a column that tells the kinds apart.";
    CREATE_TABLE_AS = "CREATE TABLE AS", "Use CREATE TABLE and INSERT ... SELECT.";
    CREATE_TABLE_LIKE = "CREATE TABLE ... (LIKE ...)", "Write the columns out.";
    GENERATED_COLUMNS = "generated columns", "Compute the value in the query or in the application.";
    EXCLUSION = "exclusion constraints", "Use a UNIQUE constraint that includes the key column.";
    DEFERRABLE = "deferrable constraints", "Constraints are checked at once.";
    NULLS_NOT_DISTINCT = "NULLS NOT DISTINCT", "Use NOT NULL columns.";
    OPERATOR_CLASS = "an operator class", "Indexes use the type's own order.";
    ALTER_OTHER = "this form of ALTER TABLE", "docs/sql.md lists the forms that are done.";
    ARRAY_COLUMN = "a column of an array type", "Use jsonb, or a table of its own.";
    SEQUENCES = "sequences other than those of serial and identity columns", "Use a serial or identity column.";
}
