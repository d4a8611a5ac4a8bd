//! Tables without a file.

use super::*;
use crate::shard::sqlite::Scratch;

fn scratch() -> Scratch {
    Scratch::open(Arc::clone(Metrics::new().no_shard())).unwrap()
}

/// Rows of a shard: a count, a name and a sum.
async fn partial_rows(fixture: &Fixture) -> (Arc<Program>, RowBatch) {
    let program = read(
        "SELECT count(*), label, '1.50' FROM seats GROUP BY label",
        &[PgType::Int8, PgType::Text, PgType::Numeric],
    );
    let mut named = (*program).clone();
    for (column, name) in named.columns.iter_mut().zip(["n", "label \"x\"", "price"]) {
        column.name = name.to_owned();
    }
    let program = Arc::new(named);
    let rows = fixture.shard.read(call(Arc::clone(&program), vec![])).await.unwrap();
    (program, collect(rows).await.unwrap())
}

#[tokio::test]
async fn partial_rows_are_put_together() {
    let fixture = Fixture::new().await;
    fixture.write("INSERT INTO seats VALUES (1, 1, 1, 'a'), (1, 2, 1, 'a'), (1, 3, 1, NULL)", vec![]).await.unwrap();
    let (program, batch) = partial_rows(&fixture).await;
    let scratch = scratch();
    let finish = "SELECT sum(n) || coalesce(\"label \"\"x\"\"\", 'null') || min(price) FROM partial GROUP BY 2, \"label \"\"x\"\"\"";
    for _ in 0..3 {
        let mut table = scratch.table("partial", &program.columns, 10_000, &CancelFlag::new()).await.unwrap();
        assert_eq!(table.schema().tables["partial"].columns[2].data_type, PgType::Numeric);
        table.load(0, &batch).unwrap();
        table.load(0, &batch).unwrap();
        let finish = read(&finish.replace("GROUP BY 2, ", "GROUP BY "), &[PgType::Text]);
        let rows = table.finish(call(finish, vec![])).await.unwrap();
        let mut lines = texts(&collect(rows).await.unwrap());
        lines.sort();
        assert_eq!(lines, ["2null1.50", "4a1.50"]);
    }
}

#[tokio::test]
async fn a_table_is_bounded() {
    let fixture = Fixture::new().await;
    fixture.write("INSERT INTO seats VALUES (1, 1, 1, 'a')", vec![]).await.unwrap();
    let (program, batch) = partial_rows(&fixture).await;
    let scratch = scratch();
    let mut table = scratch.table("partial", &program.columns, 100, &CancelFlag::new()).await.unwrap();
    table.load(0, &batch).unwrap();
    let (state, ..) = said((0..10).try_for_each(|_| table.load(0, &batch)));
    assert_eq!(state, "54000");
}

#[tokio::test]
async fn a_statement_without_tables_needs_no_shard() {
    let rows = scratch().run(call(read("SELECT 6 * 7", &[PgType::Int8]), vec![])).await.unwrap();
    assert_eq!(numbers(&collect(rows).await.unwrap()), [42]);
}
