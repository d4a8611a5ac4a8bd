//! Why a command failed, what to do about it, and with which code the process ends.

use std::process::ExitCode;

use serde_json::Value;

/// A command that did not do what it was asked.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(super) enum Failure {
    /// The server answered, and the answer was no.
    #[error("{0}")]
    Refused(Refusal),
    #[error("{0}")]
    NotFound(Refusal),
    #[error("{0}")]
    Unauthorized(Refusal),
    #[error(
        "cannot reach shardd at {url}: {reason}\nIs it running? Start it with `shardd` (in its repository: `cargo run --release`). \
         If its admin door listens elsewhere, name it with --url or SHARDCTL_URL."
    )]
    Unreachable { url: String, reason: String },
    /// What the command line or the environment says cannot be used.
    #[error("{0}")]
    Usage(String),
    /// Something else answers at the address, or another version.
    #[error(
        "{url} does not answer as shardd's admin door does: {reason}\nCheck --url and SHARDCTL_URL (8433 is the admin door's usual port)."
    )]
    Strange { url: String, reason: String },
    /// A configuration has problems, which are printed already.
    #[error("{0}")]
    Problems(String),
    #[error("nobody reads the output")]
    OutputClosed,
    #[error("cannot write the output: {0}")]
    Output(String),
}

/// A problem+json answer, for people.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Refusal {
    pub(super) detail: String,
    pub(super) code: String,
    pub(super) hint: Option<String>,
    pub(super) request_id: Option<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "error: {} ({})", self.detail, self.code)?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        match &self.request_id {
            Some(id) => write!(f, "\nrequest id: {id}"),
            None => Ok(()),
        }
    }
}

impl Refusal {
    /// `None` when the body is no problem.
    pub(super) fn of(body: &Value) -> Option<Refusal> {
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Refusal {
            detail: text("detail")?,
            code: text("code")?,
            hint: text("hint"),
            // It helps to find the line in the server's log, which has one only for what is the server's fault.
            request_id: text("request_id").filter(|_| body.get("status").and_then(Value::as_u64) >= Some(500)),
        })
    }
}

impl Failure {
    /// What an answer with an error's status means.
    pub(super) fn of_answer(url: &str, status: u16, body: &Value) -> Failure {
        match (status, Refusal::of(body)) {
            (_, None) => Failure::Strange { url: url.to_owned(), reason: format!("status {status}") },
            (401, Some(refusal)) => Failure::Unauthorized(refusal),
            (404, Some(refusal)) if refusal.code == "not_found" => {
                Failure::Strange { url: url.to_owned(), reason: refusal.detail }
            }
            (404, Some(refusal)) => Failure::NotFound(refusal),
            (_, Some(refusal)) => Failure::Refused(refusal),
        }
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Failure::Refused(_) | Failure::Problems(_) | Failure::Output(_) | Failure::OutputClosed => 1,
            Failure::Usage(_) => 2,
            Failure::Unreachable { .. } | Failure::Strange { .. } => 3,
            Failure::NotFound(_) => 4,
            Failure::Unauthorized(_) => 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answers_status_decides_the_exit_code() {
        let code = |status: u16, body: Value| Failure::of_answer("http://x", status, &body).code();
        let problem = |code: &str| json!({"detail": "d", "code": code});
        assert_eq!(code(400, problem("22P02")), 1);
        assert_eq!(code(401, problem("unauthorized")), 5);
        assert_eq!(code(404, problem("unknown_shard")), 4);
        assert_eq!(code(404, problem("42P01")), 4);
        assert_eq!(code(404, problem("not_found")), 3);
        assert_eq!(code(502, Value::from("<html>")), 3);
        assert_eq!(code(503, problem("overloaded")), 1);
    }

    #[test]
    fn a_refusal_tells_hint_and_request_where_they_help() {
        let body =
            json!({"detail": "no room", "code": "53100", "hint": "Make some.", "status": 507, "request_id": "r1"});
        let text = Failure::of_answer("http://x", 507, &body).to_string();
        assert_eq!(text, "error: no room (53100)\nhint: Make some.\nrequest id: r1");
        let body = json!({"detail": "no", "code": "22P02", "status": 400, "request_id": "r1"});
        assert_eq!(Failure::of_answer("http://x", 400, &body).to_string(), "error: no (22P02)");
    }
}
