//! The bodies of the calls beside the update: what PATCH sends, and what the reading calls answer.
//!
//! Answers are read with patience: an unknown field is passed over, and one that is missing, null or of another type is
//! absent. Only what an answer cannot do without makes it unreadable.

use jiff::Timestamp;
use serde::de::SeqAccess;
use serde::{Deserialize, Serialize};

use super::lenient::{Item, Lenient, is_there, objects, patient};
use crate::model::{
    DeploymentStatus, DeploymentUpdate, Live, LiveExternal, LiveInternal, LiveRuntime, RolloutStage, ServiceKind,
};

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

/// `{"data": {…}}`, or `{"error": …}` where the API contradicts the status of its answer.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Lenient<'de>"))]
pub(super) struct Envelope<T> {
    #[serde(default, deserialize_with = "patient")]
    pub(super) data: Option<T>,
    #[serde(default, deserialize_with = "is_there")]
    pub(super) error: bool,
    /// Beside `data` in a list.
    #[serde(default, deserialize_with = "patient")]
    pagination: Option<Pagination>,
}

impl<T: for<'de> Lenient<'de>> Envelope<T> {
    pub(super) fn from_body(body: &[u8]) -> Result<Self, Unusable> {
        match serde_json::from_slice(body) {
            Ok(Self { error: true, .. }) => Err(Unusable::NotAnAnswer),
            Ok(answer) => Ok(answer),
            // The error's own text is not kept: it may quote what the answer holds.
            Err(error) if error.is_data() => Err(Unfit::NoObject.into()),
            Err(_) => Err(Unusable::NotAnAnswer),
        }
    }
}

/// A service in either shape, as far as it is compared. What else an answer holds (variables, passwords of ports, health
/// checks) is passed over while it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Service {
    #[serde(default, deserialize_with = "patient")]
    service_type: Option<ServiceKind>,
    #[serde(default, deserialize_with = "patient")]
    service_paused: Option<bool>,
    #[serde(default, deserialize_with = "patient")]
    paused: Option<bool>,
    #[serde(default, deserialize_with = "patient")]
    updated_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "patient")]
    deployment: Option<Deployment>,
    #[serde(default, deserialize_with = "patient")]
    status: Option<Status>,
}

/// What a service runs, in either shape, as far as it is compared.
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
    #[serde(default, deserialize_with = "patient")]
    credentials: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Internal {
    #[serde(default, deserialize_with = "patient")]
    id: Option<String>,
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
    deployment: Option<RolloutStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RolloutStatus {
    #[serde(default, deserialize_with = "patient")]
    status: Option<String>,
    #[serde(default, deserialize_with = "patient")]
    reason: Option<String>,
    #[serde(default, deserialize_with = "patient")]
    last_transition_time: Option<Timestamp>,
}

impl Status {
    /// How far the newest rollout is; nothing where the answer does not say, or in a word that is not known.
    fn into_deployment(self) -> Option<DeploymentStatus> {
        let RolloutStatus { status, reason, last_transition_time } = self.deployment?;
        let scaling = reason.as_deref() == Some("SCALING");
        Some(DeploymentStatus { stage: RolloutStage::from_word(&status?)?, scaling, since: last_transition_time })
    }
}

/// The `data` of a list.
#[derive(Deserialize)]
pub(super) struct List {
    #[serde(default, deserialize_with = "patient")]
    services: Option<Listing>,
}

/// The services of a page, as far as they can be used.
struct Listing(Result<Vec<Summary>, Unfit>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    #[serde(default, deserialize_with = "patient")]
    id: Option<String>,
    #[serde(default, deserialize_with = "patient")]
    service_type: Option<ServiceKind>,
    #[serde(default, deserialize_with = "patient")]
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pagination {
    #[serde(default, deserialize_with = "patient")]
    has_next_page: Option<bool>,
    #[serde(default, deserialize_with = "patient")]
    cursor: Option<String>,
}

/// The `data` of a list of containers.
#[derive(Deserialize)]
pub(super) struct ContainerList {
    #[serde(default, deserialize_with = "patient")]
    containers: Option<Containers>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(default, deserialize_with = "patient")]
    status: Option<String>,
}

/// The containers of a service, as far as they say why a rollout failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Containers {
    /// How many there are on the first page.
    pub all: u32,
    /// How many of them failed.
    pub failed: u32,
}

impl Containers {
    /// What they say of a failure; nothing where none of them failed.
    #[must_use]
    pub fn failure(self) -> Option<String> {
        let Self { all, failed } = self;
        let containers = if all == 1 { "container" } else { "containers" };
        (failed > 0).then(|| format!("{failed} of {all} {containers} TASK_FAILED"))
    }
}

impl TryFrom<Envelope<ContainerList>> for Containers {
    type Error = Unfit;

    fn try_from(answer: Envelope<ContainerList>) -> Result<Self, Unfit> {
        Ok(answer.data.ok_or(Unfit::NoData)?.containers.unwrap_or_default())
    }
}

impl<'de> Lenient<'de> for Containers {
    fn from_list<A: SeqAccess<'de>>(mut items: A) -> Result<Option<Self>, A::Error> {
        let mut containers = Self::default();
        while let Some(Item(item)) = items.next_element::<Item<Container>>()? {
            let failed = item.and_then(|container| container.status).is_some_and(|status| status == "TASK_FAILED");
            containers.all = containers.all.saturating_add(1);
            containers.failed = containers.failed.saturating_add(failed.into());
        }
        Ok(Some(containers))
    }
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
    /// How far its newest rollout is, where the list says so.
    pub status: Option<DeploymentStatus>,
}

impl Page {
    /// How many services a page is asked to hold: the most that the contract allows.
    pub const SIZE: u32 = 100;

    /// The most that it may hold: far more than asked for is not an answer to what was asked.
    const MOST: usize = 1000;
}

/// Why a body under a status of success cannot be used.
pub(super) enum Unusable {
    /// It is not JSON, or holds an error.
    NotAnAnswer,
    /// It lacks something.
    Unfit(Unfit),
}

impl From<Unfit> for Unusable {
    fn from(unfit: Unfit) -> Self {
        Self::Unfit(unfit)
    }
}

/// What an answer lacks.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("it has no `data`")]
    NoData,
    #[error("it is not an object, or names a field twice")]
    NoObject,
    #[error("it does not say of which type the service is")]
    NoType,
    #[error("it has no list of services")]
    NoServices,
    #[error("it lists more services than a page may hold")]
    TooManyServices,
    #[error("it has no list of deployments")]
    NoDeployments,
    #[error("it lists more deployments than were asked for")]
    TooManyDeployments,
    #[error("a deployment in it has no id, or no time")]
    NoDeployment,
    #[error("a service in it has no id")]
    NoId,
    #[error("it does not say whether there is another page")]
    NoPagination,
    #[error("there is another page, and no cursor that leads to it")]
    NoCursor,
}

impl TryFrom<Envelope<List>> for Page {
    type Error = Unfit;

    fn try_from(answer: Envelope<List>) -> Result<Self, Unfit> {
        let Listing(services) = answer.data.ok_or(Unfit::NoData)?.services.ok_or(Unfit::NoServices)?;
        let listed = |Summary { id, service_type, status }| {
            let status = status.and_then(Status::into_deployment);
            Ok(Listed { id: id.ok_or(Unfit::NoId)?, kind: service_type, status })
        };
        let services = services?.into_iter().map(listed).collect::<Result<_, Unfit>>()?;
        let Pagination { has_next_page, cursor } = answer.pagination.ok_or(Unfit::NoPagination)?;
        let next = match has_next_page.ok_or(Unfit::NoPagination)? {
            true => Some(cursor.filter(|cursor| !cursor.is_empty()).ok_or(Unfit::NoCursor)?),
            false => None,
        };
        Ok(Self { services, next })
    }
}

impl Service {
    /// The service in the project's words; nothing where its type is not said, or is one that truenorth does not know.
    pub(super) fn into_live(self) -> Option<Live> {
        let kind = self.service_type?;
        let runtime = |runtime: Runtime| LiveRuntime {
            config_type: runtime.config_type,
            custom_process: runtime.custom_process,
            custom_entrypoint: runtime.custom_entrypoint,
            custom_command: runtime.custom_command,
        };
        let rollout = self.status.and_then(Status::into_deployment);
        let paused = self.service_paused.or(self.paused);
        let mut live = Live { paused, rollout, updated_at: self.updated_at, ..Live::of_kind(kind) };
        let Some(deployment) = self.deployment else { return Some(live) };
        live.instances = deployment.instances;
        live.image_url = deployment.image_url;
        live.docker = deployment.docker.map(runtime);
        live.buildpack = deployment.buildpack.map(runtime);
        live.external = deployment.external.map(|external| LiveExternal {
            image_path: external.image_path,
            registry_provider: external.registry_provider,
            private_image: external.private_image,
            credentials: external.credentials,
        });
        live.internal = deployment.internal.map(|internal| LiveInternal {
            id: internal.id.or(internal.nf_object_id),
            branch: internal.branch,
            build_sha: internal.build_sha,
            deployed_sha: internal.deployed_sha,
            build_id: internal.build_id,
        });
        Some(live)
    }
}

impl Deployment {
    /// The id of the build that runs.
    pub(super) fn into_build_id(self) -> Option<String> {
        self.internal?.build_id
    }
}

impl Lenient<'_> for ServiceKind {
    fn from_text(word: &str) -> Option<Self> {
        Self::from_word(word)
    }
}

impl<'de> Lenient<'de> for Listing {
    fn from_list<A: SeqAccess<'de>>(mut items: A) -> Result<Option<Self>, A::Error> {
        let mut services = Ok(Vec::new());
        // To the end also where it is of no use: what follows in the answer is read either way.
        while let Some(Item(item)) = items.next_element::<Item<Summary>>()? {
            services = services.and_then(|mut services| match item {
                _ if services.len() == Page::MOST => Err(Unfit::TooManyServices),
                Some(Summary { id: None, .. }) | None => Err(Unfit::NoId),
                Some(summary) => {
                    services.push(summary);
                    Ok(services)
                }
            });
        }
        Ok(Some(Self(services)))
    }
}

objects!(
    Service,
    Deployment,
    External,
    Internal,
    Runtime,
    Status,
    RolloutStatus,
    List,
    Summary,
    Pagination,
    ContainerList,
    Container
);
