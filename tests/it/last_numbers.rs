//! `lastval()` and `currval()` tell a session what it was given itself, or say that they cannot.

use crate::support::{Client, Postgres, Shardd, Value};

const ORDERS: &str =
    "CREATE TABLE orders (event_id bigint, order_id bigserial, note text, PRIMARY KEY (event_id, order_id))";
const SEQUENCE: &str = "orders_order_id_seq";

fn lastval(client: &mut Client) -> Result<i64, (String, String)> {
    asked(client, "SELECT lastval()")
}

fn currval(client: &mut Client) -> Result<i64, (String, String)> {
    asked(client, &format!("SELECT currval('{SEQUENCE}')"))
}

fn asked(client: &mut Client, question: &str) -> Result<i64, (String, String)> {
    let answer = client.query(question);
    match &answer.error {
        Some(error) => Err((error.sqlstate().to_owned(), error.message().to_owned())),
        None => Ok(answer.value().parse().expect("a number")),
    }
}

fn not_yet(what: &str) -> Result<i64, (String, String)> {
    Err(("55000".to_owned(), format!("{what} is not yet defined in this session")))
}

fn lost() -> Result<i64, (String, String)> {
    let message = "the number that this session was last given by a sequence is not known any more";
    Err(("55000".to_owned(), message.to_owned()))
}

/// The id of the order with this note.
fn id_of(client: &mut Client, note: &str) -> i64 {
    client.query(&format!("SELECT order_id FROM orders WHERE note = '{note}'")).value().parse().expect("an id")
}

#[test]
fn a_session_is_told_what_its_own_inserts_were_given() {
    for shardd in Shardd::of_each_kind() {
        let mut client = shardd.client();
        client.run(ORDERS);
        client.run("CREATE TABLE plain (event_id bigint PRIMARY KEY, note text)");
        let mut client = shardd.client();
        assert_eq!(lastval(&mut client), not_yet("lastval"));
        assert_eq!(currval(&mut client), not_yet(&format!("currval of sequence \"{SEQUENCE}\"")));
        for event in 1..=8 {
            client.run(&format!("INSERT INTO orders (event_id, note) VALUES ({event}, 'n{event}')"));
            let (last, current) = (lastval(&mut client), currval(&mut client));
            let id = id_of(&mut client, &format!("n{event}"));
            assert_eq!((last, current), (Ok(id), Ok(id)), "{event}");
        }
        for round in 0..3 {
            client.run("INSERT INTO orders (event_id, note) SELECT 7, 'read'");
            let id = client.query("SELECT max(order_id) FROM orders WHERE note = 'read'").value().parse().unwrap();
            assert_eq!(currval(&mut client), Ok(id), "{round}");
        }
        // What takes none changes nothing.
        let last = lastval(&mut client);
        for other in [
            "UPDATE orders SET note = 'x' WHERE event_id = 1",
            "INSERT INTO plain VALUES (1, 'a'), (2, 'b'), (3, 'c')",
            "INSERT INTO orders VALUES (1, 4711, 'given')",
            "SELECT count(*) FROM orders",
            "DELETE FROM orders WHERE event_id = 2",
        ] {
            client.run(other);
            assert_eq!(lastval(&mut client), last, "{other}");
        }
        let rows = client.query("INSERT INTO orders (event_id) VALUES (11), (12), (13), (14), (15) RETURNING order_id");
        let ids = rows.texts().concat();
        let last = ids.last().unwrap().as_ref().unwrap().parse().unwrap();
        assert_eq!((lastval(&mut client), currval(&mut client)), (Ok(last), Ok(last)), "{ids:?}");
        let extended = client.extended("SELECT currval($1) AS id", &[Value::text(SEQUENCE)]);
        assert_eq!(extended.value(), last.to_string());
        assert_eq!(client.extended("SELECT lastval()", &[]).value(), last.to_string());
        assert_eq!(
            client.query("SELECT currval(pg_get_serial_sequence('orders', 'order_id'))").value(),
            last.to_string()
        );
        assert_eq!(client.query("SELECT currval(NULL)").texts(), [[None]]);
        assert_eq!(client.query("SELECT currval('nope')").sqlstate(), "42P01");
        assert_eq!(client.query("SELECT currval('orders')").sqlstate(), "42809");
        // It is nobody else's.
        let mut other = shardd.client();
        assert_eq!(lastval(&mut other), not_yet("lastval"));
        client.run("DISCARD SEQUENCES");
        assert_eq!(lastval(&mut client), not_yet("lastval"));
    }
}

#[test]
fn within_a_transaction_the_last_insert_is_told() {
    for shardd in Shardd::of_each_kind() {
        let mut client = shardd.client();
        client.run(ORDERS);
        let mut client = shardd.client();
        for end in ["COMMIT", "ROLLBACK"] {
            client.run("BEGIN");
            client.run("INSERT INTO orders (event_id, note) VALUES (1, 'one')");
            let last = lastval(&mut client);
            assert_eq!((last.clone(), currval(&mut client)), (Ok(id_of(&mut client, "one")), last));
            client.run("INSERT INTO orders (event_id, note) VALUES (2, 'two')");
            let id = id_of(&mut client, "two");
            assert_eq!((lastval(&mut client), currval(&mut client)), (Ok(id), Ok(id)));
            client.run("SAVEPOINT s; DELETE FROM orders; ROLLBACK TO s");
            client.run(end);
            // Numbers are no part of a transaction.
            assert_eq!(lastval(&mut client), Ok(id), "{end}");
            client.run("DELETE FROM orders");
        }
    }
}

/// The expected numbers are those of a Postgres.
#[test]
fn nextval_and_setval_are_remembered_as_by_postgres() {
    let statements = [
        "SELECT currval('s')",
        "SELECT setval('s', 40)",
        "SELECT currval('s')",
        "SELECT lastval()",
        "SELECT nextval('s')",
        "SELECT lastval()",
        "SELECT currval('public.s'::regclass)",
        "SELECT setval('s', 90, false)",
        "SELECT currval('s')",
        "SELECT lastval()",
        "SELECT setval('s', 100)",
        "SELECT currval('s')",
        "SELECT nextval('r')",
        "SELECT lastval()",
        "SELECT currval('s')",
        "SELECT nextval('s') FROM generate_series(1, 3)",
        "SELECT lastval()",
        "SELECT currval('\"s\"')",
        "SELECT currval('r')",
        "BEGIN",
        "SELECT nextval('r')",
        "SELECT currval('r')",
        "ROLLBACK",
        "SELECT currval('r')",
        "SELECT lastval()",
        "DISCARD ALL",
        "SELECT lastval()",
        "SELECT currval('r')",
    ];
    let postgres = Postgres::start();
    let shardd = Shardd::start_over(&postgres);
    postgres.client().run("CREATE SEQUENCE s; CREATE SEQUENCE r");
    shardd.client().run("CREATE SEQUENCE s; CREATE SEQUENCE r");
    for mut client in [shardd.client(), shardd.session_client()] {
        let mut truth = postgres.client();
        truth.run("SELECT setval('s', 1, false); SELECT setval('r', 1, false); DISCARD SEQUENCES");
        client.run("SELECT setval('s', 1, false); SELECT setval('r', 1, false); DISCARD SEQUENCES");
        for statement in statements {
            let (expected, got) = (truth.query(statement), client.query(statement));
            let told = |answer: &crate::support::client::Answer| {
                answer.error.as_ref().map(|error| (error.sqlstate().to_owned(), error.message().to_owned()))
            };
            assert_eq!(told(&got), told(&expected), "{statement}");
            if expected.error.is_none() {
                assert_eq!(got.texts(), expected.texts(), "{statement}");
            }
        }
    }
}

/// Each asks right after its own INSERT, and in between the other has used the same connection.
#[test]
fn another_sessions_number_is_never_told() {
    let shardd = Shardd::start_over_postgres_with("[pool]\nsize = 1");
    let (mut one, mut two) = (shardd.client(), shardd.client());
    one.run(ORDERS);
    one.run("INSERT INTO orders (event_id, note) VALUES (1, 'a')");
    two.run("INSERT INTO orders (event_id, note) VALUES (1, 'b')");
    let answer = one.query("SELECT lastval()");
    assert_eq!(answer.sqlstate(), "55000");
    assert!(answer.error.unwrap().hint().contains("RETURNING"));
    assert_eq!(lastval(&mut two), Ok(id_of(&mut two, "b")));
    // From now on the numbers are asked for at once.
    for (round, event) in (0..6).map(|round| (round, 1 + round % 3)) {
        let (own, others) = (format!("own{round}"), format!("other{round}"));
        one.run(&format!("INSERT INTO orders (event_id, note) VALUES ({event}, '{own}')"));
        two.run(&format!("INSERT INTO orders (event_id, note) VALUES ({event}, '{others}')"));
        one.run("SELECT count(*) FROM orders");
        let (last, current) = (lastval(&mut one), currval(&mut one));
        let id = id_of(&mut one, &own);
        assert_eq!((last, current), (Ok(id), Ok(id)));
        assert_eq!(lastval(&mut two), Ok(id_of(&mut two, &others)));
    }
    // A statement that failed may have used a number up.
    one.run("CREATE TABLE codes (event_id bigint PRIMARY KEY, code bigserial)");
    one.run("INSERT INTO codes (event_id) VALUES (1)");
    assert_eq!(one.query("INSERT INTO codes (event_id) VALUES (1)").sqlstate(), "23505");
    assert_eq!(lastval(&mut one), lost());
}

#[test]
fn a_reference_tables_number_is_told_as_well() {
    for shardd in Shardd::of_each_kind() {
        let mut client = shardd.client();
        client.run("CREATE TABLE venues (venue_id serial PRIMARY KEY, name text)");
        for name in ["a", "b"] {
            client.run(&format!("INSERT INTO venues (name) VALUES ('{name}')"));
            let last = (lastval(&mut client), asked(&mut client, "SELECT currval('venues_venue_id_seq')"));
            let id: i64 = client.query("SELECT max(venue_id) FROM venues").value().parse().unwrap();
            assert_eq!(last, (Ok(id), Ok(id)));
        }
        let id = client.query("INSERT INTO venues (name) VALUES ('c'), ('d') RETURNING venue_id").texts();
        assert_eq!(client.query("SELECT lastval()").texts()[0], id[1]);
    }
}

/// What a trigger takes is the last number, as in Postgres, where the server can be asked; otherwise nobody tells an older one.
#[test]
fn numbers_that_a_trigger_takes_are_told_by_the_server_or_not_at_all() {
    let postgres = Postgres::start();
    let mut shardd = Shardd::start_over(&postgres);
    let mut client = shardd.client();
    client.run(ORDERS);
    client.run("CREATE TABLE seats (event_id bigint PRIMARY KEY, note text)");
    client.run("CREATE TABLE audit (event_id bigint, audit_id bigserial, PRIMARY KEY (event_id, audit_id))");
    for (shard, number) in shardd.shard_names().iter().zip(1..) {
        let mut shard = postgres.client_of(shard);
        shard.run(
            "CREATE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN INSERT INTO audit (event_id) VALUES (NEW.event_id); RETURN NEW; END'",
        );
        for table in ["orders", "seats"] {
            shard.run(&format!("CREATE TRIGGER t AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION audited()"));
        }
        // Far from the orders' numbers.
        shard.run(&format!("SELECT setval('audit_audit_id_seq', {})", 1_024 * 1_000 + number));
    }
    shardd.stop();
    shardd.launch();
    for on_session_port in [false, true] {
        let mut client = if on_session_port { shardd.session_client() } else { shardd.client() };
        for round in 0..2 {
            client.run(&format!("INSERT INTO orders (event_id, note) VALUES (5, 'r{round}{on_session_port}')"));
            let (last, current) = (lastval(&mut client), currval(&mut client));
            assert_eq!(current, Ok(id_of(&mut client, &format!("r{round}{on_session_port}"))));
            assert!(last.is_ok_and(|last| last > 1_024_000));
        }
        client.run(&format!("INSERT INTO seats VALUES ({}, 'x')", if on_session_port { 6 } else { 5 }));
        match on_session_port {
            false => assert_eq!((lastval(&mut client), currval(&mut client)), (lost(), lost())),
            true => {
                let last = lastval(&mut client);
                let audit = client.query("SELECT max(audit_id) FROM audit WHERE event_id = 6").value();
                assert!(last == Ok(audit.parse().unwrap()) || last == lost(), "{last:?}");
            }
        }
    }
}

/// A session that keeps its connections is told by its server, whatever has run there.
#[test]
fn on_the_session_port_the_server_itself_answers() {
    let shardd = Shardd::start_over_postgres();
    let mut client = shardd.session_client();
    client.run(ORDERS);
    let mut client = shardd.session_client();
    assert_eq!(lastval(&mut client), not_yet("lastval"));
    client.run("INSERT INTO orders (event_id, note) VALUES (1, 'a')");
    client.run("SET shardd.key = '1'; DO 'BEGIN PERFORM 1; END'; RESET shardd.key");
    let last = lastval(&mut client);
    assert_eq!((last, currval(&mut client)), (Ok(id_of(&mut client, "a")), Ok(id_of(&mut client, "a"))));
    client.run("DISCARD SEQUENCES");
    assert_eq!(lastval(&mut client), not_yet("lastval"));
}

/// A number is kept for the sequence that the parameters of its own statement named.
#[test]
fn a_sequence_that_a_parameter_names_is_its_own() {
    const INT8: u32 = 20;
    const REGCLASS: u32 = 2_205;
    const TEXT: u32 = 25;
    let shardd = Shardd::start_over_postgres();
    shardd.client().run("CREATE SEQUENCE a_seq START 100; CREATE SEQUENCE b_seq START 200");
    for mut client in [shardd.client(), shardd.session_client()] {
        let a = client.extended("SELECT nextval($1 || '_seq')", &[Value::text("a")]).value();
        let other = client.extended("SELECT currval($1 || '_seq')", &[Value::text("b")]);
        assert_eq!(other.sqlstate(), "55000");
        assert_eq!(client.extended("SELECT currval($1 || '_seq')", &[Value::text("a")]).value(), a);
        assert_eq!(client.query("SELECT currval('a_seq')").value(), a);
        let written = Value::Binary(b"b_seq".to_vec());
        for (sql, types, value) in [
            ("SELECT nextval($1)", &[][..], Value::text("b_seq")),
            ("SELECT nextval($1)", &[REGCLASS], Value::text("b_seq")),
            ("SELECT nextval($1::text)", &[TEXT], written),
        ] {
            let b = client.try_extended(sql, types, &[value], false).unwrap().value();
            client.run("BEGIN");
            assert_eq!(client.query("SELECT currval('b_seq')").value(), b, "{sql}");
            assert_eq!(client.extended("SELECT currval($1)", &[Value::text("b_seq")]).value(), b, "{sql}");
            client.run("COMMIT");
            assert_eq!(client.query("SELECT currval('a_seq')").value(), a, "{sql}");
        }
        let number = client.try_extended("SELECT currval($1)", &[INT8], &[Value::text(5)], false);
        assert_eq!(number.unwrap().sqlstate(), "0A000");
    }
}

#[test]
fn rows_in_another_order_do_not_tell_the_last_number() {
    let shardd = Shardd::start_over_postgres();
    let mut client = shardd.client();
    client.run("CREATE SEQUENCE s");
    for rest in ["ORDER BY 1 DESC", "LIMIT 2", "OFFSET 1"] {
        client.run(&format!("SELECT nextval('s') FROM generate_series(1, 3) {rest}"));
        assert_eq!(lastval(&mut client), lost(), "{rest}");
        assert_eq!(asked(&mut client, "SELECT currval('s')"), lost(), "{rest}");
    }
    client.run("SELECT DISTINCT nextval('s') FROM generate_series(1, 3)");
    assert_eq!(lastval(&mut client), lost());
}

#[test]
fn a_reference_tables_two_sequences_are_not_mixed_up() {
    let shardd = Shardd::start_over_postgres();
    let mut client = shardd.client();
    client.run("CREATE SEQUENCE codes START 500");
    client.run("CREATE TABLE venues (id bigserial PRIMARY KEY, code bigint DEFAULT nextval('codes'), name text)");
    for round in 0..2 {
        client.run(&format!("INSERT INTO venues (name) VALUES ('{round}')"));
        let row = client.query(&format!("SELECT id, code FROM venues WHERE name = '{round}'")).texts().concat();
        let number = |at: usize| Ok(row[at].as_ref().unwrap().parse::<i64>().unwrap());
        for (sequence, expected) in [("venues_id_seq", number(0)), ("codes", number(1))] {
            let told = asked(&mut client, &format!("SELECT currval('{sequence}')"));
            assert!(told == expected || told == lost(), "{sequence}: {told:?}, not {expected:?}");
        }
    }
}

/// What setval() sets is the last number, whatever the shards were told for it.
#[test]
fn on_the_session_port_a_number_that_was_set_is_the_last() {
    let shardd = Shardd::start_over_postgres();
    shardd.client().run(ORDERS);
    let mut client = shardd.session_client();
    client.run("INSERT INTO orders (event_id, note) VALUES (1, 'a')");
    assert_eq!(currval(&mut client), Ok(id_of(&mut client, "a")));
    client.run(&format!("SELECT setval('{SEQUENCE}', 50000)"));
    assert_eq!(currval(&mut client), Ok(50_000));
    client.run("INSERT INTO orders (event_id, note) VALUES (1, 'b')");
    assert_eq!(currval(&mut client), Ok(id_of(&mut client, "b")));
}

#[test]
fn numbers_that_domains_and_temporary_tables_take_are_never_older_ones() {
    let postgres = Postgres::start();
    let mut shardd = Shardd::start_over(&postgres);
    shardd.client().run("CREATE SEQUENCE s; CREATE SEQUENCE r START 1000");
    for shard in shardd.shard_names() {
        postgres.client_of(&shard).run("CREATE DOMAIN numbered AS bigint DEFAULT nextval('r')");
    }
    shardd.client().run("CREATE TABLE tickets (event_id bigint PRIMARY KEY, number numbered)");
    shardd.stop();
    shardd.launch();
    let mut client = shardd.client();
    client.run("SELECT nextval('s')");
    client.run("INSERT INTO tickets (event_id) VALUES (1)");
    assert_eq!(lastval(&mut client), lost());
    let mut client = shardd.session_client();
    client.run("SET shardd.key = '1'; CREATE TEMPORARY TABLE mine (id serial, note text); RESET shardd.key");
    let own = client.query("SELECT nextval('s')");
    client.run("INSERT INTO mine (note) VALUES ('a')");
    let last = lastval(&mut client);
    assert!(last == Ok(1) || last == lost(), "{last:?} after {:?}", own.texts());
}
