//! The daemon over a folder behind a link that is swapped again and again, as git-sync swaps `current` and Kubernetes
//! `..data`: what every swap brings is applied in the end, and nothing that was read is a mix or empty.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;
use serde_json::Value;
use truenorth::ledger::Reader;
use truenorth::sandbox::Options;

use crate::support::{Api, Daemon, Workspace, eventually, holds_within, manifest, seed, tag, tag_of, tags};

const SERVICES: usize = 60;
const SWAPS: usize = 40;

/// Who swaps.
#[derive(Clone, Copy, Debug)]
enum Layout {
    /// `git/current` leads to `git/.worktrees/7`, and the manifests are in a folder below.
    GitSync,
    /// The same by hand, with `ln -sfn`: for a moment there is no link, and the folder is missing.
    ByHand,
    /// `git/..data` leads to `git/..7`, and `git/s1.yaml` to `..data/s1.yaml`.
    Kubernetes,
}

impl Layout {
    fn manifests(self, volume: &Path) -> PathBuf {
        match self {
            Self::GitSync | Self::ByHand => volume.join("current/manifests"),
            Self::Kubernetes => volume.to_owned(),
        }
    }

    /// Where the link is, where it leads to after a swap, and where the files then are.
    fn swap(self, number: usize) -> (&'static str, String, String) {
        match self {
            Self::GitSync | Self::ByHand => {
                ("current", format!(".worktrees/{number}"), format!(".worktrees/{number}/manifests"))
            }
            Self::Kubernetes => ("..data", format!("..{number}"), format!("..{number}")),
        }
    }

    /// Writes content beside what is there, swaps the link by a rename, and removes what was there before.
    fn publish(self, volume: &Path, number: usize) {
        let (link, target, files) = self.swap(number);
        let files = volume.join(files);
        fs::create_dir_all(&files).unwrap();
        for service in (0..SERVICES).map(name) {
            fs::write(files.join(format!("{service}.yaml")), manifest(&service, &number.to_string())).unwrap();
        }
        let before = fs::read_link(volume.join(link)).ok();
        match (self, &before) {
            (Self::ByHand, Some(_)) => {
                fs::remove_file(volume.join(link)).unwrap();
                symlink(target, volume.join(link)).unwrap();
            }
            _ => {
                symlink(target, volume.join("..new")).unwrap();
                fs::rename(volume.join("..new"), volume.join(link)).unwrap();
            }
        }
        if let (Self::Kubernetes, None) = (self, &before) {
            for file in (0..SERVICES).map(|service| format!("{}.yaml", name(service))) {
                symlink(Path::new("..data").join(&file), volume.join(file)).unwrap();
            }
        }
        if let Some(before) = before {
            fs::remove_dir_all(volume.join(before)).unwrap();
        }
    }
}

fn name(service: usize) -> String {
    format!("s{service}")
}

fn is_applied(api: &Api, number: usize) -> bool {
    (0..SERVICES).map(name).all(|service| tags(api, &service).last() == Some(&number.to_string()))
}

#[track_caller]
fn swaps_are_seen_whole(layout: Layout) {
    let workspace = Workspace::in_memory();
    let api = Api::with(Options { limit: u32::MAX, log: 1_000_000, ..Options::default() });
    let volume = workspace.path().join("volume");
    fs::create_dir(&volume).unwrap();
    layout.publish(&volume, 0);
    let manifests = layout.manifests(&volume);
    // A look every 10 ms, so that many of them are hit by a swap.
    let arguments = ["--manifests", manifests.to_str().unwrap(), "--debounce", "1ms", "--resync", "10ms"];
    let daemon = Daemon::start(&workspace, &api, &arguments);
    let mut chance = Rng::with_seed(seed());
    for number in 1..=SWAPS {
        // Some are applied before the next one comes, some are swapped away at some moment.
        if number % 4 == 0 {
            eventually("what the swap brought is applied", || is_applied(&api, number - 1));
        } else {
            let (calls, some) = (api.world().call_count(), chance.u64(0..SERVICES as u64 / 2));
            holds_within(Duration::from_millis(100), || api.world().call_count() >= calls + some);
        }
        layout.publish(&volume, number);
    }
    eventually("the last swap is applied", || is_applied(&api, SWAPS));
    daemon.signal(Signal::TERM);
    let log = daemon.ends_with(0);

    let mut read = 0;
    for line in &log {
        let is_missing = line["message"].as_str().unwrap().contains("folder cannot be read");
        let expected = matches!(layout, Layout::ByHand) && is_missing;
        assert!(expected || !matches!(line["level"].as_str(), Some("WARN" | "ERROR")), "{line}");
        if line["message"] == "the folder was read" {
            assert_eq!((&line["manifests"], &line["problems"]), (&Value::from(SERVICES), &Value::from(0)), "{line}");
            read += 1;
        }
    }
    let history = Reader::open(&workspace.state()).unwrap().unwrap().history(None, u32::MAX).unwrap();
    let mut revisions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for entry in &history {
        revisions.entry(&entry.revision).or_default().insert(tag_of(entry));
    }
    assert!(read > SWAPS / 4, "{read} swaps were read");
    for (revision, tags) in &revisions {
        assert_eq!(tags.len(), 1, "a mix was read as {revision}: {tags:?}");
    }
    let tags: BTreeSet<&String> = revisions.values().flatten().collect();
    assert_eq!(tags.len(), revisions.len(), "two revisions of one content: {revisions:?}");
    assert!(revisions.len() > SWAPS / 4, "{revisions:?}");
    for (service, updates) in api.world().updates_by_service() {
        let tags: Vec<usize> = updates.iter().map(|update| tag(update).parse().unwrap()).collect();
        assert!(tags.is_sorted_by(|before, after| before < after), "{service}: {tags:?}");
    }
}

#[test]
fn every_swap_of_git_syncs_link_is_seen_whole() {
    swaps_are_seen_whole(Layout::GitSync);
}

#[test]
fn every_swap_of_a_link_that_is_gone_for_a_moment_is_seen_whole() {
    swaps_are_seen_whole(Layout::ByHand);
}

#[test]
fn every_swap_of_a_mounted_config_map_is_seen_whole() {
    swaps_are_seen_whole(Layout::Kubernetes);
}
