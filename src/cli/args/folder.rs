//! The folder of manifests, who may deploy what from it, and the folder of the ledger.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::cli::settings;
use crate::source::{Allowed, Folder, Layout, Permits, Uncommitted};

#[derive(Args, Debug)]
pub(in crate::cli) struct FolderArgs {
    /// Folder of manifests, read with its subfolders
    #[arg(long, short, value_name = "DIR", env = "TRUENORTH_MANIFESTS", default_value = FolderArgs::USUAL)]
    pub(in crate::cli) manifests: PathBuf,
    /// In a git checkout: what to do about work that is not committed
    #[arg(long, value_name = "WHAT", env = "TRUENORTH_UNCOMMITTED", default_value = "apply")]
    pub(in crate::cli) uncommitted: UncommittedArg,
    #[command(flatten)]
    pub(in crate::cli) permits: PermitArgs,
}

impl FolderArgs {
    /// The folder where none is named.
    pub(in crate::cli) const USUAL: &str = "manifests";

    /// The folder, not read yet.
    pub(in crate::cli) fn folder(&self) -> Folder {
        self.folder_at(None)
    }

    /// The same rules for a folder elsewhere. What holds the API's token is a problem, also for commands that do not need
    /// one, where one is at hand.
    pub(in crate::cli) fn folder_at(&self, elsewhere: Option<&Path>) -> Folder {
        let uncommitted = match self.uncommitted {
            UncommittedArg::Apply => Uncommitted::Apply,
            UncommittedArg::Ignore => Uncommitted::Ignore,
        };
        Folder::new(elsewhere.unwrap_or(&self.manifests))
            .with(uncommitted)
            .permitting(self.permits.permits())
            .withholding(settings::finds_token_at_hand())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum UncommittedArg {
    /// Apply what the folder has
    Apply,
    /// Apply what HEAD has, read from the repository: no filter is run
    Ignore,
}

/// Who may deploy what, from where.
#[derive(Args, Debug)]
pub(in crate::cli) struct PermitArgs {
    /// Services that the folder may deploy; may be given several times. Others are a problem
    ///
    /// PROJECT allows all of its services, PROJECT/SERVICE one of them; TEAM/PROJECT and TEAM/PROJECT/SERVICE are for
    /// manifests that name a team. * and ? stand for any characters of a part. Without this option all are allowed.
    #[arg(long, value_name = "PATTERN", env = "TRUENORTH_ALLOW", value_delimiter = ',')]
    pub(in crate::cli) allow: Vec<Allowed>,
    /// Where a manifest must stand: anywhere (free), or below its project's folder (project)
    ///
    /// With project, a manifest stands below PROJECT/, or below TEAM/PROJECT/ where it names a team. One elsewhere is a
    /// problem, and does not keep the one in its place from being applied: so rules about who may change a folder, such
    /// as CODEOWNERS, decide who may deploy a project.
    #[arg(long, value_name = "LAYOUT", env = "TRUENORTH_LAYOUT", default_value = "free")]
    pub(in crate::cli) layout: LayoutArg,
}

impl PermitArgs {
    pub(in crate::cli) fn permits(&self) -> Permits {
        let layout = match self.layout {
            LayoutArg::Free => Layout::Free,
            LayoutArg::Project => Layout::Project,
        };
        Permits { allow: self.allow.clone(), layout }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum LayoutArg {
    /// Anywhere
    Free,
    /// Below [TEAM/]PROJECT/
    Project,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct StateArgs {
    /// Folder of the ledger, which remembers what was applied
    ///
    /// Default: systemd's STATE_DIRECTORY, else $XDG_STATE_HOME/truenorth, else ~/.local/state/truenorth.
    #[arg(long, value_name = "DIR", env = "TRUENORTH_STATE_DIR")]
    pub(in crate::cli) state_dir: Option<PathBuf>,
}
