//! Whose a token is: what `GET /v1/auth` says of it.

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::SeqAccess;

use super::lenient::{Item, Lenient, objects, patient};

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
    /// What it may do in projects, in the API's words, where that is said.
    pub permissions: Option<Vec<String>>,
    /// Which projects it is kept to, where it is.
    pub projects: Option<ProjectRestriction>,
}

/// A token that opens some projects only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectRestriction {
    /// Whether these are the projects that it opens; otherwise those that it does not.
    pub only: bool,
    /// The projects' ids.
    pub projects: Vec<String>,
}

impl ProjectRestriction {
    /// Whether the token opens a project.
    #[must_use]
    pub fn admits(&self, project: &str) -> bool {
        self.projects.iter().any(|named| named == project) == self.only
    }
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
    #[serde(default, deserialize_with = "patient")]
    permissions: Option<Permissions>,
    #[serde(default, deserialize_with = "patient")]
    project_restrictions: Option<Restrictions>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Permissions {
    #[serde(default, deserialize_with = "patient")]
    project_scope: Option<Words>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Restrictions {
    #[serde(default, deserialize_with = "patient")]
    enabled: Option<bool>,
    #[serde(default, deserialize_with = "patient")]
    projects: Option<Words>,
    #[serde(default, deserialize_with = "patient")]
    restriction_mode: Option<String>,
}

objects!(Auth, Permissions, Restrictions);

/// A list of short texts; what else stands in it is passed over.
struct Words(Vec<String>);

impl Words {
    const MOST: usize = 1000;
    const LONGEST: usize = 200;
}

impl<'de> Lenient<'de> for Words {
    fn from_list<A: SeqAccess<'de>>(mut items: A) -> Result<Option<Self>, A::Error> {
        let mut words = Vec::new();
        while let Some(Item(word)) = items.next_element::<Item<String>>()? {
            words.extend(word.filter(|word| words.len() < Self::MOST && word.len() <= Self::LONGEST));
        }
        Ok(Some(Self(words)))
    }
}

impl Restrictions {
    /// Nothing where the token is not kept to anything, or to what cannot be understood.
    fn into_restriction(self) -> Option<ProjectRestriction> {
        let only = match self.restriction_mode.as_deref() {
            Some("in") => true,
            Some("notIn") => false,
            _ => return None,
        };
        let projects = self.projects.filter(|_| self.enabled == Some(true))?.0;
        Some(ProjectRestriction { only, projects })
    }
}

impl Auth {
    /// The account; nothing where the answer does not name it.
    pub(super) fn into_account(self) -> Option<Account> {
        let is_plain = |id: &String| {
            let of_id = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            (1..=Account::MAX_ID).contains(&id.len()) && id.bytes().all(of_id)
        };
        let Self { entity_type, entity_id, token_kind, expires_at, permissions, project_restrictions } = self;
        Some(Account {
            entity: entity_type?,
            id: entity_id.filter(is_plain)?,
            token_kind,
            expires_at,
            permissions: permissions.and_then(|permissions| permissions.project_scope).map(|words| words.0),
            projects: project_restrictions.and_then(Restrictions::into_restriction),
        })
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
