//! The daemon while its state folder takes nothing: no call is made that cannot be recorded, it says what it waits for,
//! and goes on by itself once there is room.
//!
//! A full disk is a small tmpfs in namespaces of the daemon's own; where the machine allows none, those tests say so and
//! hold nothing. What needs no namespace, a limit on the size of files (as `LimitFSIZE=` or a quota), is tested anyway.

#![allow(clippy::print_stdout, reason = "a test that cannot be held here has to say so")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use truenorth::ledger::Reader;
use truenorth::sandbox::{Call, Fault, Operation, Options};

use crate::support::{Api, Daemon, Ran, Workspace, eventually, holds_within, tag, tag_of, tags};

/// Where the commands of namespaces and mounts are.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The command, as what a shell becomes after it has done something in namespaces of its own, where it may mount.
fn after(script: &str, command: &Command) -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "sh", "-ec", &format!("{script}\nexec \"$@\""), "sh"]);
    turned_into(unshare, command)
}

/// The command, as what a shell becomes that ignores the signal of a file that grows past its limit. The write fails
/// then, as it would for a quota.
fn without_file_size_signal(command: &Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-ec", "trap '' XFSZ\nexec \"$@\"", "sh"]);
    turned_into(shell, command)
}

fn turned_into(mut shell: Command, command: &Command) -> Command {
    shell.arg(command.get_program()).args(command.get_args()).current_dir(command.get_current_dir().unwrap());
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("PATH", PATH);
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

/// Whether small file systems can be mounted here. Says so where not.
fn can_mount() -> bool {
    let workspace = Workspace::new();
    let mount = format!("mount -t tmpfs -o size=64k tmpfs {}", workspace.path().display());
    let mut probe = after(&mount, &workspace.command(&["--version"]));
    let possible = probe.output().is_ok_and(|output| output.status.success());
    if !possible {
        println!("no file system can be mounted here: a full disk is not tested");
    }
    possible
}

/// A daemon whose state folder can be made to take nothing.
struct Room {
    api: Api,
    workspace: Workspace,
    daemon: Daemon,
    way: Way,
}

/// How the disk fails.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// A tmpfs is full.
    Full,
    /// A file may not grow.
    Limit,
}

impl Room {
    fn start(way: Way, more: &[&str]) -> Self {
        let api = Api::with(Options { limit: u32::MAX, log: 100_000, rollout: Duration::ZERO, ..Options::default() });
        let workspace = Workspace::new();
        for service in SERVICES {
            workspace.service(service, "1");
        }
        let state = workspace.state();
        fs::create_dir(&state).unwrap();
        let command = Daemon::command(&workspace, &api, more);
        let mut command = match way {
            Way::Full => after(&format!("mount -t tmpfs -o size=1m,mode=700 tmpfs {}", state.display()), &command),
            Way::Limit => without_file_size_signal(&command),
        };
        let daemon = Daemon::of(&mut command);
        Self { api, workspace, daemon, way }
    }

    /// The state folder, as the daemon sees it.
    fn state(&self) -> PathBuf {
        let state = self.workspace.state();
        match self.way {
            Way::Full => Path::new(&format!("/proc/{}/root", self.daemon.pid())).join(state.strip_prefix("/").unwrap()),
            Way::Limit => state,
        }
    }

    /// From now on nothing can be written.
    fn fill(&self) {
        match self.way {
            Way::Full => {
                let mut filler = fs::File::create(self.state().join("filler")).unwrap();
                while filler.write_all(&[1; 512]).is_ok() {}
            }
            Way::Limit => self.limit_files(Some(0)),
        }
    }

    /// From now on everything can be written.
    fn make_room(&self) {
        match self.way {
            Way::Full => fs::remove_file(self.state().join("filler")).unwrap(),
            Way::Limit => self.limit_files(None),
        }
    }

    fn limit_files(&self, bytes: Option<u64>) {
        let pid = Pid::from_raw(self.daemon.pid().try_into().unwrap());
        prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    }

    /// The updates that were asked for, taken or not.
    fn update_calls(&self) -> Vec<Call> {
        let calls = self.api.world().calls().into_iter();
        calls.filter(|call| call.operation == Some(Operation::UpdateServiceDeployment)).collect()
    }

    /// Each of them has an intent of its own in the ledger.
    #[track_caller]
    fn every_call_has_its_intent(&self) {
        let copy = tempfile::tempdir().unwrap();
        for file in ["ledger.sqlite", "ledger.sqlite-wal"] {
            fs::copy(self.state().join(file), copy.path().join(file)).unwrap();
        }
        let mut intents: BTreeMap<(String, String), i64> = BTreeMap::new();
        for entry in Reader::open(copy.path()).unwrap().unwrap().history(None, u32::MAX).unwrap() {
            *intents.entry((entry.key.to_string(), tag_of(&entry))).or_default() += 1;
        }
        for call in self.update_calls() {
            let what = (call.target.as_ref().unwrap().to_string(), tag(call.body.as_ref().unwrap()).to_owned());
            let left = intents.entry(what.clone()).or_default();
            *left -= 1;
            assert!(*left >= 0, "{what:?} was sent, and the ledger knows nothing of it");
        }
    }

    fn is_applied(&self, tag: &str) -> bool {
        SERVICES.iter().all(|service| tags(&self.api, service).last().is_some_and(|last| last == tag))
    }
}

const SERVICES: [&str; 4] = ["a", "b", "c", "d"];

#[track_caller]
fn nothing_is_sent_that_cannot_be_recorded(way: Way) {
    let mut room = Room::start(way, &[]);
    eventually("the first contents are applied", || room.is_applied("1") && room.daemon.status()["converged"] == true);
    room.fill();
    // Whatever a full disk still takes (the place of the log can be used again), at some time it takes no more.
    let mut newest = 1;
    eventually("all calls wait", || {
        newest += 1;
        SERVICES.iter().for_each(|service| room.workspace.service(service, &newest.to_string()));
        holds_within(Duration::from_millis(200), || {
            let ((code, why), status) = (room.daemon.page("/readyz"), room.daemon.status());
            code == 503 && why.contains("cannot write the ledger") && status["paused"]["by"] == "ledger"
        })
    });
    // Of an intent, or of the outcome of a call that could still be begun.
    room.daemon.told("record");
    assert_eq!(room.daemon.page("/healthz").0, 200);
    eventually("calls that were begun end", || room.api.world().in_flight() == 0);
    room.every_call_has_its_intent();
    if matches!(way, Way::Limit) {
        let (failures, calls) = (write_failures(&room.daemon), room.update_calls().len());
        eventually("it was tried again", || write_failures(&room.daemon) > failures);
        assert_eq!(room.update_calls().len(), calls, "nothing can be recorded, and nothing is sent");
    }

    room.make_room();
    if matches!(way, Way::Limit) {
        room.daemon.told("calls are made again");
    }
    let newest = newest.to_string();
    eventually("all is applied", || room.is_applied(&newest) && room.daemon.status()["converged"] == true);
    assert_eq!(room.daemon.page("/readyz").0, 200);
    room.every_call_has_its_intent();
    for service in SERVICES {
        let tags: Vec<u32> = tags(&room.api, service).iter().map(|tag| tag.parse().unwrap()).collect();
        assert!(tags.is_sorted_by(|before, after| before < after), "{service}: {tags:?}");
    }
    room.daemon.signal(Signal::TERM);
    room.daemon.ends_with(0);
}

fn write_failures(daemon: &Daemon) -> u64 {
    let (_, metrics) = daemon.page("/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix("truenorth_ledger_write_failures_total "));
    line.unwrap().parse().unwrap()
}

#[test]
fn while_files_may_not_grow_nothing_is_sent_that_cannot_be_recorded() {
    nothing_is_sent_that_cannot_be_recorded(Way::Limit);
}

#[test]
fn on_a_full_disk_nothing_is_sent_that_cannot_be_recorded() {
    if can_mount() {
        nothing_is_sent_that_cannot_be_recorded(Way::Full);
    }
}

#[test]
fn a_call_whose_outcome_cannot_be_recorded_holds_its_service_until_it_is() {
    let mut room = Room::start(Way::Limit, &[]);
    eventually("the first contents are applied", || room.is_applied("1") && room.daemon.status()["converged"] == true);
    room.api.world().script(Fault::delay(Duration::from_millis(300)).after_carrying_out().of("shop/a"));
    room.workspace.service("a", "2");
    eventually("a call is under way", || room.api.world().in_flight() == 1);
    room.fill();
    room.daemon.told("cannot record how a call ended yet");
    let (code, why) = room.daemon.page("/readyz");
    assert!(code == 503 && why.contains("cannot write the ledger"), "{code} {why}");
    assert_eq!(room.daemon.status()["paused"]["by"], "ledger");
    // Nothing newer is sent before it is known on disk what was sent.
    room.workspace.service("a", "3");
    room.daemon.told("the folder was read");
    room.daemon.told("cannot record how a call ended yet");
    assert_eq!((tags(&room.api, "a").len(), room.daemon.state("a").as_str()), (2, "in-flight"));
    room.make_room();
    eventually("the newest content is applied", || room.daemon.status()["converged"] == true);
    assert_eq!(tags(&room.api, "a"), ["1", "2", "3"]);
    assert_eq!(room.daemon.page("/readyz").0, 200);
    room.every_call_has_its_intent();
    room.daemon.signal(Signal::TERM);
    room.daemon.ends_with(0);
}

#[test]
fn a_log_that_cannot_grow_is_used_again_from_its_start() {
    let room = Room::start(Way::Limit, &[]);
    let log = room.state().join("ledger.sqlite-wal");
    let mut newest = 1;
    let mut change = || {
        newest += 1;
        SERVICES.iter().for_each(|service| room.workspace.service(service, &newest.to_string()));
        eventually("it is applied", || room.is_applied(&newest.to_string()));
    };
    // Longer than the file gets: the file itself may go on growing.
    while fs::metadata(&log).map_or(0, |log| log.len()) < 200 << 10 {
        change();
    }
    eventually("all is recorded", || room.daemon.status()["converged"] == true);
    let length = fs::metadata(&log).unwrap().len();
    room.limit_files(Some(length));
    (0..10).for_each(|_| change());
    assert_eq!(fs::metadata(&log).unwrap().len(), length);
    assert_eq!(write_failures(&room.daemon), 0);
    eventually("all is recorded", || room.daemon.status()["converged"] == true);
    room.every_call_has_its_intent();
    room.daemon.signal(Signal::TERM);
    room.daemon.ends_with(0);
}

#[test]
fn a_state_folder_that_takes_nothing_from_the_start_is_told_before_anything_is_sent() {
    if !can_mount() {
        return;
    }
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    workspace.service("web", "2");
    let state = workspace.state().display().to_string();
    let aside = workspace.path().join("aside").display().to_string();
    let read_only = format!("mount --bind {state} {state} && mount -o remount,ro,bind {state}");
    let read_only_and_empty = format!("mount -t tmpfs -o ro,mode=700 tmpfs {state}");
    let full = format!(
        "cp -r {state} {aside} && mount -t tmpfs -o size=512k,mode=700 tmpfs {state} && cp {aside}/* {state} && \
         dd if=/dev/zero of={state}/filler 2>/dev/null || true"
    );
    let full_and_empty = format!("mount -t tmpfs -o size=4k,mode=700 tmpfs {state} && echo > {state}/filler");
    let (writable, room) = ("must be writable", "the disk is full");
    // A full disk passes by itself: the daemon is to be started again, as systemd does after 1 and not after 78.
    for (script, hint, code) in
        [(read_only, writable, 78), (read_only_and_empty, writable, 78), (full, room, 1), (full_and_empty, room, 1)]
    {
        let daemon = Daemon::command(&workspace, &api, &[]);
        let ran = Ran::of(&mut after(&script, &daemon)).exits(code);
        assert!(ran.stderr.contains(&state) && ran.stderr.contains(hint), "{ran:#?}");
        assert_eq!(tags(&api, "web"), ["1"]);
    }
    workspace.once(&api, &[]).exits(0);
    assert_eq!(tags(&api, "web"), ["1", "2"]);
}

#[test]
fn a_small_volume_holds_a_ledger_for_good() {
    if !can_mount() {
        return;
    }
    // Many times what fits on it goes through the ledger's log.
    let room = Room::start(Way::Full, &[]);
    for round in 1..=60 {
        SERVICES.iter().for_each(|service| room.workspace.service(service, &round.to_string()));
        eventually("it is applied", || room.is_applied(&round.to_string()));
    }
    eventually("all is recorded", || room.daemon.status()["converged"] == true);
    assert_eq!(write_failures(&room.daemon), 0);
    let files = ["ledger.sqlite", "ledger.sqlite-wal"].map(|file| fs::metadata(room.state().join(file)).unwrap().len());
    assert!(files.iter().sum::<u64>() < 1 << 20, "{files:?}");
    room.daemon.signal(Signal::TERM);
    room.daemon.ends_with(0);
}
