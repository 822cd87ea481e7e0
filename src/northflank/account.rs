//! Whose a token is: what `GET /v1/auth` says of it.

use jiff::Timestamp;
use serde::Deserialize;

use super::lenient::{Lenient, objects, patient};

/// Whom a token belongs to, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// A team or an organisation.
    pub entity: Entity,
    /// Its id; at most [`Account::MAX_ID`] characters, letters, digits, dots, dashes and underscores of ASCII.
    pub id: String,
    /// What kind of token it is, where that is said.
    pub token_kind: Option<TokenKind>,
    /// When the token ends, where it does.
    pub expires_at: Option<Timestamp>,
}

/// Whom a token can belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entity {
    /// A team, or a person's own account.
    Team,
    /// An organisation; its token names the team in each call.
    Organisation,
}

/// What kind of token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// Made for the API.
    Api,
    /// A person who is logged in.
    Session,
    /// A workload that runs in Northflank.
    Workload,
}

impl Account {
    /// The longest id.
    pub const MAX_ID: usize = 200;

    /// What tells it from every other one.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.entity.as_str(), self.id)
    }
}

impl Entity {
    /// The API's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::Organisation => "org",
        }
    }
}

/// The answer, as far as it is used. The e-mail address of who made the token is passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Auth {
    #[serde(default, deserialize_with = "patient")]
    entity_type: Option<Entity>,
    #[serde(default, deserialize_with = "patient")]
    entity_id: Option<String>,
    #[serde(default, deserialize_with = "patient")]
    token_kind: Option<TokenKind>,
    #[serde(default, deserialize_with = "patient")]
    expires_at: Option<Timestamp>,
}

objects!(Auth);

impl Auth {
    /// The account; nothing where the answer does not name it.
    pub(super) fn into_account(self) -> Option<Account> {
        let is_plain = |id: &String| {
            let of_id = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            (1..=Account::MAX_ID).contains(&id.len()) && id.bytes().all(of_id)
        };
        let Self { entity_type, entity_id, token_kind, expires_at } = self;
        Some(Account { entity: entity_type?, id: entity_id.filter(is_plain)?, token_kind, expires_at })
    }
}

impl Lenient<'_> for Entity {
    fn from_text(word: &str) -> Option<Self> {
        match word {
            "team" => Some(Self::Team),
            "org" => Some(Self::Organisation),
            _ => None,
        }
    }
}

impl Lenient<'_> for TokenKind {
    fn from_text(word: &str) -> Option<Self> {
        match word {
            "api" => Some(Self::Api),
            "session" => Some(Self::Session),
            "workload" => Some(Self::Workload),
            _ => None,
        }
    }
}
