//! What a move across Postgres shards stands on: a guard that is redefined under a table's lock binds everybody who writes
//! afterwards, however old their snapshot; the lock waits for everybody who wrote before; who may still read by an older
//! map is seen.
//!
//! The guard here is the one that shards are to carry: a trigger whose function holds the shard's slots as a constant.

use crate::support::{Client, Postgres};
use shardd::topology::hash::SLOT_HASH_SEED;

const SLOTS: usize = shardd::types::SLOTS as usize;

const REFUSED: &str = "55000";
const LOCK_TIMEOUT: &str = "55P03";
/// What a mover takes: it waits for writers, FOR UPDATE and prepared transactions, and lets readers be.
const LOCK: &str = "LOCK TABLE seats IN EXCLUSIVE MODE";

/// The guard's function for shards that own the slots for which this says so.
fn guard(owns: impl Fn(usize) -> bool) -> String {
    let mut bitmap = vec![0_u8; SLOTS / 8];
    for slot in (0..SLOTS).filter(|slot| owns(*slot)) {
        bitmap[slot / 8] |= 1 << (slot % 8);
    }
    let bitmap: String = bitmap.iter().map(|byte| format!("{byte:02x}")).collect();
    let refused = |row: &str| {
        format!(
            "IF get_bit('\\x{bitmap}'::bytea, ((hashint8extended({row}.event_id, {SLOT_HASH_SEED}) >> 50) & 16383)::int) = 0 THEN \
             RAISE object_not_in_prerequisite_state USING MESSAGE = 'this row belongs to another shard'; END IF;"
        )
    };
    format!(
        "CREATE OR REPLACE FUNCTION guard_seats() RETURNS trigger LANGUAGE plpgsql AS $guard$ BEGIN \
         IF TG_OP <> 'DELETE' THEN {} END IF; IF TG_OP <> 'INSERT' THEN {} END IF; RETURN NULL; END $guard$",
        refused("NEW"),
        refused("OLD")
    )
}

/// A server with a guarded table whose rows are all of slots that it owns.
fn start() -> (Postgres, Client) {
    let postgres = Postgres::start();
    let mut mover = postgres.client();
    for statement in [
        "CREATE TABLE seats (event_id bigint, seat_id int, status text, PRIMARY KEY (event_id, seat_id))",
        &guard(|_| true),
        "CREATE TRIGGER shardd_guard AFTER INSERT OR UPDATE OR DELETE ON seats FOR EACH ROW EXECUTE FUNCTION guard_seats()",
        "ALTER TABLE seats ENABLE ALWAYS TRIGGER shardd_guard",
        "INSERT INTO seats SELECT n, 1, 'free' FROM generate_series(1, 100) n",
    ] {
        mover.run(statement);
    }
    (postgres, mover)
}

/// Gives all slots away, as a cutover does.
fn fence(mover: &mut Client) {
    for statement in ["BEGIN", "SET LOCAL lock_timeout = '5s'", LOCK, &guard(|_| false), "COMMIT"] {
        mover.run(statement);
    }
}

/// Whether the mover would have to wait for the table.
fn waits(mover: &mut Client) -> bool {
    mover.run("BEGIN");
    mover.run("SET LOCAL lock_timeout = '200ms'");
    let answer = mover.query(LOCK);
    mover.run("ROLLBACK");
    match &answer.error {
        None => false,
        Some(error) => {
            assert_eq!(error.sqlstate(), LOCK_TIMEOUT, "{error:?}");
            true
        }
    }
}

const WRITES: &[&str] = &[
    "UPDATE seats SET status = 'sold' WHERE event_id = 5",
    "DELETE FROM seats WHERE event_id = 5",
    "INSERT INTO seats VALUES (5, 2, 'free')",
    "INSERT INTO seats VALUES (5, 1, 'free') ON CONFLICT (event_id, seat_id) DO UPDATE SET status = 'held'",
    "WITH gone AS (DELETE FROM seats WHERE event_id = 5 RETURNING *) SELECT count(*) FROM gone",
    "MERGE INTO seats s USING (SELECT 5 AS event_id) n ON s.event_id = n.event_id WHEN MATCHED THEN UPDATE SET status = 'x'",
];

/// Takes all slots back, and puts the rows there as they were.
fn reset(mover: &mut Client) {
    mover.run(&guard(|_| true));
    mover.run("TRUNCATE seats; INSERT INTO seats SELECT n, 1, 'free' FROM generate_series(1, 100) n");
}

#[test]
fn a_new_guard_binds_writers_whose_snapshots_are_older() {
    let (postgres, mut mover) = start();
    for isolation in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        for write in WRITES {
            reset(&mut mover);
            let mut writer = postgres.client();
            // It has run the guard's function before, so that the compiled one is in its session's cache.
            writer.run("UPDATE seats SET status = 'held' WHERE event_id = 7");
            writer.run(&format!("PREPARE write AS {write}"));
            writer.run(&format!("BEGIN ISOLATION LEVEL {isolation}"));
            assert_eq!(writer.query("SELECT status FROM seats WHERE event_id = 5").value(), "free");
            fence(&mut mover);
            assert_eq!(writer.query("EXECUTE write").sqlstate(), REFUSED, "{isolation}: {write}");
            writer.run("ROLLBACK");
            assert_eq!(mover.query("SELECT string_agg(status, ',') FROM seats WHERE event_id = 5").value(), "free");
        }
    }
}

/// Why the slots are a constant in the guard's body: read from a table, they would be those of the writer's snapshot.
#[test]
fn a_guard_that_reads_a_table_would_let_an_older_snapshot_through() {
    let (postgres, mut mover) = start();
    mover.run("CREATE TABLE owned AS SELECT true AS all_slots");
    mover.run(
        "CREATE OR REPLACE FUNCTION guard_seats() RETURNS trigger LANGUAGE plpgsql AS $guard$ BEGIN \
         IF NOT (SELECT all_slots FROM owned) THEN RAISE object_not_in_prerequisite_state; END IF; RETURN NULL; END $guard$",
    );
    let mut writer = postgres.client();
    writer.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM seats");
    mover.run(&format!("BEGIN; {LOCK}; UPDATE owned SET all_slots = false; COMMIT"));
    writer.run("UPDATE seats SET status = 'sold' WHERE event_id = 5; COMMIT");
    assert_eq!(writer.query("UPDATE seats SET status = 'sold' WHERE event_id = 5").sqlstate(), REFUSED);
}

#[test]
fn the_table_s_lock_waits_for_everybody_who_may_still_write() {
    let (postgres, mut mover) = start();
    let mut client = postgres.client();
    assert!(!waits(&mut mover), "nobody is there");
    for (begun, ended) in [
        ("BEGIN; UPDATE seats SET status = 'sold' WHERE event_id = 5", "COMMIT"),
        ("BEGIN; INSERT INTO seats VALUES (500, 1, 'free')", "ROLLBACK"),
        (
            "BEGIN; SAVEPOINT s; DELETE FROM seats WHERE event_id = 6; ROLLBACK TO s; DELETE FROM seats WHERE event_id = 7",
            "COMMIT",
        ),
        ("BEGIN; SELECT * FROM seats WHERE event_id = 5 FOR UPDATE", "COMMIT"),
        ("BEGIN; SELECT * FROM seats WHERE event_id = 5 FOR KEY SHARE", "COMMIT"),
        ("BEGIN; DELETE FROM seats WHERE event_id = 5; PREPARE TRANSACTION 'p'", "COMMIT PREPARED 'p'"),
        ("BEGIN; UPDATE seats SET status = 'x' WHERE event_id = 8; PREPARE TRANSACTION 'p'", "ROLLBACK PREPARED 'p'"),
    ] {
        client.run(begun);
        assert!(waits(&mut mover), "{begun}");
        client.run(ended);
        assert!(!waits(&mut mover), "after {begun}; {ended}");
    }
    client.run("BEGIN; SELECT count(*) FROM seats");
    assert!(!waits(&mut mover), "a reader is waited for in another way: by its epoch");
    client.run("COMMIT");
}

#[test]
fn a_writer_that_waits_for_the_lock_meets_the_new_guard() {
    let (postgres, mut mover) = start();
    for write in WRITES {
        reset(&mut mover);
        for statement in ["BEGIN", LOCK, &guard(|_| false)] {
            mover.run(statement);
        }
        let mut writer = postgres.client();
        let waiting = std::thread::spawn({
            let write = (*write).to_owned();
            move || writer.query(&write)
        });
        let queued = "SELECT count(*) FROM pg_locks WHERE relation = 'seats'::regclass AND NOT granted";
        let mut other = postgres.client();
        while other.query(queued).value() == "0" {
            assert!(!waiting.is_finished(), "{write} did not wait");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        mover.run("COMMIT");
        assert_eq!(waiting.join().expect("the writer's thread").sqlstate(), REFUSED, "{write}");
    }
}

#[test]
fn no_way_of_writing_goes_round_the_guard() {
    let (_postgres, mut client) = start();
    client.run(
        "CREATE TABLE events (event_id bigint PRIMARY KEY); INSERT INTO events SELECT DISTINCT event_id FROM seats",
    );
    client.run("ALTER TABLE seats ADD FOREIGN KEY (event_id) REFERENCES events ON DELETE CASCADE ON UPDATE CASCADE");
    client.run("CREATE VIEW free AS SELECT * FROM seats WHERE status = 'free'");
    client.run("CREATE FUNCTION sell(bigint) RETURNS void LANGUAGE sql AS 'UPDATE seats SET status = ''sold'' WHERE event_id = $1'");
    client.run(&guard(|_| false));
    let ways = [
        "COPY seats FROM PROGRAM 'echo 5,2,free' WITH (FORMAT csv)",
        "DELETE FROM events WHERE event_id = 5",
        "UPDATE events SET event_id = 105 WHERE event_id = 5",
        "UPDATE free SET status = 'sold' WHERE event_id = 5",
        "SELECT sell(5)",
        "SET LOCAL session_replication_role = replica; UPDATE seats SET status = 'sold' WHERE event_id = 5",
    ];
    for way in WRITES.iter().chain(&ways) {
        client.run("BEGIN");
        assert_eq!(client.simple(way).last().expect("an answer").sqlstate(), REFUSED, "{way}");
        client.run("ROLLBACK");
    }
    // What the guard cannot see, and a move has to look after in another way.
    client.run("TRUNCATE seats");
}

/// Every connection of shardd's holds a shared lock on the epoch that it was routed by.
#[test]
fn whoever_was_routed_by_an_older_epoch_is_seen_and_can_be_ended() {
    const EPOCHS: i32 = 0x7368;
    let (postgres, mut mover) = start();
    let stale = |mover: &mut Client, epoch: i32| {
        let seen = format!(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = {EPOCHS} AND objid < {epoch} AND objsubid = 2 \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY pid"
        );
        let rows = mover.query(&seen).texts();
        rows.into_iter().filter_map(|mut row| row.remove(0)).collect::<Vec<_>>()
    };
    let mut clients: Vec<Client> = (0..3).map(|_| postgres.client()).collect();
    let pids: Vec<String> = clients.iter_mut().map(|client| client.query("SELECT pg_backend_pid()").value()).collect();
    clients.iter_mut().for_each(|client| drop(client.query(&format!("SELECT pg_advisory_lock_shared({EPOCHS}, 7)"))));
    let mut sorted = pids.clone();
    sorted.sort_by_key(|pid| pid.parse::<i32>().expect("a number"));
    assert_eq!(stale(&mut mover, 8), sorted);

    // One follows, one is in the middle of a read and is waited for, one never follows and is ended.
    let follow = format!("SELECT pg_advisory_lock_shared({EPOCHS}, 8), pg_advisory_unlock_shared({EPOCHS}, 7)");
    drop(clients[0].query(&follow));
    clients[1].run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM seats");
    assert_eq!(stale(&mut mover, 8).len(), 2);
    clients[1].run("COMMIT");
    drop(clients[1].query(&follow));
    assert_eq!(stale(&mut mover, 8), [pids[2].clone()]);
    assert_eq!(mover.query(&format!("SELECT pg_terminate_backend({}, 5000)", pids[2])).value(), "t");
    assert_eq!(stale(&mut mover, 8), Vec::<String>::new());
    assert!(clients[2].try_simple("SELECT 1").is_err(), "its connection has ended");

    // A transaction that is rolled back, and an error, leave the lock where it is.
    clients[0].run("BEGIN");
    assert_eq!(clients[0].query("SELECT 1/0").sqlstate(), "22012");
    clients[0].run("ROLLBACK");
    assert_eq!(stale(&mut mover, 9).len(), 2);
}
