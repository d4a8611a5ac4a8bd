//! Postgres's numeric: exact decimals with a display scale.

#[derive(Clone, Debug, PartialEq)]
pub struct Numeric;
