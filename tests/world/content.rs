//! The services of the world, what their manifests can say and what can run: small tables, made once.

use std::fmt;
use std::sync::LazyLock;

use truenorth::model::{
    DeploymentUpdate, Desired, Digest, External, ImagePath, Live, LiveExternal, Place, Policy, ServiceKey, ServiceKind,
    Suspend,
};
use truenorth::plan::{self, Reading};

use crate::folder::{Suspension, Wanted};

/// Most services that a world has.
pub(crate) const SERVICES: usize = 8;
/// What a manifest can say, beside its policy. Few, so that content comes back often.
const VERSIONS: u8 = 5;

/// A service of the world, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(pub(crate) usize);

/// One content of a service's manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u8);

/// What a service runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Version(Version),
    /// Something that no manifest says.
    Foreign,
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
    (0..SERVICES).map(|number| format!("{}shop/s{number}", team(number)).parse().unwrap()).collect()
});

static DESIRED: LazyLock<Vec<Vec<Desired>>> = LazyLock::new(|| {
    let desired = |number: usize, version: u8| {
        let place = Place { file: format!("s{number}.yaml").into(), line: 1 };
        Desired::new(&KEYS[number], update(version), Policy::default(), place)
    };
    (0..SERVICES).map(|number| (0..VERSIONS).map(|version| desired(number, version)).collect()).collect()
});

/// By version, and by what is shown: what `plan::compare` says, and whether it can be adopted.
static READINGS: LazyLock<Vec<Vec<(Reading, bool)>>> = LazyLock::new(|| {
    let read = |version: u8, shown: Shown| {
        let comparison = plan::compare(&update(version), &shown.live());
        let undecided = comparison.undecided().map(|field| field.path.to_owned()).collect();
        let reading = Reading { differences: comparison.differences().into(), undecided, ..Reading::default() };
        (reading, comparison.is_adoptable())
    };
    (0..VERSIONS).map(|version| Shown::all().map(|shown| read(version, shown)).collect()).collect()
});

fn image(version: u8) -> String {
    format!("nginx:1.{version}")
}

fn update(version: u8) -> DeploymentUpdate {
    let image_path = ImagePath::new(&image(version)).unwrap();
    DeploymentUpdate::External { docker: None, external: External { credentials: None, image_path } }
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
            Suspension::Until(until) => Suspend::Yes { reason: None, until: Some(until.timestamp()) },
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
        Self(chance.u8(0..VERSIONS))
    }

    /// How it compares with what a read shows, and whether that can be adopted.
    pub(crate) fn read(self, shown: Shown) -> &'static (Reading, bool) {
        &READINGS[usize::from(self.0)][shown.index()]
    }
}

impl Content {
    pub(crate) fn any(chance: &mut fastrand::Rng) -> Self {
        if chance.u8(0..4) == 0 { Self::Foreign } else { Self::Version(Version::any(chance)) }
    }
}

impl Shown {
    fn all() -> impl Iterator<Item = Self> {
        let versions = (0..VERSIONS).map(|version| Self::Content(Content::Version(Version(version))));
        versions.chain([Self::Content(Content::Foreign), Self::Nothing])
    }

    fn index(self) -> usize {
        Self::all().position(|shown| shown == self).unwrap()
    }

    /// As the API reports it.
    fn live(self) -> Live {
        let image_path = match self {
            Self::Content(Content::Version(version)) => image(version.0),
            Self::Content(Content::Foreign) => "redis:8.2".to_owned(),
            Self::Nothing => return Live::of_kind(ServiceKind::Deployment),
        };
        let registry_provider = Some("dockerhub".to_owned());
        let external = LiveExternal {
            image_path: Some(image_path),
            registry_provider,
            private_image: Some(false),
            credentials: None,
        };
        Live { instances: Some(1), external: Some(external), ..Live::of_kind(ServiceKind::Deployment) }
    }

    /// How it compares with a version.
    pub(crate) fn against(self, version: Version) -> Sight {
        match self {
            Self::Nothing => Sight::CannotTell,
            Self::Content(content) if content == Content::Version(version) => Sight::Same,
            Self::Content(_) => Sight::Differs,
        }
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
    for version in (0..VERSIONS).map(Version) {
        for shown in Shown::all() {
            let (reading, adoptable) = version.read(shown);
            let sight = shown.against(version);
            assert_eq!(*adoptable, sight == Sight::Same, "{version} {shown:?}");
            assert_eq!(reading.differences.is_empty(), sight != Sight::Differs, "{version} {shown:?}");
            assert_eq!(reading.undecided.is_empty(), sight != Sight::CannotTell, "{version} {shown:?}");
        }
    }
}
