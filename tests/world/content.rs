//! The services of the world and what their manifests can say: a small table, made once.

use std::fmt;
use std::sync::LazyLock;

use truenorth::model::{DeploymentUpdate, Desired, Digest, External, ImagePath, Place, Policy, ServiceKey, Suspend};

/// Most services that a world has.
pub(crate) const SERVICES: usize = 8;
/// What a manifest can say, beside suspended or not. Few, so that content comes back often.
const VERSIONS: u8 = 5;

/// A service of the world, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(pub(crate) usize);

/// One content of a service's manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u8);

static KEYS: LazyLock<Vec<ServiceKey>> = LazyLock::new(|| {
    let team = |number: usize| if number.is_multiple_of(3) { "acme/" } else { "" };
    (0..SERVICES).map(|number| format!("{}shop/s{number}", team(number)).parse().unwrap()).collect()
});

static DESIRED: LazyLock<Vec<Vec<Desired>>> = LazyLock::new(|| {
    let desired = |number: usize, version| {
        let image_path = ImagePath::new(&format!("nginx:1.{version}")).unwrap();
        let update = DeploymentUpdate::External { docker: None, external: External { credentials: None, image_path } };
        let place = Place { file: format!("s{number}.yaml").into(), line: 1 };
        Desired::new(&KEYS[number], update, Policy::default(), place)
    };
    (0..SERVICES).map(|number| (0..VERSIONS).map(|version| desired(number, version)).collect()).collect()
});

impl Name {
    pub(crate) fn key(self) -> &'static ServiceKey {
        &KEYS[self.0]
    }

    pub(crate) fn of(key: &ServiceKey) -> Self {
        Self(key.service.as_str()[1..].parse().unwrap())
    }

    /// What a manifest says of this service.
    pub(crate) fn desired(self, version: Version, suspend: bool) -> Desired {
        let mut desired = DESIRED[self.0][usize::from(version.0)].clone();
        if suspend {
            desired.policy.suspend = Suspend::Yes { reason: None, until: None };
        }
        desired
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
