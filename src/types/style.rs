//! What the text of a value depends on besides the value.

/// The settings of a session that show in text.
#[derive(Clone, Debug, Default)]
pub struct TextStyle {}
