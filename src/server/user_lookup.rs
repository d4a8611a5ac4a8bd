//! Passwords of users whom the configuration does not name, asked of Postgres shards (`auth_query`).
//!
//! A shard is asked at every login, so that a changed password and a dropped user are known at once: SCRAM cannot judge a
//! proof by a verifier that was learned after it was asked for. Each shard has a connection of its own for this, and a
//! task that owns it; one that does not answer is passed over until it does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::config::{AuthQuery, Config};
use crate::engine::Engine;
use crate::error::{Error, Fault, Result, Retry, SqlState};
use crate::front::postgres::{Credential, Lookup};
use crate::shard::postgres::{OwnConnection, Target, TextRows};
use crate::topology::server::PasswordSource;

/// Logins that wait for one shard.
const ASKS: usize = 1_000;
/// Answers that are kept for when no shard answers.
const KEPT: usize = 10_000;
/// A shard that does not answer is not asked for so long at first; each pause is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The same complaint of the query is logged once in so long.
const SAME_COMPLAINT: Duration = Duration::from_secs(30);

pub(super) struct UserLookup {
    asking: AuthQuery,
    /// For one shard to answer.
    time: Duration,
    /// How old an answer may be when no shard gives one.
    keep: Duration,
    engine: Arc<Engine>,
    /// By the shard's URL.
    sources: Mutex<BTreeMap<String, Source>>,
    kept: quick_cache::sync::Cache<String, (Instant, Credential)>,
    complaints: Arc<Complaints>,
    runtime: Handle,
}

/// What was last wrong with the query, so that strangers' logins do not fill the log with it.
#[derive(Default)]
struct Complaints(Mutex<Option<(Instant, String)>>);

impl Complaints {
    fn tell(&self, shard: &str, message: &str, hint: &str) {
        let mut last = self.0.lock();
        let same = |(at, told): &(Instant, String)| told == message && at.elapsed() < SAME_COMPLAINT;
        if !last.as_ref().is_some_and(same) {
            tracing::error!(shard, hint, "the auth_query failed: {message}");
            *last = Some((Instant::now(), message.to_owned()));
        }
    }
}

/// One shard.
#[derive(Clone)]
struct Source {
    shard: String,
    asks: mpsc::Sender<Ask>,
    is_down: Arc<AtomicBool>,
}

struct Ask {
    user: String,
    answer: oneshot::Sender<Result<TextRows, Silence>>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug)]
enum Silence {
    OutOfReach,
    /// The shard refused the query.
    Refused,
}

/// What asks for this configuration; to be called within the runtime that its connections live on.
pub(super) fn lookup(config: &Config, engine: &Arc<Engine>) -> Option<Lookup> {
    let asking = config.auth_query.clone()?;
    let limits = &config.limits;
    let milliseconds = Duration::from_millis;
    let require_tls = asking.require_tls;
    let found = Arc::new(UserLookup {
        asking,
        time: milliseconds(limits.auth_query_timeout_ms),
        keep: milliseconds(limits.auth_query_keep_ms),
        engine: Arc::clone(engine),
        sources: Mutex::default(),
        kept: quick_cache::sync::Cache::new(KEPT),
        complaints: Arc::default(),
        runtime: Handle::current(),
    });
    found.warn_of_unknown_shards();
    let mut lookup = Lookup::new(move |user| {
        let found = Arc::clone(&found);
        Box::pin(async move { found.find(user).await })
    });
    lookup.require_tls = require_tls;
    lookup.connection_limit = match limits.auth_query_max_clients {
        0 => None,
        limit => Some(super::open::size(limit)),
    };
    Some(lookup)
}

impl UserLookup {
    async fn find(&self, user: &str) -> Result<Option<Credential>> {
        let mut refused = false;
        for source in self.in_turn()? {
            match source.ask(user).await {
                Ok(rows) => return self.judged(user, rows, &source.shard),
                Err(Silence::OutOfReach) => {}
                Err(Silence::Refused) => refused = true,
            }
        }
        if refused {
            return Err(cannot_look_up(user, "the auth_query failed").hint(
                "shardd's log says why: correct auth_query in its configuration, or what it asks on the shards.",
            ));
        }
        match self.kept.get(user) {
            Some((learned, credential)) if learned.elapsed() <= self.keep => Ok(Some(credential)),
            _ => Err(cannot_look_up(user, "no shard that is asked for passwords answers")
                .with_sqlstate(SqlState::CANNOT_CONNECT_NOW)
                .fault(Fault::Shard)
                .retry(Retry::Safe)
                .hint("Try again. shardd's log says why the shards do not answer.")),
        }
    }

    fn judged(&self, user: &str, rows: TextRows, shard: &str) -> Result<Option<Credential>> {
        let stored = match rows.into_iter().next().map(<[Option<String>; 2]>::try_from) {
            None | Some(Ok([_, None])) => None,
            Some(Ok([Some(name), Some(stored)])) if name == user => Some(stored),
            Some(Ok(_)) => {
                self.complaints.tell(shard, "it gave another user than was asked for", "Let it compare names with $1.");
                return Err(cannot_look_up(user, "the auth_query gave another user"));
            }
            Some(Err(_)) => {
                let hint = "It should give two columns: a name, and what is stored of its password.";
                self.complaints.tell(shard, "its columns are not two", hint);
                return Err(cannot_look_up(user, "the auth_query does not give a name and a password"));
            }
        };
        let credential = stored.as_deref().and_then(Credential::stored);
        if stored.is_some() && credential.is_none() {
            tracing::warn!(
                shard,
                user,
                "the auth_query gave neither a SCRAM verifier nor an md5 hash: nobody is let in by it"
            );
        }
        match &credential {
            Some(credential) if !self.keep.is_zero() => {
                self.kept.insert(user.to_owned(), (Instant::now(), credential.clone()));
            }
            _ => _ = self.kept.remove(user),
        }
        Ok(credential)
    }

    /// Those that answered when they were last asked, then the others; each in the order that was given.
    fn in_turn(&self) -> Result<Vec<Source>> {
        let topology = self.engine.live_topology().snapshot();
        let named =
            |shard: &&crate::topology::Shard| self.asking.shards.is_empty() || self.asking.shards.contains(&shard.name);
        let mut shards: Vec<_> = topology.shards.iter().filter(named).collect();
        shards.sort_by_key(|shard| self.asking.shards.iter().position(|name| *name == shard.name));
        let mut sources = self.sources.lock();
        let mut in_turn = Vec::with_capacity(shards.len());
        for shard in shards {
            let source = match sources.get(&shard.url) {
                Some(source) => source.clone(),
                None => {
                    let source = self.open(&shard.name, &shard.url)?;
                    sources.insert(shard.url.clone(), source.clone());
                    source
                }
            };
            in_turn.push(source);
        }
        in_turn.sort_by_key(|source| source.is_down.load(Ordering::Relaxed));
        Ok(in_turn)
    }

    fn open(&self, shard: &str, url: &str) -> Result<Source> {
        let target = Target::parse(url).map_err(|error| Error::internal(format!("a shard's URL: {error}")))?;
        let password = match &self.asking.password_file {
            Some(path) => PasswordSource::File(path.clone()),
            None => PasswordSource::Nowhere,
        };
        // Nothing that the user or the database sets for sessions may decide what the query's names mean.
        let options = Some("-c search_path=".to_owned());
        let target = Target { user: self.asking.user.clone(), password, options, ..target };
        let (asks, queue) = mpsc::channel(ASKS);
        let is_down = Arc::new(AtomicBool::new(false));
        let answering = Answering {
            connection: OwnConnection::new(shard, target),
            shard: shard.to_owned(),
            query: self.asking.query.clone(),
            time: self.time,
            is_down: Arc::clone(&is_down),
            failed: None,
            complaints: Arc::clone(&self.complaints),
        };
        self.runtime.spawn(answering.run(queue));
        Ok(Source { shard: shard.to_owned(), asks, is_down })
    }

    fn warn_of_unknown_shards(&self) {
        let topology = self.engine.live_topology().snapshot();
        for shard in self.asking.shards.iter().filter(|name| topology.shard_named(name).is_none()) {
            tracing::warn!(%shard, "auth_query.shards names a shard that does not exist");
        }
    }
}

fn cannot_look_up(user: &str, reason: &str) -> Error {
    let message = format!("the password of user \"{user}\" cannot be looked up: {reason}");
    Error::new(SqlState::SYSTEM_ERROR, message).fault(Fault::Proxy)
}

impl Source {
    async fn ask(&self, user: &str) -> Result<TextRows, Silence> {
        let (answer, answered) = oneshot::channel();
        // Where too many wait already, it is as good as silent.
        self.asks.try_send(Ask { user: user.to_owned(), answer }).map_err(|_| Silence::OutOfReach)?;
        answered.await.unwrap_or(Err(Silence::OutOfReach))
    }
}

/// The task of one shard.
struct Answering {
    connection: OwnConnection,
    shard: String,
    query: String,
    time: Duration,
    is_down: Arc<AtomicBool>,
    /// When it last did not answer, and how long it is left alone.
    failed: Option<(Instant, Duration)>,
    complaints: Arc<Complaints>,
}

impl Answering {
    /// Ends when nobody can ask any more.
    async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        loop {
            let again = self.failed.as_ref().map(|(at, pause)| *at + *pause);
            tokio::select! {
                ask = asks.recv() => match ask {
                    None => return,
                    // Its client has gone.
                    Some(ask) if ask.answer.is_closed() => {}
                    Some(Ask { user, answer }) => _ = answer.send(self.answer(&user).await),
                },
                () = tokio::time::sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                    let _ = self.asked("SELECT 1", &[]).await;
                }
            }
        }
    }

    async fn answer(&mut self, user: &str) -> Result<TextRows, Silence> {
        if let Some((at, pause)) = &self.failed
            && at.elapsed() < *pause
        {
            return Err(Silence::OutOfReach);
        }
        let query = self.query.clone();
        self.asked(&query, &[user]).await
    }

    async fn asked(&mut self, query: &str, values: &[&str]) -> Result<TextRows, Silence> {
        let outcome = self.connection.ask(query, values, 1, self.time).await;
        match outcome {
            Ok(rows) => {
                self.note_answer();
                Ok(rows)
            }
            Err(error) if self.connection.is_open() || error.sqlstate() == SqlState::CARDINALITY_VIOLATION => {
                self.note_answer();
                self.complaints.tell(&self.shard, error.message(), error.get_hint().unwrap_or_default());
                Err(Silence::Refused)
            }
            Err(error) => {
                self.note_silence(&error);
                Err(Silence::OutOfReach)
            }
        }
    }

    fn note_answer(&mut self) {
        if self.failed.take().is_some() {
            self.is_down.store(false, Ordering::Relaxed);
            tracing::info!(shard = %self.shard, "the shard can be asked for users' passwords again");
        }
    }

    fn note_silence(&mut self, error: &Error) {
        let pause = match &self.failed {
            None => {
                tracing::warn!(
                    shard = %self.shard, %error, hint = error.get_hint(),
                    "cannot ask a shard for users' passwords; the next is asked"
                );
                FIRST_PAUSE
            }
            Some((_, pause)) => (*pause * 2).min(LONGEST_PAUSE),
        };
        self.failed = Some((Instant::now(), pause));
        self.is_down.store(true, Ordering::Relaxed);
    }
}
