//! The calls beside the update: PATCH, and what is read.

use serde_json::json;

use super::server::{Script, Server, answer};
use super::*;
use crate::model::{
    DeploymentStatus, Live, LiveExternal, LiveInternal, LiveRuntime, RolloutStage, RuntimeUpdate, ServiceKind,
};
use crate::northflank::{AcceptedBody, Delivery, Deprecation, Disposition, Entity, Listed, Page, Scope, TokenKind};

/// The request line and the body of the only request.
fn asked(server: &Server) -> (String, String) {
    let requests = server.requests();
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    let (head, body) = request.split_once("\r\n\r\n").expect("a head and a body");
    (head.lines().next().expect("a request line").to_owned(), body.to_owned())
}

fn key_in_team() -> ServiceKey {
    "acme/shop/50% off?".parse().expect("a valid key")
}

fn runtime() -> DeploymentUpdate {
    let docker = Docker::new(DockerConfig::Default, None, None).expect("valid");
    DeploymentUpdate::Runtime(RuntimeUpdate::Docker { docker })
}

async fn live(body: &str) -> Live {
    let server = Server::answering("200 OK", body).await;
    client(&server.url).read_service(&key()).await.expect("read").value
}

#[tokio::test]
async fn a_patch_of_a_deployment_carries_the_instances() {
    let server = Server::answering("200 OK", r#"{"data":{}}"#).await;
    let client = client(&server.url);
    client.patch_deployment(&key(), ServiceKind::Deployment, Some(3), &update()).await.expect("accepted");
    let body = r#"{"deployment":{"instances":3,"docker":{"configType":"customCommand","customCommand":"node \"ü\""},"external":{"credentials":"ghcr","imagePath":"ghcr.io/acme/checkout:1.8.2"}}}"#;
    let line = "PATCH /v1/projects/shop/services/deployment/checkout HTTP/1.1";
    assert_eq!(asked(&server), (line.to_owned(), body.to_owned()));
}

#[tokio::test]
async fn a_patch_of_a_combined_service_leaves_the_instances_alone() {
    for (key, path) in [
        (key(), "/v1/projects/shop/services/combined/checkout"),
        (key_in_team(), "/v1/teams/acme/projects/shop/services/combined/50%25%20off%3F"),
    ] {
        let server = Server::answering("200 OK", r#"{"data":{"serviceType":"combined"}}"#).await;
        let client = client(&server.url);
        let answered =
            client.patch_deployment(&key, ServiceKind::Combined, Some(3), &runtime()).await.expect("accepted");
        let shown = Live::of_kind(ServiceKind::Combined);
        assert_eq!(answered.value.body, AcceptedBody::Service(Box::new(shown)));
        let body = r#"{"deployment":{"docker":{"configType":"default"}}}"#;
        assert_eq!(asked(&server), (format!("PATCH {path} HTTP/1.1"), body.to_owned()));
    }
}

#[tokio::test]
async fn a_patch_that_makes_no_sense_is_not_sent() {
    let server = Server::answering("200 OK", "{}").await;
    let client = client(&server.url);
    for (kind, instances, update, why) in [
        (ServiceKind::Build, Some(1), runtime(), "of type build deploys nothing"),
        (ServiceKind::Combined, Some(1), update(), "takes no `external`"),
        (ServiceKind::Deployment, None, update(), "must name how many instances"),
    ] {
        let error = client.patch_deployment(&key(), kind, instances, &update).await.expect_err("not sent");
        assert!(error.to_string().starts_with("the update cannot be sent: ") && error.to_string().contains(why));
        assert_eq!((error.disposition(), error.delivery()), (Disposition::Rejected, Delivery::Unsent));
        assert_eq!((error.status(), error.quota()), (None, None));
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_service_is_read_in_full() {
    let body = json!({"data": {
        "id": "checkout", "serviceType": "combined", "servicePaused": true, "tags": [], "more": {"a": [1]},
        "status": {"build": {"status": "SUCCESS"}, "deployment": {"status": "IN_PROGRESS", "reason": "DEPLOYING"}},
        "deployment": {
            "region": "europe-west", "instances": 4, "imageUrl": "ghcr.io/acme/web:1",
            "external": {"imagePath": "acme/web:1", "registryProvider": "github", "privateImage": true},
            "internal": {"nfObjectId": "builder", "branch": "main", "buildSHA": "latest", "deployedSHA": "abc"},
            "docker": {"configType": "customThing", "customEntrypoint": "e", "customCommand": "c"},
            "buildpack": {"configType": "customProcess", "customProcess": "p"},
        },
    }});
    let text = |text: &str| Some(text.to_owned());
    let expected = Live {
        kind: ServiceKind::Combined,
        instances: Some(4),
        external: Some(LiveExternal {
            image_path: text("acme/web:1"),
            registry_provider: text("github"),
            private_image: Some(true),
            credentials: None,
        }),
        internal: Some(LiveInternal {
            id: text("builder"),
            branch: text("main"),
            build_sha: text("latest"),
            deployed_sha: text("abc"),
            build_id: None,
        }),
        image_url: text("ghcr.io/acme/web:1"),
        docker: Some(LiveRuntime {
            config_type: text("customThing"),
            custom_process: None,
            custom_entrypoint: text("e"),
            custom_command: text("c"),
        }),
        buildpack: Some(LiveRuntime {
            config_type: text("customProcess"),
            custom_process: text("p"),
            ..LiveRuntime::default()
        }),
        paused: Some(true),
        rollout: Some(DeploymentStatus { stage: RolloutStage::InProgress, scaling: false, since: None }),
        updated_at: None,
    };
    let server = Server::answering("200 OK", &body.to_string()).await;
    let answered = client(&server.url).read_service(&key_in_team()).await.expect("read");
    assert_eq!(answered.value, expected);
    let line = "GET /v1/teams/acme/projects/shop/services/50%25%20off%3F HTTP/1.1";
    assert_eq!(asked(&server), (line.to_owned(), String::new()));
}

#[tokio::test]
async fn a_service_in_the_mirror_is_read_without_its_secrets() {
    let body = json!({"data": {
        "id": "checkout", "uid": "u", "serviceType": "deployment", "updatedAt": "2026-10-01T12:00:00.000Z",
        "cluster": {"id": "c", "name": "c"}, "billing": {"deploymentPlan": "p"},
        "runtimeEnvironment": {"PASSWORD": "hush"}, "runtimeFiles": {"/a": {"data": "hush"}},
        "ports": [{"name": "p", "security": {"credentials": [{"username": "u", "password": "hush"}]}}],
        "healthChecks": [{"cmd": "hush"}],
        "status": {"deployment": {"status": "COMPLETED", "reason": "DEPLOYING"}},
        "deployment": {
            "type": "deployment", "instances": 2, "metadata": {"labels": {"a": "hush"}},
            "external": {"imagePath": "ghcr.io/acme/web:1", "credentials": "ghcr"},
            "internal": {"id": "builder", "branch": "main", "buildSHA": "latest", "buildId": "b-1"},
            "docker": {"configType": "default"},
        },
    }});
    let read = live(&body.to_string()).await;
    let external = read.external.as_ref().expect("an image");
    assert_eq!(external.image_path.as_deref(), Some("ghcr.io/acme/web:1"));
    assert_eq!((external.credentials.as_deref(), external.uses_credentials()), (Some("ghcr"), Some(true)));
    let internal = read.internal.as_ref().expect("a build");
    assert_eq!((internal.id.as_deref(), internal.build_id.as_deref()), (Some("builder"), Some("b-1")));
    assert_eq!((read.paused, read.updated_at), (None, "2026-10-01T12:00:00Z".parse().ok()));
    assert!(!format!("{read:?}").contains("hush"), "{read:?}");
}

#[tokio::test]
async fn both_shapes_may_be_mixed() {
    let body =
        |external: &str| format!(r#"{{"data":{{"serviceType":"deployment","deployment":{{"external":{external}}}}}}}"#);
    for (external, uses) in [
        (r#"{"imagePath":"a/b:1","registryProvider":"github","privateImage":true}"#, Some(true)),
        (r#"{"imagePath":"a/b:1","registryProvider":"github","privateImage":false}"#, Some(false)),
        (r#"{"imagePath":"a/b:1","registryProvider":"github","privateImage":true,"credentials":"ghcr"}"#, Some(true)),
        (r#"{"imagePath":"a/b:1","registryProvider":"github"}"#, None),
        (r#"{"imagePath":"ghcr.io/a/b:1","credentials":"ghcr"}"#, Some(true)),
        (r#"{"imagePath":"ghcr.io/a/b:1"}"#, Some(false)),
        (r#"{}"#, None),
    ] {
        let read = live(&body(external)).await;
        assert_eq!(read.external.expect("an image").uses_credentials(), uses, "{external}");
    }
    let both = r#"{"data":{"serviceType":"deployment","paused":true,"deployment":{"internal":{"nfObjectId":"old","id":"new"}}}}"#;
    let read = live(both).await;
    assert_eq!((read.internal.and_then(|internal| internal.id).as_deref(), read.paused), (Some("new"), Some(true)));
}

#[tokio::test]
async fn what_is_missing_or_of_another_type_is_absent() {
    assert_eq!(live(r#"{"data":{"serviceType":"build"}}"#).await, Live::of_kind(ServiceKind::Build));
    let odd = json!({"data": {
        "serviceType": "deployment", "servicePaused": "yes", "status": [],
        "deployment": {
            "instances": -1, "imageUrl": null, "external": {"imagePath": 7, "privateImage": "true"}, "internal": "none",
            "docker": {"configType": ["default"]}, "buildpack": null,
        },
    }});
    let expected = Live {
        external: Some(LiveExternal::default()),
        docker: Some(LiveRuntime::default()),
        ..Live::of_kind(ServiceKind::Deployment)
    };
    assert_eq!(live(&odd.to_string()).await, expected);
    let word = r#"{"data":{"serviceType":"deployment","status":{"deployment":{"status":"DANCING"}},"deployment":[]}}"#;
    assert_eq!(live(word).await, Live::of_kind(ServiceKind::Deployment));
}

#[tokio::test]
async fn an_answer_that_is_not_what_was_asked_for_is_worth_another_try() {
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"da".to_vec();
    let endless = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let chunk = b"2000\r\n".iter().copied().chain([b' '; 0x2000]).chain(*b"\r\n").collect();
    let whole = |body: &str| Script::Answer(answer("200 OK", body.as_bytes()));
    let contract = "the API answered 200 OK, but its body is not what the contract says";
    for (script, text) in [
        (whole("<html><title>Sign in</title>"), "the answer 200 OK is not the API's: Sign in"),
        (whole(""), "the answer 200 OK is not the API's"),
        (whole("null"), contract),
        (whole(r#"{"error":{"status":404,"message":"x"}}"#), "the API answered 200 OK with an error: x"),
        (whole(r#"{"data":{}}"#), contract),
        (whole(r#"{"data":{"serviceType":"job"}}"#), contract),
        (whole(&format!(r#"{{"data":{{"serviceType":"{TOKEN}"}}}}"#)), contract),
        (whole(&"[".repeat(100_000)), "the answer 200 OK is not the API's"),
        (Script::AnswerAndClose(cut.clone()), "the API answered 200 OK, but its body broke off"),
        (Script::Answer(cut), "the API answered 200 OK, but its body did not come in time"),
        (Script::Endless(endless, chunk), "the API answered 200 OK, but its body is too long"),
    ] {
        let server = Server::start(script).await;
        let error = impatient_client(&server.url, Duration::from_secs(2)).read_service(&key()).await.expect_err(text);
        assert_eq!(error.to_string(), text);
        assert!(!format!("{} {error:?}", chain(&error)).contains("hunter2"), "{}", chain(&error));
        let scope = if text.contains("with an error") { Scope::Service } else { Scope::Api };
        assert_eq!((error.disposition(), error.status()), (Disposition::Transient { scope }, Some(200)));
    }
}

#[tokio::test]
async fn a_service_that_does_not_exist_is_refused() {
    let server = Server::answering("404 Not Found", r#"{"error":{"status":404,"message":"no such service"}}"#).await;
    let error = client(&server.url).read_service(&key()).await.expect_err("not there");
    assert_eq!((error.disposition(), error.status()), (Disposition::Rejected, Some(404)));
}

#[tokio::test]
async fn a_build_id_is_asked_of_the_old_call() {
    for (body, id) in [
        (r#"{"data":{"internal":{"nfObjectId":"b","buildId":"premium-guide-6393"}}}"#, Some("premium-guide-6393")),
        (r#"{"data":{"internal":{"nfObjectId":"b"}}}"#, None),
        (r#"{"data":{"external":{}}}"#, None),
    ] {
        let server = Server::answering("200 OK", body).await;
        let answered = client(&server.url).read_build_id(&key()).await.expect("read");
        assert_eq!(answered.value.as_deref(), id);
        assert_eq!(asked(&server).0, "GET /v1/projects/shop/services/checkout/deployment HTTP/1.1");
    }
}

#[tokio::test]
async fn a_list_comes_in_pages() {
    let body = json!({
        "data": {"services": [{"id": "web", "serviceType": "deployment"}, {"id": "../x", "serviceType": "job"}]},
        "pagination": {"hasNextPage": true, "cursor": "a&b", "count": 2},
    });
    let server = Server::answering("200 OK", &body.to_string()).await;
    let (team, project) = ("acme".parse().expect("an id"), "shop".parse().expect("an id"));
    let page = client(&server.url).list_services(Some(&team), &project, Some("x=1&y")).await.expect("read").value;
    let listed = |id: &str, kind| Listed { id: id.to_owned(), kind, status: None };
    let services = vec![listed("web", Some(ServiceKind::Deployment)), listed("../x", None)];
    assert_eq!(page, Page { services, next: Some("a&b".to_owned()) });
    let line = "GET /v1/teams/acme/projects/shop/services?per_page=100&cursor=x%3D1%26y HTTP/1.1";
    assert_eq!(asked(&server).0, line);

    let last = r#"{"data":{"services":[]},"pagination":{"hasNextPage":false,"cursor":"x","count":0}}"#;
    let server = Server::answering("200 OK", last).await;
    let page = client(&server.url).list_services(None, &project, None).await.expect("read").value;
    assert_eq!(page, Page { services: vec![], next: None });
    assert_eq!(asked(&server).0, "GET /v1/projects/shop/services?per_page=100 HTTP/1.1");

    let page = async |services: &str| {
        let body = format!(r#"{{"data":{{"services":{services}}},"pagination":{{"hasNextPage":false}}}}"#);
        let server = Server::answering("200 OK", &body).await;
        client(&server.url).list_services(None, &project, None).await.map(|page| page.value.services.len())
    };
    let many = |service: &str, number| format!("[{}]", vec![service; number].join(","));
    assert_eq!(page(&many(r#"{"id":"a"}"#, 1000)).await.expect("read"), 1000);
    for (services, why) in [
        (many(r#"{"id":"a"}"#, 1001), "it lists more services than a page may hold"),
        (many("0", 1_000_000), "a service in it has no id"),
        (many(r#"{"id":7}"#, 2), "a service in it has no id"),
        ("{}".to_owned(), "it has no list of services"),
    ] {
        let error = page(&services).await.expect_err(why);
        assert!(chain(&error).ends_with(why), "{}", chain(&error));
        assert_eq!(error.disposition(), Disposition::Transient { scope: Scope::Api });
    }

    let lost = r#"{"data":{"services":[]},"pagination":{"hasNextPage":true,"count":0}}"#;
    let server = Server::answering("200 OK", lost).await;
    let error = client(&server.url).list_services(None, &project, None).await.expect_err("no way on");
    assert!(chain(&error).ends_with("there is another page, and no cursor that leads to it"), "{}", chain(&error));
}

#[tokio::test]
async fn a_call_on_its_way_out_is_told_in_success_and_failure() {
    let head = "deprecation: @1780272000\nsunset: Fri, 01 Jan 2027 00:00:00 GMT";
    let said = Deprecation { since: "2026-06-01T00:00:00Z".parse().ok(), sunset: "2027-01-01T00:00:00Z".parse().ok() };
    let server = Server::answering(&format!("200 OK\n{head}"), ACCEPTED).await;
    let answered = client(&server.url).update_deployment(&key(), &update()).await.expect("accepted");
    assert_eq!(answered.deprecated, Some(said));
    let server = Server::answering(&format!("503 Service Unavailable\n{head}"), "{}").await;
    assert_eq!(failure(&client(&server.url)).await.deprecated(), Some(said));
    let server = Server::answering("200 OK", ACCEPTED).await;
    let answered = client(&server.url).update_deployment(&key(), &update()).await.expect("accepted");
    assert_eq!(answered.deprecated, None);
}

#[tokio::test]
async fn a_token_tells_whose_it_is() {
    let body = json!({"data": {
        "id": "t1", "name": "ci", "creatorEmail": "a@b.c", "createdAt": "x", "tokenKind": "api", "entityType": "org",
        "entityId": "acme-co", "entityUid": "u", "expiresAt": "2027-01-01T00:00:00.000Z", "permissions": {},
    }});
    let server = Server::answering("200 OK", &body.to_string()).await;
    let account = client(&server.url).account().await.expect("read").value.expect("served");
    assert_eq!((account.entity, account.id.as_str()), (Entity::Organisation, "acme-co"));
    assert_eq!(account.token_kind, Some(TokenKind::Api));
    assert_eq!(account.expires_at, "2027-01-01T00:00:00Z".parse().ok());
    assert_eq!(asked(&server).0, "GET /v1/auth HTTP/1.1");

    let endless = r#"{"data":{"entityType":"team","entityId":"a","expiresAt":null}}"#;
    let server = Server::answering("200 OK", endless).await;
    let account = client(&server.url).account().await.expect("read").value.expect("served");
    assert_eq!((account.entity, account.expires_at, account.token_kind), (Entity::Team, None, None));
}

#[tokio::test]
async fn an_api_that_tells_no_account_is_told_from_one_that_fails() {
    let error = |status| format!(r#"{{"error":{{"status":{status},"message":"no such path"}}}}"#);
    for (head, status) in [("404 Not Found", 404), ("405 Method Not Allowed", 405)] {
        let server = Server::answering(head, &error(status)).await;
        assert_eq!(client(&server.url).account().await.expect("an answer").value, None, "{head}");
    }
    for body in [
        r#"{"data":{}}"#.to_owned(),
        r#"{"data":{"entityType":"planet","entityId":"a"}}"#.to_owned(),
        r#"{"data":{"entityType":"team","entityId":"a\u001b[2J"}}"#.to_owned(),
        format!(r#"{{"data":{{"entityType":"team","entityId":"{}"}}}}"#, "a".repeat(201)),
    ] {
        let server = Server::answering("200 OK", &body).await;
        assert_eq!(client(&server.url).account().await.expect("an answer").value, None, "{body}");
    }
    for (head, body) in [
        ("404 Not Found", "404 page not found".to_owned()),
        ("401 Unauthorized", error(401)),
        ("200 OK", "<html></html>".to_owned()),
    ] {
        let server = Server::answering(head, &body).await;
        client(&server.url).account().await.expect_err(&body);
    }
}
