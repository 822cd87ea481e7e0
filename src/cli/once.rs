//! `truenorth --reconcile-once`: one pass to its end.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use jiff::Timestamp;
use tempfile::TempDir;

use super::args::{LogLevel, RunArgs};
use super::exit::Exit;
use super::progress::ProgressLine;
use super::{configuration, ledger_error, logging, misconfigured, observe_error, print, settings};
use crate::daemon::{PassError, PassSettings, Stop, reconcile_once};
use crate::engine::Pace;
use crate::ledger::Ledger;
use crate::northflank::{ApiUrl, Client, Settings, Token, TokenSource};
use crate::sandbox::{self, Sandbox};
use crate::source::Folder;

pub(super) fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    if !args.reconcile_once {
        return Err(misconfigured("this version has no daemon yet; hint: use --reconcile-once"));
    }
    let quiet = args.reconcile_once && std::io::stderr().is_terminal();
    logging::start(&args.log, if quiet { LogLevel::Warn } else { LogLevel::Info })?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(pass(args))
}

async fn pass(args: &RunArgs) -> anyhow::Result<Exit> {
    let folder = Folder::new(&args.folder.manifests);
    let path = folder.path().to_owned();
    let target = Target::of(args).await?;
    let read = target.tokens.read().map_err(configuration)?;
    if let Some(warning) = read.warning {
        tracing::warn!("{warning}");
    }
    let client_settings = Settings::new(target.api_url.clone(), args.api.request_timeout);
    let client = Client::new(client_settings, read.token).map_err(configuration)?;
    let ledger = Ledger::open(&target.state_dir, Timestamp::now()).map_err(|error| ledger_error(&error))?;
    let stop = Stop::on_signals().context("cannot catch signals")?;

    let pass_settings = PassSettings {
        concurrency: args.concurrency.into(),
        deadline: args.deadline,
        backoff: Pace::default().backoff,
    };
    let line = ProgressLine::new();
    let shown = |progress| line.show(&progress);
    let report = reconcile_once(folder, ledger, client, target.tokens.clone(), pass_settings, stop, shown).await;
    line.clear();
    let report = report.map_err(|error| match error {
        PassError::Observe(error) => observe_error(error),
        error @ PassError::Task(_) => error.into(),
    })?;
    target.end().await;
    print::report(&report, &path, args.output)?;
    Ok(if report.converged { Exit::Converged } else { Exit::NotConverged })
}

/// What a pass acts on: the API with a token and a lasting ledger, or the sandbox with a throw-away one.
struct Target {
    api_url: ApiUrl,
    tokens: TokenSource,
    state_dir: PathBuf,
    sandbox: Option<Sandbox>,
    /// Removed when dropped.
    throw_away: Option<TempDir>,
}

impl Target {
    async fn of(args: &RunArgs) -> anyhow::Result<Self> {
        if args.api.sandbox {
            return Self::sandbox(args).await;
        }
        Ok(Self {
            api_url: settings::api_url(&args.api)?,
            tokens: settings::token_source(&args.api, &settings::environment)?,
            state_dir: settings::state_dir(&args.state, &settings::environment)?,
            sandbox: None,
            throw_away: None,
        })
    }

    async fn sandbox(args: &RunArgs) -> anyhow::Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let sandbox = Sandbox::start(address, sandbox::Options::default()).await.map_err(configuration)?;
        let (state_dir, throw_away) = match &args.state.state_dir {
            Some(given) => (given.clone(), None),
            None => {
                let folder = TempDir::with_prefix("truenorth-").context("cannot make a throw-away folder")?;
                (folder.path().join("state"), Some(folder))
            }
        };
        Ok(Self {
            api_url: sandbox.url().parse().context("the sandbox has no valid URL")?,
            tokens: TokenSource::Environment(Token::new("sandbox").context("the sandbox's token is not valid")?),
            state_dir,
            sandbox: Some(sandbox),
            throw_away,
        })
    }

    async fn end(self) {
        if let Some(sandbox) = self.sandbox {
            sandbox.stop().await;
        }
        drop(self.throw_away);
    }
}
