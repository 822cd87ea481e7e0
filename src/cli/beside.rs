//! Beside a running daemon: where its ledger and its manifests are, which its listener says. So commands that only read
//! show what the daemon has, and what people ask for reaches it, whoever runs them and wherever: root, another user,
//! `docker compose exec`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::args::{FolderArgs, Listen, StateArgs, listen};
use super::exit::Exit;
use super::{Failure, health, misconfigured, on_runtime, print, settings};
use crate::ledger::{Reader, identity};
use crate::source::Folder;
use crate::text::printable;
use crate::web::Whereabouts;

/// How long a daemon may take to say it. Where none listens, the answer is there at once.
const PATIENCE: Duration = Duration::from_secs(1);
/// More than two paths take.
const MAX_ANSWER: u64 = 64 << 10;

#[derive(Args, Debug)]
pub(super) struct BesideArgs {
    /// Address of a running daemon (its --listen), or off: without --state-dir its ledger is the one that is meant
    #[arg(long, value_name = "ADDR", env = "TRUENORTH_LISTEN", default_value = "127.0.0.1:9095", value_parser = listen)]
    listen: Listen,
}

/// What a daemon that answers has to do with this place.
enum Found {
    /// It has this ledger open.
    Here(SocketAddr, Whereabouts),
    /// It names a ledger that is not here, or that somebody else has open.
    Elsewhere(SocketAddr, Whereabouts),
}

impl BesideArgs {
    /// The ledger's folder that is meant: the one that is named; else that of a running daemon; else the usual one.
    pub(super) fn state_dir(&self, state: &StateArgs) -> anyhow::Result<(PathBuf, Option<Whereabouts>)> {
        let usual = settings::state_dir(state, &settings::environment);
        if state.state_dir.is_some() || settings::environment("STATE_DIRECTORY").is_some_and(|dirs| !dirs.is_empty()) {
            return usual.map(|usual| (usual, None));
        }
        match self.daemon()? {
            None => usual.map(|usual| (usual, None)),
            Some(Found::Elsewhere(address, found)) => {
                let shown = printable(&found.ledger.to_string_lossy());
                print::note(&format!(
                    "note: the daemon at {address} has its ledger in {shown} of another machine or container, or \
                     another truenorth has that one: it is passed over; run the command where that daemon runs\n"
                ));
                usual.map(|usual| (usual, None))
            }
            Some(Found::Here(address, found)) => {
                if usual.map_or(true, |usual| !is_same(&usual, &found.ledger)) {
                    let shown = printable(&found.ledger.to_string_lossy());
                    print::note(&format!("note: the daemon at {address} has its ledger in {shown}\n"));
                }
                Ok((found.ledger.clone(), Some(found)))
            }
        }
    }

    /// The same for what people ask for. Where a daemon has another ledger than the usual one, and there is a usual one
    /// too, they say which they mean.
    pub(super) fn state_dir_to_ask(&self, state: &StateArgs) -> anyhow::Result<(PathBuf, Option<Whereabouts>)> {
        let (meant, daemon) = self.state_dir(state)?;
        let usual = settings::state_dir(state, &settings::environment).ok().filter(|_| daemon.is_some());
        let is_there = |dir: &PathBuf| !is_same(dir, &meant) && !matches!(Reader::open(dir), Ok(None));
        if let Some(usual) = usual.filter(is_there) {
            let shown = |dir: &Path| printable(&dir.to_string_lossy()).to_string();
            let message = format!("two ledgers may be meant: {}, and the daemon's in {}", shown(&usual), shown(&meant));
            let hint = format!("name one of them: --state-dir {}", shown(&meant));
            return Err(misconfigured(message, Some(&hint)));
        }
        Ok((meant, daemon))
    }

    /// The same, with the folder of manifests: the daemon's, where none is named and none is here.
    /// A sandbox has no usual ledger: where none is named and no daemon has one, it is gone.
    pub(super) fn observed(
        &self,
        state: &StateArgs,
        folder: &FolderArgs,
        sandbox: bool,
    ) -> anyhow::Result<(PathBuf, Folder)> {
        let (state_dir, daemon) = self.state_dir(state)?;
        if sandbox && state.state_dir.is_none() && daemon.is_none() {
            let hint = Some("name the ledger that its passes keep with --state-dir".to_owned());
            let message = "the ledger of a sandbox is thrown away at its end".to_owned();
            return Err(Failure { message, hint, exit: Exit::Usage }.into());
        }
        let folder = folder_beside(folder, daemon.as_ref());
        Ok((state_dir, folder))
    }

    fn daemon(&self) -> anyhow::Result<Option<Found>> {
        let Listen::At(address) = self.listen else { return Ok(None) };
        if address.port() == 0 {
            return Ok(None);
        }
        let address = health::reachable(address);
        let answered: anyhow::Result<Option<Whereabouts>> = on_runtime(async move {
            let asked = health::ask(address, "/whereabouts", MAX_ANSWER);
            // Whoever does not answer, or answers something else, is not a daemon that could say it.
            let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, asked).await else { return Ok(None) };
            let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
            Ok(serde_json::from_str(body).ok())
        });
        Ok(answered?.map(|found| match has_open(&found) {
            true => Found::Here(address, found),
            false => Found::Elsewhere(address, found),
        }))
    }
}

/// The folder of manifests that is meant: a daemon's, where none is named and none is here.
pub(super) fn folder_beside(folder: &FolderArgs, daemon: Option<&Whereabouts>) -> Folder {
    let is_usual = folder.manifests == Path::new(FolderArgs::USUAL);
    let elsewhere = daemon.filter(|_| is_usual && !folder.manifests.exists());
    folder.folder_at(elsewhere.map(|daemon| &*daemon.manifests))
}

/// Whether whoever answers has the ledger open that it names, and that is the file which is there. Any program could
/// listen, and name one that somebody else has. One that cannot be read is not passed over: why it cannot be is the answer
/// then.
fn has_open(found: &Whereabouts) -> bool {
    match Reader::open(&found.ledger) {
        Ok(Some(reader)) => {
            let is_held = reader.holder().is_ok_and(|holder| holder.is_some());
            is_held && found.ledger_id.is_some() && found.ledger_id == identity(&found.ledger)
        }
        Ok(None) => false,
        Err(_) => true,
    }
}

/// Whether two paths lead to one folder.
fn is_same(one: &Path, other: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    one == other || whole(one) == whole(other)
}
