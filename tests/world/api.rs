//! The API: what runs, what it refuses, what it counts, and how the network before it fails.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use truenorth::engine::{Delivery, Ending};

use crate::clock::Moment;
use crate::content::{Name, Version};
use crate::disk::{CallId, Outcome};

/// A token, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token(pub(crate) u32);

/// One request on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) call: CallId,
    pub(crate) name: Name,
    pub(crate) version: Version,
    pub(crate) token: Token,
    pub(crate) sent: Moment,
    /// Which look at the folder it follows from.
    pub(crate) look: u64,
    pub(crate) way: Way,
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
    pub(crate) remaining: u32,
    pub(crate) resets_in: Duration,
}

/// What the client makes of an answer, or of its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Accepted,
    /// 4xx.
    Refused,
    /// 401, 403.
    Denied,
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
    /// What goes into the ledger and into the engine, as `daemon::call` has it.
    pub(crate) fn means(self) -> (Outcome, Ending) {
        let error = String::from("e");
        let transient = |delivery, wait| Ending::Transient { error: String::from("e"), delivery, wait };
        match self {
            Self::Accepted => (Outcome::Accepted, Ending::Accepted),
            Self::Refused => (Outcome::Refused, Ending::Rejected { error, delivery: Delivery::Excluded }),
            Self::Denied => (Outcome::Refused, Ending::Denied { error }),
            Self::Limited(wait) => (Outcome::Refused, Ending::Limited { error, wait }),
            Self::NoConnection | Self::TooEarly => (Outcome::Refused, transient(Delivery::Excluded, Duration::ZERO)),
            Self::Lost => (Outcome::Unknown, transient(Delivery::Unknown, Duration::ZERO)),
            Self::ServerError(wait) => (Outcome::Unknown, transient(Delivery::Unknown, wait)),
            Self::Redirected => (Outcome::Unknown, Ending::Rejected { error, delivery: Delivery::Unknown }),
        }
    }
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
        before: Option<Version>,
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

#[derive(Clone, Copy, Debug)]
struct Window {
    limit: u32,
    length: Duration,
    began: Option<Moment>,
    taken: u32,
}

#[derive(Debug)]
pub(crate) struct Api {
    live: Vec<Option<Version>>,
    pub(crate) missing: BTreeSet<Name>,
    pub(crate) forbidden: BTreeSet<Name>,
    refused: BTreeSet<(Name, Version)>,
    pub(crate) token: Token,
    pub(crate) weather: Weather,
    pub(crate) slow: bool,
    window: Window,
}

impl Api {
    pub(crate) fn new(services: usize, limit: u32, window: Duration, refusals: usize, chance: &mut Rng) -> Self {
        let refused = (0..refusals).map(|_| (Name(chance.usize(0..services)), Version::any(chance))).collect();
        Self {
            live: vec![None; services],
            missing: BTreeSet::new(),
            forbidden: BTreeSet::new(),
            refused,
            token: Token(0),
            weather: Weather::Calm,
            slow: false,
            window: Window { limit, length: window, began: None, taken: 0 },
        }
    }

    pub(crate) fn live(&self, name: Name) -> Option<Version> {
        self.live[name.0]
    }

    /// Whether this content will never be taken.
    pub(crate) fn refuses(&self, name: Name, version: Version) -> bool {
        self.refused.contains(&(name, version))
    }

    /// All faults end; what was refused for its content still is.
    pub(crate) fn calm_down(&mut self) {
        self.missing.clear();
        self.forbidden.clear();
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
        let quota = match self.window.take(now) {
            Ok(quota) => Some(quota),
            Err(quota) => return nothing(Answer::Limited(quota.resets_in), Some(quota)),
        };
        if trouble == Some(4) {
            return nothing(Answer::TooEarly, quota);
        }
        if self.forbidden.contains(&request.name) {
            return nothing(Answer::Denied, quota);
        }
        if self.missing.contains(&request.name) || self.refuses(request.name, request.version) {
            return nothing(Answer::Refused, quota);
        }
        let before = self.live[request.name.0].replace(request.version);
        let (answer, quota) = match trouble {
            Some(5) => (Answer::Lost, None),
            Some(6) => (server_error(chance), None),
            Some(7) => (Answer::Redirected, None),
            _ => (Answer::Accepted, quota),
        };
        Met { answer, quota, effect: Effect::Applied { before } }
    }
}

fn server_error(chance: &mut Rng) -> Answer {
    let wait = if chance.u8(0..4) == 0 { chance.u64(1..90) } else { 0 };
    Answer::ServerError(Duration::from_secs(wait))
}

impl Window {
    fn take(&mut self, now: Moment) -> Result<Quota, Quota> {
        if self.began.is_none_or(|began| now.since(began) >= self.length) {
            (self.began, self.taken) = (Some(now), 0);
        }
        let left = self.length.saturating_sub(now.since(self.began.unwrap_or(now)));
        // Whole seconds, as in the headers.
        let resets_in = Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0));
        if self.taken == self.limit {
            return Err(Quota { remaining: 0, resets_in });
        }
        self.taken += 1;
        Ok(Quota { remaining: self.limit - self.taken, resets_in })
    }
}
