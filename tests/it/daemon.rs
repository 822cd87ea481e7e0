//! The daemon: notices changes, retries, survives, says what it does, ends when it is told to.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use truenorth::sandbox::{Fault, Wait};

use crate::support::{Api, Workspace, eventually};

/// A running daemon; killed when dropped.
struct Daemon {
    child: Child,
    address: SocketAddr,
    lines: Receiver<String>,
    log: Vec<String>,
}

impl Daemon {
    fn start(workspace: &Workspace, api: &Api, more: &[&str]) -> Self {
        let api_url = api.url();
        let fixed = ["--api-url", &api_url, "--listen", "127.0.0.1:0", "--debounce", "20ms", "--log-format", "json"];
        let mut child = workspace.command(&[&fixed, more].concat()).stdout(Stdio::null()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut daemon = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), lines, log: Vec::new() };
        daemon.address = daemon.told("status server listens")["address"].as_str().unwrap().parse().unwrap();
        daemon
    }

    /// Waits for a line of the log with this message.
    #[track_caller]
    fn told(&mut self, message: &str) -> Value {
        loop {
            let Ok(line) = self.lines.recv_timeout(Duration::from_secs(30)) else {
                panic!("`{message}` was not logged; the log: {:#?}", self.log);
            };
            let parsed: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            self.log.push(line);
            if parsed["message"].as_str().is_some_and(|text| text.contains(message)) {
                return parsed;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    #[track_caller]
    fn ends_with(mut self, code: i32) {
        let mut status = None;
        eventually("the daemon ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.and_then(|status| status.code()), Some(code), "{:#?}", self.log);
    }

    /// Status and body of a page of its status server.
    fn page(&self, path: &str) -> (u16, String) {
        use std::io::Write as _;
        let mut stream = std::net::TcpStream::connect(self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
            body.split("\r\n").skip(1).step_by(2).collect()
        } else {
            body.to_owned()
        };
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.page("/status").1).unwrap()
    }

    /// The state of `shop/<service>`.
    fn state(&self, service: &str) -> String {
        let status = self.status();
        let services = status["services"].as_array().unwrap();
        let found = services.iter().find(|one| one["service"] == format!("shop/{service}"));
        found.map(|one| one["state"].as_str().unwrap().to_owned()).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The images that were sent for `shop/<service>`, in order.
fn tags(api: &Api, service: &str) -> Vec<String> {
    let updates = api.world().updates(format!("shop/{service}"));
    let tag = |update: &Value| update["external"]["imagePath"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    updates.iter().map(tag).collect()
}

#[test]
fn changes_are_noticed_and_each_is_one_call() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    let mut daemon = Daemon::start(&workspace, &api, &[]);
    daemon.told("update accepted");
    assert_eq!(daemon.page("/readyz").0, 200);
    workspace.service("web", "2");
    daemon.told("update accepted");
    workspace.service("new/deep/er", "1");
    eventually("a new nested folder is seen", || {
        tags(&api, "new/deep/er").is_empty() && daemon.page("/healthz").0 == 200
    });
    daemon.signal(Signal::TERM);
    daemon.told("stopped");
    assert_eq!(tags(&api, "web"), ["1", "2"]);
    daemon.ends_with(0);
    // What was applied is known to the next one.
    let mut again = Daemon::start(&workspace, &api, &[]);
    again.told("the folder was read");
    eventually("it has converged", || again.state("web") == "unchanged");
    assert_eq!(tags(&api, "web"), ["1", "2"]);
}

#[test]
fn a_missing_folder_is_waited_for_and_not_ready() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    std::fs::remove_dir(workspace.manifests()).unwrap();
    let mut daemon = Daemon::start(&workspace, &api, &[]);
    daemon.told("the folder cannot be read");
    let (code, why) = daemon.page("/readyz");
    assert!(code == 503 && why.contains("manifests"), "{code} {why}");
    assert_eq!(daemon.page("/healthz").0, 200);
    workspace.service("web", "1");
    daemon.told("update accepted");
    assert_eq!(daemon.page("/readyz").0, 200);
}

#[test]
fn a_fix_overtakes_the_failure_that_it_fixes() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    api.world().script(Fault::error(400, "bad", "no such image", None).times(1));
    workspace.service("web", "1");
    let mut daemon = Daemon::start(&workspace, &api, &[]);
    daemon.told("update refused");
    eventually("it is stalled", || daemon.state("web") == "stalled");
    workspace.service("web", "2");
    daemon.told("update accepted");
    assert_eq!(tags(&api, "web"), ["2"]);
    eventually("it is unchanged", || daemon.state("web") == "unchanged");
}

#[test]
fn usr1_looks_now_and_tries_again_what_is_stalled() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    api.world().script(Fault::error(400, "invalid", "no such image", None).times(1));
    workspace.service("web", "1");
    let mut daemon = Daemon::start(&workspace, &api, &[]);
    daemon.told("update refused");
    eventually("it is stalled", || daemon.state("web") == "stalled");
    daemon.signal(Signal::USR1);
    daemon.told("update accepted");
    let (_, metrics) = daemon.page("/metrics");
    assert!(metrics.contains("truenorth_passes_total{trigger=\"usr1\"} 1"), "{metrics}");
}

#[test]
fn hup_reads_the_token_again() {
    let options = truenorth::sandbox::Options {
        token: truenorth::sandbox::TokenRule::Exactly("good-token".into()),
        ..truenorth::sandbox::Options::default()
    };
    let (api, workspace) = (Api::with(options), Workspace::sending());
    let file = workspace.path().join("token");
    std::fs::write(&file, "bad-token\n").unwrap();
    workspace.service("web", "1");
    let mut daemon = Daemon::start(&workspace, &api, &["--token-file", file.to_str().unwrap()]);
    daemon.told("the API refuses the token");
    let (code, why) = daemon.page("/readyz");
    assert!(code == 503 && why.contains("token"), "{code} {why}");
    std::fs::write(&file, "good-token\n").unwrap();
    daemon.signal(Signal::HUP);
    daemon.told("update accepted");
    assert_eq!(daemon.page("/readyz").0, 200);
}

#[test]
fn a_rate_limit_pauses_and_is_remembered_over_a_restart() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    api.world().script(Fault::rate_limited(Wait::Reset(600)).times(1));
    workspace.service("web", "1");
    let mut daemon = Daemon::start(&workspace, &api, &[]);
    daemon.told("rate limit");
    assert_eq!(daemon.status()["paused"]["by"], "rate-limit");
    // A second signal of the same kind would end it at once; one is enough, as nothing is in flight.
    daemon.signal(Signal::INT);
    daemon.ends_with(0);
    let mut again = Daemon::start(&workspace, &api, &[]);
    again.told("the folder was read");
    assert_eq!(again.status()["paused"]["by"], "rate-limit");
    assert_eq!((again.state("web").as_str(), tags(&api, "web").len()), ("queued", 0));
}

#[test]
fn a_bad_or_absent_manifest_keeps_what_was_applied() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    workspace.service("gone", "1");
    let mut daemon = Daemon::start(&workspace, &api, &[]);
    daemon.told("update accepted");
    daemon.told("update accepted");
    workspace.write("web.yaml", "apiVersion: truenorth/v1\nkind: [");
    daemon.told("the folder was read");
    assert_eq!((daemon.state("web").as_str(), daemon.status()["problems"].as_array().unwrap().len()), ("", 1));
    std::fs::remove_file(workspace.manifests().join("gone.yaml")).unwrap();
    eventually("it is orphaned", || daemon.state("gone") == "orphaned");
    workspace.service("web", "1");
    workspace.service("gone", "1");
    eventually("both are unchanged", || daemon.state("web") == "unchanged" && daemon.state("gone") == "unchanged");
    assert_eq!((tags(&api, "web").len(), tags(&api, "gone").len()), (1, 1));
}

#[test]
fn a_call_in_flight_is_finished_and_recorded_at_the_end() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    api.world().script(Fault::delay(Duration::from_millis(700)).times(1));
    workspace.service("web", "1");
    let daemon = Daemon::start(&workspace, &api, &[]);
    eventually("the call is in flight", || api.world().in_flight() == 1);
    daemon.signal(Signal::TERM);
    daemon.ends_with(0);
    assert_eq!(tags(&api, "web"), ["1"]);
    let outcomes = workspace.once(&api, &[]).exits(0).outcomes();
    assert_eq!(outcomes, [("shop/web".to_owned(), "unchanged".to_owned())]);
}

#[test]
fn a_busy_port_and_a_ledger_in_use_are_told_with_78() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    let daemon = Daemon::start(&workspace, &api, &[]);
    let second = workspace.run(&["--api-url", &api.url(), "--listen", "off"]).exits(78);
    assert!(second.stderr.contains(&daemon.child.id().to_string()), "{second:#?}");
    let other = Workspace::sending();
    let third = other.run(&["--api-url", &api.url(), "--listen", &daemon.address.to_string()]).exits(78);
    assert!(third.stderr.contains(&daemon.address.to_string()), "{third:#?}");
}

#[test]
fn status_beside_a_daemon_names_it() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    let mut daemon = Daemon::start(&workspace, &api, &[]);
    daemon.told("update accepted");
    eventually("it is recorded", || daemon.state("web") == "unchanged");
    let status = workspace.run(&["status"]).exits(0);
    assert!(status.stdout.contains(&format!("process {}", daemon.child.id())), "{status:#?}");
    let status = workspace.run(&["status", "--output", "json"]).exits(0).json();
    assert_eq!(status["services"][0]["state"], "unchanged");
}

/// Services of the checkout that is pulled; each manifest carries the number of its commit.
const PULLED: usize = 200;
const PULLS: usize = 6;

#[test]
fn a_pull_is_seen_as_one_commit_or_not_at_all() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    let upstream = workspace.path().join("upstream");
    let git = |folder: &std::path::Path, arguments: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"])
            .args(arguments);
        let output = git.current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:#?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let mut commits = std::collections::HashMap::new();
    let mut commit = |number: usize| {
        for service in 0..PULLED {
            let manifest = crate::support::manifest(&format!("s{service}"), &number.to_string());
            std::fs::write(upstream.join(format!("s{service}.yaml")), manifest).unwrap();
        }
        git(&upstream, &["add", "--all"]);
        git(&upstream, &["commit", "--quiet", "--message", "next"]);
        commits.insert(git(&upstream, &["rev-parse", "HEAD"]), number);
    };
    std::fs::create_dir(&upstream).unwrap();
    git(&upstream, &["init", "--quiet"]);
    commit(0);
    git(workspace.path(), &["clone", "--quiet", "upstream", "manifests"]);
    api.world().set_limit(u32::MAX);
    let daemon = Daemon::start(&workspace, &api, &["--concurrency", "32"]);
    for number in 1..=PULLS {
        commit(number);
        git(&workspace.manifests(), &["pull", "--quiet", "--ff-only"]);
        // Sometimes the calls are under way when the next commit comes, sometimes they are done.
        if number % 2 == 0 {
            eventually("the commit is applied", || tags(&api, "s0").last() == Some(&number.to_string()));
        }
    }
    let last = PULLS.to_string();
    let all_have_the_last = || (0..PULLED).all(|service| tags(&api, &format!("s{service}")).last() == Some(&last));
    eventually("the last commit is applied", all_have_the_last);
    daemon.signal(Signal::TERM);
    daemon.ends_with(0);

    let ledger = truenorth::ledger::Reader::open(&workspace.state()).unwrap().unwrap();
    let history = ledger.history(None, u32::MAX).unwrap();
    assert!(history.len() >= PULLED * 2, "{}", history.len());
    for entry in history {
        let sent = entry.spec.rsplit(':').next().unwrap().trim_end_matches(['"', '}']).parse::<usize>().unwrap();
        let revision = entry.revision.strip_prefix("git:").unwrap();
        match revision.strip_suffix("+dirty") {
            None => assert_eq!(commits[revision], sent, "{} was sent what its commit does not have", entry.key),
            // Git moves the branch a moment after it let go of its lock: all of the new commit is there by then.
            Some(before) => assert_eq!(commits[before] + 1, sent, "{} was sent half a pull", entry.key),
        }
    }
}
