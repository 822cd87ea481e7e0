//! `truenorth rollback`: a version that ran before, in the place of what the manifest says.

use std::fmt::Write as _;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use jiff::Timestamp;
use serde_json::Value;

use super::exit::Exit;
use super::requests::{AskArgs, text, who_does};
use super::{Failure, names, print, read_error, refused};
use crate::ledger::{HistoryEntry, PersonRequest, Reader, RequestKind, WayBack};
use crate::model::{Digest, Known, ServiceKey};
use crate::text::{printable, short};

/// Most calls of a service that are looked through.
const CALLS: u32 = 200;

/// The shortest start of a digest that names a version.
const SHORTEST: usize = 6;

#[derive(Args, Debug)]
pub(super) struct RollbackArgs {
    /// Which service
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(names::services))]
    service: String,
    /// Which version, by the start of its digest; else the last one that is known to have run
    #[arg(long, value_name = "DIGEST")]
    to: Option<String>,
    /// Why, for everybody who wonders
    #[arg(long, value_name = "TEXT", value_parser = text)]
    reason: String,
    #[command(flatten)]
    asks: AskArgs,
}

/// A version that was deployed once.
struct Version {
    digest: Digest,
    what: String,
    at: Timestamp,
    became: String,
}

pub(super) fn run(args: &RollbackArgs) -> anyhow::Result<Exit> {
    let targets = args.asks.targets(std::slice::from_ref(&args.service))?;
    let Some(key) = targets.into_iter().flatten().next() else { return Ok(Exit::NotConverged) };
    let reader = args.asks.ledger()?;
    let versions = versions(&reader, &key)?;
    let Some(desired) = args.asks.observation()?.snapshot.desired.get(&key).map(|desired| desired.digest) else {
        let hint = "a service without a valid manifest is left as it is; `truenorth validate` shows what is wrong";
        return Err(refused(format!("no valid manifest names {key}"), hint).into());
    };
    let good = reader.last_good(&key, desired).map_err(read_error)?.map(|(digest, _)| digest);
    let runs = reader.known().map_err(read_error)?.remove(&key);
    drop(reader);
    let to = chosen(args.to.as_deref(), &versions, good, desired, &key)?;
    let at = Timestamp::now();
    let request = PersonRequest {
        kind: RequestKind::Rollback,
        target: Some(key.clone()),
        reason: Some(args.reason.clone()),
        by: args.asks.by(),
        at,
        until: None,
        way_back: Some(WayBack { from: desired, to }),
    };
    let heard = args.asks.write(&[request], at)?;
    let (told, version) = (listed(&versions, to), short::digest(to));
    if matches!(runs, Some(Known::Applied(applied)) if applied.digest == to) {
        print::text(&format!("{told}{key} has {version} already; it stays until its manifest changes\n"))?;
        return Ok(Exit::Converged);
    }
    let what = match args.asks.closed()?.why(&key) {
        Some(why) => format!("{why}; it is sent after that"),
        None => who_does(heard, "sends it"),
    };
    print::text(&format!("{told}{key} goes back to {version}, until its manifest changes: {what}\n"))?;
    Ok(Exit::Converged)
}

/// The versions of a service whose body is kept, newest first.
fn versions(reader: &Reader, key: &ServiceKey) -> anyhow::Result<Vec<Version>> {
    let mut versions: Vec<Version> = Vec::new();
    for entry in reader.history(Some(key), CALLS).map_err(read_error)? {
        let is_new = versions.iter().all(|version| version.digest != entry.digest);
        if let (true, true, Some(spec)) = (entry.end.is_good(), is_new, entry.spec.as_deref()) {
            versions.push(version(&entry, spec));
        }
    }
    Ok(versions)
}

fn version(entry: &HistoryEntry, spec: &str) -> Version {
    let spec: Value = serde_json::from_str(spec).unwrap_or_default();
    let what = ["/external/imagePath", "/internal/buildId", "/internal/buildSHA", "/internal/id"]
        .into_iter()
        .find_map(|path| spec.pointer(path)?.as_str());
    Version {
        digest: entry.digest,
        what: printable(what.unwrap_or("runtime only")).to_string(),
        at: entry.end.at().unwrap_or(entry.began),
        became: entry.rollout.as_ref().map_or_else(|| entry.cause.clone(), |rollout| rollout.state.to_string()),
    }
}

/// The version that is meant.
fn chosen(
    to: Option<&str>,
    versions: &[Version],
    good: Option<Digest>,
    desired: Digest,
    key: &ServiceKey,
) -> Result<Digest, Failure> {
    let others = versions.iter().filter(|version| version.digest != desired);
    let shown: Vec<String> =
        others.map(|version| format!("{} ({})", short::digest(version.digest), version.what)).collect();
    let shown = if shown.is_empty() { "none is known".to_owned() } else { shown.join(", ") };
    let refused = |message: String, hint: &str| refused(message, format!("{hint}: {shown}"));
    let Some(to) = to else {
        let hint = "choose one with --to DIGEST";
        return good.ok_or_else(|| refused(format!("no other version of {key} is known to have run"), hint));
    };
    let start = to.trim().trim_start_matches("sha256:").to_ascii_lowercase();
    let is_meant = |version: &&Version| version.digest.to_string().trim_start_matches("sha256:").starts_with(&start);
    let meant: Vec<&Version> = versions.iter().filter(is_meant).collect();
    match meant.as_slice() {
        _ if start.len() < SHORTEST => {
            Err(refused(format!("--to {}: give at least {SHORTEST} digits", printable(to)), "the versions are"))
        }
        [one] if one.digest == desired => {
            Err(refused(format!("{key} is to have {} by its manifest", printable(to)), "choose another one"))
        }
        [one] => Ok(one.digest),
        [] => Err(refused(format!("no version of {key} begins with {}", printable(to)), "the versions are")),
        _ => Err(refused(format!("several versions of {key} begin with {}", printable(to)), "give more digits")),
    }
}

/// A line for each version.
fn listed(versions: &[Version], chosen: Digest) -> String {
    let width = versions.iter().map(|version| version.what.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for Version { digest, what, at, became } in versions {
        let mark = if chosen == *digest { '>' } else { ' ' };
        let (digest, at) = (short::digest(*digest), short::time(*at));
        let _ = writeln!(text, "{mark} {digest}  {what:<width$}  {at}  {became}");
    }
    text
}
