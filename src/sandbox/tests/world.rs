//! Services, live, rollouts, lists, the rate limit, the log.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::super::{Ending, Live, Options, Runtime, Services, Stage, Target};
use super::{Bench, image};

#[tokio::test]
async fn an_image_is_shown_without_its_host_and_credentials_as_their_presence() {
    let bench = Bench::start(Options::default()).await;
    let update = json!({"external": {"imagePath": "ghcr.io/acme/web:1.2", "credentials": "ghcr"}});
    assert_eq!(bench.update("web", update.clone()).await.json, json!({"data": {}}));
    let shown = bench.shown("web").await;
    let external = json!({"imagePath": "acme/web:1.2", "registryProvider": "github", "privateImage": true});
    assert_eq!(shown["external"], external);
    assert_eq!(shown["imageUrl"], "ghcr.io/acme/web:1.2");
    let deployment = bench.get("/v1/projects/shop/services/web/deployment").await.json;
    assert_eq!((&deployment["data"]["external"], &deployment["data"]["imageUrl"]), (&external, &Value::Null));
    assert_eq!(bench.world.updates("shop/web"), [update]);
    bench.update("web", image("nginx:1.27")).await;
    let shown = bench.shown("web").await;
    assert_eq!(shown["external"]["privateImage"], false);
    assert_eq!(shown["imageUrl"], "docker.io/nginx:1.27");
}

#[tokio::test]
async fn a_build_is_shown_by_its_service_and_its_id_only_by_the_old_call() {
    let bench = Bench::start(Options::default()).await;
    let internal = json!({"id": "builder", "branch": "dev", "buildId": "premium-guide-6393"});
    bench.update("web", json!({"internal": internal})).await;
    let shown = bench.shown("web").await;
    let internal = &shown["internal"];
    assert_eq!((&internal["nfObjectId"], &internal["branch"]), (&json!("builder"), &json!("dev")));
    assert_eq!(internal["appId"], "/sandbox/shop/builder");
    assert_eq!(internal["buildId"], Value::Null);
    assert_eq!(shown["external"], Value::Null);
    let old = bench.get("/v1/projects/shop/services/web/deployment").await.json;
    assert_eq!(old["data"]["internal"]["buildId"], "premium-guide-6393");

    bench.update("web", json!({"internal": {"id": "builder", "buildSHA": "latest"}})).await;
    let internal = bench.shown("web").await["internal"].clone();
    assert_eq!(internal["buildSHA"], "latest");
    assert_eq!(internal["deployedSHA"].as_str().map(str::len), Some(40));
    let commit = "4f2a91c07be7ab9d3c5f4f2a91c07be7ab9d3c5f";
    bench.update("web", json!({"internal": {"id": "builder", "buildSHA": commit}})).await;
    let internal = bench.shown("web").await["internal"].clone();
    assert_eq!((&internal["buildSHA"], &internal["deployedSHA"]), (&json!(commit), &json!(commit)));
}

#[tokio::test]
async fn an_update_of_the_runtime_leaves_the_deployment_as_it_is() {
    let bench = Bench::start(Options::default()).await;
    bench.update("web", image("ghcr.io/acme/web:1")).await;
    bench.update("web", json!({"docker": {"configType": "customCommand", "customCommand": "run"}})).await;
    let shown = bench.shown("web").await;
    assert_eq!(shown["imageUrl"], "ghcr.io/acme/web:1");
    assert_eq!(shown["docker"], json!({"configType": "customCommand", "customCommand": "run"}));
    // What an update leaves out stays, though the type does not use it.
    bench.update("web", json!({"docker": {"configType": "default"}})).await;
    let docker = bench.world.live("shop/web").unwrap().docker.unwrap();
    let expected = Runtime { custom_command: Some("run".to_owned()), ..Runtime::of_type("default") };
    assert_eq!(docker, expected);
    assert_eq!(bench.world.rollouts("shop/web"), 3);
}

#[tokio::test]
async fn patch_keeps_to_the_type_of_the_service() {
    let bench = Bench::start(Options::default()).await;
    let patch = async |kind: &str, service: &str, deployment: Value| {
        let path = format!("/v1/projects/shop/services/{kind}/{service}");
        bench.send(Method::PATCH, &path, Some(&json!({"deployment": deployment}))).await.status
    };
    let deployment = json!({"instances": 3, "external": {"imagePath": "nginx:1"}});
    assert_eq!(patch("deployment", "web", deployment.clone()).await, 200);
    let expected = Live { instances: 3, ..Live::deployment("nginx:1") };
    assert_eq!(bench.world.live("shop/web"), Some(expected));
    bench.update("web", image("nginx:2")).await;
    assert_eq!(bench.world.live("shop/web").map(|live| live.instances), Some(3), "POST changed the instances");
    assert_eq!(patch("combined", "web", json!({})).await, 404);

    bench.world.set_live("shop/own", Live::combined());
    assert_eq!(patch("combined", "own", json!({"docker": {"configType": "default"}})).await, 200);
    assert_eq!(patch("deployment", "own", deployment.clone()).await, 404);
    assert_eq!(bench.update("own", image("nginx:1")).await.status, 400);
    assert_eq!(bench.update("own", json!({"docker": {"configType": "default"}})).await.status, 200);

    bench.world.set_live("shop/builder", Live::build());
    assert_eq!(patch("deployment", "builder", deployment).await, 404);
    assert_eq!(bench.update("builder", image("nginx:1")).await.status, 404);
}

#[tokio::test]
async fn escaped_and_awkward_ids_name_their_service() {
    let bench = Bench::start(Options::default()).await;
    for (path, service) in [
        ("w%20%C3%BC%2Fb", "w ü/b"),
        ("deployment", "deployment"),
        ("combined", "combined"),
        ("%64eployment", "deployment"),
    ] {
        let target = Target::new("shop", service);
        bench.world.clear_calls();
        assert_eq!(bench.update(path, image("nginx:1")).await.status, 200, "{path}");
        assert_eq!(bench.world.updates(&target).len(), 1, "{path}");
        let got = bench.get(&format!("/v1/projects/shop/services/{path}")).await;
        assert_eq!(got.json["data"]["id"], service);
        let patch = format!("/v1/projects/shop/services/deployment/{path}");
        let body = json!({"deployment": {"instances": 1}});
        assert_eq!(bench.send(Method::PATCH, &patch, Some(&body)).await.status, 200, "{path}");
        assert_eq!(bench.world.updates(&target).len(), 2, "{path}");
    }
    let team = "/v1/teams/a%20b/projects/shop/services/web/deployment";
    bench.send(Method::POST, team, Some(&image("nginx:1"))).await;
    assert_eq!(bench.world.updates("a b/shop/web").len(), 1);
    assert_eq!(bench.world.updates("shop/web").len(), 0);
}

#[tokio::test]
async fn only_listed_services_exist_where_a_list_is_given() {
    let services = Services::Only(vec!["shop/web".into()]);
    let bench = Bench::start(Options { services, ..Options::default() }).await;
    assert_eq!(bench.update("web", image("nginx:1")).await.status, 200);
    assert_eq!(bench.update("api", image("nginx:1")).await.status, 404);
    assert_eq!(bench.get("/v1/projects/other/services").await.status, 404);
    bench.world.set_live("shop/api", Live::default());
    assert_eq!(bench.update("api", image("nginx:1")).await.status, 200);
    bench.world.remove("shop/api");
    assert_eq!(bench.get("/v1/projects/shop/services/api").await.status, 404);
    assert_eq!(bench.world.services(), ["shop/web".into()]);
}

#[tokio::test]
async fn a_list_has_pages_by_cursor_and_by_number() {
    let bench = Bench::start(Options::default()).await;
    let ids: Vec<String> = (0..7).map(|n| format!("s {n}&ü")).collect();
    for id in &ids {
        bench.world.set_live(Target::new("shop", id), Live::default());
    }
    for other in ["shop2/a", "sho/z", "acme/shop/x"] {
        bench.world.set_live(other, Live::default());
    }
    let page = async |query: &str| {
        let got = bench.get(&format!("/v1/projects/shop/services?{query}")).await.json;
        let listed = got["data"]["services"].as_array().unwrap().iter();
        let ids: Vec<String> = listed.map(|service| service["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(got["pagination"]["count"], ids.len());
        let cursor = got["pagination"]["cursor"].as_str().map(str::to_owned);
        assert_eq!(got["pagination"]["hasNextPage"], cursor.is_some());
        (ids, cursor)
    };
    let (mut all, mut cursor) = page("per_page=3").await;
    while let Some(next) = cursor {
        let (more, after) = page(&format!("per_page=3&cursor={next}")).await;
        all.extend(more);
        cursor = after;
    }
    assert_eq!(all, ids);
    assert_eq!(page("per_page=3&page=3").await.0, ids[6..]);
    assert_eq!(page("").await, (ids, None));
    assert_eq!(page("page=2").await.0.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_goes_through_its_stages_with_time() {
    let bench = Bench::start(Options { rollout: Duration::from_secs(40), ..Options::default() }).await;
    let status = async || {
        let got = bench.get("/v1/projects/shop/services/web").await.json;
        got["data"]["status"]["deployment"]["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status().await, "COMPLETED", "a service made at first touch is rolled out");
    bench.update("web", image("nginx:1")).await;
    assert_eq!(status().await, "PENDING");
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(status().await, "IN_PROGRESS");
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(status().await, "COMPLETED");
    bench.world.set_ending("shop/web", Ending::Failed);
    bench.update("web", image("nginx:2")).await;
    assert_eq!(bench.world.stage("shop/web"), Some(Stage::Pending));
    tokio::time::advance(Duration::from_secs(40)).await;
    assert_eq!(status().await, "FAILED");
    assert_eq!(bench.world.rollouts("shop/web"), 2);
}

#[tokio::test(start_paused = true)]
async fn past_the_limit_everything_is_429_until_the_window_ends() {
    let bench = Bench::start(Options { limit: 2, window: Duration::from_secs(60), ..Options::default() }).await;
    tokio::time::advance(Duration::from_secs(1000)).await;
    let got = bench.update("web", image("nginx:1")).await;
    let quota = |got: &super::Got| {
        ["limit", "remaining", "reset"].map(|name| got.header(&format!("x-ratelimit-{name}")).unwrap().to_owned())
    };
    assert_eq!(quota(&got), ["2", "1", "60"], "the window begins with its first request");
    tokio::time::advance(Duration::from_secs(20)).await;
    assert_eq!(quota(&bench.get("/v1/login").await), ["2", "0", "40"]);
    let got = bench.update("web", image("nginx:2")).await;
    assert_eq!((got.status, quota(&got)), (429, ["2", "0", "40"].map(Into::into)));
    assert_eq!(got.json["error"]["status"], 429);
    assert_eq!(bench.world.updates("shop/web").len(), 1, "a call past the limit was carried out");
    tokio::time::advance(Duration::from_secs(40)).await;
    let got = bench.update("web", image("nginx:2")).await;
    assert_eq!((got.status, quota(&got)), (200, ["2", "1", "60"].map(Into::into)));
    bench.world.set_limit(1);
    assert_eq!(bench.get("/v1/login").await.status, 429);
    bench.world.end_window();
    assert_eq!(bench.world.remaining(), 1);
    assert_eq!(bench.get("/v1/login").await.status, 200);
}

#[tokio::test]
async fn the_log_keeps_the_newest_calls() {
    let bench = Bench::start(Options { log: 3, ..Options::default() }).await;
    for n in 0..5 {
        bench.update("web", image(&format!("nginx:{n}"))).await;
    }
    let numbers: Vec<_> = bench.world.calls().iter().map(|call| call.number).collect();
    assert_eq!((numbers, bench.world.call_count()), (vec![2, 3, 4], 5));
    let images: Vec<_> =
        bench.world.updates("shop/web").iter().map(|body| body["external"]["imagePath"].clone()).collect();
    assert_eq!(images, ["nginx:2", "nginx:3", "nginx:4"]);
    assert_eq!(bench.world.updates_by_service()[&"shop/web".into()].len(), 3);
}

#[tokio::test]
async fn the_deployments_are_listed_newest_first_with_who_made_them() {
    let bench = Bench::start(Options::default()).await;
    bench.update("web", image("nginx:1")).await;
    bench.world.deploy_as("shop/web", "Jane Doe", |live| *live = Live::deployment("nginx:2"));
    let list = |query: &str| format!("/v1/projects/shop/services/web/deployments?{query}");
    let both = bench.get(&list("per_page=20")).await.json;
    let told = |list: &Value, at: usize| {
        let entry = &list["data"]["deployments"][at];
        (entry["image"]["imagePath"].clone(), entry["reason"]["user"]["name"].clone(), entry["active"].clone())
    };
    assert_eq!(told(&both, 0), (json!("nginx:2"), json!("Jane Doe"), json!(true)));
    assert_eq!(told(&both, 1), (json!("nginx:1"), json!("sandbox"), json!(false)));
    assert_eq!(both["pagination"], json!({"hasNextPage": false, "count": 2}));
    let first = bench.get(&list("per_page=1")).await.json;
    assert_eq!(first["pagination"]["hasNextPage"], true);
    let cursor = first["pagination"]["cursor"].as_str().unwrap();
    let second = bench.get(&list(&format!("per_page=1&cursor={cursor}"))).await.json;
    assert_eq!(told(&second, 0).1, "sandbox");
    assert_eq!(bench.get(&list("per_page=0")).await.status, 400);
    assert_eq!(bench.world.rollouts("shop/web"), 2);
}
