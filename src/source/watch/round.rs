//! One round of bringing the watches in line: finds what has to be watched, and watches it as it goes.
//!
//! Every step is taken in this order: care for a name, watch the folder that holds it, look at the name. So whatever
//! comes after the look at it is heard.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use super::noticed::{Cares, Interest, Noticed};
use super::watches::{Arming, Watches};
use super::{MAX_ENTRIES, NoEvents, is_hidden};
use crate::source::list::MAX_DEPTH;

/// Links on one way, as in the kernel.
const MAX_LINKS: usize = 40;

pub(super) struct Round<'a> {
    watches: &'a mut Watches,
    noticed: &'a Noticed,
    /// What matters, as far as this round has come.
    cares: BTreeMap<PathBuf, Cares>,
    far: Option<NoEvents>,
}

pub(super) enum Outcome {
    /// Whatever changes from now on is heard, but for what changes elsewhere on a far file system.
    InLine { far: Option<NoEvents> },
    /// Watched folders were replaced unheard: all watches have to be made anew.
    Displaced,
}

/// Why a round ends early.
enum Stop {
    Displaced,
    NoEvents(NoEvents),
}

impl From<NoEvents> for Stop {
    fn from(why: NoEvents) -> Self {
        Self::NoEvents(why)
    }
}

/// What a folder is watched for, and so what it means when it cannot be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// In case that it is renamed itself, or for what matters less. It may be that we can pass but not read it.
    Guard,
    /// For a link in it, or for what will appear in it: without, a change of everything could go unnoticed.
    Way,
    /// It is in the tree. Where it cannot be watched, it cannot be read: a problem to report, until its mode changes,
    /// of which the watch of the folder above tells.
    Tree,
}

/// Which way is gone, and so what is watched along it.
#[derive(Clone, Copy)]
enum Along<'a> {
    /// The way to the folder.
    Folder,
    /// The way to what the caller asks for besides.
    Also,
    /// That of a link in the tree: as long as it stays below this folder, where it has to end.
    Inside(&'a Path),
}

/// What is at a path.
enum Kind {
    Folder,
    Link(PathBuf),
    File,
    Nothing,
}

impl<'a> Round<'a> {
    pub(super) fn new(watches: &'a mut Watches, noticed: &'a Noticed) -> Self {
        Self { watches, noticed, cares: BTreeMap::new(), far: None }
    }

    /// Goes through all of it. `path` and `also` are absolute.
    pub(super) fn run(mut self, path: &Path, also: &[PathBuf]) -> Result<Outcome, NoEvents> {
        match self.all(path, also) {
            Ok(()) => {}
            Err(Stop::Displaced) => return Ok(Outcome::Displaced),
            Err(Stop::NoEvents(why)) => return Err(why),
        }
        self.watches.keep_only(|folder| self.cares.contains_key(folder));
        self.noticed.care_only(self.cares);
        Ok(Outcome::InLine { far: self.far })
    }

    fn all(&mut self, path: &Path, also: &[PathBuf]) -> Result<(), Stop> {
        let top = Path::new("/");
        if let Some(root) = self.go(top, path, Along::Folder)? {
            self.tree(root)?;
        }
        for path in also {
            if let Some(folder) = self.go(top, path, Along::Also)? {
                self.enter(&folder, &Interest::Visible, Need::Guard)?;
            }
        }
        Ok(())
    }

    /// Goes along a path, through links; returns the folder at its end, a path without links, if there is one.
    fn go(&mut self, start: &Path, path: &Path, along: Along<'_>) -> Result<Option<PathBuf>, Stop> {
        let mut at = start.to_owned();
        let mut ahead = Vec::new();
        let mut links = 0;
        turn(path, &mut at, &mut ahead);
        while let Some(name) = ahead.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            match self.look_at(&at, &name, along)? {
                Kind::Folder => at.push(name),
                Kind::Link(target) if links < MAX_LINKS => {
                    links += 1;
                    turn(&target, &mut at, &mut ahead);
                }
                Kind::Link(_) | Kind::File | Kind::Nothing => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// What is there by this name, and will be heard of from now on.
    fn look_at(&mut self, folder: &Path, name: &OsStr, along: Along<'_>) -> Result<Kind, Stop> {
        let path = folder.join(name);
        let kind = Kind::of(&path);
        let need = match (along, &kind) {
            (Along::Inside(root), _) if !folder.starts_with(root) => return Ok(kind),
            (Along::Inside(_), _) => Need::Tree,
            // A folder that is renamed or removed says so itself, so those at the top (`/tmp`, `/srv`) need not be
            // watched: they stay where they are, and everybody else's business in them would wake us.
            (Along::Folder | Along::Also, Kind::Folder) if is_at_top(folder) => return Ok(kind),
            (Along::Folder, Kind::Folder) | (Along::Also, _) => Need::Guard,
            (Along::Folder, Kind::Link(_) | Kind::File | Kind::Nothing) => Need::Way,
        };
        let interest = match along {
            // A folder of the tree, or a hidden one that its links lead through: its names are too many to list.
            Along::Inside(_) if !is_hidden(name) => Interest::Visible,
            _ => Interest::Name(name.to_owned()),
        };
        match self.enter(folder, &interest, need)? {
            Heard::SinceNow => Ok(Kind::of(&path)),
            Heard::Before => Ok(kind),
        }
    }

    /// Watches the folder at `root`, all that are visible below, and inside of it where links lead.
    fn tree(&mut self, root: PathBuf) -> Result<(), Stop> {
        let mut entered = BTreeSet::new();
        let mut ahead = vec![(root.clone(), 0)];
        while let Some((folder, depth)) = ahead.pop() {
            // Nothing is read deeper down.
            if depth > MAX_DEPTH || entered.contains(&folder) {
                continue;
            }
            if entered.len() == MAX_ENTRIES {
                return Err(NoEvents::TooManyFolders.into());
            }
            self.enter(&folder, &Interest::Visible, Need::Tree)?;
            let entries = self.watches.entries(&folder);
            ahead.extend(entries.folders.iter().map(|name| (folder.join(name), depth + 1)));
            for link in &entries.links {
                let target = self.go(&folder, Path::new(link), Along::Inside(&root))?;
                let inside = target.filter(|target| target.starts_with(&root));
                ahead.extend(inside.map(|target| (target, depth + 1)));
            }
            entered.insert(folder);
        }
        Ok(())
    }

    /// Watches a folder, a path without links, for an entry or all of them.
    fn enter(&mut self, folder: &Path, interest: &Interest, need: Need) -> Result<Heard, Stop> {
        let is_new = match self.cares.get_mut(folder) {
            Some(cares) => cares.add(interest),
            None => self.cares.entry(folder.to_owned()).or_default().add(interest),
        };
        if !is_new {
            return Ok(Heard::Before);
        }
        self.noticed.care(folder, interest);
        match self.watches.arm(folder)? {
            Arming::Armed | Arming::Held => {}
            Arming::Displaced => return Err(Stop::Displaced),
            Arming::Denied(source) if need == Need::Way => {
                return Err(NoEvents::Refused { path: folder.to_owned(), source }.into());
            }
            // It cannot say itself when that changes; the folder above it can.
            Arming::Denied(_) => {
                if let (Some(above), Some(name)) = (folder.parent(), folder.file_name()) {
                    self.enter(above, &Interest::Name(name.to_owned()), Need::Guard)?;
                }
            }
            // In the tree, the watch of the folder above has told, or will.
            Arming::Gone if need == Need::Tree => {}
            Arming::Gone => self.noticed.tell(),
        }
        if need != Need::Guard && self.far.is_none() {
            let far = |kind| NoEvents::Far { path: folder.to_owned(), kind };
            self.far = self.watches.unsuited(folder).map(far);
        }
        Ok(Heard::SinceNow)
    }
}

/// Since when an entry is heard of.
enum Heard {
    Before,
    SinceNow,
}

impl Kind {
    fn of(path: &Path) -> Self {
        let Ok(metadata) = path.symlink_metadata() else { return Self::Nothing };
        if metadata.is_dir() {
            Self::Folder
        } else if metadata.is_symlink() {
            path.read_link().map_or(Self::Nothing, Self::Link)
        } else {
            Self::File
        }
    }
}

/// Whether a path without links is the root or in it.
fn is_at_top(folder: &Path) -> bool {
    folder.parent().is_none_or(|above| above.parent().is_none())
}

/// Puts a path's steps before those ahead; an absolute one starts at the top again.
fn turn(path: &Path, at: &mut PathBuf, ahead: &mut Vec<OsString>) {
    if path.is_absolute() {
        *at = PathBuf::from("/");
    }
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => ahead.push(name.to_owned()),
            Component::ParentDir => ahead.push("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
}
