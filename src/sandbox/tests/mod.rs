//! Tests of the sandbox through its front door: HTTP on loopback.

mod contract;
mod faults;
mod server;
mod world;

use std::sync::Once;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Method, Response, redirect};
use serde_json::{Value, json};

use super::{Options, Sandbox, World};

/// A sandbox and a raw client that has a token, follows no redirect and unpacks nothing.
struct Bench {
    sandbox: Sandbox,
    world: World,
    client: Client,
}

/// An answer taken in whole.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: reqwest::header::HeaderMap,
    json: Value,
}

impl Bench {
    async fn start(options: Options) -> Self {
        let sandbox = Sandbox::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
        let world = sandbox.world();
        Self { sandbox, world, client: client_builder().build().unwrap() }
    }

    async fn try_send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response, reqwest::Error> {
        let mut request =
            self.client.request(method, format!("{}{path}", self.sandbox.url())).bearer_auth("a-good-token");
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Got {
        Got::of(self.try_send(method, path, body).await.unwrap()).await
    }

    async fn get(&self, path: &str) -> Got {
        self.send(Method::GET, path, None).await
    }

    /// The update call for `shop/<service>`.
    async fn update(&self, service: &str, body: Value) -> Got {
        self.send(Method::POST, &format!("/v1/projects/shop/services/{service}/deployment"), Some(&body)).await
    }

    /// What `GET …/services/{service}` shows as its deployment, in project `shop`.
    async fn shown(&self, service: &str) -> Value {
        self.get(&format!("/v1/projects/shop/services/{service}")).await.json["data"]["deployment"].clone()
    }
}

impl Got {
    async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let json = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default();
        Self { status, headers, json }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

fn client_builder() -> ClientBuilder {
    static PROVIDER: Once = Once::new();
    // A test of another module may have been first.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    Client::builder().no_proxy().no_gzip().redirect(redirect::Policy::none())
}

fn image(image: &str) -> Value {
    json!({"external": {"imagePath": image}})
}

/// Waits until something holds; fails when it does not within ten seconds.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never came true: {what}");
}
