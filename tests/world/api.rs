//! The API: what runs, what it refuses, what it counts, and how the network before it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use truenorth::engine::{self, Delivery, Ending, Work};
use truenorth::plan::Reading;

use crate::clock::Moment;
use crate::content::{Content, Name, Shown, Version};
use crate::disk::{CallId, Outcome};

/// A token, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token(pub(crate) u32);

/// One request on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) call: CallId,
    pub(crate) name: Name,
    pub(crate) work: Work,
    pub(crate) version: Version,
    pub(crate) token: Token,
    pub(crate) sent: Moment,
    /// Which look at the folder it follows from.
    pub(crate) look: u64,
    pub(crate) way: Way,
    /// What was known of the service when it was sent.
    pub(crate) grounds: Grounds,
}

/// What an update is sent upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grounds {
    /// It was not to be told, or not to be asked, what runs.
    Nothing,
    /// What the API told at this time, and what was sent since.
    Told(Moment),
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    There,
    /// The API has had it.
    Back,
}

/// What the headers of an answer say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    pub(crate) resets_in: Duration,
    /// Which window it is of; no header says so.
    pub(crate) number: u64,
}

/// The rate limit's window as a process has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    pub(crate) resets_at: Moment,
    /// Which one it is; the process does not know.
    pub(crate) number: u64,
}

impl Window {
    pub(crate) fn said(&self) -> engine::Window {
        engine::Window { limit: self.limit, remaining: self.remaining, resets_at: self.resets_at.timestamp() }
    }
}

/// What the client makes of an answer, or of its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Accepted,
    /// A read went well.
    Live(Shown),
    /// 4xx.
    Refused,
    /// 401.
    Denied,
    /// 403.
    Forbidden,
    /// 429.
    Limited(Duration),
    /// Nothing was sent.
    NoConnection,
    /// The connection broke, or no answer came in time.
    Lost,
    /// 5xx, with a wait that it asks for.
    ServerError(Duration),
    /// 425: an error that passes, and a refusal.
    TooEarly,
    /// 3xx: proves nothing.
    Redirected,
}

impl Answer {
    /// What goes into the ledger and into the engine, as `daemon::send` has it.
    pub(crate) fn of_update(self) -> (Outcome, Ending) {
        let error = String::from("e");
        let transient = |delivery, wait| Ending::Transient { error: String::from("e"), delivery, wait };
        match self {
            Self::Accepted => (Outcome::Accepted, Ending::Accepted),
            Self::Refused => (Outcome::Refused, Ending::Rejected { error, delivery: Delivery::Excluded }),
            Self::Denied | Self::Forbidden => (Outcome::Refused, Ending::Denied { error }),
            Self::Limited(wait) => (Outcome::Refused, Ending::Limited { error, wait }),
            Self::NoConnection | Self::TooEarly => (Outcome::Refused, transient(Delivery::Excluded, Duration::ZERO)),
            Self::Lost => (Outcome::Unknown, transient(Delivery::Unknown, Duration::ZERO)),
            Self::ServerError(wait) => (Outcome::Unknown, transient(Delivery::Unknown, wait)),
            Self::Redirected => (Outcome::Unknown, Ending::Rejected { error, delivery: Delivery::Unknown }),
            Self::Live(_) => unreachable!("no answer to an update"),
        }
    }

    /// What it says of a read: what was shown, or how it failed, as `daemon::read` has it. A read changes nothing.
    pub(crate) fn of_read(self) -> Result<Shown, Ending> {
        if let Self::Live(shown) = self {
            return Ok(shown);
        }
        Err(match self.of_update().1 {
            Ending::Transient { error, wait, .. } => Ending::Transient { error, delivery: Delivery::Excluded, wait },
            Ending::Rejected { error, .. } => Ending::Rejected { error, delivery: Delivery::Excluded },
            ending => ending,
        })
    }
}

/// The end of a read that went well.
pub(crate) fn read(version: Version, shown: Shown) -> Ending {
    let reading: &Reading = &version.read(shown).0;
    Ending::Read(reading.clone())
}

/// What a request meets when it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Met {
    pub(crate) answer: Answer,
    pub(crate) quota: Option<Quota>,
    pub(crate) effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    None,
    /// The service has the content of the request now; before it had this.
    Applied {
        before: Content,
    },
}

/// How bad the network and the servers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    Calm,
    /// Of ten requests, this many fail.
    Stormy(u8),
    /// No connection.
    Outage,
}

/// The window as the API counts it.
#[derive(Debug)]
struct Counted {
    limit: u32,
    length: Duration,
    number: u64,
    began: Option<Moment>,
    taken: u32,
    /// By their number, the calls of this window of which no process has heard what is left.
    unheard: BTreeMap<u32, CallId>,
    /// Whether more was used of this window than a process could know: an answer was lost, or a call took two requests.
    surplus: bool,
}

#[derive(Debug)]
pub(crate) struct Api {
    live: Vec<Content>,
    /// When somebody changed it by hand last.
    touched: Vec<Option<Moment>>,
    pub(crate) missing: BTreeSet<Name>,
    pub(crate) forbidden: BTreeSet<Name>,
    /// Services of which nothing is shown.
    pub(crate) hidden: BTreeSet<Name>,
    refused: BTreeSet<(Name, Version)>,
    pub(crate) token: Token,
    pub(crate) weather: Weather,
    pub(crate) slow: bool,
    window: Counted,
}

impl Api {
    pub(crate) fn new(services: usize, limit: u32, length: Duration, refusals: usize, chance: &mut Rng) -> Self {
        let refused = (0..refusals).map(|_| (Name(chance.usize(0..services)), Version::any(chance))).collect();
        Self {
            live: (0..services).map(|_| Content::any(chance)).collect(),
            touched: vec![None; services],
            missing: BTreeSet::new(),
            forbidden: BTreeSet::new(),
            hidden: BTreeSet::new(),
            refused,
            token: Token(0),
            weather: Weather::Calm,
            slow: false,
            window: Counted {
                limit,
                length,
                number: 0,
                began: None,
                taken: 0,
                unheard: BTreeMap::new(),
                surplus: false,
            },
        }
    }

    pub(crate) fn live(&self, name: Name) -> Content {
        self.live[name.0]
    }

    /// When somebody changed it by hand last.
    pub(crate) fn touched(&self, name: Name) -> Option<Moment> {
        self.touched[name.0]
    }

    /// Somebody changes a service by hand.
    pub(crate) fn edit(&mut self, name: Name, content: Content, now: Moment) {
        self.live[name.0] = content;
        self.touched[name.0] = Some(now);
    }

    /// Another daemon uses calls of the window.
    pub(crate) fn use_up(&mut self, calls: u32, now: Moment) {
        for _ in 0..calls {
            if self.window.take(CallId(0), now).is_err() {
                break;
            }
        }
    }

    /// Whether this content will never be taken.
    pub(crate) fn refuses(&self, name: Name, version: Version) -> bool {
        self.refused.contains(&(name, version))
    }

    /// All faults end; what was refused for its content still is.
    pub(crate) fn calm_down(&mut self) {
        self.missing.clear();
        self.forbidden.clear();
        self.hidden.clear();
        self.weather = Weather::Calm;
        self.slow = false;
    }

    /// How long a request or an answer is on its way.
    pub(crate) fn latency(&self, chance: &mut Rng) -> Duration {
        let most = match (self.slow, chance.u8(0..20)) {
            (true, 0..10) => 40_000,
            (_, 0) => 3_000,
            _ => 120,
        };
        Duration::from_micros(chance.u64(500..most * 1000))
    }

    /// A request arrives.
    pub(crate) fn arrive(&mut self, request: &Request, now: Moment, chance: &mut Rng) -> Met {
        let nothing = |answer, quota| Met { answer, quota, effect: Effect::None };
        let trouble = match self.weather {
            Weather::Calm => None,
            Weather::Outage => return nothing(Answer::NoConnection, None),
            Weather::Stormy(of_ten) => (chance.u8(0..10) < of_ten).then(|| chance.u8(0..8)),
        };
        // What the network and the proxies in front do.
        match trouble {
            Some(0) => return nothing(Answer::NoConnection, None),
            Some(1) => return nothing(Answer::Lost, None),
            Some(2) => return nothing(server_error(chance), None),
            Some(3) => return nothing(Answer::Redirected, None),
            _ => {}
        }
        if request.token != self.token {
            return nothing(Answer::Denied, None);
        }
        let quota = match self.window.take(request.call, now) {
            Ok(quota) => Some(quota),
            Err(quota) => return nothing(Answer::Limited(quota.resets_in), Some(quota)),
        };
        if trouble == Some(4) {
            return nothing(Answer::TooEarly, quota);
        }
        if self.forbidden.contains(&request.name) {
            return nothing(Answer::Forbidden, quota);
        }
        if self.missing.contains(&request.name) {
            // After 404 for an update the client asks whether the service is there at all.
            let asked = matches!(request.work, Work::Send(_)).then(|| {
                self.window.surplus = true;
                self.window.take(request.call, now)
            });
            let quota = asked.map_or(quota, |asked| Some(asked.unwrap_or_else(|used_up| used_up)));
            return nothing(Answer::Refused, quota);
        }
        let (answer, effect) = match request.work {
            Work::Send(_) if self.refuses(request.name, request.version) => return nothing(Answer::Refused, quota),
            Work::Send(_) => {
                let before = std::mem::replace(&mut self.live[request.name.0], Content::Version(request.version));
                (Answer::Accepted, Effect::Applied { before })
            }
            Work::Decide(_) | Work::Watch if self.hidden.contains(&request.name) => {
                (Answer::Live(Shown::Nothing), Effect::None)
            }
            Work::Decide(_) | Work::Watch => (Answer::Live(Shown::Content(self.live(request.name))), Effect::None),
        };
        let (answer, quota) = match trouble {
            Some(5) => (Answer::Lost, None),
            Some(6) => (server_error(chance), None),
            Some(7) => (Answer::Redirected, None),
            _ => (answer, quota),
        };
        Met { answer, quota, effect }
    }

    /// A process took in what an answer said of the window.
    pub(crate) fn heard(&mut self, quota: Quota) {
        if quota.number == self.window.number {
            let before = quota.limit - quota.remaining;
            self.window.unheard.retain(|number, _| *number > before);
        }
    }

    /// A new process begins, with what was kept of the window.
    pub(crate) fn kept(&mut self, kept: Option<Window>) {
        let kept = kept.filter(|kept| kept.number == self.window.number);
        let heard = kept.map_or(0, |kept| kept.limit - kept.remaining);
        self.window.unheard.clear();
        self.window.surplus |= heard < self.window.taken;
    }

    /// A call ended, and no answer said what is left.
    pub(crate) fn lost(&mut self, call: CallId) {
        self.window.surplus |= self.window.unheard.values().any(|unheard| *unheard == call);
    }

    /// Whether more was used of the window than a process could know.
    pub(crate) fn has_surplus(&self) -> bool {
        self.window.surplus
    }
}

fn server_error(chance: &mut Rng) -> Answer {
    let wait = if chance.u8(0..4) == 0 { chance.u64(1..90) } else { 0 };
    Answer::ServerError(Duration::from_secs(wait))
}

impl Counted {
    fn take(&mut self, call: CallId, now: Moment) -> Result<Quota, Quota> {
        if self.began.is_none_or(|began| now.since(began) >= self.length) {
            (self.began, self.taken) = (Some(now), 0);
            self.number += 1;
            self.unheard.clear();
            self.surplus = false;
        }
        let left = self.length.saturating_sub(now.since(self.began.unwrap_or(now)));
        // Whole seconds, as in the headers.
        let resets_in = Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0));
        let quota = |remaining| Quota { limit: self.limit, remaining, resets_in, number: self.number };
        if self.taken == self.limit {
            return Err(quota(0));
        }
        self.taken += 1;
        self.unheard.insert(self.taken, call);
        Ok(quota(self.limit - self.taken))
    }
}
