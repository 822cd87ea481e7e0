//! The bodies of the calls beside the update: what PATCH sends, and what the reading calls answer.
//!
//! Answers are read with patience: an unknown field is passed over, and one that is missing, null or of another type is
//! absent. Only what an answer cannot do without makes it unreadable.

use serde::de::{Deserializer, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::model::{DeploymentUpdate, Live, LiveExternal, LiveInternal, LiveRuntime, Rollout, ServiceKind};

/// The body of PATCH.
#[derive(Serialize)]
pub(super) struct Patch<'a> {
    pub(super) deployment: PatchDeployment<'a>,
}

/// What PATCH changes.
#[derive(Serialize)]
pub(super) struct PatchDeployment<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) instances: Option<u32>,
    #[serde(flatten)]
    pub(super) update: &'a DeploymentUpdate,
}

/// `{"data": …}`.
#[derive(Deserialize)]
pub(super) struct Data<T> {
    pub(super) data: T,
}

/// The contract's `Service`, as far as it is compared.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Service {
    service_type: Kind,
    #[serde(default, deserialize_with = "patient")]
    service_paused: Option<bool>,
    #[serde(default, deserialize_with = "patient")]
    deployment: Option<Deployment>,
    #[serde(default, deserialize_with = "patient")]
    status: Option<Status>,
}

/// The contract's `LiveDeployment`, as far as it is compared.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Deployment {
    #[serde(default, deserialize_with = "patient")]
    instances: Option<u32>,
    #[serde(default, deserialize_with = "patient")]
    external: Option<External>,
    #[serde(default, deserialize_with = "patient")]
    internal: Option<Internal>,
    #[serde(default, deserialize_with = "patient")]
    docker: Option<Runtime>,
    #[serde(default, deserialize_with = "patient")]
    buildpack: Option<Runtime>,
    #[serde(default, deserialize_with = "patient")]
    image_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct External {
    #[serde(default, deserialize_with = "patient")]
    image_path: Option<String>,
    #[serde(default, deserialize_with = "patient")]
    registry_provider: Option<String>,
    #[serde(default, deserialize_with = "patient")]
    private_image: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Internal {
    #[serde(default, deserialize_with = "patient")]
    nf_object_id: Option<String>,
    #[serde(default, deserialize_with = "patient")]
    branch: Option<String>,
    #[serde(rename = "buildSHA", default, deserialize_with = "patient")]
    build_sha: Option<String>,
    #[serde(rename = "deployedSHA", default, deserialize_with = "patient")]
    deployed_sha: Option<String>,
    #[serde(default, deserialize_with = "patient")]
    build_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Runtime {
    #[serde(default, deserialize_with = "patient")]
    config_type: Option<String>,
    #[serde(default, deserialize_with = "patient")]
    custom_process: Option<String>,
    #[serde(default, deserialize_with = "patient")]
    custom_entrypoint: Option<String>,
    #[serde(default, deserialize_with = "patient")]
    custom_command: Option<String>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default, deserialize_with = "patient")]
    deployment: Option<DeploymentStatus>,
}

#[derive(Deserialize)]
struct DeploymentStatus {
    #[serde(default, deserialize_with = "patient")]
    status: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Deployment,
    Combined,
    Build,
}

/// The answer of the list.
#[derive(Deserialize)]
pub(super) struct List {
    data: Services,
    pagination: Pagination,
}

#[derive(Deserialize)]
struct Services {
    services: Vec<Summary>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    id: String,
    #[serde(default, deserialize_with = "patient")]
    service_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pagination {
    has_next_page: bool,
    #[serde(default, deserialize_with = "patient")]
    cursor: Option<String>,
}

/// One page of a project's services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The services of this page; at most [`Page::SIZE`] by the contract.
    pub services: Vec<Listed>,
    /// Where the next page begins; nothing where this is the last one.
    pub next: Option<String>,
}

/// A service in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id as the API wrote it; not checked to be one that can stand in a path.
    pub id: String,
    /// Its type; nothing where the word is not known.
    pub kind: Option<ServiceKind>,
}

impl Page {
    /// How many services a page is asked to hold: the most that the contract allows.
    pub const SIZE: u32 = 100;
}

/// Why an answer that is JSON cannot be used.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("there is another page, and no cursor that leads to it")]
pub(super) struct NoCursor;

impl TryFrom<List> for Page {
    type Error = NoCursor;

    fn try_from(list: List) -> Result<Self, NoCursor> {
        let listed = |Summary { id, service_type }| Listed {
            id,
            kind: service_type.and_then(|word: String| ServiceKind::from_word(&word)),
        };
        let Pagination { has_next_page, cursor } = list.pagination;
        let next = if has_next_page { Some(cursor.filter(|c| !c.is_empty()).ok_or(NoCursor)?) } else { None };
        Ok(Self { services: list.data.services.into_iter().map(listed).collect(), next })
    }
}

impl Service {
    /// The service in the project's words.
    pub(super) fn into_live(self) -> Live {
        let kind = match self.service_type {
            Kind::Deployment => ServiceKind::Deployment,
            Kind::Combined => ServiceKind::Combined,
            Kind::Build => ServiceKind::Build,
        };
        let runtime = |runtime: Runtime| LiveRuntime {
            config_type: runtime.config_type,
            custom_process: runtime.custom_process,
            custom_entrypoint: runtime.custom_entrypoint,
            custom_command: runtime.custom_command,
        };
        let rollout = self.status.and_then(|status| Rollout::from_word(&status.deployment?.status?));
        let mut live = Live { paused: self.service_paused.unwrap_or(false), rollout, ..Live::of_kind(kind) };
        let Some(deployment) = self.deployment else { return live };
        live.instances = deployment.instances;
        live.image_url = deployment.image_url;
        live.docker = deployment.docker.map(runtime);
        live.buildpack = deployment.buildpack.map(runtime);
        live.external = deployment.external.map(|external| LiveExternal {
            image_path: external.image_path,
            registry_provider: external.registry_provider,
            private_image: external.private_image,
        });
        live.internal = deployment.internal.map(|internal| LiveInternal {
            id: internal.nf_object_id,
            branch: internal.branch,
            build_sha: internal.build_sha,
            deployed_sha: internal.deployed_sha,
            build_id: internal.build_id,
        });
        live
    }
}

impl Deployment {
    /// The id of the build that runs.
    pub(super) fn into_build_id(self) -> Option<String> {
        self.internal?.build_id
    }
}

/// Reads a field that may be of any type: what does not fit is absent.
fn patient<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Field<T> {
        Fits(T),
        Other(IgnoredAny),
    }
    Ok(match Option::<Field<T>>::deserialize(deserializer)? {
        Some(Field::Fits(value)) => Some(value),
        Some(Field::Other(IgnoredAny)) | None => None,
    })
}
