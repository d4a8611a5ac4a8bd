//! The vocabulary: ids, keys, Postgres's types and their values. No IO, no clock, no randomness.
//!
//! A value crosses the house as a [`Datum`]. Its text and binary formats are those of Postgres itself.

mod datum;
mod ids;
mod interval;
mod key;
mod numeric;
mod pg_type;
mod style;

pub use datum::{Datum, Format};
pub use ids::{Epoch, SLOTS, ShardId, Slot};
pub use interval::Interval;
pub use key::{Key, KeyType};
pub use numeric::Numeric;
pub use pg_type::PgType;
pub use style::TextStyle;
