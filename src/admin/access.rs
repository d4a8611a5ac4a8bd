//! The token, where one is configured.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;

use crate::web::{Problem, Secret};

/// The layer that lets a request through when no token is configured, or when it brings that token.
pub(super) async fn require_token(
    State(token): State<Arc<Option<Secret>>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    match &*token {
        Some(token) if !brings(request.headers(), token) => unauthorized().into_response(),
        _ => next.run(request).await,
    }
}

fn brings(headers: &HeaderMap, token: &Secret) -> bool {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    match value.to_str().ok().and_then(|text| text.split_once(' ')) {
        Some((scheme, offered)) if scheme.eq_ignore_ascii_case("bearer") => token.matches(offered.trim().as_bytes()),
        _ => false,
    }
}

fn unauthorized() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "the admin door needs its token")
        .hint("Send Authorization: Bearer TOKEN. shardctl takes it from SHARDCTL_TOKEN or --token-file.")
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"shardd admin\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_bearer_header_with_the_token_will_do() {
        let token = Secret::new("t0ken");
        let headers = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            headers
        };
        assert!(brings(&headers(&["Bearer t0ken"]), &token));
        assert!(brings(&headers(&["bearer  t0ken"]), &token));
        for wrong in [&["Bearer t0ke"][..], &["Basic t0ken"], &["t0ken"], &[], &["Bearer t0ken", "Bearer t0ken"]] {
            assert!(!brings(&headers(wrong), &token), "{wrong:?}");
        }
    }
}
