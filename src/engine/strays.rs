//! What shards run that hold rows of other shards while slots move: the same statement, with conditions that leave those out.
//!
//! It is made from what the shard would run anyway: SQLite shards run what its tree with the conditions is translated to, Postgres
//! shards its text with the conditions in it.

use std::sync::Arc;

use super::Engine;
use super::session::{Execution, Session};
use super::statement::Statement;
use crate::error::{Error, Result, Retry, SqlState};
use crate::plan::{self, Plan, Slots};
use crate::shard::Program;
use crate::shard::postgres::guard;
use crate::sql::{self, Derived, KeyColumn, ast};
use crate::topology::{SlotSet, Topology};
use crate::types::ShardId;

/// Programs that are kept: each may hold a bit for every slot, as text.
const KEPT_PROGRAMS: usize = 512;

/// By what the shards of a statement were found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach<'a> {
    pub(super) topology: &'a Topology,
    pub(super) slots: &'a Slots,
}

/// What each shard runs of one statement.
#[derive(Clone, Debug)]
pub(super) struct Runs {
    usual: Program,
    others: Vec<(ShardId, Program)>,
}

impl Runs {
    /// The same on all.
    pub(super) fn everywhere(usual: Program) -> Runs {
        Runs { usual, others: Vec::new() }
    }

    /// What one shard runs that is not the usual.
    pub(super) fn other_on(&self, shard: ShardId) -> Option<&Program> {
        self.others.iter().find(|(other, _)| *other == shard).map(|(_, program)| program)
    }

    pub(super) fn on(&self, shard: ShardId) -> &Program {
        self.other_on(shard).unwrap_or(&self.usual)
    }

    pub(super) fn usual(&self) -> &Program {
        &self.usual
    }
}

/// Programs by what they were made from, and the shard and epoch that they are for.
#[derive(Debug)]
pub(super) struct StrayPrograms(quick_cache::sync::Cache<(u64, ShardId, usize), Made>);

/// What a program was made from, which lives as long as its address is a key; and the program.
#[derive(Clone, Debug)]
struct Made {
    _of: Program,
    program: Program,
}

impl Default for StrayPrograms {
    fn default() -> StrayPrograms {
        StrayPrograms(quick_cache::sync::Cache::new(KEPT_PROGRAMS))
    }
}

/// The strays on one shard, by keyspace.
type OnShard<'a> = Vec<(&'a str, SlotSet)>;

impl Reach<'_> {
    /// The strays on a shard, if the statement could meet any. All of them: what is made from this is kept for others.
    fn strays_on(&self, shard: ShardId) -> OnShard<'_> {
        let keyspaces = self.topology.keyspaces.iter().filter(|keyspace| !keyspace.strays.is_empty());
        let all: OnShard<'_> =
            keyspaces.filter_map(|keyspace| Some((keyspace.name.as_str(), keyspace.strays_on(shard)?))).collect();
        let is_met = match self.slots {
            Slots::Any => false,
            Slots::These(touched) => all.iter().any(|(_, slots)| touched.iter().any(|slot| slots.contains(*slot))),
            Slots::All => true,
        };
        if is_met { all } else { OnShard::new() }
    }
}

impl Session {
    /// What each of these shards runs in place of a program, whose tree is given.
    ///
    /// # Errors
    /// 0A000: a shard holds strays, and they cannot be left out.
    pub(super) fn runs(
        &self,
        execution: &Execution,
        (program, tree): (&Program, &ast::Statement),
        shards: &[ShardId],
        reach: Reach<'_>,
    ) -> Result<Runs> {
        let mut runs = Runs::everywhere(program.clone());
        if reach.topology.keyspaces.iter().all(|keyspace| keyspace.strays.is_empty()) {
            return Ok(runs);
        }
        let statement = &execution.statement;
        for &shard in shards {
            let strays = reach.strays_on(shard);
            if strays.is_empty() {
                continue;
            }
            let address = match program {
                Program::Sqlite(program) => Arc::as_ptr(program).addr(),
                Program::Postgres(program) => Arc::as_ptr(program).addr(),
            };
            let key = (reach.topology.epoch.0, shard, address);
            let kept = &self.engine.stray_programs.0;
            let made = match kept.get(&key) {
                Some(made) => made.program,
                None => {
                    let made = statement.without_strays(program, tree, &strays)?;
                    // Of a transaction's own schema, nobody else has the program.
                    kept.insert(key, Made { _of: program.clone(), program: made.clone() });
                    made
                }
            };
            runs.others.push((shard, made));
        }
        Ok(runs)
    }
}

impl Engine {
    /// # Errors
    /// 55006: the shard holds strays, and nobody can leave them out of a text that cannot be read.
    pub(super) fn refuse_unread_beside_strays(&self, shard: ShardId) -> Result<()> {
        let topology = self.live.load();
        if topology.keyspaces.iter().all(|keyspace| keyspace.strays_on(shard).is_none()) {
            return Ok(());
        }
        let message = "a statement that shardd cannot read, on a shard from or to which rows are being moved";
        Err(Error::new(SqlState::OBJECT_IN_USE, message)
            .retry(Retry::Safe)
            .hint("Write it in another way, or try again when the move has ended: see `shardctl moves`."))
    }
}

impl Statement {
    /// The whole statement of a write.
    pub(super) fn written_tree(&self) -> Result<&ast::Statement> {
        match &self.plan {
            Plan::Write(write) => Ok(&write.statement),
            _ => Err(Error::internal("a statement that writes was planned as something else")),
        }
    }

    /// # Errors
    /// 0A000: there is no telling where the conditions have to stand.
    fn without_strays(&self, program: &Program, tree: &ast::Statement, strays: &OnShard<'_>) -> Result<Program> {
        let keyspaces: Vec<&str> = strays.iter().map(|(keyspace, _)| *keyspace).collect();
        let slots = |key: &KeyColumn| {
            let found = strays.iter().find(|(keyspace, _)| *keyspace == key.keyspace);
            found.map(|(_, slots)| slots.clone()).unwrap_or_default()
        };
        // A row without a key is nobody's.
        let within = |condition: String| format!("({condition}) IS NOT TRUE");
        match program {
            Program::Sqlite(_) => {
                let condition = |key: &KeyColumn| within(format!("shardd_in_slots({}, '{}')", key.name, slots(key)));
                let own = sql::with_deep_stack(self.parsed.deep, || {
                    plan::own_rows(tree, &self.schema, &keyspaces, &condition)
                })?;
                if own.places.is_empty() { Ok(program.clone()) } else { self.translated_part(&own.tree) }
            }
            Program::Postgres(whole) => {
                let condition = |key: &KeyColumn| within(guard::in_slots(&key.name, key.key_type, &slots(key)));
                let text = whole.template.as_deref().unwrap_or(&self.parsed.text);
                let text =
                    sql::with_deep_stack(self.parsed.deep, || self.with_conditions(text, &keyspaces, &condition))?;
                Ok(text.map_or_else(|| program.clone(), |text| super::apart::with_text(tree, text, whole)))
            }
        }
    }

    /// The text with a condition on each table; `None`: there is none to have one.
    fn with_conditions(
        &self,
        text: &str,
        keyspaces: &[&str],
        condition: &dyn Fn(&KeyColumn) -> String,
    ) -> Result<Option<String>> {
        let read = Derived::read(text.to_owned()).map_err(|_| not_found())?;
        // Where conditions are is looked at with short ones.
        let short = |key: &KeyColumn| format!("{} IS NOT NULL", key.name);
        let own = plan::own_rows(&read.tree, &self.schema, keyspaces, &short)?;
        if own.places.is_empty() {
            return Ok(None);
        }
        let written = sql::with_conditions(text, &own.places, &short)?.ok_or_else(not_found)?;
        if Derived::read(written).ok().is_none_or(|written| written.tree != own.tree) {
            return Err(not_found());
        }
        sql::with_conditions(text, &own.places, condition)?.ok_or_else(not_found).map(Some)
    }
}

fn not_found() -> Error {
    Error::unsupported(
        "a statement that is written like this, over several shards while slots move",
        "Write it in a plainer form, give the key in WHERE, or wait until the move has ended: see `shardctl moves`.",
    )
}

/// Why a write cannot be done now.
pub(super) fn while_slots_move(error: Error) -> Error {
    match error.sqlstate() {
        SqlState::FEATURE_NOT_SUPPORTED => {
            let hint = error.get_hint().unwrap_or_default().to_owned();
            Error::new(SqlState::OBJECT_IN_USE, error.message()).hint(hint)
        }
        _ => error,
    }
}
