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

/// A checkout in which two services have version 1, and its daemon.
fn checked_out() -> (Api, Workspace) {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("a", "1");
    workspace.service("b", "1");
    git(&workspace.manifests(), &["init", "--quiet"]);
    commit(&workspace);
    (api, workspace)
}

fn commit(workspace: &Workspace) {
    git(&workspace.manifests(), &["add", "--all"]);
    git(&workspace.manifests(), &["commit", "--quiet", "--message", "more"]);
}

/// The tags of a service's updates.
fn tags(api: &Api, service: &str) -> Vec<String> {
    let updates = api.world().updates_by_service();
    updates
        .iter()
        .filter(|(target, _)| target.to_string() == service)
        .flat_map(|(_, updates)| updates)
        .map(|update| tag(update).to_owned())
        .collect()
}

/// Makes a branch `side` that changes both services, of which `main` changes `a` too.
fn fork(workspace: &Workspace) {
    let folder = workspace.manifests();
    git(&folder, &["checkout", "--quiet", "-b", "side"]);
    workspace.service("a", "2");
    workspace.service("b", "2");
    commit(workspace);
    git(&folder, &["checkout", "--quiet", "main"]);
    workspace.service("a", "3");
    commit(workspace);
}

/// Leaves the checkout in the middle of a merge, with `a` in conflict and `b` merged.
fn conflict(workspace: &Workspace) {
    let merged = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@example.com", "merge", "side"])
        .current_dir(workspace.manifests())
        .output()
        .unwrap();
    assert!(!merged.status.success(), "a conflict");
}

#[test]
fn a_merge_that_stopped_holds_a_pass_with_a_reason_and_a_way_out() {
    let (api, workspace) = checked_out();
    fork(&workspace);
    workspace.once(&api, &[]).exits(0);
    conflict(&workspace);
    let before = api.world().call_count();
    let ran = workspace.once(&api, &[]).exits(1);
    assert!(ran.stderr.contains("git is in the middle of a merge"), "{ran:#?}");
    assert!(ran.stderr.contains("git merge --abort"), "{ran:#?}");
    assert_eq!(api.world().call_count(), before);
    git(&workspace.manifests(), &["merge", "--abort"]);
    workspace.once(&api, &[]).exits(0);
}

#[test]
fn a_merge_that_stopped_holds_the_daemon_until_it_is_ended() {
    let (api, workspace) = checked_out();
    fork(&workspace);
    let mut daemon = Daemon::start(&workspace, &api, &[]);
    eventually("main is applied", || api.world().update_count() == 2);
    conflict(&workspace);
    daemon.told("the folder cannot be read: what was applied stays, and it is tried again");
    let (code, page) = daemon.page("/readyz");
    assert!(code == 503 && page.contains("git is in the middle of a merge"), "{code} {page}");
    let hint = daemon.status()["look"]["hint"].to_string();
    assert!(hint.contains("git merge --abort"), "{hint}");
    git(&workspace.manifests(), &["merge", "--abort"]);
    daemon.told("the folder can be read again");
    assert_eq!((tags(&api, "shop/a"), tags(&api, "shop/b")), (vec!["3".to_owned()], vec!["1".to_owned()]));
}

#[test]
fn a_checkout_that_takes_long_is_waited_for_and_half_of_one_is_never_sent() {
    let (api, workspace) = checked_out();
    let folder = workspace.manifests();
    std::fs::write(folder.join(".git/info/attributes"), "/b.yaml filter=slow\n").unwrap();
    git(&folder, &["checkout", "--quiet", "-b", "next"]);
    workspace.service("a", "2");
    workspace.service("b", "2");
    commit(&workspace);
    git(&folder, &["checkout", "--quiet", "main"]);
    let mut daemon = Daemon::start(&workspace, &api, &[]);
    eventually("the first commit is applied", || api.world().update_count() == 2);

    let marker = workspace.path().join("go-on");
    let smudge = format!("filter.slow.smudge=while [ ! -e '{}' ]; do sleep 0.02; done; cat", marker.display());
    let mut checkout =
        Command::new("git").args(["-c", &smudge, "checkout", "--quiet", "next"]).current_dir(&folder).spawn().unwrap();
    eventually("half of it is there", || {
        std::fs::read_to_string(folder.join("a.yaml")).is_ok_and(|text| text == manifest("a", "2"))
    });
    // A look that somebody asks for sees no more than the others.
    daemon.signal(Signal::USR1);
    daemon.told("SIGUSR1: looking now, and trying again what waits");
    assert_eq!(api.world().update_count(), 2);
    std::fs::write(&marker, "").unwrap();
    assert!(checkout.wait().unwrap().success());
    eventually("the next commit is applied", || api.world().update_count() == 4);
    daemon.signal(Signal::TERM);
    daemon.ends_with(0);
    let history = Reader::open(&workspace.state()).unwrap().unwrap().history(None, 100).unwrap();
    let revisions: BTreeSet<&str> = history.iter().map(|entry| &*entry.revision).collect();
    assert_eq!(revisions.len(), 2, "each service was sent once a commit: {revisions:?}");
}

#[test]
fn with_uncommitted_ignore_only_commits_are_applied() {
    let (api, workspace) = checked_out();
    let mut daemon = Daemon::start(&workspace, &api, &["--uncommitted", "ignore"]);
    eventually("the first commit is applied", || api.world().update_count() == 2);
    workspace.service("a", "2");
    workspace.service("new", "1");
    daemon.signal(Signal::HUP);
    daemon.told("SIGHUP: reading the token again and looking at the folder");
    workspace.once(&Api::new(), &["--uncommitted", "ignore", "--state-dir", "other"]).exits(0);
    assert_eq!(api.world().update_count(), 2);
    commit(&workspace);
    eventually("the second commit is applied", || api.world().update_count() == 4);
}

#[test]
fn that_uncommitted_work_is_applied_is_told_once() {
    let (api, workspace) = checked_out();
    let daemon = Daemon::start(&workspace, &api, &[]);
    eventually("the first commit is applied", || api.world().update_count() == 2);
    for (calls, tag) in [(3, "2"), (4, "3")] {
        workspace.service("a", tag);
        eventually("the work is applied", || api.world().update_count() == calls);
    }
    daemon.signal(Signal::TERM);
    let told = daemon.ends_with(0);
    let told = told.iter().filter(|line| line.to_string().contains("changes that are not committed")).count();
    assert_eq!(told, 1);
}
