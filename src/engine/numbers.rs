//! `lastval()` and `currval()`: the numbers that a session was last given.
//!
//! A Postgres server remembers them for a connection, and connections are shared. So a session notes what gave it numbers: a
//! call of nextval() or setval(), whose number is known here, or an INSERT, whose connection knows it until somebody else
//! uses that. What is asked for later is answered from either, and where neither holds any more it is an error: never
//! another session's number, nor an old one for a new one.
//!
//! Once a session has asked, an INSERT of its own that commits by itself and returns nothing is followed by the question for
//! its numbers, before its connection goes back.

use std::sync::Arc;

use super::fills::{Fills, currval, of_column};
use super::session::Session;
use super::statement::Statement;
use crate::error::{Error, Result, SqlState};
use crate::plan::{Copying, Local, Plan};
use crate::shard::postgres::{Use, numbers_of};
use crate::shard::{Numbers, Program};
use crate::sql;
use crate::types::ShardId;

/// Texts that nextval() was called with and whose sequences nobody has asked for.
const WRITTEN: usize = 64;
/// A longer one is not kept.
const WRITTEN_MAX_BYTES: usize = 1_024;

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
    /// Set by setval() to a number that the server does not know as the last one.
    set_apart: Vec<Arc<str>>,
    /// Somebody has asked.
    asked: bool,
    /// A cursor was declared whose query takes numbers at each FETCH.
    cursors_take: bool,
    /// The transaction has done what may take numbers when it commits: by a deferred trigger.
    commit_takes: bool,
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
        let LastNumbers { clock, asked, cursors_take, commit_takes, .. } = *self;
        *self = LastNumbers {
            last: Last::Lost,
            of_others: Last::Lost,
            clock,
            set_apart: std::mem::take(&mut self.set_apart),
            asked,
            cursors_take,
            commit_takes,
            ..LastNumbers::default()
        };
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
        self.give_next(name, last);
        self.last = last;
        self.last_of = Some(Arc::clone(name));
    }

    /// The server gave it, and so knows it.
    fn give_next(&mut self, name: &Arc<str>, last: Last) {
        self.set_apart.retain(|apart| apart != name);
        self.give(name, last);
    }

    fn take_written(&mut self, text: String, number: i64) {
        if text.len() > WRITTEN_MAX_BYTES {
            self.lose_all();
            self.last = Last::Is(number);
            return;
        }
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
    /// `apart`: the server was told another number, which it does not take for the last one.
    fn set(&mut self, name: &Arc<str>, number: i64, apart: bool) {
        self.give(name, Last::Is(number));
        self.set_apart.retain(|known| known != name);
        if apart {
            self.set_apart.push(Arc::clone(name));
        }
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
            Some(known) if known.at > at => return,
            Some(known) => (known.last, known.at) = (Last::Is(number), at),
            None => self.of.push(OfSequence { name: Arc::clone(name), last: Last::Is(number), at }),
        }
        self.set_apart.retain(|apart| apart != name);
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
        self.begin_numbers();
        match &statement.plan {
            Plan::Ddl(_) => return self.last_numbers().lose_all(),
            Plan::Copy(copy) if matches!(copy.way, Copying::In(_)) => return self.last_numbers().lose_all(),
            Plan::Local(local) => match &**local {
                Local::Explain { analyze: true, .. } => return self.last_numbers().lose_all(),
                Local::OnKeyShard { .. } if !matches!(statement.parsed.tree, sql::Tree::Sql(_)) => {
                    return self.last_numbers().lose_all();
                }
                Local::Sequence(_) => return,
                Local::Fetch { .. } if self.numbers.as_ref().is_some_and(|numbers| numbers.cursors_take) => {
                    return self.last_numbers().lose_all();
                }
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
        if takes && matches!(&statement.plan, Plan::Local(local) if matches!(**local, Local::Declare { .. })) {
            self.last_numbers().cursors_take = true;
        }
        self.risk_these(statement, takes);
    }

    /// Outside of a transaction nothing is left for a COMMIT to do.
    pub(super) fn begin_numbers(&mut self) {
        if self.transaction.is_none()
            && let Some(numbers) = &mut self.numbers
        {
            numbers.commit_takes = false;
        }
    }

    /// Before a transaction commits, or after: its deferred triggers may take numbers.
    pub(super) fn risk_commit(&mut self) {
        if let Some(numbers) = self.numbers.as_mut().filter(|numbers| numbers.commit_takes) {
            numbers.lose_all();
            numbers.commit_takes = false;
        }
    }

    fn risk_these(&mut self, statement: &Statement, takes: bool) {
        match &statement.fills {
            _ if takes => {
                let last = self.last_numbers();
                last.lose_all();
                last.commit_takes = true;
            }
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
                let each = sequences.iter().zip(told.iter().skip(1));
                each.for_each(|(name, number)| last.give_next(name, Last::Is(*number)));
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
        self.begin_numbers();
        self.risk_these(statement, takes);
        self.note_numbers(statement, Numbers::Left(shard, used), 0);
    }

    /// Whether its answer has to be looked at, for the numbers that it took: whether it took any, or what they are.
    pub(super) fn is_looked_at(&self, statement: &Statement) -> bool {
        match statement.fills {
            Fills::All { has_rows: false, .. } => self.has_asked(),
            Fills::All { returns: false, .. } => self.asks_after(),
            _ => false,
        }
    }

    /// What a server is asked for after a statement that stands alone, and so cannot be asked later for sure.
    pub(super) fn question_after(&self, statement: &Statement) -> Option<Arc<str>> {
        self.asks_after().then(|| statement.fills.question()).flatten().map(Arc::from)
    }

    fn asks_after(&self) -> bool {
        self.has_asked() && self.transaction.is_none() && self.keeper().is_none()
    }

    fn has_asked(&self) -> bool {
        self.numbers.as_ref().is_some_and(|numbers| numbers.asked)
    }

    /// Others may have been given than those that are known.
    pub(super) fn lose_numbers(&mut self) {
        self.last_numbers().lose_all();
    }

    /// `text`: how nextval() was told its sequence, where that is known.
    pub(super) fn note_next(&mut self, text: Option<String>, number: i64) {
        let last = self.last_numbers();
        match text {
            Some(text) => last.take_written(text, number),
            None => {
                last.lose_all();
                last.last = Last::Is(number);
            }
        }
    }

    pub(super) fn note_next_of(&mut self, table: &str, column: &str, number: i64) {
        self.last_numbers().take(&of_column(table, column), Last::Is(number));
    }

    /// `filled`: of SQLite shards. `apart`: the shards were set to numbers of their own.
    pub(super) fn note_set(&mut self, name: &str, filled: Option<&(String, String)>, number: i64, apart: bool) {
        let name = filled.map_or_else(|| Arc::from(name), |(table, column)| of_column(table, column));
        self.last_numbers().set(&name, number, apart);
    }

    /// DISCARD SEQUENCES
    pub(super) fn discard_numbers(&mut self) {
        self.numbers =
            self.numbers.take().filter(|numbers| numbers.cursors_take || numbers.commit_takes).map(|numbers| {
                let LastNumbers { cursors_take, commit_takes, .. } = *numbers;
                Box::new(LastNumbers { cursors_take, commit_takes, ..LastNumbers::default() })
            });
    }

    fn last_numbers(&mut self) -> &mut LastNumbers {
        self.numbers.get_or_insert_default()
    }

    /// lastval()
    ///
    /// # Errors
    /// 55000: none was given, or nobody can tell it any more.
    pub(super) async fn last_number(&mut self) -> Result<i64> {
        self.last_numbers().asked = true;
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
        self.last_numbers().asked = true;
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

    /// Of a session that keeps its connections: the only one, which tells by itself, unless setval() gave it other numbers.
    fn only_kept(&self) -> Option<ShardId> {
        let set_apart = self.numbers.as_ref().is_some_and(|numbers| !numbers.set_apart.is_empty());
        if set_apart || !self.pools_by_session() {
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
        numbers.set(&name("a"), 40, false);
        assert_eq!((numbers.last, numbers.last_of("a")), (Last::Never, Last::Is(40)));
        numbers.take(&name("a"), Last::Is(41));
        numbers.set(&name("b"), 9, false);
        assert_eq!(numbers.last, Last::Is(41));
        numbers.set(&name("a"), 50, false);
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

    #[test]
    fn a_text_that_is_too_long_is_not_kept() {
        let mut numbers = LastNumbers::default();
        numbers.take(&name("a"), Last::Is(5));
        numbers.take_written("x".repeat(WRITTEN_MAX_BYTES + 1), 6);
        assert!(numbers.written.is_empty());
        assert_eq!((numbers.last, numbers.last_of("a"), numbers.last_of("b")), (Last::Is(6), Last::Lost, Last::Lost));
    }

    #[test]
    fn a_number_that_was_set_apart_is_so_until_the_sequence_gives_one() {
        let mut numbers = LastNumbers::default();
        numbers.set(&name("a"), 40, true);
        numbers.take(&name("b"), Last::Is(1));
        numbers.lose_all();
        assert_eq!(numbers.set_apart.as_slice(), [name("a")]);
        numbers.take(&name("a"), Last::Is(1_064));
        assert!(numbers.set_apart.is_empty());
    }
}
