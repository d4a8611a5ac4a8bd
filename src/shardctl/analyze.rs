//! `shardctl analyze`: what the server would do with the statements of an application.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::arguments::Format;
use super::client::Client;
use super::failure::Failure;
use super::output::Output;
use super::print;
use crate::admin::{Analysis, AnalyzeRequest, AnalyzedStatement};

const FILE_MAX_BYTES: u64 = 1 << 30;
/// What is asked at once, unless one text is longer.
const BATCH_BYTES: usize = 1 << 20;
/// Characters of a statement in the table.
const STATEMENT_SHOWN: usize = 100;

/// One distinct statement.
#[derive(Debug, PartialEq, Serialize)]
struct Distinct {
    #[serde(flatten)]
    analyzed: AnalyzedStatement,
    count: usize,
}

/// All of them, and what they come to.
#[derive(Debug, Serialize)]
struct Report {
    statements: usize,
    distinct: usize,
    refused: usize,
    refused_distinct: usize,
    /// Of the statements, those that run as they are.
    unchanged_percent: f64,
    by_statement: Vec<Distinct>,
}

pub(super) fn run(
    client: &Client,
    output: &mut Output,
    file: Option<&Path>,
    log: Option<&Path>,
) -> Result<ExitCode, Failure> {
    let texts = match (file, log) {
        (Some(file), _) => vec![statements_of_file(&read(file)?)],
        (None, Some(log)) => statements_of_log(&read(log)?),
        (None, None) => return Err(Failure::Usage("give a file, or --log with one".to_owned())),
    };
    let mut analyzed = Vec::new();
    for texts in batches(texts) {
        let analysis: Analysis = client.post("/v1/analyze", &AnalyzeRequest { texts })?;
        analyzed.extend(analysis.statements);
    }
    let report = Report::of(analyzed);
    match output.format() {
        Format::Json => output.json(&report)?,
        Format::Table => print_report(output, &report)?,
    }
    Ok(if report.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(path: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::Usage(format!("cannot read {}: {error}", path.display()));
    let from: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(std::io::stdin()),
        false => Box::new(std::fs::File::open(path).map_err(failed)?),
    };
    let mut bytes = Vec::new();
    let read = from.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if read as u64 > FILE_MAX_BYTES {
        return Err(Failure::Usage(format!(
            "{} has more than {FILE_MAX_BYTES} bytes: give a part of it",
            path.display()
        )));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What psql would send of a file: without its own commands, and without the rows behind COPY ... FROM stdin.
fn statements_of_file(text: &str) -> String {
    let mut sent = String::with_capacity(text.len());
    let mut rows_follow = false;
    for line in text.lines() {
        if rows_follow {
            rows_follow = line != "\\.";
            continue;
        }
        if line.starts_with('\\') {
            continue;
        }
        let folded = line.trim_end().trim_end_matches(';').to_ascii_lowercase();
        rows_follow = folded.starts_with("copy ") && folded.contains(" from stdin");
        sent.push_str(line);
        sent.push('\n');
    }
    sent
}

/// The statements of a server's log in its plain format: a statement goes on over the lines that begin with a tab.
fn statements_of_log(text: &str) -> Vec<String> {
    let mut statements: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        if let Some(more) = line.strip_prefix('\t').filter(|_| goes_on) {
            if let Some(last) = statements.last_mut() {
                last.push('\n');
                last.push_str(more);
            }
            continue;
        }
        let statement = logged(line);
        goes_on = statement.is_some();
        statements.extend(statement.map(str::to_owned));
    }
    statements
}

/// `... LOG:  statement: SQL`, `... LOG:  duration: 0.1 ms  execute name: SQL`.
fn logged(line: &str) -> Option<&str> {
    let (_, mut rest) = line.split_once("LOG:  ")?;
    if let Some(timed) = rest.strip_prefix("duration: ") {
        rest = timed.split_once(" ms  ")?.1;
    }
    if let Some(statement) = rest.strip_prefix("statement: ") {
        return Some(statement);
    }
    Some(rest.strip_prefix("execute ")?.split_once(": ")?.1)
}

fn batches(texts: Vec<String>) -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = Vec::new();
    let mut bytes = 0;
    for text in texts {
        match all.last_mut() {
            Some(batch) if bytes + text.len() <= BATCH_BYTES => {
                bytes += text.len();
                batch.push(text);
            }
            _ => {
                bytes = text.len();
                all.push(vec![text]);
            }
        }
    }
    all
}

impl Report {
    fn of(analyzed: Vec<AnalyzedStatement>) -> Report {
        let statements = analyzed.len();
        let mut places: HashMap<(String, String), usize> = HashMap::new();
        let mut by_statement: Vec<Distinct> = Vec::new();
        for one in analyzed {
            let place = *places.entry((one.statement.clone(), one.kind.clone())).or_insert(by_statement.len());
            match by_statement.get_mut(place) {
                Some(known) => known.count += 1,
                None => by_statement.push(Distinct { analyzed: one, count: 1 }),
            }
        }
        let is_refused = |one: &&Distinct| one.analyzed.kind == "refused";
        by_statement.sort_by_key(|one| (!is_refused(&one), std::cmp::Reverse(one.count)));
        let refused = by_statement.iter().filter(is_refused).map(|one| one.count).sum::<usize>();
        Report {
            statements,
            distinct: by_statement.len(),
            refused,
            refused_distinct: by_statement.iter().filter(is_refused).count(),
            unchanged_percent: match statements {
                0 => 100.0,
                _ => (statements - refused) as f64 * 100.0 / statements as f64,
            },
            by_statement,
        }
    }
}

fn print_report(output: &mut Output, report: &Report) -> Result<(), Failure> {
    let shown = |text: &str| {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        match words.char_indices().nth(STATEMENT_SHOWN) {
            Some((end, _)) => format!("{}...", print::visible(&words[..end])),
            None => print::visible(&words),
        }
    };
    let row = |Distinct { analyzed, count }: &Distinct| {
        let why = match &analyzed.hint {
            Some(hint) => format!("{} {hint}", print::visible(&analyzed.reason)),
            None => print::visible(&analyzed.reason),
        };
        vec![analyzed.kind.clone(), count.to_string(), shown(&analyzed.statement), why]
    };
    let rows: Vec<Vec<String>> = report.by_statement.iter().map(row).collect();
    output.table(&["PLAN", "COUNT", "STATEMENT", "WHY"], &rows)?;
    output.line("")?;
    output.line(&format!(
        "{} statements, {} distinct: {:.1} % run as they are; {} ({} distinct) are refused.",
        report.statements, report.distinct, report.unchanged_percent, report.refused, report.refused_distinct
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_read_as_psql_reads_it() {
        let text = "\\connect tickets\nSELECT 1;\nCOPY t (a) FROM stdin;\n1\n\\N\n\\.\nSELECT 2;\n";
        assert_eq!(statements_of_file(text), "SELECT 1;\nCOPY t (a) FROM stdin;\nSELECT 2;\n");
    }

    #[test]
    fn a_log_gives_its_statements() {
        let text = "2026-01-01 10:00:00 UTC [7] LOG:  statement: SELECT 1\n\tFROM t\n\
                    2026-01-01 10:00:00 UTC [7] app@db LOG:  execute <unnamed>: SELECT $1\n\
                    2026-01-01 10:00:00 UTC [7] DETAIL:  parameters: $1 = 'x'\n\tnot a statement\n\
                    2026-01-01 10:00:00 UTC [7] LOG:  duration: 0.052 ms  statement: COMMIT\n\
                    2026-01-01 10:00:00 UTC [7] LOG:  duration: 1.2 ms  parse s: SELECT 2\n\
                    2026-01-01 10:00:00 UTC [7] LOG:  checkpoint starting: time\n";
        assert_eq!(statements_of_log(text), ["SELECT 1\nFROM t", "SELECT $1", "COMMIT"]);
    }

    #[test]
    fn alike_ones_count_together_and_refused_ones_come_first() {
        let one = |statement: &str, kind: &str| AnalyzedStatement {
            statement: statement.to_owned(),
            kind: kind.to_owned(),
            reason: String::new(),
            hint: None,
        };
        let report = Report::of(vec![one("a", "single"), one("b", "refused"), one("a", "single"), one("c", "scatter")]);
        let order: Vec<_> =
            report.by_statement.iter().map(|one| (one.analyzed.statement.as_str(), one.count)).collect();
        assert_eq!(order, [("b", 1), ("a", 2), ("c", 1)]);
        assert_eq!((report.statements, report.distinct, report.refused), (4, 3, 1));
        assert!((report.unchanged_percent - 75.0).abs() < 0.01);
    }

    #[test]
    fn long_texts_are_asked_alone() {
        let long = "x".repeat(BATCH_BYTES + 1);
        let sizes: Vec<usize> = batches(vec!["a".into(), "b".into(), long, "c".into()]).iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 1, 1]);
    }
}
