//! The list of deployments: what is taken of it, and what makes it unreadable.

use serde_json::{Value, json};

use super::server::Server;
use super::*;
use crate::model::DeploymentEntry;

async fn listed(body: &Value) -> Result<Vec<DeploymentEntry>, CallError> {
    let server = Server::answering("200 OK", &body.to_string()).await;
    client(&server.url).deployments(&key()).await.map(|answer| answer.value)
}

fn entry(id: &str, second: u8) -> Value {
    json!({"id": id, "createdAt": format!("2026-11-25T12:00:{second:02}.500Z")})
}

#[tokio::test]
async fn who_deployed_what_and_when_is_read_newest_first() {
    let server = Server::answering("200 OK", r#"{"data":{"deployments":[]}}"#).await;
    let team: ServiceKey = "acme/shop/50% off?".parse().expect("a valid key");
    assert_eq!(client(&server.url).deployments(&team).await.expect("read").value, []);
    let head = &server.requests()[0];
    let line = "GET /v1/teams/acme/projects/shop/services/50%25%20off%3F/deployments?per_page=20 HTTP/1.1";
    assert!(head.starts_with(line), "{head}");

    let mut newest = entry("d2", 9);
    newest["image"] = json!({"imagePath": "ghcr.io/acme/web:2", "image": "web", "tag": "2", "sha": "sha256:ab"});
    newest["reason"] = json!({"id": "api", "user": {"name": " Jane Doe ", "email": "jane@example.com"}});
    newest["active"] = json!(true);
    let mut older = entry("d1", 1);
    older["commit"] = json!({"sha": "4f2a91c", "message": "hush hush", "author": "Jane"});
    older["name"] = Value::Null;
    let texts = |entry: &DeploymentEntry| {
        let DeploymentEntry { id, image, tag, sha, commit, user, .. } = entry.clone();
        (id, image, tag, sha, commit, user)
    };
    let some = |text: &str| Some(text.to_owned());
    // The list by itself, as other answers of the API have been found to be, and in an order of its own.
    for data in [json!({"deployments": [newest.clone(), older.clone()]}), json!([older, newest])] {
        let entries = listed(&json!({"data": data})).await.expect("read");
        let expected =
            ("d2".to_owned(), some("ghcr.io/acme/web:2"), some("2"), some("sha256:ab"), None, some("Jane Doe"));
        assert_eq!(texts(&entries[0]), expected);
        assert_eq!(texts(&entries[1]), ("d1".to_owned(), None, None, None, some("4f2a91c"), None));
        assert_eq!(entries[0].created_at, "2026-11-25T12:00:09.500Z".parse().expect("a time"));
    }
}

#[tokio::test]
async fn a_user_is_named_by_what_people_know_first() {
    for (user, named) in [
        (json!({"name": "Jane", "username": "jd"}), Some("Jane")),
        (json!({"username": "jd", "email": "jane@example.com"}), Some("jd")),
        (json!({"email": "jane@example.com", "id": "u-1"}), Some("jane@example.com")),
        (json!({"id": "u-1", "name": {"first": "Jane"}}), Some("u-1")),
        (json!("jane"), Some("jane")),
        (json!({"name": "x".repeat(301)}), None),
        (json!({"name": "  "}), None),
        (json!({}), None),
        (json!(["jane"]), None),
        (Value::Null, None),
    ] {
        let mut deployment = entry("d", 1);
        deployment["reason"] = json!({ "user": user });
        let entries = listed(&json!({"data": {"deployments": [deployment]}})).await.expect("read");
        assert_eq!(entries[0].user.as_deref(), named, "{user}");
    }
}

#[tokio::test]
async fn a_list_that_may_hide_somebody_is_not_read() {
    let many = |count| (0..count).map(|number| entry(&format!("d{number}"), 1)).collect::<Vec<_>>();
    assert_eq!(listed(&json!({"data": {"deployments": many(100)}})).await.map(|all| all.len()).expect("read"), 100);
    for (data, why) in [
        (json!({"deployments": many(101)}), "more deployments"),
        (json!({"deployments": [entry("d", 1), {"id": "d0"}]}), "no id, or no time"),
        (json!({"deployments": [{"createdAt": "2026-11-25T12:00:01Z"}]}), "no id, or no time"),
        (json!({"deployments": [entry("d", 1), "d0"]}), "no id, or no time"),
        (json!({"deployments": {}}), "no list of deployments"),
        (json!({}), "no list of deployments"),
    ] {
        let error = listed(&json!({ "data": data })).await.expect_err(why);
        assert!(crate::error::chain(&error).contains(why), "{}", crate::error::chain(&error));
    }
}
