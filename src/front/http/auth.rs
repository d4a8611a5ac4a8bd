//! Who is asking: the users of the Postgres door by Basic authentication, or the bearer of a token.
//!
//! Checking a password costs milliseconds, on purpose, and HTTP clients send theirs with every request. So a pair that
//! was right is remembered, as a digest under a key that this process made up; and few are checked at once.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use quick_cache::sync::Cache;
use sha2::Sha256;
use tokio::sync::Semaphore;

use crate::web::{Problem, Secret};
use crate::wire::scram::Verifier;

/// Pairs of user and password that are remembered as right.
const REMEMBERED: usize = 1_024;
/// Passwords being checked at once; each takes a processor for milliseconds.
const CHECKS_AT_ONCE: usize = 2;
const PASSWORD_MAX_BYTES: usize = 1_024;
/// How much of the name of a user who is not let in is logged.
const USER_SHOWN: usize = 63;
/// Who asks where nobody has to say.
const ANONYMOUS: &str = "anonymous";

/// The user that a request acts as.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) user: String,
}

/// A token and the user that its bearer acts as.
#[derive(Clone, Debug)]
pub struct Token {
    pub secret: Secret,
    pub user: String,
}

/// Who may come in.
#[derive(Clone, Debug, Default)]
pub struct Callers {
    /// Verifiers by user.
    pub users: HashMap<String, Verifier>,
    pub tokens: Vec<Token>,
    /// There are users elsewhere, whom the door does not know: it is not open though nobody can come in.
    pub others: bool,
}

impl Callers {
    /// Nobody has to say who they are.
    pub fn is_open(&self) -> bool {
        self.users.is_empty() && self.tokens.is_empty() && !self.others
    }
}

/// Those who may come in now.
#[derive(Debug)]
pub struct LiveCallers {
    known: ArcSwap<Known>,
    /// Stays as it is: what strangers are compared with must not change when users do.
    mock_secret: [u8; 32],
}

#[derive(Debug)]
struct Known {
    callers: Callers,
    /// Another for others: what was right of those before is forgotten.
    digest_key: [u8; 32],
}

impl LiveCallers {
    pub fn new(callers: Callers) -> LiveCallers {
        let mock_secret = Verifier::mock_secret(callers.users.values());
        LiveCallers { known: ArcSwap::from_pointee(Known { callers, digest_key: rand::random() }), mock_secret }
    }

    pub fn replace(&self, callers: Callers) {
        self.known.store(Arc::new(Known { callers, digest_key: rand::random() }));
    }

    pub fn is_open(&self) -> bool {
        self.known.load().callers.is_open()
    }
}

impl Default for LiveCallers {
    fn default() -> LiveCallers {
        LiveCallers::new(Callers::default())
    }
}

/// Checks credentials.
pub(crate) struct Authenticator {
    live: Arc<LiveCallers>,
    right: Cache<[u8; 32], ()>,
    checks: Semaphore,
}

impl Authenticator {
    pub(crate) fn new(live: Arc<LiveCallers>) -> Authenticator {
        Authenticator { live, right: Cache::new(REMEMBERED), checks: Semaphore::new(CHECKS_AT_ONCE) }
    }

    async fn identify(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let known = self.live.known.load_full();
        if known.callers.is_open() {
            return Ok(Caller { user: ANONYMOUS.to_owned() });
        }
        let Some(credentials) = credentials(headers) else {
            return Err(unauthorized("credentials are needed").hint(
                "Send the user and password of the Postgres door with Basic authentication (curl -u user:password), or a \
                 bearer token.",
            ));
        };
        let user = match credentials {
            Credentials::Bearer(token) => known.bearer(&token),
            Credentials::Basic { user, password } => self.basic(&known, user, password).await,
        };
        user.map(|user| Caller { user }).ok_or_else(|| unauthorized("the credentials are wrong"))
    }

    async fn basic(&self, known: &Known, user: String, password: String) -> Option<String> {
        if password.len() > PASSWORD_MAX_BYTES {
            return None;
        }
        let digest = known.digest(&user, &password);
        if self.right.get(&digest).is_some() {
            return Some(user);
        }
        let verifier = known.callers.users.get(&user).cloned();
        let verifier = verifier.unwrap_or_else(|| Verifier::mock(&user, &self.live.mock_secret));
        let _permit = self.checks.acquire().await.ok()?;
        let right = tokio::task::spawn_blocking(move || verifier.is_of(&password)).await.unwrap_or(false);
        if !right {
            let shown: String = user.chars().take(USER_SHOWN).collect();
            tracing::info!(user = shown, "password authentication failed at the HTTP door");
            return None;
        }
        self.right.insert(digest, ());
        Some(user)
    }
}

impl Known {
    /// Every token is compared, so that the time does not tell which was nearly right.
    fn bearer(&self, offered: &str) -> Option<String> {
        let mut user = None;
        for token in &self.callers.tokens {
            if token.secret.matches(offered.as_bytes()) {
                user = Some(token.user.clone());
            }
        }
        user
    }

    fn digest(&self, user: &str, password: &str) -> [u8; 32] {
        let mac = Hmac::<Sha256>::new_from_slice(&self.digest_key).expect("a key of any length is accepted");
        let length = (user.len() as u64).to_be_bytes();
        mac.chain_update(length).chain_update(user).chain_update(password).finalize().into_bytes().into()
    }
}

enum Credentials {
    Basic { user: String, password: String },
    Bearer(String),
}

/// <https://www.rfc-editor.org/rfc/rfc7617>, <https://www.rfc-editor.org/rfc/rfc6750>
fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Credentials::Bearer(rest.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(rest).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(Credentials::Basic { user: user.to_owned(), password: password.to_owned() })
}

fn unauthorized(detail: &str) -> Problem {
    const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"shardd\", charset=\"UTF-8\"");
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).header(header::WWW_AUTHENTICATE, CHALLENGE)
}

/// The layer that lets in whoever may come in, and says who it is.
pub(crate) async fn authenticate(
    State(authenticator): State<Arc<Authenticator>>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    match authenticator.identify(request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(authorization: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(authorization).unwrap());
        headers
    }

    fn basic(pair: &str) -> HeaderMap {
        headers(&format!("Basic {}", BASE64.encode(pair)))
    }

    fn authenticator() -> Authenticator {
        let users = HashMap::from([("app".to_owned(), Verifier::from_password("pen:cil", [3; 16]))]);
        let token = Token { secret: Secret::new("t0ken"), user: "worker".into() };
        let callers = Callers { users, tokens: vec![token], others: false };
        Authenticator::new(Arc::new(LiveCallers::new(callers)))
    }

    #[tokio::test]
    async fn a_user_comes_in_with_the_right_password_only() {
        let authenticator = authenticator();
        for _ in 0..2 {
            assert_eq!(authenticator.identify(&basic("app:pen:cil")).await.unwrap().user, "app");
            for wrong in ["app:pencil", "app:", "other:pen:cil", "app"] {
                let refused = authenticator.identify(&basic(wrong)).await.unwrap_err();
                assert_eq!(refused.status, 401, "{wrong}");
                assert!(refused.headers.iter().any(|(name, _)| name == header::WWW_AUTHENTICATE));
            }
        }
    }

    #[tokio::test]
    async fn a_bearer_acts_as_its_tokens_user() {
        let authenticator = authenticator();
        assert_eq!(authenticator.identify(&headers("bearer t0ken")).await.unwrap().user, "worker");
        for wrong in ["Bearer token", "Bearer ", "t0ken", "Digest t0ken", "Basic ???"] {
            assert!(authenticator.identify(&headers(wrong)).await.is_err(), "{wrong}");
        }
        assert!(authenticator.identify(&HeaderMap::new()).await.is_err());
    }

    #[tokio::test]
    async fn without_users_and_tokens_anyone_may_come_in() {
        let open = Authenticator::new(Arc::default());
        assert_eq!(open.identify(&HeaderMap::new()).await.unwrap().user, ANONYMOUS);
        open.live.replace(Callers { others: true, ..Callers::default() });
        assert_eq!(open.identify(&HeaderMap::new()).await.unwrap_err().status, 401);
        assert_eq!(open.identify(&basic("app:secret")).await.unwrap_err().status, 401);
    }

    #[tokio::test]
    async fn who_was_let_in_before_is_looked_at_again_when_others_may_come_in() {
        let authenticator = authenticator();
        assert!(authenticator.identify(&basic("app:pen:cil")).await.is_ok());
        let users = HashMap::from([("app".to_owned(), Verifier::from_password("another", [3; 16]))]);
        authenticator.live.replace(Callers { users, ..Callers::default() });
        assert!(authenticator.identify(&basic("app:pen:cil")).await.is_err());
        assert!(authenticator.identify(&headers("bearer t0ken")).await.is_err());
        assert!(authenticator.identify(&basic("app:another")).await.is_ok());
    }
}
