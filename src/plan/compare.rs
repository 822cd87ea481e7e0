//! Desired against live, field by field. Live is not the mirror image of an update, so there are three outcomes: same,
//! different, cannot tell. What a manifest leaves out is not compared.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Change;
use super::image::{compare_image, written_image};
use crate::model::{
    BuildSha, Buildpack, BuildpackConfig, DeploymentUpdate, Docker, DockerConfig, External, Internal, Live,
    LiveExternal, LiveInternal, LiveRuntime, ServiceKind,
};
use crate::text::command::Commands;

/// The field whose id live may not show.
pub(crate) const CREDENTIALS: &str = "external.credentials";

/// The rule of a build's id that has not been asked for.
const BUILD_ID_UNTOLD: &str = "this answer does not give the build's id";

impl fmt::Display for UnnamedCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (which, name) = match &self.id {
            Some(id) => (format!(" `{id}`"), format!("{CREDENTIALS}: {id}")),
            None => (String::new(), CREDENTIALS.to_owned()),
        };
        write!(f, "live uses the credentials{which} for its image, and an update by this manifest would drop them; ")?;
        write!(f, "name them (`{name}`), or say `policy.credentials: none`")
    }
}

/// What is the same of each field that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Every field that the manifest names, in the order of the paths.
    pub fields: Vec<FieldVerdict>,
    /// Fields that the manifest does not name, and that live shows not to be set.
    pub unset: Vec<&'static str>,
    /// What an update would take away without a word in the manifest.
    pub unnamed_credentials: Option<UnnamedCredentials>,
}

/// Live uses credentials for its image, and the manifest names none: an update by it would drop them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnnamedCredentials {
    /// Which, where live shows it.
    pub id: Option<String>,
}

/// One field, desired against live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldVerdict {
    /// The field in the body of the update, such as `external.imagePath`.
    pub path: &'static str,
    /// What the manifest says; of a command only what may be shown.
    pub desired: String,
    /// What live shows, as a manifest would write it; nothing where it shows nothing. Commands are hidden here too.
    pub live: Option<String>,
    /// Whether the two are the same.
    pub verdict: Verdict,
    /// The rule that decided, in a few words.
    pub rule: &'static str,
    /// Whether live shows that this very value is in effect. What is the same because nothing uses it, or because live
    /// shows nothing, is not proven.
    pub is_proven: bool,
}

/// Whether a field is the same on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Same,
    Different,
    /// Live does not show enough to know.
    CannotTell,
}

impl Verdict {
    /// The word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Different => "different",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// Compares what a manifest wants with what runs.
#[must_use]
pub fn compare(update: &DeploymentUpdate, live: &Live) -> Comparison {
    let mut fields = Fields::default();
    match update {
        DeploymentUpdate::External { external, .. } => fields.external(external, live),
        DeploymentUpdate::Internal { internal, .. } => fields.internal(internal, live),
        DeploymentUpdate::Runtime(_) => {}
    }
    if let Some(docker) = update.docker() {
        fields.docker(docker, live.docker.as_ref());
    }
    if let Some(buildpack) = update.buildpack() {
        fields.buildpack(buildpack, live.buildpack.as_ref());
    }
    if live.kind == ServiceKind::Build {
        fields.nothing_can_be_told("a service of type build has no deployment");
    } else if !live.shows_a_deployment() {
        fields.nothing_can_be_told("live shows no deployment");
    }
    fields.0.sort_by_key(|field| field.path);
    Comparison { fields: fields.0, unset: unset(update, live), unnamed_credentials: unnamed_credentials(update, live) }
}

/// What live shows not to be set, of what an update may have set before.
fn unset(update: &DeploymentUpdate, live: &Live) -> Vec<&'static str> {
    const INTERNAL: [&str; 4] = ["internal.branch", "internal.buildId", "internal.buildSHA", "internal.id"];
    match (update, &live.external, &live.internal) {
        (DeploymentUpdate::External { external: wanted, .. }, Some(running), None) => {
            let none = wanted.credentials.is_none() && running.uses_credentials() == Some(false);
            INTERNAL.into_iter().chain(none.then_some(CREDENTIALS)).collect()
        }
        (DeploymentUpdate::Internal { .. }, None, Some(_)) => vec![CREDENTIALS, "external.imagePath"],
        _ => Vec::new(),
    }
}

fn unnamed_credentials(update: &DeploymentUpdate, live: &Live) -> Option<UnnamedCredentials> {
    let DeploymentUpdate::External { external: External { credentials: None, .. }, .. } = update else { return None };
    let running = live.external.as_ref().filter(|running| running.uses_credentials() == Some(true))?;
    Some(UnnamedCredentials { id: running.credentials.clone() })
}

impl Comparison {
    /// The fields that are different, as changes from live to desired.
    pub fn differences(&self) -> Vec<Change> {
        let change = |field: &FieldVerdict| Change {
            path: field.path.to_owned(),
            from: field.live.clone(),
            to: Some(field.desired.clone()),
        };
        self.with(Verdict::Different).map(change).collect()
    }

    /// The fields of which nothing can be said.
    pub fn undecided(&self) -> impl Iterator<Item = &FieldVerdict> {
        self.with(Verdict::CannotTell)
    }

    /// Whether what runs can be recorded as applied without an update: nothing is different, and nothing undecided but
    /// which credentials are used.
    pub fn is_adoptable(&self) -> bool {
        !self.has_drifted() && self.undecided().all(|field| field.path == CREDENTIALS)
    }

    /// Whether something is different for certain.
    pub fn has_drifted(&self) -> bool {
        self.with(Verdict::Different).next().is_some()
    }

    /// Whether the deprecated `GET …/deployment` could settle it: nothing is different, and the build's id is desired
    /// and not known. Put its answer into [`Live`] with [`Live::with_build_id`] and compare again.
    pub fn wants_build_id(&self) -> bool {
        !self.has_drifted() && self.undecided().any(|field| field.rule == BUILD_ID_UNTOLD)
    }

    /// Whether live proves that an update arrived which changed these fields, by their paths in its body: each has the
    /// value that it brought, or is not set where it took it away. A field that live does not show proves nothing.
    pub fn proves<'a>(&self, changed: impl IntoIterator<Item = &'a str>) -> bool {
        changed.into_iter().all(|path| {
            self.fields.iter().any(|field| field.path == path && field.is_proven) || self.unset.contains(&path)
        })
    }

    fn with(&self, verdict: Verdict) -> impl Iterator<Item = &FieldVerdict> {
        self.fields.iter().filter(move |field| field.verdict == verdict)
    }
}

/// Longest text of a field that is kept and shown, in bytes: a command may be of any length.
const MAX_SHOWN: usize = 1024;

fn bounded(mut text: String) -> String {
    if text.len() > MAX_SHOWN {
        text.truncate(text.floor_char_boundary(MAX_SHOWN));
        text.push('…');
    }
    text
}

/// The rule of a text that makes no difference.
const UNUSED: &str = "the configType does not use it";

/// A verdict and its rule.
type Decided = (Verdict, &'static str);

const SAME: Decided = (Verdict::Same, "the same");
const UNSHOWN: Decided = (Verdict::CannotTell, "live does not show it");

/// The fields compared so far.
#[derive(Default)]
struct Fields(Vec<FieldVerdict>);

impl Fields {
    fn add(&mut self, path: &'static str, desired: &str, live: Option<&str>, (verdict, rule): Decided) {
        let is_proven = verdict == Verdict::Same && live.is_some_and(|live| rule != UNUSED || live == desired);
        let change = Change::new(path, live.map(str::to_owned), Some(desired.to_owned()), Commands::Hidden);
        let (desired, live) = (change.to.map(bounded).unwrap_or_default(), change.from.map(bounded));
        self.0.push(FieldVerdict { path, desired, live, verdict, rule, is_proven });
    }

    fn nothing_can_be_told(&mut self, rule: &'static str) {
        for field in &mut self.0 {
            (field.live, field.verdict, field.rule, field.is_proven) = (None, Verdict::CannotTell, rule, false);
        }
    }

    fn external(&mut self, desired: &External, live: &Live) {
        let image_url = live.image_url.as_deref();
        let Some(running) = &live.external else {
            let decided = (Verdict::Different, instead_of_an_image(live));
            let shown = live.internal.as_ref().and_then(|internal| internal.id.as_deref());
            let shown = shown.map(|id| format!("a build of {id}"));
            self.add("external.imagePath", desired.image_path.as_str(), shown.as_deref(), decided);
            if let Some(credentials) = &desired.credentials {
                self.add(CREDENTIALS, credentials.as_str(), None, decided);
            }
            return;
        };
        let decided = compare_image(desired.image_path.as_str(), running, image_url);
        let shown = written_image(running, image_url);
        self.add("external.imagePath", desired.image_path.as_str(), shown.as_deref(), decided);
        if let Some(credentials) = &desired.credentials {
            let (shown, credentials) = (running.credentials.as_deref(), credentials.as_str());
            self.add(CREDENTIALS, credentials, shown, compare_credentials(credentials, running));
        }
    }

    fn internal(&mut self, desired: &Internal, live: &Live) {
        let Internal { branch, build_id, build_sha, id } = desired;
        let absent = LiveInternal::default();
        let running = live.internal.as_ref();
        let shown = running.unwrap_or(&absent);
        // Where no other service's build runs, each of its fields is different.
        let decide = |decided: Decided| match running {
            Some(_) => decided,
            None => (Verdict::Different, instead_of_a_build(live)),
        };
        let equal = |desired: &str, live: &Option<String>| match live.as_deref() {
            Some(live) if live == desired => SAME,
            Some(_) => (Verdict::Different, "another one"),
            None => UNSHOWN,
        };
        self.add("internal.id", id.as_str(), shown.id.as_deref(), decide(equal(id.as_str(), &shown.id)));
        if let Some(branch) = branch {
            self.add("internal.branch", branch, shown.branch.as_deref(), decide(equal(branch, &shown.branch)));
        }
        if let Some(sha) = build_sha {
            let live = shown.build_sha.as_deref().or(shown.deployed_sha.as_deref());
            self.add("internal.buildSHA", sha.as_str(), live, decide(compare_commit(sha, shown)));
        }
        if let Some(build_id) = build_id {
            let decided = match &shown.build_id {
                None => (Verdict::CannotTell, BUILD_ID_UNTOLD),
                live => equal(build_id, live),
            };
            self.add("internal.buildId", build_id, shown.build_id.as_deref(), decide(decided));
        }
    }

    fn docker(&mut self, desired: &Docker, live: Option<&LiveRuntime>) {
        let config_type = desired.config_type();
        let used_live = live.and_then(|live| Some(DockerConfig::from_word(live.config_type.as_deref()?)?.requires()));
        let runtime = Runtime { desired: (config_type.as_str(), config_type.requires()), live, used_live };
        let command = |live: &LiveRuntime| live.custom_command.clone();
        let entrypoint = |live: &LiveRuntime| live.custom_entrypoint.clone();
        self.config_type("docker.configType", &runtime);
        self.text("docker.customCommand", "customCommand", desired.custom_command(), command, &runtime);
        self.text("docker.customEntrypoint", "customEntrypoint", desired.custom_entrypoint(), entrypoint, &runtime);
    }

    fn buildpack(&mut self, desired: &Buildpack, live: Option<&LiveRuntime>) {
        let config_type = desired.config_type();
        let used_live =
            live.and_then(|live| Some(BuildpackConfig::from_word(live.config_type.as_deref()?)?.requires()));
        let runtime = Runtime { desired: (config_type.as_str(), config_type.requires()), live, used_live };
        let command = |live: &LiveRuntime| live.custom_command.clone();
        let entrypoint = |live: &LiveRuntime| live.custom_entrypoint.clone();
        let process = |live: &LiveRuntime| live.custom_process.clone();
        self.config_type("buildpack.configType", &runtime);
        self.text("buildpack.customCommand", "customCommand", desired.custom_command(), command, &runtime);
        self.text("buildpack.customEntrypoint", "customEntrypoint", desired.custom_entrypoint(), entrypoint, &runtime);
        self.text("buildpack.customProcess", "customProcess", desired.custom_process(), process, &runtime);
    }

    fn config_type(&mut self, path: &'static str, runtime: &Runtime<'_>) {
        let (desired, _) = runtime.desired;
        let live = runtime.live.and_then(|live| live.config_type.as_deref());
        let decided = match (runtime.live, live) {
            (None, _) if desired == "default" => (Verdict::Same, "nothing is set, which is the default"),
            (None, _) => (Verdict::Different, "nothing is set"),
            (Some(_), None) => UNSHOWN,
            (Some(_), Some(live)) if live == desired => SAME,
            (Some(_), Some(_)) if runtime.used_live.is_none() => UNKNOWN_TYPE,
            (Some(_), Some(_)) => (Verdict::Different, "another type"),
        };
        self.add(path, desired, live, decided);
    }

    /// A text counts only where the type uses it, on both sides.
    fn text(
        &mut self,
        path: &'static str,
        field: &'static str,
        desired: Option<&str>,
        of_live: impl Fn(&LiveRuntime) -> Option<String>,
        runtime: &Runtime<'_>,
    ) {
        let Some(desired) = desired else { return };
        let (_, used) = runtime.desired;
        let live = runtime.live.and_then(of_live);
        let decided = if !used.contains(&field) {
            (Verdict::Same, UNUSED)
        } else if runtime.live.is_none() {
            (Verdict::Different, "nothing is set")
        } else {
            match (runtime.used_live, live.as_deref()) {
                (None, _) => UNKNOWN_TYPE,
                (Some(used), _) if !used.contains(&field) => (Verdict::Different, "live's configType does not use it"),
                (Some(_), None) => UNSHOWN,
                (Some(_), Some(live)) if live == desired => SAME,
                (Some(_), Some(_)) => (Verdict::Different, "another text"),
            }
        };
        self.add(path, desired, live.as_deref(), decided);
    }
}

const UNKNOWN_TYPE: Decided = (Verdict::CannotTell, "live's configType is not one that truenorth knows");

/// How a container starts, desired against live, without the texts.
struct Runtime<'a> {
    /// The type, and the texts that it uses.
    desired: (&'static str, &'static [&'static str]),
    live: Option<&'a LiveRuntime>,
    /// The texts that live's type uses; nothing where the type is absent or not known.
    used_live: Option<&'static [&'static str]>,
}

/// Which credentials are used is shown by one of the two shapes; that none are, by both.
fn compare_credentials(desired: &str, live: &LiveExternal) -> Decided {
    match (live.credentials.as_deref(), live.uses_credentials()) {
        (Some(shown), _) if shown == desired => SAME,
        (Some(_), _) => (Verdict::Different, "live uses others"),
        (None, Some(false)) => (Verdict::Different, "live uses no credentials"),
        (None, Some(true)) => (Verdict::CannotTell, "live uses credentials and does not show which"),
        (None, None) => (Verdict::CannotTell, "live does not show whether it uses credentials"),
    }
}

/// `latest` is a rule and not a commit: it is the same while live follows it, whatever is deployed. A service that
/// follows it is not pinned to a commit, even if that is the one that runs.
fn compare_commit(desired: &BuildSha, live: &LiveInternal) -> Decided {
    match (desired, live.build_sha.as_deref()) {
        (BuildSha::Latest, Some("latest")) => (Verdict::Same, "latest, whatever is deployed"),
        (BuildSha::Latest, Some(_)) => (Verdict::Different, "live is pinned to a commit"),
        (BuildSha::Commit(_), Some("latest")) => (Verdict::Different, "live follows the latest commit"),
        (BuildSha::Commit(commit), Some(live)) if commit.eq_ignore_ascii_case(live) => SAME,
        (BuildSha::Commit(_), Some(_)) => (Verdict::Different, "another commit"),
        (BuildSha::Commit(commit), None) => match live.deployed_sha.as_deref() {
            Some(deployed) if !commit.eq_ignore_ascii_case(deployed) => (Verdict::Different, "another commit runs"),
            _ => UNSHOWN,
        },
        (BuildSha::Latest, None) => UNSHOWN,
    }
}

fn instead_of_an_image(live: &Live) -> &'static str {
    match (&live.internal, live.kind) {
        (Some(_), _) => "live runs a build",
        (None, ServiceKind::Combined) => "live runs its own build",
        (None, _) => "live runs no image of a registry",
    }
}

fn instead_of_a_build(live: &Live) -> &'static str {
    match (&live.external, live.kind) {
        (Some(_), _) => "live runs an image of a registry",
        (None, ServiceKind::Combined) => "live runs its own build",
        (None, _) => "live runs no build",
    }
}

#[cfg(test)]
mod tests;
