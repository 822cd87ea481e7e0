//! Import: from what runs to manifests, so that a project can be taken over into git. Reads a project's services, writes
//! a manifest for each, reads them back, and compares them with what runs: whether a first pass would find anything to
//! do. It sends no update and knows no ledger.
//!
//! ```text
//! list ─ GET each ─ describe (update) ─ yaml ─ place (file) ─ look at the folder ─ compare with live
//! ```
//!
//! A service that a manifest of the folder describes already, in whatever file, gets no second one.

mod calls;
mod describe;
mod place;
mod report;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::manifest::{Format, parse};
use crate::model::{Id, Live, ServiceKey, ServiceKind};
use crate::northflank::{Client, Listed, Page};
use crate::source::{Folder, Permits, Snapshot, Unreadable};

use calls::{Calls, GivenUp};
pub use describe::Untold;
use describe::{Described, Indescribable, describe};
pub use place::Existing;
use place::{Out, Place};
pub use report::{Imported, Outcome, Report};

/// Most services of a project; a folder has the same bound.
const MAX_SERVICES: usize = 100_000;

/// Most pages of a project's services, which may be less than full.
const MAX_PAGES: usize = 2 * MAX_SERVICES / Page::SIZE as usize;

/// Most pages in a row that bring no new service. One may be empty where its services went meanwhile.
const EMPTY_PAGES: u32 = 5;

/// What is to be imported, and where to.
#[derive(Clone, Debug)]
pub struct Request {
    /// The team, for an organisation's token.
    pub team: Option<Id>,
    pub project: Id,
    /// Only these services; all of the project where none is named.
    pub services: BTreeSet<Id>,
    /// The folder to write to.
    pub folder: PathBuf,
    /// What manifests in it may do.
    pub permits: Permits,
    /// What is done where a file is there already.
    pub existing: Existing,
    /// Calls in flight at once, at least 1.
    pub concurrency: usize,
    /// The file at the top of the folder that has the manifest's JSON Schema, which each manifest then names for editors.
    pub schema: Option<String>,
}

/// What an import tells while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// So many services of so many are through.
    Progress {
        /// Services that are through, well or not.
        ended: usize,
        of: usize,
    },
    /// The rate limit is used up, and everything waits.
    Limited { wait: Duration, until: Timestamp },
}

/// Why nothing could be imported at all.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The folder cannot be made or opened.
    #[error("cannot write to the folder `{}`", path.display())]
    Folder {
        /// As it was given.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The folder cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The project's services cannot be listed.
    #[error("cannot list the services of project `{project}`: {why}")]
    List {
        project: Id,
        /// What went wrong, causes included.
        why: String,
        /// What to do about it.
        hint: Option<&'static str>,
    },
}

impl ImportError {
    /// Whether the configuration is at fault, so that nothing was read.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Folder { .. } => true,
            Self::Unreadable(unreadable) => !unreadable.is_busy(),
            Self::List { .. } => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Folder { .. } => None,
            Self::Unreadable(unreadable) => unreadable.hint(),
            Self::List { hint, .. } => hint.map(str::to_owned),
        }
    }
}

/// Why a project's services are not all known. Half of them would be taken for the whole.
#[derive(Debug, Error)]
enum Unlisted {
    #[error("{0}")]
    Call(GivenUp),
    #[error("a page leads back to one that was read already")]
    Circle,
    #[error("{EMPTY_PAGES} pages in a row have no new service, and there are said to be more")]
    NothingNew,
    #[error("there are more than {MAX_SERVICES}, or more pages than those take")]
    TooMany,
}

/// What became of one service before the folder was read back.
enum Fate {
    /// A manifest was written, or one was there.
    Has {
        written: bool,
        live: Box<Live>,
        untold: Vec<Untold>,
    },
    Skipped(&'static str),
    Failed(String),
}

/// Imports. `hear` is told how far it is.
///
/// # Errors
/// Where the folder cannot be used, or the list of services cannot be had; what goes wrong with a single service is in
/// the report.
pub async fn import(client: &Client, request: &Request, hear: impl Fn(Heard)) -> Result<Report, ImportError> {
    let out =
        Out::open(&request.folder).map_err(|source| ImportError::Folder { path: request.folder.clone(), source })?;
    let mut folder = Folder::new(&request.folder).permitting(request.permits.clone());
    let before = folder.look()?;
    let calls = Calls::new(&hear);
    let job = Job { client, request, out: &out, before: &before, calls: &calls };

    let listed = job.list().await.map_err(|error| ImportError::List {
        project: request.project.clone(),
        hint: match &error {
            Unlisted::Call(call) if call.status == Some(404) => {
                Some("is it the project's id, and does the token need --team?")
            }
            Unlisted::TooMany | Unlisted::Circle | Unlisted::NothingNew => {
                Some("name the services that are meant: `truenorth import --service NAME`")
            }
            Unlisted::Call(_) => None,
        },
        why: error.to_string(),
    })?;
    let (of, ended) = (listed.len(), AtomicUsize::new(0));
    hear(Heard::Progress { ended: 0, of });
    let fates: BTreeMap<String, Fate> = futures_util::stream::iter(listed)
        .map(async |service| {
            let fate = job.import(&service).await;
            hear(Heard::Progress { ended: ended.fetch_add(1, Ordering::Relaxed) + 1, of });
            (service.id, fate)
        })
        .buffer_unordered(request.concurrency.max(1))
        .collect()
        .await;

    let after = folder.look()?;
    let imported = fates.into_iter().map(|(service, fate)| {
        let key = Id::new(&service).ok().map(|service| job.key(service));
        report::imported(service, key.as_ref(), request, fate, &after)
    });
    Ok(Report::new(imported.collect(), calls.spent()))
}

/// What the steps of an import share.
struct Job<'a, H> {
    client: &'a Client,
    request: &'a Request,
    out: &'a Out,
    before: &'a Snapshot,
    calls: &'a Calls<'a, H>,
}

impl<H: Fn(Heard)> Job<'_, H> {
    fn key(&self, service: Id) -> ServiceKey {
        ServiceKey { team: self.request.team.clone(), project: self.request.project.clone(), service }
    }

    /// The services that are asked for: those that were named, else all of the project.
    async fn list(&self) -> Result<Vec<Listed>, Unlisted> {
        let Request { team, project, services, .. } = self.request;
        if !services.is_empty() {
            return Ok(services
                .iter()
                .map(|id| Listed { id: id.as_str().to_owned(), kind: None, status: None })
                .collect());
        }
        let (mut found, mut followed) = (BTreeMap::new(), BTreeSet::new());
        let mut cursor: Option<String> = None;
        // Pages in a row that had nothing new.
        let mut without = 0;
        for _ in 0..MAX_PAGES {
            let list = async || self.client.list_services(team.as_ref(), project, cursor.as_deref()).await;
            let page = self.calls.make(list).await.map_err(Unlisted::Call)?;
            let known = found.len();
            // A service that is made meanwhile can move others to the next page; each counts once.
            found.extend(page.services.into_iter().map(|listed| (listed.id.clone(), listed)));
            if found.len() > MAX_SERVICES {
                return Err(Unlisted::TooMany);
            }
            let Some(next) = page.next else { return Ok(found.into_values().collect()) };
            if !followed.insert(Sha256::digest(&next)) {
                return Err(Unlisted::Circle);
            }
            without = if found.len() > known { 0 } else { without + 1 };
            if without == EMPTY_PAGES {
                return Err(Unlisted::NothingNew);
            }
            cursor = Some(next);
        }
        Err(Unlisted::TooMany)
    }

    async fn import(&self, listed: &Listed) -> Fate {
        if listed.kind == Some(ServiceKind::Build) {
            return Fate::Skipped("a service of type build deploys nothing");
        }
        let key = match Id::new(&listed.id) {
            Ok(service) => self.key(service),
            Err(error) => return Fate::Failed(format!("its id {error}")),
        };
        let place = Place::of(&key);
        let write = match self.to_write(&key, &place) {
            Ok(write) => write,
            Err(why) => return Fate::Failed(why),
        };
        let live = match self.calls.make(async || self.client.read_service(&key).await).await {
            // Into a file goes no token, also where a command holds it.
            Ok(live) => live.map_texts(|text| self.client.conceal(text)),
            Err(error) => return Fate::Failed(error.to_string()),
        };
        if !write {
            // What live cannot be described by has no comment to look at either.
            let untold = describe(&live).map(|described| described.untold).unwrap_or_default();
            return Fate::Has { written: false, live: Box::new(live), untold };
        }
        let described = match describe(&live) {
            Ok(described) => described,
            Err(Indescribable::NoDeployment(why)) => return Fate::Skipped(why),
            Err(Indescribable::Beyond(why)) => return Fate::Failed(why.to_owned()),
        };
        match self.write(&key, &place, &described) {
            Ok(()) => Fate::Has { written: true, live: Box::new(live), untold: described.untold },
            Err(why) => Fate::Failed(why),
        }
    }

    /// Whether a manifest is to be written: not where the folder has one. What stands in the way is told before a call is
    /// spent.
    fn to_write(&self, key: &ServiceKey, place: &Place) -> Result<bool, String> {
        let replace = self.request.existing == Existing::Replace;
        if let Some(desired) = self.before.desired.get(key) {
            let is_own = *desired.place.file == *place.to_string();
            return Ok(is_own && replace);
        }
        match self.out.is_taken(place) {
            // Written in another file, a second manifest would only be one more problem.
            Ok(false) if !replace && !self.before.proves_absence(key, &place.to_string()) => {
                Err("a manifest that has a problem names it; hint: `truenorth validate` shows the problem".to_owned())
            }
            Ok(true) if !replace => Err(format!(
                "`{place}` is there, and is not a valid manifest of this service; hint: --force writes over it"
            )),
            Ok(_) => Ok(true),
            Err(error) => Err(format!("cannot look for `{place}`: {error}")),
        }
    }

    /// Writes a manifest that says what is meant; one that would not is a fault of ours, and is not written.
    fn write(&self, key: &ServiceKey, place: &Place, described: &Described) -> Result<(), String> {
        let schema = self.request.schema.as_ref().map(|name| format!("{}{name}", place.to_top()));
        let text = yaml::manifest(key, described, schema.as_deref());
        let parsed = parse(&Arc::from(place.to_string()), Format::Yaml, text.as_bytes());
        match parsed.manifests.as_slice() {
            [(read, desired)] if read == key && *desired.update == described.update => {}
            _ => {
                let problem = parsed.problems.first().map_or("it would say something else", |problem| &problem.message);
                return Err(format!("what runs cannot be written as a manifest: {problem}"));
            }
        }
        self.out.write(place, &text, self.request.existing).map_err(|error| format!("cannot write `{place}`: {error}"))
    }
}

#[cfg(test)]
mod tests;
