//! The vocabulary: ids, keys, Postgres's types and their values. No IO, no clock, no randomness.
//!
//! A value crosses the house as a [`Datum`]. Its text and binary formats are those of Postgres itself.

mod array;
mod binary_format;
mod calendar;
mod cast;
mod compare;
pub mod datetime;
mod datum;
mod ids;
mod interval;
pub mod json;
mod key;
mod modifier;
mod numeric;
mod pg_type;
#[cfg(test)]
mod properties;
pub mod scalar;
mod style;
mod text_format;
mod zone;

pub use cast::out_of_range;
pub use datum::{Datum, Format};
pub use ids::{Epoch, SLOTS, ShardId, Slot};
pub use interval::Interval;
pub use key::{Key, KeyType};
pub use modifier::{apply_modifier, numeric_precision};
pub(crate) use numeric::write_text_as_binary as write_numeric_text_as_binary;
pub use numeric::{Numeric, compare_texts as compare_numeric_texts};
pub use pg_type::PgType;
pub use style::TextStyle;
pub use zone::Zone;
