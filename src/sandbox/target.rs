//! Target: which service a call is about, in the sandbox's own words.

use std::fmt;

/// A service as a path names it. `acme/shop/web` and `shop/web` are two services here; the provider would resolve the
/// short form to the token's own team.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The team of the long form of a path.
    pub team: Option<String>,
    /// The project.
    pub project: String,
    /// The service.
    pub service: String,
}

impl Target {
    /// A service of the token's own team.
    #[must_use]
    pub fn new(project: &str, service: &str) -> Self {
        Self { team: None, project: project.to_owned(), service: service.to_owned() }
    }

    /// The same service under a team.
    #[must_use]
    pub fn under(self, team: &str) -> Self {
        Self { team: Some(team.to_owned()), ..self }
    }
}

impl From<&str> for Target {
    /// Reads `project/service` or `team/project/service`. A text without a slash is a service of a project without a
    /// name, which no path can reach.
    fn from(text: &str) -> Self {
        let mut parts = text.rsplitn(3, '/');
        let service = parts.next().unwrap_or_default();
        let project = parts.next().unwrap_or_default();
        let target = Self::new(project, service);
        match parts.next() {
            Some(team) => target.under(team),
            None => target,
        }
    }
}

impl From<String> for Target {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&Target> for Target {
    fn from(target: &Target) -> Self {
        target.clone()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(team) = &self.team {
            write!(f, "{team}/")?;
        }
        write!(f, "{}/{}", self.project, self.service)
    }
}
