//! The folder of manifests: what each service's manifest says now, and how it changes.

use std::collections::BTreeMap;

use fastrand::Rng;
use truenorth::model::{Desired, ServiceKey};

use crate::content::{Name, Version};

/// A service's manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manifest {
    /// There is none, or it has a problem: either way nothing is desired.
    Absent,
    Valid(Wanted),
}

/// What a valid manifest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) version: Version,
    pub(crate) suspend: bool,
}

#[derive(Debug)]
pub(crate) struct Folder {
    manifests: Vec<Manifest>,
    /// What was there before, to come back unchanged.
    before: Vec<Manifest>,
    pub(crate) readable: bool,
}

/// What one look finds.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) manifests: Vec<Manifest>,
}

impl Folder {
    pub(crate) fn new(services: usize, chance: &mut Rng) -> Self {
        let manifest = |chance: &mut Rng| match chance.u8(0..4) {
            0 => Manifest::Absent,
            _ => Manifest::Valid(Wanted { version: Version::any(chance), suspend: false }),
        };
        let manifests: Vec<_> = (0..services).map(|_| manifest(chance)).collect();
        Self { before: manifests.clone(), manifests, readable: true }
    }

    /// Changes one manifest somehow; says which one and to what.
    pub(crate) fn change(&mut self, chance: &mut Rng) -> (Name, Manifest) {
        let number = chance.usize(0..self.manifests.len());
        let now = self.manifests[number];
        let next = match (chance.u8(0..10), now) {
            // Removed, or turned bad.
            (0, _) => Manifest::Absent,
            // Back as it was.
            (1..=2, _) => self.before[number],
            (3, Manifest::Valid(wanted)) => Manifest::Valid(Wanted { suspend: !wanted.suspend, ..wanted }),
            _ => Manifest::Valid(Wanted { version: Version::any(chance), suspend: false }),
        };
        self.before[number] = now;
        self.manifests[number] = next;
        (Name(number), next)
    }

    pub(crate) fn look(&self) -> Snapshot {
        Snapshot { manifests: self.manifests.clone() }
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = (Name, Manifest)> {
        self.manifests.iter().enumerate().map(|(number, manifest)| (Name(number), *manifest))
    }
}

impl Snapshot {
    pub(crate) fn of(&self, name: Name) -> Option<Wanted> {
        match self.manifests[name.0] {
            Manifest::Valid(wanted) => Some(wanted),
            Manifest::Absent => None,
        }
    }

    pub(crate) fn desired(&self) -> BTreeMap<ServiceKey, Desired> {
        let wanted = (0..self.manifests.len()).filter_map(|number| Some((Name(number), self.of(Name(number))?)));
        wanted.map(|(name, wanted)| (name.key().clone(), name.desired(wanted.version, wanted.suspend))).collect()
    }
}
