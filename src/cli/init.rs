//! `truenorth init`: from an account to a folder of manifests and the plan for it. It writes files, and over none.

mod ask;
mod files;

use std::path::Path;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

use super::args::{ApiArgs, ConnectArgs, FolderArgs, StateArgs, id};
use super::exit::Exit;
use super::plan::{self, Asked, PlanOutput};
use super::target::Reading;
use super::{Failure, import, names, on_runtime, print, settings};
use crate::import::{Existing, Report, Request};
use crate::model::Id;
use crate::northflank::{Client, Entity, TokenSource};
use crate::plan::{Rules, Windows};
use crate::text::command::Commands;
use crate::text::printable;
use ask::Question;

/// What `truenorth init --help` says after the options.
const AFTER_HELP: &str = "\
It reads what a project runs and writes a manifest for each service, the manifests' JSON Schema for editors and an
ignore file, and shows the plan. It sends no update, and writes over no file. On a terminal it asks for what is missing.

Example: truenorth init --project shop --token-file token --for systemd
Without an account: truenorth init --project shop --sandbox

Exit codes: 0 each deployed service has a manifest that says what runs; 1 something failed, or a pass would send something; \
64 and 78 as with every command.";

/// Calls in flight at once.
const CONCURRENCY: usize = 8;

/// The most services that are read once more for the plan.
const READ_AGAIN: usize = 100;

#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct InitArgs {
    /// Project to begin with: its id in Northflank
    #[arg(add = ArgValueCompleter::new(names::projects), long, value_name = "PROJECT", env = "TRUENORTH_INIT_PROJECT", value_parser = id)]
    project: Option<Id>,
    /// Team that the project belongs to; only with an organisation's token
    #[arg(long, value_name = "TEAM", env = "TRUENORTH_INIT_TEAM", value_parser = id)]
    team: Option<Id>,
    /// What will run truenorth: a file for that is written too
    #[arg(long = "for", value_name = "WHAT", env = "TRUENORTH_INIT_FOR", default_value = "none")]
    runs: Runs,
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    api: ConnectArgs,
    /// Begin with a project of the stand-in for the API, which has some services
    #[arg(long, env = "TRUENORTH_SANDBOX", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    sandbox: bool,
}

/// What runs truenorth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Runs {
    /// Nothing yet
    None,
    /// systemd: truenorth.env, the unit's options
    Systemd,
    /// GitHub Actions: .github/workflows/truenorth.yml
    #[value(alias = "github")]
    Ci,
    /// GitLab CI: .gitlab-ci.yml
    Gitlab,
}

/// What is known once everything was asked.
struct Wanted {
    project: Id,
    team: Option<Id>,
    folder: FolderArgs,
    state: StateArgs,
    api: ApiArgs,
    runs: Runs,
}

pub(super) fn run(args: InitArgs) -> anyhow::Result<Exit> {
    let mut wanted = settled(args)?;
    let report = on_runtime(imported(&mut wanted))?;
    let out = &wanted.folder.manifests;
    print::text(&import::rendered(&report, out))?;
    let written = files::write_all(&wanted)?;
    print::text(&format!("\n{}", files::told(&written)))?;
    print::text("\n")?;
    show_plan(&wanted, report.services.len())?;
    print::text(&format!("\n{}", next(&wanted)))?;
    Ok(if report.empty { Exit::Converged } else { Exit::NotConverged })
}

/// Asks for what is missing; without a terminal says which options that needs.
fn settled(args: InitArgs) -> anyhow::Result<Wanted> {
    let InitArgs { project, team, runs, folder, state, mut api, sandbox } = args;
    let has_token = sandbox || TokenSource::choose(api.token.token_file.as_deref(), settings::environment).is_ok();
    let mut missing = Vec::new();
    missing.extend(project.is_none().then_some(Question::Project));
    missing.extend((!has_token).then_some(Question::TokenFile));
    ask::can_ask(&missing)?;
    let project = match project {
        Some(project) => project,
        None => ask::answer(Question::Project, id)?,
    };
    if !has_token {
        api.token.token_file = Some(ask::answer(Question::TokenFile, ask::file)?);
    }
    Ok(Wanted { project, team, folder, state, api: ApiArgs { connect: api, sandbox }, runs })
}

/// Asks whose the token is, and writes the manifests.
async fn imported(wanted: &mut Wanted) -> anyhow::Result<Report> {
    let reading = Reading::of(&wanted.api, Some((wanted.team.as_ref(), &wanted.project))).await?;
    if wanted.team.is_none() && needs_team(reading.client()).await {
        ask::can_ask(&[Question::Team])?;
        wanted.team = Some(ask::answer(Question::Team, id)?);
    }
    let request = Request {
        team: wanted.team.clone(),
        project: wanted.project.clone(),
        services: [].into(),
        folder: wanted.folder.manifests.clone(),
        permits: wanted.folder.permits.permits(),
        existing: Existing::Keep,
        concurrency: CONCURRENCY,
        schema: Some(files::SCHEMA.to_owned()),
    };
    let report = import::imported(reading.client(), &request, "manifests").await?;
    reading.end().await;
    Ok(report)
}

/// Whether the token is an organisation's. Where that cannot be told, the import tells what is wrong.
async fn needs_team(client: &Client) -> bool {
    let account = client.account().await.ok().and_then(|answered| answered.value);
    account.is_some_and(|account| account.entity == Entity::Organisation)
}

/// The plan, by what runs where that is not too much to read twice.
fn show_plan(wanted: &Wanted, services: usize) -> anyhow::Result<()> {
    let examples = Some((wanted.team.as_ref(), &wanted.project));
    let asked = Asked {
        folder: &wanted.folder,
        state: &wanted.state,
        api: &wanted.api,
        rules: Rules::default(),
        max_changes: None,
        windows: Windows::default(),
        reads: (services <= READ_AGAIN).then_some(plan::Reads { concurrency: CONCURRENCY, examples }),
        commands: Commands::Hidden,
    };
    asked.plan()?.show(PlanOutput::Text)
}

/// What comes next.
fn next(wanted: &Wanted) -> String {
    let folder = word(&wanted.folder.manifests);
    let mut command = "truenorth --reconcile-once".to_owned();
    if wanted.api.sandbox {
        command += " --sandbox";
    }
    if wanted.folder.manifests.as_os_str() != FolderArgs::USUAL {
        command += &format!(" --manifests {folder}");
    }
    if let Some(file) = &wanted.api.connect.token.token_file {
        command += &format!(" --token-file {}", word(file));
    }
    format!("next: look at {folder}, commit it, then\n  {command}\n")
}

/// A path as a word of a shell.
fn word(path: &Path) -> String {
    let text = printable(&path.to_string_lossy()).to_string();
    if !text.is_empty() && is_plain(&text) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Whether neither a shell nor systemd reads anything else than its characters in a text.
fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@:".contains(c))
}

/// A mistake in how the command was called: exit 64.
fn usage(message: String, hint: &str) -> anyhow::Error {
    Failure { message, hint: Some(hint.to_owned()), exit: Exit::Usage }.into()
}

/// A file that cannot be written: exit 78.
fn unwritable(path: &Path, error: &std::io::Error) -> anyhow::Error {
    super::misconfigured(format!("cannot write `{}`: {error}", path.display()), None)
}
