//! What goes over the wire, and what counts as accepted.

use std::time::Duration;

use super::server::{Script, Server, answer};
use super::*;
use crate::northflank::{AcceptedBody, Delivery, Disposition, Quota, Scope};

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
    let server = Server::answering("200 OK", ACCEPTED).await;
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
async fn the_apis_word_is_what_accepts() {
    let empty = |head: &str| Script::Answer(format!("HTTP/1.1 {head}\r\n\r\n").into_bytes());
    let service = r#"{"data":{"serviceType":"deployment","deployment":{"instances":2}}}"#;
    for (script, status, body) in [
        (Script::Answer(answer("200 OK", ACCEPTED.as_bytes())), 200, "data"),
        (Script::Answer(answer("201 Created", br#"{"data":{"id":7},"error":null,"more":1}"#)), 201, "data"),
        (Script::Answer(answer("202 Accepted", ACCEPTED.as_bytes())), 202, "data"),
        (Script::Answer(answer("202 Accepted", b"")), 202, "empty"),
        (empty("204 No Content"), 204, "empty"),
        (Script::Answer(answer("200 OK", service.as_bytes())), 200, "service"),
    ] {
        let server = Server::start(script).await;
        let answered = client(&server.url).update_deployment(&key(), &update()).await.expect("accepted");
        let shown = match answered.value.body {
            AcceptedBody::Empty => "empty",
            AcceptedBody::Data => "data",
            AcceptedBody::Service(live) => {
                assert_eq!(live.instances, Some(2));
                "service"
            }
        };
        assert_eq!((answered.status, shown), (status, body));
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_success_that_is_not_the_apis_leaves_the_update_in_doubt() {
    let endless = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let broken = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"da".to_vec();
    let whole = |head: &str, body: &str| Script::Answer(answer(head, body.as_bytes()));
    let page = "<html><title>Access blocked by policy</title></html>";
    let error = r#"{"error":{"status":400,"message":"credentials not found"}}"#;
    let (unfit, garbage) = ("the API answered 200 OK, but its body", "the answer 200 OK is not the API's");
    for (script, text, scope) in [
        (whole("200 OK", page), "the answer 200 OK is not the API's: Access blocked by policy", Scope::Api),
        (whole("202 Accepted", page), "the answer 202 Accepted is not the API's: Access", Scope::Api),
        (whole("200 OK", ""), garbage, Scope::Api),
        (whole("201 Created", ""), "the answer 201 Created is not the API's", Scope::Api),
        (whole("200 OK", error), "the API answered 200 OK with an error: credentials not found", Scope::Service),
        (whole("200 OK", r#"{"error":"denied"}"#), "the answer 200 OK is not the API's: denied", Scope::Api),
        (whole("200 OK", r#"{"data":{},"error":{"x":1}}"#), garbage, Scope::Api),
        (whole("200 OK", "{}"), unfit, Scope::Api),
        (whole("200 OK", "[]"), unfit, Scope::Api),
        (whole("200 OK", "true"), unfit, Scope::Api),
        (whole("200 OK", r#"{"data":null}"#), unfit, Scope::Api),
        (whole("200 OK", r#"{"data":[]}"#), unfit, Scope::Api),
        (whole("200 OK", r#"{"data":"ok"}"#), unfit, Scope::Api),
        (whole("200 OK", r#"{"data":{},"data":{}}"#), unfit, Scope::Api),
        (whole("200 OK\ncontent-encoding: gzip", "not gzip"), unfit, Scope::Api),
        (Script::AnswerAndClose(broken.clone()), unfit, Scope::Api),
        (Script::Answer(broken), unfit, Scope::Api),
        (
            Script::Endless(endless, b"2000\r\n".iter().copied().chain([b'x'; 0x2000]).chain(*b"\r\n").collect()),
            unfit,
            Scope::Api,
        ),
    ] {
        let server = Server::start(script).await;
        let error = failure(&impatient_client(&server.url, Duration::from_secs(2))).await;
        assert!(error.to_string().starts_with(text), "{error}");
        assert_eq!((error.disposition(), error.delivery()), (Disposition::Transient { scope }, Delivery::Unknown));
        assert_eq!(server.requests().len(), 1, "{text}");
    }
}

#[tokio::test]
async fn an_accepted_update_has_the_servers_time() {
    let server = Server::answering("200 OK\ndate: Sun, 06 Nov 1994 08:49:37 GMT", ACCEPTED).await;
    let answered = client(&server.url).update_deployment(&key(), &update()).await.expect("accepted");
    assert_eq!(answered.value.server_time, "1994-11-06T08:49:37Z".parse().ok());
}

#[tokio::test]
async fn calls_share_a_connection_and_a_token_that_can_be_replaced() {
    let server = Server::answering("200 OK", ACCEPTED).await;
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
    let server = Server::answering("200 OK", ACCEPTED).await;
    let url = server.url.replace("127.0.0.1", "localhost");
    // As a task of its own, because that is how the daemon calls.
    let call = tokio::spawn(async move { client(&url).update_deployment(&key(), &update()).await });
    call.await.expect("no panic").expect("accepted");
}
