//! What the text of a value depends on besides the value.

use super::zone::Zone;

/// The settings of a session that show in text. The default is UTC, with no clock.
#[derive(Clone, Debug, Default)]
pub struct TextStyle {
    /// Timestamps with time zone are shown in it, and read in it where the text names no offset.
    pub zone: Zone,
    /// The transaction's time in microseconds since 2000-01-01 UTC, for the inputs `now`, `today`, `tomorrow` and
    /// `yesterday`, which are refused without it.
    pub now: Option<i64>,
}
