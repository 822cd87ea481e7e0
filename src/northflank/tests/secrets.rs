//! The token reaches the API and nobody else: no error, no `Debug`, no proxy.

use super::server::{Script, Server, answer};
use super::*;

/// Every form in which an error can be shown.
fn shown(error: &CallError) -> String {
    let details = error.details().map(ToString::to_string);
    format!("{} {error:?} {error:#?} {} {:?} {details:?}", chain(error), error.message(), error.id())
}

#[tokio::test]
async fn what_a_server_echoes_is_searched_for_the_token() {
    let json = format!(
        r#"{{"error":{{"message":"bad Bearer {TOKEN}","id":"{TOKEN}","details":{{"{TOKEN}":["x{TOKEN}"]}}}}}}"#
    );
    let echo = |status: &str, body: &str| Script::Answer(answer(status, body.as_bytes()));
    for script in [
        echo("400 Bad Request", &json),
        echo("502 Bad Gateway", &format!("<title>Authorization: Bearer {TOKEN}</title>")),
        echo("502 Bad Gateway", &format!("Authorization: Bearer {TOKEN}")),
        echo(&format!("302 Found\nlocation: https://a.com/{TOKEN}"), ""),
        echo(&format!("400 {TOKEN}"), &format!("{}{TOKEN}", "x".repeat(1015))),
        Script::AnswerAndClose(format!("{TOKEN} {TOKEN}\r\n\r\n").into_bytes()),
        // Cut in the middle of the token by a broken connection.
        Script::AnswerAndClose(format!("HTTP/1.1 400 Bad\r\ncontent-length: 99\r\n\r\nBearer {}", &TOKEN[..12]).into()),
    ] {
        let server = Server::start(script).await;
        let error = failure(&client(&server.url)).await;
        assert!(server.requests()[0].contains(TOKEN), "the token was sent");
        assert!(!shown(&error).contains("hunter2"), "{}", shown(&error));
    }
}

#[tokio::test]
async fn nothing_that_a_server_sends_steers_a_terminal() {
    let server =
        Server::answering("400 Bad Request", r#"{"error":{"status":400,"message":"a\u001b[2J\r\nb","id":"\u0007"}}"#)
            .await;
    let error = failure(&client(&server.url)).await;
    assert_eq!(error.to_string(), "the API answered 400 Bad Request: a\u{fffd}[2J b (\u{fffd})");
}

#[test]
fn debug_of_a_client_shows_where_and_not_who() {
    let text = format!("{:?}", client("http://127.0.0.1:1/x"));
    assert_eq!(text, "Client { api_url: ApiUrl(http://127.0.0.1:1/x), .. }");
}

/// A client that has this proxy, as `HTTPS_PROXY` and `ALL_PROXY` would set it.
fn proxied(url: &str, proxy: &Server) -> Client {
    let proxy = reqwest::Proxy::all(&proxy.url).expect("a valid proxy");
    Client::build(settings(url, LONG), token(), Proxies::Only(Box::new(proxy)), Roots::Only(vec![])).expect("a client")
}

#[tokio::test]
async fn no_proxy_is_asked_for_loopback() {
    let proxy = Server::start(Script::Close).await;
    let server = Server::answering("200 OK", ACCEPTED).await;
    for host in ["127.0.0.1", "localhost"] {
        let url = server.url.replace("127.0.0.1", host);
        proxied(&url, &proxy).update_deployment(&key(), &update()).await.expect("accepted");
    }
    assert_eq!(proxy.connections(), 0);
}

#[tokio::test]
async fn a_proxy_sees_where_to_and_not_the_token() {
    let proxy = Server::start(Script::AnswerAndClose(answer("407 Proxy Authentication Required", b""))).await;
    let error = failure(&proxied("https://api.example.com", &proxy)).await;
    assert_eq!(error.delivery(), crate::northflank::Delivery::Unsent, "{}", chain(&error));
    let requests = proxy.requests();
    assert!(requests[0].starts_with("CONNECT api.example.com:443 "), "{requests:?}");
    assert!(!requests.concat().contains("hunter2") && !shown(&error).contains("hunter2"));
}

#[tokio::test]
async fn the_environments_proxy_is_asked_for_other_machines_only() {
    const NAME: &str = "secrets::the_environments_proxy_is_asked_for_other_machines_only";
    if !is_again() {
        let proxy = Server::start(Script::AnswerAndClose(answer("407 Proxy Authentication Required", b""))).await;
        let proxies = ["http_proxy", "https_proxy", "all_proxy"].map(|name| (name, proxy.url.as_str()));
        again(NAME, &[&proxies[..], &[("SSL_CERT_FILE", ROOT_FILE), ("no_proxy", ""), ("NO_PROXY", "")]].concat())
            .await;
        let requests = proxy.requests();
        assert!(requests.len() == 1 && requests[0].starts_with("CONNECT api.example.com:443 "), "{requests:?}");
        return;
    }
    let server = Server::answering("200 OK", ACCEPTED).await;
    client(&server.url).update_deployment(&key(), &update()).await.expect("accepted");
    failure(&client("https://api.example.com")).await;
}
