//! `truenorth --reconcile-once`: one pass to its end.

use std::io::IsTerminal as _;

use anyhow::Context as _;

use super::args::{Output, RunArgs};
use super::exit::Exit;
use super::logging::{self, LogLevel};
use super::progress::ProgressLine;
use super::target::Target;
use super::{ledger_error, observe_error, print, tell_empty};
use crate::engine::Pace;
use crate::pass::{PassError, PassSettings, reconcile_once};
use crate::plan::Windows;
use crate::stop::Stop;

pub(super) fn run(args: &RunArgs, windows: Windows) -> anyhow::Result<Exit> {
    // On a terminal the progress line and the report say it all.
    let quiet = std::io::stderr().is_terminal();
    logging::start(&args.log, if quiet { LogLevel::Warn } else { LogLevel::Info })?;
    super::on_runtime(pass(args, windows))
}

async fn pass(args: &RunArgs, windows: Windows) -> anyhow::Result<Exit> {
    let commands = args.show.commands();
    let mut folder = args.folder.folder();
    let target = Target::of(args).await?;
    let (api, ledger) = target.open()?;
    let stop = Stop::on_signals().context("cannot catch signals")?;

    let pass_settings = PassSettings {
        concurrency: args.concurrency.into(),
        rate_limit: args.rate_limit,
        deadline: args.deadline,
        backoff: Pace::default().backoff,
        rules: args.rules.rules(),
        follow: (!args.rollouts.no_wait).then(|| target.follow(args.rollouts.rollout_timeout)),
        max_changes: args.fuse.max_changes(),
        windows,
        on_failure: args.rules.on_failure(),
        commands,
    };
    let line = ProgressLine::new();
    let shown = |shown| line.show(&shown);
    let report = reconcile_once(&mut folder, ledger, api, pass_settings, stop, shown).await;
    line.clear();
    let report = report.map_err(|error| match error {
        PassError::Observe(error) => observe_error(error),
        PassError::Account(error) => ledger_error(&error),
        error @ (PassError::Task(_) | PassError::Unread(_)) => error.into(),
    })?;
    if report.is_of_nothing() {
        tell_empty(folder.path());
    }
    let ledger = target.kept();
    let shown = print::Shown { folder: folder.path(), ledger, report: &report, commands };
    match args.output {
        Output::Json => print::json(&shown)?,
        Output::Text => shown.print()?,
    }
    target.end().await;
    let exit = match report.converged {
        true => Exit::Converged,
        false if report.is_only_held() => Exit::Held,
        false => Exit::NotConverged,
    };
    // The process ends: the system takes back the memory of 10,000 manifests faster than they are taken apart.
    std::mem::forget((report, folder));
    Ok(exit)
}
