//! How answers show a service: in a list, in the flat shape, and in the mirror of what PATCH takes.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::clock::shown_time;
use super::live::{Kind, View, app_id};
use super::query::Page;
use super::rollout::Stage;
use super::target::Target;
use super::world::{Service, World};

/// In which shape `GET …/services/{service}` answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// The documented one: image host and path apart, no credentials.
    #[default]
    Flat,
    /// That of the provider's newest type definitions: what PATCH takes.
    Mirror,
}

impl Shape {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Flat, Self::Mirror];
}

/// What an answer in the mirror shape holds and nobody may keep or show.
pub const SECRET: &str = "hush-0b5c1d";

impl Service {
    /// The contract's `ServiceSummary`.
    pub(super) fn summary(&self, target: &Target, world: &World, now: Instant) -> Value {
        json!({
            "id": target.service,
            "appId": app_id(target),
            "projectId": target.project,
            "name": target.service,
            "tags": [],
            "description": "",
            "serviceType": self.live.kind.as_str(),
            "disabledCI": false,
            "disabledCD": false,
            "status": self.status(world, now),
        })
    }

    /// The contract's `ServiceStatus`.
    fn status(&self, world: &World, now: Instant) -> Value {
        let mut status = json!({});
        if self.live.kind != Kind::Build {
            let rollout = self.shown_rollout(now, world.inner.options.lag);
            status["deployment"] = rollout.to_json(now, &world.inner.clock);
        }
        if self.live.kind != Kind::Deployment {
            status["build"] = json!({"status": "SUCCESS", "lastTransitionTime": shown_time(self.made)});
        }
        status
    }

    /// The containers: those that run, and one that does not come up where the rollout failed.
    pub(super) fn containers(&self, target: &Target, world: &World, now: Instant) -> Value {
        let (stage, since) = self.rollout.stage(now);
        let since = world.inner.clock.wall(since).as_second();
        let running = std::iter::repeat_n("TASK_RUNNING", usize::try_from(self.live.instances.min(100)).unwrap_or(0));
        let failed = (stage == Stage::Failed).then_some("TASK_FAILED");
        let container = |(number, status): (usize, &str)| {
            json!({"name": format!("{}-{number}", target.service), "createdAt": since, "updatedAt": since,
                "status": status})
        };
        let containers: Vec<Value> = failed.into_iter().chain(running).enumerate().map(container).collect();
        json!({"data": {"containers": containers}, "pagination": {"hasNextPage": false, "count": containers.len()}})
    }

    /// A page of the deployments, newest first.
    pub(super) fn deployments(&self, page: &Page) -> Value {
        let newest = self.deployments.back().map(|newest| newest.id.as_str());
        let entry = |deployment: &super::rollout::Deployment| {
            let mut entry = json!({
                "id": deployment.id,
                "createdAt": shown_time(deployment.at),
                "active": Some(deployment.id.as_str()) == newest,
                "name": null,
                "instances": self.live.instances,
                "releaseType": "stable",
                "reason": {"id": "deploy", "user": {"name": deployment.by}},
            });
            if let Some(image) = &deployment.image {
                entry["image"] = json!({"imagePath": image});
            }
            entry
        };
        let is_after = |deployment: &&super::rollout::Deployment| page.after.as_ref() != Some(&deployment.id);
        let skip = match page.after {
            Some(_) => self.deployments.iter().rev().take_while(is_after).count() + 1,
            None => page.skip,
        };
        let (shown, pagination) = page.of(self.deployments.iter().rev().skip(skip), |deployment| &deployment.id);
        let deployments: Vec<Value> = shown.into_iter().map(entry).collect();
        json!({"data": {"deployments": deployments}, "pagination": pagination})
    }

    /// The contract's `Service`.
    pub(super) fn to_json(&self, target: &Target, world: &World, now: Instant) -> Value {
        let mut shown = self.summary(target, world, now);
        shown["createdAt"] = shown_time(self.made).into();
        shown["servicePaused"] = false.into();
        if let Some(deployment) = self.live.to_json(target, View::Service) {
            shown["deployment"] = deployment;
        }
        shown
    }

    /// The same as `next.openapi.yaml` has it, secrets included.
    pub(super) fn to_mirror_json(&self, target: &Target, world: &World, now: Instant) -> Value {
        let mut shown = json!({
            "id": target.service,
            "uid": format!("uid-{}", target.service),
            "appId": app_id(target),
            "name": target.service,
            "description": "",
            "tags": [],
            "serviceType": self.live.kind.as_str(),
            "createdAt": shown_time(self.made),
            "updatedAt": shown_time(self.updated),
            "cluster": {"id": "europe-west", "name": "europe-west"},
            "billing": {"deploymentPlan": "nf-compute-20"},
            "runtimeEnvironment": {"DATABASE_URL": format!("postgres://app:{SECRET}@db/app")},
            "runtimeFiles": {"/etc/secret": {"data": SECRET, "encoding": "utf-8"}},
            "ports": [{"name": "http", "internalPort": 8080, "protocol": "HTTP",
                "security": {"credentials": [{"username": "app", "password": SECRET, "type": "basic-auth"}]}}],
            "healthChecks": [{"protocol": "CMD", "type": "livenessProbe", "cmd": format!("probe --key {SECRET}")}],
            "status": self.status(world, now),
        });
        if let Some(deployment) = self.live.to_mirror_json() {
            shown["deployment"] = deployment;
        }
        shown
    }
}
