//! `truenorth sandbox`: the stand-in for the API alone, until it is stopped.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, ValueEnum};

use super::args::{HostArgs, count, duration};
use super::exit::Exit;
use super::{misconfigured, origin, print};
use crate::error::chain;
use crate::model::ServiceKey;
use crate::sandbox::{Ending, Fault, Options, Sandbox, Shape, TokenRule, World};
use crate::stop::{Stop, Stopping};
use crate::text::listed;

#[derive(Args, Debug)]
pub(super) struct SandboxArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", env = "TRUENORTH_SANDBOX_LISTEN", default_value = "127.0.0.1:9096")]
    listen: SocketAddr,
    #[command(flatten)]
    hosts: HostArgs,
    /// Calls that the rate limit allows in an hour
    #[arg(long, value_name = "N", env = "TRUENORTH_SANDBOX_LIMIT", default_value_t = 1000, value_parser = count, allow_negative_numbers = true)]
    limit: u32,
    /// Time that each answer takes
    #[arg(long, value_name = "DURATION", env = "TRUENORTH_SANDBOX_LATENCY", value_parser = duration)]
    latency: Option<Duration>,
    /// Time that a rollout takes, from its acceptance; by default about a second. One of an image with `crash` in its name
    /// or tag fails
    #[arg(long, value_name = "DURATION", env = "TRUENORTH_SANDBOX_ROLLOUT", value_parser = duration)]
    rollout: Option<Duration>,
    /// In which of the API's two shapes a service is shown
    #[arg(long, value_name = "SHAPE", env = "TRUENORTH_SANDBOX_SHAPE", default_value = "flat")]
    shape: ShapeArg,
    /// Rehearse a revoked token: every token is refused (401)
    #[arg(long, env = "TRUENORTH_SANDBOX_REFUSE_TOKEN", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    refuse_token: bool,
    /// Rehearse a service that is not there (404): [TEAM/]PROJECT/SERVICE; may be given several times
    #[arg(long, value_name = "SERVICE", env = "TRUENORTH_SANDBOX_MISSING", value_delimiter = ',')]
    missing: Vec<ServiceKey>,
    /// Rehearse a rollout that fails: [TEAM/]PROJECT/SERVICE; may be given several times
    #[arg(long, value_name = "SERVICE", env = "TRUENORTH_SANDBOX_FAIL_ROLLOUT", value_delimiter = ',')]
    fail_rollout: Vec<ServiceKey>,
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

pub(super) fn run(args: &SandboxArgs) -> anyhow::Result<Exit> {
    super::on_runtime(serve(args))
}

async fn serve(args: &SandboxArgs) -> anyhow::Result<Exit> {
    let mut stop = Stop::on_signals().context("cannot catch signals")?;
    let latency = args.latency.unwrap_or_default();
    let options = Options {
        shape: args.shape.into(),
        hosts: args.hosts.hosts(),
        limit: args.limit,
        latency,
        rollout: args.rollout.unwrap_or(Options::default().rollout),
        token: if args.refuse_token { TokenRule::None } else { TokenRule::Any },
        ..Options::default()
    };
    let sandbox = Sandbox::start(args.listen, options).await;
    let sandbox = sandbox.map_err(|error| misconfigured(chain(&error) + &origin::behind("listen"), None))?;
    rehearse(&sandbox.world(), args);
    print::verbatim(&format!("{}\n", sandbox.url()))?;
    writeln!(
        anstream::stderr(),
        "a stand-in for the Northflank API; {}. Try:\n  \
         NORTHFLANK_API_TOKEN=any truenorth --reconcile-once --api-url {}",
        told(args),
        sandbox.url()
    )?;
    if !sandbox.address().ip().to_canonical().is_loopback() {
        writeln!(anstream::stderr(), "warning: every machine that reaches {} can call it", sandbox.address())?;
    }
    stop.reached(Stopping::Gracefully).await;
    sandbox.stop().await;
    Ok(Exit::Converged)
}

/// Puts in place what is to go wrong.
fn rehearse(world: &World, args: &SandboxArgs) {
    for service in &args.missing {
        let message = format!("service `{service}` does not exist");
        world.script(Fault::error(404, "NOT-FOUND", &message, None).of(service.to_string().as_str()).always());
    }
    for service in &args.fail_rollout {
        world.set_ending(service.to_string().as_str(), Ending::Failed);
    }
}

/// What is good and what is not, in words.
fn told(args: &SandboxArgs) -> String {
    let token = if args.refuse_token { "every token is refused" } else { "every token is good" };
    let services = match args.missing.as_slice() {
        [] => "every service exists".to_owned(),
        missing => format!("every service exists but {}", listed(missing)),
    };
    let rollouts = match args.fail_rollout.as_slice() {
        [] => String::new(),
        failing => format!("; rollouts of {} fail", listed(failing)),
    };
    format!("{token} and {services}{rollouts}")
}
