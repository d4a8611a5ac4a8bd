//! Deep and long statements, on the stack of an ordinary thread.

use super::planned_lifted;

/// Tokio's worker threads have this much.
const STACK_BYTES: usize = 2 << 20;

fn on_small_stack(text: String) -> Option<String> {
    std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || planned_lifted(&text).err().map(|error| error.sqlstate().code().to_owned()))
        .unwrap()
        .join()
        .expect("no overflow")
}

#[test]
fn deep_statements_are_planned_or_refused_on_a_small_stack() {
    for depth in [10, 100, 240, 999, 20_000] {
        let nested =
            |open: &str, inner: &str, close: &str| format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
        for text in [
            format!("SELECT {}", nested("(", "1", ")")),
            format!("SELECT * FROM seats WHERE {}", nested("(", "event_id = 1", ")")),
            format!("SELECT * FROM {}", nested("(SELECT * FROM ", "seats", ") x")),
            format!("SELECT * FROM {}", nested("(", "seats", ")")),
            format!("SELECT * FROM {}", nested("(", "seats JOIN events USING (event_id)", ")")),
            format!("SELECT {}", nested("(SELECT ", "1", ")")),
            format!("SELECT {}", nested("lower(", "'x'", ")")),
            format!("SELECT {}", nested("f(1, ", "1", ")")),
            format!("SELECT {}", nested("(SELECT 1, ", "1", ")")),
            format!("SELECT {}", nested("ARRAY[1, ", "1", "]")),
            format!("SELECT {}", nested("CASE WHEN true THEN ", "1", " END")),
            format!("SELECT {} 1", "- ".repeat(depth)),
            format!("SELECT {} true", "NOT ".repeat(depth)),
            format!("SELECT 1{}", " + 1".repeat(depth)),
            format!("SELECT 1{}", "::int".repeat(depth)),
            format!("SELECT a{}", "[1]".repeat(depth)),
            format!("SELECT a::int{}", "[]".repeat(depth)),
            format!("SELECT a{}", " IS NULL".repeat(depth)),
            format!("SELECT {} '1'", "interval ".repeat(depth)),
            format!("SELECT {}[1]{}", "ARRAY[".repeat(depth), "]".repeat(depth)),
            format!("SELECT a{}", " COLLATE \"C\"".repeat(depth)),
            format!("SELECT a{}", " AT TIME ZONE 'UTC'".repeat(depth)),
            format!("SELECT a{}", " BETWEEN 1 AND 2".repeat(depth)),
            format!("SELECT a{}", " BETWEEN SYMMETRIC 1 AND 2".repeat(depth)),
            format!("SELECT a BETWEEN SYMMETRIC {} AND 2", nested("(", "1", ")")),
            format!("SELECT {}", nested("(a BETWEEN SYMMETRIC ", "1", " AND 2)")),
            format!("SELECT ({}).*", nested("(", "a", ")")),
            format!("SELECT * FROM ROWS FROM ({})", nested("f(", "VARIADIC 1", ")")),
            format!("UPDATE seats SET a{} = 1", "[1]".repeat(depth)),
            format!("ALTER TABLE seats CLUSTER ON {}", nested("(", "1", ")")),
            format!("SELECT * FROM seats{}{}", " JOIN seats".repeat(depth), " ON true".repeat(depth)),
            format!("CREATE TABLE t (a int DEFAULT {})", nested("(", "1", ")")),
            format!("{} SELECT 1", "EXPLAIN ".repeat(depth)),
            format!("{} SELECT 1 {}", "BEGIN; ".repeat(depth), "END; ".repeat(depth)),
            format!("SELECT {}", nested("f(x => ", "1", ")")),
            nested("IF true THEN ", "SELECT 1", " END IF"),
            nested("WITH a AS (", "SELECT 1", ") SELECT 1"),
            format!("SELECT a{} FROM seats", ".b".repeat(depth)),
            format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(depth)),
            format!("SELECT * FROM seats WHERE event_id = 1{}", " AND status = 'x'".repeat(depth)),
            format!("SELECT * FROM seats WHERE event_id = 1{}", " OR event_id = 1".repeat(depth)),
            format!("SELECT * FROM seats{}", " JOIN events USING (event_id)".repeat(depth)),
            format!("SELECT * FROM seats WHERE {}", nested("EXISTS (SELECT 1 FROM seats WHERE ", "true", ")")),
            format!(
                "WITH {} SELECT 1",
                (0..depth.min(5_000)).map(|n| format!("c{n} AS (SELECT 1)")).collect::<Vec<_>>().join(", ")
            ),
            nested("(", "SELECT 1", ")"),
            format!("INSERT INTO seats VALUES {}", vec!["(1, 2, 'x', 3)"; depth.min(20_000)].join(",")),
        ] {
            let error = on_small_stack(text.clone());
            let known = matches!(
                error.as_deref(),
                None | Some("54001" | "54000" | "42601" | "42P01" | "42712" | "0A000" | "42P02")
            );
            assert!(known, "{error:?} for {}", &text[..text.len().min(80)]);
        }
    }
}

#[test]
fn ctes_that_double_are_refused_not_followed() {
    let mut text = String::from("WITH c0 AS (SELECT * FROM seats)");
    for number in 1..40 {
        let before = number - 1;
        text.push_str(&format!(", c{number} AS (SELECT a.event_id FROM c{before} a, c{before} b)"));
    }
    text.push_str(" SELECT * FROM c39");
    assert_eq!(on_small_stack(text).as_deref(), Some("54001"));
}
