//! EXPLAIN: what shardd would do with a statement.

use super::answer::Answer;
use super::session::{Execution, Session};
use crate::error::{Error, Result};
use crate::plan::{self, Explanation};

impl Session {
    pub(super) async fn explain(&mut self, text: &str, json: bool, execution: &Execution) -> Result<Answer> {
        let explanation = self.explanation(text).await;
        let lines = if json {
            let text = serde_json::to_string_pretty(&[explanation])
                .map_err(|error| Error::internal(format!("a plan cannot be written as JSON: {error}")))?;
            vec![text]
        } else {
            explanation.lines()
        };
        let rows: Vec<Vec<String>> = lines.into_iter().map(|line| vec![line]).collect();
        self.text_answer(execution, "EXPLAIN", &rows)
    }

    /// The plan of a statement, as `EXPLAIN (SHARDD)` prints it; a statement that is refused is explained, too.
    pub async fn explain_lines(&mut self, text: &str) -> Vec<String> {
        self.explanation(text).await.lines()
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
        plan::explain(&prepared.statement.plan, parameters, &topology)
    }
}
