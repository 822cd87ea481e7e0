//! Arguments as they are typed. What they mean together is decided in `settings`.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{FalseyValueParser, PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;

use super::beside::BesideArgs;
use super::health::HealthArgs;
use super::print;
use super::requests::{FreezeArgs, RetryArgs, ThawArgs};
use crate::host::Hosts;
use crate::model::{DriftMode, Id, PlanName, ServiceKey, ServiceState};
use crate::northflank::Settings;
use crate::plan::{Adopt, InvalidMaxChanges, MaxChanges, Rules};
use crate::runner::UpdateCall;
use crate::sandbox::Shape;
use crate::source::{Allowed, Folder, Layout, Permits, Uncommitted};
use crate::text::command::Commands;

const AFTER_HELP: &str = "\
First steps, in a folder with manifests/ in it:
  truenorth validate                  check every manifest, offline
  truenorth plan                      show what a pass would do
  truenorth --reconcile-once          send what differs, then exit
  truenorth run                       stay, and send what changes
  truenorth status                    show every service
Without an account, add --sandbox to the pass or the daemon. Without manifests, begin with `truenorth import`. Options
may stand before a command or after it; an empty variable counts as not set.

Exit codes:
  0   converged, or nothing to do
  1   not converged: a problem in the folder, a failed or stalled service, a failed rollout, the deadline
  2   only `plan --exit-code`: changes are pending, or services drifted
  3   nothing failed, but an update is held: somebody has to act, or a time has to come
  64  the command line cannot be understood
  78  configuration: no token, a bad URL, an unreadable folder, a ledger in use; nothing was sent

The API token is read from --token-file, else from NORTHFLANK_API_TOKEN, else from the systemd credential
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
    /// Hold a plan, by its id, until its content is another
    Deny(DecideArgs),
    /// Show every service: its state, what was applied and when, its last error; beside a running daemon or without
    Status(StatusArgs),
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
    /// Run the stand-in for the Northflank API alone, to try truenorth or other clients against
    Sandbox(SandboxArgs),
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
pub(super) struct ManArgs {
    /// Folder to write truenorth.1, truenorth-plan.1 and the others to; made where it is not there
    #[arg(long, value_name = "DIR", env = "TRUENORTH_MAN_OUT")]
    pub(super) out: Option<PathBuf>,
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
    #[arg(long, value_name = "N", env = "TRUENORTH_CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) concurrency: u16,
    /// Requests an hour that are assumed to be allowed while the API's answers have no rate-limit headers
    #[arg(long, value_name = "N", env = "TRUENORTH_RATE_LIMIT", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
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
    /// Daemon: address of /healthz, /readyz, /metrics and /status, or off
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

/// What is done where a manifest alone does not decide.
#[derive(Args, Debug)]
pub(super) struct RuleArgs {
    /// Send the update of a service that the ledger does not know without reading first what it runs
    ///
    /// Without this such a service is read, and recorded as applied where it runs what its manifest says: a lost state
    /// folder or a new machine restarts nothing.
    #[arg(long, env = "TRUENORTH_NO_ADOPT", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub(super) no_adopt: bool,
    /// Daemon: what to do where a service runs something else than was applied
    ///
    /// Services are read in turn with at most half of the calls that the rate limit leaves over. A manifest's
    /// policy.drift goes before this.
    #[arg(long, value_name = "WHAT", env = "TRUENORTH_DRIFT", default_value = "report")]
    pub(super) drift: DriftArg,
}

impl RuleArgs {
    pub(super) fn rules(&self) -> Rules {
        let adopt = if self.no_adopt { Adopt::SendFirst } else { Adopt::ReadFirst };
        let drift = match self.drift {
            DriftArg::Report => DriftMode::Report,
            DriftArg::Correct => DriftMode::Correct,
            DriftArg::Off => DriftMode::Off,
        };
        Rules { adopt, drift }
    }
}

/// What `truenorth schema` describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SchemaOf {
    /// A manifest
    Manifest,
    /// The file that --config names
    Config,
}

/// How much one plan may change.
#[derive(Args, Debug)]
pub(super) struct FuseArgs {
    /// Hold a plan that changes more services than that until somebody approves it: a number, a percentage, or off
    ///
    /// Services that were deployed before count, and of these a percentage is taken; first deployments do not. Nothing of
    /// a plan that is held is sent; `truenorth approve PLAN` lets it out.
    #[arg(long, value_name = "N|P%", env = "TRUENORTH_MAX_CHANGES", default_value = "off", value_parser = limit)]
    max_changes: Limit,
}

/// A limit, or none.
#[derive(Clone, Copy, Debug)]
struct Limit(Option<MaxChanges>);

/// Reads a limit of changes.
fn limit(text: &str) -> Result<Limit, InvalidMaxChanges> {
    MaxChanges::parse(text).map(Limit)
}

impl FuseArgs {
    pub(super) fn max_changes(&self) -> Option<MaxChanges> {
        self.max_changes.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DriftArg {
    /// Tell it, and leave the service as it is
    Report,
    /// Send again what the manifest says
    Correct,
    /// Do not look
    Off,
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

#[derive(Args, Debug)]
pub(super) struct HostArgs {
    /// Name by which the listener may be called, beside IP addresses and localhost; may be given several times
    ///
    /// Requests with another Host are refused, so that no web page can read the answers through a name of its own. * allows
    /// every name.
    #[arg(long, value_name = "NAME", env = "TRUENORTH_ALLOW_HOST", value_delimiter = ',', value_parser = host_name)]
    allow_host: Vec<String>,
}

impl HostArgs {
    pub(super) fn hosts(&self) -> Hosts {
        Hosts::allowing(&self.allow_host)
    }
}

#[derive(Args, Debug)]
pub(super) struct ShowArgs {
    /// Show commands whole: where stdout is a terminal, or always, as when it goes to a file
    ///
    /// Without this only the harmless words of a command are shown, since people write passwords into commands: option
    /// names, paths, short numbers, plain words that are no option's value. `[hidden]` stands for the others, `[changed]` for
    /// one that is to change.
    #[arg(
        long,
        value_name = "WHERE",
        env = "TRUENORTH_SHOW_COMMANDS",
        num_args = 0..=1,
        require_equals = true,
        default_value = "never",
        default_missing_value = "terminal"
    )]
    show_commands: ShowCommands,
}

impl ShowArgs {
    /// How commands stand in what is printed; says so on stderr where somebody asked in vain.
    pub(super) fn commands(&self) -> Commands {
        match self.show_commands {
            ShowCommands::Never => Commands::Hidden,
            ShowCommands::Always => Commands::Shown,
            ShowCommands::Terminal if std::io::stdout().is_terminal() => Commands::Shown,
            ShowCommands::Terminal => {
                print::note(
                    "note: commands stay hidden: stdout is not a terminal; --show-commands=always shows them\n",
                );
                Commands::Hidden
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ShowCommands {
    /// Nowhere
    Never,
    /// Where stdout is a terminal
    #[value(alias = "true", alias = "1")]
    Terminal,
    /// Also in files and logs
    Always,
}

/// Where the status server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listen {
    Off,
    At(SocketAddr),
}

#[derive(Args, Debug)]
pub(super) struct FolderArgs {
    /// Folder of manifests, read with its subfolders
    #[arg(long, short, value_name = "DIR", env = "TRUENORTH_MANIFESTS", default_value = FolderArgs::USUAL)]
    pub(super) manifests: PathBuf,
    /// In a git checkout: what to do about work that is not committed
    #[arg(long, value_name = "WHAT", env = "TRUENORTH_UNCOMMITTED", default_value = "apply")]
    pub(super) uncommitted: UncommittedArg,
    #[command(flatten)]
    pub(super) permits: PermitArgs,
}

impl FolderArgs {
    /// The folder where none is named.
    pub(super) const USUAL: &str = "manifests";

    /// The folder, not read yet.
    pub(super) fn folder(&self) -> Folder {
        self.folder_at(None)
    }

    /// The same rules for a folder elsewhere.
    pub(super) fn folder_at(&self, elsewhere: Option<&Path>) -> Folder {
        let uncommitted = match self.uncommitted {
            UncommittedArg::Apply => Uncommitted::Apply,
            UncommittedArg::Ignore => Uncommitted::Ignore,
        };
        Folder::new(elsewhere.unwrap_or(&self.manifests)).with(uncommitted).permitting(self.permits.permits())
    }
}

/// Who may deploy what, from where.
#[derive(Args, Debug)]
pub(super) struct PermitArgs {
    /// Services that the folder may deploy; may be given several times. Others are a problem
    ///
    /// PROJECT allows all of its services, PROJECT/SERVICE one of them; TEAM/PROJECT and TEAM/PROJECT/SERVICE are for
    /// manifests that name a team. * and ? stand for any characters of a part. Without this option all are allowed.
    #[arg(long, value_name = "PATTERN", env = "TRUENORTH_ALLOW", value_delimiter = ',')]
    pub(super) allow: Vec<Allowed>,
    /// Where a manifest must stand: anywhere (free), or below its project's folder (project)
    ///
    /// With project, a manifest stands below PROJECT/, or below TEAM/PROJECT/ where it names a team. One elsewhere is a
    /// problem, and does not keep the one in its place from being applied: so rules about who may change a folder, such
    /// as CODEOWNERS, decide who may deploy a project.
    #[arg(long, value_name = "LAYOUT", env = "TRUENORTH_LAYOUT", default_value = "free")]
    pub(super) layout: LayoutArg,
}

impl PermitArgs {
    pub(super) fn permits(&self) -> Permits {
        let layout = match self.layout {
            LayoutArg::Free => Layout::Free,
            LayoutArg::Project => Layout::Project,
        };
        Permits { allow: self.allow.clone(), layout }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum UncommittedArg {
    /// Apply what the folder has
    Apply,
    /// Apply what HEAD has, read from the repository: no filter is run
    Ignore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LayoutArg {
    /// Anywhere
    Free,
    /// Below [TEAM/]PROJECT/
    Project,
}

#[derive(Args, Debug)]
pub(super) struct StateArgs {
    /// Folder of the ledger, which remembers what was applied
    ///
    /// Default: systemd's STATE_DIRECTORY, else $XDG_STATE_HOME/truenorth, else ~/.local/state/truenorth.
    #[arg(long, value_name = "DIR", env = "TRUENORTH_STATE_DIR")]
    pub(super) state_dir: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct ApiArgs {
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
    /// Use an in-process stand-in for the API, and a throw-away ledger unless --state-dir is given
    #[arg(long, env = "TRUENORTH_SANDBOX", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub(super) sandbox: bool,
}

/// Where the API is.
#[derive(Args, Debug)]
pub(super) struct UrlArgs {
    /// Where the API is.
    // Its value stays out of the help text: a URL that is refused may be one with a password.
    #[arg(
        long,
        value_name = "URL",
        env = "NORTHFLANK_API_URL",
        hide_env_values = true,
        help = "Where the API is: https, or http on loopback only [default: https://api.northflank.com]"
    )]
    pub(super) api_url: Option<String>,
}

/// Where the API is, and what opens it.
#[derive(Args, Debug)]
pub(super) struct ConnectArgs {
    #[command(flatten)]
    pub(super) url: UrlArgs,
    #[command(flatten)]
    pub(super) token: TokenArgs,
    /// Time for one API call, from connecting to the end of its answer
    #[arg(long, value_name = "DURATION", env = "TRUENORTH_REQUEST_TIMEOUT", default_value = "30s", value_parser = request_timeout)]
    pub(super) request_timeout: Duration,
}

#[derive(Args, Debug)]
pub(super) struct TokenArgs {
    /// File that holds the API token; read again on SIGHUP, and when the API refuses the token
    #[arg(long, value_name = "FILE", env = "TRUENORTH_TOKEN_FILE")]
    pub(super) token_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct LogArgs {
    /// How to write logs, on stderr
    #[arg(long, value_name = "FORMAT", env = "TRUENORTH_LOG_FORMAT", default_value = "text")]
    pub(super) log_format: LogFormat,
    /// Least level to log: error, warn, info, debug, trace
    ///
    /// Default: info; warn where --reconcile-once runs on a terminal, which shows its progress instead.
    #[arg(long, value_name = "LEVEL", env = "TRUENORTH_LOG_LEVEL")]
    pub(super) log_level: Option<LogLevel>,
}

#[derive(Args, Debug)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub(super) folder: FolderArgs,
    #[command(flatten)]
    pub(super) state: StateArgs,
    #[command(flatten)]
    pub(super) rules: RuleArgs,
    #[command(flatten)]
    pub(super) fuse: FuseArgs,
    /// Read what runs, one call a service, and plan by that: shows what would be adopted, and what drifted
    #[arg(long, env = "TRUENORTH_LIVE", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub(super) live: bool,
    #[command(flatten)]
    pub(super) api: ConnectArgs,
    /// With --live: calls in flight at once
    #[arg(long, value_name = "N", env = "TRUENORTH_CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) concurrency: u16,
    /// Exit with 2 where changes are pending, or with --live where services drifted
    #[arg(long, env = "TRUENORTH_EXIT_CODE", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub(super) exit_code: bool,
    #[command(flatten)]
    pub(super) show: ShowArgs,
    /// What to print on stdout
    #[arg(long, short, value_name = "FORMAT", env = "TRUENORTH_OUTPUT", default_value = "text")]
    pub(super) output: PlanOutput,
}

/// What `truenorth status --help` says after the options.
const AFTER_STATUS_HELP: &str = "\
Exit codes with --exit-code or --wait, of the services that are shown:
  0  converged
  1  not converged, or there is no ledger
  3  nothing failed, something is held: a person or a time is awaited";

#[derive(Args, Debug)]
pub(super) struct ApproveArgs {
    #[command(flatten)]
    pub(super) decide: DecideArgs,
    /// How long it lets the plan out; what was let out by then stays so
    #[arg(long = "for", value_name = "DURATION", env = "TRUENORTH_APPROVE_FOR", default_value = "24h", value_parser = duration)]
    pub(super) lasts: Duration,
}

/// A person's word about a plan.
#[derive(Args, Debug)]
pub(super) struct DecideArgs {
    /// Which plan: its id as `truenorth plan` prints it, or more of its digits
    #[arg(value_name = "PLAN")]
    pub(super) plan: PlanName,
    /// Who decides
    #[arg(long, value_name = "NAME", env = "TRUENORTH_BY")]
    pub(super) by: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", env = "TRUENORTH_REASON")]
    pub(super) reason: Option<String>,
    #[command(flatten)]
    pub(super) state: StateArgs,
}

#[derive(Args, Debug)]
#[command(after_help = AFTER_STATUS_HELP)]
pub(super) struct StatusArgs {
    /// Only these services: PROJECT, PROJECT/SERVICE, TEAM/PROJECT or TEAM/PROJECT/SERVICE, with * and ?
    #[arg(value_name = "PATTERN")]
    pub(super) services: Vec<Allowed>,
    /// Only services in this state, such as stalled; may be given several times
    #[arg(long = "state", value_name = "STATE", env = "TRUENORTH_STATUS_STATE", value_delimiter = ',', value_parser = state())]
    pub(super) states: Vec<ServiceState>,
    /// Exit with 1 where something is not converged, with 3 where it is only held
    #[arg(long, env = "TRUENORTH_EXIT_CODE", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub(super) exit_code: bool,
    /// Wait until all is converged, at most so long (10m if not said); then as with --exit-code
    #[arg(long, value_name = "DURATION", env = "TRUENORTH_STATUS_WAIT", num_args = 0..=1, default_missing_value = "10m", value_parser = duration, conflicts_with = "watch")]
    pub(super) wait: Option<Duration>,
    #[command(flatten)]
    pub(super) folder: FolderArgs,
    #[command(flatten)]
    pub(super) state: StateArgs,
    #[command(flatten)]
    pub(super) url: UrlArgs,
    #[command(flatten)]
    pub(super) beside: BesideArgs,
    /// Keep it on the screen until Ctrl-C; looks when the ledger changes, and every so many seconds (2 if not said)
    #[arg(long, short, value_name = "SECONDS", env = "TRUENORTH_STATUS_WATCH", num_args = 0..=1, default_missing_value = "2", value_parser = seconds)]
    pub(super) watch: Option<Duration>,
    /// What to print on stdout
    #[arg(long, short, value_name = "FORMAT", env = "TRUENORTH_OUTPUT", default_value = "text")]
    pub(super) output: StatusOutput,
}

#[derive(Args, Debug)]
pub(super) struct HistoryArgs {
    /// Only this service: project/service, team/project/service, or its last part where only one has it
    #[arg(value_name = "SERVICE")]
    pub(super) service: Option<String>,
    /// Most calls to show
    #[arg(long, short = 'n', value_name = "N", env = "TRUENORTH_HISTORY_LIMIT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: u32,
    #[command(flatten)]
    pub(super) folder: FolderArgs,
    #[command(flatten)]
    pub(super) state: StateArgs,
    #[command(flatten)]
    pub(super) url: UrlArgs,
    #[command(flatten)]
    pub(super) beside: BesideArgs,
    #[command(flatten)]
    pub(super) show: ShowArgs,
    /// What to print on stdout
    #[arg(long, short, value_name = "FORMAT", env = "TRUENORTH_OUTPUT", default_value = "text")]
    pub(super) output: Output,
}

#[derive(Args, Debug)]
pub(super) struct WhyArgs {
    /// Which service: project/service, team/project/service, or its last part where only one has it
    #[arg(value_name = "SERVICE")]
    pub(super) service: String,
    #[command(flatten)]
    pub(super) folder: FolderArgs,
    #[command(flatten)]
    pub(super) state: StateArgs,
    #[command(flatten)]
    pub(super) url: UrlArgs,
    #[command(flatten)]
    pub(super) beside: BesideArgs,
    #[command(flatten)]
    pub(super) show: ShowArgs,
    /// What to print on stdout
    #[arg(long, short, value_name = "FORMAT", env = "TRUENORTH_OUTPUT", default_value = "text")]
    pub(super) output: Output,
}

#[derive(Args, Debug)]
pub(super) struct ValidateArgs {
    #[command(flatten)]
    pub(super) folder: FolderArgs,
    #[command(flatten)]
    pub(super) token: TokenArgs,
    #[command(flatten)]
    pub(super) show: ShowArgs,
    /// What to print on stdout
    #[arg(long, short, value_name = "FORMAT", env = "TRUENORTH_OUTPUT", default_value = "text")]
    pub(super) output: ValidateOutput,
}

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

Exit codes: 0 each deployed service has a manifest that says what runs; 1 something failed, or the plan is not empty; \
64 and 78 as with every command.";

#[derive(Args, Debug)]
#[command(after_help = AFTER_IMPORT_HELP)]
pub(super) struct ImportArgs {
    /// Project to read
    #[arg(long, value_name = "PROJECT", env = "TRUENORTH_IMPORT_PROJECT", value_parser = id)]
    pub(super) project: Id,
    /// Team that the project belongs to; only with an organisation's token
    #[arg(long, value_name = "TEAM", env = "TRUENORTH_IMPORT_TEAM", value_parser = id)]
    pub(super) team: Option<Id>,
    /// Only this service; may be given several times
    #[arg(long, value_name = "SERVICE", env = "TRUENORTH_IMPORT_SERVICE", value_delimiter = ',', value_parser = id)]
    pub(super) service: Vec<Id>,
    /// Folder to write the manifests to; made where it is not there
    #[arg(long, value_name = "DIR", env = "TRUENORTH_IMPORT_OUT")]
    pub(super) out: PathBuf,
    #[command(flatten)]
    pub(super) permits: PermitArgs,
    /// Write over files that are there
    #[arg(long, env = "TRUENORTH_IMPORT_FORCE", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) api: ConnectArgs,
    /// Calls in flight at once
    #[arg(long, value_name = "N", env = "TRUENORTH_CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) concurrency: u16,
    /// What to print on stdout
    #[arg(long, short, value_name = "FORMAT", env = "TRUENORTH_OUTPUT", default_value = "text")]
    pub(super) output: Output,
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

#[derive(Args, Debug)]
pub(super) struct SandboxArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", env = "TRUENORTH_SANDBOX_LISTEN", default_value = "127.0.0.1:9096")]
    pub(super) listen: SocketAddr,
    #[command(flatten)]
    pub(super) hosts: HostArgs,
    /// Calls that the rate limit allows in an hour
    #[arg(long, value_name = "N", env = "TRUENORTH_SANDBOX_LIMIT", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: u32,
    /// Time that each answer takes
    #[arg(long, value_name = "DURATION", env = "TRUENORTH_SANDBOX_LATENCY", value_parser = duration)]
    pub(super) latency: Option<Duration>,
    /// Time that a rollout takes, from its acceptance; by default about a second. One of an image with `crash` in its name
    /// or tag fails
    #[arg(long, value_name = "DURATION", env = "TRUENORTH_SANDBOX_ROLLOUT", value_parser = duration)]
    pub(super) rollout: Option<Duration>,
    /// In which of the API's two shapes a service is shown
    #[arg(long, value_name = "SHAPE", env = "TRUENORTH_SANDBOX_SHAPE", default_value = "flat")]
    pub(super) shape: ShapeArg,
    /// Rehearse a revoked token: every token is refused (401)
    #[arg(long, env = "TRUENORTH_SANDBOX_REFUSE_TOKEN", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub(super) refuse_token: bool,
    /// Rehearse a service that is not there (404): [TEAM/]PROJECT/SERVICE; may be given several times
    #[arg(long, value_name = "SERVICE", env = "TRUENORTH_SANDBOX_MISSING", value_delimiter = ',')]
    pub(super) missing: Vec<ServiceKey>,
    /// Rehearse a rollout that fails: [TEAM/]PROJECT/SERVICE; may be given several times
    #[arg(long, value_name = "SERVICE", env = "TRUENORTH_SANDBOX_FAIL_ROLLOUT", value_delimiter = ',')]
    pub(super) fail_rollout: Vec<ServiceKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ShapeArg {
    /// The documented one: image host and path apart, no credentials
    Flat,
    /// That of the provider's newest type definitions: what PATCH takes
    Mirror,
}

impl From<ShapeArg> for Shape {
    fn from(arg: ShapeArg) -> Self {
        match arg {
            ShapeArg::Flat => Self::Flat,
            ShapeArg::Mirror => Self::Mirror,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// Lines for people
    Text,
    /// One JSON object
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum PlanOutput {
    /// Lines for people
    Text,
    /// One JSON object
    Json,
    /// A comment on a pull request
    Markdown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum StatusOutput {
    /// A table for people
    Text,
    /// The same with commits, manifests and digests
    Wide,
    /// One JSON object
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ValidateOutput {
    /// Problems with their source lines
    Text,
    /// One JSON object
    Json,
    /// Workflow annotations of GitHub Actions
    Github,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// A line for people
    Text,
    /// A JSON object a line
    Json,
    /// To systemd's journal, with fields
    Journald,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogLevel {
    /// Someone must act
    Error,
    /// It will be tried again
    Warn,
    /// Each step taken
    Info,
    /// Each decision
    Debug,
    /// Everything
    Trace,
}

/// Reads a host's name, without its port; an empty variable is none.
fn host_name(text: &str) -> Result<String, String> {
    let is_name = text == "*" || text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    is_name
        .then(|| text.to_owned())
        .ok_or_else(|| "expected a name such as truenorth.example.com, without a port".into())
}

/// Reads the state of a service.
fn state() -> impl TypedValueParser<Value = ServiceState> {
    let words = PossibleValuesParser::new(ServiceState::ALL.map(ServiceState::as_str));
    words.try_map(|word| ServiceState::from_word(&word).ok_or("not a state"))
}

/// Reads an id of a team, a project or a service.
fn id(text: &str) -> Result<Id, String> {
    Id::new(text).map_err(|error| format!("the id {error}"))
}

/// Reads an address with its port, or `off`.
pub(super) fn listen(text: &str) -> Result<Listen, String> {
    match text {
        "off" => Ok(Listen::Off),
        text => text
            .parse()
            .map(Listen::At)
            .map_err(|_| "expected an IP address with a port, such as 127.0.0.1:9095, or off".to_owned()),
    }
}

/// The longest duration that an option takes.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Reads a duration such as `30s`, `1m30s` or `100ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let read: SignedDuration =
        text.parse().map_err(|_| "expected a number with a unit, such as 30s, 1m30s or 100ms".to_owned())?;
    let duration = Duration::try_from(read).map_err(|_| "must not be negative".to_owned())?;
    match duration {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        longer if longer > LONGEST => Err("must be at most 168h".to_owned()),
        duration => Ok(duration),
    }
}

/// Reads a number of seconds, or a duration with its unit.
fn seconds(text: &str) -> Result<Duration, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    duration(&if is_number { format!("{text}s") } else { text.to_owned() })
}

/// Reads the deadline of a call.
fn request_timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        longer if longer > Settings::MAX_TIMEOUT => Err("must be at most 1h".to_owned()),
        timeout => Ok(timeout),
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

    #[test]
    fn durations_need_a_unit_and_have_bounds() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("100ms"), Ok(Duration::from_millis(100)));
        for text in ["", "5", "0s", "-1s", "169h", "1y", "soon"] {
            assert!(duration(text).is_err(), "{text:?} was accepted");
        }
    }
}
