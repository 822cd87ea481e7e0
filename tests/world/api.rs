//! The API: what runs, what it refuses, what it counts, and how the network before it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use truenorth::engine::Work;
use truenorth::model::ServiceKind;
use truenorth::northflank::{Delivery, Disposition, Quota, Scope};
use truenorth::runner::{ExchangeId, Refusal, Reply};

use crate::clock::Moment;
use crate::content::{Content, Name, Parts, Shown, Version};
use crate::process::Life;

/// A token, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token(pub(crate) u32);

/// A request, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RequestId(pub(crate) u64);

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// To update, by POST.
    Post(Version, Parts),
    /// The same by PATCH, whose answer shows the service.
    Patch(Version, Parts),
    Read,
}

/// One request on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) id: RequestId,
    pub(crate) life: Life,
    pub(crate) exchange: ExchangeId,
    pub(crate) name: Name,
    pub(crate) work: Work,
    pub(crate) asks: Asks,
    pub(crate) token: Token,
    pub(crate) sent: Moment,
    /// Which look at the folder it follows from.
    pub(crate) look: u64,
    pub(crate) way: Way,
    /// Whether nobody waits for it any more: its client gave up, or its process is gone.
    pub(crate) over: bool,
    /// What was known of the service when it was sent.
    pub(crate) grounds: Grounds,
}

impl Request {
    /// The content that it carries.
    pub(crate) fn carries(&self) -> Option<Version> {
        match self.asks {
            Asks::Post(version, _) | Asks::Patch(version, _) => Some(version),
            Asks::Read => None,
        }
    }
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

/// What the client makes of an answer, or of its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The update was accepted; some answers show the service.
    Accepted(Option<Shown>),
    /// A read went well.
    Live(Shown),
    /// 422: the content is wrong.
    Refused,
    /// 404: there is no such service, or no such call.
    Missing,
    /// 401.
    Denied,
    /// 403.
    Forbidden,
    /// 429, and whether it spoke of the window.
    Limited(Duration, bool),
    /// Nothing was sent.
    NoConnection,
    /// The connection broke, or no answer came in time.
    Lost,
    /// 5xx, with a wait that it asks for.
    ServerError(Duration),
    /// A gateway's page in the API's place, under any status.
    Page(u16),
    /// 409, 425: an error of this call that passes, and a refusal.
    Conflict,
}

/// What the API's window is for a 429 that does not speak of it.
const BARE: Duration = Duration::from_secs(60);

impl Answer {
    /// As the client has it.
    pub(crate) fn reply(self, asks: Asks, kind: ServiceKind) -> Result<Reply, Refusal> {
        let live = |shown: Shown| Box::new(shown.live(kind));
        let (status, disposition, delivery, wait) = match self {
            Self::Accepted(shown) => {
                return Ok(Reply::Accepted { status: 200, bare: false, live: shown.map(live), server_at: None });
            }
            Self::Live(shown) => return Ok(Reply::Service(live(shown))),
            Self::Refused => (Some(422), Disposition::Rejected, Delivery::Refused, Duration::ZERO),
            Self::Missing => (Some(404), Disposition::Rejected, Delivery::Refused, Duration::ZERO),
            Self::Denied => (Some(401), Disposition::Denied, Delivery::Refused, Duration::ZERO),
            Self::Forbidden => (Some(403), Disposition::Forbidden, Delivery::Refused, Duration::ZERO),
            Self::Limited(wait, told) => {
                (Some(429), Disposition::Limited { wait, told }, Delivery::Refused, Duration::ZERO)
            }
            Self::NoConnection => (None, transient(Scope::Api), Delivery::Unsent, Duration::ZERO),
            Self::Lost => (None, transient(Scope::Api), Delivery::Unknown, Duration::ZERO),
            Self::ServerError(wait) => (Some(503), transient(Scope::Api), Delivery::Unknown, wait),
            Self::Page(status) => (Some(status), transient(Scope::Api), Delivery::Unknown, Duration::ZERO),
            Self::Conflict => (Some(409), transient(Scope::Service), Delivery::Refused, Duration::ZERO),
        };
        // A read has no effect, however it fails.
        let delivery = match (asks, delivery) {
            (Asks::Read, Delivery::Unknown) => Delivery::Refused,
            (_, delivery) => delivery,
        };
        let unserved = self == Self::Missing;
        Err(Refusal { disposition, delivery, status, error: format!("{self:?}").into(), wait, local: false, unserved })
    }
}

fn transient(scope: Scope) -> Disposition {
    Disposition::Transient { scope }
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

/// Whether updates may come by POST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posts {
    Served,
    Gone,
}

/// How bad the network and the servers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    Calm,
    /// Of ten requests, this many fail.
    Stormy(u8),
    /// All of them do, in one way.
    Outage(Outage),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    NoConnection,
    /// The API's own 503, which counts.
    Down,
    /// No answer.
    Silent,
    /// A gateway's page.
    Page,
}

impl Outage {
    pub(crate) fn any(chance: &mut Rng) -> Self {
        [Self::NoConnection, Self::Down, Self::Silent, Self::Page][chance.usize(0..4)]
    }
}

/// The window as the API counts it.
#[derive(Debug)]
struct Counted {
    limit: u32,
    length: Duration,
    began: Option<Moment>,
    taken: u32,
    /// By their number, the requests of this window of which no process has heard what is left.
    unheard: BTreeMap<u32, RequestId>,
    /// Whether more was used of this window than a process could know: an answer was lost, or others used it.
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
    /// Services that are answered with a 429 of their own.
    pub(crate) busy: BTreeSet<Name>,
    /// Services whose runtime part is accepted, and left as it was, where it comes with another part.
    pub(crate) lossy: BTreeSet<Name>,
    refused: BTreeSet<(Name, Version)>,
    pub(crate) posts: Posts,
    pub(crate) token: Token,
    pub(crate) weather: Weather,
    pub(crate) slow: bool,
    /// Whether requests may be carried out long after their client gave up.
    pub(crate) late: bool,
    /// Whether answers speak of the rate limit.
    pub(crate) headers: bool,
    /// Requests that came, and those of them that were told that there were too many.
    pub(crate) requests: u32,
    pub(crate) limited: u32,
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
            busy: BTreeSet::new(),
            lossy: BTreeSet::new(),
            refused,
            posts: Posts::Served,
            token: Token(0),
            weather: Weather::Calm,
            slow: false,
            late: false,
            headers: true,
            requests: 0,
            limited: 0,
            window: Counted { limit, length, began: None, taken: 0, unheard: BTreeMap::new(), surplus: false },
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

    pub(crate) fn touch_all(&mut self, now: Moment) {
        self.touched.fill(Some(now));
    }

    /// Which credentials it uses is taken to be somebody else's choice.
    pub(crate) fn leave_credentials(&mut self, name: Name) {
        self.live[name.0] = self.live[name.0].with_foreign_credentials();
    }

    /// Another daemon uses calls of the window.
    pub(crate) fn use_up(&mut self, calls: u32, now: Moment) {
        for _ in 0..calls {
            if self.window.take(RequestId(0), now).is_err() {
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
        self.busy.clear();
        self.weather = Weather::Calm;
        (self.slow, self.late, self.posts) = (false, false, Posts::Served);
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
        self.requests += 1;
        let mut met = self.meet(request, now, chance);
        self.limited += u32::from(matches!(met.answer, Answer::Limited(..)));
        // What nobody hears of, nobody knows.
        self.window.surplus |= request.over;
        met.quota = met.quota.filter(|_| self.headers);
        met
    }

    fn meet(&mut self, request: &Request, now: Moment, chance: &mut Rng) -> Met {
        let nothing = |answer, quota| Met { answer, quota, effect: Effect::None };
        // What the network and the proxies in front do.
        let trouble = match self.weather {
            Weather::Calm => None,
            // A request that is carried out behind a network that failed is met by the API itself.
            _ if request.over => None,
            Weather::Outage(Outage::NoConnection) => return nothing(Answer::NoConnection, None),
            Weather::Outage(Outage::Silent) => return nothing(Answer::Lost, None),
            Weather::Outage(Outage::Page) => return nothing(page(chance), None),
            Weather::Outage(Outage::Down) => {
                let quota = self.window.take(request.id, now);
                return match quota {
                    Ok(quota) => nothing(Answer::ServerError(Duration::ZERO), Some(quota)),
                    Err(quota) => nothing(Answer::Limited(quota.resets_in, true), Some(quota)),
                };
            }
            Weather::Stormy(of_ten) => (chance.u8(0..10) < of_ten).then(|| chance.u8(0..8)),
        };
        match trouble {
            Some(0) => return nothing(Answer::NoConnection, None),
            Some(1) => return nothing(Answer::Lost, None),
            Some(2) => return nothing(server_error(chance), None),
            Some(3) => return nothing(page(chance), None),
            _ => {}
        }
        if request.token != self.token {
            return nothing(Answer::Denied, None);
        }
        if self.busy.contains(&request.name) {
            return nothing(Answer::Limited(BARE, false), None);
        }
        let quota = match self.window.take(request.id, now) {
            Ok(quota) => Some(quota),
            Err(quota) => return nothing(Answer::Limited(quota.resets_in, true), Some(quota)),
        };
        if trouble == Some(4) {
            return nothing(Answer::Conflict, quota);
        }
        if self.forbidden.contains(&request.name) {
            return nothing(Answer::Forbidden, quota);
        }
        let gone = self.posts == Posts::Gone && matches!(request.asks, Asks::Post(..));
        if gone || self.missing.contains(&request.name) {
            return nothing(Answer::Missing, quota);
        }
        let (answer, effect) = match request.asks {
            Asks::Post(version, _) | Asks::Patch(version, _) if self.refuses(request.name, version) => {
                return nothing(Answer::Refused, quota);
            }
            Asks::Post(version, parts) | Asks::Patch(version, parts) => {
                let before = self.live(request.name);
                let loses = parts == Parts::All && self.lossy.contains(&request.name);
                let parts = if loses { Parts::WithoutRuntime } else { parts };
                self.live[request.name.0] = before.updated(version, parts);
                let shown = matches!(request.asks, Asks::Patch(..)).then(|| self.shown(request.name));
                (Answer::Accepted(shown), Effect::Applied { before })
            }
            Asks::Read => (Answer::Live(self.shown(request.name)), Effect::None),
        };
        let (answer, quota) = match trouble {
            Some(5) => (Answer::Lost, None),
            Some(6) => (server_error(chance), None),
            Some(7) => (page(chance), None),
            _ => (answer, quota),
        };
        Met { answer, quota, effect }
    }

    fn shown(&self, name: Name) -> Shown {
        if self.hidden.contains(&name) { Shown::Nothing } else { Shown::Content(self.live(name)) }
    }

    /// A process took in what an answer said of the window.
    pub(crate) fn heard(&mut self, quota: Quota) {
        let before = quota.limit - quota.remaining;
        self.window.unheard.retain(|number, _| *number > before);
    }

    /// A new process begins, which knows nothing of what it was not told.
    pub(crate) fn forgotten(&mut self) {
        self.window.unheard.clear();
        self.window.surplus = true;
    }

    /// A request is over, and no answer said what is left.
    pub(crate) fn lost(&mut self, request: RequestId) {
        self.window.surplus |= self.window.unheard.values().any(|unheard| *unheard == request);
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

fn page(chance: &mut Rng) -> Answer {
    Answer::Page([200, 302, 403, 404, 502][chance.usize(0..5)])
}

impl Counted {
    fn take(&mut self, request: RequestId, now: Moment) -> Result<Quota, Quota> {
        if self.began.is_none_or(|began| now.since(began) >= self.length) {
            (self.began, self.taken) = (Some(now), 0);
            self.unheard.clear();
            self.surplus = false;
        }
        let left = self.length.saturating_sub(now.since(self.began.unwrap_or(now)));
        // Whole seconds, as in the headers.
        let resets_in = Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0));
        let quota = |remaining| Quota { limit: self.limit, remaining, resets_in };
        if self.taken == self.limit {
            return Err(quota(0));
        }
        self.taken += 1;
        self.unheard.insert(self.taken, request);
        Ok(quota(self.limit - self.taken))
    }
}
