//! `truenorth` without a command: the daemon.

use std::sync::Arc;

use anyhow::Context as _;
use clap::ValueEnum;

use super::args::{Listen, RunArgs};
use super::config::ConfigFile;
use super::exit::Exit;
use super::logging::{self, LogLevel};
use super::target::Target;
use super::{ledger_error, misconfigured, origin};
use crate::daemon::{Config, DaemonSettings, Debounce, RunError, run as run_daemon};
use crate::engine::Pace;
use crate::error::chain;
use crate::ledger::Ledger;
use crate::stop::Stop;
use crate::web::{Meters, Server, desk};

pub(super) fn run(args: &RunArgs, config: Option<ConfigFile>) -> anyhow::Result<Exit> {
    logging::start(&args.log, LogLevel::Info)?;
    stay_small();
    super::on_runtime(daemon(args, config))
}

/// Has the kernel give out memory in pages, not in pieces of 2 MiB ("transparent huge pages"): those make a short run
/// faster, and one that waits for months larger by half for nothing. Where it cannot be told, nothing is lost.
fn stay_small() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Says first of all where updates go, what is remembered where, and what the daemon will do by itself.
fn tell_standpoint(args: &RunArgs, target: &Target, ledger: &Ledger) {
    tracing::info!(
        api = %ledger.place(),
        ledger = %target.kept(),
        folder = %args.folder.manifests.display(),
        uncommitted = word(args.folder.uncommitted),
        adopt = !args.rules.no_adopt,
        drift = word(args.rules.drift),
        max_changes = args.fuse.max_changes().map(|most| most.to_string()),
        update_call = word(args.update_call),
        concurrency = args.concurrency,
        "truenorth {} began",
        env!("CARGO_PKG_VERSION")
    );
}

/// A value of an option as it is typed.
fn word(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

async fn daemon(args: &RunArgs, config: Option<ConfigFile>) -> anyhow::Result<Exit> {
    let signals = Stop::and_requests_on_signals().context("cannot catch signals")?;
    let target = Target::of(args).await?;
    let (api, ledger) = target.open()?;
    tell_standpoint(args, &target, &ledger);
    let (desk, queries) = desk();
    let meters = Meters::new();
    let server = match args.listen {
        Listen::Off => None,
        Listen::At(address) => {
            let started =
                Server::start(address, args.hosts.hosts(), desk.clone(), meters.clone(), target.whereabouts(args))
                    .await;
            let server = started
                .map_err(|error| misconfigured(chain(&error) + &origin::behind("listen"), Some(error.hint())))?;
            let address = server.address();
            tracing::info!(%address, "status server listens");
            if !address.ip().to_canonical().is_loopback() {
                tracing::warn!(%address, "the status server has no login: every machine that reaches this address can read it");
            }
            Some(server)
        }
    };
    let settings = DaemonSettings {
        pace: Pace {
            concurrency: args.concurrency.into(),
            ahead: usize::from(args.concurrency) / 2,
            watch_period: Some(args.drift_every),
            assumed_limit: args.rate_limit,
            follow: Some(target.follow(args.rollouts.rollout_timeout)),
            check_after: Pace::default().check_after.min(args.drift_every),
            ..Pace::default()
        },
        rules: args.rules.rules(),
        max_changes: args.fuse.max_changes(),
        on_failure: args.rules.on_failure(),
        resync: args.resync,
        debounce: args.debounce.map_or(Debounce::Adaptive, Debounce::Fixed),
        windows: config.as_ref().map(ConfigFile::windows).unwrap_or_default(),
        config: config.map(|config| Config(Arc::new(move || config.reread()))),
    };
    let folder = args.folder.folder();
    let ended = run_daemon(folder, ledger, api, settings, signals, queries, meters).await;
    // Without the desk the loop would see a closed queue for ever.
    drop(desk);
    if let Some(server) = server {
        server.stop().await;
    }
    target.end().await;
    match ended {
        Ok(()) => Ok(Exit::Converged),
        Err(RunError::Account(error)) => Err(ledger_error(&error)),
        Err(error) => Err(error.into()),
    }
}
