//! The server as such: calls in flight, clients that go away, stopping, a busy address, many connections.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::{Answer, Fault, Options, Sandbox};
use super::{Bench, eventually, image};
use crate::host::Hosts;

const WEB: &str = "/v1/projects/shop/services/web";
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn calls_in_flight_are_counted_until_their_client_goes_away() {
    let bench = Arc::new(Bench::start(Options::default()).await);
    bench.world.script(Fault::delay(HOUR).always());
    let calls: Vec<_> = ["web", "web", "api"]
        .map(|service| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move { bench.update(service, image("nginx:1")).await })
        })
        .into();
    eventually("three calls in flight", || bench.world.in_flight() == 3).await;
    assert_eq!(bench.world.in_flight_max_of("shop/web"), 2);
    assert_eq!(bench.world.in_flight_max_of("shop/api"), 1);
    assert!(bench.world.calls().iter().all(|call| call.answer == Answer::Waiting && call.ended.is_none()));
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    eventually("no call in flight", || bench.world.in_flight() == 0).await;
    assert!(bench.world.calls().iter().all(|call| call.answer == Answer::Gone && call.ended.is_some()));
    assert_eq!((bench.world.in_flight_max(), bench.world.in_flight_max_of_any()), (3, 2));
}

#[tokio::test]
async fn a_page_that_gives_the_sandbox_its_own_name_is_refused() {
    for (host, allowed, line) in
        [("rebound.example", false, "421"), ("rebound.example", true, "200"), ("[::1]:1", false, "200")]
    {
        let hosts = Hosts::allowing(&if allowed { vec![host.to_owned()] } else { Vec::new() });
        let bench = Bench::start(Options { hosts, ..Options::default() }).await;
        let mut stream = TcpStream::connect(bench.sandbox.address()).await.unwrap();
        let head =
            format!("GET {WEB} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer t\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {line} ")), "{host}: {answer}");
        assert_eq!(bench.world.call_count(), u64::from(line == "200"));
    }
}

#[tokio::test]
async fn stopping_ends_idle_and_busy_connections() {
    let bench = Bench::start(Options::default()).await;
    let address = bench.sandbox.address();
    let mut idle = TcpStream::connect(address).await.unwrap();
    bench.world.script(Fault::delay(HOUR));
    bench.world.script(Fault::slow_body(1, HOUR));
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {WEB} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer t\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        busy.push(stream);
    }
    eventually("two calls have come", || bench.world.call_count() == 2).await;
    let world = bench.world.clone();
    bench.sandbox.stop().await;
    let mut rest = Vec::new();
    assert_eq!(idle.read_to_end(&mut rest).await.unwrap_or(0), 0);
    for mut stream in busy {
        let _ = stream.read_to_end(&mut rest).await;
    }
    assert_eq!(world.in_flight(), 0);
    assert!(TcpStream::connect(address).await.is_err(), "it still listens");
}

#[tokio::test]
async fn dropping_a_sandbox_ends_it() {
    let bench = Bench::start(Options::default()).await;
    let mut idle = TcpStream::connect(bench.sandbox.address()).await.unwrap();
    drop(bench);
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_busy_address_is_named() {
    let bench = Bench::start(Options::default()).await;
    let error = Sandbox::start(bench.sandbox.address(), Options::default()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("listen on `{}` for the sandbox", bench.sandbox.address()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_at_once_lose_no_call() {
    let bench = Bench::start(Options { limit: 1_000_000, ..Options::default() }).await;
    let worker = async |worker: usize| {
        for n in 0..20 {
            assert_eq!(bench.update(&format!("s{worker}"), image(&format!("nginx:{n}"))).await.status, 200);
        }
    };
    join_all((0..64).map(worker)).await;
    let updates = bench.world.updates_by_service();
    assert_eq!(updates.len(), 64);
    for bodies in updates.values() {
        let images: Vec<_> = bodies.iter().map(|body| body["external"]["imagePath"].as_str().unwrap()).collect();
        assert_eq!(images, (0..20).map(|n| format!("nginx:{n}")).collect::<Vec<_>>());
    }
    assert_eq!(bench.world.in_flight_max_of_any(), 1);
    assert_eq!(bench.send(Method::GET, WEB, None).await.status, 200);
}
