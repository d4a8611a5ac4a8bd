//! Advisory locks on Postgres shards.
//!
//! The rule: **a lock that is taken without a key is taken on every shard, in the order of their numbers; one that is taken
//! with a key (`shardd.key`) on that key's shard.** So two clients that name no key exclude each other, two that name one
//! key do, and one that names a key and one that names none do, whatever they lock first: nowhere can the same number be held
//! by two of them. Two that name different keys may be on different shards: the key is a part of such a lock's name.
//!
//! It also guards what it is taken for: whoever holds a lock on every shard holds it on the one that is written, in the very
//! connection that writes, and loses both together.

use std::sync::Arc;

use super::answer::Answer;
use super::by_key::{no_key, takes_locks_only};
use super::session::{Execution, Session};
use crate::error::{Error, Result};
use crate::metrics::PinReason;
use crate::plan::{AdvisoryLock, Local, calls_volatile};
use crate::shard::postgres::Program;
use crate::shard::{Call, Output, Rows, Tag, TransactionMode};
use crate::sql::ast::{Expr, Function, SelectItem, SetExpr, Statement};
use crate::sql::{SourceText, Tree, function_name, names_relation};
use crate::types::ShardId;
use crate::wire::response;

/// Takes back the locks of an attempt that failed on another shard.
const ATTEMPT: &str = "shardd_attempt";

impl Session {
    pub(super) async fn advisory_lock(&mut self, action: AdvisoryLock, execution: &Execution) -> Result<Answer> {
        self.require_connection("a session-level advisory lock")?;
        self.join_batch(execution);
        let output = match action {
            AdvisoryLock::Take { tries, shared } => self.take_lock(tries, shared, execution).await,
            AdvisoryLock::GiveBack => self.give_lock_back(execution).await,
        };
        self.look().await;
        Ok(self.passed_answer("SELECT", output?))
    }

    async fn take_lock(&mut self, tries: bool, shared: bool, execution: &Execution) -> Result<Output> {
        let shards = match self.key_shard()? {
            Some(shard) => vec![shard],
            None => self.every_shard()?,
        };
        let mut taken = Vec::with_capacity(shards.len());
        let mut first = None;
        for shard in shards {
            match self.run_kept(shard, execution).await {
                Ok(output) if !tries || is_true(&output) => {
                    taken.push(shard);
                    first.get_or_insert(output);
                }
                refused => {
                    self.undo(&taken, shared, execution).await;
                    return refused;
                }
            }
        }
        first.ok_or_else(|| Error::internal("there are no shards"))
    }

    /// Gives the lock back where it was taken before another shard refused it.
    async fn undo(&mut self, taken: &[ShardId], shared: bool, execution: &Execution) {
        for shard in taken.iter().rev() {
            let undone = match self.undo_call(shared, execution) {
                Ok(call) => self.run_call_kept(*shard, call).await.map(|output| is_true(&output)),
                Err(error) => Err(error),
            };
            if !matches!(undone, Ok(true)) {
                // It stays pinned, and pg_advisory_unlock_all() or the session's end gives it back.
                tracing::error!(
                    shard = self.engine.shard_name(*shard),
                    ?undone,
                    "an advisory lock could not be given back"
                );
            }
        }
    }

    fn undo_call(&self, shared: bool, execution: &Execution) -> Result<crate::shard::postgres::Call> {
        let not_there = || Error::internal("a statement is no call of an advisory lock");
        let parsed = &execution.statement.parsed;
        let Tree::Sql(tree) = &parsed.tree else { return Err(not_there()) };
        let function = only_call(tree).ok_or_else(not_there)?;
        let source = SourceText::new(&parsed.text)?;
        let arguments = source.arguments(function).ok_or_else(not_there)?;
        let name = if shared { "pg_advisory_unlock_shared" } else { "pg_advisory_unlock" };
        let template = format!("SELECT pg_catalog.{name}{arguments}");
        let crate::shard::Program::Postgres(whole) = execution.whole_program()? else { return Err(not_there()) };
        let program = Arc::new(Program::derived(Tag::Merge, template, whole));
        match self.call_with_formats(execution, &crate::shard::Program::Postgres(program), Default::default())? {
            Call::Postgres(call) => Ok(Session::uncanceled(call)),
            Call::Sqlite(_) => Err(not_there()),
        }
    }

    /// On the key's shard, or wherever the session has locks. It held the lock if it held it anywhere.
    async fn give_lock_back(&mut self, execution: &Execution) -> Result<Output> {
        let mut shards = match self.key_shard()? {
            Some(shard) => vec![shard],
            None => self.pinned_for(PinReason::AdvisoryLock),
        };
        if shards.is_empty() {
            // Postgres says it in its own words.
            shards.push(self.home_shard()?);
        }
        let mut answer: Option<Output> = None;
        for shard in shards {
            let output = self.run_kept(shard, execution).await?;
            if answer.is_none() || is_true(&output) {
                answer = Some(output);
            }
        }
        answer.ok_or_else(|| Error::internal("there are no shards"))
    }

    /// `pg_advisory_unlock_all()`.
    pub(super) async fn give_all_locks_back(&mut self) -> Result<()> {
        for shard in self.pinned_for(PinReason::AdvisoryLock) {
            self.run_text_kept(shard, "SELECT pg_catalog.pg_advisory_unlock_all()").await?;
        }
        self.look().await;
        Ok(())
    }

    /// A lock of the transaction's that names no key: on every shard.
    pub(super) async fn lock_everywhere(&mut self, execution: &Execution) -> Result<Answer> {
        let tries = match &execution.statement.parsed.tree {
            Tree::Sql(tree) => only_call(tree).map(|call| named(call).starts_with("pg_try_")),
            Tree::Local(_) => None,
        };
        let tries = tries.ok_or_else(|| no_key("several advisory locks in one statement"))?;
        self.join_batch(execution);
        if self.transaction.is_none() {
            // It ends with the statement: that somebody else has it is told by one shard.
            let home = self.home_shard()?;
            let call = self.call(execution, execution.whole_program()?)?;
            let output = self.read_call(home, call, false).await?;
            return Ok(self.passed_answer("SELECT", output));
        }
        let shards = self.every_shard()?;
        let engine = Arc::clone(&self.engine);
        let (mut asked, mut answer) = (Vec::with_capacity(shards.len()), None);
        for shard in shards {
            self.ran_on.add(shard);
            let transaction = self.open_transaction()?;
            transaction.used = true;
            if transaction.participant(shard).is_none() {
                transaction.join(&engine, shard, TransactionMode::Snapshot, false).await?;
            }
            if tries {
                self.participant_of(shard)?.transaction.savepoint(ATTEMPT).await?;
            }
            asked.push(shard);
            let call = self.call(execution, execution.whole_program()?)?;
            let output = self.participant_of(shard)?.run(call).await?;
            let written = super::write::held(output).await?;
            let output = Output {
                columns: written.columns,
                row_description: written.row_description,
                rows: Rows::Ready(written.rows),
                ..Output::default()
            };
            let refused = tries && !is_true(&output);
            if refused || answer.is_none() {
                answer = Some(output);
            }
            if refused {
                for shard in &asked {
                    self.participant_of(*shard)?.transaction.rollback_to(ATTEMPT).await?;
                }
                break;
            }
        }
        if tries {
            for shard in &asked {
                self.participant_of(*shard)?.transaction.release(ATTEMPT).await?;
            }
        }
        let answer = answer.ok_or_else(|| Error::internal("there are no shards"))?;
        Ok(self.passed_answer("SELECT", answer))
    }
}

/// The first value of a row in text or binary.
fn is_true(output: &Output) -> bool {
    let Rows::Ready(batch) = &output.rows else { return false };
    let row = batch.row_frames().next().and_then(|frame| response::data_row(frame).ok());
    matches!(row.as_deref(), Some([Some(b"t" | [1]), ..]))
}

/// A statement that calls one function and does nothing else, on nothing that differs between shards.
pub(super) fn only_call(tree: &Statement) -> Option<&Function> {
    let Statement::Query(query) = tree else { return None };
    let SetExpr::Select(select) = &*query.body else { return None };
    let plain = query.with.is_none()
        && select.from.is_empty()
        && select.selection.is_none()
        && !names_relation(tree, |_| true)
        && !calls_volatile(tree);
    match select.projection.as_slice() {
        [
            SelectItem::UnnamedExpr(Expr::Function(function))
            | SelectItem::ExprWithAlias { expr: Expr::Function(function), .. },
        ] if plain => Some(function),
        _ => None,
    }
}

fn named(call: &Function) -> String {
    function_name(&call.name).map(|name| name.into_owned()).unwrap_or_default()
}

/// A call that concerns a session on Postgres shards: of locks, or a notification.
pub(super) fn session_call(tree: &Statement) -> Option<Local> {
    if takes_locks_only(tree) {
        return Some(Local::OnKeyShard { tag: "SELECT" });
    }
    let name = named(only_call(tree)?);
    let action = match name.as_str() {
        "pg_advisory_lock" => AdvisoryLock::Take { tries: false, shared: false },
        "pg_advisory_lock_shared" => AdvisoryLock::Take { tries: false, shared: true },
        "pg_try_advisory_lock" => AdvisoryLock::Take { tries: true, shared: false },
        "pg_try_advisory_lock_shared" => AdvisoryLock::Take { tries: true, shared: true },
        "pg_advisory_unlock" | "pg_advisory_unlock_shared" => AdvisoryLock::GiveBack,
        "pg_notify" => return Some(Local::Notify { tag: "SELECT" }),
        _ => return None,
    };
    Some(Local::AdvisoryLock(action))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Local> {
        match crate::sql::parse(text, 0, Vec::new()).expect(text).tree {
            Tree::Sql(tree) => session_call(&tree),
            Tree::Local(_) => None,
        }
    }

    #[test]
    fn only_a_call_by_itself_is_the_sessions() {
        let take = |tries, shared| Some(Local::AdvisoryLock(AdvisoryLock::Take { tries, shared }));
        for (text, expected) in [
            ("SELECT pg_advisory_lock(1)", take(false, false)),
            ("SELECT pg_catalog.pg_try_advisory_lock_shared(1, 2) AS locked", take(true, true)),
            ("SELECT pg_advisory_unlock(hashtext('a'))", Some(Local::AdvisoryLock(AdvisoryLock::GiveBack))),
            ("SELECT pg_notify('a', 'b')", Some(Local::Notify { tag: "SELECT" })),
            ("SELECT pg_advisory_xact_lock(1)", Some(Local::OnKeyShard { tag: "SELECT" })),
            ("SELECT pg_advisory_lock(a) FROM t", None),
            ("SELECT pg_advisory_lock((SELECT a FROM t))", None),
            ("SELECT pg_advisory_lock((random() * 10)::int)", None),
            ("SELECT pg_advisory_lock(1), pg_advisory_lock(2)", None),
            ("SELECT other.pg_advisory_lock(1)", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
