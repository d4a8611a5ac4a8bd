//! The server as the admin door meets it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::moves;
use super::open::ShardOpener;
use super::verification;
use crate::admin::{
    AddedShard, AnalyzedStatement, Control, CopiedSummary, ForceRequest, Forced, ForcedOutcome, InDoubtDescription,
    KindRequest, MoveAction, MoveDescription, MovePlan, MoveRequest, NewShard, Pending, ReplicaDescription,
    Verification, VerifyRequest,
};
use crate::engine::{Copied, Engine, Identity, InDoubtTransaction, Joined, KindChange};
use crate::error::{Error, Result, SqlState};
use crate::front::http::CREATE_TABLES;
use crate::rebalance::Rebalancer;
use crate::shard::ShardKind;
use crate::shard::postgres::Outcome;
use crate::shard::sqlite::ShardFile;
use crate::topology::{Drift, SHARD_NAME_RULE, ShardSpec, ShardUrl, Topology, is_shard_name};
use crate::types::ShardId;

pub(super) struct EngineControl(pub(super) Arc<Engine>, pub(super) ShardOpener, pub(super) Rebalancer);

impl Control for EngineControl {
    fn topology(&self) -> Arc<Topology> {
        self.0.live_topology().snapshot()
    }

    fn ping(&self, shard: ShardId) -> Pending<'_, Result<()>> {
        Box::pin(self.0.ping(shard))
    }

    fn statistics(&self, shard: ShardId) -> BTreeMap<String, u64> {
        self.0.statistics(shard).unwrap_or_default()
    }

    fn replicas(&self, shard: ShardId) -> (Vec<ReplicaDescription>, u64) {
        let (states, passed_over) = self.0.replicas(shard);
        let described = states.into_iter().map(|state| ReplicaDescription {
            replica: state.address,
            readable: state.readable,
            error: state.trouble,
            lag_ms: state.lag.map(|lag| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX)),
            statistics: state.pool.counted().into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        });
        (described.collect(), passed_over)
    }

    fn explain(&self, statement: String) -> Pending<'_, Result<Vec<String>>> {
        Box::pin(async move { Ok(self.0.session(self.identity(), &[])?.explain_lines(&statement).await) })
    }

    fn analyze(&self, texts: Vec<String>) -> Pending<'_, Result<Vec<AnalyzedStatement>>> {
        Box::pin(async move {
            let mut session = self.0.session(self.identity(), &[])?;
            let mut analyzed = Vec::with_capacity(texts.len());
            for text in &texts {
                let statements = session.analyze(text).await;
                analyzed.extend(statements.into_iter().map(|(statement, plan)| AnalyzedStatement {
                    statement,
                    kind: plan.kind.name().to_owned(),
                    reason: plan.reason,
                    hint: plan.hint,
                }));
            }
            Ok(analyzed)
        })
    }

    fn schema_drift(&self) -> Pending<'_, Result<Arc<Drift>>> {
        Box::pin(self.0.review_schema())
    }

    fn in_doubt(&self) -> Pending<'_, Result<Vec<InDoubtDescription>>> {
        Box::pin(async move { Ok(self.described(self.0.in_doubt().await?)) })
    }

    fn resolve_in_doubt(&self) -> Pending<'_, Result<Vec<InDoubtDescription>>> {
        Box::pin(async move {
            let mut left = self.described(self.0.resolve_now().await);
            // Also what a shard that could not be asked may have.
            for transaction in self.described(self.0.in_doubt().await?) {
                if !left.iter().any(|known| known.gid == transaction.gid) {
                    left.push(transaction);
                }
            }
            Ok(left)
        })
    }

    fn verify(&self, request: VerifyRequest) -> Pending<'_, Result<Verification>> {
        verification::verify(Arc::clone(&self.0), request)
    }

    fn change_kind(&self, table: String, request: KindRequest) -> Pending<'_, Result<usize>> {
        let KindRequest { key_column, keyspace, dry_run } = request;
        let change = KindChange { table, key_column, keyspace, dry_run };
        let (engine, identity) = (Arc::clone(&self.0), self.identity());
        Box::pin(async move {
            // It is taken to its end though nobody waits for it any more.
            let changing = tokio::spawn(async move { engine.session(identity, &[])?.change_kind(&change).await });
            changing.await.map_err(|error| Error::internal(error.to_string()))?
        })
    }

    fn force_in_doubt(&self, request: ForceRequest) -> Pending<'_, Result<Forced>> {
        let outcome = match request.outcome {
            ForcedOutcome::Commit => Outcome::Commit,
            ForcedOutcome::Rollback => Outcome::Abort,
        };
        Box::pin(async move {
            let (ended, unread) = self.0.force(&request.gid, outcome, request.lost_shard.as_deref()).await?;
            let topology = self.topology();
            let name =
                |id: &ShardId| topology.shard(*id).map_or_else(|| format!("number {id}"), |shard| shard.name.clone());
            Ok(Forced { ended_on: ended.iter().map(name).collect(), unread: unread.iter().map(name).collect() })
        })
    }

    fn start_moves(&self, request: MoveRequest) -> Pending<'_, Result<Vec<MovePlan>>> {
        Box::pin(moves::start(&self.2, self.topology(), request))
    }

    fn moves(&self) -> Pending<'_, Result<Vec<MoveDescription>>> {
        Box::pin(moves::list(&self.2, self.topology()))
    }

    fn one_move(&self, id: i64) -> Pending<'_, Result<MoveDescription>> {
        Box::pin(moves::describe(&self.2, self.topology(), id))
    }

    fn change_move(&self, id: i64, action: MoveAction) -> Pending<'_, Result<MoveDescription>> {
        Box::pin(moves::change(&self.2, self.topology(), id, action))
    }

    fn set_weight(&self, shard: String, weight: f64) -> Pending<'_, Result<()>> {
        Box::pin(async move { self.2.set_weight(&shard, weight, "admin").await })
    }

    fn throttle_moves(&self, bytes_per_second: u64) {
        self.2.throttle(bytes_per_second);
    }

    fn add_shard(&self, shard: NewShard) -> Pending<'_, Result<AddedShard>> {
        Box::pin(async move {
            let url = ShardUrl::parse(&shard.url).map_err(|error| {
                Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("the shard's URL cannot be used: {error}"))
            })?;
            if !is_shard_name(&shard.shard) {
                let message = format!("\"{}\" is no name for a shard: {SHARD_NAME_RULE}", shard.shard);
                return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
            }
            if self.topology().shard_named(&shard.shard).is_some() {
                let message = format!("there is a shard named \"{}\" already", shard.shard);
                let hint = format!("`shardctl describe {}` shows it; give the new one another name.", shard.shard);
                return Err(Error::new(SqlState::DUPLICATE_OBJECT, message).hint(hint));
            }
            let spec = ShardSpec { name: shard.shard, url, weight: shard.weight };
            let (topology, warnings, copied) = match (self.0.kind(), &spec.url) {
                (ShardKind::Sqlite, ShardUrl::Sqlite(_)) => (self.0.add_shard(&spec, "admin").await?, Vec::new(), None),
                (ShardKind::Postgres, ShardUrl::Postgres(_)) => {
                    let Joined { topology, warnings, copied } = self.join(&spec).await?;
                    (topology, warnings, Some(summary(copied)))
                }
                (kind, _) => return Err(other_kind(kind)),
            };
            let added = topology.shard_named(&spec.name);
            let id =
                added.map(|shard| shard.id).ok_or_else(|| Error::internal("the new shard is not in the topology"))?;
            Ok(AddedShard { id, warnings, copied })
        })
    }
}

impl EngineControl {
    fn identity(&self) -> Identity {
        Identity { user: "shardd".to_owned(), database: self.0.database().to_owned(), door: "admin", backend_pid: 0 }
    }

    fn described(&self, transactions: Vec<InDoubtTransaction>) -> Vec<InDoubtDescription> {
        let topology = self.topology();
        let name = |id: ShardId| topology.shard(id).map_or_else(|| id.to_string(), |shard| shard.name.clone());
        let described = transactions.into_iter().map(|transaction| InDoubtDescription {
            shard: name(transaction.shard),
            gid: transaction.gid,
            decided_by: transaction.decider.map(name),
            age_seconds: transaction.age.as_secs(),
            error: transaction.trouble.map(|error| error.message().to_owned()),
        });
        described.collect()
    }

    /// Reaches the server first: its URL, its hashes.
    async fn join(&self, spec: &ShardSpec) -> Result<Joined> {
        let shard = spec.numbered(self.0.next_shard_number().await?);
        match self.1.open(&shard, ShardFile::Known).await? {
            crate::shard::Shard::Postgres(opened) => {
                let (engine, spec) = (Arc::clone(&self.0), spec.clone());
                // It is taken to its end though nobody waits for it any more.
                let joining = tokio::spawn(async move { engine.join(&spec, opened, &CREATE_TABLES, "admin").await });
                joining.await.map_err(|error| Error::internal(error.to_string()))?
            }
            crate::shard::Shard::Sqlite(_) => Err(Error::internal("a Postgres URL opened a SQLite file")),
        }
    }
}

fn summary(copied: Copied) -> CopiedSummary {
    CopiedSummary {
        tables: copied.tables as u64,
        reference_tables: copied.reference_tables as u64,
        reference_rows: copied.reference_rows,
    }
}

fn other_kind(kind: ShardKind) -> Error {
    let (all, hint) = match kind {
        ShardKind::Sqlite => ("SQLite files", "Give sqlite:PATH."),
        ShardKind::Postgres => ("Postgres servers", "Give postgres://USER@HOST:PORT/DATABASE."),
    };
    let message = format!("the shards of this cluster are {all}, and a cluster's shards are all of one kind");
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message).hint(hint)
}
