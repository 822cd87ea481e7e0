//! Live: what a service runs, how an update changes it, and how the answers show it.
//!
//! In the flat shape live is not the mirror image of the update. The host of an image and its path part ways, of
//! credentials only their presence is shown, a build's id is shown by one answer and not by the other. The mirror shows
//! what was written, and secrets beside it. In both a runtime's texts stay when an update that leaves them out changes the
//! type, so a `customCommand` may stand beside `configType: default`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::image::take_apart;
use super::rollout::Reason;
use super::target::Target;
use crate::text::words;

/// What a service runs until an update or a test says otherwise.
const PLACEHOLDER: &str = "northflank/placeholder:latest";

words! {
    /// The contract's `serviceType`.
    #[derive(Hash)]
    pub enum Kind {
        /// Deploys an image or another service's build.
        Deployment = "deployment",
        /// Builds what it deploys.
        Combined = "combined",
        /// Builds only.
        Build = "build",
    }
}

/// What a service runs and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The type of the service.
    pub kind: Kind,
    /// How many containers.
    pub instances: u64,
    /// What is in them.
    pub running: Running,
    /// How they start, for a docker image.
    pub docker: Option<Runtime>,
    /// How they start, for a buildpack image.
    pub buildpack: Option<Runtime>,
}

/// What is in the containers of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Running {
    /// An image of a registry, as the update named it.
    Image {
        /// `imagePath`, host included where there was one.
        image: String,
        /// The credentials that the update named.
        credentials: Option<String>,
    },
    /// A build of another service.
    Build {
        /// Id of the build service.
        service: String,
        /// Branch.
        branch: Option<String>,
        /// A commit, or `latest`.
        sha: Option<String>,
        /// Id of the build.
        build: Option<String>,
    },
    /// The service's own build, or nothing where it only builds.
    Own,
}

/// How a container starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Runtime {
    /// `default`, `customCommand`, …
    pub config_type: String,
    /// Process of a buildpack image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_process: Option<String>,
    /// Entrypoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_entrypoint: Option<String>,
    /// Command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_command: Option<String>,
}

impl Runtime {
    /// The given type with no texts.
    #[must_use]
    pub fn of_type(config_type: &str) -> Self {
        Self { config_type: config_type.to_owned(), ..Self::default() }
    }

    fn take(&mut self, newer: Self) {
        self.config_type = newer.config_type;
        self.custom_process = newer.custom_process.or(self.custom_process.take());
        self.custom_entrypoint = newer.custom_entrypoint.or(self.custom_entrypoint.take());
        self.custom_command = newer.custom_command.or(self.custom_command.take());
    }
}

impl Live {
    /// A service of type `deployment` with one instance of an image without credentials.
    #[must_use]
    pub fn deployment(image: &str) -> Self {
        Self {
            kind: Kind::Deployment,
            instances: 1,
            running: Running::Image { image: image.to_owned(), credentials: None },
            docker: Some(Runtime::of_type("default")),
            buildpack: None,
        }
    }

    /// A service of type `combined` with one instance of its own build.
    #[must_use]
    pub fn combined() -> Self {
        Self { kind: Kind::Combined, running: Running::Own, ..Self::deployment(PLACEHOLDER) }
    }

    /// A service of type `build`, which has no deployment.
    #[must_use]
    pub fn build() -> Self {
        Self { kind: Kind::Build, instances: 0, docker: None, ..Self::combined() }
    }

    /// The image that runs, where it is one of a registry.
    pub(super) fn image(&self) -> Option<String> {
        match &self.running {
            Running::Image { image, .. } => Some(image.clone()),
            Running::Build { .. } | Running::Own => None,
        }
    }

    /// Takes what an update names; the rest stays.
    pub(super) fn apply(&mut self, update: Update) -> Reason {
        let reason = if update.deploys() { Reason::Deploying } else { Reason::Scaling };
        if let Some(instances) = update.instances {
            self.instances = instances;
        }
        if let Some(External { image_path, credentials }) = update.external {
            self.running = Running::Image { image: image_path, credentials };
            self.buildpack = None;
        }
        if let Some(Internal { id, branch, build_sha, build_id }) = update.internal {
            self.running = Running::Build { service: id, branch, sha: build_sha, build: build_id };
        }
        if let Some(docker) = update.docker {
            self.docker.get_or_insert_default().take(docker);
        }
        if let Some(buildpack) = update.buildpack {
            self.buildpack.get_or_insert_default().take(buildpack);
        }
        reason
    }

    /// What PATCH would take, with the registry's host in the image; a service that only builds has none.
    pub(super) fn to_mirror_json(&self) -> Option<Value> {
        if self.kind == Kind::Build {
            return None;
        }
        let mut shown =
            Map::from_iter([("type".into(), "deployment".into()), ("instances".into(), self.instances.into())]);
        match &self.running {
            Running::Image { image, credentials } => {
                let mut external = json!({"imagePath": image});
                set(&mut external, "credentials", credentials);
                shown.insert("external".into(), external);
                shown.insert("imageUrl".into(), take_apart(image).url.into());
            }
            Running::Build { service, branch, sha, build } => {
                let mut internal = json!({"id": service});
                set(&mut internal, "branch", branch);
                set(&mut internal, "buildSHA", sha);
                set(&mut internal, "buildId", build);
                shown.insert("internal".into(), internal);
            }
            Running::Own => {}
        }
        self.insert_runtimes(&mut shown);
        Some(Value::Object(shown))
    }

    fn insert_runtimes(&self, shown: &mut Map<String, Value>) {
        for (name, runtime) in [("docker", &self.docker), ("buildpack", &self.buildpack)] {
            if let Some(runtime) = runtime {
                shown.insert(name.into(), json!(runtime));
            }
        }
    }

    /// The contract's `LiveDeployment`; a service that only builds has none.
    pub(super) fn to_json(&self, target: &Target, view: View) -> Option<Value> {
        if self.kind == Kind::Build {
            return None;
        }
        let mut shown = Map::new();
        shown.insert("region".into(), "europe-west".into());
        shown.insert("instances".into(), self.instances.into());
        match &self.running {
            Running::Image { image, credentials } => {
                let (parts, private) = (take_apart(image), credentials.is_some());
                shown.insert(
                    "external".into(),
                    json!({"imagePath": parts.path, "registryProvider": parts.provider, "privateImage": private}),
                );
                if view == View::Service {
                    shown.insert("imageUrl".into(), parts.url.into());
                }
            }
            Running::Build { service, branch, sha, build } => {
                let build_service = Target { service: service.clone(), ..target.clone() };
                shown.insert("internal".into(), build_json(&build_service, branch, sha, build, view));
            }
            Running::Own => {}
        }
        self.insert_runtimes(&mut shown);
        Some(Value::Object(shown))
    }
}

/// Sets a field where there is a value.
fn set(object: &mut Value, field: &str, value: &Option<String>) {
    if let Some(value) = value {
        object[field] = value.as_str().into();
    }
}

impl Default for Live {
    /// What a service made at first touch runs.
    fn default() -> Self {
        Self::deployment(PLACEHOLDER)
    }
}

/// Which answer shows a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// `GET …/services/{service}`: with `imageUrl`, without `buildId`.
    Service,
    /// `GET …/deployment`: the other way round.
    Deployment,
}

fn build_json(
    service: &Target,
    branch: &Option<String>,
    sha: &Option<String>,
    build: &Option<String>,
    view: View,
) -> Value {
    let branch = branch.as_deref().unwrap_or("main");
    // What is deployed: the named commit; else the commit that the named build was of; else the newest of the branch.
    let deployed = match (sha.as_deref(), build) {
        (Some(sha), _) if sha != "latest" => sha.to_owned(),
        (_, Some(build)) => made_up_sha(&format!("{service}#{build}")),
        (_, None) => made_up_sha(&format!("{service}@{branch}")),
    };
    let shown_sha = match (sha, build) {
        (Some(sha), _) => sha.clone(),
        (None, Some(_)) => deployed.clone(),
        (None, None) => "latest".to_owned(),
    };
    let mut shown = json!({
        "appId": app_id(service),
        "nfObjectId": service.service,
        "nfObjectType": "service",
        "repository": format!("https://git.example/{}/{}", service.project, service.service),
        "branch": branch,
        "buildSHA": shown_sha,
        "deployedSHA": deployed,
    });
    if view == View::Deployment {
        let id = build.clone().unwrap_or_else(|| format!("build-{}", &deployed[..deployed.len().min(8)]));
        shown["buildId"] = id.into();
    }
    shown
}

/// The contract's `appId`.
pub(super) fn app_id(target: &Target) -> String {
    format!("/{}/{}/{}", target.team.as_deref().unwrap_or("sandbox"), target.project, target.service)
}

/// Forty hexadecimal digits that always are the same for the same text.
fn made_up_sha(text: &str) -> String {
    Sha256::digest(text).iter().take(20).map(|byte| format!("{byte:02x}")).collect()
}

/// An update, once the contract has found nothing wrong with it.
#[derive(Debug, Deserialize)]
pub(super) struct Update {
    instances: Option<u64>,
    pub(super) external: Option<External>,
    pub(super) internal: Option<Internal>,
    docker: Option<Runtime>,
    buildpack: Option<Runtime>,
}

impl Update {
    fn deploys(&self) -> bool {
        self.external.is_some() || self.internal.is_some() || self.docker.is_some() || self.buildpack.is_some()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct External {
    image_path: String,
    credentials: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Internal {
    id: String,
    branch: Option<String>,
    #[serde(rename = "buildSHA")]
    build_sha: Option<String>,
    build_id: Option<String>,
}
