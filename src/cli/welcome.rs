//! `truenorth` alone, on a terminal, in a folder without manifests: what somebody types who wants to know what it is.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use super::args::RunArgs;
use super::exit::Exit;
use super::settings;

const WELCOME: &str = "\
truenorth keeps Northflank services true to the manifests in a folder.
This folder has no `manifests` in it. `--manifests DIR` (-m) names another one.

  truenorth init              write manifests from what runs
  truenorth validate          check every manifest, offline
  truenorth plan              show what a pass would do
  truenorth --reconcile-once  send what differs, then exit
  truenorth run               stay, and send what changes
  truenorth status            show every service
  truenorth doctor            say what is missing, and what to do

`truenorth --help` tells the rest. --sandbox tries it without an account.
";

/// Whether nothing was asked for, and there is nothing to do.
pub(super) fn is_due(args: &RunArgs) -> bool {
    let nothing_typed = std::env::args_os().len() == 1;
    let named = settings::environment("TRUENORTH_MANIFESTS").is_some_and(|folder| !folder.is_empty());
    let has_default = args.folder.manifests == Path::new("manifests") && !named;
    let asks = nothing_typed && !args.reconcile_once && std::io::stdout().is_terminal();
    asks && has_default && std::fs::symlink_metadata(&args.folder.manifests).is_err()
}

pub(super) fn run() -> anyhow::Result<Exit> {
    std::io::stdout().write_all(WELCOME.as_bytes())?;
    Ok(Exit::Converged)
}
