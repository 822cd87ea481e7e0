//! Operations: what each call does to the world, and its answer. Nothing here waits.

use std::ops::Bound;

use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Services;
use super::contract::{CONTRACT, Ids, Operation};
use super::details::{Details, finding};
use super::live::{Kind, Update, View};
use super::query::Page;
use super::shown::Shape;
use super::target::Target;
use super::world::{MAX_SERVICES, Service, State, USER, World};

/// The body of a call, as far as it could be read.
#[derive(Clone, Debug)]
pub(super) enum Sent {
    /// JSON.
    Json(Value),
    /// Something else, or nothing; the text says what is wrong with it.
    NoJson(String),
}

impl Sent {
    /// The same without `docker` and `buildpack`, where it says what to deploy as well.
    pub(super) fn without_runtime(&self) -> Self {
        let mut sent = self.clone();
        if let Self::Json(Value::Object(body)) = &mut sent {
            let deployment = match body.get_mut("deployment") {
                Some(Value::Object(deployment)) => deployment,
                _ => body,
            };
            if deployment.contains_key("external") || deployment.contains_key("internal") {
                deployment.retain(|name, _| name != "docker" && name != "buildpack");
            }
        }
        sent
    }
}

/// A call refused, in the provider's terms.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) id: &'static str,
    pub(super) message: String,
    pub(super) details: Option<Details>,
}

impl Refusal {
    pub(super) fn new(status: u16, id: &'static str, message: impl Into<String>) -> Self {
        Self { status, id, message: message.into(), details: None }
    }

    pub(super) fn invalid(details: Details) -> Self {
        let details = Some(details);
        Self { details, ..Self::new(400, "INVALID-REQUEST", "the request does not fit the contract") }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut error = json!({"status": self.status, "message": self.message, "id": self.id});
        if let Some(details) = &self.details {
            error["details"] = json!(details);
        }
        json!({ "error": error })
    }
}

/// Carries a call out and gives the body of its answer 200.
///
/// # Errors
/// Why the call is refused; nothing has changed then.
pub(super) fn carry_out(
    world: &World,
    number: u64,
    operation: Operation,
    ids: &Ids,
    query: &str,
    sent: &Sent,
) -> Result<Value, Refusal> {
    let target = target_of(ids);
    match (operation, target) {
        (Operation::Login, _) => Ok(json!({"data": {}})),
        (Operation::Auth, _) => auth(world),
        (Operation::ListServices, _) => list(world, ids, query),
        (Operation::GetService, Some(target)) => with_service(world, &target, |_, service, now| {
            let shown = match world.inner.options.shape {
                Shape::Flat => service.to_json(&target, world, now),
                Shape::Mirror => service.to_mirror_json(&target, world, now),
            };
            Ok(json!({ "data": shown }))
        }),
        (Operation::ListContainers, Some(target)) => {
            with_service(world, &target, |_, service, now| Ok(service.containers(&target, world, now)))
        }
        (Operation::ListDeployments, Some(target)) => {
            let page = Page::read(query).map_err(Refusal::invalid)?;
            with_service(world, &target, |_, service, _| Ok(service.deployments(&page)))
        }
        (Operation::GetServiceDeployment, Some(target)) => with_service(world, &target, |_, service, _| {
            let deployment = service.live.to_json(&target, View::Deployment);
            deployment.map(|data| json!({ "data": data })).ok_or_else(|| no_deployment(&target))
        }),
        (_, Some(target)) => update(world, number, operation, &target, sent),
        (_, None) => Err(not_found("no such service")),
    }
}

/// The service that a path names.
pub(super) fn target_of(ids: &Ids) -> Option<Target> {
    let (project, service) = (ids.project.clone()?, ids.service.clone()?);
    Some(Target { team: ids.team.clone(), project, service })
}

fn update(world: &World, number: u64, operation: Operation, target: &Target, sent: &Sent) -> Result<Value, Refusal> {
    // Checked before the lock is taken: it is the costly part, and needs nothing of the world.
    let checked = check(operation, sent);
    with_service(world, target, |log, service, now| {
        fits_type(operation, service.live.kind, target)?;
        if let Some(update) = checked? {
            if service.live.kind == Kind::Combined && (update.external.is_some() || update.internal.is_some()) {
                let field = if update.external.is_some() { "external" } else { "internal" };
                return Err(Refusal::invalid(finding(field, "a combined service deploys what it builds")));
            }
            let reason = service.live.apply(update);
            service.roll_out(now, world.inner.options.rollout, reason, USER, &world.inner.clock);
        }
        service.updated = world.inner.clock.wall(now);
        log.set_accepted(number);
        Ok(match operation {
            Operation::UpdateServiceDeployment => json!({"data": {}}),
            _ => json!({"data": service.to_mirror_json(target, world, now)}),
        })
    })
}

/// Checks a body against the contract. A PATCH without `deployment` is valid and changes nothing.
fn check(operation: Operation, sent: &Sent) -> Result<Option<Update>, Refusal> {
    let body = match sent {
        Sent::Json(body) => body,
        Sent::NoJson(why) => return Err(Refusal::invalid(finding("body", why))),
    };
    CONTRACT.check(operation, body).map_err(Refusal::invalid)?;
    let deployment = match operation {
        Operation::UpdateServiceDeployment => Some(body),
        _ => body.get("deployment"),
    };
    let Some(deployment) = deployment else { return Ok(None) };
    // A schema's integer may be one that no machine counts to.
    let update =
        Update::deserialize(deployment).map_err(|error| Refusal::invalid(finding("body", &error.to_string())))?;
    // The contract's PATCH does not say so, but a service cannot deploy two things.
    if update.external.is_some() && update.internal.is_some() {
        return Err(Refusal::invalid(finding("deployment.internal", "is not allowed beside external")));
    }
    Ok(Some(update))
}

fn fits_type(operation: Operation, kind: Kind, target: &Target) -> Result<(), Refusal> {
    let wanted = match operation {
        Operation::PatchDeploymentService => Kind::Deployment,
        Operation::PatchCombinedService => Kind::Combined,
        _ if kind == Kind::Build => return Err(no_deployment(target)),
        _ => return Ok(()),
    };
    if kind == wanted {
        Ok(())
    } else {
        let (is, wanted) = (kind.as_str(), wanted.as_str());
        Err(not_found(format!("service `{target}` is of type {is}, not {wanted}")))
    }
}

/// Runs a step on a service, which is made first where that is allowed.
fn with_service<T>(
    world: &World,
    target: &Target,
    step: impl FnOnce(&mut super::log::Log, &mut Service, Instant) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let now = Instant::now();
    let mut state = world.lock();
    let State { services, log, .. } = &mut *state;
    if !services.contains_key(target) {
        if world.inner.options.services != Services::Any {
            return Err(not_found(format!("service `{target}` does not exist")));
        }
        if services.len() >= MAX_SERVICES {
            return Err(not_found(format!("service `{target}` does not exist, and the sandbox is full")));
        }
        services.insert(target.clone(), world.new_service(now));
    }
    match services.get_mut(target) {
        Some(service) => step(log, service, now),
        None => Err(not_found(format!("service `{target}` does not exist"))),
    }
}

/// Whose the token is; an older API does not serve the call.
fn auth(world: &World) -> Result<Value, Refusal> {
    let id = world.lock().account.clone().ok_or_else(|| not_found("no such path"))?;
    Ok(json!({"data": {
        "id": "sandbox-token",
        "name": "sandbox",
        "creatorEmail": "nobody@example.com",
        "createdAt": "2026-01-01T00:00:00.000Z",
        "expiresAt": null,
        "tokenKind": "api",
        "entityType": "team",
        "entityId": id,
        "entityUid": format!("uid-{id}"),
    }}))
}

fn list(world: &World, ids: &Ids, query: &str) -> Result<Value, Refusal> {
    let page = Page::read(query).map_err(Refusal::invalid)?;
    let now = Instant::now();
    let project = ids.project.clone().unwrap_or_default();
    let of_project = |target: &Target| target.team == ids.team && target.project == project;
    let first = Target { team: ids.team.clone(), project: project.clone(), service: String::new() };
    let start = match &page.after {
        Some(service) => Bound::Excluded(Target { service: service.clone(), ..first.clone() }),
        None => Bound::Included(first.clone()),
    };
    let state = world.lock();
    let known = state.services.range(first..).next().is_some_and(|(target, _)| of_project(target));
    if !known && world.inner.options.services != Services::Any {
        return Err(not_found(format!("project `{project}` does not exist")));
    }
    let all = state.services.range((start, Bound::Unbounded)).take_while(|(target, _)| of_project(target));
    let (shown, pagination) = page.of(all.skip(page.skip), |(target, _)| &target.service);
    let services: Vec<_> = shown.iter().map(|(target, service)| service.summary(target, world, now)).collect();
    Ok(json!({"data": {"services": services}, "pagination": pagination}))
}

pub(super) fn not_found(message: impl Into<String>) -> Refusal {
    Refusal::new(404, "NOT-FOUND", message)
}

fn no_deployment(target: &Target) -> Refusal {
    not_found(format!("service `{target}` is of type build and has no deployment"))
}
