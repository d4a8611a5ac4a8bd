//! Text to tree: the lexer that lifts literals out, the parser's limits, and what a statement is.
//!
//! A client's text is first read by a lexer that replaces its literals by placeholders (numbered after the client's
//! own `$n`), so that texts that differ only in inline values share one parsed, planned and translated statement.

mod changes;
mod check;
mod clauses;
mod clock;
mod collated;
mod copy;
mod cursor;
mod hidden;
mod kept;
mod layout;
mod lexer;
mod lift;
mod local;
mod name;
mod outer;
mod own_rows;
mod parse;
mod precedence;
mod qualifier;
mod sequence;
mod source_text;
mod spelling;
mod splice;
mod split;
mod stack;
mod stand_in;
mod symmetric;
mod template;
mod tokens;
mod value;
mod walk;

use std::sync::Arc;

pub use changes::Concurrent;
pub use clauses::{
    InsertClauses, MergeClauses, Overriding, WriteClauses, WrittenWith, insert_clauses, insert_of_rows, merge_clauses,
    overriding, query_of_definition, returning_clause, with_more_returned, write_clauses, written_with,
};
pub use clock::{at_moment, is_clock};
pub use copy::{Copy, CopyWay};
pub use kept::Direction;
pub use lexer::{Lexer, MAX_TEXT_BYTES, Token, TokenKind, position, syntax_error_at};
pub use lift::{Lifted, Literal, MAX_LIFTED, MAX_PARAMETERS, lift, put_literals_back};
pub use local::{AdvisoryLock, Discard, Isolation, Local, SettingCall};
pub use name::{fold, function_name, ident, name_parts, placeholder_number, quote_identifier};
pub use own_rows::{KeyColumn, Place, all_conditions, with_conditions};
pub use parse::{Derived, parse, parse_expression, parse_query, position_of};
pub use qualifier::without_schema;
pub use sequence::{SequenceCall, SetvalParts, named_by_call, sequence_call, setval_parts, with_values_in};
pub use source_text::{SourceText, is_text_of};
pub use splice::spliced;
pub use split::split;
pub use sqlparser::ast;
pub use sqlparser::tokenizer::Span;
pub use stack::{with_deep_stack, with_stack};
pub use stand_in::attached_partition;
pub use template::Template;
pub use value::{MAX_NAME_BYTES, cut_name, fold_name, integer_value, quoted_word_value, string_value};
pub use walk::{Visitor, VisitorMut, names_relation, walk, walk_expressions, walk_expressions_mut, walk_mut};

/// One statement of a client's text, parsed. Cached and shared: it holds no values.
#[derive(Debug)]
pub struct Parsed {
    /// The text that `tree` was parsed from: the client's, with `$n` in place of the lifted literals.
    pub text: Arc<str>,
    pub tree: Tree,
    /// The client's own parameters: the highest `$n` that it wrote.
    pub client_parameters: usize,
    /// What the placeholders after the client's own stand for: `$client_parameters + 1` is `lifted[0]`.
    pub lifted: Vec<LiteralKind>,
    /// What an INSERT says of values for identity columns, for which the tree has no place.
    pub overriding: Option<Overriding>,
    /// The tree may be so deep that an ordinary thread's stack is too small to work on it: see [`with_deep_stack`].
    pub deep: bool,
    /// What the text means and `tree` does not show, if anything: see [`Hidden`].
    pub hidden: Option<Hidden>,
}

/// A construct of a text that its tree does not show: which tables, columns and functions the statement names is right in the
/// tree, but a text that is printed from it means something else.
#[derive(Clone, Debug)]
pub struct Hidden {
    /// Why the statement cannot run where its tree is translated or printed.
    pub refusal: crate::error::Error,
    /// Where its rows are brought to one place it would mean something else.
    pub on_one_shard: bool,
    /// It is another thing each time it runs.
    pub is_random: bool,
    /// It is for the row on which this cursor stands, and the tree's is for every row.
    pub current_of: Option<String>,
}

impl Parsed {
    /// The cursor whose row is written: `WHERE CURRENT OF name`.
    pub fn current_of(&self) -> Option<&str> {
        self.hidden.as_ref()?.current_of.as_deref()
    }
}

/// What a text was read as.
#[derive(Debug)]
pub enum Tree {
    /// For the shards.
    Sql(Box<ast::Statement>),
    /// For the session.
    Local(Local),
}

/// The type that Postgres gives a literal before it looks at the context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LiteralKind {
    Int4,
    Int8,
    Numeric,
    /// A quoted string: `unknown` until its context gives it a type.
    Text,
}
