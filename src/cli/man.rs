//! `truenorth man`: the manual pages, made from what `--help` says.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory as _};
use clap_mangen::Man;

use super::args::Arguments;
use super::exit::Exit;
use super::{misconfigured, origin, print};

#[derive(Args, Debug)]
pub(super) struct ManArgs {
    /// Folder to write truenorth.1, truenorth-plan.1 and the others to; made where it is not there
    #[arg(long, value_name = "DIR", env = "TRUENORTH_MAN_OUT")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &ManArgs) -> anyhow::Result<Exit> {
    match &args.out {
        Some(folder) => write_all(folder)?,
        None => {
            let mut page = Vec::new();
            page_of(command()).render(&mut page)?;
            print::told(std::io::stdout().write_all(&page))?;
        }
    }
    Ok(Exit::Converged)
}

fn command() -> Command {
    Arguments::command().disable_help_subcommand(true)
}

/// The page of a command, with a version in its foot whatever the command is.
fn page_of(command: Command) -> Man {
    Man::new(command).source(concat!("truenorth ", env!("CARGO_PKG_VERSION"))).manual("truenorth")
}

/// Writes a page for truenorth and one for each command.
fn write_all(folder: &Path) -> anyhow::Result<()> {
    let cannot = |error: std::io::Error| {
        misconfigured(
            format!("cannot write the manual pages to `{}`{}: {error}", folder.display(), origin::behind("out")),
            None,
        )
    };
    std::fs::create_dir_all(folder).map_err(cannot)?;
    let mut command = command();
    // So that each command knows that it is called `truenorth plan`, and its page `truenorth-plan`.
    command.build();
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    for page in commands.chain([command.clone()]) {
        page_of(page).generate_to(folder).map_err(cannot)?;
    }
    Ok(())
}
