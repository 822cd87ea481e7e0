//! Replies: answers as bytes, whole or spoilt.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::{Stream, StreamExt, stream};
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::clock::Clock;
use super::faults::{Fault, FaultKind, Wait};
use super::limit::Quota;
use super::operations::Refusal;
use super::wire::Line;

/// Head of a gzip file and of one deflate block of zeros; each further zero byte unpacks to 1,032 of them.
const BOMB_HEAD: [u8; 25] = [
    0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 0xed, 0xc1, 0x31, 0x01, 0, 0, 0, 0xc2, 0xa0, 0xf5, 0x4f, 0x6d, 0x08, 0x5f,
    0xa0,
];
/// Compressed size of the bomb: unpacked, a little over one gibibyte.
const BOMB_BYTES: usize = 1 << 20;

/// The headers of the rate limit.
const QUOTA: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];

/// An answer that is not on its way yet.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Whole(Bytes),
    Slow { bytes: Bytes, piece: usize, pause: Duration },
    Half(Bytes),
    Endless,
}

impl Reply {
    fn new(status: u16, content_type: Option<&'static str>, bytes: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        if let Some(content_type) = content_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        // A script may ask for a status that HTTP does not have; the nearest that it has then is 500.
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, headers, content: Content::Whole(bytes.into()) }
    }

    /// JSON.
    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self::new(status, Some("application/json; charset=utf-8"), value.to_string())
    }

    /// The provider's error shape.
    pub(super) fn refusal(refusal: &Refusal) -> Self {
        Self::json(refusal.status, &refusal.to_json())
    }

    /// Adds the three headers of the rate limit.
    pub(super) fn with_quota(mut self, quota: Quota) -> Self {
        let values = [HeaderValue::from(quota.limit), quota.remaining.into(), quota.reset.into()];
        self.headers.extend(QUOTA.into_iter().zip(values));
        self
    }

    /// Takes them away again.
    pub(super) fn without_quota(mut self) -> Self {
        for name in QUOTA {
            self.headers.remove(name);
        }
        self
    }

    /// Adds or replaces headers.
    pub(super) fn with_headers(mut self, headers: &[(HeaderName, HeaderValue)]) -> Self {
        for (name, value) in headers {
            self.headers.insert(name.clone(), value.clone());
        }
        self
    }

    /// Lets the body trickle. A body that is spoilt in another way stays as it is.
    pub(super) fn slow(mut self, piece: usize, pause: Duration) -> Self {
        if let Content::Whole(bytes) = self.content {
            self.content = Content::Slow { bytes, piece, pause };
        }
        self
    }

    /// The answer that a fault puts in the place of `own`, or nothing where it cuts the connection. Kinds that only
    /// add to an answer leave it as it is.
    pub(super) fn spoilt(fault: &Fault, own: Option<Self>, quota: Quota, clock: &Clock) -> Option<Self> {
        let reply = match &fault.kind {
            FaultKind::Drop => return None,
            FaultKind::Status { status, id, message, details } => {
                let mut error = json!({"status": status, "message": message, "id": id});
                if let Some(details) = details {
                    error["details"] = details.clone();
                }
                Self::json(*status, &json!({ "error": error })).with_quota(quota)
            }
            FaultKind::Json { status, body } => Self::json(*status, body),
            FaultKind::Html(status) => Self::new(
                *status,
                Some("text/html"),
                format!(
                    "<html>\r\n<head><title>{status}</title></head>\r\n<body><h1>{status}</h1></body>\r\n</html>\r\n"
                ),
            ),
            FaultKind::Empty(status) => Self::new(*status, None, Bytes::new()),
            FaultKind::Garbage => {
                Self::new(200, Some("application/json"), &b"{\"data\": {\"id\": \x00\xff\xfe"[..]).with_quota(quota)
            }
            FaultKind::Endless => {
                let mut reply = Self::new(200, Some("application/json"), Bytes::new()).with_quota(quota);
                reply.content = Content::Endless;
                reply
            }
            FaultKind::GzipBomb => {
                let mut bytes = BOMB_HEAD.to_vec();
                bytes.resize(BOMB_BYTES, 0);
                let mut reply = Self::new(200, Some("application/json"), bytes).with_quota(quota);
                reply.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                reply
            }
            FaultKind::Truncated => {
                let mut reply = own.unwrap_or_else(|| Self::json(200, &json!({"data": {}})).with_quota(quota));
                if let Content::Whole(bytes) = reply.content {
                    reply.content = Content::Half(bytes);
                }
                reply
            }
            FaultKind::RateLimited(wait) => rate_limited(*wait, quota, clock),
            FaultKind::Redirect(location) => {
                let mut reply = Self::new(307, None, Bytes::new()).with_quota(quota);
                if let Ok(location) = HeaderValue::from_str(location) {
                    reply.headers.insert(header::LOCATION, location);
                }
                reply
            }
            FaultKind::Delay(_)
            | FaultKind::SlowBody { .. }
            | FaultKind::Headers
            | FaultKind::Late(_)
            | FaultKind::Lossy => own?,
        };
        Some(reply)
    }

    /// Puts the answer on its way over a connection.
    pub(super) fn into_response(self, line: &Arc<Line>) -> Response {
        let length = match &self.content {
            Content::Slow { bytes, .. } | Content::Half(bytes) => Some(bytes.len()),
            Content::Whole(_) | Content::Endless => None,
        };
        let body = match self.content {
            Content::Whole(bytes) => Body::from(bytes),
            Content::Slow { bytes, piece, pause } => while_open(line, trickle(bytes, piece, pause)),
            Content::Half(bytes) => while_open(line, half(bytes, Arc::clone(line))),
            Content::Endless => while_open(line, endless()),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if let Some(length) = length {
            response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        }
        response
    }
}

fn rate_limited(wait: Wait, quota: Quota, clock: &Clock) -> Reply {
    let refusal = Refusal::new(429, "RATE-LIMIT-EXCEEDED", "too many requests");
    let mut reply = Reply::refusal(&refusal);
    let retry_after = match wait {
        Wait::Reset(reset) => return reply.with_quota(Quota { remaining: 0, reset, ..quota }),
        Wait::ResetAt(wait) => {
            let at = clock.wall(Instant::now() + wait).as_second();
            return reply.with_quota(Quota { remaining: 0, reset: u64::try_from(at).unwrap_or_default(), ..quota });
        }
        Wait::RetryAfter(seconds) => HeaderValue::from(seconds),
        Wait::RetryDate(wait) => http_date(clock, wait),
        Wait::Unsaid => return reply,
    };
    reply.headers.insert(header::RETRY_AFTER, retry_after);
    reply
}

fn http_date(clock: &Clock, wait: Duration) -> HeaderValue {
    let at = clock.wall(Instant::now() + wait);
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap_or_default();
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// A body that ends when its connection is cut: one that waits would hold the connection's task otherwise.
fn while_open<E>(line: &Arc<Line>, pieces: impl Stream<Item = Result<Bytes, E>> + Send + 'static) -> Body
where
    E: Into<axum::BoxError> + 'static,
{
    let line = Arc::clone(line);
    Body::from_stream(pieces.take_until(Box::pin(async move { line.wait_cut().await })))
}

fn trickle(bytes: Bytes, piece: usize, pause: Duration) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(bytes, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        let next = rest.split_to(piece.min(rest.len()));
        tokio::time::sleep(pause).await;
        Some((Ok(next), rest))
    })
}

fn half(mut bytes: Bytes, line: Arc<Line>) -> impl Stream<Item = Result<Bytes, io::Error>> {
    let first = bytes.split_to(bytes.len() / 2);
    stream::once(async move { Ok(first) }).chain(stream::once(async move {
        // A turn for the connection to send what it has; then the line is cut.
        tokio::task::yield_now().await;
        line.cut();
        Err(io::ErrorKind::ConnectionAborted.into())
    }))
}

fn endless() -> impl Stream<Item = Result<Bytes, Infallible>> {
    let filling = Bytes::from(vec![b' '; 16 << 10]);
    stream::once(async { Ok(Bytes::from_static(b"{\"data\": {\"filling\": \"")) })
        .chain(stream::repeat_with(move || Ok(filling.clone())))
}
