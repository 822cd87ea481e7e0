//! Serving: the way of one request, from its head to its answer.
//!
//! Body, token, rate limit, path, faults before, the operation, latency, faults after: in this order. A request that
//! is given up on the way (the client went away, the sandbox stops) ends its entry in the log when it is dropped.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt;
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::TokenRule;
use super::contract::{CONTRACT, Ids, Operation, Route};
use super::faults::{Fault, FaultKind, Moment};
use super::limit::{Exceeded, Quota};
use super::log::Answer;
use super::operations::{Refusal, Sent, carry_out, not_found, target_of};
use super::reply::Reply;
use super::wire::Connection;
use super::world::{Ticket, World};
use crate::host::Hosts;

/// Longest body that is read.
pub(super) const MAX_BODY_BYTES: usize = 1 << 20;
/// How much of a longer one is taken in and thrown away, so that the client gets to read the answer 413.
const MAX_DRAINED_BYTES: usize = 16 << 20;
/// How long the body of a request may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Refuses a request that comes by the name of somebody else's page.
pub(super) async fn guard(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    if hosts.admit(&request) {
        return next.run(request).await;
    }
    (StatusCode::MISDIRECTED_REQUEST, "only an IP address, localhost or a name of --allow-host is answered as Host\n")
        .into_response()
}

/// Answers one request.
pub(super) async fn serve(
    State(world): State<World>,
    ConnectInfo(Connection(line)): ConnectInfo<Connection>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let route = CONTRACT.route(&parts.method, parts.uri.path());
    let asked = match &route {
        Route::Found(operation, ids) => Some((*operation, target_of(ids))),
        Route::OtherMethods(_) | Route::Unknown => None,
    };
    let path = parts.uri.path_and_query().map_or_else(|| parts.uri.path(), |whole| whole.as_str());
    let ticket = world.begin(&parts.method, path, asked);
    tokio::select! {
        biased;
        // Cut from outside: what is given up here is the answer, and what the call has changed stays changed.
        () = line.wait_cut() => Response::default(),
        reply = answer(&world, &ticket, &parts, body, route) => match reply {
            Some(reply) => {
                ticket.end(Answer::Status(reply.status.as_u16()));
                let reply = if world.inner.options.tells_quota { reply } else { reply.without_quota() };
                reply.into_response(&line)
            }
            None => {
                ticket.end(Answer::Dropped);
                line.cut();
                Response::default()
            }
        }
    }
}

/// The steps of tokio's timer, which rounds up: half of one less is right on the average.
const TICK: Duration = Duration::from_millis(1);

/// The answer, or nothing where the connection is to be cut.
async fn answer(world: &World, ticket: &Ticket, parts: &Parts, body: Body, route: Route) -> Option<Reply> {
    let sent = read_body(body, &parts.headers).await;
    if let Ok((Sent::Json(_), bytes)) = &sent {
        world.lock().log.set_body(ticket.number, bytes.clone());
    }
    let quota = match admit(world, &parts.headers, &route) {
        Ok(quota) => quota,
        Err(reply) => return Some(*reply),
    };
    let refuse = |refusal: &Refusal| Some(Reply::refusal(refusal).with_quota(quota));
    let (operation, ids) = match route {
        Route::Found(operation, ids) => (operation, ids),
        Route::Unknown => return refuse(&not_found("no such path")),
        Route::OtherMethods(methods) => {
            let allowed: Vec<_> = methods.iter().map(|method| method.as_str()).collect();
            let refusal = Refusal::new(405, "METHOD-NOT-ALLOWED", "the path is known, for other methods");
            let allow = HeaderValue::try_from(allowed.join(", ")).ok();
            let headers: Vec<_> = allow.map(|allow| (header::ALLOW, allow)).into_iter().collect();
            return Some(Reply::refusal(&refusal).with_quota(quota).with_headers(&headers));
        }
    };
    let sent = match sent {
        Ok((sent, _)) => sent,
        Err(refusal) => return refuse(&refusal),
    };
    let faults = meet_faults(world, ticket, operation, &ids);
    carry_out_among(world, ticket, (operation, &ids, parts.uri.query().unwrap_or_default(), &sent), &faults, quota)
        .await
}

/// Lets the call run into its faults.
async fn carry_out_among(
    world: &World,
    ticket: &Ticket,
    (operation, ids, query, sent): (Operation, &Ids, &str, &Sent),
    faults: &[Fault],
    quota: Quota,
) -> Option<Reply> {
    let (clock, arrived) = (&world.inner.clock, Instant::now());
    let is_lossy = faults.iter().any(|fault| matches!(fault.kind, FaultKind::Lossy));
    let sent = if is_lossy { &sent.without_runtime() } else { sent };
    let late = faults.iter().find_map(|fault| match fault.kind {
        FaultKind::Late(delay) => Some(carry_out_late(world, ticket.number, operation, ids, query, sent, delay)),
        _ => None,
    });
    let replacing = |moment| faults.iter().find(|fault| fault.moment == moment && fault.replaces());
    wait(faults, Moment::Before).await;
    if let Some(fault) = replacing(Moment::Before) {
        return Some(Reply::spoilt(fault, None, quota, clock)?.with_headers(&fault.headers));
    }
    let done = match late {
        // The task ends by itself, whether its end is waited for or not.
        Some(late) => late.await.ok()?,
        None => carry_out(world, ticket.number, operation, ids, query, sent),
    };
    let own = match done {
        Ok(value) => Reply::json(200, &value),
        Err(refusal) => Reply::refusal(&refusal),
    };
    if let Some(rest) = world.inner.options.latency.checked_sub(TICK / 2).filter(|rest| !rest.is_zero()) {
        tokio::time::sleep_until(arrived + rest).await;
    }
    wait(faults, Moment::After).await;
    let mut reply = own.with_quota(quota);
    if let Some(fault) = replacing(Moment::After) {
        reply = Reply::spoilt(fault, Some(reply), quota, clock)?.with_headers(&fault.headers);
    }
    for fault in faults.iter().filter(|fault| !fault.replaces()) {
        reply = reply.with_headers(&fault.headers);
        if let FaultKind::SlowBody { piece, pause } = fault.kind {
            reply = reply.slow(piece, pause);
        }
    }
    Some(reply)
}

/// Carries a call out later, whatever becomes of its connection meanwhile.
fn carry_out_late(
    world: &World,
    number: u64,
    operation: Operation,
    ids: &Ids,
    query: &str,
    sent: &Sent,
    delay: Duration,
) -> JoinHandle<Result<Value, Refusal>> {
    let (world, ids, query, sent) = (world.clone(), ids.clone(), query.to_owned(), sent.clone());
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        carry_out(&world, number, operation, &ids, &query, &sent)
    })
}

async fn wait(faults: &[Fault], moment: Moment) {
    for fault in faults.iter().filter(|fault| fault.moment == moment) {
        if let FaultKind::Delay(delay) = fault.kind {
            tokio::time::sleep(delay).await;
        }
    }
}

fn meet_faults(world: &World, ticket: &Ticket, operation: Operation, ids: &Ids) -> Vec<Fault> {
    let target = target_of(ids);
    let mut state = world.lock();
    let faults = state.faults.pick(operation, target.as_ref());
    for fault in &faults {
        state.log.add_fault(ticket.number, fault.name());
    }
    faults
}

/// Checks the token and takes a request out of the quota. A call without a good token costs nothing, and neither does
/// the question whose it is.
fn admit(world: &World, headers: &HeaderMap, route: &Route) -> Result<Quota, Box<Reply>> {
    let now = tokio::time::Instant::now();
    let window = &mut world.lock().window;
    if !authorised(&world.inner.options.token, headers) {
        let refusal = Refusal::new(401, "UNAUTHORIZED", "no token that is known here");
        return Err(Box::new(Reply::refusal(&refusal).with_quota(window.peek(now))));
    }
    if matches!(route, Route::Found(Operation::Auth, _)) {
        return Ok(window.peek(now));
    }
    window.take(now).map_err(|Exceeded(quota)| {
        let refusal = Refusal::new(429, "RATE-LIMIT-EXCEEDED", "too many requests in this window");
        Box::new(Reply::refusal(&refusal).with_quota(quota))
    })
}

fn authorised(rule: &TokenRule, headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) else { return false };
    let Some((scheme, token)) = value.split_once(' ') else { return false };
    let token = token.trim();
    scheme.eq_ignore_ascii_case("bearer")
        && match rule {
            TokenRule::Any => !token.is_empty(),
            TokenRule::Exactly(known) => token == known.expose_secret(),
            TokenRule::None => false,
        }
}

/// Reads the body, as what it says and as what was sent.
///
/// # Errors
/// It is too long (413), too slow (408), or declared as something else than JSON (415).
async fn read_body(body: Body, headers: &HeaderMap) -> Result<(Sent, Bytes), Refusal> {
    let bytes = tokio::time::timeout(BODY_TIMEOUT, collect(body))
        .await
        .map_err(|_| Refusal::new(408, "REQUEST-TIMEOUT", "the body did not come"))??;
    if bytes.is_empty() {
        return Ok((Sent::NoJson("is empty".to_owned()), bytes));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::new(415, "UNSUPPORTED-MEDIA-TYPE", "the body must be application/json"));
    }
    Ok(match serde_json::from_slice(&bytes) {
        Ok(value) => (Sent::Json(value), bytes),
        Err(error) => (Sent::NoJson(format!("is not JSON: {error}")), bytes),
    })
}

async fn collect(body: Body) -> Result<Bytes, Refusal> {
    let mut stream = body.into_data_stream();
    let (mut bytes, mut total) = (Vec::new(), 0);
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|_| Refusal::new(400, "INVALID-REQUEST", "the body breaks off"))?;
        total += piece.len();
        if total <= MAX_BODY_BYTES {
            bytes.extend_from_slice(&piece);
        } else if total > MAX_DRAINED_BYTES {
            break;
        }
    }
    if total > MAX_BODY_BYTES {
        return Err(Refusal::new(413, "PAYLOAD-TOO-LARGE", format!("a body has at most {MAX_BODY_BYTES} bytes")));
    }
    bytes.shrink_to_fit();
    Ok(bytes.into())
}
