//! What surrounds every request: its bounds, its id, its host, its line in the log, and its error as problem+json.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use bytes::BytesMut;
use hyper::body::Body as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::access::AllowedHosts;
use super::problem::{PROBLEM_JSON, Problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_MAX_BYTES: usize = 128;
const URI_MAX_BYTES: usize = 8 * 1024;
const HEADERS_MAX_BYTES: usize = 32 * 1024;
/// How much of a refused request's body is read and thrown away, so that its client gets to read the answer.
const DISCARD_MAX_BYTES: usize = 256 * 1024;
const DISCARD_TIME: Duration = Duration::from_millis(500);

/// Names one request in answers and in the log: the client's `X-Request-Id`, or one made here.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

/// Marks an answer with an error's status whose body says more than a problem would, and stays.
#[derive(Clone, Copy, Debug)]
pub struct OwnBody;

/// The bounds and rules that hold for every request of a door.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The door, for the log.
    pub door: &'static str,
    /// Where its paths are listed, as a hint for who asks for another.
    pub paths: &'static str,
    pub hosts: AllowedHosts,
    /// Requests being answered at once; those past it are told to come back.
    pub in_flight: Arc<Semaphore>,
}

impl Frame {
    /// Wraps a router. Whatever it answers with a status of 400 or more leaves as problem+json.
    pub fn around(self, router: axum::Router) -> axum::Router {
        router.layer(axum::middleware::from_fn_with_state(Arc::new(self), surround))
    }

    async fn admit(&self, request: Request, next: Next) -> Response<Body> {
        if let Err(problem) = self.check(&request) {
            return problem.into_response();
        }
        let Ok(_permit) = self.in_flight.try_acquire() else {
            return Problem::overloaded("too many requests are being answered")
                .hint("Send the request again after the time in Retry-After.")
                .into_response();
        };
        next.run(request).await
    }

    fn check(&self, request: &Request) -> Result<(), Problem> {
        let uri = request.uri();
        let uri_bytes = uri.path().len() + uri.query().map_or(0, str::len);
        if uri_bytes > URI_MAX_BYTES {
            let detail = format!("the request target has {uri_bytes} bytes; {URI_MAX_BYTES} are allowed");
            return Err(Problem::new(StatusCode::URI_TOO_LONG, "uri_too_long", detail));
        }
        let header_bytes: usize =
            request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if header_bytes > HEADERS_MAX_BYTES {
            let detail = format!("the headers have {header_bytes} bytes; {HEADERS_MAX_BYTES} are allowed");
            return Err(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", detail));
        }
        let host = uri.authority().map(axum::http::uri::Authority::as_str).or_else(|| single_host(request.headers()));
        match host {
            Some(host) if self.hosts.allows(host) => Ok(()),
            // Health checks of old; a browser, which could be led here by a name, always sends the header.
            None if request.version() == Version::HTTP_10 && !request.headers().contains_key(header::HOST) => Ok(()),
            _ => Err(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "unknown_host",
                "the Host header names a host that this listener is not",
            )
            .hint("Call it by localhost, its IP address, or a name listed under allowed_hosts in the configuration.")),
        }
    }
}

/// The one Host header, if there is exactly one and it is text.
fn single_host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then_some(host)
}

async fn surround(State(frame): State<Arc<Frame>>, mut request: Request, next: Next) -> Response<Body> {
    let started = Instant::now();
    let id = request_id(request.headers());
    request.extensions_mut().insert(id.clone());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());

    let mut response = frame.admit(request, next).await;

    if response.status().is_client_error() || response.status().is_server_error() {
        response = as_problem(response, &method, &id, &frame);
    }
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    log(frame.door, &method, route.as_deref(), &response, &id, started.elapsed());
    response
}

/// One line for each request. The path is the route's pattern: a key is the client's affair.
fn log(
    door: &'static str,
    method: &Method,
    route: Option<&str>,
    response: &Response<Body>,
    id: &RequestId,
    elapsed: Duration,
) {
    let status = response.status();
    let route = route.unwrap_or("-");
    let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    let problem = response.extensions().get::<Problem>();
    let code = problem.map_or("-", |problem| problem.code.as_str());
    if status.is_server_error() {
        let detail = problem.map_or("", |problem| problem.detail.as_str());
        tracing::warn!(door, %method, route, status = status.as_u16(), code, detail, elapsed_us, request_id = %id.0, "request failed");
    } else {
        tracing::debug!(door, %method, route, status = status.as_u16(), code, elapsed_us, request_id = %id.0, "request");
    }
}

/// Gives an error its body: the problem that the handler named, or one made from what axum answered by itself.
fn as_problem(response: Response<Body>, method: &Method, id: &RequestId, door: &Frame) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let problem = match parts.extensions.get::<Problem>() {
        Some(problem) => problem.clone(),
        None if parts.extensions.get::<OwnBody>().is_some() => return Response::from_parts(parts, body),
        None => unnamed(parts.status, method, door),
    };
    let mut members = problem.body();
    members.insert("request_id".into(), json!(&*id.0));
    let text = Value::Object(members).to_string();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    parts.extensions.insert(problem);
    let body = if method == Method::HEAD { Body::empty() } else { Body::from(text) };
    Response::from_parts(parts, body)
}

fn unnamed(status: StatusCode, method: &Method, door: &Frame) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::not_found("there is nothing at this path").hint(door.paths),
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(status, "method_not_allowed", format!("{method} is not possible at this path"))
                .hint("The Allow header lists the methods that are.")
        }
        _ => Problem::new(status, "http_error", "the request could not be answered"),
    }
}

/// The client's id when it is short and harmless in a log, or a new one.
fn request_id(headers: &HeaderMap) -> RequestId {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'=');
    let given = headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|text| !text.is_empty() && text.len() <= REQUEST_ID_MAX_BYTES && text.bytes().all(harmless));
    match given {
        Some(text) => RequestId(text.into()),
        None => RequestId(format!("{:032x}", rand::random::<u128>()).into()),
    }
}

/// A request's whole body, of at most `limit` bytes, that arrives within `time`.
///
/// # Errors
/// 413, 408, or 400 when the connection broke.
pub async fn read_body(body: Body, limit: usize, time: Duration) -> Result<Bytes, Problem> {
    let mut body = pin!(body);
    match tokio::time::timeout(time, collect(body.as_mut(), limit)).await {
        Ok(Ok(Collected::Whole(bytes))) => Ok(bytes),
        Ok(Ok(Collected::TooLarge)) => {
            // A client that is still sending would meet a reset connection instead of the answer.
            let _ = tokio::time::timeout(DISCARD_TIME, collect_nothing(body, DISCARD_MAX_BYTES)).await;
            let detail = format!("the body has more than the {limit} bytes that are allowed");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
                .hint("Send less at once, or raise the limit in shardd's configuration."))
        }
        Ok(Err(_)) => Err(Problem::bad_request("the body could not be read to its end")),
        Err(_) => {
            let detail = format!("the body did not arrive within {} seconds", time.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail))
        }
    }
}

enum Collected {
    Whole(Bytes),
    TooLarge,
}

async fn collect(mut body: Pin<&mut Body>, limit: usize) -> Result<Collected, axum::Error> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Ok(Collected::TooLarge);
    }
    let mut bytes = BytesMut::with_capacity(announced);
    while let Some(data) = next_data(body.as_mut()).await? {
        if data.len() > limit - bytes.len() {
            return Ok(Collected::TooLarge);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Collected::Whole(bytes.freeze()))
}

async fn collect_nothing(mut body: Pin<&mut Body>, limit: usize) {
    let mut left = limit;
    while let Ok(Some(data)) = next_data(body.as_mut()).await {
        left = left.saturating_sub(data.len());
        if left == 0 {
            return;
        }
    }
}

async fn next_data(mut body: Pin<&mut Body>) -> Result<Option<Bytes>, axum::Error> {
    match poll_fn(|context| body.as_mut().poll_frame(context)).await {
        // Trailers are no data.
        Some(frame) => frame.map(|frame| Some(frame.into_data().unwrap_or_default())),
        None => Ok(None),
    }
}

/// A JSON body. The content type must say so: a form on a foreign page cannot send it without asking first.
///
/// # Errors
/// 415, 400 with the place of the mistake, and those of [`read_body`].
pub async fn read_json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    time: Duration,
) -> Result<T, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "the body must be JSON",
        )
        .hint("Send the header Content-Type: application/json."));
    }
    let bytes = read_body(body, limit, time).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::bad_request(format!("the body is not as expected: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_harmless_request_id_is_kept_and_any_other_replaced() {
        let id_of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_static(value));
            request_id(&headers).0
        };
        assert_eq!(&*id_of("trace-1/2:a.b_c"), "trace-1/2:a.b_c");
        assert_eq!(id_of("has space").len(), 32);
        assert_eq!(id_of("").len(), 32);
        assert_ne!(request_id(&HeaderMap::new()).0, request_id(&HeaderMap::new()).0);
    }

    #[test]
    fn two_host_headers_are_no_host() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        assert_eq!(single_host(&headers), Some("localhost"));
        headers.append(header::HOST, HeaderValue::from_static("evil.example"));
        assert_eq!(single_host(&headers), None);
    }

    #[tokio::test]
    async fn a_body_past_its_limit_is_413() {
        let time = Duration::from_secs(1);
        assert_eq!(read_body(Body::from("12345"), 5, time).await.unwrap(), "12345");
        assert_eq!(read_body(Body::from("123456"), 5, time).await.unwrap_err().status, 413);
        let streamed = Body::new(Chunks(vec!["123", "456"]));
        assert_eq!(read_body(streamed, 5, time).await.unwrap_err().status, 413);
    }

    struct Chunks(Vec<&'static str>);

    impl hyper::body::Body for Chunks {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Ready(self.0.pop().map(|text| Ok(hyper::body::Frame::data(Bytes::from(text)))))
        }
    }

    #[tokio::test]
    async fn json_must_be_declared_as_json() {
        let time = Duration::from_secs(1);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        let refused = read_json::<Value>(&headers, Body::from("{}"), 10, time).await.unwrap_err();
        assert_eq!(refused.status, 415);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        assert_eq!(read_json::<Value>(&headers, Body::from("{}"), 10, time).await.unwrap(), json!({}));
        let broken = read_json::<Value>(&headers, Body::from("{,"), 10, time).await.unwrap_err();
        assert!(broken.detail.contains("line 1 column 2"), "{}", broken.detail);
    }
}
