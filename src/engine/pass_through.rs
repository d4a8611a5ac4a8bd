//! Statements that pass through: sent to their one shard as they came, and answered with what the shard says.
//!
//! A statement that was run once, and goes [`Straight`] to a shard by a value that it shows, needs no more than that value:
//! no plan is sought, no parameter decoded, no row looked at. Whatever is not so is left to [`Session::execute`], and what
//! began here and turns out to be so is taken to its end by [`Session::go_on`].

use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::{ArcSwap, Cache};
use bytes::BytesMut;
use tokio::time::Instant;

use super::Engine;
use super::answer::Answer;
use super::at_once::Control;
use super::down::ShardSet;
use super::fills::Fills;
use super::parameters;
use super::recording::{self, RanOn, Recording};
use super::servers::Known;
use super::session::{Execution, Scope, Session};
use super::statement::{Prepared, Statement};
use super::transaction::{Opened, Transaction};
use super::write::held;
use crate::error::{Error, Result};
use crate::live_topology::SeenTopology;
use crate::metrics::{Door, InFlight, Kind, Outcome, ShardMetrics};
use crate::plan::Plan;
use crate::shard::postgres::{self, Aftermath, Form, Looked, StatementName};
use crate::shard::{Call, Formats, Program, RawParameters, Shard, ShardKind, ShardTransaction};
use crate::sql::{self, Literal, Template};
use crate::topology::Schema;
use crate::types::{Datum, Format, ShardId};
use crate::wire::request;

/// Sets of texts that one thread remembers, and texts in each.
const SETS: usize = 256;
const WAYS: usize = 8;

/// What the statements of a session have found, and look for anew only when it was replaced: that costs no more than reading
/// where it is.
pub(super) struct Seen {
    topology: SeenTopology,
    shards: Cache<Arc<ArcSwap<ShardSet>>, Arc<ShardSet>>,
    servers: Cache<Arc<ArcSwap<Known>>, Arc<Known>>,
}

impl Seen {
    fn new(engine: &Engine) -> Box<Seen> {
        Box::new(Seen {
            topology: engine.live.seen(),
            shards: Cache::new(Arc::clone(&engine.shards)),
            servers: engine.servers.seen(),
        })
    }
}

/// What is published when the statement's turn was taken, the statement sees: it is looked at no earlier, so the turn is asked for.
fn seen<'s>(seen: &'s mut Option<Box<Seen>>, engine: &Engine, _turn: &InFlight) -> &'s mut Seen {
    seen.get_or_insert_with(|| Seen::new(engine))
}

/// A statement on its way.
#[derive(Debug)]
pub struct PassThrough {
    passing: postgres::PassThrough,
    shard: Arc<Shard>,
    statement: Arc<Statement>,
    /// It may take numbers from sequences unseen.
    takes: bool,
    counted: Counted,
}

/// What is counted when it ends.
pub(super) struct Counted {
    shard: Arc<ShardMetrics>,
    started: Instant,
    in_flight: InFlight,
}

impl Counted {
    pub(super) fn new(shard: Arc<ShardMetrics>, in_flight: InFlight, started: Instant) -> Counted {
        Counted { shard, started, in_flight }
    }

    /// What counts it when its answer ends.
    pub(super) fn recording(self, door: Door, kind: Kind, outcome: Outcome) -> Recording {
        let Counted { shard, started, in_flight } = self;
        Recording { shard, door, kind, started: started.into_std(), outcome, _in_flight: in_flight }
    }

    /// It ended well.
    pub(super) fn ended(self, door: Door, kind: Kind, now: Instant) {
        self.shard.query(door, kind, Outcome::Ok, now.saturating_duration_since(self.started));
    }
}

impl std::fmt::Debug for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counted").field("started", &self.started).finish_non_exhaustive()
    }
}

impl PassThrough {
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
    /// Sends a simple query, whole as it came, where `text` is one statement that goes straight to a shard. `None`: nothing
    /// was sent. `now`: when it began.
    pub fn pass_text(&mut self, text: &[u8], frame: &[u8], now: Instant) -> Option<PassThrough> {
        let in_flight = self.engine.in_flight(self.door);
        let topology = seen(&mut self.seen, &self.engine, &in_flight).topology.load();
        let (statement, value) = remembered_text(text, &topology.schema)?;
        let shard = statement.straight.as_ref()?.shard(value.as_ref(), topology)?;
        let straight = (&statement, shard);
        // Only within a transaction it may have to be taken.
        let text = if self.transaction.is_some() { std::str::from_utf8(text).ok()? } else { "" };
        self.pass((in_flight, now), straight, None, Form::Taken, |form, out| match form {
            Form::AsItCame => out.extend_from_slice(frame),
            Form::Taken => request::text_to_sync(out, text),
        })
    }

    /// Sends an execution of a prepared statement as `write` writes it, given the statement's name on the shards. `value`
    /// gives the client's parameter of a number, from 0. `None`: nothing was sent.
    pub fn pass_bound<'v>(
        &mut self,
        prepared: &Arc<Prepared>,
        value: impl FnOnce(usize) -> Option<(Format, &'v [u8])>,
        write: impl FnOnce(Option<&StatementName>, &mut BytesMut),
        now: Instant,
    ) -> Option<PassThrough> {
        let in_flight = self.engine.in_flight(self.door);
        let statement = &prepared.statement;
        let topology = seen(&mut self.seen, &self.engine, &in_flight).topology.load();
        let straight = statement.straight.as_ref().filter(|_| Arc::ptr_eq(&statement.schema, &topology.schema))?;
        let value = match straight.parameter().map(|number| number - 1) {
            None => None,
            Some(index) => match index.checked_sub(statement.parsed.client_parameters) {
                Some(literal) => prepared.literals.get(literal).cloned(),
                None => {
                    let (format, value) = value(index)?;
                    let style = self.settings.text_style();
                    parameters::decode_parameter(statement, prepared, index, value, format, style).ok()
                }
            },
        };
        let shard = straight.shard(value.as_ref(), topology)?;
        let name = prepared.named().then(|| Arc::clone(prepared.name_on_shards(&self.engine.statement_names)));
        let begun = (in_flight, now);
        self.pass(begun, (statement, shard), name.as_deref(), Form::AsItCame, |_, out| write(name.as_deref(), out))
    }

    /// Whether anything may pass through now: outside a transaction, or in one that the client opened and that has changed no
    /// table's definition.
    pub fn may_pass(&self) -> bool {
        let transaction_permits = |transaction: &Transaction| {
            transaction.opened == Opened::Client && !transaction.failed && transaction.schema.is_none()
        };
        self.engine.kind == ShardKind::Postgres
            && self.transaction.as_ref().is_none_or(transaction_permits)
            && self.kept.is_none()
            && !self.settings_touched
            && self.notices.is_empty()
    }

    /// `behind_begin`: how it is sent when BEGIN has to go before it.
    fn pass(
        &mut self,
        (in_flight, now): (InFlight, Instant),
        (statement, shard): (&Arc<Statement>, ShardId),
        name: Option<&StatementName>,
        behind_begin: Form,
        write: impl FnOnce(Form, &mut BytesMut),
    ) -> Option<PassThrough> {
        let Some(Program::Postgres(program)) = &statement.program else { return None };
        let writes = statement.straight.as_ref().is_some_and(|straight| straight.writes);
        let looked_at = self.is_looked_at(statement);
        let seen = seen(&mut self.seen, &self.engine, &in_flight);
        let known = seen.servers.load();
        let (aftermath, takes) = program.found(known.version, &known.hazards);
        if aftermath != Aftermath::Keep || looked_at {
            return None;
        }
        let open = seen.shards.load().open.get(&shard)?;
        let postgres = open.shard.postgres().ok()?;
        self.cancel.clear();
        let settings = self.settings.for_shards();
        let passing = match &mut self.transaction {
            // What only reads may belong on a replica.
            None if self.settings.default_read_only && (writes || postgres.replicas().is_some()) => return None,
            None => postgres.pass_through(settings, name, |out| write(Form::AsItCame, out), now)?,
            // It may be on a replica, which may not have the rows yet that its shard was given.
            Some(transaction) if transaction.read_only && self.engine.live.is_moving() => return None,
            Some(transaction) => {
                let topology = seen.topology.load();
                transaction.see(topology);
                if transaction.seen_topology().is_some_and(|seen| !Arc::ptr_eq(seen, topology)) {
                    return None;
                }
                let participant = transaction.join_at_once(&self.engine, postgres, settings, writes, now)?;
                let form = |begins| if begins { behind_begin } else { Form::AsItCame };
                let passing = participant.transaction.postgres().ok()?.pass_through(settings, name, form, write);
                if passing.is_none() {
                    transaction.leave_unused();
                }
                passing?
            }
        };
        self.engine.metrics.plan_cache_hits.inc();
        let counted = Counted::new(Arc::clone(&open.metrics), in_flight, now);
        Some(PassThrough { passing, shard: Arc::clone(&open.shard), statement: Arc::clone(statement), takes, counted })
    }

    /// Whether the statement that is under way was canceled.
    pub fn is_canceled(&self) -> bool {
        self.cancel.is_raised()
    }

    /// After the whole answer was passed on, now.
    pub fn passed(&mut self, passing: PassThrough, now: Instant) {
        let PassThrough { passing, shard, statement, takes, counted } = passing;
        if takes || statement.fills != Fills::Nothing {
            self.note_passed(&statement, takes, shard.id(), passing.used());
        }
        let own = self.transaction.as_mut().and_then(|transaction| transaction.participant(shard.id()));
        match own.map(|participant| &mut participant.transaction) {
            Some(ShardTransaction::Postgres(transaction)) => transaction.passed(passing),
            _ => passing.end(now),
        }
        counted.ended(self.door, recording::kind(&statement.plan), now);
    }

    /// Takes to its end what was sent and did not end well in one piece.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub async fn go_on(
        &mut self,
        passing: PassThrough,
        prepared: &Arc<Prepared>,
        parameters: RawParameters,
        formats: Formats,
    ) -> Result<Answer> {
        let PassThrough { passing, shard, statement, counted, .. } = passing;
        self.risk_numbers(&statement);
        self.ran_on = RanOn::One(shard.id());
        let execution = Execution {
            prepared: Arc::clone(prepared),
            statement,
            raw: Arc::new(parameters),
            // Nothing asks for them any more.
            parameters: Arc::from([]),
            formats,
            scope: Scope::Alone,
            environment: std::sync::OnceLock::new(),
        };
        let answer = self.take_on(passing, &shard, &execution).await;
        let mut answer = answer.map_err(|error| self.cancel.reason_of(error));
        let outcome = Outcome::of(&answer);
        let recording = counted.recording(self.door, recording::kind(&execution.statement.plan), outcome);
        match &mut answer {
            Ok(answer) => answer.recording = Some(recording),
            Err(_) => self.fail(),
        }
        answer
    }

    async fn take_on(
        &mut self,
        passing: postgres::PassThrough,
        shard: &Arc<Shard>,
        execution: &Execution,
    ) -> Result<Answer> {
        let Call::Postgres(call) = self.call(execution, execution.whole_program()?)? else {
            return Err(Error::internal("a statement that passes through came to another kind of shard"));
        };
        let own = self.transaction.as_mut().and_then(|transaction| transaction.participant(shard.id()));
        let mut output = match own {
            Some(participant) => participant.transaction.postgres()?.go_on(passing, &call).await?,
            None => shard.postgres()?.go_on(passing, &call).await?,
        };
        if matches!(execution.statement.plan, Plan::Read(_)) {
            return Ok(self.rows_answer(execution, output));
        }
        self.notices.append(&mut output.notices);
        let written = held(output).await?;
        Ok(self.answer_of_write(execution, written))
    }

    /// Remembers a simple query's text that is one statement, for the next that differs from it in its values only.
    pub fn remember_text(&self, text: &str, prepared: &Prepared) {
        let statement = &prepared.statement;
        if statement.straight.is_none() || !self.sees_shared_schema() {
            return;
        }
        let hash = Template::hash_of(text.as_bytes());
        let alike = |entry: &Remembered| match entry {
            Remembered::Text(template, of) if template.matches(text.as_bytes(), 0).is_some() => {
                Some(Arc::ptr_eq(of, statement))
            }
            _ => None,
        };
        MEMORY.with_borrow_mut(|memory| {
            memory.keep(hash, alike, || {
                let template = Template::new(text, &sql::lift(text).ok()?)?;
                Some(Remembered::Text(template, Arc::clone(statement)))
            });
        });
    }

    /// Remembers a prepared text, for whoever prepares the same.
    pub fn remember_prepared(&self, prepared: &Arc<Prepared>) {
        let may_pass = prepared.statement.straight.is_some() || Control::of(prepared).is_some();
        if !may_pass || !self.sees_shared_schema() {
            return;
        }
        let alike = |entry: &Remembered| match entry {
            Remembered::Prepared(known) if known.text == prepared.text && known.type_oids == prepared.type_oids => {
                Some(Arc::ptr_eq(&known.statement, &prepared.statement))
            }
            _ => None,
        };
        MEMORY.with_borrow_mut(|memory| {
            memory.keep(hash_of_prepared(&prepared.text), alike, || Some(Remembered::Prepared(Arc::clone(prepared))));
        });
    }

    /// A statement that was prepared before from the same text and types.
    pub fn remembered(&self, text: &str, mut type_oids: impl ExactSizeIterator<Item = u32>) -> Option<Arc<Prepared>> {
        MEMORY.with_borrow(|memory| {
            memory.set(hash_of_prepared(text)).iter().flatten().find_map(|entry| match entry {
                Remembered::Prepared(prepared)
                    if *prepared.text == *text
                        && prepared.type_oids.len() == type_oids.len()
                        && prepared.type_oids.iter().copied().eq(type_oids.by_ref()) =>
                {
                    Some(Arc::clone(prepared))
                }
                _ => None,
            })
        })
    }

    fn sees_shared_schema(&self) -> bool {
        self.transaction.as_ref().is_none_or(|transaction| transaction.schema.is_none())
    }
}

/// The statement of a text like this one, and the value that says where it goes.
fn remembered_text(text: &[u8], schema: &Arc<Schema>) -> Option<(Arc<Statement>, Option<Datum>)> {
    MEMORY.with_borrow(|memory| {
        memory.set(Template::hash_of(text)).iter().flatten().find_map(|entry| {
            let Remembered::Text(template, statement) = entry else { return None };
            let wanted = statement.straight.as_ref()?.parameter().map_or(usize::MAX, |number| number - 1);
            let literal = template.matches(text, wanted)?;
            Arc::ptr_eq(&statement.schema, schema).then(|| (Arc::clone(statement), literal.map(datum)))
        })
    })
}

/// A literal as Postgres shards' statements have it.
fn datum(literal: Literal<'_>) -> Datum {
    match literal {
        Literal::Int4(value) => Datum::Int4(value),
        Literal::Int8(value) => Datum::Int8(value),
        Literal::Text(text) => Datum::Text(text.as_ref().into()),
        // Which of its values equal a key takes more to tell.
        Literal::Numeric(_) => Datum::Null,
    }
}

fn hash_of_prepared(text: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(text.as_bytes(), 1)
}

/// A text that this thread has met.
#[derive(Debug)]
enum Remembered {
    Text(Template, Arc<Statement>),
    Prepared(Arc<Prepared>),
}

/// The texts that this thread has met last. Each thread has its own, so that looking takes no lock.
struct Memory {
    sets: Vec<[Option<Remembered>; WAYS]>,
    turn: usize,
}

thread_local! {
    static MEMORY: RefCell<Memory> = const { RefCell::new(Memory { sets: Vec::new(), turn: 0 }) };
}

impl Memory {
    fn set(&self, hash: u64) -> &[Option<Remembered>] {
        self.sets.get(hash as usize % SETS).map_or(&[], |set| set)
    }

    /// Keeps an entry, in the place of another for the same text. `alike` says of such a one whether it is as good.
    fn keep(
        &mut self,
        hash: u64,
        alike: impl Fn(&Remembered) -> Option<bool>,
        make: impl FnOnce() -> Option<Remembered>,
    ) {
        if self.sets.is_empty() {
            self.sets.resize_with(SETS, Default::default);
        }
        let set = &mut self.sets[hash as usize % SETS];
        let known = set.iter().enumerate().find_map(|(place, entry)| Some((place, alike(entry.as_ref()?)?)));
        let place = match known {
            Some((_, true)) => return,
            Some((place, false)) => place,
            None => set.iter().position(Option::is_none).unwrap_or(self.turn % WAYS),
        };
        if let Some(entry) = make() {
            self.turn = self.turn.wrapping_add(1);
            set[place] = Some(entry);
        }
    }
}
