//! Every event in every phase of the loop, while the ledger does not answer: what is done about it waits for nothing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use sd_notify::NotifyState;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::config::{Config, Reread};
use super::event::{Chore, Event};
use super::look::{Eyes, Look};
use super::looks::{Debounce, Trigger};
use super::state::{Daemon, Phase};
use super::systemd::Systemd;
use crate::engine::Pace;
use crate::ledger::{Intent, Ledger, Outcome};
use crate::model::{
    ApiPlace, Cause, DeploymentUpdate, Digest, External, ImagePath, Place, Revision, ServiceKey, ServiceState,
};
use crate::northflank::{Client, Settings, Token, TokenSource};
use crate::plan::Rules;
use crate::runner::{Api, Carrier, UpdateCall};
use crate::source::{Folder, Watch, Writing};
use crate::stop::{Request, Stopping};
use crate::web::{Meters, Query, Readiness};

/// What systemd was told, by the first word of it.
type Said = Arc<Mutex<Vec<&'static str>>>;

/// Where a daemon is when an event comes. A look runs in each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// The first look runs.
    Starting,
    Running,
    /// A reload was asked for while an older look runs.
    Asked,
    /// The look that answers a reload runs.
    Reloading,
    Stopping,
}

const STARTS: [Start; 5] = [Start::Starting, Start::Running, Start::Asked, Start::Reloading, Start::Stopping];

struct Case {
    daemon: Daemon,
    look: Option<Look>,
    said: Said,
    folder: TempDir,
    _state: TempDir,
}

fn key() -> ServiceKey {
    "shop/web".parse().unwrap()
}

/// A service was applied from `web.yaml`, which cannot be read any more.
async fn ledger(dir: &TempDir) -> Ledger {
    let now = Timestamp::now();
    let ledger = Ledger::open(dir.path(), ApiPlace::new("http://127.0.0.1:9"), now).unwrap();
    let external = External { credentials: None, image_path: ImagePath::new("nginx:1").unwrap() };
    let update = DeploymentUpdate::External { docker: None, external };
    let intent = Intent {
        key: key(),
        digest: Digest::of_update(&key(), &update),
        update: Arc::new(update),
        cause: Cause::New,
        revision: Revision::Tree(Digest::of_bytes(b"")),
        place: Place { file: "web.yaml".into(), line: 1 },
        attempt: 1,
        at: now,
        settles_at: now,
        kind: None,
    };
    let call = ledger.intend(intent).await.unwrap();
    ledger.record(call, Outcome::Accepted { status: 200 }, now).await.unwrap();
    ledger
}

impl Case {
    async fn new() -> Self {
        let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("web.yaml"), "kind: [").unwrap();
        let ledger = ledger(&state).await;
        let token = Token::new("nf-hunter2-hunter2").unwrap();
        let timeout = Duration::from_secs(1);
        let client = Client::new(Settings::new("http://127.0.0.1:9".parse().unwrap(), timeout), token.clone()).unwrap();
        let tokens = TokenSource::Environment(token);
        let update_call = UpdateCall::Post;
        let api = Api { client, tokens, update_call, request_timeout: timeout, asks_account: false };
        let (known, files) = (ledger.reader().known().unwrap(), ledger.reader().files().unwrap());
        let carrier = Carrier::new(Pace::default(), Rules::default(), known, ledger, api).unwrap();
        let said = Said::default();
        let say = Arc::clone(&said);
        let systemd = Systemd::telling(move |states| {
            let word = match states[0] {
                NotifyState::Ready => "ready",
                NotifyState::Reloading => "reloading",
                NotifyState::Stopping => "stopping",
                _ => return,
            };
            say.lock().unwrap().push(word);
        });
        let eyes = Eyes { folder: Folder::new(folder.path()), watch: Watch::start(folder.path(), |_| {}) };
        let paces = (Debounce::Adaptive, Duration::from_secs(60));
        let mut daemon = Daemon::new(carrier, eyes, paces, systemd, Meters::new(), Instant::now());
        daemon.recall(None, files);
        daemon.config = Some(Config(Arc::new(|| Ok(Reread::default()))));
        Self { daemon, look: None, said, folder, _state: state }
    }

    async fn at(start: Start) -> Self {
        let mut case = Self::new().await;
        case.turn();
        if start != Start::Starting {
            case.look_ends();
            case.daemon.looks.ask(Trigger::Asked);
            case.turn();
        }
        match start {
            Start::Starting | Start::Running => {}
            Start::Asked => drop(case.daemon.handle(Event::Asked(Request::Reload), Instant::now())),
            Start::Reloading => {
                case.look_ends();
                case.daemon.handle(Event::Asked(Request::Reload), Instant::now());
                case.turn();
            }
            Start::Stopping => drop(case.daemon.handle(Event::Stop(Stopping::Gracefully), Instant::now())),
        }
        assert!(case.look.is_some(), "{start:?}");
        case.said.lock().unwrap().clear();
        case
    }

    /// Whether a look begins.
    fn turn(&mut self) -> bool {
        match self.daemon.turn(Instant::now()) {
            Some(Chore::Look(look)) => {
                assert!(self.look.replace(*look).is_none(), "one look at a time");
                true
            }
            _ => false,
        }
    }

    fn look_ends(&mut self) {
        let looked = self.look.take().unwrap().run();
        self.daemon.handle(Event::Looked(Box::new(looked)), Instant::now());
    }

    fn phase(&self) -> &'static str {
        match self.daemon.phase {
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::Reloading { looks: false } => "asked",
            Phase::Reloading { looks: true } => "reloading",
            Phase::Stopping { .. } => "stopping",
        }
    }
}

/// An event of the table.
#[derive(Clone, Copy, Debug)]
enum Happens {
    TaskEnds,
    LookEnds,
    LookFails,
    ConfigIsRead,
    Hangup,
    User1,
    Bell,
    Question,
    Change,
    Term,
    TermTwice,
    Time,
}

/// What becomes of a daemon with it: in which phase it is, what systemd is told, and what begins.
type Row = (Happens, [(&'static str, &'static str, &'static str); 5]);

/// By where it was: starting, running, asked to reload, reloading, stopping.
const TABLE: [Row; 12] = {
    const NOTHING: [(&str, &str, &str); 5] =
        [("starting", "", ""), ("running", "", ""), ("asked", "", ""), ("reloading", "", ""), ("stopping", "", "")];
    const STOPS: (&str, &str, &str) = ("stopping", "stopping", "");
    const RELOADS: (&str, &str, &str) = ("asked", "reloading", "config");
    [
        (Happens::TaskEnds, NOTHING),
        (
            Happens::LookEnds,
            [
                ("running", "ready", ""),
                ("running", "", ""),
                // It began before the reload was asked for: the next one answers that.
                ("reloading", "", "look"),
                ("running", "ready", ""),
                ("stopping", "", ""),
            ],
        ),
        (
            Happens::LookFails,
            [
                ("starting", "", ""),
                ("running", "", ""),
                ("reloading", "", "look"),
                ("running", "ready", ""),
                ("stopping", "", ""),
            ],
        ),
        (Happens::ConfigIsRead, NOTHING),
        (Happens::Hangup, [("starting", "reloading", "config"), RELOADS, RELOADS, RELOADS, ("stopping", "", "")]),
        (Happens::User1, NOTHING),
        (Happens::Bell, NOTHING),
        (Happens::Question, NOTHING),
        (Happens::Change, NOTHING),
        (Happens::Term, [STOPS, STOPS, STOPS, STOPS, ("stopping", "", "")]),
        (Happens::TermTwice, [STOPS, STOPS, STOPS, STOPS, ("stopping", "", "")]),
        (Happens::Time, NOTHING),
    ]
};

#[tokio::test]
async fn every_event_is_handled_in_every_phase_while_the_ledger_does_not_answer() {
    for (happens, expected) in TABLE {
        for (start, expected) in STARTS.into_iter().zip(expected) {
            let mut case = Case::at(start).await;
            let now = Instant::now();
            case.daemon.carrier.read_people();
            let done = case.daemon.carrier.done().await.unwrap().unwrap();
            // From here on whoever reads the ledger on this thread never comes back.
            let ledger = case.daemon.carrier.ledger().clone();
            let hanging = ledger.reader().hang();
            let mut answers = Vec::new();
            let event = match happens {
                Happens::TaskEnds => Event::Done(Box::new(done)),
                Happens::LookEnds => Event::Looked(Box::new(case.look.take().unwrap().run())),
                Happens::LookFails => {
                    std::fs::remove_dir_all(case.folder.path()).unwrap();
                    Event::Looked(Box::new(case.look.take().unwrap().run()))
                }
                Happens::ConfigIsRead => Event::Reread(Ok(Reread::default())),
                Happens::Hangup => Event::Asked(Request::Reload),
                Happens::User1 => Event::Asked(Request::LookNow),
                Happens::Bell => Event::Rang,
                Happens::Question => {
                    let (health, healthy) = oneshot::channel();
                    let (status, shown) = oneshot::channel();
                    let (ready, readiness) = oneshot::channel();
                    case.daemon.handle(Event::Queried(Query::Status(status)), now);
                    case.daemon.handle(Event::Queried(Query::Ready(ready)), now);
                    answers.push((healthy, shown, readiness));
                    Event::Queried(Query::Health(health))
                }
                Happens::Change => Event::Noticed(Writing::Ended),
                Happens::Term => Event::Stop(Stopping::Gracefully),
                Happens::TermTwice => Event::Stop(Stopping::AtOnce),
                Happens::Time => Event::Woke,
            };
            let chore = case.daemon.handle(event, now);
            let began = match chore {
                Some(Chore::Reread(_)) => "config",
                Some(Chore::Look(_)) => panic!("a look begins with a turn"),
                None => "",
            };
            let began = if case.turn() { "look" } else { began };
            let said = case.said.lock().unwrap().join(" ");
            assert_eq!((case.phase(), &*said, began), expected, "{happens:?} while {start:?}");
            let over = start == Start::Stopping || matches!(happens, Happens::Term | Happens::TermTwice);
            assert_eq!(case.daemon.is_over(now), over, "{happens:?} while {start:?}: nothing is in flight");
            for (mut healthy, mut shown, mut readiness) in answers {
                assert_eq!(healthy.try_recv(), Ok(()), "{start:?}");
                let status = shown.try_recv().unwrap();
                let states: Vec<_> = status.services.iter().map(|service| service.state).collect();
                let expected = if start == Start::Starting { ServiceState::Orphaned } else { ServiceState::Invalid };
                assert_eq!(states, [expected], "{start:?}");
                let ready = matches!(readiness.try_recv().unwrap(), Readiness::Ready);
                assert_eq!(ready, !matches!(start, Start::Starting | Start::Stopping), "{start:?}");
            }
            drop(hanging);
        }
    }
}
