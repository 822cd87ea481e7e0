//! What an answer means that did not do what the call asked for: one table, for updates and for reads.
//!
//! A status says what it means only where the API itself wrote the answer, which its JSON proves. On the way to the API
//! are gateways, proxies and captive portals, and a page of theirs with 404 or 200 says nothing of a service.

use std::ops::RangeInclusive;

use super::error::{Delivery, Scope};

/// Who wrote an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Speaker {
    /// The API: the body is its JSON.
    Api,
    /// Something else, or nobody can tell: a page, a text, no body.
    #[default]
    Another,
}

/// What to do about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Todo {
    /// It passes.
    Wait(Scope),
    /// The rate limit is used up.
    Limit,
    /// The token is unknown.
    Deny,
    /// The token may not do this.
    Forbid,
    /// The same call will be refused again.
    Reject,
}

/// A row of the table: what to do, and whether an update with this answer can have had an effect. A read never has one.
pub(super) type Meaning = (Todo, Delivery);

const SUCCESS: RangeInclusive<u16> = 200..=299;
const REDIRECT: RangeInclusive<u16> = 300..=399;

/// The table.
pub(super) fn meaning(status: u16, speaker: Speaker) -> Meaning {
    use Delivery::{Refused, Unknown};
    use Scope::{Api, Service};
    match (speaker, status) {
        // Nothing is followed. Where a captive portal or a wrong address redirects one call, it redirects all.
        (_, status) if REDIRECT.contains(&status) => (Todo::Wait(Api), Unknown),
        // Whoever says that there were too many calls is obeyed: the call that follows would be refused as well. A
        // limiter in front of the API lets nothing through, but only the API's word is proof of that.
        (Speaker::Api, 429) => (Todo::Limit, Refused),
        (Speaker::Another, 429) => (Todo::Limit, Unknown),
        // A page in the API's place, whatever its status: the API may have done what was asked behind a gateway that
        // lost its answer, and it is the same page for every service.
        (Speaker::Another, _) => (Todo::Wait(Api), Unknown),
        // An error under a status of success contradicts itself: nothing is known of the update, and other calls may
        // be fine.
        (Speaker::Api, status) if SUCCESS.contains(&status) => (Todo::Wait(Service), Unknown),
        // Nobody has this token. It was looked at before the update was.
        (Speaker::Api, 401) => (Todo::Deny, Refused),
        // Somebody has this token, and may not do this with it here.
        (Speaker::Api, 403) => (Todo::Forbid, Refused),
        // The request was not complete in time. How much of it was taken is not known.
        (Speaker::Api, 408) => (Todo::Wait(Service), Unknown),
        // 409: another change of the service is in progress. 421: this connection does not lead to it. 423: it is
        // locked. 424: what it depends on failed. 425: the request came with early data. None was carried out, and
        // each is over when what it names is over.
        (Speaker::Api, 409 | 421 | 423 | 424 | 425) => (Todo::Wait(Service), Refused),
        // The call is wrong in itself, and will be until its content, the service or the account is another: 400, 402,
        // 404, 405, 410, 413, 422, …
        (Speaker::Api, 400..=499) => (Todo::Reject, Refused),
        // The API is in trouble, and says so after it began: the update may be in effect. What is no status of HTTP is
        // believed no more than that.
        (Speaker::Api, _) => (Todo::Wait(Api), Unknown),
    }
}

/// Whether a refusal with this status, which the API itself gave, ends without a change of the manifest or the token.
#[must_use]
pub fn passes(status: u16) -> bool {
    matches!(meaning(status, Speaker::Api).0, Todo::Wait(_) | Todo::Limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::northflank::error::{Delivery::*, Scope::*};

    #[test]
    fn what_the_api_says_counts_by_its_status() {
        for (status, todo, delivery) in [
            (200, Todo::Wait(Service), Unknown),
            (302, Todo::Wait(Api), Unknown),
            (400, Todo::Reject, Refused),
            (401, Todo::Deny, Refused),
            (402, Todo::Reject, Refused),
            (403, Todo::Forbid, Refused),
            (404, Todo::Reject, Refused),
            (405, Todo::Reject, Refused),
            (408, Todo::Wait(Service), Unknown),
            (409, Todo::Wait(Service), Refused),
            (410, Todo::Reject, Refused),
            (412, Todo::Reject, Refused),
            (422, Todo::Reject, Refused),
            (423, Todo::Wait(Service), Refused),
            (424, Todo::Wait(Service), Refused),
            (425, Todo::Wait(Service), Refused),
            (429, Todo::Limit, Refused),
            (451, Todo::Reject, Refused),
            (500, Todo::Wait(Api), Unknown),
            (501, Todo::Wait(Api), Unknown),
            (503, Todo::Wait(Api), Unknown),
            (599, Todo::Wait(Api), Unknown),
            (999, Todo::Wait(Api), Unknown),
        ] {
            assert_eq!(meaning(status, Speaker::Api), (todo, delivery), "{status}");
        }
    }

    #[test]
    fn what_anything_else_says_proves_nothing() {
        for status in (200..=999).filter(|status| *status != 429) {
            assert_eq!(meaning(status, Speaker::Another), (Todo::Wait(Api), Unknown), "{status}");
        }
        assert_eq!(meaning(429, Speaker::Another), (Todo::Limit, Unknown));
    }

    #[test]
    fn another_change_in_progress_passes_and_a_wrong_body_does_not() {
        assert!([409, 423, 425, 429, 503].into_iter().all(passes));
        assert!(![400, 401, 403, 404, 422].into_iter().any(passes));
    }
}
