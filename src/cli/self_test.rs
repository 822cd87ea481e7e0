//! `truenorth self-test`: a pass against the sandbox in a folder of its own, as a smoke test of a binary and its machine.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use jiff::SignedDuration;
use tempfile::TempDir;

use super::args::Output;
use super::checks::{self, Check, Verdict};
use super::exit::Exit;
use super::target::Target;
use crate::engine::Pace;
use crate::model::OnFailure;
use crate::pass::{PassSettings, reconcile_once};
use crate::plan::{Outcome, Report, Rules, Windows};
use crate::runner::UpdateCall;
use crate::source::Folder;
use crate::stop::Stop;
use crate::text::command::Commands;
use crate::text::{counted, short};

#[derive(Args, Debug)]
pub(super) struct SelfTestArgs {
    /// What to print on stdout
    #[arg(long, short, value_name = "FORMAT", env = "TRUENORTH_OUTPUT", default_value = "text")]
    output: Output,
}

/// How long a pass may take; it takes about a second, which is the sandbox's time for a rollout.
const DEADLINE: Duration = Duration::from_secs(20);

const SERVICE: &str = "self-test/web";
const IMAGE: &str = "ghcr.io/northflank/self-test:1.0.0";
const MANIFEST: &str = "\
apiVersion: truenorth/v1
kind: ServiceDeployment
metadata:
  projectId: self-test
  serviceId: web
spec:
  external:
    imagePath: ghcr.io/northflank/self-test:1.0.0
";

pub(super) fn run(args: &SelfTestArgs) -> anyhow::Result<Exit> {
    let began = Instant::now();
    let mut checks = Vec::new();
    super::on_runtime(async {
        if let Err(fault) = test(&mut checks).await {
            checks.push(fault);
        }
        Ok(())
    })?;
    let is_well = checks.iter().all(|check| check.verdict == Verdict::Ok);
    let verdict = if is_well { "works here" } else { "does not work here" };
    let last = format!(
        "truenorth {} {verdict} ({})",
        env!("CARGO_PKG_VERSION"),
        short::took(SignedDuration::try_from(began.elapsed()).unwrap_or_default())
    );
    checks::show(&checks, args.output, &last)?;
    Ok(if is_well { Exit::Converged } else { Exit::NotConverged })
}

/// Goes through everything that a pass needs, and ends with the first fault.
async fn test(checks: &mut Vec<Check>) -> Result<(), Check> {
    let folder = TempDir::with_prefix("truenorth-").map_err(|error| {
        let hint = "make room in the temporary folder, or name another one in TMPDIR".to_owned();
        Check::fault("files", format!("cannot make a temporary folder: {error}"), Some(hint))
    })?;
    let manifests = folder.path().join("manifests");
    std::fs::create_dir(&manifests)
        .and_then(|()| std::fs::write(manifests.join("web.yaml"), MANIFEST))
        .map_err(|error| Check::fault("files", format!("cannot write a manifest: {error}"), None))?;
    checks.push(Check::ok("files", format!("a manifest in {}", manifests.display())));

    let target = Target::in_sandbox(Some(&folder.path().join("state")), DEADLINE, UpdateCall::Auto)
        .await
        .map_err(|error| Check::of_error("sandbox", &error))?;
    let url = target.sandbox_url().unwrap_or_default();
    checks.push(Check::ok("sandbox", format!("listens at {url}")));

    let report = pass(&target, &manifests).await.map_err(|error| Check::of_error("pass", &error))?;
    checks.push(first(&report)?);
    let update = target.updates_of(SERVICE);
    let said = update.iter().map(|update| update.pointer("/external/imagePath").and_then(|image| image.as_str()));
    let said: Vec<_> = said.collect();
    match said.as_slice() {
        [Some(IMAGE)] => checks.push(Check::ok("update", format!("one call for {SERVICE}, with its image"))),
        _ => {
            return Err(Check::fault("update", format!("the sandbox got {said:?}, not one update with {IMAGE}"), None));
        }
    }

    let report = pass(&target, &manifests).await.map_err(|error| Check::of_error("ledger", &error))?;
    checks.push(second(&report)?);
    target.end().await;
    Ok(())
}

async fn pass(target: &Target, manifests: &Path) -> anyhow::Result<Report> {
    let (api, ledger) = target.open()?;
    let (_running, stop) = Stop::channel();
    let settings = PassSettings {
        concurrency: 1,
        rate_limit: 1000,
        deadline: DEADLINE,
        backoff: Pace::default().backoff,
        rules: Rules::default(),
        follow: Some(target.follow(DEADLINE)),
        max_changes: None,
        windows: Windows::default(),
        on_failure: OnFailure::Hold,
        commands: Commands::Hidden,
    };
    Ok(reconcile_once(&mut Folder::new(manifests), ledger, api, settings, stop, |_| {}).await?)
}

/// The first pass sends the update, and waits until that runs.
fn first(report: &Report) -> Result<Check, Check> {
    match report.services.as_slice() {
        [service] if report.converged && service.outcome == Outcome::Updated => {
            let calls = counted(report.api.calls as usize, "call");
            Ok(Check::ok("pass", format!("{} updated and deployed, {calls}", service.service)))
        }
        services => {
            let ended = services.iter().map(|service| {
                let why = service.error.as_ref().map_or("its rollout did not complete", |error| &error.message);
                format!("{} {}: {why}", service.service, service.outcome.as_str())
            });
            let ended: Vec<String> = ended.collect();
            Err(Check::fault("pass", format!("did not converge: {}", ended.join("; ")), None))
        }
    }
}

/// The second one finds in the ledger that nothing is to do.
fn second(report: &Report) -> Result<Check, Check> {
    match (report.converged, report.count(Outcome::Unchanged), report.api.calls) {
        (true, 1, 0) => Ok(Check::ok("ledger", "a second pass has nothing to send")),
        (_, _, calls) => {
            let calls = counted(calls as usize, "call");
            Err(Check::fault("ledger", format!("a second pass of the same folder made {calls}"), None))
        }
    }
}
