//! Ids are given once, whatever sets the sequences that give them.

use std::collections::BTreeSet;

use crate::support::{Client, Shardd, Value};

const ORDERS: &str =
    "CREATE TABLE orders (event_id bigint, order_id bigserial, note text, PRIMARY KEY (event_id, order_id))";

/// Ids of orders that are made now, on every shard.
fn made(client: &mut Client) -> Vec<i64> {
    let ids = (1..=24).map(|event| {
        let insert = format!("INSERT INTO orders (event_id, note) VALUES ({event}, 'made') RETURNING order_id");
        client.query(&insert).value().parse().expect("an id")
    });
    ids.collect()
}

/// All of them are new, and no two are the same.
fn are_new(client: &mut Client, ids: &[i64], past: i64, after: &str) {
    assert!(ids.iter().all(|id| *id > past), "{after}: {ids:?}");
    let different: BTreeSet<&i64> = ids.iter().collect();
    assert_eq!(different.len(), ids.len(), "{after}: {ids:?}");
    let twice = "SELECT order_id FROM orders GROUP BY order_id HAVING count(*) > 1";
    assert_eq!(client.query(twice).texts(), Vec::<Vec<Option<String>>>::new(), "{after}");
}

fn with_orders() -> impl Iterator<Item = (Shardd, Client)> {
    Shardd::of_each_kind().map(|shardd| {
        let mut client = shardd.client();
        client.run(ORDERS);
        (shardd, client)
    })
}

#[test]
fn a_number_that_was_asked_for_is_given_to_nobody_else() {
    for (_shardd, mut client) in with_orders() {
        let mut given = Vec::new();
        for asking in [
            "SELECT nextval('orders_order_id_seq')",
            "SELECT pg_catalog.nextval('public.orders_order_id_seq'::regclass) AS id",
            "SELECT nextval(pg_get_serial_sequence('orders', 'order_id'))",
            "select nextval('\"orders_order_id_seq\"');",
        ] {
            given.push(client.query(asking).value().parse::<i64>().expect(asking));
        }
        client.run("BEGIN");
        client.run("INSERT INTO orders (event_id, note) VALUES (3, 'before')");
        given.push(client.query("SELECT nextval('orders_order_id_seq')").value().parse().unwrap());
        client.run("ROLLBACK");
        let bound = client.extended("SELECT nextval($1)", &[Value::text("orders_order_id_seq")]);
        given.push(bound.value().parse().unwrap());
        given.extend(made(&mut client));
        are_new(&mut client, &given, 0, "nextval");
        let null = client.query("SELECT nextval(NULL)");
        assert_eq!(null.texts(), [[None]]);
        assert_eq!(client.query("SELECT nextval('nope')").sqlstate(), "42P01");
        assert_eq!(client.query("SELECT nextval('orders')").sqlstate(), "42809");
    }
}

#[test]
fn setting_a_sequence_leaves_no_shard_that_gives_a_number_again() {
    for (_shardd, mut client) in with_orders() {
        for (number, id) in (1..=40).zip([7, 3000, 4096, 5].into_iter().cycle()) {
            client.run(&format!("INSERT INTO orders VALUES ({number}, {}, 'loaded')", id + number * 11));
        }
        let largest = client.query("SELECT max(order_id) FROM orders").value().parse::<i64>().unwrap();
        // As pg_dump, Django, Rails and people write it.
        for setting in [
            format!("SELECT pg_catalog.setval('public.orders_order_id_seq', {largest}, true)"),
            "SELECT setval(pg_get_serial_sequence('\"orders\"','order_id'), coalesce(max(\"order_id\"), 1), max(\"order_id\") IS NOT null) FROM \"orders\";".to_owned(),
            format!("SELECT setval('\"public\".\"orders_order_id_seq\"', {largest}, true)"),
            "SELECT setval('orders_order_id_seq', (SELECT max(order_id) FROM orders))".to_owned(),
            "SELECT setval('orders_order_id_seq'::regclass, COALESCE((SELECT MAX(order_id) + 1 FROM orders), 1), false) AS set".to_owned(),
        ] {
            let before = client.query("SELECT max(order_id) FROM orders").value().parse::<i64>().unwrap();
            let answer = client.query(&setting);
            assert!(answer.error.is_none(), "{setting}: {:?}", answer.error);
            assert!(answer.value().parse::<i64>().unwrap() >= largest, "{setting}");
            let ids = made(&mut client);
            let past = if setting.contains(&format!("{largest}")) { largest } else { before };
            are_new(&mut client, &ids[..1], past, &setting);
            client.run("DELETE FROM orders WHERE note = 'made'");
        }
        client.run("SELECT setval('orders_order_id_seq', 100000)");
        let ids = made(&mut client);
        are_new(&mut client, &ids, 100_000, "a number");
        let bound = client.extended(
            "SELECT setval($1, $2, $3)",
            &[Value::text("orders_order_id_seq"), Value::text(200_000), Value::text("false")],
        );
        assert_eq!(bound.value(), "200000");
        let ids = made(&mut client);
        are_new(&mut client, &ids, 199_999, "parameters");
        // Back, as in Postgres, when nothing is there.
        client.run("TRUNCATE orders");
        client.run("SELECT setval('orders_order_id_seq', 1, false)");
        let ids = made(&mut client);
        assert!(ids.iter().all(|id| *id <= 24 * 1024 + 1024), "{ids:?}");
        are_new(&mut client, &ids, 0, "a reset");
    }
}

#[test]
fn a_setval_is_answered_as_by_postgres_where_it_sets_nothing() {
    for (_shardd, mut client) in with_orders() {
        let first = made(&mut client)[0];
        for (setting, expected) in [
            ("SELECT setval('orders_order_id_seq', NULL)", vec![vec![None]]),
            ("SELECT setval(NULL, 5)", vec![vec![None]]),
            ("SELECT setval('orders_order_id_seq', max(order_id)) FROM orders WHERE event_id = 4711", vec![vec![None]]),
            ("SELECT setval('orders_order_id_seq', order_id) FROM orders WHERE event_id = 4711", Vec::new()),
        ] {
            let answer = client.query(setting);
            assert!(answer.error.is_none(), "{setting}: {:?}", answer.error);
            assert_eq!(answer.texts(), expected, "{setting}");
        }
        for (setting, sqlstate) in [
            ("SELECT setval('orders_order_id_seq', 0)", "22003"),
            ("SELECT setval('orders_order_id_seq', 1.5)", "42883"),
            ("SELECT setval('orders', 5)", "42809"),
            ("SELECT setval('nope', 5)", "42P01"),
            ("SELECT setval('orders_order_id_seq', order_id) FROM orders", "0A000"),
            ("SELECT lastval() + 1", "0A000"),
            ("SELECT currval('orders_order_id_seq'), 1", "0A000"),
            ("INSERT INTO orders VALUES (1, nextval('orders_order_id_seq'), 'x')", "0A000"),
        ] {
            assert_eq!(client.query(setting).sqlstate(), sqlstate, "{setting}");
        }
        client.run("BEGIN READ ONLY");
        assert_eq!(client.query("SELECT setval('orders_order_id_seq', 5)").sqlstate(), "25006");
        client.run("ROLLBACK");
        let ids = made(&mut client);
        are_new(&mut client, &ids, 0, &format!("{first} and nothing that was set"));
    }
}

#[test]
fn a_reference_tables_sequence_is_set_on_every_copy() {
    for shardd in Shardd::of_each_kind() {
        let mut client = shardd.client();
        client.run("CREATE TABLE venues (venue_id serial PRIMARY KEY, name text)");
        client.run("INSERT INTO venues VALUES (1, 'a'), (2, 'b')");
        client.run("SELECT setval('venues_venue_id_seq', (SELECT max(venue_id) FROM venues))");
        assert_eq!(client.query("SELECT nextval('venues_venue_id_seq')").value(), "3");
        assert_eq!(client.query("SELECT nextval('venues_venue_id_seq')").value(), "4");
        let Some(postgres) = shardd.postgres() else { continue };
        for shard in shardd.shard_names() {
            let next = postgres.client_of(&shard).query("SELECT last_value >= 2 FROM venues_venue_id_seq").value();
            assert_eq!(next, "t", "{shard}");
        }
    }
}

/// The lowest shard holds neither table, and is asked for the numbers of neither.
#[test]
fn ids_are_given_once_where_a_keyspace_has_some_of_the_shards() {
    let shardd = Shardd::start_over_postgres_with(
        "[[keyspaces]]\nname = 'main'\nkey_column = 'event_id'\nshards = ['s2', 's3']\n\
         [[keyspaces]]\nname = 'people'\nkey_column = 'email'\nkey_type = 'text'",
    );
    let mut client = shardd.client();
    client.run(ORDERS);
    client.run("CREATE TABLE venues (venue_id serial PRIMARY KEY, name text)");
    let mut given = made(&mut client);
    for sequence in ["SELECT nextval('orders_order_id_seq')"; 3] {
        given.push(client.query(sequence).value().parse().unwrap());
    }
    given.extend(made(&mut client));
    are_new(&mut client, &given, 0, "a keyspace of two shards");
    client.run("INSERT INTO venues (name) VALUES ('a'), ('b')");
    let next = "SELECT nextval('venues_venue_id_seq')";
    assert_eq!(client.query(next).value(), "3");
    client.run("INSERT INTO venues (name) VALUES ('d')");
    assert_eq!(client.query("SELECT max(venue_id) FROM venues").value(), "4");
    client.run("SELECT setval('venues_venue_id_seq', 100)");
    assert_eq!(client.query(next).value(), "101");
    // One by itself is every shard's.
    client.run("CREATE SEQUENCE tickets");
    client.run("SELECT setval('tickets', 7)");
    assert_eq!(client.query("SELECT nextval('tickets')").value(), "8");
}

#[test]
fn a_changed_sequence_goes_on_counting_each_shards_own_numbers() {
    let shardd = Shardd::start_over_postgres();
    let mut client = shardd.client();
    client.run(ORDERS);
    made(&mut client);
    client.run("ALTER SEQUENCE orders_order_id_seq RESTART WITH 50000");
    let ids = made(&mut client);
    are_new(&mut client, &ids, 49_999, "RESTART WITH");
    client.run("ALTER SEQUENCE public.orders_order_id_seq INCREMENT BY 1");
    let ids = made(&mut client);
    are_new(&mut client, &ids, 49_999, "INCREMENT BY 1");
    let refused = client.query("ALTER SEQUENCE orders_order_id_seq INCREMENT BY 10");
    assert_eq!(refused.sqlstate(), "0A000");
    assert!(refused.error.unwrap().hint().contains("INCREMENT BY 1024"));
    client.run("TRUNCATE orders RESTART IDENTITY");
    let ids = made(&mut client);
    are_new(&mut client, &ids, 0, "RESTART IDENTITY");
    assert!(ids.iter().all(|id| *id < 25 * 1024), "{ids:?}");

    // Rows that are there get ids, too.
    client.run("ALTER TABLE orders ADD COLUMN ticket bigserial");
    let ticket = "SELECT ticket FROM orders GROUP BY ticket HAVING count(*) > 1 OR ticket IS NULL";
    made(&mut client);
    assert_eq!(client.query(ticket).texts(), Vec::<Vec<Option<String>>>::new());
}

#[test]
fn a_dump_of_one_database_is_loaded() {
    let shardd = Shardd::start_over_postgres();
    let mut client = shardd.client();
    for statement in [
        "CREATE TABLE public.orders (event_id bigint NOT NULL, order_id bigint NOT NULL, note text)",
        "CREATE SEQUENCE public.orders_order_id_seq START WITH 1 INCREMENT BY 1 NO MINVALUE NO MAXVALUE CACHE 1",
        "ALTER SEQUENCE public.orders_order_id_seq OWNED BY public.orders.order_id",
        "ALTER TABLE ONLY public.orders ALTER COLUMN order_id SET DEFAULT nextval('public.orders_order_id_seq'::regclass)",
    ] {
        client.run(statement);
    }
    let rows: String = (1..=50).map(|row| format!("{row}\t{}\tx\n", row * 20)).collect();
    client
        .copy_in("COPY public.orders (event_id, order_id, note) FROM stdin", &[rows.as_bytes()])
        .expect_tag("COPY 50");
    client.run("SELECT pg_catalog.setval('public.orders_order_id_seq', 1000, true)");
    client.run("ALTER TABLE ONLY public.orders ADD CONSTRAINT orders_pkey PRIMARY KEY (event_id, order_id)");
    let ids = made(&mut client);
    are_new(&mut client, &ids, 1000, "a dump");
}

#[test]
fn a_sequence_by_itself_counts_for_all() {
    let shardd = Shardd::start_over_postgres();
    let mut client = shardd.client();
    client.run("CREATE SEQUENCE tickets START WITH 10 INCREMENT BY 50");
    let numbers: Vec<String> = (0..6).map(|_| client.query("SELECT nextval('tickets')").value()).collect();
    assert_eq!(numbers, ["10", "60", "110", "160", "210", "260"]);
    let several = client.query("SELECT nextval('tickets') FROM generate_series(1, 3)");
    assert_eq!(several.texts().concat(), [310, 360, 410].map(|number| Some(number.to_string())));
    client.run("SELECT setval('tickets', 1000)");
    assert_eq!(client.query("SELECT nextval('tickets')").value(), "1050");
    client.run("ALTER SEQUENCE tickets RESTART WITH 7");
    assert_eq!(client.query("SELECT nextval('tickets')").value(), "7");
    client.run("BEGIN");
    client.run("CREATE SEQUENCE fresh");
    assert_eq!(client.query("SELECT setval('fresh', 5)").value(), "5");
    assert_eq!(client.query("SELECT nextval('fresh')").value(), "6");
    client.run("ROLLBACK");
    assert_eq!(client.query("SELECT nextval('fresh')").sqlstate(), "42P01");

    // From now on it fills a sharded table.
    client.run("CREATE SEQUENCE codes");
    client.run("SELECT setval('codes', 40)");
    client.run(
        "CREATE TABLE coupons (event_id bigint, code bigint DEFAULT nextval('codes'), PRIMARY KEY (event_id, code))",
    );
    let codes = (1..=20)
        .map(|event| client.query(&format!("INSERT INTO coupons (event_id) VALUES ({event}) RETURNING code")).value());
    let codes: Vec<i64> = codes.map(|code| code.parse().unwrap()).collect();
    assert!(codes.iter().all(|code| *code > 40), "{codes:?}");
    assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), 20, "{codes:?}");
}

#[test]
fn an_identity_column_may_be_overridden() {
    for shardd in Shardd::of_each_kind() {
        let mut client = shardd.client();
        client.run(
            "CREATE TABLE orders (event_id bigint, order_id bigint GENERATED ALWAYS AS IDENTITY, note text, \
             PRIMARY KEY (event_id, order_id))",
        );
        let plain = "INSERT INTO orders (event_id, order_id, note) VALUES (1, 5, 'a'), (2, 5, 'b')";
        assert_eq!(client.query(plain).sqlstate(), "428C9");
        let given = "INSERT INTO orders (event_id, order_id, note) OVERRIDING SYSTEM VALUE VALUES (1, 50000, 'a'), (2, 50000, 'b') RETURNING order_id";
        assert_eq!(client.query(given).texts(), [[Some("50000".to_owned())], [Some("50000".to_owned())]]);
        let ignored = "INSERT INTO orders (event_id, order_id, note) OVERRIDING USER VALUE VALUES (1, 50001, 'a'), (2, 50001, 'b') RETURNING order_id < 50000";
        assert_eq!(client.query(ignored).texts(), [[Some("t".to_owned())], [Some("t".to_owned())]]);
        client.run("DELETE FROM orders");
        client.run("SELECT setval(pg_get_serial_sequence('orders', 'order_id'), 60000)");
        let ids = made(&mut client);
        are_new(&mut client, &ids, 60_000, "an identity column");
    }
}

#[test]
fn what_one_shard_fills_in_for_all_is_bounded() {
    let shardd = Shardd::start_over_postgres_with("[limits]\ngather_max_bytes = 65536");
    let mut client = shardd.client();
    client.run("CREATE TABLE venues (venue_id serial PRIMARY KEY, name text)");
    let insert =
        |count: u32| format!("INSERT INTO venues (name) SELECT repeat('x', 1000) FROM generate_series(1, {count})");
    client.run("BEGIN");
    client.run(&insert(10));
    assert_eq!(client.query(&insert(100)).sqlstate(), "54000");
    client.run("ROLLBACK");
    assert_eq!(client.query("SELECT count(*) FROM venues").value(), "0");
    client.run(&insert(20));
    assert_eq!(client.query("SELECT count(*) FROM venues").value(), "20");
}

#[test]
fn a_reference_tables_rows_are_filled_in_by_one_shard() {
    let shardd = Shardd::start_over_postgres();
    let mut client = shardd.client();
    client.run(
        "CREATE TABLE venues (venue_id serial PRIMARY KEY, name text NOT NULL UNIQUE, code uuid DEFAULT gen_random_uuid(), \
         lot double precision DEFAULT random(), made timestamptz DEFAULT clock_timestamp(), \
         rank int GENERATED ALWAYS AS (length(name)) STORED)",
    );
    client.run("CREATE TABLE halls (hall_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body jsonb, tags text[])");
    let returned =
        client.query("INSERT INTO venues (name) VALUES ('a'), ('bb') RETURNING rank, venue_id AS id, upper(name)");
    let text = |value: &str| Some(value.to_owned());
    assert_eq!(returned.texts(), [[text("1"), text("1"), text("A")], [text("2"), text("2"), text("BB")]]);
    returned.expect_tag("INSERT 0 2");
    let again =
        "INSERT INTO venues (name) VALUES ('a'), ('c') ON CONFLICT (name) DO NOTHING RETURNING name -- new ones";
    assert_eq!(client.query(again).texts(), [[text("c")]]);
    client.query("INSERT INTO venues (venue_id, name) VALUES (DEFAULT, 'd')").expect_tag("INSERT 0 1");
    let upsert = "INSERT INTO venues (name) VALUES ('a'), ('u') ON CONFLICT (name) DO UPDATE SET lot = venues.lot + 10, made = now() RETURNING name, lot > 10";
    assert_eq!(client.query(upsert).texts(), [[text("a"), text("t")], [text("u"), text("f")]]);
    client.query("INSERT INTO venues VALUES (5000, 'e')").expect_tag("INSERT 0 1");
    client
        .query("INSERT INTO venues (name, lot) SELECT 'n' || n, random() FROM generate_series(1, 300) n;")
        .expect_tag("INSERT 0 300");
    let bound = client
        .extended("INSERT INTO venues (name) VALUES ($1), ($2) RETURNING name", &[Value::text("x"), Value::text("y")]);
    assert_eq!(bound.texts(), [[text("x")], [text("y")]]);
    client.run("INSERT INTO halls (body, tags) VALUES ('{\"a\": [1, null]}', '{x,NULL,\"y z\"}'), (NULL, '{}')");
    client.run("INSERT INTO halls DEFAULT VALUES");
    client.run("BEGIN");
    client.run("INSERT INTO halls (body) VALUES ('1')");
    client.run("ROLLBACK");
    let postgres = shardd.postgres().expect("Postgres shards");
    for table in ["venues", "halls"] {
        let all = format!("SELECT t::text FROM {table} t ORDER BY 1");
        let expected = client.query(&all).texts();
        assert_eq!(expected.len(), if table == "venues" { 308 } else { 3 });
        for shard in shardd.shard_names() {
            assert_eq!(postgres.client_of(&shard).query(&all).texts(), expected, "{table} on {shard}");
        }
    }
    // A copy that would change the rows again is told.
    for shard in shardd.shard_names() {
        let mut shard = postgres.client_of(&shard);
        shard.run(
            "CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.lot := random(); RETURN NEW; END'",
        );
        shard.run("CREATE TRIGGER other BEFORE INSERT ON venues FOR EACH ROW EXECUTE FUNCTION other()");
    }
    let differing = client.query("INSERT INTO venues (name) VALUES ('z')");
    assert_eq!(differing.sqlstate(), "55000");
    assert!(differing.error.unwrap().message().contains("copies"));
    assert_eq!(client.query("SELECT count(*) FROM venues WHERE name = 'z'").value(), "0");
    client.query("UPDATE venues SET code = DEFAULT, made = DEFAULT WHERE venue_id = 1").expect_tag("UPDATE 1");
    let changed = "SELECT code::text || made FROM venues WHERE venue_id = 1";
    let expected = client.query(changed).value();
    for shard in shardd.shard_names() {
        assert_eq!(postgres.client_of(&shard).query(changed).value(), expected, "{shard}");
    }
}

/// The first shard runs the client's statement, and the others are sent its rows: another statement, as triggers can see.
#[test]
fn a_trigger_that_would_see_another_statement_has_the_write_refused() {
    let mut shardd = Shardd::start_over_postgres();
    let mut client = shardd.client();
    client.run("CREATE TABLE halls (hall_id int PRIMARY KEY, price int, name text)");
    client.run("CREATE TABLE audit (audit_id int PRIMARY KEY, fired int)");
    client.run("INSERT INTO halls VALUES (1, 1, 'a'), (2, 2, 'b')");
    client.run("INSERT INTO audit VALUES (1, 0)");
    let on_all = |shardd: &Shardd, statement: &str| {
        for shard in shardd.shard_names() {
            shardd.postgres().expect("Postgres shards").client_of(&shard).run(statement);
        }
    };
    on_all(
        &shardd,
        "CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE audit SET fired = fired + 1; RETURN NULL; END'",
    );
    let rename = "UPDATE halls SET name = 'n' || (SELECT count(*) FROM audit)";
    for (trigger, is_refused) in [
        ("AFTER UPDATE OF price ON halls FOR EACH ROW", true),
        ("AFTER UPDATE ON halls FOR EACH STATEMENT", true),
        ("AFTER INSERT OR UPDATE ON halls FOR EACH ROW", false),
        ("AFTER TRUNCATE ON halls FOR EACH STATEMENT", false),
    ] {
        on_all(&shardd, &format!("CREATE TRIGGER fired {trigger} EXECUTE FUNCTION fired()"));
        shardd.stop();
        shardd.launch();
        let mut client = shardd.client();
        match is_refused {
            true => assert_eq!(client.query(rename).sqlstate(), "0A000", "{trigger}"),
            false => client.query(rename).expect_tag("UPDATE 2"),
        }
        let fired = client.query("SELECT fired FROM audit").value();
        for shard in shardd.shard_names() {
            let mut shard = shardd.postgres().expect("Postgres shards").client_of(&shard);
            assert_eq!(shard.query("SELECT fired FROM audit").value(), fired, "{trigger}");
        }
        on_all(&shardd, "DROP TRIGGER fired ON halls");
    }
}

/// What a call of nextval() would read or do beside it, one shard cannot.
#[test]
fn numbers_are_asked_for_by_nothing_else() {
    for (_shardd, mut client) in with_orders() {
        for statement in [
            "SELECT nextval('orders_order_id_seq') FROM generate_series(1, (SELECT count(*) FROM orders))",
            "SELECT nextval('orders_order_id_seq') LIMIT (SELECT count(*) FROM orders)",
            "SELECT nextval('orders_order_id_seq') FROM pg_advisory_lock(5)",
            "SELECT nextval('orders_order_id_seq') WHERE pg_try_advisory_lock(1)",
        ] {
            let refused = client.query(statement);
            assert_eq!(refused.error.as_ref().map(|error| error.sqlstate()), Some("0A000"), "{statement}: {refused:?}");
        }
        let named = "SELECT nextval(pg_get_serial_sequence('orders', 'order_id'))";
        assert!(client.query(named).value().parse::<i64>().is_ok());
    }
}
