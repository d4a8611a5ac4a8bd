//! Requests to the admin door. Blocking: a command does one thing at a time.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Request, Response, Uri};

use super::failure::Failure;

const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Longer than the server holds a request for logs.
const ANSWER_TIME: Duration = Duration::from_secs(60);
const ANSWER_MAX_BYTES: u64 = 64 * 1024 * 1024;
const TOKEN_MAX_BYTES: usize = 4 * 1024;

pub(super) struct Client {
    agent: Agent,
    url: String,
    token: Option<String>,
}

impl Client {
    /// # Errors
    /// The URL or the token file cannot be used.
    pub(super) fn new(url: &str, token_file: Option<&Path>) -> Result<Client, Failure> {
        let url = url.trim_end_matches('/').to_owned();
        let parsed: Uri = url.parse().map_err(|error| Failure::Usage(format!("--url {url} is no URL: {error}")))?;
        if parsed.scheme_str() != Some("http") || parsed.path() != "/" {
            return Err(Failure::Usage(format!("--url {url} should be of the form http://HOST:PORT")));
        }
        let config = Agent::config_builder()
            // A token must not take a detour.
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIME))
            .timeout_global(Some(ANSWER_TIME))
            .user_agent(concat!("shardctl/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Client { agent: Agent::new_with_config(config), url, token: token(token_file)? })
    }

    /// # Errors
    /// The server cannot be reached, refuses, or answers something else.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let request = self.request("GET", path).body(()).map_err(|error| Failure::Usage(error.to_string()))?;
        self.read(self.agent.run(request))
    }

    /// # Errors
    /// As [`Client::get`].
    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let text = serde_json::to_vec(body).map_err(|error| Failure::Usage(error.to_string()))?;
        let request = self.request("POST", path).header("content-type", "application/json").body(text);
        self.read(self.agent.run(request.map_err(|error| Failure::Usage(error.to_string()))?))
    }

    /// The same for what takes as long as it takes.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(super) fn post_and_wait<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let text = serde_json::to_vec(body).map_err(|error| Failure::Usage(error.to_string()))?;
        let request = self.request("POST", path).header("content-type", "application/json").body(text);
        let request = request.map_err(|error| Failure::Usage(error.to_string()))?;
        self.read(self.agent.run(self.agent.configure_request(request).timeout_global(None).build()))
    }

    fn request(&self, method: &str, path: &str) -> ureq::http::request::Builder {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn read<T: DeserializeOwned>(&self, answer: Result<Response<ureq::Body>, ureq::Error>) -> Result<T, Failure> {
        let mut answer = answer.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        let text = answer.body_mut().with_config().limit(ANSWER_MAX_BYTES).read_to_vec();
        let text = text.map_err(|error| self.unreachable(&error))?;
        if !status.is_success() {
            let body = serde_json::from_slice(&text).unwrap_or(Value::Null);
            return Err(Failure::of_answer(&self.url, status.as_u16(), &body));
        }
        let strange = |error: serde_json::Error| Failure::Strange { url: self.url.clone(), reason: error.to_string() };
        serde_json::from_slice(&text).map_err(strange)
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let reason = match error {
            ureq::Error::Io(error) => reason_of(error),
            ureq::Error::HostNotFound => "the host is not known".to_owned(),
            ureq::Error::Timeout(_) => "no answer in time".to_owned(),
            ureq::Error::Protocol(_) => {
                return Failure::Strange { url: self.url.clone(), reason: "the answer is not HTTP".to_owned() };
            }
            other => other.to_string(),
        };
        Failure::Unreachable { url: self.url.clone(), reason }
    }
}

fn reason_of(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string(),
    }
}

/// A path's or a query's part, with everything escaped that could mean something else.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// The token of `--token-file`, else of `SHARDCTL_TOKEN`.
fn token(file: Option<&Path>) -> Result<Option<String>, Failure> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Failure::Usage(format!("cannot read the token file {}: {error}", path.display())))?,
        None => std::env::var("SHARDCTL_TOKEN").unwrap_or_default(),
    };
    let token = text.trim();
    if token.is_empty() && file.is_some() {
        return Err(Failure::Usage("the token file is empty".to_owned()));
    }
    let printable = token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.len() > TOKEN_MAX_BYTES || !printable {
        return Err(Failure::Usage("the token is not one line of printable ASCII".to_owned()));
    }
    Ok((!token.is_empty()).then(|| token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_mean_something_else_is_escaped() {
        assert_eq!(escaped("a b/ü&c=%"), "a%20b%2F%C3%BC%26c%3D%25");
        assert_eq!(escaped("s-1_x.y~"), "s-1_x.y~");
    }

    #[test]
    fn a_url_is_http_host_and_port() {
        assert!(Client::new("http://127.0.0.1:8433/", None).is_ok());
        for bad in ["https://a", "127.0.0.1:8433", "http://a/path", "", "http://a b", "ftp://a"] {
            assert!(matches!(Client::new(bad, None), Err(Failure::Usage(_))), "{bad}");
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_unreachable() {
        // Bound and dropped, so that nobody listens.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let client = Client::new(&format!("http://127.0.0.1:{port}"), None).unwrap();
        let failure = client.get::<Value>("/v1/status").unwrap_err();
        let text = failure.to_string();
        assert!(
            text.starts_with(&format!("cannot reach shardd at http://127.0.0.1:{port}: connection refused\n")),
            "{text}"
        );
        assert!(matches!(failure, Failure::Unreachable { .. }));
    }

    #[test]
    fn a_token_file_holds_one_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "t0ken\n").unwrap();
        assert_eq!(token(Some(file.path())).unwrap().as_deref(), Some("t0ken"));
        for bad in ["", " \n", "two words", "two\nlines"] {
            std::fs::write(file.path(), bad).unwrap();
            assert!(token(Some(file.path())).is_err(), "{bad:?}");
        }
    }
}
