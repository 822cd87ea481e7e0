//! The sandbox against the document: every path and method, examples, wrong bodies, the shape of every answer.

use reqwest::Method;
use serde_json::{Value, json};

use super::super::contract::{Operation, for_tests};
use super::super::{Kind, Live, Options, Running, SECRET, Sandbox, Shape, TokenRule};
use super::{Bench, Got, image};

fn assert_shape(operation: Operation, got: &Got) {
    let schema = for_tests::answer_schema(operation, got.status);
    let faults: Vec<_> = schema.iter_errors(&got.json).map(|error| error.to_string()).collect();
    assert!(faults.is_empty(), "{operation:?} {}: {faults:?} in {}", got.status, got.json);
    for name in ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"] {
        assert!(got.header(name).is_some_and(|value| value.parse::<u64>().is_ok()), "{operation:?}: no {name}");
    }
}

fn bodies(operation: Operation, entry: &Value) -> Vec<Option<Value>> {
    match operation {
        Operation::UpdateServiceDeployment => {
            let examples = entry["requestBody"]["content"]["application/json"]["examples"].as_object().unwrap();
            assert!(!examples.is_empty());
            examples.values().map(|example| Some(example["value"].clone())).collect()
        }
        Operation::PatchDeploymentService => vec![
            Some(json!({})),
            Some(json!({"deployment": {"instances": 2, "external": {"imagePath": "nginx:1"}}, "name": "x"})),
        ],
        Operation::PatchCombinedService => {
            vec![Some(json!({"deployment": {"docker": {"configType": "default"}}}))]
        }
        _ => vec![None],
    }
}

#[tokio::test]
async fn every_call_of_the_contract_is_served_in_the_short_and_in_the_team_form() {
    let bench = Bench::start(Options::default()).await;
    let document = for_tests::document();
    let mut served = 0;
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, entry) in item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters") {
            let id = entry["operationId"].as_str().unwrap();
            let operation = Operation::ALL.into_iter().find(|operation| operation.as_str() == id).unwrap();
            let short = template.replace("/teams/{teamId}", "");
            let path = short.replace("{projectId}", "shop").replace("{serviceId}", "web");
            let live = if operation == Operation::PatchCombinedService { Live::combined() } else { Live::default() };
            for (key, path) in [("shop/web", path.clone()), ("acme/shop/web", path.replace("/v1", "/v1/teams/acme"))] {
                bench.world.set_live(key, live.clone());
                for body in bodies(operation, entry) {
                    let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap();
                    let got = bench.send(method, &path, body.as_ref()).await;
                    assert_eq!(got.status, 200, "{path}: {}", got.json);
                    assert_shape(operation, &got);
                    assert_eq!(bench.world.calls().pop().unwrap().operation, Some(operation));
                    served += 1;
                }
            }
        }
    }
    assert!(served >= 20, "only {served} calls were tried");
}

#[tokio::test]
async fn every_kind_of_live_has_the_shape_of_the_contract() {
    let bench = Bench::start(Options::default()).await;
    let build = |sha: Option<&str>, build: Option<&str>| Live {
        running: Running::Build {
            service: "builder".into(),
            branch: None,
            sha: sha.map(Into::into),
            build: build.map(Into::into),
        },
        ..Live::default()
    };
    let lives = [
        Live::default(),
        Live::combined(),
        Live::build(),
        Live::deployment("1.dkr.ecr.eu.amazonaws.com/x:1"),
        build(None, None),
        build(Some("latest"), None),
        build(None, Some("premium-guide-6393")),
        build(Some(&"a".repeat(40)), None),
    ];
    for live in lives {
        bench.world.set_live("shop/web", live.clone());
        let got = bench.get("/v1/projects/shop/services/web").await;
        assert_shape(Operation::GetService, &got);
        assert_eq!(got.json["data"]["serviceType"], live.kind.as_str());
        let got = bench.get("/v1/projects/shop/services/web/deployment").await;
        assert_shape(Operation::GetServiceDeployment, &got);
        assert_eq!(got.status, if live.kind == Kind::Build { 404 } else { 200 });
    }
}

#[tokio::test]
async fn a_wrong_body_is_refused_with_the_fields_at_fault() {
    let bench = Bench::start(Options::default()).await;
    let docker = |docker: Value| json!({"external": {"imagePath": "nginx:1"}, "docker": docker});
    for (body, field) in [
        (json!({}), "body"),
        (json!([]), "body"),
        (json!("text"), "body"),
        (image("nginx"), "external.imagePath"),
        (image("nginx:1\n"), "external.imagePath"),
        (image("ngin x:1"), "external.imagePath"),
        (json!({"external": {}}), "external.imagePath"),
        (json!({"external": null}), "external"),
        (json!({"external": {"imagePath": 7}}), "external.imagePath"),
        (json!({"external": {"imagePath": "nginx:1", "credentials": "a_b"}}), "external.credentials"),
        (json!({"external": {"imagePath": "nginx:1", "tag": "1"}}), "external.tag"),
        (json!({"external": {"imagePath": "nginx:1"}, "internal": {"id": "builder"}}), "internal"),
        (json!({"external": {"imagePath": "nginx:1"}, "instances": 1}), "instances"),
        (json!({"external": {"imagePath": "nginx:1"}, "buildpack": {"configType": "default"}}), "buildpack"),
        (json!({"internal": {}}), "internal.id"),
        (json!({"internal": {"id": "ab"}}), "internal.id"),
        (json!({"internal": {"id": "a--b"}}), "internal.id"),
        (json!({"internal": {"id": "x".repeat(55)}}), "internal.id"),
        (json!({"internal": {"id": "builder", "buildSHA": "abc"}}), "internal.buildSHA"),
        (json!({"internal": {"id": "builder", "buildSHA": 1}}), "internal.buildSHA"),
        (docker(json!({})), "docker.configType"),
        (docker(json!({"configType": "custom"})), "docker.configType"),
        (docker(json!({"configType": "customCommand"})), "docker.customCommand"),
        (
            docker(json!({"configType": "customEntrypointCustomCommand", "customCommand": "x"})),
            "docker.customEntrypoint",
        ),
        (docker(json!({"configType": "default", "customProcess": "x"})), "docker.customProcess"),
        (json!({"buildpack": {"configType": "customProcess"}}), "buildpack.customProcess"),
    ] {
        let got = bench.update("web", body.clone()).await;
        assert_eq!(got.status, 400, "{body} was accepted");
        assert_shape(Operation::UpdateServiceDeployment, &got);
        let details = got.json["error"]["details"].as_object().unwrap();
        assert!(details.contains_key(field), "{body}: {field} is not named in {details:?}");
    }
    assert_eq!(bench.world.updates("shop/web").len(), 0);
    assert_eq!(bench.world.live("shop/web"), Some(Live::default()), "a refused update changed something");
    assert_eq!(bench.world.rollouts("shop/web"), 0);
}

#[tokio::test]
async fn a_wrong_patch_is_refused_with_the_fields_at_fault() {
    let bench = Bench::start(Options::default()).await;
    let patch = async |kind: &str, body: Value| {
        let got = bench.send(Method::PATCH, &format!("/v1/projects/shop/services/{kind}/web"), Some(&body)).await;
        assert_eq!(got.status, 400, "{body} was accepted");
        got.json["error"]["details"].clone()
    };
    let external = json!({"imagePath": "nginx:1"});
    let details = patch("deployment", json!({"deployment": {"external": external}})).await;
    assert!(details["deployment.instances"].is_array(), "{details}");
    let both = json!({"instances": 1, "external": external, "internal": {"id": "builder"}});
    let details = patch("deployment", json!({"deployment": both})).await;
    assert!(details["deployment.internal"].is_array(), "{details}");
    let details = patch("deployment", json!({"deployment": {"instances": 1, "external": {}}})).await;
    assert!(details["deployment.external.imagePath"].is_array(), "{details}");
    for instances in [json!(-1), json!(1.5), json!("1"), json!(1e300)] {
        patch("deployment", json!({"deployment": {"instances": instances}})).await;
    }
    bench.world.set_live("shop/web", Live::combined());
    patch("combined", json!({"deployment": {"docker": {}}})).await;
}

#[tokio::test]
async fn every_refusal_has_the_providers_error_shape() {
    let options = Options { token: TokenRule::Exactly("a-good-token".into()), ..Options::default() };
    let bench = Bench::start(options).await;
    let path = "/v1/projects/shop/services/web/deployment";
    let url = format!("{}{path}", bench.sandbox.url());
    for token in [None, Some(""), Some("another")] {
        let request = bench.client.get(&url);
        let request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
        let got = Got::of(request.send().await.unwrap()).await;
        assert_eq!(got.status, 401, "{token:?}");
        assert_shape(Operation::GetServiceDeployment, &got);
        assert_eq!(got.header("x-ratelimit-remaining"), Some("1000"), "a bad token cost a call");
    }
    for (method, path, status) in [
        (Method::GET, "/", 404),
        (Method::GET, "/v1/projects//services", 404),
        (Method::GET, "/v1/projects/shop/services/web/", 404),
        (Method::GET, "/v1/projects/shop/services/%FF", 404),
        (Method::DELETE, "/v1/projects/shop/services/web", 405),
        (Method::POST, "/v1/login", 405),
        (Method::POST, path, 400),
        (Method::GET, "/v1/projects/shop/services?per_page=500", 400),
    ] {
        let got = bench.send(method, path, None).await;
        assert_eq!(got.status, status, "{path}");
        assert_eq!(got.json["error"]["status"], status);
        assert_shape(Operation::GetService, &got);
    }
    let long = json!({"docker": {"configType": "customCommand", "customCommand": "x".repeat(1 << 20)}});
    assert_eq!(bench.send(Method::POST, path, Some(&long)).await.status, 413);
    let send = async |body: &'static str, content_type: &'static str| {
        let request = bench.client.post(&url).bearer_auth("a-good-token").header("content-type", content_type);
        Got::of(request.body(body).send().await.unwrap()).await
    };
    assert_eq!(send("{}", "text/plain").await.status, 415);
    let got = send("{\"external\"", "application/json").await;
    assert_eq!((got.status, got.json["error"]["details"]["body"].is_array()), (400, true));
    assert_eq!(bench.get("/v1/login").await.status, 200);
}

#[tokio::test]
async fn no_token_is_in_any_debug_output() {
    let options = Options { token: TokenRule::Exactly("a-good-token".into()), ..Options::default() };
    let sandbox = Sandbox::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
    let client = super::client_builder().build().unwrap();
    let url = format!("{}/v1/login", sandbox.url());
    assert_eq!(client.get(&url).bearer_auth("a-good-token").send().await.unwrap().status(), 200);
    let shown = format!("{sandbox:?} {:?}", sandbox.world().calls());
    assert!(shown.contains("/v1/login"), "the call is not there");
    assert!(!shown.contains("a-good-token"));
}

#[tokio::test]
async fn a_service_is_shown_in_the_mirror_as_it_was_written() {
    let bench = Bench::start(Options { shape: Shape::Mirror, ..Options::default() }).await;
    let service = "/v1/projects/shop/services/web";
    let external = json!({"imagePath": "ghcr.io/acme/web:1", "credentials": "ghcr"});
    bench.update("web", json!({"external": external, "docker": {"configType": "default"}})).await;
    let shown = bench.get(service).await.json["data"].clone();
    assert_eq!(shown["deployment"]["external"], external);
    assert_eq!((&shown["serviceType"], &shown["deployment"]["instances"]), (&json!("deployment"), &json!(1)));
    for flat in ["projectId", "servicePaused", "disabledCD"] {
        assert_eq!(shown.get(flat), None, "{flat}");
    }
    assert!(shown["updatedAt"].is_string() && shown["status"]["deployment"]["status"].is_string());
    assert!(shown["runtimeEnvironment"].to_string().contains(SECRET));

    let internal = json!({"id": "builder", "branch": "main", "buildSHA": "latest"});
    bench.update("web", json!({"internal": internal})).await;
    assert_eq!(bench.shown("web").await["internal"], internal);
    bench.update("web", json!({"external": {"imagePath": "nginx:1"}})).await;
    assert_eq!(bench.shown("web").await["external"], json!({"imagePath": "nginx:1"}));
}

#[tokio::test]
async fn a_patch_is_answered_with_the_whole_service_in_the_mirror() {
    for shape in Shape::ALL {
        let bench = Bench::start(Options { shape, ..Options::default() }).await;
        let body = json!({"deployment": {"instances": 2, "external": {"imagePath": "nginx:1", "credentials": "hub"}}});
        let got = bench.send(Method::PATCH, "/v1/projects/shop/services/deployment/web", Some(&body)).await;
        let deployment = &got.json["data"]["deployment"];
        assert_eq!((got.status, &deployment["instances"]), (200, &json!(2)));
        assert_eq!(deployment["external"], body["deployment"]["external"]);
        assert!(got.json["data"]["updatedAt"].is_string());
    }
}
