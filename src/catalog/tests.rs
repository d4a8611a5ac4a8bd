//! The catalog on a real file, opened again after every step that must last.

use super::*;
use crate::topology::{KeyspaceSpec, TopologyError};
use crate::types::KeyType;

struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture { directory: tempfile::tempdir().unwrap() }
    }

    fn data_dir(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    async fn open(&self) -> Catalog {
        let url = format!("sqlite:{}", self.directory.path().join("catalog.db").display());
        Catalog::open(&url, &self.data_dir()).await.unwrap()
    }

    fn shard(&self, number: u16) -> ShardSpec {
        let path = self.directory.path().join(format!("shard-{number}.db"));
        ShardSpec { name: format!("shard-{number}"), url: ShardUrl::Sqlite(path), weight: 1.0 }
    }

    fn topology(&self) -> Topology {
        let tickets = KeyspaceSpec {
            name: "tickets".into(),
            key_column: "event_id".into(),
            key_type: KeyType::Bigint,
            key_columns: vec![("events".into(), "id".into())],
            shards: vec![],
        };
        let customers = KeyspaceSpec {
            name: "customers".into(),
            key_column: "email".into(),
            key_type: KeyType::Text,
            key_columns: vec![],
            shards: vec!["shard-2".into()],
        };
        Topology::first(&[self.shard(1), self.shard(2)], &[tickets, customers]).unwrap()
    }

    async fn seeded(&self) -> Catalog {
        let catalog = self.open().await;
        catalog.seed(&self.topology(), "test").await.unwrap();
        catalog
    }
}

fn assert_same(left: &Topology, right: &Topology) {
    assert_eq!(format!("{left:?}"), format!("{right:?}"));
}

#[tokio::test]
async fn a_seeded_topology_is_found_again() {
    let fixture = Fixture::new();
    let catalog = fixture.open().await;
    assert!(catalog.load().await.unwrap().is_none());
    assert!(matches!(catalog.cluster_id().await, Err(CatalogError::Empty)));
    catalog.seed(&fixture.topology(), "test").await.unwrap();
    let id = catalog.cluster_id().await.unwrap();
    catalog.close().await;

    let catalog = fixture.open().await;
    assert_same(&catalog.load().await.unwrap().unwrap(), &fixture.topology());
    assert_eq!(catalog.cluster_id().await.unwrap(), id);
    assert_eq!(id.len(), 32);
    let again = catalog.seed(&fixture.topology(), "test").await;
    assert!(matches!(again, Err(CatalogError::AlreadySeeded)), "{again:?}");
}

#[tokio::test]
async fn a_shard_is_added_once_and_durably() {
    let fixture = Fixture::new();
    let catalog = fixture.seeded().await;
    let (number, after) = catalog.add_shard(Epoch(1), &fixture.shard(3), &[], "ann").await.unwrap();
    assert_eq!((number, after.epoch), (ShardId(3), Epoch(2)));
    assert_eq!(after.slot_counts()[&ShardId(3)], 0);
    catalog.close().await;

    let catalog = fixture.open().await;
    assert_same(&catalog.load().await.unwrap().unwrap(), &after);
    let log = catalog.audit_log(10).await.unwrap();
    assert_eq!((log[0].action.as_str(), log[0].actor.as_str(), log[0].epoch), ("add-shard", "ann", 2));
    assert_eq!(log[1].action, "seed");
}

#[tokio::test]
async fn there_is_no_1025th_shard_even_after_others_were_removed() {
    let fixture = Fixture::new();
    let catalog = fixture.seeded().await;
    let insert = "INSERT INTO shards (number, name, url, weight, removed_in_epoch) VALUES (1023, 'gone', 'sqlite:gone.db', 1, 1)";
    sqlx::query(insert).execute(&catalog.pool).await.unwrap();
    let (last, after) = catalog.add_shard(Epoch(1), &fixture.shard(3), &[], "test").await.unwrap();
    assert_eq!(last, ShardId(1024));
    assert!(matches!(catalog.next_shard_number().await, Err(CatalogError::NumbersExhausted)));
    let refused = catalog.add_shard(after.epoch, &fixture.shard(4), &[], "test").await;
    assert!(matches!(refused, Err(CatalogError::NumbersExhausted)), "{refused:?}");
    assert_same(&catalog.load().await.unwrap().unwrap(), &after);
}

#[tokio::test]
async fn a_shard_with_a_number_gets_that_one_or_is_not_added() {
    let fixture = Fixture::new();
    let catalog = fixture.seeded().await;
    let before = catalog.load().await.unwrap().unwrap();
    let next = catalog.next_shard_number().await.unwrap();
    let other = ShardId(next.0 + 1);
    let refused = catalog.add_shard_as(Epoch(1), other, &fixture.shard(3), "test").await;
    assert!(matches!(refused, Err(CatalogError::OtherNumber { .. })), "{refused:?}");
    assert_same(&catalog.load().await.unwrap().unwrap(), &before);
    let after = catalog.add_shard_as(Epoch(1), next, &fixture.shard(3), "test").await.unwrap();
    assert!(after.shard(next).is_some());
    assert_same(&catalog.load().await.unwrap().unwrap(), &after);
}

#[tokio::test]
async fn a_change_planned_for_another_epoch_changes_nothing() {
    let fixture = Fixture::new();
    let catalog = fixture.seeded().await;
    assert_eq!(catalog.bump_epoch(Epoch(1), "create table", "seats", "test").await.unwrap(), Epoch(2));
    for refused in [
        catalog.add_shard(Epoch(1), &fixture.shard(3), &[], "test").await.map(|_| ()),
        catalog.bump_epoch(Epoch(1), "create table", "holds", "test").await.map(|_| ()),
        catalog.bump_epoch(Epoch(3), "create table", "holds", "test").await.map(|_| ()),
    ] {
        assert!(matches!(refused, Err(CatalogError::Stale { found: Epoch(2), .. })), "{refused:?}");
    }
    let topology = catalog.load().await.unwrap().unwrap();
    assert_eq!((topology.epoch, topology.shards.len()), (Epoch(2), 2));
    assert_eq!(catalog.audit_log(10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_shard_that_cannot_be_leaves_the_epoch_as_it_was() {
    let fixture = Fixture::new();
    let catalog = fixture.seeded().await;
    let taken_name = ShardSpec { name: "shard-1".into(), ..fixture.shard(3) };
    let error = catalog.add_shard(Epoch(1), &taken_name, &[], "test").await.unwrap_err();
    assert!(matches!(error, CatalogError::Topology(TopologyError::DuplicateShard(_))), "{error}");
    let same_file = fixture.data_dir().join("x/../shard-1.db");
    let taken_file = ShardSpec { url: ShardUrl::Sqlite(same_file), ..fixture.shard(3) };
    let error = catalog.add_shard(Epoch(1), &taken_file, &[], "test").await.unwrap_err();
    assert!(matches!(error, CatalogError::Topology(TopologyError::DuplicateUrl(_))), "{error}");
    assert_eq!(catalog.load().await.unwrap().unwrap().epoch, Epoch(1));
}

#[tokio::test]
async fn a_removed_shard_keeps_its_number() {
    let fixture = Fixture::new();
    let catalog = fixture.seeded().await;
    let (_, after) = catalog.add_shard(Epoch(1), &fixture.shard(3), &[], "test").await.unwrap();
    for statement in
        ["DELETE FROM keyspace_shards WHERE shard = 3", "UPDATE shards SET removed_in_epoch = 3 WHERE number = 3"]
    {
        sqlx::query(statement).execute(&catalog.pool).await.unwrap();
    }
    let (number, _) = catalog.add_shard(after.epoch, &fixture.shard(3), &[], "test").await.unwrap();
    assert_eq!(number, ShardId(4), "the name and the file may come again, the number may not");
}

#[tokio::test]
async fn a_moved_data_directory_takes_its_shards_along() {
    let fixture = Fixture::new();
    fixture.seeded().await.close().await;
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::copy(fixture.data_dir().join("catalog.db"), elsewhere.path().join("catalog.db")).unwrap();
    let url = format!("sqlite:{}", elsewhere.path().join("catalog.db").display());
    let catalog = Catalog::open(&url, elsewhere.path()).await.unwrap();
    let topology = catalog.load().await.unwrap().unwrap();
    assert_eq!(topology.shards[0].url, format!("sqlite:{}", elsewhere.path().join("shard-1.db").display()));
}

#[tokio::test]
async fn redo_records_last_until_they_are_finished() {
    let fixture = Fixture::new();
    let catalog = fixture.seeded().await;
    let parts = |byte: u8| vec![(ShardId(2), vec![byte; 3]), (ShardId(1), vec![])];
    catalog.record_redo("b", parts(1)).await.unwrap();
    catalog.record_redo("a", parts(2)).await.unwrap();
    let again = catalog.record_redo("a", parts(3)).await;
    assert!(matches!(again, Err(CatalogError::RedoRecordExists(_))), "{again:?}");
    catalog.redo_applied("b", ShardId(2)).await.unwrap();
    let unknown = catalog.redo_applied("b", ShardId(9)).await;
    assert!(matches!(unknown, Err(CatalogError::NoRedoRecord { shard: 9, .. })), "{unknown:?}");
    catalog.close().await;

    let catalog = fixture.open().await;
    let undone = catalog.redo_undone().await.unwrap();
    let order: Vec<(&str, u16)> = undone.iter().map(|part| (part.gid.as_str(), part.shard.0)).collect();
    assert_eq!(order, [("b", 1), ("a", 2), ("a", 1)]);
    assert_eq!(undone[1].payload, [2, 2, 2]);
    catalog.finish_redo("b").await.unwrap();
    catalog.finish_redo("b").await.unwrap();
    assert_eq!(catalog.redo_undone().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_record_for_an_unknown_shard_is_not_written_in_part() {
    let fixture = Fixture::new();
    let catalog = fixture.seeded().await;
    let parts = vec![(ShardId(1), vec![]), (ShardId(77), vec![])];
    assert!(catalog.record_redo("a", parts).await.is_err());
    assert_eq!(catalog.redo_undone().await.unwrap(), []);
}

#[tokio::test]
async fn a_catalog_that_cannot_be_says_what_to_do() {
    let fixture = Fixture::new();
    let open = |url: String| async move { Catalog::open(&url, Path::new("data")).await.unwrap_err() };
    assert!(matches!(open("postgres://db/x".into()).await, CatalogError::PostgresUrl));
    assert!(matches!(open("catalog.db".into()).await, CatalogError::Url));
    let missing = open(format!("sqlite:{}/nowhere/catalog.db", fixture.data_dir().display())).await;
    assert!(missing.to_string().contains("nowhere/catalog.db"), "{missing}");

    let catalog = fixture.seeded().await;
    sqlx::query("DELETE FROM slot_owners WHERE first_slot = 0").execute(&catalog.pool).await.unwrap();
    assert!(matches!(catalog.load().await, Err(CatalogError::Corrupt(_))));
    sqlx::query(
        "INSERT INTO _sqlx_migrations SELECT 99, 'later', installed_on, success, checksum, 0 FROM _sqlx_migrations \
         WHERE version = 1",
    )
    .execute(&catalog.pool)
    .await
    .unwrap();
    catalog.close().await;
    let url = format!("sqlite:{}", fixture.data_dir().join("catalog.db").display());
    assert!(matches!(open(url).await, CatalogError::Newer { .. }));
}

#[tokio::test]
async fn a_move_is_found_again_at_its_stage_and_its_slots_change_hands_once() {
    let fixture = Fixture::new();
    let catalog = fixture.seeded().await;
    let before = catalog.load().await.unwrap().unwrap();
    let own = before.keyspaces[0].slots_of(ShardId(1));
    let slots: crate::topology::SlotSet = own.iter().take(20).collect();
    let new = NewMove { keyspace: "tickets".into(), from: ShardId(1), to: ShardId(2), slots: slots.clone() };
    let ids = catalog.add_moves(std::slice::from_ref(&new), "test").await.unwrap();
    let again = catalog.add_moves(std::slice::from_ref(&new), "test").await;
    assert!(matches!(again, Err(CatalogError::CannotMove(_))), "{again:?}");
    let backwards = NewMove { from: ShardId(2), to: ShardId(1), ..new.clone() };
    assert!(catalog.add_moves(&[backwards], "test").await.is_err(), "it does not own them");
    let id = ids[0];
    use MoveStage::{CatchUp, CleanUp, Copy, CutOver, Done, Prepare, Undo, Verify};
    for step in [(Prepare, Copy), (Copy, CatchUp), (CatchUp, Verify), (Verify, CutOver)] {
        assert_eq!(catalog.set_move_stage(id, step, None, None).await.unwrap(), None);
        assert!(catalog.set_move_stage(id, step, None, None).await.is_err(), "it has been there");
    }
    assert_eq!(catalog.next_attempt(id).await.unwrap(), 1);
    assert!(catalog.give_slots(id, Epoch(9)).await.is_err());
    catalog.close().await;

    let catalog = fixture.open().await;
    let found = catalog.unfinished_moves().await.unwrap().remove(0);
    assert_eq!((found.stage, found.attempt, found.slots), (CutOver, 1, slots.clone()));
    let after = catalog.give_slots(id, before.epoch).await.unwrap();
    assert_same(&after, &catalog.load().await.unwrap().unwrap());
    assert_eq!(after.epoch, before.epoch.next());
    assert_eq!(after.keyspaces[0].slots_of(ShardId(1)), own.difference(&slots));
    assert!(catalog.give_slots(id, after.epoch).await.is_err(), "they have changed hands");
    assert!(catalog.ask_of_move(id, Asked::Cancel, "test").await.is_err());
    assert!(catalog.set_move_stage(id, (CleanUp, Undo), None, None).await.is_err());
    let ended = catalog.set_move_stage(id, (CleanUp, Done), None, Some(after.epoch)).await.unwrap();
    assert_eq!(ended, Some(after.epoch.next()));
    assert!(catalog.unfinished_moves().await.unwrap().is_empty());
    assert!(matches!(catalog.recorded_move(99).await, Err(CatalogError::NoMove(99))));
}

#[tokio::test]
async fn a_weight_that_cannot_be_changes_nothing() {
    let fixture = Fixture::new();
    let catalog = fixture.seeded().await;
    let before = catalog.load().await.unwrap().unwrap();
    assert!(catalog.set_weight(before.epoch, ShardId(1), -1.0, "test").await.is_err());
    assert_same(&catalog.load().await.unwrap().unwrap(), &before);
    let after = catalog.set_weight(before.epoch, ShardId(1), 0.0, "test").await.unwrap();
    assert_same(&catalog.load().await.unwrap().unwrap(), &after);
    assert!(after.shards[0].weight.abs() < f64::EPSILON);
}

#[tokio::test]
async fn an_acknowledged_change_is_on_disk() {
    let fixture = Fixture::new();
    let catalog = fixture.seeded().await;
    let pragma = |name: &'static str| {
        let pool = catalog.pool.clone();
        async move { sqlx::query_scalar::<_, i64>(name).fetch_one(&pool).await.unwrap() }
    };
    assert_eq!(pragma("PRAGMA synchronous").await, 2, "FULL");
    assert_eq!(pragma("PRAGMA foreign_keys").await, 1);
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&catalog.pool).await.unwrap();
    assert_eq!(mode, "wal");
}
