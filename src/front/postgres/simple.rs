//! Simple queries: a text with any number of statements, answered in text.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SIMPLE-QUERY>

use super::client::{Client, Failure};
use super::extended;
use crate::engine::{Answer, Formats, RawParameters, RowBatch, Scope, TransactionStatus};
use crate::error::{Error, Result, SqlState};
use crate::wire::backend;

impl Client<'_> {
    /// Runs every statement of `text`, up to the first that fails.
    pub(super) async fn simple_query(&mut self, text: &str) -> Result<(), Failure> {
        // As in Postgres, a simple query ends the unnamed statement and portal.
        self.unnamed = None;
        self.portals.close("");
        let statements = self.session.split(text)?;
        let Some((last, others)) = statements.split_last() else {
            backend::empty_query_response(&mut self.connection.output);
            return Ok(());
        };
        if !others.is_empty() {
            let checked = statements.iter().map(|statement| (statement, self.session.check_syntax(statement)));
            for (statement, outcome) in checked {
                outcome.map_err(|error| positioned(error, text, statement))?;
            }
        }
        for statement in others {
            let scope = self.scope(false);
            self.simple_statement(text, statement, scope, false).await?;
        }
        let scope = self.scope(others.is_empty());
        self.simple_statement(text, last, scope, true).await
    }

    async fn simple_statement(&mut self, text: &str, statement: &str, scope: Scope, last: bool) -> Result<(), Failure> {
        let answered = self.run_simple(text, statement, scope, last).await;
        answered.map_err(|failure| match failure {
            Failure::Statement(error) => Failure::Statement(positioned(error, text, statement)),
            Failure::Connection(ended) => Failure::Connection(ended),
        })
    }

    async fn run_simple(&mut self, text: &str, statement: &str, scope: Scope, last: bool) -> Result<(), Failure> {
        let deadline = self.statement_deadline();
        let prepared = self.watched(deadline, async |session| session.prepare_once(statement, &[]).await).await?;
        if prepared.is_empty() {
            backend::empty_query_response(&mut self.connection.output);
            return Ok(());
        }
        if prepared.parameter_count() > 0 {
            return Err(Error::new(SqlState::UNDEFINED_PARAMETER, "there is no parameter $1").into());
        }
        // Positions in it count from its first byte.
        if self.passing.is_none() && scope == Scope::Alone && statement.as_ptr() == text.as_ptr() {
            self.session.remember_text(text, &prepared);
        }
        let parameters = RawParameters::default();
        let before = self.session.status();
        let passing = self.passing.take();
        let run = async |session: &mut crate::engine::Session| match passing {
            Some(passing) => session.go_on(passing, &prepared, parameters, Formats::AllText).await,
            None => session.execute(&prepared, parameters, Formats::AllText, scope).await,
        };
        let mut answer: Answer = self.watched(deadline, run).await?;
        self.send_notices();
        if answer.copy.is_some() {
            answer = self.copy(answer, deadline).await?;
        }
        if let Some(frame) = &answer.row_description {
            self.connection.output.extend_from_slice(frame);
        } else if let Some(columns) = &answer.columns {
            extended::row_description(&mut self.connection.output, columns, &Formats::AllText);
        }
        let mut held = RowBatch::default();
        let sent = self.send_rows(&mut answer, &mut held, 0, deadline).await?;
        if before != TransactionStatus::Idle && self.session.status() == TransactionStatus::Idle {
            self.portals.clear();
        }
        // A batch is not done before it is committed, and the last tag says that it is.
        if last && scope == Scope::Batch {
            self.end_batch().await?;
        }
        self.end_copy(&answer);
        extended::command_complete(&mut self.connection.output, &answer, sent.rows);
        Ok(())
    }
}

/// An error's position counts from the statement that was prepared; the client sent the whole text.
fn positioned(error: Error, text: &str, statement: &str) -> Error {
    let Some(position) = error.get_position() else { return error };
    let begin = (statement.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    match text.get(..begin) {
        Some(before) => error.position(position + before.chars().count() as u32),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_the_start_of_the_whole_text() {
        let text = "SELECT 'é'; SELECT nope";
        let statement = &text[text.find("SELECT nope").expect("there")..];
        let error = Error::new(SqlState::UNDEFINED_COLUMN, "no").position(8);
        assert_eq!(positioned(error, text, statement).get_position(), Some(20));
        let error = Error::new(SqlState::UNDEFINED_COLUMN, "no");
        assert_eq!(positioned(error, text, statement).get_position(), None);
    }
}
