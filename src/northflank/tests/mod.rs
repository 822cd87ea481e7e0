//! The client against servers that answer with raw bytes, well or badly. The sandbox has no part in this, so that the
//! two cannot share a mistake.
//!
//! `zeros.gz` is a mebibyte of zeros, `not-found.gz` an error body. `tls/` has a root and a server's certificate for
//! `localhost` and `api.example.com` with its key, valid from 2020 to 2119; the root's key is thrown away.

mod bodies;
mod calls;
mod deployments;
mod failures;
mod reads;
mod secrets;
mod server;
mod tls;

use std::error::Error;
use std::process::Command;
use std::time::Duration;

use super::transport::{Proxies, Roots};
use super::{CallError, Client, Settings, Token};
use crate::model::{CredentialsId, DeploymentUpdate, Docker, DockerConfig, External, ImagePath, ServiceKey};

/// Long enough that only a test that waits for it meets it.
const LONG: Duration = Duration::from_secs(20);
/// For tests that wait for a deadline.
const SHORT: Duration = Duration::from_millis(200);

/// The root that vouches for the server's certificate.
const ROOT_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/northflank/tests/tls/ca.pem");

/// How the API says that it accepted an update.
const ACCEPTED: &str = r#"{"data":{}}"#;

const TOKEN: &str = "nf-hunter2-hunter2";

fn settings(url: &str, timeout: Duration) -> Settings {
    Settings::new(url.parse().expect("a valid address"), timeout)
}

fn token() -> Token {
    Token::new(TOKEN).expect("a valid token")
}

fn client(url: &str) -> Client {
    impatient_client(url, LONG)
}

fn impatient_client(url: &str, timeout: Duration) -> Client {
    Client::build(settings(url, timeout), token(), Proxies::Environment, Roots::System).expect("a client")
}

fn key() -> ServiceKey {
    "shop/checkout".parse().expect("a valid key")
}

fn update() -> DeploymentUpdate {
    DeploymentUpdate::External {
        docker: Docker::new(DockerConfig::CustomCommand, None, Some("node \"ü\"".into())).ok(),
        external: External {
            credentials: CredentialsId::new("ghcr").ok(),
            image_path: ImagePath::new("ghcr.io/acme/checkout:1.8.2").expect("a valid image"),
        },
    }
}

/// Sends the update and expects it to fail.
async fn failure(client: &Client) -> CallError {
    client.update_deployment(&key(), &update()).await.expect_err("the call fails")
}

/// An error as a log shows it: with its causes.
fn chain(error: &(dyn Error + 'static)) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// The variable that tells a test that it was started by [`again`].
const AGAIN: &str = "TRUENORTH_TEST_AGAIN";

fn is_again() -> bool {
    std::env::var_os(AGAIN).is_some()
}

/// Runs one test of this program in a process of its own, with another environment: a process must not change its own.
async fn again(test: &str, environment: &[(&'static str, &str)]) {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    let name = format!("{}::{test}", module_path!().split_once("::").expect("a crate's module").1);
    command.args(["--exact", &name]).env(AGAIN, "1").env_remove("SSL_CERT_DIR").envs(environment.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}
