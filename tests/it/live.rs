//! What an update sends and what the sandbox then shows are the same, and nothing else is: the client, the comparison and
//! the stand-in's idea of live, which it has from the contract alone, held against each other.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use tokio::runtime::{Builder, Runtime};
use truenorth::model::{
    BuildServiceId, BuildSha, Buildpack, BuildpackConfig, CredentialsId, DeploymentUpdate, Docker, DockerConfig,
    External, ImagePath, Internal, Live, RuntimeUpdate, ServiceKey, ServiceKind,
};
use truenorth::northflank::{Client, Settings, Token};
use truenorth::plan::{Comparison, Verdict, compare};
use truenorth::sandbox::{self, Shape};

use crate::support::{Api, TOKEN};

const COMMIT: &str = "4f2a91c07be7ab9d3c5f4f2a91c07be7ab9d3c5f";

/// A client of a sandbox without a limit that counts.
struct Bench {
    api: Api,
    client: Client,
    runtime: Runtime,
}

impl Bench {
    fn new(shape: Shape) -> Self {
        let api = Api::with(sandbox::Options { shape, limit: u32::MAX, log: 10, ..sandbox::Options::default() });
        let settings = Settings::new(api.url().parse().unwrap(), Duration::from_secs(30));
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self { client: Client::new(settings, Token::new(TOKEN).unwrap()).unwrap(), runtime, api }
    }

    /// One of each shape for all cases of a property; what runs is not reset between them.
    fn of_this_thread() -> &'static [Self; 2] {
        thread_local! {
            static BENCHES: &'static [Bench; 2] = Box::leak(Box::new(Shape::ALL.map(Bench::new)));
        }
        BENCHES.with(|benches| *benches)
    }

    fn send(&self, update: &DeploymentUpdate) {
        self.runtime.block_on(self.client.update_deployment(&key(), update)).unwrap();
    }

    fn patch(&self, kind: ServiceKind, update: &DeploymentUpdate) {
        let instances = self.read().instances;
        self.runtime.block_on(self.client.patch_deployment(&key(), kind, instances, update)).unwrap();
    }

    fn read(&self) -> Live {
        self.runtime.block_on(self.client.read_service(&key())).unwrap().value
    }

    /// Compares as a caller does that asks for the build's id where it decides.
    fn compare(&self, update: &DeploymentUpdate) -> Comparison {
        let live = self.read();
        let first = compare(update, &live);
        if !first.wants_build_id() {
            return first;
        }
        let build_id = self.runtime.block_on(self.client.read_build_id(&key())).unwrap().value;
        compare(update, &live.with_build_id(build_id))
    }
}

fn key() -> ServiceKey {
    "acme/shop/web".parse().unwrap()
}

fn any_image() -> BoxedStrategy<ImagePath> {
    let host = select(vec![
        "",
        "docker.io/",
        "index.docker.io/v1/",
        "https://index.docker.io/v1/",
        "ghcr.io/",
        "GHCR.io/",
        "https://ghcr.io/",
        "registry.gitlab.com/",
        "europe-docker.pkg.dev/",
        "1.dkr.ecr.eu-west-1.amazonaws.com/",
        "acme.azurecr.io/",
        "quay.io/",
        "localhost:5000/",
    ]);
    let path = "[a-z][a-z0-9._-]{0,8}(/[a-z][a-z0-9._-]{0,8}){0,2}";
    let version = prop_oneof![":[a-z0-9._-]{1,8}", "@sha256:[0-9a-f]{64}", ":[a-z0-9]{1,4}@sha256:[0-9a-f]{64}"];
    (host, path, version)
        .prop_filter_map("no image by the contract", |(host, path, version)| {
            ImagePath::new(&format!("{host}{path}{version}")).ok()
        })
        .boxed()
}

fn any_text() -> BoxedStrategy<String> {
    prop_oneof![any::<String>(), "[ -~\n\t]{0,30}", Just("node \"ü\" # \u{1b}".to_owned())].boxed()
}

fn any_docker() -> BoxedStrategy<Docker> {
    let texts = (proptest::option::of(any_text()), proptest::option::of(any_text()));
    (select(DockerConfig::ALL.to_vec()), texts)
        .prop_filter_map("a text is missing", |(config, (entrypoint, command))| {
            Docker::new(config, entrypoint, command).ok()
        })
        .boxed()
}

fn any_buildpack() -> BoxedStrategy<Buildpack> {
    let text = || proptest::option::of(any_text());
    (select(BuildpackConfig::ALL.to_vec()), text(), text(), text())
        .prop_filter_map("a text is missing", |(config, process, entrypoint, command)| {
            Buildpack::new(config, process, entrypoint, command).ok()
        })
        .boxed()
}

fn any_internal() -> BoxedStrategy<Internal> {
    let sha = prop_oneof![Just("latest".to_owned()), "[0-9a-f]{40}"];
    let branch = prop_oneof![any_text(), Just("main".to_owned())];
    (
        proptest::option::of(branch),
        proptest::option::of("[a-z]{1,12}-[0-9]{1,4}"),
        proptest::option::of(sha),
        "[a-z]{3}[a-z0-9]{0,9}",
    )
        .prop_map(|(branch, build_id, sha, id)| Internal {
            branch,
            build_id,
            build_sha: sha.map(|sha| BuildSha::new(&sha).unwrap()),
            id: BuildServiceId::new(&id).unwrap(),
        })
        .boxed()
}

fn any_runtime() -> BoxedStrategy<RuntimeUpdate> {
    prop_oneof![
        any_docker().prop_map(|docker| RuntimeUpdate::Docker { docker }),
        any_buildpack().prop_map(|buildpack| RuntimeUpdate::Buildpack { buildpack }),
        (any_buildpack(), any_docker()).prop_map(|(buildpack, docker)| RuntimeUpdate::Both { buildpack, docker }),
    ]
    .boxed()
}

pub(crate) fn any_update() -> BoxedStrategy<DeploymentUpdate> {
    let credentials = proptest::option::of("[A-Za-z0-9-]{1,12}");
    let docker = || proptest::option::of(any_docker());
    prop_oneof![
        (any_image(), credentials, docker()).prop_map(|(image_path, credentials, docker)| {
            let credentials = credentials.map(|id| CredentialsId::new(&id).unwrap());
            DeploymentUpdate::External { docker, external: External { credentials, image_path } }
        }),
        (any_internal(), proptest::option::of(any_buildpack()), docker())
            .prop_map(|(internal, buildpack, docker)| DeploymentUpdate::Internal { buildpack, docker, internal }),
        any_runtime().prop_map(DeploymentUpdate::Runtime),
    ]
    .boxed()
}

/// An update, and the same with one field changed that an answer shows, with the field's path.
fn any_neighbours() -> BoxedStrategy<(DeploymentUpdate, DeploymentUpdate, &'static str)> {
    (any_update(), any_image(), any_internal(), any_docker(), any_buildpack(), 0..6_usize)
        .prop_filter_map(
            "nothing to change",
            |(first, other_image, other_internal, other_docker, other_pack, which)| {
                let mut second = first.clone();
                let path = match (&mut second, which) {
                    (DeploymentUpdate::External { external, .. }, 0..3) => {
                        external.image_path = other_image;
                        "external.imagePath"
                    }
                    (DeploymentUpdate::External { docker, .. } | DeploymentUpdate::Internal { docker, .. }, 3) => {
                        *docker = Some(other_docker);
                        "docker.configType"
                    }
                    (DeploymentUpdate::Internal { internal, .. }, 0) => {
                        internal.id = other_internal.id;
                        "internal.id"
                    }
                    (DeploymentUpdate::Internal { internal, .. }, 1) => {
                        internal.branch = other_internal.branch;
                        "internal.branch"
                    }
                    (DeploymentUpdate::Internal { internal, .. }, 2) => {
                        internal.build_sha = other_internal.build_sha;
                        "internal.buildSHA"
                    }
                    (DeploymentUpdate::Internal { internal, .. }, 4) => {
                        internal.build_id = other_internal.build_id;
                        "internal.buildId"
                    }
                    (DeploymentUpdate::Internal { buildpack, .. }, 5) => {
                        *buildpack = Some(other_pack);
                        "buildpack.configType"
                    }
                    _ => return None,
                };
                let named = compare(&second, &Live::of_kind(ServiceKind::Build)).fields.iter().any(|f| f.path == path);
                (named && is_told_apart(&first, &second, path)).then_some((first, second, path))
            },
        )
        .boxed()
}

/// Whether live shows another value after the first update than the second one wants. The sandbox shows `main` where no
/// branch is named, and keeps a text that an update leaves out.
fn is_told_apart(first: &DeploymentUpdate, second: &DeploymentUpdate, path: &str) -> bool {
    let (first, second) = (serde_json::to_value(first).unwrap(), serde_json::to_value(second).unwrap());
    let pointer = format!("/{}", path.replace('.', "/"));
    match (first.pointer(&pointer), second.pointer(&pointer)) {
        // Two texts may be one image; that is for the tests of images.
        (Some(first), Some(second)) if path == "external.imagePath" => {
            let repository = |image: &str| image.rsplit('/').next().unwrap_or_default().to_owned();
            repository(first.as_str().unwrap()) != repository(second.as_str().unwrap())
        }
        (Some(first), Some(second)) => first != second,
        (None, _) | (_, None) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_was_sent_is_what_runs(updates in proptest::collection::vec(any_update(), 4)) {
        for (bench, update) in Bench::of_this_thread().iter().flat_map(|bench| updates.iter().map(move |update| (bench, update))) {
            bench.send(update);
            let comparison = bench.compare(update);
            prop_assert!(comparison.is_adoptable(), "{comparison:#?} after {}", serde_json::to_string(update).unwrap());
            prop_assert!(comparison.differences().is_empty() && !comparison.has_drifted());
            let bare = comparison.undecided().all(|field| field.path == "external.credentials");
            prop_assert!(bare, "{comparison:#?}");
        }
    }

    #[test]
    fn one_field_that_is_another_is_seen(pairs in proptest::collection::vec(any_neighbours(), 4)) {
        for (bench, (first, second, path)) in Bench::of_this_thread().iter().flat_map(|bench| pairs.iter().map(move |pair| (bench, pair))) {
            bench.send(first);
            let comparison = bench.compare(second);
            let field = comparison.fields.iter().find(|field| field.path == *path).unwrap();
            prop_assert_eq!(field.verdict, Verdict::Different, "{:#?}\n{:#?}", comparison, first);
            prop_assert!(comparison.has_drifted() && !comparison.is_adoptable());
        }
    }

    #[test]
    fn a_patch_does_what_the_update_call_does(update in any_update(), runtime in any_runtime()) {
        for bench in Bench::of_this_thread() {
            bench.api.world().set_live("acme/shop/web", sandbox::Live::default());
            bench.api.world().edit("acme/shop/web", |live| live.instances = 7);
            bench.patch(ServiceKind::Deployment, &update);
            prop_assert!(bench.compare(&update).is_adoptable());
            prop_assert_eq!(bench.read().instances, Some(7), "scaling by hand survives");

            bench.api.world().set_live("acme/shop/web", sandbox::Live { instances: 3, ..sandbox::Live::combined() });
            let update = DeploymentUpdate::Runtime(runtime.clone());
            bench.patch(ServiceKind::Combined, &update);
            prop_assert!(bench.compare(&update).is_adoptable());
            prop_assert_eq!((bench.read().kind, bench.read().instances), (ServiceKind::Combined, Some(3)));
        }
    }
}

#[test]
fn a_hand_on_the_service_is_seen() {
    for bench in Shape::ALL.map(Bench::new) {
        let update = |json: &str| -> DeploymentUpdate {
            let text = format!(
                "{{\"apiVersion\":\"truenorth/v1\",\"kind\":\"ServiceDeployment\",\
             \"metadata\":{{\"projectId\":\"shop\",\"serviceId\":\"web\"}},\"spec\":{json}}}"
            );
            let parsed =
                truenorth::manifest::parse(&"a.json".into(), truenorth::manifest::Format::Json, text.as_bytes());
            assert_eq!(parsed.problems, []);
            (*parsed.manifests[0].1.update).clone()
        };
        let wanted = update(r#"{"external":{"imagePath":"ghcr.io/acme/web:1","credentials":"ghcr"}}"#);
        bench.send(&wanted);
        for (hand, path) in [
            (r#"{"external":{"imagePath":"ghcr.io/acme/web:2","credentials":"ghcr"}}"#, "external.imagePath"),
            (r#"{"external":{"imagePath":"ghcr.io/acme/web:1"}}"#, "external.credentials"),
        ] {
            bench.send(&update(hand));
            let paths: Vec<_> = bench.compare(&wanted).differences().into_iter().map(|change| change.path).collect();
            assert_eq!(paths, [path], "{hand}");
        }
        bench.send(&update(&format!(r#"{{"internal":{{"id":"builder","buildSHA":"{COMMIT}"}}}}"#)));
        assert_eq!(bench.compare(&wanted).differences().len(), 2);
        assert!(bench.compare(&update(r#"{"internal":{"id":"builder","buildSHA":"latest"}}"#)).has_drifted());
    }
}
