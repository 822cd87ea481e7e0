//! Pages: which answer belongs to which path, and which requests get none.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{Desk, Meters, Readiness, Silence, Whereabouts};
use crate::host::Hosts;
use crate::ledger::identity;
use crate::text::{self, printable};

/// Answers of `/status` in memory at a time, being made or being sent. One over 10,000 services is some 5 MB.
const MAX_LARGE: usize = 4;
/// How long a further one waits for its turn.
const TURN_LIMIT: Duration = Duration::from_secs(5);

const INDEX: &str = "\
truenorth
/healthz  does its loop live?
/readyz   does it do its work? if not, why not
/metrics  numbers over time, as OpenMetrics
/status   what each service is doing, as JSON
/whereabouts  where its ledger and its manifests are, as JSON
";

#[derive(Clone, Debug)]
struct Pages {
    desk: Desk,
    meters: Meters,
    whereabouts: Arc<Whereabouts>,
    large: Arc<Semaphore>,
}

/// All pages, for a server that may be called by these names.
pub(super) fn pages(desk: Desk, meters: Meters, whereabouts: Whereabouts, hosts: Hosts) -> Router {
    let (whereabouts, large) = (Arc::new(whereabouts), Arc::new(Semaphore::new(MAX_LARGE)));
    Router::new()
        .route("/", get(async || INDEX))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/whereabouts", get(paths))
        .method_not_allowed_fallback(async || (StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD are all there is\n"))
        .fallback(async || {
            (StatusCode::NOT_FOUND, "no such path: there are /healthz, /readyz, /metrics, /status and /whereabouts\n")
        })
        .with_state(Pages { desk, meters, whereabouts, large })
        .layer(middleware::from_fn_with_state(hosts, guard))
}

/// Refuses what no page should see, and puts on every answer how it is to be treated.
async fn guard(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = if !hosts.admit(&request) {
        let words = "only an IP address, localhost or a name of --allow-host is answered as Host, so that no web page reads this\n";
        (StatusCode::MISDIRECTED_REQUEST, words).into_response()
    } else if reads && !request.body().is_end_stream() {
        let close = [(header::CONNECTION, "close")];
        (StatusCode::PAYLOAD_TOO_LARGE, close, "a request here has no body\n").into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn healthz(State(pages): State<Pages>) -> Result<&'static str, Silence> {
    pages.desk.health().await?;
    Ok("ok\n")
}

async fn readyz(State(pages): State<Pages>) -> Result<Response, Silence> {
    Ok(match pages.desk.ready().await? {
        Readiness::Ready => "ready\n".into_response(),
        Readiness::NotReady(reasons) => {
            let lines: String = reasons.iter().map(|reason| printable(reason).to_string() + "\n").collect();
            (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
        }
    })
}

async fn metrics(State(pages): State<Pages>) -> Result<Response, Silence> {
    let text = pages.meters.encode(&pages.desk.gauges().await?);
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}

async fn status(State(pages): State<Pages>) -> Result<Response, Silence> {
    // The semaphore is never closed, so a late turn is the only failure.
    let Ok(Ok(place)) = timeout(TURN_LIMIT, Arc::clone(&pages.large).acquire_owned()).await else {
        let words = format!("{MAX_LARGE} answers of this kind are on their way already; ask again\n");
        return Ok((StatusCode::SERVICE_UNAVAILABLE, words).into_response());
    };
    let status = pages.desk.status().await?;
    // Tens of thousands of services take a while to write, and this thread may be one that the loop needs.
    let written = tokio::task::spawn_blocking(move || text::json::to_vec(&status.without_commands())).await;
    let Ok(Ok(mut json)) = written else {
        return Ok((StatusCode::INTERNAL_SERVER_ERROR, "the status cannot be written as JSON\n").into_response());
    };
    json.push(b'\n');
    let body = Body::from(Bytes::from_owner(Large { json, _place: place }));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

async fn paths(State(pages): State<Pages>) -> Response {
    let whereabouts = Arc::clone(&pages.whereabouts);
    let looked =
        spawn_blocking(move || Whereabouts { ledger_id: identity(&whereabouts.ledger), ..(*whereabouts).clone() });
    // A path that is no UTF-8 has no JSON.
    let Some(json) = looked.await.ok().and_then(|whereabouts| text::json::to_vec(&whereabouts).ok()) else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the paths cannot be written as JSON\n").into_response();
    };
    ([(header::CONTENT_TYPE, "application/json")], json).into_response()
}

/// The bytes of a large answer and its place among them, which is free again when the last byte is sent or dropped.
struct Large {
    json: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        &self.json
    }
}

impl IntoResponse for Silence {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{self}\n")).into_response()
    }
}
