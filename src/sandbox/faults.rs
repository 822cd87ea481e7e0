//! Faults: what the sandbox can be told to do wrong, to which calls, how often.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use fastrand::Rng;
use serde_json::Value;

use super::contract::Operation;
use super::target::Target;

/// One way to fail, which calls meet it, and how often. It meets the next call of any kind unless narrowed:
///
/// ```
/// # use truenorth::sandbox::{Fault, Operation};
/// # use std::time::Duration;
/// Fault::status(503).on(Operation::GetService).of("shop/web").times(3);
/// Fault::drop().after_carrying_out();
/// Fault::delay(Duration::from_secs(2)).always();
/// ```
///
/// Unless said otherwise a fault stands in for the call: nothing is changed. [`Fault::after_carrying_out`] lets the
/// call take effect first and then spoils the answer. A call meets every fault that matches it and leaves the answer
/// whole (delays, slow bodies, headers, late and lossy updates),
/// and at most one fault of another kind. A call refused for its token or the rate limit meets none.
#[derive(Clone, Debug)]
pub struct Fault {
    pub(super) kind: FaultKind,
    pub(super) moment: Moment,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    operation: Option<Operation>,
    target: Option<Target>,
    skip: u64,
    times: Times,
}

#[derive(Clone, Copy, Debug)]
enum Times {
    Next(u64),
    Always,
}

/// Whether the call takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    After,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum FaultKind {
    /// A status with the provider's error shape: [`Fault::status`], [`Fault::error`].
    Status {
        /// The HTTP status.
        status: u16,
        /// The provider's code.
        id: String,
        /// What it says to people.
        message: String,
        /// What it says to programs.
        details: Option<Value>,
    },
    /// [`Fault::json`].
    Json {
        /// The HTTP status.
        status: u16,
        /// The whole body.
        body: Value,
    },
    /// [`Fault::html`], with this status.
    Html(u16),
    /// [`Fault::empty`], with this status.
    Empty(u16),
    /// [`Fault::garbage`].
    Garbage,
    /// [`Fault::endless`].
    Endless,
    /// [`Fault::gzip_bomb`].
    GzipBomb,
    /// [`Fault::truncated`].
    Truncated,
    /// [`Fault::drop`].
    Drop,
    /// [`Fault::rate_limited`].
    RateLimited(Wait),
    /// [`Fault::redirect`], to this address.
    Redirect(String),
    /// [`Fault::delay`], so long.
    Delay(Duration),
    /// [`Fault::slow_body`].
    SlowBody {
        /// Bytes at a time.
        piece: usize,
        /// Time between them.
        pause: Duration,
    },
    /// [`Fault::headers`].
    Headers,
    /// [`Fault::late`], so much later.
    Late(Duration),
    /// [`Fault::lossy`].
    Lossy,
}

/// How an answer 429 says when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// `x-ratelimit-reset`, in seconds, with the other two headers.
    Reset(u64),
    /// The same as a Unix time, so far from now.
    ResetAt(Duration),
    /// `Retry-After`, in seconds.
    RetryAfter(u64),
    /// `Retry-After` as an HTTP date, so far from now (whole seconds; the date has no fractions).
    RetryDate(Duration),
    /// Not at all.
    Unsaid,
}

impl Fault {
    fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            moment: Moment::Before,
            headers: Vec::new(),
            operation: None,
            target: None,
            skip: 0,
            times: Times::Next(1),
        }
    }

    /// A status with the provider's error shape, for instance 500, 503, 403, 409.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::error(status, &format!("SANDBOX-{status}"), "the sandbox was told to answer this", None)
    }

    /// A status with the provider's error shape and these contents.
    #[must_use]
    pub fn error(status: u16, id: &str, message: &str, details: Option<Value>) -> Self {
        Self::new(FaultKind::Status { status, id: id.to_owned(), message: message.to_owned(), details })
    }

    /// A status with this JSON and without rate-limit headers: another program's error, a success that is none.
    #[must_use]
    pub fn json(status: u16, body: Value) -> Self {
        Self::new(FaultKind::Json { status, body })
    }

    /// A status with an HTML body and without rate-limit headers, as a proxy in front of the API answers.
    #[must_use]
    pub fn html(status: u16) -> Self {
        Self::new(FaultKind::Html(status))
    }

    /// A status with no body and without rate-limit headers.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self::new(FaultKind::Empty(status))
    }

    /// 200 with `application/json` and something that is not JSON.
    #[must_use]
    pub fn garbage() -> Self {
        Self::new(FaultKind::Garbage)
    }

    /// 200 with a body that begins as JSON and never ends.
    #[must_use]
    pub fn endless() -> Self {
        Self::new(FaultKind::Endless)
    }

    /// 200 with a compressed body of one mebibyte that unpacks to one gibibyte.
    #[must_use]
    pub fn gzip_bomb() -> Self {
        Self::new(FaultKind::GzipBomb)
    }

    /// The head and half of the body, then the connection ends.
    #[must_use]
    pub fn truncated() -> Self {
        Self::new(FaultKind::Truncated)
    }

    /// The connection ends without an answer.
    #[must_use]
    pub fn drop() -> Self {
        Self::new(FaultKind::Drop)
    }

    /// 429, saying when to come back or not.
    #[must_use]
    pub fn rate_limited(wait: Wait) -> Self {
        Self::new(FaultKind::RateLimited(wait))
    }

    /// 307 to another address, which would make a client send its token there.
    #[must_use]
    pub fn redirect(location: &str) -> Self {
        Self::new(FaultKind::Redirect(location.to_owned()))
    }

    /// The call waits before it takes effect; with [`Fault::after_carrying_out`], before its answer.
    #[must_use]
    pub fn delay(delay: Duration) -> Self {
        Self::new(FaultKind::Delay(delay))
    }

    /// The call is carried out, and its answer trickles: so many bytes, a pause, and again.
    #[must_use]
    pub fn slow_body(piece: usize, pause: Duration) -> Self {
        Self::new(FaultKind::SlowBody { piece: piece.max(1), pause })
    }

    /// The call is carried out, and its answer has headers more; see [`Fault::with_header`].
    #[must_use]
    pub fn headers() -> Self {
        Self::new(FaultKind::Headers)
    }

    /// The call takes effect so much later, and its answer comes then; also where the client gave up meanwhile, or
    /// another fault spoilt the answer at once.
    #[must_use]
    pub fn late(delay: Duration) -> Self {
        Self::new(FaultKind::Late(delay))
    }

    /// An update of more than one part is accepted, and its `docker` and `buildpack` are left as they were.
    #[must_use]
    pub fn lossy() -> Self {
        Self::new(FaultKind::Lossy)
    }

    /// Every answer to POST has `Deprecation` and `Sunset`.
    #[must_use]
    pub fn deprecated() -> Self {
        Self::headers()
            .on(Operation::UpdateServiceDeployment)
            .always()
            .with_header("deprecation", "@1780272000")
            .with_header("sunset", "Fri, 01 Jan 2027 00:00:00 GMT")
    }

    /// POST is gone (404, 405 or 410), though GET finds the service.
    #[must_use]
    pub fn gone(status: u16) -> Self {
        Self::error(status, "GONE", "this endpoint has been removed", None)
            .on(Operation::UpdateServiceDeployment)
            .always()
    }

    /// Only calls of this operation.
    #[must_use]
    pub fn on(self, operation: Operation) -> Self {
        Self { operation: Some(operation), ..self }
    }

    /// Only calls that name this service.
    #[must_use]
    pub fn of(self, target: impl Into<Target>) -> Self {
        Self { target: Some(target.into()), ..self }
    }

    /// So many of the matching calls, instead of one.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times: Times::Next(times), ..self }
    }

    /// Every matching call, until the faults are cleared.
    #[must_use]
    pub fn always(self) -> Self {
        Self { times: Times::Always, ..self }
    }

    /// Lets so many matching calls pass first.
    #[must_use]
    pub fn skip(self, skip: u64) -> Self {
        Self { skip, ..self }
    }

    /// The call takes effect (an update is accepted), then its answer is spoilt.
    #[must_use]
    pub fn after_carrying_out(self) -> Self {
        Self { moment: Moment::After, ..self }
    }

    /// One header more in the answer, in place of one of that name.
    ///
    /// # Panics
    /// The name is no lower-case header name or the value no header value.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("the header of a scripted fault has a valid value");
        self.headers.push((HeaderName::from_static(name), value));
        self
    }

    /// What goes wrong.
    #[must_use]
    pub fn kind(&self) -> &FaultKind {
        &self.kind
    }

    /// Its name in the log of calls.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match (&self.kind, self.moment) {
            (FaultKind::Status { .. }, _) => "status",
            (FaultKind::Json { .. }, _) => "json",
            (FaultKind::Html(_), _) => "html",
            (FaultKind::Empty(_), _) => "empty",
            (FaultKind::Garbage, _) => "garbage",
            (FaultKind::Endless, _) => "endless",
            (FaultKind::GzipBomb, _) => "gzip-bomb",
            (FaultKind::Truncated, _) => "truncated",
            (FaultKind::Drop, Moment::Before) => "drop-before",
            (FaultKind::Drop, Moment::After) => "drop-after",
            (FaultKind::RateLimited(_), _) => "rate-limited",
            (FaultKind::Redirect(_), _) => "redirect",
            (FaultKind::Delay(_), _) => "delay",
            (FaultKind::SlowBody { .. }, _) => "slow-body",
            (FaultKind::Headers, _) => "headers",
            (FaultKind::Late(_), _) => "late",
            (FaultKind::Lossy, _) => "lossy",
        }
    }

    /// Whether it takes the place of the answer. The others only add to it, so any number of them can meet a call.
    pub(super) fn replaces(&self) -> bool {
        match self.kind {
            FaultKind::Delay(_)
            | FaultKind::SlowBody { .. }
            | FaultKind::Headers
            | FaultKind::Late(_)
            | FaultKind::Lossy => false,
            FaultKind::Status { .. }
            | FaultKind::Json { .. }
            | FaultKind::Html(_)
            | FaultKind::Empty(_)
            | FaultKind::Garbage
            | FaultKind::Endless
            | FaultKind::GzipBomb
            | FaultKind::Truncated
            | FaultKind::Drop
            | FaultKind::RateLimited(_)
            | FaultKind::Redirect(_) => true,
        }
    }

    /// Whose a token is, is a question beside the calls: a fault meets it by name alone.
    fn matches(&self, operation: Operation, target: Option<&Target>) -> bool {
        self.operation.map_or(operation != Operation::Auth, |wanted| wanted == operation)
            && self.target.as_ref().is_none_or(|wanted| Some(wanted) == target)
    }
}

/// Weather for soak tests: each call meets one of the faults with a probability. The same seed and the same order of
/// calls give the same faults.
#[derive(Clone, Debug)]
pub struct Storm {
    /// Where the random numbers begin.
    pub seed: u64,
    /// From 0, never, to 1, always.
    pub probability: f64,
    /// One of those that match the call is taken; how often they apply is not looked at.
    pub faults: Vec<Fault>,
}

impl Storm {
    /// A storm of every fault that ends soon: none that would fill a client's memory or hold it for long.
    #[must_use]
    pub fn new(seed: u64, probability: f64) -> Self {
        let faults = vec![
            Fault::status(500),
            Fault::status(503),
            Fault::status(409),
            Fault::status(502).after_carrying_out(),
            Fault::html(502),
            Fault::empty(504),
            Fault::empty(500).after_carrying_out(),
            Fault::garbage().after_carrying_out(),
            Fault::truncated().after_carrying_out(),
            Fault::drop(),
            Fault::drop().after_carrying_out(),
            Fault::rate_limited(Wait::Reset(1)),
            Fault::rate_limited(Wait::RetryAfter(1)),
            Fault::delay(Duration::from_millis(20)),
            Fault::delay(Duration::from_millis(20)).after_carrying_out(),
            Fault::slow_body(4, Duration::from_millis(2)),
        ];
        Self { seed, probability, faults }
    }
}

/// The faults that are waiting for their calls.
#[derive(Debug, Default)]
pub(super) struct Faults {
    scripted: Vec<Fault>,
    storm: Option<(Storm, Rng)>,
}

impl Faults {
    pub(super) fn script(&mut self, fault: Fault) {
        self.scripted.push(fault);
    }

    pub(super) fn set_storm(&mut self, storm: Option<Storm>) {
        self.storm = storm.map(|storm| {
            let rng = Rng::with_seed(storm.seed);
            (storm, rng)
        });
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The faults that a call meets, and counts them off.
    pub(super) fn pick(&mut self, operation: Operation, target: Option<&Target>) -> Vec<Fault> {
        let mut met: Vec<Fault> = Vec::new();
        for fault in &mut self.scripted {
            let crowded = fault.replaces() && met.iter().any(Fault::replaces);
            if crowded || !fault.matches(operation, target) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            match &mut fault.times {
                Times::Next(0) => continue,
                Times::Next(left) => *left -= 1,
                Times::Always => {}
            }
            met.push(fault.clone());
        }
        self.scripted.retain(|fault| !matches!(fault.times, Times::Next(0)));
        if let Some((storm, rng)) = &mut self.storm {
            let struck = rng.f64() < storm.probability && !met.iter().any(Fault::replaces);
            let matching = || storm.faults.iter().filter(|fault| fault.matches(operation, target));
            if struck && let Some(index) = Some(matching().count()).filter(|count| *count > 0) {
                met.extend(matching().nth(rng.usize(..index)).cloned());
            }
        }
        met
    }
}
