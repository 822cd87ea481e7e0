//! Live: what the API reports of a service, as far as truenorth compares it.
//!
//! An answer has one of two shapes, or something between them: a flat one that is not the mirror image of the update,
//! and one that is. Both are read field by field. A field that an answer does not give is absent here, and a word that
//! truenorth does not know stays as it came: both can only be told apart from "nothing set" by whoever compares.

use jiff::Timestamp;

use crate::text::words;

/// What runs, by the API's answer. Every part may be absent from an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The type of the service.
    pub kind: ServiceKind,
    pub instances: Option<u32>,
    /// The image of a registry, where that is what runs.
    pub external: Option<LiveExternal>,
    /// The build of a build service, where that is what runs.
    pub internal: Option<LiveInternal>,
    /// Where the deployed image is, registry host included.
    pub image_url: Option<String>,
    /// How a docker image starts.
    pub docker: Option<LiveRuntime>,
    /// How a buildpack image starts.
    pub buildpack: Option<LiveRuntime>,
    /// Whether somebody paused the service, where the answer says so.
    pub paused: Option<bool>,
    /// How far the last rollout is; nothing where the answer does not say, or in a word that is not known.
    pub rollout: Option<DeploymentStatus>,
    /// When the service was changed last, by the server's clock.
    pub updated_at: Option<Timestamp>,
}

words! {
    /// The type of a service.
    #[derive(Hash)]
    pub enum ServiceKind {
        /// Deploys an image of a registry or another service's build.
        Deployment = "deployment",
        /// Builds what it deploys.
        Combined = "combined",
        /// Builds only; it has no deployment.
        Build = "build",
    }
}

/// An image of a registry as live shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveExternal {
    /// Path, tag and digest; the flat shape leaves the registry's host out, the mirror has it.
    pub image_path: Option<String>,
    /// The registry as one of the API's words, such as `dockerhub` or `github`; in the flat shape.
    pub registry_provider: Option<String>,
    /// Whether credentials are used; in the flat shape.
    pub private_image: Option<bool>,
    /// Which credentials are used; in the mirror.
    pub credentials: Option<String>,
}

impl LiveExternal {
    /// Whether credentials are used. The flat shape always says so; an image with nothing of that shape beside it is
    /// shown in the mirror, which leaves out what is not set.
    pub fn uses_credentials(&self) -> Option<bool> {
        let is_mirror = self.image_path.is_some() && self.registry_provider.is_none() && self.private_image.is_none();
        match (&self.credentials, self.private_image) {
            (Some(_), _) => Some(true),
            (None, Some(private)) => Some(private),
            (None, None) => is_mirror.then_some(false),
        }
    }
}

/// A build of a build service as live shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveInternal {
    /// Id of the build service.
    pub id: Option<String>,
    pub branch: Option<String>,
    /// A commit, or `latest` where the newest build is deployed as it comes.
    pub build_sha: Option<String>,
    /// The commit that runs.
    pub deployed_sha: Option<String>,
    /// Id of the build. Of the flat shapes only the deprecated `GET …/deployment` gives it; whoever asked that puts it
    /// here.
    pub build_id: Option<String>,
}

/// How a container starts, as live shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveRuntime {
    /// `default`, `customCommand`, …, or a word that truenorth does not know.
    pub config_type: Option<String>,
    /// Process of a buildpack image.
    pub custom_process: Option<String>,
    /// Entrypoint; may be shown though the type does not use it.
    pub custom_entrypoint: Option<String>,
    /// Command; may be shown though the type does not use it.
    pub custom_command: Option<String>,
}

/// What the API says of the newest rollout. It does not say of which content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeploymentStatus {
    /// How far it is.
    pub stage: RolloutStage,
    /// Whether only the number of containers changes.
    pub scaling: bool,
    /// Since when, by the server's clock, where the answer says so.
    pub since: Option<Timestamp>,
}

words! {
    /// How far a rollout is, in the API's words.
    #[derive(Hash)]
    pub enum RolloutStage {
        /// Waits for its turn.
        Pending = "PENDING",
        /// Containers are being replaced.
        InProgress = "IN_PROGRESS",
        Completed = "COMPLETED",
        /// It did not work.
        Failed = "FAILED",
    }
}

impl Live {
    /// Of this type, with nothing shown.
    #[must_use]
    pub fn of_kind(kind: ServiceKind) -> Self {
        Self {
            kind,
            instances: None,
            external: None,
            internal: None,
            image_url: None,
            docker: None,
            buildpack: None,
            paused: None,
            rollout: None,
            updated_at: None,
        }
    }

    /// The same with every text put through `change`.
    #[must_use]
    pub fn map_texts(mut self, change: impl Fn(&str) -> String) -> Self {
        let runtimes = [&mut self.docker, &mut self.buildpack].into_iter().flatten();
        let runtimes = runtimes.flat_map(|runtime| {
            [&mut runtime.custom_process, &mut runtime.custom_entrypoint, &mut runtime.custom_command]
        });
        let internal = self.internal.iter_mut().flat_map(|internal| {
            let LiveInternal { id, branch, build_sha, deployed_sha, build_id } = internal;
            [id, branch, build_sha, deployed_sha, build_id]
        });
        let external =
            self.external.iter_mut().flat_map(|external| [&mut external.image_path, &mut external.credentials]);
        for text in runtimes.chain(internal).chain(external).chain([&mut self.image_url]) {
            *text = text.as_deref().map(&change);
        }
        self
    }

    /// The same, with the id of the build that runs, as the deprecated `GET …/deployment` gives it. Nothing changes where
    /// no build of another service runs.
    #[must_use]
    pub fn with_build_id(mut self, build_id: Option<String>) -> Self {
        if let Some(internal) = &mut self.internal {
            internal.build_id = build_id.or(internal.build_id.take());
        }
        self
    }

    /// Whether the answer showed anything of a deployment. Where it did not, nothing can be told of it.
    pub fn shows_a_deployment(&self) -> bool {
        let Self { instances, external, internal, image_url, docker, buildpack, .. } = self;
        instances.is_some()
            || external.is_some()
            || internal.is_some()
            || image_url.is_some()
            || docker.is_some()
            || buildpack.is_some()
    }
}
