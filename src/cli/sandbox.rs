//! `truenorth sandbox`: the stand-in for the API alone, until it is stopped.

use std::io::Write as _;

use anyhow::Context as _;

use super::args::SandboxArgs;
use super::configuration;
use super::exit::Exit;
use crate::daemon::{Stop, Stopping};
use crate::sandbox::{Options, Sandbox};

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
        ..Options::default()
    };
    let sandbox = Sandbox::start(args.listen, options).await.map_err(configuration)?;
    writeln!(std::io::stdout(), "{}", sandbox.url())?;
    writeln!(
        anstream::stderr(),
        "a stand-in for the Northflank API; every token is good and every service exists. Try:\n  \
         NORTHFLANK_API_TOKEN=any truenorth --reconcile-once --api-url {}",
        sandbox.url()
    )?;
    if !sandbox.address().ip().to_canonical().is_loopback() {
        writeln!(anstream::stderr(), "warning: every machine that reaches {} can call it", sandbox.address())?;
    }
    stop.reached(Stopping::Gracefully).await;
    sandbox.stop().await;
    Ok(Exit::Converged)
}
