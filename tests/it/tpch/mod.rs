//! [TPC-H](https://www.tpc.org/tpch/)'s schema and its 22 queries, with the values by which the benchmark validates them: over shards they
//! answer as on one Postgres.
//!
//! Orders and their lines lie together by the order's key, parts with their stock by the part's, customers by their own: three
//! keyspaces, so that most of the queries join rows of different shards. Suppliers, nations and regions are on every shard.

mod rows;

use crate::support::Both;
use crate::support::both::agree;

const KEYSPACES: &str = "
[[keyspaces]]
name = 'orders'
key_column = 'o_orderkey'
key_columns = { lineitem = 'l_orderkey' }

[[keyspaces]]
name = 'parts'
key_column = 'p_partkey'
key_columns = { partsupp = 'ps_partkey' }

[[keyspaces]]
name = 'customers'
key_column = 'c_custkey'
";

const SCHEMA: &[&str] = &[
    "CREATE TABLE region (r_regionkey int PRIMARY KEY, r_name char(25) NOT NULL, r_comment varchar(152))",
    "CREATE TABLE nation (n_nationkey int PRIMARY KEY, n_name char(25) NOT NULL, n_regionkey int NOT NULL REFERENCES region, \
     n_comment varchar(152))",
    "CREATE TABLE supplier (s_suppkey int PRIMARY KEY, s_name char(25) NOT NULL, s_address varchar(40) NOT NULL, \
     s_nationkey int NOT NULL REFERENCES nation, s_phone char(15) NOT NULL, s_acctbal numeric(15,2) NOT NULL, \
     s_comment varchar(101) NOT NULL)",
    "CREATE TABLE part (p_partkey int PRIMARY KEY, p_name varchar(55) NOT NULL, p_mfgr char(25) NOT NULL, \
     p_brand char(10) NOT NULL, p_type varchar(25) NOT NULL, p_size int NOT NULL, p_container char(10) NOT NULL, \
     p_retailprice numeric(15,2) NOT NULL, p_comment varchar(23) NOT NULL)",
    "CREATE TABLE partsupp (ps_partkey int NOT NULL REFERENCES part, ps_suppkey int NOT NULL, ps_availqty int NOT NULL, \
     ps_supplycost numeric(15,2) NOT NULL, ps_comment varchar(199) NOT NULL, PRIMARY KEY (ps_partkey, ps_suppkey))",
    "CREATE TABLE customer (c_custkey int PRIMARY KEY, c_name varchar(25) NOT NULL, c_address varchar(40) NOT NULL, \
     c_nationkey int NOT NULL, c_phone char(15) NOT NULL, c_acctbal numeric(15,2) NOT NULL, c_mktsegment char(10) NOT NULL, \
     c_comment varchar(117) NOT NULL)",
    "CREATE TABLE orders (o_orderkey bigint PRIMARY KEY, o_custkey int NOT NULL, o_orderstatus char(1) NOT NULL, \
     o_totalprice numeric(15,2) NOT NULL, o_orderdate date NOT NULL, o_orderpriority char(15) NOT NULL, o_clerk char(15) NOT NULL, \
     o_shippriority int NOT NULL, o_comment varchar(79) NOT NULL)",
    "CREATE TABLE lineitem (l_orderkey bigint NOT NULL REFERENCES orders, l_partkey int NOT NULL, l_suppkey int NOT NULL, \
     l_linenumber int NOT NULL, l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, \
     l_discount numeric(15,2) NOT NULL, l_tax numeric(15,2) NOT NULL, l_returnflag char(1) NOT NULL, \
     l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL, \
     l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, l_comment varchar(44) NOT NULL, \
     PRIMARY KEY (l_orderkey, l_linenumber))",
];

const ROWS_AT_A_TIME: usize = 200;

/// The queries, each under a line that tells its number.
fn queries() -> impl Iterator<Item = &'static str> {
    include_str!("queries.sql").split("\n\n").map(str::trim).filter(|query| !query.is_empty())
}

#[test]
fn the_queries_of_tpc_h_are_answered_as_by_one_database() {
    for over_postgres in [true, false] {
        let mut both = Both::empty(over_postgres, KEYSPACES);
        SCHEMA.iter().for_each(|statement| both.run(statement));
        for table in rows::all() {
            for rows in table.rows.chunks(ROWS_AT_A_TIME) {
                both.run(&format!("INSERT INTO {} VALUES {}", table.table, rows.join(", ")));
            }
        }
        assert_eq!(queries().count(), 22);
        let mut wrong = Vec::new();
        for query in queries() {
            let (expected, got) = (both.expected.query(query), both.got.query(query));
            let has_values = expected.texts().iter().flatten().any(Option::is_some);
            assert!(has_values, "the rows are such that every query finds some: {query}");
            let compared = std::panic::catch_unwind(|| agree(query, &expected, &got));
            if compared.is_err() {
                wrong.push(query.lines().next().unwrap_or_default());
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
