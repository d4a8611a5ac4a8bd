//! Schemas read from a captured document: what Postgres 15 says of `tests/fixtures/postgres_schema.sql`.

use super::*;
use crate::topology::{Column, Identity, NamedTypeKind, Shard, Spoils, TableKind};
use crate::types::{KeyType, PgType, ShardId};

const CAPTURED: &str = include_str!("../../../../tests/fixtures/postgres_schema.json");

fn shard(name: &str) -> Shard {
    let number = name.trim_start_matches('s').parse().unwrap();
    Shard { id: ShardId(number), name: name.into(), url: format!("postgres://{name}/db"), weight: 1.0 }
}

fn keyspaces() -> Vec<Arc<Keyspace>> {
    let shards = [shard("s1"), shard("s2")];
    vec![Arc::new(Keyspace::create("main", "event_id", KeyType::Bigint, &shards).unwrap())]
}

fn try_read(name: &str, document: &str) -> Result<ShardSchema> {
    ShardSchema::read(shard(name).id, &shard(name).name, &[vec![Some(document.to_owned())]], &keyspaces())
}

fn captured() -> ShardSchema {
    try_read("s1", CAPTURED).unwrap()
}

/// The captured schema with some of its text changed, as that of shard s2.
fn changed(replacements: &[(&str, &str)]) -> ShardSchema {
    let mut document = CAPTURED.to_owned();
    for (from, to) in replacements {
        assert!(document.contains(from), "{from}");
        document = document.replace(from, to);
    }
    try_read("s2", &document).unwrap()
}

/// The captured schema changed as a document, as that of shard s2.
fn edited(edit: impl FnOnce(&mut serde_json::Value)) -> ShardSchema {
    let mut document = serde_json::from_str(CAPTURED).unwrap();
    edit(&mut document);
    try_read("s2", &document.to_string()).unwrap()
}

fn relation<'d>(document: &'d mut serde_json::Value, name: &str) -> &'d mut serde_json::Value {
    let relations = document["relations"].as_array_mut().unwrap();
    relations.iter_mut().find(|relation| relation["name"] == name).unwrap()
}

fn told(differences: &[Difference]) -> Vec<(Severity, &str)> {
    differences.iter().map(|difference| (difference.severity, difference.message.as_str())).collect()
}

fn column<'s>(schema: &'s ShardSchema, table: &str, name: &str) -> &'s Column {
    schema.tables[table].table.column(name).unwrap().1
}

#[test]
fn tables_are_placed_by_their_key_columns() {
    let schema = captured();
    let names: Vec<&str> = schema.tables.keys().map(String::as_str).collect();
    assert_eq!(names, ["Quoted Name", "cache", "countries", "events", "orders", "seats", "tickets"]);
    let sharded = TableKind::Sharded { key_column: 0, key_type: KeyType::Bigint };
    assert_eq!(schema.tables["orders"].table.kind, sharded);
    assert_eq!(schema.tables["events"].table.kind, sharded, "a domain over a key type is one");
    assert_eq!(schema.tables["countries"].table.kind, TableKind::Reference);
    assert_eq!(schema.tables["seats"].partition_key.as_deref(), Some("RANGE (day)"));
    assert_eq!(schema.tables["seats"].partitions, ["public.seats_2026", "public.seats_rest"]);
    assert!(schema.tables["cache"].unlogged && schema.tables["countries"].row_security);
}

#[test]
fn types_that_shardd_does_not_know_keep_their_names() {
    let schema = captured();
    let of = |name| {
        let column = column(&schema, "events", name);
        let kind = column.named_type.as_ref().map(|named| named.kind);
        (column.known_type(), kind, column.type_name().to_owned(), column.modifier)
    };
    let domain = Some(NamedTypeKind::Domain);
    assert_eq!(of("event_id"), (Some(PgType::Int8), domain, "public.event_key".into(), -1));
    assert_eq!(of("owner"), (Some(PgType::Varchar), domain, "public.email".into(), 84));
    assert_eq!(of("name"), (Some(PgType::Varchar), None, "character varying".into(), 44));
    assert_eq!(of("mood"), (None, Some(NamedTypeKind::Enum), "public.mood".into(), -1));
    assert_eq!(of("moods"), (None, Some(NamedTypeKind::Array), "public.mood[]".into(), -1));
    assert_eq!(of("tags"), (Some(PgType::TextArray), None, "text[]".into(), -1));
    assert_eq!(of("address"), (None, Some(NamedTypeKind::Base), "inet".into(), -1));
    assert_eq!(of("during"), (None, Some(NamedTypeKind::Range), "tstzrange".into(), -1));
    assert_eq!(of("labels"), (Some(PgType::TextArray), domain, "public.labels".into(), -1));
    assert_eq!(of("feelings"), (None, Some(NamedTypeKind::Array), "public.feeling[]".into(), -1));
    assert_eq!(of("spot"), (None, Some(NamedTypeKind::Composite), "public.point3".into(), -1));
    assert_eq!(schema.types["public.mood"].definition, "'sad', 'ok', 'happy'");
}

#[test]
fn columns_keys_and_constraints_are_read() {
    let schema = captured();
    assert_eq!(column(&schema, "events", "total").generated.as_deref(), Some("1.5"));
    assert_eq!(column(&schema, "events", "total").default, None);
    assert_eq!(column(&schema, "events", "mood").default.as_deref(), Some("'ok'::public.mood"));
    assert_eq!(column(&schema, "events", "owner").collation.as_deref(), Some("pg_catalog.\"C\""));
    assert_eq!(column(&schema, "orders", "id").identity, Some(Identity::Always));
    assert_eq!(column(&schema, "orders", "number").identity, Some(Identity::Serial));
    let label = column(&schema, "seats", "label");
    assert!(label.identity.is_none() && label.default.as_deref().unwrap().contains("nextval"));
    // A column was dropped before it.
    assert_eq!(schema.tables["events"].table.column("spot").unwrap().0, 9);

    let orders = &schema.tables["orders"];
    assert_eq!(orders.table.primary_key.as_ref().unwrap().columns, [0, 1]);
    assert_eq!(orders.table.unique_keys[0].columns, [5]);
    assert_eq!(orders.table.checks[0].expression, "(price > (0)::numeric)");
    let indexes: Vec<_> = orders.table.indexes.iter().map(|index| (index.name.as_str(), index.unique)).collect();
    assert_eq!(indexes, [("orders ON price", false), ("orders_lower", true)]);
    let references: Vec<_> = orders.table.foreign_keys.iter().map(|key| key.references.as_str()).collect();
    assert_eq!(references, ["countries", "events"]);
    assert_eq!(orders.triggers, ["stamped"]);
    assert_eq!(orders.sequences[&1], "public.orders_id_seq");
    assert_eq!(schema.tables["seats"].sequences[&2], "public.tickets_number");
    // One reference, though its table has partitions.
    assert_eq!(schema.tables["tickets"].table.foreign_keys.len(), 1);
}

#[test]
fn what_cannot_be_planned_is_refused_with_the_reason() {
    let schema = captured();
    let whats: Vec<&str> = schema.refused.values().map(|refused| refused.what.as_str()).collect();
    assert_eq!(
        whats,
        [
            "the table \"audit.log\" outside of the schema public",
            "the view \"cheap\"",
            "the materialized view \"counted\"",
            "the table \"odd\", whose key column \"event_id\" of keyspace \"main\" has the type numeric,",
            "the table \"old_child\", which inherits from public.old_parent,",
            "the table \"old_parent\", from which others inherit,",
            "the partition \"seats_2026\" by itself",
            "the partition \"seats_rest\" by itself",
        ]
    );
    assert_eq!(schema.refused["seats_rest"].hint, "Name the table that it is a part of: public.seats.");
}

#[test]
fn a_key_that_cannot_place_rows_is_refused() {
    let generated = edited(|document| relation(document, "cache")["columns"][0]["generated"] = "s".into());
    assert!(generated.refused["cache"].what.contains("is generated"));
    let loose = edited(|document| {
        let column = &mut relation(document, "cache")["columns"][0];
        column["deterministic"] = false.into();
        column["collation"] = "public.loose".into();
    });
    assert!(loose.refused["cache"].what.contains("nondeterministic collation public.loose"));
    let ruled = edited(|document| relation(document, "cache")["rules"] = vec!["CREATE RULE ..."].into());
    assert!(ruled.refused["cache"].what.contains("a rule that rewrites statements"));
}

#[test]
fn statements_are_planned_by_the_tables_of_all_shards() {
    let first = captured();
    let planned = ShardSchema::combine([&first]);
    assert_eq!(planned.tables.len(), 7);
    assert_eq!(planned.refused, first.refused);
    let second = edited(|document| {
        relation(document, "tickets")["kind"] = "v".into();
        relation(document, "cache")["name"] = "other_cache".into();
    });
    let planned = ShardSchema::combine([&first, &second]);
    assert!(planned.table("cache").is_some() && planned.table("other_cache").is_some());
    assert!(planned.table("tickets").is_none(), "it is a view on one of them");
    assert_eq!(planned.refused["tickets"].what, "the view \"tickets\"");
}

#[test]
fn a_shard_is_asked_only_for_the_tables_of_its_keyspaces() {
    let mut keyspaces = keyspaces();
    keyspaces.push(Arc::new(Keyspace::create("codes", "code", KeyType::Text, &[shard("s1"), shard("s3")]).unwrap()));
    let read = |name: &str| {
        ShardSchema::read(shard(name).id, &shard(name).name, &[vec![Some(CAPTURED.to_owned())]], &keyspaces).unwrap()
    };
    let (one, two, three) = (read("s1"), read("s2"), read("s3"));
    assert_eq!(one.tables["countries"].table.keyspace, "codes");
    assert!(!two.tables.contains_key("countries") && two.tables.contains_key("orders"));
    assert_eq!(three.tables.keys().collect::<Vec<_>>(), ["countries"]);
    for (a, b) in [(&one, &two), (&two, &one), (&one, &three), (&three, &two)] {
        assert_eq!(diff(a, b), []);
    }
    assert_eq!(ShardSchema::combine([&two, &three]).tables.len(), 7);
}

#[test]
fn rows_that_are_not_the_querys_are_an_error_of_the_shards() {
    for rows in [vec![], vec![vec![None]], vec![vec![Some("{}".to_owned())]], vec![vec![Some("not JSON".to_owned())]]] {
        let error = ShardSchema::read(shard("s1").id, &shard("s1").name, &rows, &keyspaces()).unwrap_err();
        assert_eq!((error.sqlstate(), error.get_fault()), (SqlState::PROTOCOL_VIOLATION, Fault::Shard), "{error}");
    }
    let path = CAPTURED.replace(r#""search_path": "\"\"""#, r#""search_path": "public""#);
    assert!(try_read("s1", &path).unwrap_err().message().contains("search path public"));
    let old = CAPTURED.replace("\"version\": 150018", "\"version\": 110022");
    assert_eq!(try_read("s1", &old).unwrap_err().message(), "shard \"s1\" runs Postgres 11.22, which is older than 12");
}

#[test]
fn equal_schemas_do_not_differ() {
    let other = try_read("s2", CAPTURED).unwrap();
    assert_eq!(diff(&captured(), &other), []);
    assert_eq!(captured().tables["orders"].fingerprint(), other.tables["orders"].fingerprint());
    assert_ne!(other.tables["orders"].fingerprint(), other.tables["events"].fingerprint());
}

#[test]
fn a_column_of_another_type_is_told_in_words() {
    let other = edited(|document| {
        let price = &mut relation(document, "orders")["columns"][3];
        assert_eq!(price["name"], "price");
        (price["type"], price["type_name"], price["shown"]) = (20.into(), "bigint".into(), "bigint".into());
    });
    let differences = diff(&captured(), &other);
    let message = "table \"orders\": column \"price\" is numeric(10,2) on s1 and bigint on s2";
    assert_eq!(told(&differences), [(Severity::WritesWouldBeWrong, message)]);
    assert!(forbids(&differences[0], Write::Insert) && forbids(&differences[0], Write::Update));
    assert!(!forbids(&differences[0], Write::Delete));
    assert_ne!(captured().tables["orders"].fingerprint(), other.tables["orders"].fingerprint());
}

#[test]
fn a_missing_column_or_table_is_told_once() {
    let other = edited(|document| {
        drop(relation(document, "countries")["columns"].as_array_mut().unwrap().pop());
    });
    let message = "table \"countries\": column \"name\" is missing on s2";
    assert_eq!(told(&diff(&captured(), &other)), [(Severity::WritesWouldBeWrong, message)]);
    assert_eq!(told(&diff(&other, &captured())), [(Severity::WritesWouldBeWrong, message)]);

    let other = edited(|document| {
        document["relations"].as_array_mut().unwrap().retain(|relation| relation["name"] != "cache");
        relation(document, "tickets")["kind"] = "v".into();
    });
    let expected = [
        (Severity::WritesWouldBeWrong, "table \"cache\" is missing on s2"),
        (
            Severity::WritesWouldBeWrong,
            "table \"tickets\" is served on s1 and not on s2: there it is the view \"tickets\"",
        ),
    ];
    let differences = diff(&captured(), &other);
    for one in expected {
        assert!(told(&differences).contains(&one), "{one:?} of {differences:#?}");
    }
}

#[test]
fn deletes_depend_on_who_refers_to_the_table() {
    let other = edited(|document| relation(document, "tickets")["constraints"] = serde_json::Value::Null);
    let differences = diff(&captured(), &other);
    let messages: Vec<&str> = differences.iter().map(|difference| difference.message.as_str()).collect();
    let key = "FOREIGN KEY (event_id, day) REFERENCES public.seats(event_id, day) (\"tickets_event_id_day_fkey\")";
    assert_eq!(
        messages,
        [
            format!("table \"seats\": the reference from table \"tickets\": {key} is missing on s2"),
            format!("table \"tickets\": the constraint {key} is missing on s2"),
        ]
    );
    assert!(forbids(&differences[0], Write::Delete) && !forbids(&differences[0], Write::Insert));
    assert!(!forbids(&differences[1], Write::Delete) && forbids(&differences[1], Write::Insert));
}

#[test]
fn columns_in_another_order_make_inserts_wrong() {
    let other = edited(|document| relation(document, "countries")["columns"].as_array_mut().unwrap().reverse());
    let differences = diff(&captured(), &other);
    let message = "table \"countries\": the order of the columns is code, name on s1 and name, code on s2";
    assert_eq!(told(&differences), [(Severity::WritesWouldBeWrong, message)]);
    assert!(forbids(&differences[0], Write::Insert) && !forbids(&differences[0], Write::Update));
}

#[test]
fn an_index_more_is_harmless_unless_it_is_unique() {
    let without = |name: &str| {
        edited(|document| {
            relation(document, "orders")["indexes"].as_array_mut().unwrap().retain(|index| index["name"] != name);
        })
    };
    let other = without("orders ON price");
    let differences = diff(&captured(), &other);
    let message = "table \"orders\": the index CREATE INDEX ON public.orders USING btree (price) INCLUDE (code) WHERE \
                   (price > (10)::numeric) (\"orders ON price\") is missing on s2";
    assert_eq!(told(&differences), [(Severity::Harmless, message)]);
    assert!(!forbids(&differences[0], Write::Insert));
    assert_eq!(captured().tables["orders"].fingerprint(), other.tables["orders"].fingerprint());

    let differences = diff(&captured(), &without("orders_lower"));
    assert_eq!(differences[0].severity, Severity::WritesWouldBeWrong);
    assert!(forbids(&differences[0], Write::Insert) && !forbids(&differences[0], Write::Delete));
}

#[test]
fn a_constraint_of_another_name_is_harmless_and_of_another_meaning_is_not() {
    let other = changed(&[("orders_price_check", "price_is_positive")]);
    let message = "table \"orders\": the constraint CHECK ((price > (0)::numeric)) is named \"orders_price_check\" on s1 \
                   and \"price_is_positive\" on s2";
    assert_eq!(told(&diff(&captured(), &other)), [(Severity::Harmless, message)]);
    assert_eq!(captured().tables["orders"].fingerprint(), other.tables["orders"].fingerprint());

    let differences =
        diff(&captured(), &changed(&[("CHECK ((price > (0)::numeric))", "CHECK ((price > (1)::numeric))")]));
    assert_eq!(differences.len(), 2, "one lacks either: {differences:#?}");
    assert!(differences.iter().all(|difference| forbids(difference, Write::Update)));
}

#[test]
fn labels_of_an_enum_are_its_meaning_and_its_oid_is_told_apart() {
    let other = changed(&[("'sad', 'ok', 'happy'", "'ok', 'sad', 'happy'")]);
    let message =
        "the type public.mood is an enum ('sad', 'ok', 'happy') on s1 and an enum ('ok', 'sad', 'happy') on s2";
    let differences = diff(&captured(), &other);
    assert_eq!(told(&differences)[0], (Severity::ReadsWouldDiffer, message));
    let writes = differences.iter().filter(|difference| forbids(difference, Write::Insert));
    let tables: Vec<_> = writes.map(|difference| difference.table.as_deref()).collect();
    assert_eq!(tables, [Some("events"); 3], "an enum, an array of it and an array of a domain over it");
    assert_eq!(
        differences[1].message,
        "table \"events\": the type of column \"feelings\" is public.feeling[] (public.mood of 'sad', 'ok', 'happy') on s1 \
         and public.feeling[] (public.mood of 'ok', 'sad', 'happy') on s2"
    );
    assert_ne!(captured().tables["events"].fingerprint(), other.tables["events"].fingerprint());

    let oids = captured().types["public.mood"].clone();
    let (oid, array) = (oids.oid.to_string(), oids.array_oid.unwrap().to_string());
    let other = changed(&[(&format!(": {oid},"), ": 99001,"), (&format!(": {array},"), ": 99002,")]);
    let message = format!(
        "the oid of the type public.mood, which drivers remember, is {oid} (its array's {array}) on s1 and 99001 (its \
         array's 99002) on s2"
    );
    assert_eq!(told(&diff(&captured(), &other)), [(Severity::ReadsWouldDiffer, message.as_str())]);
    assert_eq!(captured().tables["events"].fingerprint(), other.tables["events"].fingerprint());
}

#[test]
fn what_fills_or_guards_rows_is_compared() {
    let expect = |edit: &dyn Fn(&mut serde_json::Value), part: &str, severity| {
        let other = edited(|document| edit(document));
        let differences = diff(&captured(), &other);
        assert_eq!(differences.len(), 1, "{differences:#?}");
        assert!(differences[0].message.contains(part), "{differences:#?}");
        assert_eq!(differences[0].severity, severity, "{differences:#?}");
    };
    use Severity::{Harmless, ReadsWouldDiffer, WritesWouldBeWrong};
    let column = |table, number: usize, field: &'static str, value: serde_json::Value| {
        move |document: &mut serde_json::Value| relation(document, table)["columns"][number][field] = value.clone()
    };
    expect(&column("events", 2, "default", "'sad'".into()), "the default of column \"mood\"", WritesWouldBeWrong);
    expect(&column("cache", 0, "not_null", true.into()), "is nullable on s1 and NOT NULL on s2", WritesWouldBeWrong);
    expect(&column("orders", 1, "identity", "d".into()), "GENERATED BY DEFAULT", WritesWouldBeWrong);
    expect(&column("events", 7, "default", "2".into()), "the expression of column \"total\"", WritesWouldBeWrong);
    expect(&column("cache", 1, "collation", "x.y".into()), "the database's on s1 and x.y on s2", ReadsWouldDiffer);
    let trigger =
        |document: &mut serde_json::Value| relation(document, "orders")["triggers"][0]["enabled"] = "D".into();
    expect(&trigger, "the trigger \"stamped\"", WritesWouldBeWrong);
    let policy = |document: &mut serde_json::Value| relation(document, "countries")["policies"] = vec![()].pop().into();
    expect(&policy, "the policy \"all_of_it\" is missing on s2", WritesWouldBeWrong);
    let partition = |document: &mut serde_json::Value| {
        drop(relation(document, "seats")["partitions"].as_array_mut().unwrap().pop());
    };
    expect(&partition, "the partition public.seats_rest is missing on s2", Harmless);
    let version = |document: &mut serde_json::Value| document["server"]["version"] = 170_002.into();
    expect(&version, "the version of Postgres is 15 on s1 and 17 on s2", ReadsWouldDiffer);
}

#[test]
fn where_sequences_stand_may_differ() {
    let other = edited(|document| {
        let sequences = document["sequences"].as_array_mut().unwrap();
        sequences.iter_mut().for_each(|sequence| sequence["start"] = 2.into());
    });
    assert_eq!(diff(&captured(), &other), []);
}

#[test]
fn problems_of_a_shard_are_told_with_what_to_do() {
    let problems = captured().problems(1);
    let find = |part: &str| {
        let found = problems.iter().find(|problem| problem.message.contains(part));
        found.unwrap_or_else(|| panic!("{part} in {problems:#?}"))
    };
    let serial = find("the sequence public.orders_number_seq of column \"number\" steps by 1,");
    assert_eq!(serial.severity, Severity::WritesWouldBeWrong);
    assert!(serial.hint.contains("INCREMENT BY 1024 RESTART WITH 1025"), "{}", serial.hint);
    assert!(find("is of type integer").message.ends_with("has 2097151 numbers left"));
    assert_eq!(find("the key column \"event_id\" takes NULL").table.as_deref(), Some("cache"));
    assert_eq!(find("\"orders_code_key\" is unique on each shard").severity, Severity::Harmless, "uuids do not meet");
    assert_eq!(find("row security is on").severity, Severity::Harmless);
    assert_eq!(find("it is unlogged").table.as_deref(), Some("cache"));
    assert_eq!(find("the trigger \"stamped\"").table.as_deref(), Some("orders"));
    let sequence = problems.iter().filter(|problem| problem.message.contains("orders_id_seq"));
    assert_eq!(sequence.count(), 0, "it steps from the shard's number");
    assert!(
        captured()
            .problems(2)
            .iter()
            .any(|problem| problem.message.contains("orders_id_seq of column \"id\" stands at 1"))
    );
}

#[test]
fn a_unique_key_without_the_key_column_makes_writes_wrong() {
    let text = edited(|document| {
        let code = &mut relation(document, "orders")["columns"][5];
        (code["type"], code["type_name"], code["shown"]) = (25.into(), "text".into(), "text".into());
    });
    let problems = text.problems(1);
    let found = problems.iter().find(|problem| problem.message.contains("orders_code_key")).unwrap();
    assert_eq!(found.severity, Severity::WritesWouldBeWrong);
    assert!(found.hint.starts_with("Include the key column \"event_id\""), "{}", found.hint);
}

#[test]
fn a_server_that_cannot_be_a_shard_is_told() {
    let other = changed(&[
        ("\"encoding\": \"UTF8\"", "\"encoding\": \"LATIN1\""),
        ("\"collate\": \"C\"", "\"collate\": \"en_US.UTF-8\""),
        ("\"max_prepared_transactions\": 20", "\"max_prepared_transactions\": 0"),
        ("\"in_recovery\": false", "\"in_recovery\": true"),
    ]);
    assert!(!other.server.text_order_is_c && captured().server.text_order_is_c);
    let problems = other.problems(1);
    let of_server: Vec<&str> =
        problems.iter().filter(|problem| problem.table.is_none()).map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        of_server,
        [
            "s2: the database's encoding is LATIN1",
            "s2: the server follows another one, and takes no writes",
            "s2: text is ordered by the C library's en_US.UTF-8",
            "s2: max_prepared_transactions is 0: transactions that write on several shards are refused",
        ]
    );
    let differences = diff(&captured(), &other);
    assert!(differences.iter().any(|difference| {
        difference.message == "the order of text is by bytes on s1 and the C library's en_US.UTF-8 on s2"
    }));
}

#[test]
fn positions_decide_whether_a_sequence_meets_others() {
    let mut schema = captured();
    let query = schema.positions_query().unwrap();
    assert_eq!(query.matches("last_value, is_called FROM").count(), 3, "{query}");
    let row = |name: &str, position: &str| [name, position, "t"].map(|value| Some(value.to_owned())).to_vec();
    schema.set_positions(&[row("public.orders_id_seq", "3073")]).unwrap();
    assert_eq!(schema.sequences["public.orders_id_seq"].collides(1), None);
    schema.set_positions(&[row("public.orders_id_seq", "3075")]).unwrap();
    assert_eq!(schema.sequences["public.orders_id_seq"].collides(1).as_deref(), Some("stands at 3075"));
    assert_eq!(schema.sequences["public.orders_id_seq"].next_own(1), 4097);
    assert!(schema.set_positions(&[row("public.nowhere", "1")]).is_err());
    assert!(schema.set_positions(&[vec![None, None]]).is_err());
}

/// Surveys s1, s2, ... as they were made.
fn surveyed(schemas: Vec<ShardSchema>, all: u16) -> Schema {
    let shards: Vec<Shard> = (1..=all).map(|number| shard(&format!("s{number}"))).collect();
    let keyspaces = [Arc::new(Keyspace::create("main", "event_id", KeyType::Bigint, &shards).unwrap())];
    let numbered = (1..).zip(schemas);
    let named =
        numbered.map(|(number, schema)| (ShardId(number), ShardSchema { shard: format!("s{number}"), ..schema }));
    survey(&named.collect::<Vec<_>>(), &keyspaces)
}

fn of_price(schema: &Schema) -> Vec<&crate::topology::Misfit> {
    let is_it = |misfit: &&crate::topology::Misfit| misfit.spoils == Spoils::Value("price".into());
    schema.drift.misfits.iter().filter(is_it).collect()
}

#[test]
fn the_shard_that_most_others_contradict_is_wrong_and_all_are_without_a_majority() {
    let odd = || {
        edited(|document| {
            let price = &mut relation(document, "orders")["columns"][3];
            (price["shown"], price["modifier"]) = ("numeric(12,2)".into(), 786_438.into());
        })
    };
    let shards = |misfits: &[&crate::topology::Misfit]| -> Vec<u16> {
        misfits.iter().flat_map(|misfit| misfit.shards.iter().map(|id| id.0)).collect()
    };
    let third = surveyed(vec![odd(), captured(), captured()], 3);
    assert_eq!(shards(&of_price(&third)), [1]);
    let told = &of_price(&third)[0].message;
    assert_eq!(told, "table \"orders\": column \"price\" is numeric(10,2) on s2 and numeric(12,2) on s1");
    assert_eq!(column_modifier(&third), 655_366, "planned as most shards have it");
    assert_eq!(shards(&of_price(&surveyed(vec![captured(), odd()], 2))), [1, 2]);
    // Another shard is down, and may be of either opinion.
    assert_eq!(shards(&of_price(&surveyed(vec![captured(), captured(), odd()], 4))), [1, 2, 3]);
    assert_eq!(of_price(&surveyed(vec![captured(), captured()], 2)).len(), 0);
}

fn column_modifier(schema: &Schema) -> i32 {
    schema.table("orders").unwrap().column("price").unwrap().1.modifier
}

/// What a statement does to a table.
#[derive(Clone, Copy, PartialEq)]
enum Write {
    Insert,
    Update,
    Delete,
}

/// Whether any such statement would be wrong.
fn forbids(difference: &Difference, write: Write) -> bool {
    match difference.spoils() {
        Spoils::Nothing => false,
        Spoils::Everything | Spoils::Writes => true,
        Spoils::NewRows | Spoils::NewValues(_) | Spoils::Value(_) => write != Write::Delete,
        Spoils::OldRows => write != Write::Insert,
        Spoils::Filling(_) | Spoils::Order => write == Write::Insert,
    }
}
