//! What an accepted update's answer shows.

use jiff::Timestamp;

use super::wire::Service;
use crate::model::Live;

/// An update that the API accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What the answer holds.
    pub body: AcceptedBody,
    /// When the server wrote the answer, by its own clock.
    pub server_time: Option<Timestamp>,
}

/// What the answer to an accepted update holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcceptedBody {
    /// Nothing, under a status that allows that (202, 204). Nothing in it shows that the API wrote it: a read does.
    Empty,
    /// The API's word that it accepted, and no more. So does POST answer.
    Data,
    /// The whole service as it is now. So does PATCH answer.
    Service(Box<Live>),
}

impl AcceptedBody {
    pub(super) fn of(data: Service) -> Self {
        data.into_live().map_or(Self::Data, |live| Self::Service(Box::new(live)))
    }
}
