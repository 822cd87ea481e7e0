//! The sandbox in the test's own process.

use std::net::SocketAddr;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use truenorth::ledger::HistoryEntry;
use truenorth::model::{DeploymentUpdate, Digest, External, ImagePath};
use truenorth::sandbox::{Options, Sandbox, Services, Shape, TokenRule, World};

/// A sandbox on a runtime of its own, so that tests of processes need none.
pub(crate) struct Api {
    sandbox: Sandbox,
    _runtime: Runtime,
}

impl Api {
    /// Every token is good, every service exists, rollouts end at once.
    pub(crate) fn new() -> Self {
        Self::with(Options { rollout: Duration::ZERO, ..Options::default() })
    }

    /// One for each shape in which a service is shown.
    pub(crate) fn of_each_shape() -> [Self; 2] {
        Shape::ALL.map(|shape| Self::with(Options { shape, rollout: Duration::ZERO, ..Options::default() }))
    }

    /// Only these services exist.
    pub(crate) fn of_services(services: &[&str]) -> Self {
        let services = services.iter().copied().map(Into::into).collect();
        Self::with(Options { services: Services::Only(services), ..Options::default() })
    }

    /// Only this token is good.
    pub(crate) fn of_token(token: &str) -> Self {
        Self::with(Options { token: TokenRule::Exactly(SecretString::from(token)), ..Options::default() })
    }

    /// Each answer takes this long.
    pub(crate) fn of_latency(latency: Duration) -> Self {
        Self::with(Options { latency, ..Options::default() })
    }

    pub(crate) fn with(options: Options) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let sandbox = runtime.block_on(Sandbox::start(address, options)).unwrap();
        Self { sandbox, _runtime: runtime }
    }

    pub(crate) fn url(&self) -> String {
        self.sandbox.url()
    }

    pub(crate) fn world(&self) -> World {
        self.sandbox.world()
    }

    /// How many calls came for a service, accepted or not.
    pub(crate) fn calls_of(&self, service: &str) -> usize {
        let target = service.into();
        self.world().calls().iter().filter(|call| call.target.as_ref() == Some(&target)).count()
    }
}

/// The tags of the images that were accepted for `shop/<service>`, in order.
pub(crate) fn tags(api: &Api, service: &str) -> Vec<String> {
    api.world().updates(format!("shop/{service}")).iter().map(|update| tag(update).to_owned()).collect()
}

/// The tag of the image that a call of the ledger was to bring, out of those that are numbers. The ledger keeps the body
/// of the newest calls alone, and the digest of all.
pub(crate) fn tag_of(entry: &HistoryEntry) -> String {
    if let Some(spec) = &entry.spec {
        return tag(&serde_json::from_str(spec).unwrap()).to_owned();
    }
    let tags = (0..100_000).map(|number: u32| number.to_string());
    let digest = |tag: &str| {
        let image_path = format!("ghcr.io/acme/{}:{tag}", entry.key.service);
        let external = External { credentials: None, image_path: ImagePath::new(&image_path).unwrap() };
        Digest::of_update(&entry.key, &DeploymentUpdate::External { docker: None, external })
    };
    tags.into_iter().find(|tag| digest(tag) == entry.digest).unwrap()
}

/// The tag of the image of an update.
pub(crate) fn tag(update: &Value) -> &str {
    // PATCH has the same below `deployment`.
    let image = update.pointer("/external/imagePath").or(update.pointer("/deployment/external/imagePath"));
    image.and_then(Value::as_str).unwrap().rsplit(':').next().unwrap()
}
