//! The command line: arguments as typed (`args`), settings as resolved (`settings`), one file a subcommand.

mod approve;
mod args;
mod beside;
mod checks;
mod completions;
mod config;
mod daemon;
mod doctor;
mod elsewhere;
mod exit;
mod forget;
mod health;
mod history;
mod import;
mod init;
mod logging;
mod man;
mod markdown;
mod names;
mod once;
mod origin;
mod plan;
mod print;
mod progress;
mod requests;
mod rollback;
mod sandbox;
mod self_test;
mod services;
mod settings;
mod status;
mod status_table;
mod table;
mod target;
mod typed;
mod validate;
mod variables;
mod watch;
mod welcome;
mod why;

use std::ffi::OsString;

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use clap::error::{ContextKind, ErrorKind};
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::model::ApiPlace;
use crate::source::Unreadable;
use crate::text::printable;
use args::{Command, RunArgs, UrlArgs};
use config::ConfigFile;
pub use exit::Exit;
use typed::{Typed, Understood};

/// Parses the arguments and runs the command that they name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    give_nothing_away();
    let words: Vec<OsString> = arguments.into_iter().collect();
    if let Some(answered) = completions::answer(&words) {
        return answered;
    }
    let Understood { arguments, matches, config } = match typed::read(words, &settings::environment) {
        Typed::Understood(understood) => *understood,
        Typed::Asked(help) => {
            // Nothing can be done where printing fails.
            let _ = help.print();
            return Exit::Converged;
        }
        Typed::Mistaken(mistakes, rest) => return mistaken(mistakes, rest.map(|rest| *rest)),
        Typed::Misconfigured(error) => return failed(&error),
    };
    origin::keep(matches.clone(), config.as_ref().map(ConfigFile::configured).unwrap_or_default());
    if arguments.command.as_ref().is_some_and(Command::reads_settings) {
        variables::tell();
    }
    let windows = config.as_ref().map(ConfigFile::windows).unwrap_or_default();
    let ended = match arguments.command {
        Some(Command::Plan(args)) => plan::run(&args, windows),
        Some(Command::Approve(args)) => approve::approve(&args),
        Some(Command::Deny(args)) => approve::deny(&args),
        Some(Command::Validate(args)) => validate::run(&args),
        Some(Command::Schema { of }) => completions::schema(of),
        Some(Command::Config(args)) => config::run(&args, &matches, config.as_ref()),
        Some(Command::Health(args)) => health::run(&args),
        Some(Command::Init(args)) => init::run(*args),
        Some(Command::Doctor(args)) => doctor::run(&args),
        Some(Command::SelfTest(args)) => self_test::run(&args),
        Some(Command::Sandbox(args)) => sandbox::run(&args),
        Some(Command::Retry(args)) => requests::retry(&args),
        Some(Command::Freeze(args)) => requests::freeze(&args),
        Some(Command::Thaw(args)) => requests::thaw(&args),
        Some(Command::Forget(args)) => forget::run(&args),
        Some(Command::Release(args)) => requests::release(&args),
        Some(Command::Rollback(args)) => rollback::run(&args),
        Some(Command::Completions { shell }) => completions::run(shell),
        Some(Command::Man(args)) => man::run(&args),
        Some(Command::Status(args)) => status::run(&args, windows),
        Some(Command::Import(args)) => import::run(&args),
        Some(Command::History(args)) => history::run(&args),
        Some(Command::Why(args)) => why::run(&args, &windows),
        Some(Command::Run(args)) => run(&args, config),
        None if config.is_none() && welcome::is_due(&arguments.run) => welcome::run(),
        None => run(&arguments.run, config),
    };
    ended.unwrap_or_else(|error| failed(&error))
}

/// The daemon, or a pass.
fn run(args: &RunArgs, config: Option<ConfigFile>) -> anyhow::Result<Exit> {
    if args.reconcile_once {
        once::run(args, config.map(|config| config.windows()).unwrap_or_default())
    } else {
        daemon::run(args, config)
    }
}

/// Tells all mistakes of a command line; where one is about a value, those of the settings in the rest of it too.
fn mistaken(mut mistakes: Vec<clap::Error>, rest: Option<Understood>) -> Exit {
    if let [only] = mistakes.as_slice() {
        print::note(&only.render().ansi().to_string());
    } else {
        for mistake in &mut mistakes {
            mistake.remove(ContextKind::Usage);
            let text = mistake.render().ansi().to_string();
            // What clap says at the end of each helps with one.
            let told = text.split("\n\nFor more information").next().unwrap_or_default();
            print::note(&format!("{}\n", told.trim_end()));
        }
    }
    let is_value =
        |mistake: &clap::Error| matches!(mistake.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation);
    let run = rest.and_then(|Understood { arguments, matches, config }| {
        origin::keep(matches, config.as_ref().map(ConfigFile::configured).unwrap_or_default());
        match arguments.command {
            Some(Command::Run(run)) => Some(*run),
            None => Some(arguments.run),
            Some(_) => None,
        }
    });
    if let Some(run) = run.filter(|run| !run.api.sandbox && mistakes.iter().any(is_value))
        && let Err(error) = settings::access(&run.api.connect, &run.state, &settings::environment)
    {
        failed(&error);
    }
    Exit::Usage
}

/// Keeps the token in this process: no core file is written, and no other process of the same user reads its memory or
/// traces it. Comes first, before the token is read. Where the system refuses, there is no more to be done.
fn give_nothing_away() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(Resource::Core, none);
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// An error that ends a command, with the way out.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Failure {
    message: String,
    hint: Option<String>,
    exit: Exit,
}

/// Several mistakes, each of which would end the command.
#[derive(Debug, thiserror::Error)]
#[error("{} mistakes", .0.len())]
struct Several(Vec<anyhow::Error>);

/// Runs a command to its end on a runtime of its own. A look at the folder that waits for git's lock is not waited for.
fn on_runtime<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let ended = runtime.block_on(command);
    runtime.shutdown_background();
    ended
}

/// Marks an error as one of the configuration: exit 78.
fn configuration(error: impl std::error::Error + Send + Sync + 'static) -> anyhow::Error {
    misconfigured(crate::error::chain(&error), None)
}

/// A ledger that cannot be opened: exit 78. What may pass by itself (a full disk, another program that holds on to the
/// file) is exit 1, so that systemd tries again.
fn ledger_error(error: &crate::ledger::OpenError) -> anyhow::Error {
    let exit = if error.is_passing() { Exit::NotConverged } else { Exit::Configuration };
    let hint = error.hint().map(str::to_owned);
    Failure { message: crate::error::chain(error) + &settings::state_dir_origin(), hint, exit }.into()
}

/// A folder that cannot be read: exit 78. Where git has not finished there it is exit 1, as nothing is wrong with the
/// configuration.
fn unreadable(error: &Unreadable) -> anyhow::Error {
    let exit = if error.is_busy() { Exit::NotConverged } else { Exit::Configuration };
    let message = match error {
        Unreadable::Folder { source, .. } => {
            format!("{error} ({}): {}", origin::named("manifests"), crate::error::chain(source))
        }
        error => crate::error::chain(error),
    };
    Failure { message, hint: error.hint(), exit }.into()
}

/// Says that the ledger which a command is to show is not there: what follows knows of no update.
fn tell_missing(state_dir: &std::path::Path) {
    let shown = printable(&state_dir.to_string_lossy());
    let hint = way_to_ledger(state_dir);
    print::note(&format!("note: no ledger at {shown}: it is not known what was applied\n  hint: {hint}\n"));
}

/// What to do where there are no manifests yet.
const BEGIN: &str = "name another folder with --manifests, or begin with `truenorth init`";

/// Says that a folder has no manifests, and nothing that could have been one.
fn tell_empty(folder: &std::path::Path) {
    let shown = printable(&folder.to_string_lossy());
    print::note(&format!("note: {shown} has no manifests\n  hint: {BEGIN}\n"));
}

/// What to do where a ledger is missing. Where a systemd service has one, that is the one that was meant, as a rule.
fn way_to_ledger(state_dir: &std::path::Path) -> &'static str {
    const OF_SERVICE: &str = "/var/lib/truenorth";
    if state_dir != std::path::Path::new(OF_SERVICE) && std::fs::symlink_metadata(OF_SERVICE).is_ok() {
        "the systemd service has its own: --state-dir /var/lib/truenorth"
    } else {
        "name the ledger's folder with --state-dir; `truenorth plan` shows what a first pass would do"
    }
}

/// Says that a ledger is of another API than the one that is named.
fn tell_other_place(reader: Option<&crate::ledger::Reader>, args: &UrlArgs, sandbox: bool) -> anyhow::Result<()> {
    let meant = match (sandbox, &args.api_url) {
        (true, _) => ApiPlace::new(ApiPlace::SANDBOX),
        (false, Some(_)) => ApiPlace::new(&settings::api_url(args)?.to_string()),
        (false, None) => return Ok(()),
    };
    let of_ledger = reader.map(crate::ledger::Reader::place).transpose().map_err(read_error)?.flatten();
    if let Some(theirs) = of_ledger.filter(|theirs| !theirs.agrees_with(&meant)) {
        let note = format!("note: this ledger is of {theirs}, not of {meant}");
        print::note(&format!("{}\n", printable(&note)));
    }
    Ok(())
}

/// A ledger that cannot be read: exit 78, or 1 where that may pass by itself.
fn read_error(error: crate::ledger::ReadError) -> anyhow::Error {
    match error.is_passing() {
        true => error.into(),
        false => misconfigured(crate::error::chain(&error) + &settings::state_dir_origin(), None),
    }
}

/// A pass that cannot begin.
fn observe_error(error: crate::pass::ObserveError) -> anyhow::Error {
    match error {
        crate::pass::ObserveError::Folder(error) => unreadable(&error),
        crate::pass::ObserveError::Ledger(error) => read_error(error),
    }
}

/// A mistake in the configuration, with the way out: exit 78.
fn misconfigured(message: impl Into<String>, hint: Option<&str>) -> anyhow::Error {
    Failure { message: message.into(), hint: hint.map(str::to_owned), exit: Exit::Configuration }.into()
}

/// Something that cannot be done as things stand, with the way out: exit 1.
fn refused(message: impl Into<String>, hint: impl Into<String>) -> Failure {
    Failure { message: message.into(), hint: Some(hint.into()), exit: Exit::NotConverged }
}

/// Tells an error on stderr and picks the exit code.
fn failed(error: &anyhow::Error) -> Exit {
    if let Some(Several(errors)) = error.downcast_ref() {
        let exits: Vec<Exit> = errors.iter().map(failed).collect();
        return exits.first().copied().unwrap_or(Exit::NotConverged);
    }
    let failure = error.downcast_ref::<Failure>();
    let style = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let mut text = format!("{style}error:{style:#} {}\n", printable(&crate::error::chain(error.as_ref())));
    if let Some(hint) = failure.and_then(|failure| failure.hint.as_deref()) {
        text.push_str(&format!("  hint: {}\n", printable(hint)));
    }
    print::note(&text);
    failure.map_or(Exit::NotConverged, |failure| failure.exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_gives_nothing_away() {
        give_nothing_away();
        assert_eq!(rustix::process::dumpable_behavior().ok(), Some(DumpableBehavior::NotDumpable));
        assert_eq!(rustix::process::getrlimit(Resource::Core), Rlimit { current: Some(0), maximum: Some(0) });
    }
}
