//! Tests of the ledger, and what they share.

mod belonging;
mod conformance;
mod crash;
mod decisions;
mod doubt;
mod opening;
mod quarantine;
mod reading;
mod requests;
mod trusting;
mod writing;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::Connection;
use tempfile::TempDir;

use super::{Adoption, Intent, Keep, Ledger, Outcome, WriteError};
use crate::model::{
    ApiPlace, Cause, CredentialsId, DeploymentUpdate, Digest, Docker, DockerConfig, External, ImagePath, Known, Place,
    Revision, RuntimeUpdate, ServiceKey,
};

const ACCEPTED: Outcome = Outcome::Accepted { status: 200 };

fn rejected() -> Outcome {
    Outcome::Rejected { status: 400, error: "imagePath names nothing".into() }
}

fn unsent() -> Outcome {
    Outcome::Unsent { error: "no route".into() }
}

fn unknown() -> Outcome {
    Outcome::Unknown { status: None, error: "timed out".into() }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(dir: &Path) -> Ledger {
    Ledger::open(dir, here(), at(0)).unwrap()
}

async fn keep(ledger: &Ledger, one: Keep) {
    ledger.keep([one].into()).await.unwrap();
}

fn here() -> ApiPlace {
    ApiPlace::new("https://api.example.com")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn key(text: &str) -> ServiceKey {
    text.parse().unwrap()
}

/// An update to an image of this tag; to a command of this length where it is too long for one.
fn update(tag: &str) -> DeploymentUpdate {
    if tag.len() > 128 {
        let docker = Docker::new(DockerConfig::CustomCommand, None, Some(tag.to_owned())).unwrap();
        return DeploymentUpdate::Runtime(RuntimeUpdate::Docker { docker });
    }
    DeploymentUpdate::External {
        docker: None,
        external: External {
            credentials: Some(CredentialsId::new("ghcr").unwrap()),
            image_path: ImagePath::new(&format!("ghcr.io/acme/web:{tag}")).unwrap(),
        },
    }
}

fn digest(service: &str, tag: &str) -> Digest {
    Digest::of_update(&key(service), &update(tag))
}

fn revision() -> Revision {
    Revision::Git { commit: "4f2a91c07be7ab9d3c5f4f2a91c07be7ab9d3c5f".into(), dirty: true, headline: None }
}

fn place() -> Place {
    Place { file: "shop/web.yaml".into(), line: 7 }
}

fn intent(service: &str, tag: &str) -> Intent {
    Intent {
        key: key(service),
        update: Arc::new(update(tag)),
        digest: digest(service, tag),
        cause: Cause::Changed,
        revision: revision(),
        place: place(),
        attempt: 1,
        at: at(1),
        settles_at: at(1),
        kind: None,
    }
}

fn adoption(service: &str, tag: &str) -> Adoption {
    Adoption {
        key: key(service),
        update: Arc::new(update(tag)),
        digest: digest(service, tag),
        revision: revision(),
        place: place(),
        at: at(1),
        unnamed: None,
        runs: false,
        rollout: None,
    }
}

/// An intent and its end.
async fn send(ledger: &Ledger, service: &str, tag: &str, outcome: Outcome) {
    let call = ledger.intend(intent(service, tag)).await.unwrap();
    ledger.record(call, outcome, at(2)).await.unwrap();
}

fn known(ledger: &Ledger, service: &str) -> Option<Known> {
    ledger.reader().known().unwrap().get(&key(service)).copied()
}

fn applied(service: &str, tag: &str) -> Option<Known> {
    Some(Known::Applied(crate::model::Applied::new(digest(service, tag))))
}

fn suspect(service: &str, tag: &str) -> Option<Known> {
    applied(service, tag).map(Known::suspected)
}

/// Acts on the writer's connection, in a transaction of the ledger.
async fn probe(
    ledger: &Ledger,
    mut act: impl FnMut(&Connection) -> rusqlite::Result<()> + Send + 'static,
) -> Result<(), WriteError> {
    ledger.shared.write(move |connection| Ok(act(connection)?)).await
}

/// What a crash at this moment would leave: a copy of each file, with the writer alive.
fn crash_copy(dir: &Path) -> TempDir {
    let copy = folder();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// Every file of a folder with its content, save the lock and the mark.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| !["ledger.lock", "ledger.mark"].iter().any(|name| entry.file_name() == *name))
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    all.sort();
    all
}
