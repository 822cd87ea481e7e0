//! `truenorth import`: writes a manifest for each service of a project, and says whether a first pass would find anything
//! to do.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};
use clap_complete::engine::ArgValueCompleter;

use super::args::{ApiArgs, Output, PermitArgs, concurrency, id};
use super::exit::Exit;
use super::progress::ReadsLine;
use super::target::Reading;
use super::{Failure, names, origin, print};
use crate::error::chain;
use crate::import::{Existing, Heard, ImportError, Imported, Outcome, Report, Request, import};
use crate::model::Id;
use crate::northflank::Client;
use crate::text::{counted, printable};

/// What `truenorth import --help` says after the options.
const AFTER_IMPORT_HELP: &str = "\
Example: take a project over into git, look at it, and let truenorth keep it.

  truenorth import --project shop --out manifests
  truenorth validate --manifests manifests
  truenorth --reconcile-once --manifests manifests

The files are <project>/<service>.yaml, with --team <team>/<project>/<service>.yaml. A service that a manifest in the \
folder describes already is left alone, and compared. Live does not give the ids of saved credentials: each manifest \
has a comment where its id belongs. Costs one call for 100 services and one for each deployed service; past the rate \
limit it waits.

Exit codes: 0 each deployed service has a manifest that says what runs; 1 something failed, or a pass would send something; \
64 and 78 as with every command.";

#[derive(Args, Debug)]
#[command(after_help = AFTER_IMPORT_HELP)]
pub(super) struct ImportArgs {
    /// Project to read
    #[arg(add = ArgValueCompleter::new(names::projects), long, value_name = "PROJECT", env = "TRUENORTH_IMPORT_PROJECT", value_parser = id)]
    project: Id,
    /// Team that the project belongs to; only with an organisation's token
    #[arg(long, value_name = "TEAM", env = "TRUENORTH_IMPORT_TEAM", value_parser = id)]
    team: Option<Id>,
    /// Only this service; may be given several times
    #[arg(long, value_name = "SERVICE", env = "TRUENORTH_IMPORT_SERVICE", value_delimiter = ',', value_parser = id)]
    service: Vec<Id>,
    /// Folder to write the manifests to; made where it is not there
    #[arg(long, value_name = "DIR", env = "TRUENORTH_IMPORT_OUT")]
    out: PathBuf,
    #[command(flatten)]
    permits: PermitArgs,
    /// Write over files that are there
    #[arg(long, env = "TRUENORTH_IMPORT_FORCE", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    force: bool,
    #[command(flatten)]
    api: ApiArgs,
    /// Calls in flight at once
    #[arg(long, value_name = "N", env = "TRUENORTH_CONCURRENCY", default_value_t = 8, value_parser = concurrency, allow_negative_numbers = true)]
    concurrency: u16,
    /// What to print on stdout
    #[arg(long, short, value_name = "FORMAT", env = "TRUENORTH_OUTPUT", default_value = "text")]
    output: Output,
}

pub(super) fn run(args: &ImportArgs) -> anyhow::Result<Exit> {
    super::on_runtime(import_project(args))
}

async fn import_project(args: &ImportArgs) -> anyhow::Result<Exit> {
    let reading = Reading::of(&args.api, Some((args.team.as_ref(), &args.project))).await?;
    let request = Request {
        team: args.team.clone(),
        project: args.project.clone(),
        services: args.service.iter().cloned().collect(),
        folder: args.out.clone(),
        permits: args.permits.permits(),
        existing: if args.force { Existing::Replace } else { Existing::Keep },
        concurrency: args.concurrency.into(),
        schema: None,
    };
    let report = imported(reading.client(), &request, "out").await?;
    reading.end().await;
    match args.output {
        Output::Json => print::json(&report)?,
        Output::Text => print::text(&rendered(&report, &args.out))?,
    }
    Ok(if report.empty { Exit::Converged } else { Exit::NotConverged })
}

/// Imports, and says on a terminal how far it is. The folder was named by the option `out`.
pub(super) async fn imported(client: &Client, request: &Request, out: &str) -> anyhow::Result<Report> {
    let line = ReadsLine::new();
    let hear = |heard| match heard {
        Heard::Progress { ended, of } => line.show(ended, of),
        Heard::Limited { wait, until } => line.limited(wait, until),
    };
    let report = import(client, request, hear).await;
    line.clear();
    let failed = |error: ImportError| {
        let option = if error.is_configuration() { out } else { "project" };
        Failure {
            exit: if error.is_configuration() { Exit::Configuration } else { Exit::NotConverged },
            hint: error.hint(),
            message: chain(&error) + &origin::behind(option),
        }
    };
    Ok(report.map_err(failed)?)
}

const GOOD: Style = AnsiColor::Green.on_default();
const CHANGED: Style = AnsiColor::Yellow.on_default();
const WRONG: Style = AnsiColor::Red.on_default();
const FAINT: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();

/// The report as people read it; what comes from the API cannot steer a terminal.
pub(super) fn rendered(report: &Report, out: &Path) -> String {
    let mut text = String::new();
    for service in &report.services {
        write_service(&mut text, service, out);
    }
    let summary = [Outcome::Failed, Outcome::Written, Outcome::Kept, Outcome::Skipped]
        .into_iter()
        .map(|outcome| (report.count(outcome), outcome.as_str()))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"));
    let summary: Vec<String> = summary.collect();
    let summary = if summary.is_empty() { "the project has no services".to_owned() } else { summary.join(", ") };
    let _ = write!(text, "{STRONG}{summary}{STRONG:#}; {}", counted(report.api.calls as usize, "call"));
    if let Some(remaining) = report.api.remaining {
        let _ = write!(text, ", {remaining} left in this window");
    }
    let _ = writeln!(text, "\n{}", verdict(report));
    text
}

fn write_service(text: &mut String, service: &Imported, out: &Path) {
    let (mark, style) = match service.outcome {
        Outcome::Failed => ('!', WRONG),
        Outcome::Written => ('+', GOOD),
        Outcome::Kept | Outcome::Skipped if service.matches() => ('=', FAINT),
        Outcome::Kept | Outcome::Skipped => ('~', CHANGED),
    };
    let word = service.outcome.as_str();
    let _ = write!(text, "{style}{mark} {word:<9}{style:#} {STRONG}{}{STRONG:#}", printable(&service.service));
    if let Some(file) = &service.file {
        let _ = write!(text, "  {FAINT}{}{FAINT:#}", print::shown_file(out, file));
    }
    text.push('\n');
    if let Some(message) = &service.message {
        let style = if service.outcome == Outcome::Failed { WRONG } else { FAINT };
        let _ = writeln!(text, "    {style}{}{style:#}", printable(message));
    }
    for change in &service.differences {
        let shown = |text: &Option<String>| text.as_deref().map_or_else(|| "not shown".into(), printable);
        let (live, desired) = (shown(&change.from), shown(&change.to));
        let _ = writeln!(
            text,
            "    {}  {WRONG}{live}{WRONG:#} runs, the manifest says {GOOD}{desired}{GOOD:#}",
            change.path
        );
    }
    for field in &service.undecided {
        let _ = writeln!(text, "    {}  {CHANGED}cannot tell: {}{CHANGED:#}", field.path, field.rule);
    }
    for untold in &service.untold {
        let _ = writeln!(text, "    {}  {FAINT}{}{FAINT:#}", untold.path, untold.why);
    }
}

/// Whether a first pass would find anything to do.
fn verdict(report: &Report) -> String {
    let has = |service: &&Imported| matches!(service.outcome, Outcome::Written | Outcome::Kept);
    let manifests = report.services.iter().filter(has);
    let matching = manifests.clone().filter(|service| service.matches()).count();
    let other = manifests.count() - matching;
    let services =
        |count, one: &str, more: &str| format!("{} {}", counted(count, "service"), if count == 1 { one } else { more });
    let failed = report.count(Outcome::Failed);
    let mut against = Vec::new();
    if other > 0 {
        against.push(format!("{} from live", services(other, "differs", "differ")));
    }
    if failed > 0 {
        against.push(format!("{} no manifest", services(failed, "has", "have")));
    }
    let mut text = match (against.is_empty(), matching) {
        (true, 0) => "nothing to send: nothing is deployed".to_owned(),
        (true, _) => format!("nothing to send: {} live", services(matching, "matches", "match")),
        (false, 0) => format!("something to send: {}", against.join(", ")),
        (false, _) => {
            format!("something to send: {}; {} live", against.join(", "), services(matching, "matches", "match"))
        }
    };
    let untold = report.services.iter().filter(|service| !service.untold.is_empty()).count();
    if untold > 0 {
        let _ = write!(
            text,
            "; live does not give everything of {}, see the comments in the files",
            counted(untold, "service")
        );
    }
    text
}
