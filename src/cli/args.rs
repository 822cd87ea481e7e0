//! Arguments as they are typed: those that commands share, and those of the daemon. A command's own stand in its file.
//! What they mean together is decided in `settings`.

mod api;
mod folder;
mod listen;
mod output;
mod rules;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::approve::{ApproveArgs, DecideArgs};
use super::completions::SchemaOf;
use super::doctor::DoctorArgs;
use super::forget::ForgetArgs;
use super::health::HealthArgs;
use super::history::HistoryArgs;
use super::import::ImportArgs;
use super::init::InitArgs;
use super::logging::LogArgs;
use super::man::ManArgs;
use super::plan::PlanArgs;
use super::requests::{FreezeArgs, ReleaseArgs, RetryArgs, ThawArgs};
use super::rollback::RollbackArgs;
use super::sandbox::SandboxArgs;
use super::self_test::SelfTestArgs;
use super::status::StatusArgs;
use super::validate::ValidateArgs;
use super::why::WhyArgs;
use crate::runner::UpdateCall;
pub(super) use api::{ApiArgs, ConnectArgs, TokenArgs, UrlArgs};
pub(super) use folder::{FolderArgs, PermitArgs, StateArgs};
pub(super) use listen::{HostArgs, Listen, listen};
pub(super) use output::{Output, ShowArgs};
pub(super) use rules::{FuseArgs, RuleArgs};
pub(super) use values::{concurrency, count, duration, id, request_timeout, seconds, state};

const AFTER_HELP: &str = "\
First steps, in a folder with manifests/ in it:
  truenorth validate                  check every manifest, offline
  truenorth plan                      show what a pass would do
  truenorth --reconcile-once          send what differs, then exit
  truenorth run                       stay, and send what changes
  truenorth status                    show every service
  truenorth doctor                    say what is missing, and what to do
Without an account, add --sandbox to the pass or the daemon. Without manifests, begin with `truenorth init`. Options \
may stand before a command or after it; an empty variable counts as not set.

Exit codes:
  0   converged, or nothing to do
  1   not converged: a problem in the folder, a failed or stalled service,
      a failed rollout, the deadline
  2   only `plan --exit-code`: changes are pending, or services drifted
  3   nothing failed, but an update is held: somebody has to act,
      or a time has to come
  64  the command line cannot be understood
  78  configuration: no token, a bad URL, an unreadable folder,
      a ledger that cannot be used; nothing was sent

The API token is read from --token-file, else from NORTHFLANK_API_TOKEN, else from the systemd credential \
northflank-api-token.";

/// Keeps Northflank services true to the manifests in a folder.
///
/// Reads the manifests, compares each one's digest with the last update that the API accepted, and sends the "update
/// service deployment" call for every service that differs.
#[derive(Debug, Parser)]
#[command(name = "truenorth", version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    /// File of settings: options by their long names, for what neither the command line nor the environment says
    #[arg(long, value_name = "FILE", env = "TRUENORTH_CONFIG", global = true)]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon, as without a command
    Run(Box<RunArgs>),
    /// Say what a pass would do, with the differences; sends nothing
    Plan(PlanArgs),
    /// Check every manifest in the folder; offline, needs no token
    Validate(ValidateArgs),
    /// Print the JSON Schema of a manifest, or of the config file, for editors and CI
    Schema {
        /// Whose schema
        #[arg(value_name = "OF", default_value = "manifest")]
        of: SchemaOf,
    },
    /// Show which settings hold, and from where each one is; secrets by name only
    // Boxed, as it takes every option that there is.
    Config(Box<RunArgs>),
    /// Let a plan out that is held, by its id; may be given before the plan is there
    Approve(ApproveArgs),
    /// Hold what a plan changes, by its id, until the manifests change or it is approved
    Deny(DecideArgs),
    /// Show every service: its state, what was applied and when, its last error; beside a running daemon or without
    Status(StatusArgs),
    /// Begin: write manifests from what a project runs and the files beside them, and show the plan; sends no update
    Init(Box<InitArgs>),
    /// Write a manifest for each service of a project, from what runs; sends no update
    Import(ImportArgs),
    /// Show what was sent, newest first: when, why, from which revision and manifest, and how it ended
    History(HistoryArgs),
    /// Explain one service: its manifest, what was applied, the last call, what it waits for and what was not sent
    Why(WhyArgs),
    /// Try again now what waits after a failure; the running daemon does it at once
    Retry(RetryArgs),
    /// Send nothing new for services, or for all, until a time; drift is still read, and told
    Freeze(FreezeArgs),
    /// End a freeze: everything that is due goes, in its newest form
    Thaw(ThawArgs),
    /// Remember nothing more of services that no manifest names; deletes nothing
    Forget(ForgetArgs),
    /// Send content once more whose rollout failed; else it waits until its manifest changes
    Release(ReleaseArgs),
    /// Send a version that ran before, and keep it until the manifest changes
    Rollback(RollbackArgs),
    /// Run the stand-in for the Northflank API alone, to try truenorth or other clients against
    Sandbox(SandboxArgs),
    /// Check all that truenorth needs: token, API, clock, certificates, folder, git, ledger; sends no update
    Doctor(DoctorArgs),
    /// Make a pass against the stand-in in a folder of its own, to see whether truenorth works here; exit 0 or 1
    SelfTest(SelfTestArgs),
    /// Ask the daemon on this machine whether it lives; exit 0 or 1, for the health check of a container
    Health(HealthArgs),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each command
    Man(ManArgs),
}

impl Command {
    /// Whether it reads variables and has no log that tells of those which nothing reads.
    pub(super) fn reads_settings(&self) -> bool {
        !matches!(self, Self::Run(_) | Self::Schema { .. } | Self::Health(_) | Self::Completions { .. } | Self::Man(_))
    }
}

#[derive(Args, Debug)]
pub(super) struct RunArgs {
    /// Make one pass to its end, then exit
    #[arg(long, env = "TRUENORTH_RECONCILE_ONCE", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub(super) reconcile_once: bool,
    #[command(flatten)]
    pub(super) folder: FolderArgs,
    #[command(flatten)]
    pub(super) state: StateArgs,
    #[command(flatten)]
    pub(super) api: ApiArgs,
    #[command(flatten)]
    pub(super) rules: RuleArgs,
    #[command(flatten)]
    pub(super) fuse: FuseArgs,
    /// Daemon: read a service for drift no more often than this; less often where the rate limit leaves less
    #[arg(long, value_name = "DURATION", env = "TRUENORTH_DRIFT_EVERY", default_value = "5m", value_parser = duration)]
    pub(super) drift_every: Duration,
    /// Which call carries an update: POST as the provider's reference page has it, PATCH as it recommends, or auto
    ///
    /// auto posts, and goes over to PATCH for a day when the API refuses POST for several services that are there, or
    /// again for one after a minute; it goes back where the token may not PATCH. PATCH takes a read before it where the
    /// service's instances have to be kept.
    #[arg(long, value_name = "CALL", env = "TRUENORTH_UPDATE_CALL", default_value = "auto")]
    pub(super) update_call: UpdateCallArg,
    /// Calls in flight at once
    #[arg(long, value_name = "N", env = "TRUENORTH_CONCURRENCY", default_value_t = 8, value_parser = concurrency, allow_negative_numbers = true)]
    pub(super) concurrency: u16,
    /// Requests an hour that are assumed to be allowed while the API's answers have no rate-limit headers
    #[arg(long, value_name = "N", env = "TRUENORTH_RATE_LIMIT", default_value_t = 1000, value_parser = count, allow_negative_numbers = true)]
    pub(super) rate_limit: u32,
    /// With --reconcile-once: when to stop retrying
    #[arg(long, value_name = "DURATION", env = "TRUENORTH_DEADLINE", default_value = "5m", value_parser = duration)]
    pub(super) deadline: Duration,
    #[command(flatten)]
    pub(super) rollouts: RolloutArgs,
    /// Daemon: look at the folder this often without an event
    #[arg(long, value_name = "DURATION", env = "TRUENORTH_RESYNC", default_value = "1m", value_parser = duration)]
    pub(super) resync: Duration,
    /// Daemon: quiet time after a change before it is acted on; at most 20 times as long under constant change
    ///
    /// Without this it follows what happens: some milliseconds after what is whole by itself (a file that was closed or
    /// renamed, a link that was swapped, git's lock let go), up to 100ms while a writer or a burst of changes goes on. A
    /// file that is open for writing keeps what it had until it is closed, or quiet for 3s.
    #[arg(long, value_name = "DURATION", env = "TRUENORTH_DEBOUNCE", value_parser = duration)]
    pub(super) debounce: Option<Duration>,
    /// Daemon: address of /healthz, /readyz, /metrics, /status and /whereabouts, or off
    #[arg(long, value_name = "ADDR", env = "TRUENORTH_LISTEN", default_value = "127.0.0.1:9095", value_parser = listen)]
    pub(super) listen: Listen,
    #[command(flatten)]
    pub(super) hosts: HostArgs,
    #[command(flatten)]
    pub(super) show: ShowArgs,
    /// With --reconcile-once: what to print on stdout at the end of the pass
    #[arg(long, short, value_name = "FORMAT", env = "TRUENORTH_OUTPUT", default_value = "text")]
    pub(super) output: Output,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

/// What becomes of an update after the API accepted it.
#[derive(Args, Debug)]
pub(super) struct RolloutArgs {
    /// With --reconcile-once: end when the API has accepted the updates, without waiting until they run
    #[arg(long, env = "TRUENORTH_NO_WAIT", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub(super) no_wait: bool,
    /// How long a rollout may take, from the acceptance of its update, before it counts as failed
    #[arg(long, value_name = "DURATION", env = "TRUENORTH_ROLLOUT_TIMEOUT", default_value = "15m", value_parser = duration)]
    pub(super) rollout_timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum UpdateCallArg {
    /// POST …/deployment
    Post,
    /// PATCH …/services/deployment/… or …/combined/…
    Patch,
    /// POST while it is served
    Auto,
}

impl From<UpdateCallArg> for UpdateCall {
    fn from(arg: UpdateCallArg) -> Self {
        match arg {
            UpdateCallArg::Post => Self::Post,
            UpdateCallArg::Patch => Self::Patch,
            UpdateCallArg::Auto => Self::Auto,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
