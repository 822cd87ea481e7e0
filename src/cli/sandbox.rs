//! `truenorth sandbox`: the stand-in for the API alone, until it is stopped.

use std::io::Write as _;

use anyhow::Context as _;

use super::args::SandboxArgs;
use super::configuration;
use super::exit::Exit;
use crate::daemon::{Stop, Stopping};
use crate::sandbox::{Ending, Fault, Options, Sandbox, TokenRule, World};
use crate::text::listed;

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
    let sandbox = Sandbox::start(args.listen, options).await.map_err(configuration)?;
    rehearse(&sandbox.world(), args);
    writeln!(std::io::stdout(), "{}", sandbox.url())?;
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
