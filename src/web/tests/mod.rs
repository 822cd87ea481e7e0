//! Tests of the status server: its pages with and without a connection, its bounds, its metrics.

mod metrics;
mod pages;
mod server;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::*;
use crate::host::Hosts;
use crate::manifest::Problem;
use crate::model::{Digest, Place, Revision, ServiceState};
use crate::plan::ApiUse;

/// What a loop answers that is well.
#[derive(Clone)]
struct Answers {
    readiness: Readiness,
    status: Status,
    gauges: Gauges,
}

impl Answers {
    fn new() -> Self {
        Self { readiness: Readiness::Ready, status: status(), gauges: gauges() }
    }

    /// With so many services that no connection takes the answer at once.
    fn with_services(mut self, count: usize) -> Self {
        self.status.services = vec![self.status.services[0].clone(); count];
        self
    }
}

/// Answers as the daemon's loop does, until nobody can ask any more.
async fn answer(mut waiting: mpsc::Receiver<Query>, answers: Answers) {
    while let Some(query) = waiting.recv().await {
        // Whoever asked may have given up meanwhile.
        match query {
            Query::Health(reply) => drop(reply.send(())),
            Query::Ready(reply) => drop(reply.send(answers.readiness.clone())),
            Query::Status(reply) => drop(reply.send(Box::new(answers.status.clone()))),
            Query::Gauges(reply) => drop(reply.send(answers.gauges.clone())),
        }
    }
}

/// A desk with a loop behind it that is well.
fn living(answers: Answers) -> Desk {
    let (desk, waiting) = desk();
    tokio::spawn(answer(waiting, answers));
    desk
}

/// The pages of a server on loopback.
fn pages_of(desk: Desk) -> Router {
    super::pages::pages(desk, Meters::new(), Whereabouts::default(), Hosts::default())
}

/// An answer taken in whole.
#[derive(Debug)]
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Sends a request past all connections.
async fn send(pages: &Router, request: Request<Body>) -> Response<Body> {
    TowerToHyperService::new(pages.clone()).call(request).await.unwrap()
}

async fn take(response: Response<Body>) -> Got {
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    Got { status: parts.status, headers: parts.headers, body: String::from_utf8(bytes.to_vec()).unwrap() }
}

async fn get(pages: &Router, path: &str) -> Got {
    take(send(pages, Request::get(path).body(Body::empty()).unwrap()).await).await
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn status() -> Status {
    let digest = Digest::of_bytes(b"truenorth");
    let place = Place { file: Arc::from("shop/checkout.yaml"), line: 1 };
    let file: Arc<str> = Arc::from("shop/bad.yaml");
    Status {
        version: "0.0.0",
        since: Some(at("2026-03-01T08:00:00Z")),
        revision: Some(Revision::Git {
            commit: "4f2a91c07be7ab9d3c5f4f2a91c07be7ab9d3c5f".to_owned(),
            dirty: true,
            headline: None,
        }),
        converged: false,
        look: Look {
            succeeded: Some(at("2026-03-01T09:00:00Z")),
            age_seconds: Some(1.5),
            error: None,
            watching: "events".to_owned(),
        },
        paused: Some(Paused { by: "rate-limit", until: at("2026-03-01T10:00:00Z"), reason: "429".to_owned() }),
        freezes: Vec::new(),
        services: vec![ServiceStatus {
            service: "acme/shop/checkout".parse().unwrap(),
            state: ServiceState::BackingOff,
            desired: Some(digest),
            applied: None,
            manifest: Some(place),
            attempts: 3,
            since: None,
            next_attempt: Some(at("2026-03-01T09:00:08.25Z")),
            error: Some("the API is away".into()),
            drift: None,
            suspension: None,
            rollout: None,
        }],
        problems: vec![Problem::of_file(&file, "is a pipe", "remove it")],
        api: ApiUse { calls: 7, remaining: Some(993) },
        quota: None,
        drift: None,
    }
}

fn gauges() -> Gauges {
    Gauges {
        services: vec![("unchanged", 40), ("backing-off", 2), ("stalled", 0)],
        rollouts: vec![("in-progress", 3), ("failed", 0)],
        problems: 1,
        quota_remaining: Some(993),
        quota_limit: Some(1000),
        last_look: Some(at("2026-03-01T09:00:00.5Z")),
        in_flight: 3,
        paused: true,
    }
}
