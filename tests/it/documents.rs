//! What the documentation says about SQL is so: every example is run on shardd and on Postgres.

use crate::differential::compare::{Mode, Verdict, ask, compare, refusal, show};
use crate::support::{Client, Postgres, Shardd, read};

/// A fenced block of SQL: whether it is marked as refused, the line it begins on, and its text.
struct Example {
    refused: bool,
    line: usize,
    text: String,
}

fn examples(document: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut inside = false;
    for (number, line) in document.lines().enumerate() {
        match line.strip_prefix("```") {
            Some("") => inside = false,
            Some(kind) if kind.starts_with("sql") => {
                inside = true;
                examples.push(Example { refused: kind == "sql refused", line: number + 1, text: String::new() });
            }
            _ if inside => {
                let example = examples.last_mut().expect("an open block");
                example.text += line;
                example.text.push('\n');
            }
            _ => {}
        }
    }
    examples
}

/// The statements of an example. No literal in the documentation has a semicolon at a line's end.
fn statements(text: &str) -> impl Iterator<Item = &str> {
    text.split(";\n").map(str::trim).filter(|statement| !statement.is_empty())
}

#[test]
fn the_sql_reference_is_true() {
    let (postgres, shardd) = (Postgres::start(), Shardd::start());
    let (mut expected, mut got) = (postgres.client(), shardd.client());
    let document = read("docs/sql.md");
    let examples = examples(&document);
    assert!(examples.len() > 10, "where are the examples?");
    let mut wrong = Vec::new();
    for example in &examples {
        for statement in statements(&example.text) {
            if let Some(problem) = try_statement(&mut expected, &mut got, statement, example.refused) {
                wrong.push(format!("docs/sql.md, after line {}: {statement}\n  {problem}", example.line));
            }
        }
    }
    assert!(wrong.is_empty(), "{} statements:\n{}", wrong.len(), wrong.join("\n"));
}

fn try_statement(postgres: &mut Client, shardd: &mut Client, statement: &str, refused: bool) -> Option<String> {
    let got = ask(shardd, statement, Mode::Simple).expect("shardd answers");
    if refused {
        let problem = match refusal(&got) {
            None => format!("should be refused, and is not: {}", show(&got, false)),
            Some(refusal) if refusal.hint.is_empty() => "is refused without a hint".to_owned(),
            Some(_) => return None,
        };
        return Some(problem);
    }
    let expected = ask(postgres, statement, Mode::Simple).expect("Postgres answers");
    // Times of day differ from server to server; the documentation shows no others.
    match compare(&expected, &got, statement.contains("ORDER BY")) {
        Verdict::Same | Verdict::SameError { same_message: true } => None,
        verdict => {
            Some(format!("{verdict:?}\n  Postgres: {}\n  shardd:   {}", show(&expected, false), show(&got, false)))
        }
    }
}

/// Links between documents lead somewhere.
#[test]
fn links_between_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    let mut documents = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    for entry in std::fs::read_dir(crate::support::root().join("docs")).expect("docs") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") {
            documents.push(format!("docs/{name}"));
        }
    }
    for document in &documents {
        let text = read(document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            let base = crate::support::root().join(document);
            if !base.parent().expect("a directory").join(path).exists() {
                wrong.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The reference of errors names every SQLSTATE that the code can raise, and no other.
#[test]
fn every_sqlstate_is_in_the_reference() {
    let code = read("src/error.rs");
    let raised =
        code.lines().filter_map(|line| line.trim().strip_suffix("\";")?.rsplit_once(" = \"").map(|(_, code)| code));
    let raised: Vec<&str> = raised.filter(|code| code.len() == 5).collect();
    let document = read("docs/errors.md");
    let described: Vec<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next())
        .filter(|code| code.len() == 5)
        .collect();
    assert!(raised.len() > 50, "where are the SQLSTATEs?");
    for state in &raised {
        assert!(described.contains(state), "{state} is not in docs/errors.md");
    }
    for state in &described {
        assert!(raised.contains(state), "{state} is in docs/errors.md, and nothing raises it");
    }
}
