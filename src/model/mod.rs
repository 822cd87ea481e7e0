//! The nouns: what a service is called, what its manifest wants of it, what the API reports of it,
//! and what names a snapshot.
//!
//! Everything here is plain values that cannot hold nonsense: constructors check, fields that could contradict each
//! other are private. Nothing here reads a clock, a file or the environment.

mod api_place;
mod applied;
mod decision;
mod deployment_entry;
mod desired;
mod diagnostic;
mod digest;
mod headline;
mod hold;
mod image;
mod key;
mod live;
mod order;
mod plan_id;
mod policy;
mod quarantine;
mod revision;
mod rollout;
mod runtime;
mod state;
mod update;

pub use api_place::ApiPlace;
pub use applied::{Applied, Cause, Known};
pub use decision::{About, Answer, Decision, DecisionId, InvalidPlanName, PlanName};
pub use deployment_entry::DeploymentEntry;
pub use desired::{Desired, Place};
pub use diagnostic::Diagnostic;
pub(crate) use diagnostic::{as_error, as_message, as_reason};
pub use digest::{Digest, InvalidDigest};
pub use headline::Headline;
pub use hold::{HeldBy, HoldKind, held_reason, held_until};
pub use image::{ImagePath, InvalidImage, Version};
pub use key::{Id, InvalidId, ServiceKey, project_path};
pub use live::{DeploymentStatus, Live, LiveExternal, LiveInternal, LiveRuntime, RolloutStage, ServiceKind};
pub use order::in_order;
pub use plan_id::PlanId;
pub use policy::{Approval, DependencyGate, DriftMode, OnFailure, Policy, Suspend, Unnamed};
pub use quarantine::Quarantine;
pub use revision::{InvalidRevision, Revision};
pub use rollout::{Evidence, OvertakenBy, Rollout, RolloutState, Stranger};
pub use runtime::{Buildpack, BuildpackConfig, Docker, DockerConfig, MissingCommand};
pub use state::ServiceState;
pub use update::{
    BuildServiceId, BuildSha, CredentialsId, DeploymentUpdate, External, Internal, InvalidField, RuntimeUpdate,
};
