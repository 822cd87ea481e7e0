//! One call, from the moment that it is due to what is recorded of it: which requests it makes, what is on disk before
//! and after them, and how it ends.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::machine::TokenNumber;
use super::reply::{Heard, Refusal, Reply};
use crate::engine::{self, Call, Ending, Work};
use crate::ledger::{Adoption, CallId, Intent, Outcome, Sighting};
use crate::model::{Cause, DeploymentUpdate, Diagnostic, Live, Revision, RolloutStage, ServiceKey, ServiceKind};
use crate::northflank::{Delivery, Deprecation, Disposition};
use crate::plan::{self, Comparison, Reading, Seen};
use crate::text::short;

const NO_SUCH_SERVICE: &str =
    "the service must exist: create it in Northflank, or correct projectId, serviceId and teamId in the manifest";

const MAY_NOT_READ: &str =
    "give the token's role the permission to read services (Project > Services > General > Read), or pass --no-adopt";

/// What the ledger knows of a service that its exchange has to know.
#[derive(Clone, Debug, Default)]
pub struct Recalled {
    /// Its type, if it was read.
    pub kind: Option<ServiceKind>,
    /// The bodies that it may have instead of what is desired: what was applied last, and what may still arrive. Nothing
    /// where none was ever applied.
    pub others: Vec<Option<Value>>,
}

/// One request.
#[derive(Clone, Debug)]
pub enum Request {
    /// The update, as POST.
    Post {
        /// The body.
        update: Arc<DeploymentUpdate>,
    },
    /// The update, as PATCH.
    Patch {
        /// The body.
        update: Arc<DeploymentUpdate>,
        /// The service's type, which names the path.
        kind: ServiceKind,
        /// How many containers it has now, so that scaling by hand survives.
        instances: Option<u32>,
    },
    /// What the service runs.
    ReadService,
    /// Which build it runs, by the deprecated call.
    ReadBuildId,
    /// Whose the token is.
    Account,
}

impl Request {
    /// Whether it may change the service.
    #[must_use]
    pub fn is_update(&self) -> bool {
        matches!(self, Self::Post { .. } | Self::Patch { .. })
    }
}

/// One write to the ledger.
#[derive(Clone, Debug)]
pub enum Write {
    /// What is about to be sent. No request is made before it is on disk.
    Intend(Intent),
    /// How the call ended, when, and when by the server's clock where its answer said so. It is offered until the ledger
    /// takes it.
    Record(CallId, Outcome, Timestamp, Option<Timestamp>),
    /// Live has it already. It is offered until the ledger takes it.
    Adopt(Adoption),
    /// What live shows. It is offered once: nothing depends on it but the next process.
    Saw(ServiceKey, Sighting),
    /// Why an update was not sent. It is offered once.
    PutOff(Intent, Outcome),
}

impl Write {
    /// Whether it is offered again until the ledger takes it: until then the service counts as in flight.
    #[must_use]
    pub fn insists(&self) -> bool {
        matches!(self, Self::Record(..) | Self::Adopt(_))
    }
}

/// The requests of one call, and what their answers said beside the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// How many there were; none where the call was never begun.
    pub requests: u32,
    /// How long they took together.
    pub elapsed: Duration,
    /// What an answer said of the end of the call.
    pub deprecation: Option<Deprecation>,
}

impl Spent {
    /// Counts a request by its answer.
    pub fn on(&mut self, heard: &Heard, local: bool) {
        // What is refused here never became a request.
        self.requests += u32::from(!local);
        self.elapsed += heard.elapsed;
        self.deprecation = heard.deprecation.or(self.deprecation);
    }
}

/// What an exchange wants next.
#[derive(Debug)]
pub(super) enum Next {
    /// To know what the ledger knows.
    Recall,
    /// Something on disk.
    Write(Write),
    /// A place on the wire for a request.
    Place(Request),
    /// Nothing: this is how it ended.
    End(End),
}

/// How an exchange ended.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) ending: Ending,
    /// Whether it was refused with 403.
    pub(super) forbidden: bool,
    /// What it showed of the update calls.
    pub(super) showed: Showed,
    /// What a person should know before an update is sent.
    pub(super) warnings: Vec<String>,
}

impl End {
    fn of(ending: Ending) -> Self {
        Self { ending, forbidden: false, showed: Showed::Nothing, warnings: Vec::new() }
    }
}

/// What the end of an exchange shows of the calls that carry updates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Showed {
    Nothing,
    PostAccepted,
    /// The API refused POST, though the service is there.
    PostUnserved(String),
    PatchForbidden,
}

#[derive(Debug)]
enum Stage {
    /// Asks whose the token is, before anything else.
    Introducing,
    Recalling,
    /// The intent is on its way to the disk; then this request goes out.
    Intending(Request),
    /// On its way, or waiting for its place.
    Asking(Asking),
    /// What was found is on its way to the disk.
    Recording(Then),
    Over,
}

/// What follows once something is recorded.
#[derive(Debug)]
enum Then {
    End(End),
    /// The service is not of the type that the ledger has: it is read, and the update sent anew.
    ReadType,
}

/// What a request is made for.
#[derive(Debug)]
enum Asking {
    /// To send the update.
    Update(Request),
    /// To know how many containers there are before a PATCH.
    Before,
    /// To know whether the service is there for which POST was refused.
    WhetherThere(Refusal),
    /// To compare it.
    ToCompare,
    /// To know its build as well.
    Build(Box<Live>, Comparison),
}

#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) call: Call,
    revision: Revision,
    /// The token of the newest request.
    pub(super) token: TokenNumber,
    /// The newest snapshot when it began: a newer one may want something else.
    pub(super) look: u64,
    /// Whether somebody asked for it past whatever pauses the calls.
    pub(super) asked: bool,
    /// Whether the update goes out as PATCH.
    patches: bool,
    /// Whether a refusal of POST may mean that it is no longer served.
    may_turn: bool,
    /// How long after its intent a request can still take effect.
    settle: Duration,
    recalled: Recalled,
    /// What was read before the update, by this exchange or by one that went back.
    read: Option<Read>,
    intent: Option<CallId>,
    /// When it began: what it reads may be as old as that.
    began: Timestamp,
    /// When its intent was written down.
    intended: Option<Timestamp>,
    /// When that was on disk.
    recorded: Option<Timestamp>,
    /// When the write began that it waits for, or the one before.
    pub(super) writes_since: Timestamp,
    stage: Stage,
    pub(super) spent: Spent,
}

/// What an exchange needs to know when it begins.
#[derive(Clone, Debug)]
pub(super) struct Beginning {
    pub(super) revision: Revision,
    pub(super) token: TokenNumber,
    pub(super) look: u64,
    pub(super) patches: bool,
    pub(super) may_turn: bool,
    pub(super) settle: Duration,
    /// Whether somebody asked for it past whatever pauses the calls.
    pub(super) asked: bool,
    /// What an earlier exchange of the service read and did not use.
    pub(super) read: Option<Read>,
}

/// What a PATCH has to know of its service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    kind: ServiceKind,
    instances: Option<u32>,
    at: Timestamp,
}

impl Read {
    /// How long the number of containers is taken for the present one: somebody may scale the service.
    const FRESH: Duration = Duration::from_secs(60);

    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        Duration::try_from(now.duration_since(self.at)).is_ok_and(|age| age < Self::FRESH)
    }
}

impl Exchange {
    pub(super) fn new(call: Call, beginning: Beginning) -> Self {
        let Beginning { revision, token, look, patches, may_turn, settle, asked, read } = beginning;
        Self {
            call,
            revision,
            token,
            look,
            asked,
            patches,
            may_turn,
            settle,
            recalled: Recalled::default(),
            read,
            intent: None,
            began: Timestamp::MIN,
            intended: None,
            recorded: None,
            writes_since: Timestamp::MIN,
            stage: Stage::Recalling,
            spent: Spent::default(),
        }
    }

    /// How many requests it has still to make, or to hear of.
    pub(super) fn owes(&self) -> usize {
        match &self.stage {
            Stage::Recalling if self.patches && matches!(self.call.work, Work::Send(_)) => 2,
            Stage::Introducing | Stage::Asking(Asking::Before) => 2,
            Stage::Recalling | Stage::Intending(_) | Stage::Asking(_) => 1,
            Stage::Recording(_) | Stage::Over => 0,
        }
    }

    /// What it read and did not use.
    pub(super) fn take_read(&mut self) -> Option<Read> {
        self.read.take()
    }

    /// Since when its intent is on disk, while its request has not gone out.
    pub(super) fn intended(&self) -> Option<Timestamp> {
        self.intended
    }

    /// Something has to be known before it may begin.
    pub(super) fn introduce(&mut self, question: Request) -> Next {
        self.stage = Stage::Introducing;
        Next::Place(question)
    }

    /// What has to be known could not be learnt: the call failed before it began.
    pub(super) fn not_introduced(&mut self, refusal: &Refusal, heard: &Heard) -> Next {
        self.spent.on(heard, refusal.local);
        let end = End::of(refusal.ending(engine::Delivery::Excluded, None));
        self.put_off_as(end, refusal.status, "", heard.at)
    }

    pub(super) fn begin(&mut self, now: Timestamp) -> Next {
        self.began = now;
        match self.call.work {
            Work::Send(_) if !self.patches => self.intend(Request::Post { update: self.body() }, now),
            Work::Watch => self.ask(Asking::ToCompare),
            Work::Send(_) | Work::Decide(_) => Next::Recall,
        }
    }

    pub(super) fn recalled(&mut self, recalled: Recalled, now: Timestamp) -> Next {
        self.recalled = recalled;
        match (self.call.work, self.recalled.kind) {
            (Work::Send(_), Some(ServiceKind::Combined)) => {
                let request = self.patch(ServiceKind::Combined, None);
                self.intend(request, now)
            }
            (Work::Send(_), _) => match self.read {
                Some(Read { kind, instances, .. }) => {
                    let request = self.patch(kind, instances);
                    self.intend(request, now)
                }
                None => self.ask(Asking::Before),
            },
            (Work::Decide(_) | Work::Watch, _) => self.ask(Asking::ToCompare),
        }
    }

    /// A write is on disk, or the ledger did not take it.
    pub(super) fn written(&mut self, written: Result<Option<CallId>, String>, now: Timestamp) -> Next {
        match (std::mem::replace(&mut self.stage, Stage::Over), written) {
            (Stage::Intending(request), Ok(id)) => {
                (self.intent, self.recorded) = (id, Some(now));
                self.ask(Asking::Update(request))
            }
            (Stage::Intending(_), Err(error)) => Next::End(End::of(Ending::Unrecorded { error: error.into() })),
            (Stage::Recording(Then::End(end)), _) => Next::End(end),
            (Stage::Recording(Then::ReadType), _) => {
                (self.intent, self.intended, self.recalled.kind, self.read) = (None, None, None, None);
                self.ask(Asking::Before)
            }
            (stage @ (Stage::Introducing | Stage::Recalling | Stage::Asking(_) | Stage::Over), _) => {
                self.stage = stage;
                Next::End(withdrawn())
            }
        }
    }

    /// No request may be made for now, or none any more: the intent is taken back. Where its record alone took longer
    /// than it may wait, the next one would fare no better: then all calls wait for the disk.
    pub(super) fn withdraw(&mut self, patience: Duration, now: Timestamp) -> Next {
        match self.intent {
            Some(id) => {
                let times = self.intended.zip(self.recorded);
                let took = times.and_then(|(from, to)| Duration::try_from(to.duration_since(from)).ok());
                let (error, end) = match took.filter(|took| *took > patience) {
                    Some(took) => {
                        let error = format!(
                            "the disk took {} to record an update that was about to be sent",
                            short::wait(took)
                        );
                        (format!("put back: {error}"), End::of(Ending::Unrecorded { error: error.into() }))
                    }
                    None => ("put back: something newer, or no call could be made".to_owned(), withdrawn()),
                };
                self.record(Write::Record(id, Outcome::Unsent { error: error.into() }, now, None), end)
            }
            None => Next::End(withdrawn()),
        }
    }

    /// A request was answered, or was given up.
    pub(super) fn replied(&mut self, reply: Result<Reply, Refusal>, heard: &Heard) -> Next {
        self.spent.on(heard, reply.as_ref().is_err_and(|refusal| refusal.local));
        let Stage::Asking(asking) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return Next::End(withdrawn());
        };
        let now = heard.at;
        match (asking, reply) {
            (Asking::Update(request), reply) => self.updated(&request, reply, now),
            (Asking::Before, Ok(Reply::Service(live))) => {
                self.read = Some(Read { kind: live.kind, instances: live.instances, at: now });
                let request = self.patch(live.kind, live.instances);
                self.intend(request, now)
            }
            (Asking::Before, Err(refusal)) => self.put_off(&refusal, now),
            (Asking::WhetherThere(refused), there) => {
                let mut end = self.refused(&refused, None);
                if there.is_ok() {
                    end.showed = Showed::PostUnserved(refused.error.message.clone());
                }
                match self.intent {
                    Some(id) => self.record(Write::Record(id, outcome(&refused), now, None), end),
                    None => Next::End(end),
                }
            }
            (Asking::ToCompare, Ok(Reply::Service(live))) => {
                let comparison = plan::compare(&self.call.update, &live);
                if comparison.wants_build_id() {
                    self.ask(Asking::Build(live, comparison))
                } else {
                    self.compared(&live, &comparison, now)
                }
            }
            (Asking::Build(live, _), Ok(Reply::BuildId(id))) => {
                let live = live.with_build_id(id);
                let comparison = plan::compare(&self.call.update, &live);
                self.compared(&live, &comparison, now)
            }
            // The deprecated call may be gone, or closed to this token: then the build cannot be told.
            (Asking::Build(live, comparison), Err(refusal)) if is_final(&refusal) => {
                self.compared(&live, &comparison, now)
            }
            (Asking::ToCompare | Asking::Build(..), Err(refusal)) => self.put_off(&refusal, now),
            // An answer to another question than the one that was asked is never given.
            (Asking::Before | Asking::ToCompare | Asking::Build(..), Ok(_)) => Next::End(withdrawn()),
        }
    }

    fn ask(&mut self, asking: Asking) -> Next {
        let request = match &asking {
            Asking::Update(request) => request.clone(),
            Asking::Before | Asking::WhetherThere(_) | Asking::ToCompare => Request::ReadService,
            Asking::Build(..) => Request::ReadBuildId,
        };
        self.stage = Stage::Asking(asking);
        Next::Place(request)
    }

    fn record(&mut self, write: Write, end: End) -> Next {
        self.stage = Stage::Recording(Then::End(end));
        Next::Write(write)
    }

    /// The update as it is sent: of what is not in effect, the part that is missing alone.
    fn body(&self) -> Arc<DeploymentUpdate> {
        let part = (self.call.work == Work::Send(Cause::NotInEffect)).then(|| self.call.update.runtime()).flatten();
        part.map_or_else(|| Arc::clone(&self.call.update), Arc::new)
    }

    fn patch(&self, kind: ServiceKind, instances: Option<u32>) -> Request {
        Request::Patch { update: self.body(), kind, instances }
    }

    fn intend(&mut self, request: Request, now: Timestamp) -> Next {
        let Some(intent) = self.intent(now) else { return Next::End(withdrawn()) };
        self.stage = Stage::Intending(request);
        self.intended = Some(now);
        Next::Write(Write::Intend(intent))
    }

    /// What is about to be sent, or was to be.
    fn intent(&self, now: Timestamp) -> Option<Intent> {
        let (Work::Send(cause) | Work::Decide(cause)) = self.call.work else { return None };
        Some(Intent {
            key: self.call.key.clone(),
            update: Arc::clone(&self.call.update),
            digest: self.call.digest,
            cause,
            revision: self.revision.clone(),
            place: self.call.place.clone(),
            attempt: self.call.attempt,
            at: now,
            settles_at: self.settles_at(now),
            kind: self.read.map(|read| read.kind),
        })
    }

    /// When a request that leaves with an intent of now can no longer take effect.
    fn settles_at(&self, now: Timestamp) -> Timestamp {
        now.checked_add(self.settle).unwrap_or(Timestamp::MAX)
    }

    /// The update was answered.
    fn updated(&mut self, request: &Request, reply: Result<Reply, Refusal>, now: Timestamp) -> Next {
        let Some(id) = self.intent else { return Next::End(withdrawn()) };
        let posted = matches!(request, Request::Post { .. });
        let mut at = None;
        let (outcome, end) = match reply {
            Ok(Reply::Accepted { status, bare, live, server_at }) => {
                at = server_at;
                let rollout = live.as_ref().and_then(|live| live.rollout);
                let shown = live.map(|live| Reading::of(&plan::compare(&self.call.update, &live)));
                let showed = if posted { Showed::PostAccepted } else { Showed::Nothing };
                let end = End { showed, ..End::of(Ending::Accepted { shown, bare, at, status: rollout }) };
                (Outcome::Accepted { status }, end)
            }
            // A service that is there shows that it is the call which is gone.
            Err(refusal) if posted && self.may_turn && refusal.unserved => {
                return self.ask(Asking::WhetherThere(refusal));
            }
            // The type that the ledger has may be that of a service that was there before.
            Err(refusal) if !posted && self.recalled.kind.is_some() && (refusal.unserved || refusal.local) => {
                self.stage = Stage::Recording(Then::ReadType);
                return Next::Write(Write::Record(id, outcome(&refusal), now, None));
            }
            Err(refusal) => (outcome(&refusal), self.refused(&refusal, Some(request))),
            Ok(Reply::Service(_) | Reply::BuildId(_) | Reply::Account(_) | Reply::Looked(_)) => {
                return Next::End(withdrawn());
            }
        };
        self.record(Write::Record(id, outcome, now, at), end)
    }

    /// How the refusal of an update ends the exchange.
    fn refused(&self, refusal: &Refusal, request: Option<&Request>) -> End {
        let delivery = match (refusal.delivery, self.intended) {
            (Delivery::Unknown, Some(intended)) => engine::Delivery::Unknown { until: self.settles_at(intended) },
            _ => engine::Delivery::Excluded,
        };
        let forbidden = refusal.disposition == Disposition::Forbidden;
        let patched = matches!(request, Some(Request::Patch { .. }));
        let showed = if forbidden && patched { Showed::PatchForbidden } else { Showed::Nothing };
        End { forbidden, showed, ..End::of(refusal.ending(delivery, None)) }
    }

    /// Live could not be read: what depends on it is put off, and a read for drift has its turn again.
    fn put_off(&mut self, refusal: &Refusal, now: Timestamp) -> Next {
        // A read changes nothing, however it fails.
        let ending = refusal.ending(engine::Delivery::Excluded, hint(refusal));
        let forbidden = refusal.disposition == Disposition::Forbidden;
        self.put_off_as(End { forbidden, ..End::of(ending) }, refusal.status, Outcome::UNREAD, now)
    }

    fn put_off_as(&mut self, end: End, status: Option<u16>, what: &str, now: Timestamp) -> Next {
        // The rate limit is not the matter of one service.
        let Some(failure) = failure(&end.ending).cloned() else { return Next::End(end) };
        let Some(intent) = self.intent(now) else {
            let sighting = Sighting { at: now, kind: None, seen: None, unnamed: None, failure: Some(failure) };
            return self.record(Write::Saw(self.call.key.clone(), sighting), end);
        };
        let error = failure.after(what);
        let outcome = match (&end.ending, status) {
            (Ending::Rejected { .. } | Ending::Denied { .. }, Some(status)) => Outcome::Rejected { status, error },
            _ => Outcome::Unsent { error },
        };
        self.record(Write::PutOff(intent, outcome), end)
    }

    /// Live was read and compared.
    fn compared(&mut self, live: &Live, comparison: &Comparison, now: Timestamp) -> Next {
        if live.kind == ServiceKind::Build {
            let error = Diagnostic::from("a build service deploys nothing")
                .with_hint("name the deployment service that runs its builds");
            let ending = Ending::Rejected { error, delivery: engine::Delivery::Excluded };
            return self.put_off_as(End::of(ending), None, Outcome::UNREAD, now);
        }
        let reading = Reading::of(comparison);
        let decides = matches!(self.call.work, Work::Decide(_));
        let warnings = if decides { reading.warnings(self.call.unnamed) } else { Vec::new() };
        let holds = !warnings.is_empty();
        let end = |ending| End { warnings, ..End::of(ending) };
        let key = self.call.key.clone();
        match self.call.work {
            Work::Decide(cause) if comparison.is_adoptable() && self.proves(cause, comparison) => {
                let adoption = Adoption {
                    key,
                    update: Arc::clone(&self.call.update),
                    digest: self.call.digest,
                    revision: self.revision.clone(),
                    place: self.call.place.clone(),
                    at: self.began,
                    unnamed: reading.unnamed_credentials.clone(),
                    runs: live.rollout.is_some_and(|status| status.stage == RolloutStage::Completed),
                    rollout: engine::found(cause, self.call.digest, live.rollout, self.began).map(Box::new),
                };
                let unnamed = reading.unnamed_credentials;
                self.record(Write::Adopt(adoption), end(Ending::Adopted { unnamed, status: live.rollout }))
            }
            // What holds an update is known over a restart, without another read.
            Work::Decide(_) if !holds => Next::End(end(Ending::Read(reading))),
            Work::Watch | Work::Decide(_) => {
                let unnamed = reading.unnamed_credentials.clone();
                let seen = Some(Seen { compared: self.call.digest, at: self.began, reading: reading.clone() });
                let sighting = Sighting { at: now, kind: Some(live.kind), seen, unnamed, failure: None };
                self.record(Write::Saw(key, sighting), end(Ending::Read(reading)))
            }
            Work::Send(_) => Next::End(end(Ending::Read(reading))),
        }
    }

    /// Whether live shows that it has what is desired, and not what it had before or may have got since: every field in
    /// which these differ must be shown to be the same. A field that was removed shows nothing.
    fn proves(&self, cause: Cause, comparison: &Comparison) -> bool {
        // Where it is not known what was applied last, nothing is known that could have changed.
        let unknown = self.recalled.others.iter().all(Option::is_none);
        if cause == Cause::New || (cause == Cause::Changed && unknown) {
            return true;
        }
        let Ok(desired) = serde_json::to_value(&*self.call.update) else { return false };
        let nothing_before = self.recalled.others.is_empty();
        let others = self.recalled.others.iter().map(Option::as_ref);
        let changed: BTreeSet<String> = others
            .chain(nothing_before.then_some(None))
            .flat_map(|other| plan::changed_paths(other, &desired))
            .collect();
        comparison.proves(changed.iter().map(String::as_str))
    }
}

fn withdrawn() -> End {
    End::of(Ending::Withdrawn)
}

/// Whether an answer is the API's last word on a call.
fn is_final(refusal: &Refusal) -> bool {
    matches!(refusal.disposition, Disposition::Rejected | Disposition::Denied | Disposition::Forbidden)
}

fn outcome(refusal: &Refusal) -> Outcome {
    let error = refusal.error.clone();
    match (refusal.delivery, refusal.status) {
        (Delivery::Refused, Some(status)) => Outcome::Rejected { status, error },
        (Delivery::Unsent, _) => Outcome::Unsent { error },
        (Delivery::Refused | Delivery::Unknown, status) => Outcome::Unknown { status, error },
    }
}

fn hint(refusal: &Refusal) -> Option<&'static str> {
    match refusal.disposition {
        Disposition::Rejected if refusal.status == Some(404) => Some(NO_SUCH_SERVICE),
        Disposition::Forbidden => Some(MAY_NOT_READ),
        _ => None,
    }
}

/// Why a service could not be read, where that is its own matter.
fn failure(ending: &Ending) -> Option<&Diagnostic> {
    match ending {
        Ending::Transient { error, .. } | Ending::Rejected { error, .. } | Ending::Denied { error } => Some(error),
        Ending::Limited { .. }
        | Ending::Accepted { .. }
        | Ending::Adopted { .. }
        | Ending::Read(_)
        | Ending::Unrecorded { .. }
        | Ending::Withdrawn => None,
    }
}
