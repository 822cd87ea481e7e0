//! What goes over the wire, and what counts as accepted.

use std::time::Duration;

use super::server::{Script, Server, answer};
use super::*;
use crate::northflank::Quota;

const QUOTA: &str = "x-ratelimit-limit: 1000\nx-ratelimit-remaining: 998\nx-ratelimit-reset: 3599";

#[tokio::test]
async fn the_update_call_is_these_bytes() {
    let server = Server::answering("200 OK", r#"{"data":{}}"#).await;
    client(&server.url).update_deployment(&key(), &update()).await.expect("accepted");

    let body = r#"{"docker":{"configType":"customCommand","customCommand":"node \"ü\""},"external":{"credentials":"ghcr","imagePath":"ghcr.io/acme/checkout:1.8.2"}}"#;
    assert_eq!(body, serde_json::to_string(&update()).expect("JSON"));
    let head = [
        "POST /v1/projects/shop/services/checkout/deployment HTTP/1.1",
        "authorization: Bearer nf-hunter2-hunter2",
        "content-type: application/json",
        concat!("user-agent: truenorth/", env!("CARGO_PKG_VERSION")),
        "accept: application/json",
        "accept-encoding: gzip",
        &format!("host: {}", server.address()),
        &format!("content-length: {}", body.len()),
    ];
    let requests = server.requests();
    let (sent_head, sent_body) = requests[0].split_once("\r\n\r\n").expect("a head and a body");
    let mut sent: Vec<_> = sent_head.lines().collect();
    let mut expected = head.to_vec();
    // The order of headers means nothing; the request line is told by its first letters.
    sent.sort_unstable();
    expected.sort_unstable();
    assert_eq!(sent, expected);
    assert_eq!(sent_body, body);
    assert_eq!(requests.len(), 1);
}

#[tokio::test]
async fn a_team_a_prefix_and_odd_ids_stand_in_the_path() {
    let server = Server::answering("200 OK", "{}").await;
    let client = client(&format!("{}/north/", server.url));
    let key = "acme/50% off?/ü#1 |^[]".parse().expect("a valid key");
    client.update_deployment(&key, &update()).await.expect("accepted");
    let path = "/north/v1/teams/acme/projects/50%25%20off%3F/services/%C3%BC%231%20|^[]/deployment";
    assert_eq!(server.requests()[0].lines().next(), Some(format!("POST {path} HTTP/1.1").as_str()));
}

#[tokio::test]
async fn an_answer_tells_the_quota() {
    let server = Server::answering(&format!("200 OK\n{QUOTA}"), r#"{"data":{}}"#).await;
    let answered = client(&server.url).update_deployment(&key(), &update()).await.expect("accepted");
    let quota = Quota { limit: 1000, remaining: 998, resets_in: Duration::from_secs(3599) };
    assert_eq!((answered.status, answered.quota), (200, Some(quota)));

    let server = Server::answering(&format!("404 Not Found\n{QUOTA}"), "").await;
    assert_eq!(failure(&client(&server.url)).await.quota(), Some(quota));
}

#[tokio::test]
async fn a_success_is_accepted_whatever_its_body() {
    let endless = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let broken = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"da".to_vec();
    let bad_gzip = answer("200 OK\ncontent-encoding: gzip", b"no gzip");
    for script in [
        Script::Answer(answer("202 Accepted", b"<html>garbage")),
        Script::Answer(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        Script::Answer(bad_gzip),
        Script::AnswerAndClose(broken.clone()),
        Script::Answer(broken),
        Script::Endless(endless, b"2000\r\n".iter().copied().chain([b'x'; 0x2000]).chain(*b"\r\n").collect()),
    ] {
        let server = Server::start(script).await;
        let client = impatient_client(&server.url, Duration::from_secs(2));
        let answered = client.update_deployment(&key(), &update()).await.expect("accepted");
        assert!((200..=204).contains(&answered.status));
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn calls_share_a_connection_and_a_token_that_can_be_replaced() {
    let server = Server::answering("200 OK", "{}").await;
    let client = client(&server.url);
    let clone = client.clone();
    clone.update_deployment(&key(), &update()).await.expect("accepted");

    let other = Token::new("nf-other").expect("a valid token");
    assert!(clone.token_is(&token()) && !clone.token_is(&other));
    client.replace_token(other.clone());
    assert!(clone.token_is(&other));
    clone.update_deployment(&key(), &update()).await.expect("accepted");

    let requests = server.requests();
    assert!(requests[0].contains("authorization: Bearer nf-hunter2-hunter2\r\n"));
    assert!(requests[1].contains("authorization: Bearer nf-other\r\n"));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn localhost_is_this_machine() {
    let server = Server::answering("200 OK", "{}").await;
    let url = server.url.replace("127.0.0.1", "localhost");
    // As a task of its own, because that is how the daemon calls.
    let call = tokio::spawn(async move { client(&url).update_deployment(&key(), &update()).await });
    call.await.expect("no panic").expect("accepted");
}
