//! Whose a rollout is: what the list of a service's deployments says of an update that was accepted, and of what others
//! deployed after it. Pure; what cannot be told stays open, and times alone decide then.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::{DeploymentEntry, DeploymentUpdate, OvertakenBy, Rollout};
use crate::plan::contradicts;

/// The deployment of an update is made so near to when the server says that it accepted it.
const NEAR: SignedDuration = SignedDuration::from_secs(5);

/// A deployment that is older than that may be an earlier one of the same content: its time is not that of the acceptance.
const EXACT: SignedDuration = SignedDuration::from_secs(1);

/// The deployment of an update, the one before it, and the first one by somebody else after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traced<'a> {
    pub(super) ours: &'a DeploymentEntry,
    pub(super) previous: Option<&'a DeploymentEntry>,
    pub(super) next: Option<&'a DeploymentEntry>,
}

/// What a list, newest first, says of the rollout of this content. `None`: it does not show which deployment is ours.
pub(super) fn trace<'a>(
    rollout: &Rollout,
    content: Option<&DeploymentUpdate>,
    entries: &'a [DeploymentEntry],
) -> Option<Traced<'a>> {
    let ours = match &rollout.deployment_id {
        Some(id) => entries.iter().find(|entry| entry.id == *id)?,
        None => ours(rollout, content, entries)?,
    };
    // By their order: two may be of the same millisecond.
    let later = entries.iter().take_while(|entry| entry.id != ours.id);
    let next = later.filter(|entry| is_of_another(entry, ours, content)).last();
    let previous = entries.iter().skip_while(|entry| entry.id != ours.id).nth(1);
    Some(Traced { ours, previous, next })
}

/// The one that was made when the update was accepted. Where two people made such a one, nobody can tell which.
fn ours<'a>(
    rollout: &Rollout,
    content: Option<&DeploymentUpdate>,
    entries: &'a [DeploymentEntry],
) -> Option<&'a DeploymentEntry> {
    let accepted = rollout.server_at?;
    let fits = |entry: &&DeploymentEntry| {
        entry.created_at.duration_since(accepted).abs() <= NEAR
            && !content.is_some_and(|content| contradicts(entry, content))
    };
    let mut candidates = entries.iter().filter(fits);
    // A request that was repeated made more than one; the newest is what rolls out.
    let newest = candidates.next()?;
    candidates.all(|other| other.user == newest.user).then_some(newest)
}

/// Whether somebody else made it, for certain: it is of other content, or in another name.
fn is_of_another(entry: &DeploymentEntry, ours: &DeploymentEntry, content: Option<&DeploymentUpdate>) -> bool {
    let differ = |one: &Option<String>, other: &Option<String>| one.is_some() && other.is_some() && one != other;
    content.is_some_and(|content| contradicts(entry, content))
        || differ(&entry.image, &ours.image)
        || differ(&entry.tag, &ours.tag)
        || differ(&entry.commit, &ours.commit)
        || differ(&entry.user, &ours.user)
}

/// Who deployed last, where that is not the deployment of this rollout.
pub(super) fn last(rollout: Option<&Rollout>, entries: &[DeploymentEntry]) -> Option<OvertakenBy> {
    let newest = entries.first()?;
    let is_ours = rollout.is_some_and(|rollout| match (&rollout.deployment_id, rollout.server_at) {
        (Some(id), _) => newest.id == *id,
        (None, Some(accepted)) => newest.created_at <= accepted.saturating_add(NEAR).unwrap_or(Timestamp::MAX),
        // It may be: nobody is named who may be ourselves.
        (None, None) => true,
    });
    (!is_ours).then(|| by(newest))
}

impl Traced<'_> {
    /// Whether the deployment before ours may have gone on beside it for a while: it began less than `timeout` before, and
    /// is not the one that was accepted at `ended` by the server's clock, of which it is known that it had ended.
    pub(super) fn follows_closely(&self, timeout: Duration, ended: Option<Timestamp>) -> bool {
        self.previous.is_some_and(|previous| {
            let had_ended = ended.is_some_and(|ended| previous.created_at.duration_since(ended) <= NEAR);
            let age = Duration::try_from(self.ours.created_at.duration_since(previous.created_at)).unwrap_or_default();
            !had_ended && age < timeout
        })
    }
}

/// Who made a deployment, and when.
pub(super) fn by(entry: &DeploymentEntry) -> OvertakenBy {
    OvertakenBy { user: entry.user.clone(), at: entry.created_at }
}

/// When the update was accepted, now that its deployment is known: to the millisecond, where before it was a second.
pub(super) fn accepted_at(before: Option<Timestamp>, ours: &DeploymentEntry) -> Option<Timestamp> {
    let is_exact = |before: Timestamp| ours.created_at.duration_since(before) >= -EXACT;
    if before.is_none_or(is_exact) { Some(ours.created_at) } else { before }
}

#[cfg(test)]
mod tests {
    use super::super::tests::desired;
    use super::*;
    use crate::model::Digest;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000_000 + millis).expect("is a time")
    }

    /// As the API lists it: made then, of this version of nginx, by this user.
    fn entry(made: i64, version: &str, user: &str) -> DeploymentEntry {
        DeploymentEntry {
            id: format!("d{made}"),
            created_at: at(made),
            image: Some(format!("nginx:{version}")),
            tag: None,
            sha: None,
            commit: None,
            user: (!user.is_empty()).then(|| user.to_owned()),
        }
    }

    fn told(entries: &[DeploymentEntry]) -> Option<(&str, Option<&str>)> {
        let rollout = Rollout::accepted(Digest::from_bytes([1; 32]), at(0), Some(at(0)));
        let content = desired("web", "2").update;
        let traced = trace(&rollout, Some(&content), entries)?;
        Some((&traced.ours.id, traced.next.map(|next| next.id.as_str())))
    }

    #[test]
    fn ours_is_what_was_made_of_our_content_when_it_was_accepted() {
        assert_eq!(told(&[entry(300, "2", "us"), entry(-600_000, "2", "us")]), Some(("d300", None)));
        assert_eq!(told(&[entry(300, "3", "us"), entry(-50, "2", "us")]), Some(("d-50", Some("d300"))));
        assert_eq!(told(&[]), None, "nothing is listed yet");
        assert_eq!(told(&[entry(-600_000, "2", "us")]), None, "the list lags");
        assert_eq!(told(&[entry(100, "3", "us")]), None, "of something else");
    }

    #[test]
    fn a_later_one_is_of_another_by_its_content_or_its_name_and_not_else() {
        let ours = entry(100, "2", "us");
        for (later, is_another) in [
            (entry(60_000, "3", "jane"), true),
            (entry(60_000, "3", ""), true),
            (entry(60_000, "3", "us"), true),
            (entry(60_000, "2", "jane"), true),
            // Variables may have changed, or a request of ours came twice.
            (entry(60_000, "2", "us"), false),
            (entry(60_000, "2", ""), false),
        ] {
            let told = told(&[later.clone(), ours.clone()]).and_then(|(_, next)| next.map(str::to_owned));
            assert_eq!(told.is_some(), is_another, "{later:?}");
        }
        let at_once = [DeploymentEntry { id: "d".to_owned(), ..entry(100, "3", "jane") }, ours.clone()];
        assert_eq!(told(&at_once), Some(("d100", Some("d"))));
        let entries = [entry(90_000, "4", "joe"), entry(60_000, "3", "jane"), ours.clone()];
        assert_eq!(told(&entries), Some(("d100", Some("d60000"))), "the first one after ours");
    }

    #[test]
    fn where_two_people_deployed_the_same_at_that_moment_nobody_can_tell() {
        assert_eq!(told(&[entry(900, "2", "jane"), entry(100, "2", "us")]), None);
        assert_eq!(told(&[entry(900, "2", "us"), entry(100, "2", "us")]), Some(("d900", None)), "a request came twice");
    }

    #[test]
    fn who_deployed_last_is_told_unless_that_was_us() {
        let rollout = Rollout::accepted(Digest::from_bytes([1; 32]), at(0), Some(at(0)));
        let jane = OvertakenBy { user: Some("jane".to_owned()), at: at(60_000) };
        assert_eq!(last(Some(&rollout), &[entry(60_000, "9", "jane"), entry(100, "2", "us")]), Some(jane.clone()));
        assert_eq!(last(Some(&rollout), &[entry(100, "2", "us")]), None);
        assert_eq!(last(None, &[entry(60_000, "9", "jane")]), Some(jane), "nothing is known of a rollout of ours");
        assert_eq!(last(None, &[]), None);
        let timeless = Rollout::accepted(Digest::from_bytes([1; 32]), at(0), None);
        assert_eq!(last(Some(&timeless), &[entry(100, "2", "us")]), None, "it may be ours");
    }

    #[test]
    fn the_time_of_the_deployment_is_that_of_the_acceptance_where_they_fit() {
        assert_eq!(accepted_at(Some(at(0)), &entry(432, "2", "us")), Some(at(432)));
        assert_eq!(accepted_at(Some(at(0)), &entry(-50, "2", "us")), Some(at(-50)), "the answer took a moment");
        assert_eq!(accepted_at(Some(at(0)), &entry(-3000, "2", "us")), Some(at(0)), "that may be an earlier one");
    }
}
