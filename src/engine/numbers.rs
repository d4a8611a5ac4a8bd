//! `lastval()` and `currval()`: the numbers that a session was last given.
//!
//! A Postgres server remembers them for a connection, and connections are shared. So a session notes what gave it numbers: a
//! call of nextval() or setval(), whose number is known here, or an INSERT, whose connection knows it until somebody else
//! uses that. What is asked for later is answered from either, and where neither holds any more it is an error: never
//! another session's number, nor an old one for a new one.
//!
//! Once anybody has asked, an INSERT that commits by itself and returns nothing is followed by the question for its numbers,
//! before its connection goes back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::fills::{Fills, currval, of_column};
use super::session::{Execution, Session};
use super::statement::Statement;
use crate::error::{Error, Result, SqlState};
use crate::plan::{Copying, Local, Plan, SequenceCall};
use crate::shard::postgres::{Use, numbers_of, quoted};
use crate::shard::{Numbers, Program};
use crate::sql::{self, ast};
use crate::types::{Datum, ShardId};

/// Texts that nextval() was called with and whose sequences nobody has asked for.
const WRITTEN: usize = 64;

/// What is known of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    /// None was given.
    #[default]
    Never,
    Is(i64),
    /// This connection knows it, while it has not been used again.
    Left(ShardId, Use),
    /// One may have been given that nobody here has seen.
    Lost,
}

/// The last numbers of one session.
#[derive(Debug, Default)]
pub(super) struct LastNumbers {
    last: Last,
    /// The sequence that gave it, where that is sure.
    last_of: Option<Arc<str>>,
    of: Vec<OfSequence>,
    /// Of sequences that are named nowhere above.
    of_others: Last,
    /// Numbers of nextval(), by the text that named their sequence, and when.
    written: Vec<(String, i64, u64)>,
    clock: u64,
}

#[derive(Debug)]
struct OfSequence {
    name: Arc<str>,
    last: Last,
    at: u64,
}

impl LastNumbers {
    /// Whatever was given, others may have been given since.
    fn lose_all(&mut self) {
        *self = LastNumbers { last: Last::Lost, of_others: Last::Lost, clock: self.clock, ..LastNumbers::default() };
    }

    fn lose(&mut self, sequences: &[Arc<str>]) {
        self.last = Last::Lost;
        self.last_of = None;
        sequences.iter().for_each(|name| self.give(name, Last::Lost));
    }

    fn give(&mut self, name: &Arc<str>, last: Last) {
        self.clock += 1;
        let at = self.clock;
        match self.of.iter_mut().find(|known| known.name == *name) {
            Some(known) => (known.last, known.at) = (last, at),
            None => self.of.push(OfSequence { name: Arc::clone(name), last, at }),
        }
    }

    /// `name`'s number is also the last of all.
    fn take(&mut self, name: &Arc<str>, last: Last) {
        self.give(name, last);
        self.last = last;
        self.last_of = Some(Arc::clone(name));
    }

    fn take_written(&mut self, text: String, number: i64) {
        self.clock += 1;
        self.last = Last::Is(number);
        self.last_of = None;
        self.written.retain(|(known, ..)| *known != text);
        if self.written.len() == WRITTEN {
            self.written.remove(0);
            self.of_others = Last::Lost;
        }
        self.written.push((text, number, self.clock));
    }

    /// setval(): it changes what was last given, and gives nothing.
    fn set(&mut self, name: &Arc<str>, number: i64) {
        self.give(name, Last::Is(number));
        self.last = match &self.last_of {
            _ if self.last == Last::Never => Last::Never,
            Some(last) if last == name => Last::Is(number),
            Some(_) => self.last,
            None => Last::Lost,
        };
    }

    /// The sequence that a text named.
    fn name_written(&mut self, name: &Arc<str>, number: i64, at: u64) {
        match self.of.iter_mut().find(|known| known.name == *name) {
            Some(known) if known.at > at => {}
            Some(known) => (known.last, known.at) = (Last::Is(number), at),
            None => self.of.push(OfSequence { name: Arc::clone(name), last: Last::Is(number), at }),
        }
    }

    fn last_of(&self, name: &str) -> Last {
        self.of.iter().find(|known| *known.name == *name).map_or(self.of_others, |known| known.last)
    }

    /// The last connection that knows one.
    fn connection(&self) -> Option<(ShardId, Use)> {
        let left = |last: &Last| match last {
            Last::Left(shard, used) => Some((*shard, *used)),
            _ => None,
        };
        let of = self.of.iter().filter_map(|known| Some((known.at, left(&known.last)?)));
        left(&self.last).or_else(|| of.max_by_key(|(at, _)| *at).map(|(_, there)| there))
    }
}

impl Session {
    /// Before a statement runs: it may take numbers, also if it fails then.
    pub(super) fn risk_numbers(&mut self, statement: &Statement) {
        match &statement.plan {
            Plan::Ddl(_) => return self.last_numbers().lose_all(),
            Plan::Copy(copy) if matches!(copy.way, Copying::In(_)) => return self.last_numbers().lose_all(),
            Plan::Local(local) => match &**local {
                Local::Explain { analyze: true, .. } => return self.last_numbers().lose_all(),
                Local::OnKeyShard { .. } if !matches!(statement.parsed.tree, sql::Tree::Sql(_)) => {
                    return self.last_numbers().lose_all();
                }
                Local::Sequence(_) => return,
                _ => {}
            },
            _ => {}
        }
        let takes = match &statement.program {
            Some(Program::Postgres(program)) => {
                let known = self.engine.servers.known();
                program.found(known.version, &known.hazards).1
            }
            Some(Program::Sqlite(_)) => false,
            None => return,
        };
        self.risk_these(statement, takes);
    }

    fn risk_these(&mut self, statement: &Statement, takes: bool) {
        match &statement.fills {
            _ if takes => self.last_numbers().lose_all(),
            Fills::All { sequences, .. } => self.last_numbers().lose(sequences),
            Fills::Unclear => self.last_numbers().lose_all(),
            Fills::Nothing => {}
        }
    }

    /// After a statement that has ended well.
    pub(super) fn note_numbers(&mut self, statement: &Statement, numbers: Numbers, affected: u64) {
        let sequences: &[Arc<str>] = match &statement.fills {
            Fills::All { sequences, has_rows, .. } if *has_rows || affected > 0 => sequences,
            _ => &[],
        };
        match numbers {
            Numbers::Untold => {}
            Numbers::Left(shard, used) if !sequences.is_empty() => {
                self.note_left(statement, sequences, Last::Left(shard, used));
            }
            Numbers::Left(..) => {}
            Numbers::Told(_) if sequences.is_empty() => {}
            Numbers::Told(told) => {
                let last = self.last_numbers();
                sequences.iter().zip(told.iter().skip(1)).for_each(|(name, number)| last.give(name, Last::Is(*number)));
                last.last = told.first().map_or(Last::Lost, |number| Last::Is(*number));
                last.last_of = None;
            }
            Numbers::Given(given) => {
                let last = self.last_numbers();
                for given in given {
                    last.take(&of_column(&given.table, &given.column), Last::Is(given.number));
                }
            }
        }
    }

    fn note_left(&mut self, statement: &Statement, sequences: &[Arc<str>], left: Last) {
        let unseen = matches!(&statement.program, Some(Program::Postgres(program)) if {
            let known = self.engine.servers.known();
            program.found(known.version, &known.hazards).1
        });
        let last = self.last_numbers();
        sequences.iter().for_each(|name| last.take(name, left));
        if unseen || sequences.len() > 1 {
            last.last_of = None;
        }
    }

    /// After a statement that has passed through.
    pub(super) fn note_passed(&mut self, statement: &Statement, takes: bool, shard: ShardId, used: Use) {
        self.risk_these(statement, takes);
        self.note_numbers(statement, Numbers::Left(shard, used), 0);
    }

    /// Whether its answer has to be looked at, for the numbers that it took: whether it took any, or what they are.
    pub(super) fn is_looked_at(&self, statement: &Statement) -> bool {
        let asked = self.engine.numbers_asked.load(Ordering::Relaxed);
        let unsure = || matches!(statement.fills, Fills::All { has_rows: false, .. });
        asked && (unsure() || self.question_after(statement).is_some())
    }

    /// What a server is asked for after a statement that stands alone, and so cannot be asked later for sure.
    pub(super) fn question_after(&self, statement: &Statement) -> Option<Arc<str>> {
        let asked = self.engine.numbers_asked.load(Ordering::Relaxed);
        let alone = asked && self.transaction.is_none() && self.keeper().is_none();
        alone.then(|| statement.fills.question()).flatten().map(Arc::from)
    }

    pub(super) fn note_next(&mut self, call: &SequenceCall, execution: &Execution, number: i64) -> Result<()> {
        let text = self.sequence_text(call, execution)?;
        self.last_numbers().take_written(text, number);
        Ok(())
    }

    pub(super) fn note_next_of(&mut self, table: &str, column: &str, number: i64) {
        self.last_numbers().take(&of_column(table, column), Last::Is(number));
    }

    /// `filled`: of SQLite shards.
    pub(super) fn note_set(&mut self, name: &str, filled: Option<&(String, String)>, number: i64) {
        let name = filled.map_or_else(|| Arc::from(name), |(table, column)| of_column(table, column));
        self.last_numbers().set(&name, number);
    }

    /// DISCARD SEQUENCES
    pub(super) fn discard_numbers(&mut self) {
        self.numbers = None;
    }

    fn last_numbers(&mut self) -> &mut LastNumbers {
        self.numbers.get_or_insert_default()
    }

    /// lastval()
    ///
    /// # Errors
    /// 55000: none was given, or nobody can tell it any more.
    pub(super) async fn last_number(&mut self) -> Result<i64> {
        self.engine.numbers_asked.store(true, Ordering::Relaxed);
        const QUESTION: &str = "SELECT pg_catalog.lastval()";
        if let Some(shard) = self.only_kept() {
            return self.number_kept(shard, QUESTION).await?.ok_or_else(lost);
        }
        match self.numbers.as_ref().map_or(Last::Never, |numbers| numbers.last) {
            Last::Never => Err(not_yet("lastval")),
            Last::Is(number) => Ok(number),
            Last::Left(shard, used) => self.number_left(shard, used, QUESTION).await?.ok_or_else(lost),
            Last::Lost => Err(lost()),
        }
    }

    /// currval() of a sequence. `named`: how a message names it.
    ///
    /// # Errors
    /// As [`Session::last_number`].
    pub(super) async fn current_number(
        &mut self,
        name: &str,
        filled: Option<&(String, String)>,
        named: &str,
    ) -> Result<i64> {
        self.engine.numbers_asked.store(true, Ordering::Relaxed);
        let key = filled.map_or_else(|| Arc::from(name), |(table, column)| of_column(table, column));
        match self.numbers.as_ref().map_or(Last::Never, |numbers| numbers.last_of(&key)) {
            Last::Never => Err(not_yet(&format!("currval of sequence \"{named}\""))),
            Last::Is(number) => Ok(number),
            Last::Left(shard, used) => {
                let question = format!("SELECT {}", currval(name));
                self.number_left(shard, used, &question).await?.ok_or_else(lost)
            }
            Last::Lost => Err(lost()),
        }
    }

    /// What nextval() was called with, to be named before a sequence is looked for.
    pub(super) fn take_written(&mut self) -> Vec<(String, i64, u64)> {
        self.numbers.as_mut().map(|numbers| std::mem::take(&mut numbers.written)).unwrap_or_default()
    }

    pub(super) fn name_written(&mut self, name: &str, number: i64, at: u64) {
        self.last_numbers().name_written(&Arc::from(name), number, at);
    }

    /// The name of a call's sequence as SQL, with the client's values in it.
    pub(super) fn sequence_text(&self, call: &SequenceCall, execution: &Execution) -> Result<String> {
        let text = Arc::clone(&execution.prepared.text);
        let named = sql::named_by_call(call.function(), &text)?;
        let named = named.ok_or_else(|| Error::internal("the call of a sequence was not found in its text"))?;
        let expression = sql::parse_expression(named)?;
        let mut bare = &expression;
        while let ast::Expr::Cast { expr, .. } = bare {
            bare = expr;
        }
        let value = sql::placeholder_number(bare)
            .filter(|number| *number <= execution.prepared.statement.parsed.client_parameters)
            .and_then(|number| execution.parameters.get(number - 1));
        match value {
            Some(Datum::Text(text)) => Ok(quoted(text)),
            Some(Datum::Null) => Ok("NULL".to_owned()),
            _ => Ok(named.to_owned()),
        }
    }

    /// The rows of a text of shardd's own on the connection that was given numbers last, so that it stays the last that
    /// used it. `None`: it is not there any more.
    ///
    /// # Errors
    /// The shard's.
    pub(super) async fn rows_where_left(&mut self, text: &str) -> Result<Option<Vec<Vec<Option<String>>>>> {
        match self.numbers.as_ref().and_then(|numbers| numbers.connection()) {
            Some((shard, used)) => self.rows_left(shard, used, text).await,
            None => Ok(None),
        }
    }

    async fn number_left(&mut self, shard: ShardId, used: Use, text: &str) -> Result<Option<i64>> {
        let rows = self.rows_left(shard, used, text).await?;
        Ok(rows.and_then(|rows| numbers_of(&rows)).and_then(|numbers| numbers.first().copied()))
    }

    async fn rows_left(&mut self, shard: ShardId, used: Use, text: &str) -> Result<Option<Vec<Vec<Option<String>>>>> {
        self.ran_on.add(shard);
        if let Some(participant) = self.transaction.as_mut().and_then(|transaction| transaction.participant(shard)) {
            let own = participant.transaction.postgres()?;
            if own.used().await? == used {
                return own.rows_here(text).await.map(Some).map_err(Error::without_position);
            }
        }
        let engine = Arc::clone(&self.engine);
        let keeper = self.keeper().cloned();
        let rows = engine.shard(shard)?.postgres()?.rows_at(Some(used), text, keeper.as_ref(), &self.cancel).await;
        rows.map_err(Error::without_position)
    }

    /// Of a session that keeps its connections: the only one, which tells by itself.
    fn only_kept(&self) -> Option<ShardId> {
        if !self.pools_by_session() {
            return None;
        }
        match self.keeper()?.shards().as_slice() {
            [only] => Some(*only),
            _ => None,
        }
    }

    /// currval() where the server tells by itself, of a sequence as its client named it; `None`: it has to be told here.
    ///
    /// # Errors
    /// The shard's.
    pub(super) async fn current_kept(&mut self, named: &str) -> Result<Option<Option<i64>>> {
        match self.only_kept() {
            Some(shard) => self.number_kept(shard, &format!("SELECT pg_catalog.currval({named})")).await.map(Some),
            None => Ok(None),
        }
    }

    /// `None` for NULL.
    async fn number_kept(&mut self, shard: ShardId, text: &str) -> Result<Option<i64>> {
        self.ran_on.add(shard);
        let own = self.transaction.as_mut().and_then(|transaction| transaction.participant(shard));
        let rows = match own {
            Some(participant) => participant.transaction.postgres()?.rows_here(text).await.map(Some),
            None => {
                let keeper = self.keeper().cloned();
                let engine = Arc::clone(&self.engine);
                engine.shard(shard)?.postgres()?.rows_at(None, text, keeper.as_ref(), &self.cancel).await
            }
        };
        Ok(rows
            .map_err(Error::without_position)?
            .and_then(|rows| numbers_of(&rows))
            .and_then(|numbers| numbers.first().copied()))
    }
}

fn not_yet(what: &str) -> Error {
    Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, format!("{what} is not yet defined in this session"))
}

fn lost() -> Error {
    Error::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "the number that this session was last given by a sequence is not known any more",
    )
    .detail(
        "Connections to the shards are shared: another session has used the one that remembered it, or a statement ran that \
         may have taken others unseen.",
    )
    .hint("Use INSERT ... RETURNING, or ask in the transaction of the INSERT, right after it.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Arc<str> {
        Arc::from(name)
    }

    #[test]
    fn a_number_is_told_until_another_may_have_been_given() {
        let mut numbers = LastNumbers::default();
        assert_eq!((numbers.last, numbers.last_of("a")), (Last::Never, Last::Never));
        numbers.take(&name("a"), Last::Is(5));
        numbers.take(&name("b"), Last::Is(7));
        assert_eq!((numbers.last, numbers.last_of("a"), numbers.last_of("b")), (Last::Is(7), Last::Is(5), Last::Is(7)));
        numbers.lose(&[name("a")]);
        assert_eq!((numbers.last, numbers.last_of("a"), numbers.last_of("b")), (Last::Lost, Last::Lost, Last::Is(7)));
        numbers.lose_all();
        assert_eq!((numbers.last_of("b"), numbers.last_of("c")), (Last::Lost, Last::Lost));
    }

    #[test]
    fn setval_changes_the_last_number_of_its_own_sequence() {
        let mut numbers = LastNumbers::default();
        numbers.set(&name("a"), 40);
        assert_eq!((numbers.last, numbers.last_of("a")), (Last::Never, Last::Is(40)));
        numbers.take(&name("a"), Last::Is(41));
        numbers.set(&name("b"), 9);
        assert_eq!(numbers.last, Last::Is(41));
        numbers.set(&name("a"), 50);
        assert_eq!(numbers.last, Last::Is(50));
    }

    #[test]
    fn a_sequence_that_is_named_later_has_the_newer_number() {
        let mut numbers = LastNumbers::default();
        numbers.take_written("'a'".into(), 1);
        let at = numbers.written[0].2;
        numbers.take(&name("a"), Last::Is(2));
        numbers.name_written(&name("a"), 1, at);
        assert_eq!(numbers.last_of("a"), Last::Is(2));
        numbers.take_written("'a'".into(), 3);
        let at = numbers.written.pop().unwrap().2;
        numbers.name_written(&name("a"), 3, at);
        assert_eq!(numbers.last_of("a"), Last::Is(3));
    }
}
