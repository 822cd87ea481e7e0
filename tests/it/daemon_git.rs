//! The daemon beside `git pull`: commits that change thousands of files at once, read while they are checked out. Each
//! manifest carries the number of its commit, and each call has to carry the number of the commit that the ledger has
//! for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use fastrand::Rng;
use rustix::process::Signal;
use truenorth::ledger::{HistoryEntry, Reader};
use truenorth::sandbox::Options;

use crate::support::{Api, Daemon, Workspace, eventually, git, manifest, seed, tag, tag_of};

/// Manifests of the checkout, all of which every commit changes.
const FILES: usize = 2_000;
const PULLS: usize = 12;

/// Makes a bare repository whose `main` has one commit after the other, each with every manifest at the commit's number.
/// Gives the commits, the oldest first.
fn upstream(folder: &Path) -> Vec<String> {
    let mut stream = String::new();
    for number in 0..=PULLS {
        let _ = writeln!(stream, "commit refs/heads/main\ncommitter a <a@example.com> {number} +0000\ndata 0");
        for file in 0..FILES {
            let text = manifest(&format!("s{file}"), &number.to_string());
            let _ = writeln!(stream, "M 644 inline shop/{}/s{file}.yaml\ndata {}\n{text}", file % 20, text.len());
        }
    }
    std::fs::create_dir(folder).unwrap();
    git(folder, &["init", "--quiet", "--bare"]);
    let mut import = Command::new("git");
    import.args(["fast-import", "--quiet"]).current_dir(folder).stdin(Stdio::piped());
    let mut import = import.spawn().unwrap();
    import.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    git(folder, &["rev-list", "--reverse", "main"]).lines().map(str::to_owned).collect()
}

/// Moves `main` upstream.
fn publish(upstream: &Path, commit: &str) {
    git(upstream, &["update-ref", "refs/heads/main", commit]);
}

fn sent(entry: &HistoryEntry) -> usize {
    tag_of(entry).parse().unwrap()
}

#[test]
fn a_pull_of_two_thousand_files_is_seen_as_one_commit_or_not_at_all() {
    let workspace = Workspace::in_memory();
    let api = Api::with(Options { limit: u32::MAX, log: 1_000_000, ..Options::default() });
    let upstream_folder = workspace.path().join("upstream");
    let commits = upstream(&upstream_folder);
    publish(&upstream_folder, &commits[0]);
    git(workspace.path(), &["clone", "--quiet", "upstream", "manifests"]);
    // This file's checkout can be made to take long, so that the folder stands still half-way.
    std::fs::create_dir_all(workspace.manifests().join(".git/info")).unwrap();
    std::fs::write(workspace.manifests().join(".git/info/attributes"), "/shop/12/s112.yaml filter=pause\n").unwrap();
    // Next to no quiet time, and a look all the time: as many reads as can be begin before, during and after a pull.
    let mut daemon = Daemon::start(&workspace, &api, &["--concurrency", "4", "--debounce", "1ms", "--resync", "50ms"]);
    let mut chance = Rng::with_seed(seed());
    for (number, (before, commit)) in commits.iter().zip(&commits[1..]).enumerate() {
        // The next commit comes when the last one was read, or some of its calls are made, or at any moment.
        if chance.u8(0..4) > 0 {
            while !daemon.told("the folder was read")["revision"].as_str().unwrap().ends_with(before) {}
            let (calls, some) = (api.world().update_count(), chance.usize(0..200));
            eventually("some calls are made", || api.world().update_count() >= calls + some);
        }
        publish(&upstream_folder, commit);
        let pause = if number % 4 == 3 { "filter.pause.smudge=sleep 0.8 && cat" } else { "filter.pause.smudge=cat" };
        git(&workspace.manifests(), &["-c", pause, "pull", "--quiet", "--ff-only"]);
    }
    let newest = PULLS.to_string();
    eventually("the last commit is applied", || {
        let updates = api.world().updates_by_service();
        updates.len() == FILES && updates.values().all(|updates| updates.last().map(tag) == Some(&newest))
    });
    daemon.signal(Signal::TERM);
    daemon.ends_with(0);

    let history = Reader::open(&workspace.state()).unwrap().unwrap().history(None, u32::MAX).unwrap();
    let mut revisions: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for entry in &history {
        revisions.entry(&entry.revision).or_default().insert(sent(entry));
    }
    assert!(history.len() > FILES && revisions.len() > PULLS / 2, "{revisions:?}");
    let number = |id: &str| commits.iter().position(|commit| commit == id).unwrap();
    for (revision, numbers) in revisions {
        let id = revision.strip_prefix("git:").unwrap();
        let expected = match id.strip_suffix("+dirty") {
            None => number(id),
            // Git moves the branch a moment after it let go of its lock: all of the new commit is there by then.
            Some(before) => number(before) + 1,
        };
        assert_eq!(numbers, BTreeSet::from([expected]), "a mix was read as {revision}");
    }
    for (service, updates) in api.world().updates_by_service() {
        let tags: Vec<usize> = updates.iter().map(|update| tag(update).parse().unwrap()).collect();
        assert!(tags.is_sorted(), "{service}: something old after something new: {tags:?}");
    }
}
