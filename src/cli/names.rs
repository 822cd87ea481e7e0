//! Names for completions in a shell: of services and projects, from the folder and the ledger, without a call.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap_complete::CompletionCandidate;

use super::args::{FolderArgs, StateArgs};
use super::settings;
use crate::ledger::Reader;
use crate::model::{ServiceKey, project_path};
use crate::source::Folder;

/// Somebody waits for the answer with a finger on the key.
const PATIENCE: Duration = Duration::from_millis(300);

/// Services that begin with what was typed: by their names, or by their last part where only one has it.
pub(super) fn services(typed: &OsStr) -> Vec<CompletionCandidate> {
    let known = known();
    let mut names: Vec<String> = known.iter().map(ToString::to_string).collect();
    if !typed.is_empty() {
        let is_only = |key: &&ServiceKey| known.iter().filter(|other| other.service == key.service).count() == 1;
        names.extend(known.iter().filter(is_only).map(|key| key.service.to_string()));
    }
    beginning(typed, names)
}

/// Projects and services, as `status` takes them.
pub(super) fn patterns(typed: &OsStr) -> Vec<CompletionCandidate> {
    let known = known();
    let both = |key: &ServiceKey| [project_path(key.team.as_ref(), &key.project), key.to_string()];
    let names: BTreeSet<String> = known.iter().flat_map(both).collect();
    beginning(typed, names)
}

/// Ids of projects.
pub(super) fn projects(typed: &OsStr) -> Vec<CompletionCandidate> {
    let names: BTreeSet<String> = known().iter().map(|key| key.project.to_string()).collect();
    beginning(typed, names)
}

fn beginning(typed: &OsStr, names: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    names.into_iter().filter(|name| name.starts_with(&*typed)).map(CompletionCandidate::new).collect()
}

/// Every service that the folder or the ledger names. What cannot be read names none.
fn known() -> BTreeSet<ServiceKey> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let folder = given(&words, &["--manifests", "-m"], "TRUENORTH_MANIFESTS");
    let mut folder = Folder::new(folder.unwrap_or_else(|| FolderArgs::USUAL.into()));
    let snapshot = folder.look_within(PATIENCE).ok();
    let mut known: BTreeSet<ServiceKey> =
        snapshot.iter().flat_map(|snapshot| snapshot.desired.keys().chain(snapshot.claimed()).cloned()).collect();
    let state = StateArgs { state_dir: given(&words, &["--state-dir"], "TRUENORTH_STATE_DIR") };
    let reader = settings::state_dir(&state, &settings::environment).ok().and_then(|dir| Reader::open(&dir).ok()?);
    known.extend(reader.and_then(|reader| reader.services().ok()).into_iter().flatten());
    known
}

/// What was typed for an option, or else its variable.
fn given(words: &[OsString], names: &[&str], variable: &str) -> Option<PathBuf> {
    let typed = words.iter().enumerate().find_map(|(at, word)| {
        let word = word.to_str()?;
        let name = names.iter().find(|name| word.starts_with(**name))?;
        match word.strip_prefix(name)? {
            "" => words.get(at + 1).map(PathBuf::from),
            value => value.strip_prefix('=').map(PathBuf::from),
        }
    });
    typed.or_else(|| settings::environment(variable).map(PathBuf::from)).filter(|path| !path.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_for_an_option_is_found_in_each_of_its_forms() {
        let given = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            given(&words, &["--manifests", "-m"], "TRUENORTH_NOT_SET")
        };
        assert_eq!(given(&["why", "-m", "a"]), Some("a".into()));
        assert_eq!(given(&["--manifests=b", "why"]), Some("b".into()));
        assert_eq!(given(&["why", "--manifests"]), None);
        assert_eq!(given(&["why", "--manifestsx", "c"]), None);
    }
}
