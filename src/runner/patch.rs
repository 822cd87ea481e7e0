//! Which call carries an update: POST, or PATCH once the API is known to serve that alone.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::ledger::Turned;
use crate::model::ServiceKey;

/// Which call carries an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateCall {
    /// `POST …/deployment`, the call of the provider's reference page.
    Post,
    /// `PATCH …/services/deployment/…` or `…/combined/…`, by the service's type.
    Patch,
    /// POST, until the API refuses it for services that are there; PATCH then, for a day.
    Auto,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// POST is tried again after this: what the API refused once it may serve again.
const TURNED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// How long one service's refusals must go on before they speak for the API.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What was found of the update calls.
#[derive(Debug)]
pub(super) struct UpdateCalls {
    choice: UpdateCall,
    turned: Option<Turned>,
    /// The first service that was refused by POST since POST was accepted last.
    refused: Option<(ServiceKey, Timestamp)>,
    /// When PATCH was refused by permission: then it is no way out.
    forbidden: Option<Timestamp>,
}

/// What a refusal of POST is taken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The API no longer serves POST. What was refused first needs not wait any more.
    Turn(ServiceKey),
    /// One answer is not enough: POST is tried again after this.
    Wait(Duration),
    /// PATCH is no way out.
    Refused,
}

impl UpdateCalls {
    pub(super) fn new(choice: UpdateCall, turned: Option<Turned>, now: Timestamp) -> Self {
        // A newer truenorth may know better.
        let lasts = |turned: &Turned| {
            now.duration_since(turned.at).abs() < TURNED_FOR && turned.version.as_deref() == Some(VERSION)
        };
        Self { choice, turned: turned.filter(lasts), refused: None, forbidden: None }
    }

    /// Whether an update that begins now goes out as PATCH.
    pub(super) fn are_patches(&self, now: Timestamp) -> bool {
        match self.choice {
            UpdateCall::Post => false,
            UpdateCall::Patch => true,
            UpdateCall::Auto => self.turned.as_ref().is_some_and(|turned| now.duration_since(turned.at) < TURNED_FOR),
        }
    }

    /// Whether a refusal of POST may mean that the API no longer serves it.
    pub(super) fn may_turn(&self, now: Timestamp) -> bool {
        let forbidden = self.forbidden.is_some_and(|at| now.duration_since(at) < TURNED_FOR);
        self.choice == UpdateCall::Auto && !forbidden
    }

    /// POST was accepted. Says whether that ends a turn whose time was over.
    pub(super) fn accepted(&mut self, now: Timestamp) -> bool {
        self.refused = None;
        !self.are_patches(now) && self.turned.take().is_some()
    }

    /// The API refused POST for a service that is there. It speaks for the API where several services are told so, or
    /// one of them again after a minute, or where POST was refused a day ago.
    pub(super) fn refused(&mut self, key: &ServiceKey, reason: &str, now: Timestamp) -> Verdict {
        if !self.may_turn(now) {
            return Verdict::Refused;
        }
        let before = self.turned.is_some();
        let another = self.refused.as_ref().is_some_and(|(other, _)| other != key);
        let (first, since) = self.refused.get_or_insert_with(|| (key.clone(), now)).clone();
        let lasts = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        if before || another || lasts >= AGAIN_AFTER {
            self.turned = Some(Turned { at: now, version: Some(VERSION.to_owned()), reason: reason.to_owned() });
            self.refused = None;
            return Verdict::Turn(first);
        }
        Verdict::Wait(AGAIN_AFTER - lasts)
    }

    /// PATCH was refused by permission. Says whether that undoes a turn.
    pub(super) fn patch_was_forbidden(&mut self, now: Timestamp) -> bool {
        if self.choice != UpdateCall::Auto {
            return false;
        }
        self.forbidden = Some(now);
        self.turned.take().is_some()
    }

    pub(super) fn turned(&self) -> Option<&Turned> {
        self.turned.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    fn key(service: &str) -> ServiceKey {
        format!("shop/{service}").parse().unwrap()
    }

    fn auto() -> UpdateCalls {
        UpdateCalls::new(UpdateCall::Auto, None, at(0))
    }

    #[test]
    fn one_refusal_does_not_speak_for_the_api() {
        let mut calls = auto();
        assert_eq!(calls.refused(&key("a"), "gone", at(0)), Verdict::Wait(AGAIN_AFTER));
        assert_eq!(calls.refused(&key("a"), "gone", at(20)), Verdict::Wait(Duration::from_secs(40)));
        assert!(!calls.accepted(at(69)), "nothing was turned");
        assert_eq!(calls.refused(&key("b"), "gone", at(70)), Verdict::Wait(AGAIN_AFTER), "POST was accepted meanwhile");
        assert!(!calls.are_patches(at(70)));
    }

    #[test]
    fn two_services_or_a_minute_speak_for_it_for_a_day() {
        let mut calls = auto();
        calls.refused(&key("a"), "gone", at(0));
        assert_eq!(calls.refused(&key("b"), "gone", at(1)), Verdict::Turn(key("a")));
        assert!(calls.are_patches(at(2)) && !calls.are_patches(at(24 * 3600 + 1)));
        assert_eq!(calls.refused(&key("c"), "gone", at(24 * 3600 + 2)), Verdict::Turn(key("c")), "it was so a day ago");
        assert!(!calls.accepted(at(24 * 3600 + 3)), "a late answer of before the turn");
        assert!(calls.accepted(at(48 * 3600 + 3)) && calls.turned().is_none(), "POST is served again");
        assert!(!calls.accepted(at(48 * 3600 + 4)), "it is told once");
        let mut calls = auto();
        calls.refused(&key("a"), "gone", at(0));
        assert_eq!(calls.refused(&key("a"), "gone", at(60)), Verdict::Turn(key("a")));
    }

    #[test]
    fn a_turn_to_a_call_that_is_forbidden_is_undone() {
        let mut calls = auto();
        calls.refused(&key("a"), "gone", at(0));
        calls.refused(&key("b"), "gone", at(0));
        assert!(calls.patch_was_forbidden(at(1)) && !calls.are_patches(at(1)));
        assert_eq!(calls.refused(&key("a"), "gone", at(2)), Verdict::Refused);
        assert!(calls.may_turn(at(24 * 3600 + 2)));
    }

    #[test]
    fn what_the_user_chose_is_never_turned() {
        let turned = Some(Turned { at: at(0), version: Some(VERSION.to_owned()), reason: "gone".to_owned() });
        let mut calls = UpdateCalls::new(UpdateCall::Post, turned.clone(), at(1));
        assert!(!calls.are_patches(at(1)) && calls.refused(&key("a"), "gone", at(1)) == Verdict::Refused);
        let mut calls = UpdateCalls::new(UpdateCall::Patch, None, at(1));
        assert!(calls.are_patches(at(1)) && !calls.patch_was_forbidden(at(1)) && calls.are_patches(at(1)));
        assert!(UpdateCalls::new(UpdateCall::Auto, turned.clone(), at(1)).are_patches(at(1)));
        let older = turned.map(|turned| Turned { version: Some("0.0.1".to_owned()), ..turned });
        assert!(!UpdateCalls::new(UpdateCall::Auto, older, at(1)).are_patches(at(1)), "after an upgrade");
    }
}
