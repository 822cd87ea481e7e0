//! The folder of manifests: what each service's manifest says now, and how it changes.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use truenorth::model::{Desired, DriftMode, ServiceKey};

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
    pub(crate) suspend: Suspension,
    pub(crate) drift: Option<DriftMode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspension {
    No,
    Yes,
    /// By the wall clock.
    Until(Timestamp),
}

/// What its manifests say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kinds {
    Any,
    /// What a read shows, all of it.
    Plain,
}

#[derive(Debug)]
pub(crate) struct Folder {
    kinds: Kinds,
    manifests: Vec<Manifest>,
    /// What was there before, to come back unchanged.
    before: Vec<Manifest>,
    pub(crate) readable: bool,
}

/// What one look finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) manifests: Vec<Manifest>,
}

impl Wanted {
    pub(crate) fn plain(version: Version) -> Self {
        Self { version, suspend: Suspension::No, drift: None }
    }

    pub(crate) fn is_suspended(&self, wall: Timestamp) -> bool {
        match self.suspend {
            Suspension::No => false,
            Suspension::Yes => true,
            Suspension::Until(until) => wall < until,
        }
    }
}

impl Kinds {
    fn any(self, chance: &mut Rng) -> Version {
        match self {
            Self::Any => Version::any(chance),
            Self::Plain => Version::plain(chance),
        }
    }
}

impl Suspension {
    fn any(wall: Timestamp, chance: &mut Rng) -> Self {
        match chance.u8(0..3) {
            0 => Self::Yes,
            _ => Self::Until(wall + Duration::from_millis(chance.u64(0..300_000))),
        }
    }
}

/// A manifest's word on drift.
fn any_drift(chance: &mut Rng) -> Option<DriftMode> {
    [None, Some(DriftMode::Report), Some(DriftMode::Correct), Some(DriftMode::Off)][chance.usize(0..4)]
}

impl Folder {
    pub(crate) fn new(services: usize, kinds: Kinds, chance: &mut Rng) -> Self {
        let manifest = |chance: &mut Rng| match chance.u8(0..4) {
            0 => Manifest::Absent,
            _ => Manifest::Valid(Wanted::plain(kinds.any(chance))),
        };
        let manifests: Vec<_> = (0..services).map(|_| manifest(chance)).collect();
        Self { kinds, before: manifests.clone(), manifests, readable: true }
    }

    /// Changes one manifest somehow; says which one and to what.
    pub(crate) fn change(&mut self, wall: Timestamp, chance: &mut Rng) -> (Name, Manifest) {
        let number = chance.usize(0..self.manifests.len());
        let is = self.manifests[number];
        let next = match (chance.u8(0..12), is) {
            // Removed, or turned bad.
            (0, _) => Manifest::Absent,
            // Back as it was.
            (1..=2, _) => self.before[number],
            (3..=4, Manifest::Valid(wanted)) => {
                let suspend = match wanted.suspend {
                    Suspension::No => Suspension::any(wall, chance),
                    Suspension::Yes | Suspension::Until(_) => Suspension::No,
                };
                Manifest::Valid(Wanted { suspend, ..wanted })
            }
            (5, Manifest::Valid(wanted)) => Manifest::Valid(Wanted { drift: any_drift(chance), ..wanted }),
            (_, Manifest::Valid(wanted)) => {
                Manifest::Valid(Wanted { version: self.kinds.any(chance), suspend: Suspension::No, ..wanted })
            }
            (_, Manifest::Absent) => Manifest::Valid(Wanted::plain(self.kinds.any(chance))),
        };
        self.before[number] = is;
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
        wanted.map(|(name, wanted)| (name.key().clone(), name.desired(wanted))).collect()
    }
}
