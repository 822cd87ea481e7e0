//! A deployment as the API lists it: what a service was given to run, when, and by whom.

use jiff::Timestamp;

/// One entry of the list of a service's deployments, as far as it tells whose a rollout is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentEntry {
    pub id: String,
    /// When it was made, by the server's clock.
    pub created_at: Timestamp,
    /// The image, where it is one of a registry: with its host or without.
    pub image: Option<String>,
    /// The image's tag, where that is shown by itself.
    pub tag: Option<String>,
    /// The digest of the image that runs.
    pub sha: Option<String>,
    /// The commit, where it is a build.
    pub commit: Option<String>,
    /// Who made it, by the name that the API gives.
    pub user: Option<String>,
}

impl DeploymentEntry {
    /// The same with each of its texts changed.
    pub fn map_texts(self, change: impl Fn(&str) -> String) -> Self {
        let map = |text: Option<String>| text.map(|text| change(&text));
        Self {
            id: change(&self.id),
            created_at: self.created_at,
            image: map(self.image),
            tag: map(self.tag),
            sha: map(self.sha),
            commit: map(self.commit),
            user: map(self.user),
        }
    }
}
