//! What fails, how it is told, and what it means for the next call.

use tokio::net::TcpListener;

use super::server::{Script, Server, answer};
use super::*;
use crate::northflank::{Delivery, Disposition, Scope};

const API: Disposition = Disposition::Transient { scope: Scope::Api };
const SERVICE: Disposition = Disposition::Transient { scope: Scope::Service };

async fn failed_with(head: &str, body: &str) -> (CallError, Server) {
    let server = Server::answering(head, body).await;
    (failure(&client(&server.url)).await, server)
}

#[tokio::test]
async fn the_providers_error_is_told() {
    let body = r#"{"error":{"status":404,"message":"no such service","id":"not_found","details":{"a":[1]}}}"#;
    let (error, _server) = failed_with("404 Not Found", body).await;
    assert_eq!(error.to_string(), "the API answered 404 Not Found: no such service (not_found)");
    assert_eq!(
        (error.status(), error.id(), error.message().as_str()),
        (Some(404), Some("not_found"), "no such service")
    );
    assert_eq!(error.details(), Some(&serde_json::json!({"a": [1]})));
    assert_eq!((error.disposition(), error.delivery()), (Disposition::Rejected, Delivery::Refused));
}

#[tokio::test]
async fn pages_and_empty_bodies_are_told_by_their_status() {
    let page = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>";
    for (head, body, text) in [
        ("502 Bad Gateway", page, "the API answered 502 Bad Gateway"),
        ("504 Gateway Timeout", "", "the API answered 504 Gateway Timeout"),
        ("500 Nobody Reads This", "{\"error\":", "the API answered 500 Internal Server Error"),
        (
            "503 Service Unavailable",
            "<title>Maintenance</title>",
            "the API answered 503 Service Unavailable: Maintenance",
        ),
    ] {
        let (error, _server) = failed_with(head, body).await;
        assert_eq!(error.to_string(), text);
        assert_eq!((error.disposition(), error.delivery()), (API, Delivery::Unknown), "{head}");
    }
}

#[tokio::test]
async fn a_page_in_the_apis_place_says_nothing_of_the_service() {
    for head in ["404 Not Found", "401 Unauthorized", "403 Forbidden", "405 Method Not Allowed", "400 Bad Request"] {
        for body in
            ["404 page not found\n", "", "<html></html>", r#"{"error":"Not Found"}"#, r#"{"message":"no route"}"#]
        {
            let (error, server) = failed_with(head, body).await;
            assert_eq!((error.disposition(), error.delivery()), (API, Delivery::Unknown), "{head} {body}");
            assert!(!error.is_not_served(), "{head} {body}");
            let error = client(&server.url).read_service(&key()).await.expect_err("not read");
            assert_eq!((error.disposition(), error.delivery()), (API, Delivery::Refused), "{head} {body}");
        }
    }
}

#[tokio::test]
async fn another_change_in_progress_passes() {
    let (error, server) =
        failed_with("409 Conflict", r#"{"error":{"status":409,"message":"another update is in progress"}}"#).await;
    assert_eq!((error.disposition(), error.delivery()), (SERVICE, Delivery::Refused));
    let error = client(&server.url).read_service(&key()).await.expect_err("not read");
    assert_eq!(error.disposition(), SERVICE);
}

#[tokio::test]
async fn the_two_ways_to_refuse_a_token_are_told_apart() {
    for (head, status, disposition) in
        [("401 Unauthorized", 401, Disposition::Denied), ("403 Forbidden", 403, Disposition::Forbidden)]
    {
        let (error, _server) = failed_with(head, &format!(r#"{{"error":{{"status":{status},"message":"no"}}}}"#)).await;
        assert_eq!((error.disposition(), error.delivery()), (disposition, Delivery::Refused));
    }
}

#[tokio::test]
async fn a_limit_and_a_maintenance_say_how_long_they_last() {
    let (error, _server) = failed_with("429 Too Many Requests\nx-ratelimit-reset: 1200", "").await;
    assert_eq!(error.disposition(), Disposition::Limited { wait: Duration::from_secs(1200), told: true });
    assert_eq!((error.delivery(), error.minimum_wait()), (Delivery::Unknown, None));

    let (error, _server) = failed_with("429 Too Many Requests\nretry-after: Fri, 01 Jan 2010 00:00:00 GMT", "").await;
    assert_eq!(error.disposition(), Disposition::Limited { wait: Duration::from_secs(1), told: false }, "past");

    let date = "date: Fri, 01 Jan 2010 00:00:00 GMT\nretry-after: Fri, 01 Jan 2010 00:02:00 GMT";
    let (error, _server) = failed_with(&format!("503 Service Unavailable\n{date}"), "").await;
    assert_eq!(error.disposition(), API);
    assert_eq!(error.minimum_wait(), Some(Duration::from_secs(120)));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for head in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let target = Server::answering("200 OK", "{}").await;
        let location = format!("{head}\nlocation: {}/v2?secret=1", target.url);
        let (error, server) = failed_with(&location, "").await;
        assert_eq!((error.disposition(), error.delivery()), (API, Delivery::Unknown));
        assert!(error.to_string().ends_with(&format!("leads to `{}/v2`", target.url)), "{error}");
        assert_eq!((server.requests().len(), target.connections()), (1, 0));
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_leaves_the_call_in_doubt() {
    let server = Server::start(Script::Silent).await;
    let error = failure(&impatient_client(&server.url, SHORT)).await;
    assert_eq!(error.to_string(), format!("no answer from `{}` within 200ms", server.url));
    assert_eq!((error.disposition(), error.delivery()), (API, Delivery::Unknown));
    assert_eq!((error.status(), server.requests().len()), (None, 1));
}

#[tokio::test]
async fn a_body_that_does_not_end_costs_no_more_than_the_deadline() {
    let server = Server::start(Script::Answer(b"HTTP/1.1 409 Conflict\r\ncontent-length: 9\r\n\r\n{".to_vec())).await;
    let error = failure(&impatient_client(&server.url, SHORT)).await;
    assert_eq!(error.to_string(), "the answer 409 Conflict is not the API's");
    assert_eq!((error.disposition(), error.delivery()), (API, Delivery::Unknown));
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_means_unsent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let error = failure(&client(&url)).await;
    assert!(chain(&error).starts_with(&format!("no connection to `{url}`: ")), "{}", chain(&error));
    assert!(chain(&error).contains("refused"), "{}", chain(&error));
    assert_eq!((error.disposition(), error.delivery()), (API, Delivery::Unsent));
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_the_call_in_doubt_and_is_not_tried_again() {
    for script in [
        Script::Close,
        Script::AnswerAndClose(b"HTTP/1.1 20".to_vec()),
        Script::Answer(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()),
        Script::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"x: y\r\n".repeat(100)),
    ] {
        let server = Server::start(script).await;
        let error = failure(&client(&server.url)).await;
        assert!(error.to_string().ends_with("broke before it answered"), "{}", chain(&error));
        assert_eq!((error.disposition(), error.delivery()), (API, Delivery::Unknown));
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn an_error_in_gzip_is_read() {
    let body = include_bytes!("not-found.gz");
    let server = Server::start(Script::Answer(answer("404 Not Found\ncontent-encoding: gzip", body))).await;
    assert_eq!(failure(&client(&server.url)).await.id(), Some("not_found"));
}

#[test]
fn a_deadline_that_makes_no_sense_is_refused() {
    for timeout in [Duration::ZERO, Duration::MAX] {
        let error = Client::new(settings("http://127.0.0.1:1", timeout), token()).expect_err("no client");
        assert!(error.to_string().contains("timeout is"), "{error}");
    }
}
