//! Bodies have an end, whatever the server thinks.

use tokio::time::Instant;

use super::server::{Script, Server, answer};
use super::*;
use crate::northflank::body::{self, Body, End};
use crate::northflank::transport::Transport;

/// Reads what the server sends as an answer's body.
async fn read(script: Script, limit: usize, timeout: Duration) -> Body {
    let server = Server::start(script).await;
    // A client of its own kind, with decompression, to get at the answer before its body is read.
    let transport = Transport { connect_timeout: LONG, proxies: Proxies::Environment, roots: Roots::System };
    let http = transport.build(&server.url.parse().expect("a valid address")).expect("a client");
    let response = http.get(&server.url).send().await.expect("an answer");
    body::read(response, limit, Instant::now() + timeout).await
}

#[tokio::test]
async fn a_body_is_cut_at_its_limit() {
    let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let body = read(Script::Endless(head, vec![b'x'; 10_000]), 70_000, LONG).await;
    assert_eq!((body.bytes.len(), matches!(body.end, End::TooLong)), (70_000, true));
}

#[tokio::test]
async fn the_limit_counts_what_comes_out_of_gzip() {
    let zeros = answer("200 OK\ncontent-encoding: gzip", include_bytes!("zeros.gz"));
    let body = read(Script::Answer(zeros), 300_000, LONG).await;
    assert_eq!((body.bytes.len(), matches!(body.end, End::TooLong)), (300_000, true));
    assert!(body.bytes.iter().all(|byte| *byte == 0));
}

#[tokio::test]
async fn a_body_of_just_the_limit_is_whole() {
    let body = read(Script::Answer(answer("200 OK", b"12345")), 5, LONG).await;
    assert_eq!((body.bytes.as_slice(), matches!(body.end, End::Whole)), (&b"12345"[..], true));
}

#[tokio::test]
async fn a_body_ends_at_the_deadline() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1234".to_vec();
    let body = read(Script::Answer(head), 100, SHORT).await;
    assert_eq!((body.bytes.as_slice(), matches!(body.end, End::Deadline)), (&b"1234"[..], true));
}

#[tokio::test]
async fn a_body_that_breaks_off_says_so() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1234".to_vec();
    let body = read(Script::AnswerAndClose(head), 100, LONG).await;
    assert_eq!((body.bytes.as_slice(), matches!(body.end, End::Broken)), (&b"1234"[..], true));
}
