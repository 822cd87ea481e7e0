//! What a pass and the daemon act on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use tempfile::TempDir;

use super::args::{ApiArgs, RunArgs};
use super::print::Kept;
use super::{configuration, ledger_error, settings};
use crate::engine::Follow;
use crate::ledger::Ledger;
use crate::model::{ApiPlace, Id};
use crate::northflank::{Client, Settings, Token, TokenSource};
use crate::runner::{Api, UpdateCall};
use crate::sandbox::{self, Sandbox};
use crate::web::Whereabouts;

/// A look is made when a rollout of the sandbox has just ended.
const SANDBOX_SPEED: u32 = 4;

/// The API with a token and a lasting ledger, or the sandbox with a throw-away one.
pub(super) struct Target {
    client: Settings,
    place: ApiPlace,
    tokens: TokenSource,
    state_dir: PathBuf,
    update_call: UpdateCall,
    sandbox: Option<Sandbox>,
    /// Removed when dropped.
    throw_away: Option<TempDir>,
}

/// A project in which a sandbox has something: its team and its id.
pub(super) type Examples<'a> = (Option<&'a Id>, &'a Id);

/// The API for commands that only read it: that which is named, or a sandbox of its own.
pub(super) struct Reading {
    client: Client,
    sandbox: Option<Sandbox>,
}

impl Reading {
    pub(super) async fn of(args: &ApiArgs, examples: Option<Examples<'_>>) -> anyhow::Result<Self> {
        if !args.sandbox {
            return Ok(Self { client: settings::client(&args.connect, &settings::environment)?, sandbox: None });
        }
        let sandbox = start_sandbox().await?;
        if let Some((team, project)) = examples {
            sandbox.world().make_examples(team.map(Id::as_str), project.as_str());
        }
        let url = sandbox.url().parse().context("the sandbox has no valid URL")?;
        let client = Client::new(Settings::new(url, args.connect.request_timeout), sandbox_token()?)
            .map_err(|error| settings::client_error(&error))?;
        Ok(Self { client, sandbox: Some(sandbox) })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Ends the sandbox, if there is one.
    pub(super) async fn end(self) {
        if let Some(sandbox) = self.sandbox {
            sandbox.stop().await;
        }
    }
}

async fn start_sandbox() -> anyhow::Result<Sandbox> {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    Sandbox::start(address, sandbox::Options::default()).await.map_err(configuration)
}

fn sandbox_token() -> anyhow::Result<Token> {
    Token::new("sandbox").context("the sandbox's token is not valid")
}

impl Target {
    pub(super) async fn of(args: &RunArgs) -> anyhow::Result<Self> {
        if args.api.sandbox {
            let update_call = args.update_call.into();
            return Self::in_sandbox(args.state.state_dir.as_deref(), args.api.connect.request_timeout, update_call)
                .await;
        }
        let access = settings::access(&args.api.connect, &args.state, &settings::environment)?;
        let api_url = access.api_url;
        Ok(Self {
            place: ApiPlace::new(&api_url.to_string()),
            client: Settings::new(api_url, args.api.connect.request_timeout),
            tokens: access.tokens,
            state_dir: access.state_dir,
            update_call: args.update_call.into(),
            sandbox: None,
            throw_away: None,
        })
    }

    /// The client with its token, and the ledger, opened to write.
    pub(super) fn open(&self) -> anyhow::Result<(Api, Ledger)> {
        let read = self.tokens.read().map_err(|error| settings::token_error(&error))?;
        if let Some(warning) = read.warning {
            tracing::warn!("{warning}");
        }
        let client = Client::new(self.client.clone(), read.token).map_err(|error| settings::client_error(&error))?;
        let ledger = Ledger::open(&self.state_dir, self.place.clone(), Timestamp::now())
            .map_err(|error| ledger_error(&error))?;
        let request_timeout = self.client.request_timeout;
        let (tokens, update_call) = (self.tokens.clone(), self.update_call);
        // The sandbox in this process is a place of its own, whatever its account is called.
        let asks_account = self.sandbox.is_none();
        Ok((Api { client, tokens, update_call, request_timeout, asks_account }, ledger))
    }

    /// Where what was applied is remembered.
    pub(super) fn kept(&self) -> Kept<'_> {
        if self.throw_away.is_some() { Kept::Nowhere } else { Kept::In(&self.state_dir) }
    }

    /// A sandbox of its own, with a throw-away ledger where no folder is named for one.
    pub(super) async fn in_sandbox(
        state_dir: Option<&Path>,
        request_timeout: Duration,
        update_call: UpdateCall,
    ) -> anyhow::Result<Self> {
        let sandbox = start_sandbox().await?;
        let (state_dir, throw_away) = match state_dir {
            Some(given) => (given.to_owned(), None),
            None => {
                let folder = TempDir::with_prefix("truenorth-").context("cannot make a throw-away folder")?;
                (folder.path().join("state"), Some(folder))
            }
        };
        let api_url = sandbox.url().parse().context("the sandbox has no valid URL")?;
        Ok(Self {
            place: ApiPlace::new(ApiPlace::SANDBOX),
            client: Settings::new(api_url, request_timeout),
            tokens: TokenSource::Environment(sandbox_token()?),
            state_dir,
            update_call,
            sandbox: Some(sandbox),
            throw_away,
        })
    }

    /// How rollouts are followed: more closely where looks cost nothing.
    pub(super) fn follow(&self, timeout: Duration) -> Follow {
        let speed = if self.sandbox.is_some() { SANDBOX_SPEED } else { Follow::DEFAULT.speed };
        Follow { timeout, speed }
    }

    /// Where the sandbox listens, if it is one.
    pub(super) fn sandbox_url(&self) -> Option<String> {
        self.sandbox.as_ref().map(Sandbox::url)
    }

    /// The updates of a service that the sandbox accepted.
    pub(super) fn updates_of(&self, service: &str) -> Vec<serde_json::Value> {
        self.sandbox.as_ref().map(|sandbox| sandbox.world().updates(service)).unwrap_or_default()
    }

    /// What the status server tells commands beside this process. A path that cannot be told is left as it was given.
    pub(super) fn whereabouts(&self, args: &RunArgs) -> Whereabouts {
        let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        Whereabouts { ledger: whole(&self.state_dir), manifests: whole(&args.folder.manifests), ledger_id: None }
    }

    /// Ends the sandbox, if there is one; its throw-away ledger must be closed before.
    pub(super) async fn end(self) {
        if let Some(sandbox) = self.sandbox {
            sandbox.stop().await;
        }
        drop(self.throw_away);
    }
}
