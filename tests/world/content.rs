//! The services of the world, what their manifests can say and what can run.

use std::fmt;
use std::sync::LazyLock;

use truenorth::model::{
    CredentialsId, DeploymentUpdate, Desired, Digest, Docker, DockerConfig, External, ImagePath, Live, LiveExternal,
    LiveRuntime, Place, Policy, ServiceKey, ServiceKind, Suspend, Unnamed,
};

use crate::folder::{Suspension, Wanted};

/// Most services that a world has as a rule; scripted ones have more.
pub(crate) const SERVICES: usize = 8;
const MOST: usize = 600;

/// A service of the world, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(pub(crate) usize);

/// One content of a service's manifest, by its place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u8);

/// What a manifest says, or what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fields {
    image: u8,
    /// Live never shows which ones it uses, only whether it uses any.
    credentials: Option<u8>,
    /// What is not named stays as it is.
    docker: Option<u8>,
}

/// Few, so that content comes back often. First those that a world of every kind of content uses.
const TABLE: [Fields; 12] = [
    fields(0, None, None),
    fields(1, None, None),
    fields(1, Some(0), None),
    fields(2, Some(1), None),
    fields(2, None, Some(0)),
    fields(2, None, Some(1)),
    fields(2, None, None),
    fields(3, None, Some(0)),
    fields(4, None, None),
    fields(5, None, None),
    fields(6, None, None),
    fields(7, None, None),
];
const ANY: u8 = 8;
/// Of these a read shows everything.
const PLAIN: [u8; 7] = [0, 1, 6, 8, 9, 10, 11];
/// What no manifest says.
const FOREIGN: u8 = 99;

const fn fields(image: u8, credentials: Option<u8>, docker: Option<u8>) -> Fields {
    Fields { image, credentials, docker }
}

/// What a service runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    fields: Fields,
    /// The manifest's content that it has, all of it.
    pub(crate) of: Option<Version>,
    /// Whether somebody else said which credentials it uses.
    foreign_credentials: bool,
}

/// What a read shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Content(Content),
    /// Nothing of it can be told.
    Nothing,
}

/// How what is shown compares with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    Same,
    Differs,
    CannotTell,
}

static KEYS: LazyLock<Vec<ServiceKey>> = LazyLock::new(|| {
    let team = |number: usize| if number.is_multiple_of(3) { "acme/" } else { "" };
    (0..MOST).map(|number| format!("{}shop/s{number}", team(number)).parse().unwrap()).collect()
});

static DESIRED: LazyLock<Vec<Vec<Desired>>> = LazyLock::new(|| {
    let desired = |number: usize, fields: &Fields| {
        let place = Place { file: format!("s{number}.yaml").into(), line: 1 };
        // Whoever names no credentials here wants none: what is held is a matter of the engine's own tests.
        let policy = Policy { credentials: Unnamed::OnPurpose, ..Policy::default() };
        Desired::new(&KEYS[number], fields.update(), policy, place)
    };
    (0..MOST).map(|number| TABLE.iter().map(|fields| desired(number, fields)).collect()).collect()
});

impl Fields {
    fn image(self) -> String {
        if self.image == FOREIGN { "redis:8.2".to_owned() } else { format!("nginx:1.{}", self.image) }
    }

    fn update(self) -> DeploymentUpdate {
        let image_path = ImagePath::new(&self.image()).unwrap();
        let credentials = self.credentials.map(|which| CredentialsId::new(&format!("registry-{which}")).unwrap());
        let command = |which| Docker::new(DockerConfig::CustomCommand, None, Some(format!("run {which}"))).unwrap();
        let external = External { credentials, image_path };
        DeploymentUpdate::External { docker: self.docker.map(command), external }
    }

    /// Whether what runs is what these say, in fact.
    fn are_of(self, content: Content) -> bool {
        let credentials = self.credentials == content.fields.credentials || content.foreign_credentials;
        self.image == content.fields.image
            && credentials
            && self.docker.is_none_or(|docker| content.fields.docker == Some(docker))
    }
}

impl Name {
    pub(crate) fn key(self) -> &'static ServiceKey {
        &KEYS[self.0]
    }

    pub(crate) fn of(key: &ServiceKey) -> Self {
        Self(key.service.as_str()[1..].parse().unwrap())
    }

    /// What a manifest says of this service.
    pub(crate) fn desired(self, wanted: Wanted) -> Desired {
        let mut desired = self.plain(wanted.version);
        desired.policy.drift = wanted.drift;
        desired.policy.suspend = match wanted.suspend {
            Suspension::No => Suspend::No,
            Suspension::Yes => Suspend::Yes { reason: None, until: None },
            Suspension::Until(until) => Suspend::Yes { reason: None, until: Some(until) },
        };
        desired
    }

    /// A version with no policy.
    pub(crate) fn plain(self, version: Version) -> Desired {
        DESIRED[self.0][usize::from(version.0)].clone()
    }

    pub(crate) fn digest(self, version: Version) -> Digest {
        DESIRED[self.0][usize::from(version.0)].digest
    }

    /// Which of its contents has this digest.
    pub(crate) fn version(self, digest: Digest) -> Version {
        let index = DESIRED[self.0].iter().position(|desired| desired.digest == digest);
        Version(u8::try_from(index.expect("only content of this service is ever sent for it")).unwrap())
    }
}

impl Version {
    pub(crate) fn any(chance: &mut fastrand::Rng) -> Self {
        Self(chance.u8(0..ANY))
    }

    /// One of which a read shows everything.
    pub(crate) fn plain(chance: &mut fastrand::Rng) -> Self {
        Self::nth_plain(chance.usize(0..PLAIN.len()))
    }

    pub(crate) fn nth_plain(number: usize) -> Self {
        Self(PLAIN[number % PLAIN.len()])
    }

    fn fields(self) -> Fields {
        TABLE[usize::from(self.0)]
    }

    pub(crate) fn has_several_parts(self) -> bool {
        self.fields().docker.is_some()
    }

    /// Whether a read of a service that has this shows that it does, where it may have one of these instead: nothing of
    /// a manifest at all where there is none.
    pub(crate) fn can_be_proven_against(self, others: &[Option<Self>]) -> bool {
        let mine = self.fields();
        let provable = |other: &Option<Self>| {
            let other = other.map(Self::fields);
            let credentials = other.map_or(mine.credentials.is_none(), |other| other.credentials == mine.credentials);
            let docker = mine.docker.is_some() || other.is_none_or(|other| other.docker.is_none());
            credentials && docker
        };
        if others.is_empty() { provable(&None) } else { others.iter().all(provable) }
    }

    /// Whether what runs has, in fact, every field of this in which it differs from one of these.
    pub(crate) fn has_what_changed(self, content: Content, others: &[Option<Self>]) -> bool {
        let (mine, runs) = (self.fields(), content.fields);
        let has = |other: &Option<Self>| {
            let other = other.map(Self::fields);
            let image = other.is_some_and(|other| other.image == mine.image) || runs.image == mine.image;
            let credentials = other.is_some_and(|other| other.credentials == mine.credentials)
                || (mine.credentials.is_none() && other.is_none())
                || runs.credentials == mine.credentials;
            // A part that is no longer named is not seen to be gone.
            let docker = other.is_some_and(|other| other.docker == mine.docker)
                || (mine.docker.is_none() && other.is_none())
                || (mine.docker.is_some() && runs.docker == mine.docker);
            image && credentials && docker
        };
        if others.is_empty() { has(&None) } else { others.iter().all(has) }
    }
}

impl Content {
    pub(crate) fn any(chance: &mut fastrand::Rng) -> Self {
        match chance.u8(0..4) {
            0 => Self { fields: fields(FOREIGN, None, None), of: None, foreign_credentials: true },
            _ => Self::by_hand(Version::any(chance)),
        }
    }

    /// A service that was made with a manifest's content.
    pub(crate) fn has(version: Version) -> Self {
        Self { fields: version.fields(), of: Some(version), foreign_credentials: false }
    }

    /// The same, made by somebody else.
    pub(crate) fn by_hand(version: Version) -> Self {
        Self { foreign_credentials: true, ..Self::has(version) }
    }

    pub(crate) fn with_foreign_credentials(self) -> Self {
        Self { foreign_credentials: true, ..self }
    }

    /// After an update was carried out: all of it, or without the part that says how it starts.
    pub(crate) fn updated(self, version: Version, parts: Parts) -> Self {
        let mine = version.fields();
        let docker = match parts {
            Parts::WithoutRuntime => self.fields.docker,
            Parts::All | Parts::RuntimeAlone => mine.docker.or(self.fields.docker),
        };
        let fields = match parts {
            Parts::RuntimeAlone => Fields { docker, ..self.fields },
            Parts::All | Parts::WithoutRuntime => Fields { docker, ..mine },
        };
        let foreign_credentials = parts == Parts::RuntimeAlone && self.foreign_credentials;
        let after = Self { fields, of: None, foreign_credentials };
        Self { of: after.is(version).then_some(version), ..after }
    }

    /// Somebody changes a part of it by hand.
    pub(crate) fn edited(self, chance: &mut fastrand::Rng) -> Self {
        let changed = match chance.u8(0..4) {
            0 => Fields { docker: Some(chance.u8(0..3)), ..self.fields },
            1 => Fields { credentials: Some(chance.u8(0..3)), ..self.fields },
            _ => return Self::any(chance),
        };
        Self { fields: changed, of: None, foreign_credentials: true }
    }

    /// Whether it is what a version says, in fact.
    pub(crate) fn is(self, version: Version) -> bool {
        version.fields().are_of(self)
    }
}

/// Which parts of an update take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parts {
    All,
    WithoutRuntime,
    RuntimeAlone,
}

impl Shown {
    /// As the API reports it.
    pub(crate) fn live(self, kind: ServiceKind) -> Live {
        let Self::Content(content) = self else { return Live::of_kind(kind) };
        let runs = content.fields;
        let external = LiveExternal {
            image_path: Some(runs.image()),
            registry_provider: Some("dockerhub".to_owned()),
            private_image: Some(runs.credentials.is_some()),
            credentials: None,
        };
        let docker = runs.docker.map(|which| LiveRuntime {
            config_type: Some("customCommand".to_owned()),
            custom_command: Some(format!("run {which}")),
            ..LiveRuntime::default()
        });
        Live { instances: Some(1), external: Some(external), docker, ..Live::of_kind(kind) }
    }

    /// How it compares with a version.
    pub(crate) fn against(self, version: Version) -> Sight {
        let Self::Content(content) = self else { return Sight::CannotTell };
        let (mine, runs) = (version.fields(), content.fields);
        let lacks_credentials = mine.credentials.is_some() && runs.credentials.is_none();
        if runs.image != mine.image || lacks_credentials || self.lacks_runtime(version) {
            Sight::Differs
        } else if mine.credentials.is_some() {
            Sight::CannotTell
        } else {
            Sight::Same
        }
    }

    fn lacks_runtime(self, version: Version) -> bool {
        let Self::Content(content) = self else { return false };
        version.fields().docker.is_some_and(|docker| content.fields.docker != Some(docker))
    }

    /// Whether the part that says how it starts is all that is missing.
    pub(crate) fn lacks_runtime_alone(self, version: Version) -> bool {
        let Self::Content(content) = self else { return false };
        let with = Content { fields: Fields { docker: version.fields().docker, ..content.fields }, ..content };
        self.lacks_runtime(version) && Self::Content(with).against(version) != Sight::Differs
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

#[test]
fn what_a_read_shows_compares_as_the_world_has_it() {
    let mut chance = fastrand::Rng::with_seed(1);
    for number in 0..u8::try_from(TABLE.len()).unwrap() {
        let version = Version(number);
        for shown in
            (0..200).map(|_| Shown::Content(Content::any(&mut chance).edited(&mut chance))).chain([Shown::Nothing])
        {
            let comparison = truenorth::plan::compare(&version.fields().update(), &shown.live(ServiceKind::Deployment));
            let sight = shown.against(version);
            assert_eq!(comparison.has_drifted(), sight == Sight::Differs, "{version} {shown:?}");
            let undecided = comparison.undecided().next().is_some();
            assert_eq!(undecided && !comparison.has_drifted(), sight == Sight::CannotTell, "{version} {shown:?}");
        }
    }
}
