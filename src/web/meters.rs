//! Meters: what is counted as it happens, and the OpenMetrics text of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::Gauges;

/// Labels that are there from the start with zero, so that the first event is a step and not a new series.
const TRIGGERS: [&str; 5] = ["start", "event", "resync", "hup", "usr1"];
const OUTCOMES: [&str; 6] = ["accepted", "read", "transient", "limited", "denied", "rejected"];
/// Seconds of a call: from a near API to the default `--request-timeout`.
const CALL_BUCKETS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Seconds from a change to its call: from the default `--debounce` past a resync to the end of a rate limit's window.
const REACTION_BUCKETS: [f64; 12] = [0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 5.0, 30.0, 60.0, 120.0, 600.0, 3600.0];
/// Seconds of a rollout: from a small image to the default `--rollout-timeout`.
const ROLLOUT_BUCKETS: [f64; 9] = [1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0];

/// What the daemon counts as it works. Clones count together.
#[derive(Clone, Debug)]
pub struct Meters {
    registry: Arc<Registry>,
    passes: Family<ByTrigger, Counter>,
    calls: Family<ByOutcome, Counter>,
    durations: Family<ByOutcome, Histogram, fn() -> Histogram>,
    reactions: Histogram,
    rollouts: Histogram,
    unrecorded: Counter,
    deprecated: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByTrigger {
    trigger: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

impl Default for Meters {
    fn default() -> Self {
        Self::new()
    }
}

impl Meters {
    /// Meters that stand at zero.
    #[must_use]
    pub fn new() -> Self {
        let passes = Family::<ByTrigger, Counter>::default();
        let calls = Family::<ByOutcome, Counter>::default();
        let new_durations: fn() -> Histogram = || Histogram::new(CALL_BUCKETS);
        let durations = Family::new_with_constructor(new_durations);
        for trigger in TRIGGERS {
            drop(passes.get_or_create(&ByTrigger { trigger }));
        }
        for outcome in OUTCOMES {
            drop(calls.get_or_create(&ByOutcome { outcome }));
            drop(durations.get_or_create(&ByOutcome { outcome }));
        }
        let reactions = Histogram::new(REACTION_BUCKETS);
        let rollouts = Histogram::new(ROLLOUT_BUCKETS);
        let unrecorded = Counter::default();
        let deprecated = Counter::default();

        // The library puts a full stop behind each help text, the unit behind each name, and `_total`, `_info`.
        let mut registry = named();
        registry.register(
            "build",
            "The version of truenorth that runs",
            Info::new(Build { version: env!("CARGO_PKG_VERSION") }),
        );
        registry.register("passes", "Passes begun, by what set them off", passes.clone());
        registry.register("calls", "Calls of the API that ended, by how", calls.clone());
        let help = "Duration of calls of the API, by how they ended";
        registry.register_with_unit("call_duration", help, Unit::Seconds, durations.clone());
        let help = "Time from a change in the folder to the call that carries it";
        registry.register_with_unit("change_to_call", help, Unit::Seconds, reactions.clone());
        let help = "Time from the acceptance of an update to the end of its rollout, where that ended well";
        registry.register_with_unit("rollout_duration", help, Unit::Seconds, rollouts.clone());
        registry.register("ledger_write_failures", "Writes to the ledger that failed", unrecorded.clone());
        let help = "Answers that announced the end of their call";
        registry.register("deprecated_answers", help, deprecated.clone());
        Self { registry: Arc::new(registry), passes, calls, durations, reactions, rollouts, unrecorded, deprecated }
    }

    /// A pass began, set off by `start`, `event`, `resync`, `hup`, `usr1` or `token`.
    pub fn pass(&self, trigger: &'static str) {
        self.passes.get_or_create(&ByTrigger { trigger }).inc();
    }

    /// A call ended after `elapsed` as `accepted`, `read`, `transient`, `limited`, `denied` or `rejected`.
    pub fn call(&self, outcome: &'static str, elapsed: Duration) {
        self.calls.get_or_create(&ByOutcome { outcome }).inc();
        self.durations.get_or_create(&ByOutcome { outcome }).observe(elapsed.as_secs_f64());
    }

    /// A change in the folder went out in a call, so long after it was made.
    pub fn reaction(&self, elapsed: Duration) {
        self.reactions.observe(elapsed.as_secs_f64());
    }

    /// A rollout ended well, so long after its acceptance.
    pub fn rollout(&self, took: Duration) {
        self.rollouts.observe(took.as_secs_f64());
    }

    /// A write to the ledger failed.
    pub fn unrecorded(&self) {
        self.unrecorded.inc();
    }

    /// An answer announced the end of its call.
    pub fn deprecated(&self) {
        self.deprecated.inc();
    }

    /// Everything as OpenMetrics text, with the numbers of this moment.
    #[must_use]
    #[allow(clippy::expect_used, reason = "only a writer can fail, and a string is one that does not")]
    pub fn encode(&self, gauges: &Gauges) -> String {
        self.try_encode(gauges).expect("writing to a string never fails")
    }

    fn try_encode(&self, gauges: &Gauges) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &registry_of(gauges))?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// The numbers of one moment. What is not known has no sample: a zero would be a lie.
fn registry_of(gauges: &Gauges) -> Registry {
    let mut registry = named();
    let services = Family::<ByState, Gauge<u64, AtomicU64>>::default();
    for (state, count) in &gauges.services {
        services.get_or_create(&ByState { state }).inc_by(*count);
    }
    registry.register("services", "Services that are desired or known, by state", services);
    let rollouts = Family::<ByState, Gauge<u64, AtomicU64>>::default();
    for (state, count) in &gauges.rollouts {
        rollouts.get_or_create(&ByState { state }).inc_by(*count);
    }
    registry.register("rollouts", "Newest rollouts of the services, by state", rollouts);
    registry.register("problems", "Problems in the folder", ConstGauge::new(gauges.problems));
    registry.register("calls_in_flight", "Calls of the API that are under way", ConstGauge::new(gauges.in_flight));
    let paused = ConstGauge::new(u64::from(gauges.paused));
    registry.register("paused", "Whether all calls wait: 1 if so, else 0", paused);
    if let Some(remaining) = gauges.quota_remaining {
        let help = "Calls left in the window of the rate limit, by the last answer";
        registry.register("quota_remaining", help, ConstGauge::new(remaining));
    }
    if let Some(limit) = gauges.quota_limit {
        let help = "Calls that the window of the rate limit has in all";
        registry.register("quota_limit", help, ConstGauge::new(limit));
    }
    if let Some(look) = gauges.last_look {
        let help = "When the folder was read in full for the last time, since 1970";
        let seconds = ConstGauge::new(look.as_duration().as_secs_f64());
        registry.register_with_unit("last_look_timestamp", help, Unit::Seconds, seconds);
    }
    registry
}

fn named() -> Registry {
    Registry::with_prefix("truenorth")
}
