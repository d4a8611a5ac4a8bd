//! What a server tells while a transaction ends: notices of deferred triggers, which run at its COMMIT or PREPARE.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::Error;

/// The notices of one transaction's end. Whoever ends it may give it away, and read them afterwards.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Mutex<Vec<Error>>>);

/// Where nobody asks for them, they are dropped.
pub(super) fn tell(told: Option<&Told>, notices: &mut Vec<Error>) {
    if let Some(Told(kept)) = told.filter(|_| !notices.is_empty()) {
        kept.lock().append(notices);
    }
}

impl Told {
    /// What was told until now, once.
    pub fn take(&self) -> Vec<Error> {
        std::mem::take(&mut *self.0.lock())
    }
}
