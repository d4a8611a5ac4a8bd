//! BEGIN and COMMIT without a statement around them.
//!
//! Most transactions begin in the session alone and end on one Postgres shard, whose answer to COMMIT is what the client is
//! told. Whatever is not so is left to [`Session::execute`](Session::execute), which also takes up a COMMIT that was sent and
//! did not end well at once.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::pass_through::Counted;
use super::recording::RanOn;
use super::session::Session;
use super::statement::Prepared;
use super::transaction::{Opened, Transaction};
use crate::metrics::{Kind, Outcome};
use crate::plan::{Isolation, Local, Plan};
use crate::shard::postgres::{self, Looked};
use crate::shard::{ShardKind, ShardTransaction};

/// A statement that may be answered at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    Begin { tag: &'static str, isolation: Option<Isolation>, read_only: Option<bool> },
    Commit,
}

impl Control {
    /// What a simple query asks for, in the form that drivers send.
    pub fn of_text(text: &[u8]) -> Option<Control> {
        let text = text.trim_ascii();
        let word = text.strip_suffix(b";").unwrap_or(text).trim_ascii_end();
        match word.len() {
            5 if word.eq_ignore_ascii_case(b"begin") => {
                Some(Control::Begin { tag: "BEGIN", isolation: None, read_only: None })
            }
            6 if word.eq_ignore_ascii_case(b"commit") => Some(Control::Commit),
            _ => None,
        }
    }

    /// What a prepared statement asks for.
    pub fn of(prepared: &Prepared) -> Option<Control> {
        let Plan::Local(local) = &prepared.statement.plan else { return None };
        match **local {
            Local::Begin { tag, isolation, read_only } => Some(Control::Begin { tag, isolation, read_only }),
            Local::Commit { chain: false } => Some(Control::Commit),
            _ => None,
        }
    }
}

/// How a COMMIT goes.
#[derive(Debug)]
pub enum Ending {
    /// No shard had begun: it is done.
    Done,
    Sent(Commit),
}

/// A COMMIT on its way to the one shard of its transaction.
#[derive(Debug)]
pub struct Commit {
    passing: postgres::PassThrough,
    counted: Counted,
}

impl Commit {
    /// Ready once the answer can be passed on, or has to be taken apart.
    #[inline]
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Looked> {
        self.passing.poll(context)
    }

    /// The frames that have come.
    pub fn answer(&self) -> &[u8] {
        self.passing.answer()
    }
}

impl Session {
    /// Begins a transaction, where there is nothing to say about it. Whether it did.
    pub fn begin_at_once(&mut self, isolation: Option<Isolation>, read_only: Option<bool>) -> bool {
        if self.engine.kind != ShardKind::Postgres || self.transaction.is_some() || !self.has_nothing_to_tell() {
            return false;
        }
        self.begin_numbers();
        let mut transaction = self.new_transaction(Opened::Client);
        if transaction.set(isolation, read_only).is_err() {
            return false;
        }
        self.transaction = Some(transaction);
        self.count_at_once();
        true
    }

    /// Sends COMMIT, where one shard at the most took part and nothing else ends with the transaction. `None`: nothing was
    /// done. `now`: when it was asked for.
    pub fn commit_at_once(&mut self, now: Instant) -> Option<Ending> {
        if !self.has_nothing_to_tell() {
            return None;
        }
        let counted = Counted::new(self.engine.metrics_of(RanOn::Nowhere), self.engine.in_flight(self.door), now);
        let transaction = self.transaction.as_mut().filter(|transaction| ends_simply(transaction))?;
        let sent = match transaction.participants.as_mut_slice() {
            [] => None,
            [only] => match only.transaction.postgres().ok()? {
                unused if unused.is_unused() => None,
                begun => Some(begun.commit_at_once()?),
            },
            _ => return None,
        };
        Some(match sent {
            None => {
                if let Some(mut transaction) = self.transaction.take() {
                    transaction.leave_unused();
                }
                self.count_at_once();
                Ending::Done
            }
            Some(passing) => {
                self.cancel.clear();
                Ending::Sent(Commit { passing, counted })
            }
        })
    }

    /// After the shard's whole answer was passed on, now.
    pub fn committed(&mut self, commit: Commit, now: Instant) {
        self.risk_commit();
        let Commit { passing, counted } = commit;
        let own = self.transaction.take().and_then(|mut transaction| transaction.participants.pop());
        if let Some(ShardTransaction::Postgres(transaction)) = own.map(|participant| participant.transaction) {
            transaction.committed(passing, now);
        }
        counted.ended(self.door, Kind::Transaction, now);
    }

    /// The COMMIT that was sent is awaited by the next [`Session::execute`], which is that of the same COMMIT.
    pub fn commit_goes_on(&mut self, commit: Commit) {
        let only = self.transaction.as_mut().and_then(|transaction| transaction.participants.first_mut());
        if let Some(ShardTransaction::Postgres(transaction)) = only.map(|participant| &mut participant.transaction) {
            transaction.commit_was_sent(commit.passing);
        }
    }

    fn has_nothing_to_tell(&self) -> bool {
        self.kept.is_none() && !self.settings_touched && self.notices.is_empty()
    }

    /// What needed no shard took no time that could be measured.
    fn count_at_once(&self) {
        self.engine.metrics.no_shard().query(self.door, Kind::Transaction, Outcome::Ok, Duration::ZERO);
    }
}

fn ends_simply(transaction: &Transaction) -> bool {
    transaction.opened == Opened::Client
        && !transaction.failed
        && transaction.schema.is_none()
        && transaction.local_settings.is_empty()
        && transaction.keeper.is_none()
        && !transaction.row_cursors.hold()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_texts_are_known() {
        let begin = Some(Control::Begin { tag: "BEGIN", isolation: None, read_only: None });
        for (text, control) in [
            ("BEGIN", begin),
            (" begin ; ", begin),
            ("Commit;", Some(Control::Commit)),
            ("BEGIN;COMMIT", None),
            ("BEGIN;;", None),
            ("BEGIN READ ONLY", None),
            ("COMMIT AND CHAIN", None),
            ("ROLLBACK", None),
            ("", None),
        ] {
            assert_eq!(Control::of_text(text.as_bytes()), control, "{text}");
        }
    }
}
