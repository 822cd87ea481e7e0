//! The list of a service's deployments: what was deployed, when, and by whom. What else it holds (the texts and authors
//! of commits, addresses of people beside their names) is passed over while it is read.

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess};

use super::lenient::{Item, Lenient, objects, patient};
use super::wire::{Envelope, Unfit};
use crate::model::DeploymentEntry;

/// How many deployments are asked for, the newest: what came since an update is among them, or nobody can tell.
pub(super) const NEWEST: u32 = 20;

/// The most that an answer may hold.
const MOST: usize = 100;

/// The longest text of an entry that is kept, in characters.
const LONGEST: usize = 300;

/// The `data` of the answer: an object with the list in it, or the list itself.
pub(super) struct Deployments(Result<Vec<DeploymentEntry>, Unfit>);

#[derive(Deserialize)]
struct Wrapped {
    #[serde(default, deserialize_with = "patient")]
    deployments: Option<Deployments>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default, deserialize_with = "patient")]
    id: Option<Text>,
    #[serde(default, deserialize_with = "patient")]
    created_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "patient")]
    image: Option<Image>,
    #[serde(default, deserialize_with = "patient")]
    commit: Option<Commit>,
    #[serde(default, deserialize_with = "patient")]
    reason: Option<Reason>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    #[serde(default, deserialize_with = "patient")]
    image_path: Option<Text>,
    #[serde(default, deserialize_with = "patient")]
    image: Option<Text>,
    #[serde(default, deserialize_with = "patient")]
    tag: Option<Text>,
    #[serde(default, deserialize_with = "patient")]
    sha: Option<Text>,
}

#[derive(Deserialize)]
struct Commit {
    #[serde(default, deserialize_with = "patient")]
    sha: Option<Text>,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default, deserialize_with = "patient")]
    user: Option<User>,
}

/// Who made a deployment. The contract does not say what stands in it, so the likeliest names are tried, the one that
/// people know first.
struct User(Option<String>);

#[derive(Deserialize)]
struct UserFields {
    #[serde(default, deserialize_with = "patient")]
    name: Option<Text>,
    #[serde(default, deserialize_with = "patient")]
    username: Option<Text>,
    #[serde(default, deserialize_with = "patient")]
    email: Option<Text>,
    #[serde(default, deserialize_with = "patient")]
    id: Option<Text>,
}

/// A text that is not empty, and not too long to be what it stands for.
struct Text(String);

objects!(Entry, Image, Commit, Reason, Wrapped, UserFields);

impl Lenient<'_> for Text {
    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_fit = !text.is_empty() && text.chars().nth(LONGEST).is_none();
        is_fit.then(|| Self(text.to_owned()))
    }
}

impl<'de> Lenient<'de> for User {
    fn from_text(text: &str) -> Option<Self> {
        Some(Self(Text::from_text(text).map(|Text(text)| text)))
    }
    fn from_object<A: MapAccess<'de>>(fields: A) -> Result<Option<Self>, A::Error> {
        let named =
            |UserFields { name, username, email, id }| name.or(username).or(email).or(id).map(|Text(text)| text);
        Ok(UserFields::from_object(fields)?.map(|fields| Self(named(fields))))
    }
}

impl<'de> Lenient<'de> for Deployments {
    fn from_list<A: SeqAccess<'de>>(mut items: A) -> Result<Option<Self>, A::Error> {
        let mut entries = Ok(Vec::new());
        // To the end also where it is of no use: what follows in the answer is read either way.
        while let Some(Item(item)) = items.next_element::<Item<Entry>>()? {
            entries = entries.and_then(|mut entries| {
                if entries.len() == MOST {
                    return Err(Unfit::TooManyDeployments);
                }
                // One that is left out would be one that never came between.
                entries.push(item.and_then(Entry::into_model).ok_or(Unfit::NoDeployment)?);
                Ok(entries)
            });
        }
        Ok(Some(Self(entries)))
    }
    fn from_object<A: MapAccess<'de>>(fields: A) -> Result<Option<Self>, A::Error> {
        Ok(Wrapped::from_object(fields)?.and_then(|wrapped| wrapped.deployments))
    }
}

impl Entry {
    /// Nothing where it has no id, or no time that can be read.
    fn into_model(self) -> Option<DeploymentEntry> {
        let text = |text: Option<Text>| text.map(|Text(text)| text);
        let (path, name, tag, sha) = match self.image {
            Some(Image { image_path, image, tag, sha }) => (image_path, image, tag, sha),
            None => (None, None, None, None),
        };
        Some(DeploymentEntry {
            id: text(self.id)?,
            created_at: self.created_at?,
            image: text(path.or(name)),
            tag: text(tag),
            sha: text(sha),
            commit: text(self.commit.and_then(|commit| commit.sha)),
            user: self.reason.and_then(|reason| reason.user).and_then(|User(user)| user),
        })
    }
}

/// The deployments of an answer, the newest first.
pub(super) fn entries(answer: Envelope<Deployments>) -> Result<Vec<DeploymentEntry>, Unfit> {
    let Deployments(entries) = answer.data.ok_or(Unfit::NoDeployments)?;
    let mut entries = entries?;
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.created_at));
    Ok(entries)
}
