//! One rollout: how it goes on by what the API shows of its service, and by the time that passes.
//!
//! A status does not say which content it speaks of: right after an update it may still be that of the content before.
//! What counts is when it was reached by the server's clock, against when the server accepted the update. The clock of
//! this machine decides nothing but how long is waited.

use std::time::Duration;

use jiff::Timestamp;

use super::later;
use super::traced::{self, Traced};
use crate::model::{Cause, DeploymentStatus, Digest, Evidence, Rollout, RolloutStage, RolloutState};

/// So long after the acceptance a service that is still where it was before shows that nothing had to be replaced.
pub(super) const UNSEEN: Duration = Duration::from_secs(60);

/// So long after the acceptance the API may still show how the deployment before it ends.
pub(super) const LINGERS: Duration = Duration::from_secs(30);

/// A `Date` header has whole seconds: what was reached within that second may be older than the acceptance.
const COARSE: Duration = Duration::from_secs(1);

/// What a status speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SpeaksOf {
    /// This rollout, by the server's clock.
    This,
    /// An older one.
    Older,
    /// One of both: it was reached in the moment, or the second, in which the update was accepted.
    Either,
    /// It cannot be told: there are no times.
    Unsaid,
}

/// What is known of a service beside its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paused {
    /// It is paused, and rolls out nothing until it is resumed.
    Yes,
    /// Nothing says that it is.
    No,
}

/// Why nothing rolls out.
const WAITS: &str = "the service is paused: the rollout waits for resume";

/// Takes in what a look showed at this time. `None`: the answer has no status of the service.
pub(super) fn seen(before: &Rollout, shown: Option<DeploymentStatus>, paused: Paused, now: Timestamp) -> Rollout {
    let status = shown.filter(|status| !status.scaling);
    let next = status.and_then(|status| next(before, status));
    let mut after = before.clone();
    // Whatever kept it from being followed is over.
    after.reason = after.reason.filter(|_| before.state.has_failed());
    match next {
        Some((state, evidence)) => {
            after.evidence = evidence;
            enter(&mut after, state, reached(before, status, now));
        }
        None if before.state == RolloutState::Unseen && paused == Paused::Yes => after.reason = Some(WAITS.to_owned()),
        None if before.state == RolloutState::Unseen && now >= later(before.accepted_at, UNSEEN) => {
            match unmoved(before, shown) {
                Ok(state) => enter(&mut after, state, now),
                Err(why) => after.reason = Some(why.to_owned()),
            }
        }
        None => {}
    }
    after
}

/// Whether a status is not to be taken in before it is known of whose deployment it is: it would make a failure of a
/// rollout or end one, from which much follows, or times alone cannot tell whether it is older than the update.
pub(super) fn asks_whose(before: &Rollout, after: &Rollout, status: DeploymentStatus) -> bool {
    let fails = after.state == RolloutState::Failed && before.state != RolloutState::Failed;
    let ends = matches!(status.stage, RolloutStage::Completed | RolloutStage::Failed) && !status.scaling;
    let is_open = before.state == RolloutState::Unseen && before.deployment_id.is_none();
    let is_unsure = ends && is_open && speaks_of(before, status) == SpeaksOf::Either && is_coarse(before.server_at);
    let recovers = before.state.has_failed() && after.state == RolloutState::Completed;
    before.server_at.is_some() && (fails || recovers || is_unsure)
}

/// Takes in a status with what the list of deployments says: which one is ours, and who came after it.
pub(super) fn judged(before: &Rollout, status: DeploymentStatus, traced: Traced<'_>, now: Timestamp) -> Rollout {
    let Traced { ours, next, .. } = traced;
    let known = Rollout {
        deployment_id: Some(ours.id.clone()),
        server_at: traced::accepted_at(before.server_at, ours),
        overtaken: next.map(traced::by),
        ..before.clone()
    };
    // What was reached after somebody else deployed is theirs; and so may be what has no time.
    let is_theirs = next.is_some_and(|next| status.since.is_none_or(|since| since >= next.created_at));
    if is_theirs {
        let mut after = known;
        // What failed before does not run for that.
        if !after.state.has_failed() {
            after.evidence = Evidence::DeploymentId;
            enter(&mut after, RolloutState::Superseded, now);
        }
        return after;
    }
    seen(&known, Some(status), Paused::No, now)
}

/// What a status means that did not move on since the acceptance. That nothing had to be replaced has to be shown by the
/// API: everything ran already before it took the update.
fn unmoved(before: &Rollout, shown: Option<DeploymentStatus>) -> Result<RolloutState, &'static str> {
    use RolloutStage::{Completed, Failed, InProgress, Pending};
    let Some(status) = shown else { return Err("the API gives no status that is known") };
    if status.scaling {
        return Err("the service is scaling, which says nothing of the update");
    }
    match (speaks_of(before, status), status.stage) {
        (SpeaksOf::Older | SpeaksOf::Either, Completed) => Ok(RolloutState::None),
        // Where the API gives no times, a failure that stays is not passed over.
        (SpeaksOf::Unsaid, Failed) => Ok(RolloutState::Failed),
        (SpeaksOf::Unsaid, _) => Err("the API gives no times, so its status may be of before the update"),
        (_, Failed) => Err("the API shows a failure of before the update, and nothing since"),
        (_, Pending | InProgress | Completed) => Err("the API shows a rollout of before the update, and nothing since"),
    }
}

/// Takes in that time has passed.
pub(super) fn expired(before: &Rollout, timeout: Duration, now: Timestamp) -> Option<Rollout> {
    let is_over = before.state.is_open() && now >= later(before.accepted_at, timeout);
    is_over.then(|| {
        let mut after = before.clone();
        let waited = before.reason.clone();
        enter(&mut after, RolloutState::TimedOut, now);
        after.reason = waited;
        after
    })
}

/// When a status was reached, by the clock of this machine: as long after the acceptance as by the server's.
fn reached(rollout: &Rollout, status: Option<DeploymentStatus>, now: Timestamp) -> Timestamp {
    let after = status.and_then(|status| status.since).zip(rollout.server_at);
    let after = after.and_then(|(reached, accepted)| Duration::try_from(reached.duration_since(accepted)).ok());
    after.map_or(now, |after| later(rollout.accepted_at, after).min(now).max(rollout.accepted_at))
}

fn enter(rollout: &mut Rollout, state: RolloutState, now: Timestamp) {
    if rollout.state != state {
        (rollout.state, rollout.since, rollout.reason) = (state, now, None);
    }
}

/// Whether a rollout goes on, or failed, by a status alone.
#[must_use]
pub fn goes_on(status: DeploymentStatus) -> bool {
    !status.scaling && status.stage != RolloutStage::Completed
}

/// The rollout of content that is found live, where that matters. What was sent by a process that did not hear of it may go
/// on. Of anything else it counts that it failed, as of the server's time: a later end is told by that.
#[must_use]
pub fn found(cause: Cause, digest: Digest, status: Option<DeploymentStatus>, now: Timestamp) -> Option<Rollout> {
    let status = status.filter(|status| goes_on(*status))?;
    if cause == Cause::InDoubt {
        return Some(Rollout { state: RolloutState::InProgress, ..Rollout::accepted(digest, now, None) });
    }
    let since = status.since.filter(|_| status.stage == RolloutStage::Failed)?;
    let reason = Some("it had failed before it was adopted".to_owned());
    Some(Rollout { state: RolloutState::Failed, reason, ..Rollout::accepted(digest, now, Some(since)) })
}

/// What follows from a status, if anything does.
fn next(before: &Rollout, status: DeploymentStatus) -> Option<(RolloutState, Evidence)> {
    // Somebody else deployed something since: what comes from then on is theirs.
    if before.overtaken.as_ref().is_some_and(|by| status.since.is_none_or(|since| since >= by.at)) {
        return None;
    }
    use RolloutState::{Completed, Failed, InProgress, None as Nothing, Pending, Superseded, TimedOut, Unseen};
    let ends = matches!(status.stage, RolloutStage::Completed | RolloutStage::Failed);
    let evidence = match speaks_of(before, status) {
        SpeaksOf::This if before.deployment_id.is_some() => Evidence::DeploymentId,
        SpeaksOf::This => Evidence::Time,
        SpeaksOf::Older => return None,
        // An end is believed only where nothing else can be meant.
        SpeaksOf::Either if ends => return None,
        SpeaksOf::Either => Evidence::Time,
        SpeaksOf::Unsaid if ends && !matches!(before.state, Pending | InProgress) => return None,
        SpeaksOf::Unsaid if !ends && !before.state.is_open() => return None,
        SpeaksOf::Unsaid => Evidence::None,
    };
    let state = match status.stage {
        RolloutStage::Pending => Pending,
        RolloutStage::InProgress => InProgress,
        RolloutStage::Completed => Completed,
        RolloutStage::Failed => Failed,
    };
    let follows = match before.state {
        Unseen | Pending | InProgress | Nothing => true,
        // It took longer than was waited for, or it recovered.
        TimedOut => ends,
        Failed => state == Completed,
        // Whatever is shown later is another matter: a crash, somebody else's deployment.
        Completed | Superseded => false,
    };
    follows.then_some((state, evidence))
}

/// Whether a time is that of a `Date`, which has whole seconds.
fn is_coarse(time: Option<Timestamp>) -> bool {
    time.is_some_and(|time| time.subsec_nanosecond() == 0)
}

fn speaks_of(rollout: &Rollout, status: DeploymentStatus) -> SpeaksOf {
    let (Some(accepted), Some(reached)) = (rollout.server_at, status.since) else { return SpeaksOf::Unsaid };
    let is_coarse = is_coarse(Some(accepted));
    if reached < accepted {
        SpeaksOf::Older
    } else if reached == accepted || is_coarse && reached < later(accepted, COARSE) {
        SpeaksOf::Either
    } else {
        SpeaksOf::This
    }
}

/// When the server accepted an update: by the time that the service was changed, which is exact, where that fits the
/// `Date` of the answer; else by that. A service's own time may be that of an earlier change.
#[must_use]
pub fn accepted_at(updated_at: Option<Timestamp>, date: Option<Timestamp>) -> Option<Timestamp> {
    const FITS: Duration = Duration::from_secs(60);
    match (updated_at, date) {
        (Some(updated), Some(date)) if updated.duration_since(date).unsigned_abs() > FITS => Some(date),
        (Some(updated), _) => Some(updated),
        (None, date) => date,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000_000 + millis).expect("is a time")
    }

    fn status(stage: RolloutStage, since: Option<i64>) -> Option<DeploymentStatus> {
        Some(DeploymentStatus { stage, scaling: false, since: since.map(at) })
    }

    /// Accepted at 0 by our clock, and then by the server's.
    fn accepted(server: Option<i64>) -> Rollout {
        Rollout::accepted(Digest::from_bytes([1; 32]), at(0), server.map(at))
    }

    fn after(looks: &[(i64, Option<DeploymentStatus>)], server: Option<i64>) -> Rollout {
        looks.iter().fold(accepted(server), |rollout, (now, status)| seen(&rollout, *status, Paused::No, at(*now)))
    }

    use RolloutStage::*;

    #[test]
    fn a_status_counts_by_when_the_server_reached_it() {
        for (server, reached, state) in [
            // The exact time of the change.
            (500, 499, RolloutState::Unseen),
            (500, 500, RolloutState::Unseen),
            (500, 501, RolloutState::Completed),
            // A `Date` has whole seconds: what was reached in that second may be older.
            (1000, 999, RolloutState::Unseen),
            (1000, 1999, RolloutState::Unseen),
            (1000, 2000, RolloutState::Completed),
        ] {
            let rollout = after(&[(5000, status(Completed, Some(reached)))], Some(server));
            assert_eq!(rollout.state, state, "{server} {reached}");
            assert_eq!(rollout.evidence == Evidence::Time, state == RolloutState::Completed);
        }
        // Our clock may be anything.
        let rollout = after(&[(5000, status(Completed, Some(-300_000)))], Some(-300_500));
        assert_eq!((rollout.state, rollout.since), (RolloutState::Completed, at(500)));
    }

    #[test]
    fn what_moves_on_is_followed_and_what_does_not_has_nothing_to_roll_out() {
        let old = status(Completed, Some(0));
        assert_eq!(after(&[(59_999, old)], Some(500)).state, RolloutState::Unseen);
        assert_eq!(after(&[(60_000, old)], Some(500)).state, RolloutState::None);
        assert_eq!(
            after(&[(60_000, status(Failed, None))], Some(1000)).state,
            RolloutState::Failed,
            "the API gives no times"
        );
        // It comes after all.
        let late =
            [(60_000, old), (70_000, status(InProgress, Some(65_000))), (80_000, status(Completed, Some(75_000)))];
        assert_eq!(after(&late[..2], Some(500)).state, RolloutState::InProgress);
        assert_eq!(after(&late, Some(500)).state, RolloutState::Completed);
    }

    #[test]
    fn scaling_settles_nothing() {
        let scaled = DeploymentStatus { stage: Completed, scaling: true, since: Some(at(9000)) };
        assert_eq!(after(&[(10_000, Some(scaled))], Some(500)).state, RolloutState::Unseen);
    }

    #[test]
    fn that_nothing_had_to_roll_out_rests_on_what_the_api_showed() {
        let scaling = DeploymentStatus { stage: Completed, scaling: true, since: Some(at(0)) };
        for (shown, why) in [
            (None, "no status"),
            (Some(scaling), "scaling"),
            (status(Completed, None), "no times"),
            (status(Failed, Some(0)), "a failure of before"),
            (status(InProgress, Some(0)), "a rollout of before"),
        ] {
            let rollout = after(&[(60_000, shown), (600_000, shown)], Some(500));
            assert_eq!(rollout.state, RolloutState::Unseen, "{shown:?}");
            assert!(rollout.words().contains(why), "{}", rollout.words());
            let late = expired(&rollout, Duration::from_secs(900), at(900_000)).expect("its time is over");
            assert!(late.words().contains(why), "{}", late.words());
        }
        let without = Rollout { server_at: None, ..accepted(None) };
        let shown = seen(&without, status(Completed, Some(-9000)), Paused::No, at(60_000));
        assert_eq!(shown.state, RolloutState::Unseen, "it is not known when the update was accepted");
    }

    #[test]
    fn a_failure_that_ends_well_is_a_completion_and_nothing_undoes_one() {
        let looks = [(5000, status(Failed, Some(4000))), (9000, status(Completed, Some(8000)))];
        assert_eq!(after(&looks[..1], Some(500)).state, RolloutState::Failed);
        assert_eq!(after(&looks, Some(500)).state, RolloutState::Completed);
        let crashed = [looks[1], (20_000, status(Failed, Some(15_000)))];
        assert_eq!(after(&crashed, Some(500)).state, RolloutState::Completed, "that is another matter");
        let minute = Duration::from_secs(60);
        assert_eq!(expired(&accepted(Some(0)), minute, at(59_999)), None);
        let late = expired(&accepted(Some(0)), minute, at(60_000)).expect("its time is over");
        assert_eq!(late.state, RolloutState::TimedOut);
        let done = seen(&late, status(Completed, Some(61_000)), Paused::No, at(62_000));
        assert_eq!(done.state, RolloutState::Completed);
    }

    #[test]
    fn without_times_an_end_counts_only_where_it_was_seen_to_come() {
        let end = |server, reached| after(&[(5000, status(Completed, reached))], server).state;
        assert_eq!([end(None, Some(1)), end(Some(1), None)], [RolloutState::Unseen; 2]);
        let moved = after(&[(5000, status(InProgress, None)), (9000, status(Completed, None))], Some(0));
        assert_eq!((moved.state, moved.evidence), (RolloutState::Completed, Evidence::None));
    }

    #[test]
    fn a_paused_service_waits_for_resume() {
        let waits = seen(&accepted(Some(500)), status(Completed, Some(0)), Paused::Yes, at(90_000));
        assert_eq!(waits.state, RolloutState::Unseen);
        assert!(waits.words().contains("waits for resume"), "{}", waits.words());
        let resumed = seen(&waits, status(InProgress, Some(95_000)), Paused::No, at(96_000));
        assert_eq!((resumed.state, resumed.reason), (RolloutState::InProgress, None));
    }

    #[test]
    fn the_time_of_the_change_is_exact_unless_it_is_that_of_an_older_one() {
        assert_eq!(accepted_at(Some(at(999)), Some(at(1000))), Some(at(999)));
        assert_eq!(accepted_at(Some(at(-61_000)), Some(at(0))), Some(at(0)));
        assert_eq!(accepted_at(Some(at(1)), None), Some(at(1)));
        assert_eq!((accepted_at(None, Some(at(1))), accepted_at(None, None)), (Some(at(1)), None));
    }
}
