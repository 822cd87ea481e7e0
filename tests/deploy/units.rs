//! The systemd units: what systemd's own tools say of them, where they are there, and what must hold anyway.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use jiff::SignedDuration;
use tempfile::TempDir;
use truenorth::northflank::TokenSource;

use crate::support::text;

pub(crate) const SERVICE: &str = "truenorth.service";
pub(crate) const ONCE: &str = "truenorth-once.service";
const TIMER: &str = "truenorth-once.timer";
const PULL: &str = "truenorth-pull.service";
const PULL_TIMER: &str = "truenorth-pull.timer";
/// All of them.
pub(crate) const NAMES: [&str; 5] = [SERVICE, ONCE, TIMER, PULL, PULL_TIMER];
const BINARY: &str = "/usr/local/bin/truenorth";

/// The most that `systemd-analyze security` may find, out of 10.
const MAX_EXPOSURE: f64 = 1.5;
/// What a daemon that was asked to end gives to calls in flight.
const GRACE: Duration = Duration::from_secs(20);
/// The first systemd with `Type=notify-reload`, and the first whose `security` reads files.
const NOTIFY_RELOAD: u32 = 253;
const OFFLINE: u32 = 250;

/// What the two services cannot have in common: when each starts and ends. All else is the sandbox, and is the same.
const OWN: [&str; 8] = [
    "Type",
    "ExecStart",
    "WatchdogSec",
    "Restart",
    "RestartSec",
    "RestartPreventExitStatus",
    "TimeoutStartSec",
    "TimeoutStopSec",
];

/// A unit file: section, key and value of each line, in order.
pub(crate) struct Unit {
    lines: Vec<(String, String, String)>,
}

impl Unit {
    #[track_caller]
    pub(crate) fn read(name: &str) -> Self {
        let (mut lines, mut section) = (Vec::new(), String::new());
        for line in text(&format!("systemd/{name}")).lines() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                Some(name) => section = name.to_owned(),
                None => {
                    let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{name}: {line}"));
                    assert!(!value.ends_with('\\'), "{name}: this test reads no continued lines: {line}");
                    lines.push((section.clone(), key.to_owned(), value.to_owned()));
                }
            }
        }
        Self { lines }
    }

    pub(crate) fn all(&self, section: &str, key: &str) -> Vec<&str> {
        let wanted = self.lines.iter().filter(|line| line.0 == section && line.1 == key);
        wanted.map(|line| &*line.2).collect()
    }

    #[track_caller]
    pub(crate) fn one(&self, section: &str, key: &str) -> String {
        let all = self.all(section, key);
        assert_eq!(all.len(), 1, "{section}, {key}: {all:?}");
        all[0].to_owned()
    }

    #[track_caller]
    fn time(&self, section: &str, key: &str) -> Duration {
        time(&self.one(section, key))
    }
}

/// A time in a notation that systemd and truenorth share.
#[track_caller]
fn time(text: &str) -> Duration {
    let read: SignedDuration = text.replace("min", "m").parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    read.try_into().unwrap()
}

/// The version of systemd here, if there is one.
fn systemd() -> Option<u32> {
    let output = Command::new("systemd-analyze").arg("--version").output().ok()?;
    String::from_utf8(output.stdout).unwrap().split_whitespace().nth(1)?.parse().ok()
}

fn analyze(folder: &Path, arguments: &[&str]) -> Output {
    Command::new("systemd-analyze").args(arguments).current_dir(folder).env("SYSTEMD_COLORS", "0").output().unwrap()
}

/// The units in a folder of their own, with the binary of this build, and for a systemd without `notify-reload` without
/// the line that it would skip with a warning.
fn installed(systemd: u32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in NAMES {
        let mut unit = text(&format!("systemd/{name}")).replace(BINARY, env!("CARGO_BIN_EXE_truenorth"));
        if systemd < NOTIFY_RELOAD {
            unit = unit.replace("Type=notify-reload\n", "");
        }
        std::fs::write(folder.path().join(name), unit).unwrap();
    }
    folder
}

#[test]
fn systemd_finds_nothing_wrong() {
    let Some(version) = systemd() else { return println!("skipped: no systemd-analyze here") };
    let folder = installed(version);
    let output = analyze(folder.path(), &["verify", "--man=no", SERVICE, ONCE, TIMER, PULL, PULL_TIMER]);
    let said = String::from_utf8(output.stderr).unwrap();
    // It looks at the units that ours name as well, whose faults are the machine's.
    let of_ours: Vec<&str> = said.lines().filter(|line| line.contains("truenorth")).collect();
    assert!(of_ours.is_empty() && output.status.success(), "{said}");
}

#[test]
fn systemd_finds_a_fault_where_there_is_one() {
    let Some(version) = systemd() else { return println!("skipped: no systemd-analyze here") };
    let folder = installed(version);
    let unit = std::fs::read_to_string(folder.path().join(SERVICE)).unwrap();
    std::fs::write(folder.path().join(SERVICE), unit.replace("ProtectHome=yes", "ProtectHme=yes")).unwrap();
    let output = analyze(folder.path(), &["verify", "--man=no", SERVICE]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("ProtectHme"));
}

#[test]
fn little_is_exposed() {
    let version = systemd().unwrap_or(0);
    if version < OFFLINE {
        return println!("skipped: no systemd-analyze here that reads files");
    }
    let folder = installed(version);
    for name in [SERVICE, ONCE, PULL] {
        let output = analyze(folder.path(), &["security", "--offline=true", "--no-pager", name]);
        let said = String::from_utf8(output.stdout).unwrap();
        let level = said.lines().find_map(|line| line.split_once("Overall exposure level for ")?.1.split_once(": "));
        let level: f64 = level.unwrap_or_else(|| panic!("{said}")).1.split(' ').next().unwrap().parse().unwrap();
        assert!(level <= MAX_EXPOSURE, "{name}: {level}\n{said}");
        println!("{name}: {level}");
    }
}

#[test]
fn both_services_have_one_sandbox_and_one_state_folder() {
    let shared = |name| {
        let lines = Unit::read(name).lines.into_iter();
        lines.filter(|line| line.0 == "Service" && !OWN.contains(&&*line.1)).collect::<Vec<_>>()
    };
    let sandbox = shared(SERVICE);
    assert!(sandbox.len() > 30, "{sandbox:?}");
    assert_eq!(sandbox, shared(ONCE));
}

#[test]
fn the_token_is_a_credential_and_the_state_folder_is_closed() {
    let service = Unit::read(SERVICE);
    let credential = service.one("Service", "LoadCredential");
    assert_eq!(credential, format!("{}:/etc/truenorth/token", TokenSource::CREDENTIAL));
    for (key, value) in [
        ("DynamicUser", "yes"),
        ("StateDirectory", "truenorth"),
        ("StateDirectoryMode", "0700"),
        ("LimitCORE", "0"),
        ("Environment", "TRUENORTH_MANIFESTS=/srv/manifests"),
    ] {
        assert_eq!(service.one("Service", key), value, "{key}");
    }
    // The later one goes before the earlier one.
    let files = ["-/etc/default/truenorth", "-/etc/truenorth/truenorth.env"];
    assert_eq!(service.all("Service", "EnvironmentFile"), files);
}

/// Whoever pulls owns the checkout and has no token; whoever has the token can only read the checkout.
#[test]
fn the_checkout_is_pulled_by_a_user_that_is_not_truenorth() {
    let (pull, timer, service) = (Unit::read(PULL), Unit::read(PULL_TIMER), Unit::read(SERVICE));
    assert_eq!(pull.one("Service", "User"), "truenorth-pull");
    assert_ne!(pull.one("Service", "User"), service.one("Service", "User"));
    assert!(pull.all("Service", "LoadCredential").is_empty() && pull.all("Service", "EnvironmentFile").is_empty());
    let checkout = pull.one("Service", "WorkingDirectory");
    assert_eq!(pull.one("Service", "ReadWritePaths"), checkout);
    assert!(service.all("Service", "ReadWritePaths").is_empty());
    assert!(text("systemd/README.md").contains(&format!("git clone https://github.com/acme/platform {checkout}\n")));
    assert_eq!(pull.one("Service", "ExecStart"), "/usr/bin/git pull --ff-only --quiet");
    // Nobody answers a question, and what is pulled can be read by another user.
    assert!(pull.one("Service", "Environment").contains("GIT_TERMINAL_PROMPT=0"));
    assert_eq!(pull.one("Service", "UMask"), "0022");
    assert!(timer.time("Timer", "OnUnitInactiveSec") >= Duration::from_secs(10));
    assert_eq!(timer.one("Install", "WantedBy"), "timers.target");
    // The sandbox is that of truenorth, apart from what git needs.
    for key in ["ProtectSystem", "ProtectHome", "NoNewPrivileges", "PrivateUsers", "CapabilityBoundingSet"] {
        assert_eq!(pull.all("Service", key), service.all("Service", key), "{key}");
    }
}

#[test]
fn the_daemon_is_watched_restarted_and_given_time_to_end() {
    let service = Unit::read(SERVICE);
    // The last one counts; an older systemd does not know it and keeps the first.
    assert_eq!(service.all("Service", "Type"), ["notify", "notify-reload"]);
    assert_eq!(service.one("Service", "Restart"), "on-failure");
    assert_eq!(service.one("Service", "RestartPreventExitStatus"), "64 78");
    assert!(service.time("Service", "WatchdogSec") >= Duration::from_secs(30));
    assert!(service.time("Service", "TimeoutStopSec") > GRACE);
    assert!(service.one("Service", "ExecStart").starts_with(&format!("{BINARY} --log-format journald")));
    assert_eq!(service.one("Install", "WantedBy"), "multi-user.target");
}

#[test]
fn the_timer_spreads_and_makes_up_for_passes_that_have_time_to_end() {
    let (once, timer) = (Unit::read(ONCE), Unit::read(TIMER));
    assert_eq!(once.one("Service", "Type"), "oneshot");
    let start = once.one("Service", "ExecStart");
    assert!(start.starts_with(&format!("{BINARY} --reconcile-once ")), "{start}");
    // The defaults of --deadline and --rollout-timeout, as the unit does not set them.
    assert!(once.time("Service", "TimeoutStartSec") > time("5m") + time("15m") + GRACE);
    assert!(!start.contains("--deadline") && !start.contains("--rollout-timeout"), "{start}");
    assert!(once.time("Service", "TimeoutStopSec") > GRACE);
    assert!(timer.time("Timer", "RandomizedDelaySec") > Duration::ZERO);
    assert_eq!(timer.one("Timer", "Persistent"), "yes");
    assert_eq!(timer.one("Install", "WantedBy"), "timers.target");
    // Without Unit= it starts the service of its own name; systemd warns of Persistent= without OnCalendar= in vain.
    assert_eq!(timer.all("Timer", "Unit"), [""; 0]);
    assert_eq!(timer.all("Timer", "OnCalendar").len(), 1);
}
