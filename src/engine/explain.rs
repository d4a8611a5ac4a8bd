//! EXPLAIN: what shardd would do with a statement, and what a shard would.

use std::sync::Arc;

use super::answer::{Answer, TagCount};
use super::parameters;
use super::session::{Execution, Session};
use super::statement::Prepared;
use crate::error::{Error, Result};
use crate::plan::{self, Explanation, Local, Plan, PlanKind, Scatter};
use crate::shard::postgres::{self, Aftermath, Way};
use crate::shard::{Call, Program, RawParameters, ShardKind, Tag};
use crate::sql::{self, ast};
use crate::topology::Keyspace;
use crate::types::Format;

/// What several shards are asked for.
fn pushed(prepared: &Prepared, kind: PlanKind, keyspaces: &[Arc<Keyspace>]) -> Result<Vec<String>> {
    let Plan::Read(read) = &prepared.statement.plan else { return Ok(Vec::new()) };
    let asked = |scatter: &Scatter, tree: &ast::Statement| {
        Ok::<_, Error>(match prepared.statement.scattered(scatter)? {
            Program::Postgres(program) => program.template.clone().unwrap_or_default(),
            Program::Sqlite(_) => tree.to_string(),
        })
    };
    let texts = match (kind, &read.scatter) {
        (PlanKind::Gather, _) => {
            let gathered = prepared.statement.gathered(read, keyspaces)?;
            gathered.iter().map(|one| one.brought.statement.text.clone()).collect()
        }
        (PlanKind::Scatter, Ok(scatter @ Scatter::Merge { statement, .. })) if *statement != read.statement => {
            vec![asked(scatter, statement)?]
        }
        (PlanKind::Scatter, Ok(scatter @ Scatter::Aggregate(aggregate))) => vec![asked(scatter, &aggregate.statement)?],
        _ => Vec::new(),
    };
    texts.iter().map(|text| sql::put_literals_back(text, &prepared.text)).collect()
}

impl Session {
    pub(super) async fn explain(&mut self, local: &Local, execution: &Execution) -> Result<Answer> {
        let Local::Explain { prefix, text, json, shardd, analyze } = local else {
            return Err(Error::internal("a statement is no EXPLAIN"));
        };
        if self.engine.kind == ShardKind::Postgres
            && !shardd
            && let Some(answer) = self.explain_on_shard(prefix, text, *analyze, execution).await?
        {
            return Ok(answer);
        }
        if *analyze {
            return Err(Error::unsupported(
                "EXPLAIN ANALYZE",
                "Use EXPLAIN (SHARDD) for shardd's plan; run the statement to measure it.",
            ));
        }
        let explanation = self.explanation(text).await;
        let lines = if *json {
            let text = serde_json::to_string_pretty(&[explanation])
                .map_err(|error| Error::internal(format!("a plan cannot be written as JSON: {error}")))?;
            vec![text]
        } else {
            explanation.lines()
        };
        let rows: Vec<Vec<String>> = lines.into_iter().map(|line| vec![line]).collect();
        self.text_answer(execution, "EXPLAIN", &rows)
    }

    /// The plan of the one shard that the statement would run on; `None` when there are several, or none.
    async fn explain_on_shard(
        &mut self,
        prefix: &str,
        text: &str,
        analyze: bool,
        execution: &Execution,
    ) -> Result<Option<Answer>> {
        let mut inner = Arc::new(self.prepare_checked(text, &[])?);
        let mut raw = RawParameters::default();
        if let Plan::Local(local) = &inner.statement.plan
            && let Local::Execute { name, arguments } = &**local
        {
            let named = self.statement(name)?;
            let values = self.evaluate(arguments, &named.parameter_types()?, execution).await?;
            raw = RawParameters { formats: vec![Format::Binary], values };
            inner = named;
        }
        if raw.values.len() != inner.parameter_count() || (analyze && !matches!(inner.statement.plan, Plan::Read(_))) {
            return Ok(None);
        }
        let raw = Arc::new(raw);
        let mut values = parameters::decode(&inner.statement, &inner, &raw, self.settings.text_style())?;
        values.extend_from_slice(&inner.literals);
        let Some(shard) = self.one_shard(&inner.statement, &values)? else { return Ok(None) };
        let text: Arc<str> = format!("{prefix}{}", inner.text).into();
        let way = match raw.values.is_empty() {
            true => Way::Simple,
            false => Way::Extended { type_oids: inner.parameter_oids().into(), parameters: raw, name: None },
        };
        let call = postgres::Call {
            program: Arc::new(postgres::Program::as_written(Tag::Select, Arc::clone(&text), Box::default())),
            text,
            way,
            formats: execution.formats.clone(),
            cancel: self.cancel.clone(),
            settings: Arc::clone(self.settings.for_shards()),
            aftermath: if analyze { Aftermath::Reset } else { Aftermath::Keep },
            keeper: self.keeper().cloned(),
            replica: self.on_replica(false),
            calls_unknown: false,
            then_ask: None,
        };
        let output = self.read_call(shard, Call::Postgres(call), false).await?;
        self.notices.extend(output.notices);
        let columns = output.columns.or_else(|| execution.statement.columns().cloned());
        Ok(Some(Answer {
            columns,
            row_description: output.row_description,
            rows: output.rows,
            tag: "EXPLAIN",
            count: TagCount::None,
            recording: None,
            copy: None,
        }))
    }

    /// The plan of a statement, as `EXPLAIN (SHARDD)` prints it; a statement that is refused is explained, too.
    pub async fn explain_lines(&mut self, text: &str) -> Vec<String> {
        self.explanation(text).await.lines()
    }

    /// The plan of each statement of a text, with the statement's text without its literals.
    pub async fn analyze(&mut self, text: &str) -> Vec<(String, Explanation)> {
        let statements = match sql::split(text) {
            Ok(statements) => statements,
            Err(error) => return vec![(text.to_owned(), plan::explain_error(&error))],
        };
        let mut analyzed = Vec::with_capacity(statements.len());
        for statement in statements {
            let lifted = sql::lift(statement).map_or_else(|_| statement.to_owned(), |lifted| lifted.text.to_string());
            analyzed.push((lifted, self.explanation(statement).await));
        }
        analyzed
    }

    /// `EXECUTE name (...)` is explained as the statement of that name.
    async fn explanation(&mut self, text: &str) -> Explanation {
        let prepared = match self.prepare_checked(text, &[]) {
            Ok(prepared) => prepared,
            Err(error) => return plan::explain_error(&error),
        };
        let topology = self.engine.live.snapshot();
        // The client's own parameters are not known, and come before the literals of the text.
        let parameters = if prepared.parameter_count() == 0 { prepared.literals.as_slice() } else { &[] };
        let mut explained = plan::explain(&prepared.statement.plan, parameters, &topology);
        match pushed(&prepared, explained.kind, &topology.keyspaces) {
            Ok(pushed) => Explanation { pushed, ..explained },
            Err(error) => {
                explained.kind = PlanKind::Refused;
                explained.reason = error.message().to_owned();
                explained.hint = error.get_hint().map(str::to_owned);
                explained
            }
        }
    }
}
