//! The server's bounds and its end. What depends on time runs on a paused clock and on connections in memory.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::activity::Activity;
use super::super::server::{MAX_CONNECTIONS, MAX_HEAD_BYTES, attend};
use super::*;

const GET_HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
const GET_STATUS: &[u8] = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn start(desk: Desk) -> Server {
    Server::start("127.0.0.1:0".parse().unwrap(), Hosts::default(), desk, Meters::new(), Whereabouts::default())
        .await
        .unwrap()
}

/// Sends bytes and reads to the end, whatever ends it.
async fn talk(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

/// Reads a whole answer of `/healthz` and leaves the connection open.
async fn read_ok(stream: &mut TcpStream) {
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\nok\n") {
        let mut piece = [0; 256];
        let read = stream.read(&mut piece).await.unwrap();
        assert_ne!(read, 0, "it ended after {answer:?}");
        answer.push_str(std::str::from_utf8(&piece[..read]).unwrap());
    }
}

/// A connection in memory that holds so many bytes, the task that serves it, and what stops it.
fn connect(pages: &Router, room: usize) -> (DuplexStream, JoinHandle<()>, watch::Sender<()>) {
    let (near, far) = duplex(room);
    let (stop, stopped) = watch::channel(());
    (near, tokio::spawn(attend(far, pages.clone(), Arc::new(Activity::new()), stopped)), stop)
}

#[tokio::test]
async fn pages_are_served_over_a_connection_that_goes_on() {
    let server = start(living(Answers::new())).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    for _ in 0..2 {
        stream.write_all(GET_HEALTH).await.unwrap();
        read_ok(&mut stream).await;
    }
    let answer = talk(&server, b"GET /status HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\"drift\":null}\n"), "{answer}");
}

#[tokio::test]
async fn the_name_is_checked_where_the_server_listens_on_loopback() {
    let server = start(living(Answers::new())).await;
    let answer = talk(&server, b"GET /status HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    assert!(!answer.contains("shop"), "{answer}");
}

#[tokio::test]
async fn a_busy_port_is_named_with_the_ways_out() {
    let server = start(living(Answers::new())).await;
    let error = Server::start(server.address(), Hosts::default(), desk().0, Meters::new(), Whereabouts::default())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), format!("listen on `{}` for health, metrics and status", server.address()));
    assert!(error.hint().contains("another program") && error.hint().contains("--listen off"), "{}", error.hint());
    assert!(crate::error::chain(&error).contains("in use"), "{}", crate::error::chain(&error));
}

#[tokio::test]
async fn a_head_that_is_too_long_ends_the_connection() {
    let server = start(living(Answers::new())).await;
    let long = format!("GET /status HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(MAX_HEAD_BYTES));
    let answer = timeout(Duration::from_secs(4), talk(&server, long.as_bytes())).await.expect("it waits for the rest");
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn a_declared_body_is_not_waited_for() {
    let server = start(living(Answers::new())).await;
    for head in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        let request = format!("GET /status HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n");
        let answer = talk(&server, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_ends_the_connection() {
    let pages = pages_of(living(Answers::new()));
    for sent in [&b""[..], b"GET /hea", GET_HEALTH] {
        let (mut stream, served, _stop) = connect(&pages, 1 << 16);
        stream.write_all(sent).await.unwrap();
        // The clock is paused, so this waits for nothing but the deadlines themselves.
        timeout(Duration::from_secs(6), served).await.expect("it was still there past its time").unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest.contains("200 OK"), sent == GET_HEALTH, "{rest}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_in_ends_the_connection() {
    let (mut stream, served, _stop) = connect(&pages_of(living(Answers::new())), 1 << 16);
    let sender = tokio::spawn(async move {
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    timeout(Duration::from_secs(6), served).await.expect("it was still there past its time").unwrap();
    sender.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_without_end_has_to_connect_anew() {
    let (mut stream, served, _stop) = connect(&pages_of(living(Answers::new())), 1 << 16);
    let asking = tokio::spawn(async move {
        let mut asked = 0;
        while stream.write_all(GET_HEALTH).await.is_ok() {
            if stream.read(&mut [0; 1024]).await.unwrap_or(0) == 0 {
                break;
            }
            asked += 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        asked
    });
    timeout(Duration::from_secs(61), served).await.expect("it was still there past its time").unwrap();
    assert!(asking.await.unwrap() > 20, "it ended too early");
}

#[tokio::test(start_paused = true)]
async fn readers_that_do_not_read_hold_neither_the_loop_nor_the_page_for_long() {
    let pages = pages_of(living(Answers::new().with_services(1000)));
    let mut readers = Vec::new();
    for _ in 0..4 {
        let (mut stream, served, stop) = connect(&pages, 1024);
        stream.write_all(GET_STATUS).await.unwrap();
        // The first bytes of the answer are there: its place is taken.
        stream.read_exact(&mut [0; 16]).await.unwrap();
        readers.push((stream, served, stop));
    }
    assert_eq!(get(&pages, "/status").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&pages, "/healthz").await.status, StatusCode::OK);
    for (mut stream, served, _stop) in readers {
        timeout(Duration::from_secs(61), served).await.expect("it was still there past its time").unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(!rest.ends_with(b"\n"), "the answer went through");
    }
    assert_eq!(get(&pages, "/status").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_slow_but_honest_reader_gets_the_whole_answer() {
    let server = start(living(Answers::new().with_services(10_000))).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece).await.unwrap() {
            0 => break,
            read => answer.extend_from_slice(&piece[..read]),
        }
        tokio::task::yield_now().await;
    }
    let start = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let json: serde_json::Value = serde_json::from_slice(&answer[start..]).unwrap();
    assert_eq!(json["services"].as_array().unwrap().len(), 10_000);
}

#[tokio::test]
async fn a_connection_past_the_bound_takes_the_place_of_the_one_idle_longest() {
    let server = start(living(Answers::new())).await;
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(GET_HEALTH).await.unwrap();
        read_ok(&mut stream).await;
        held.push(stream);
    }
    held[0].write_all(GET_HEALTH).await.unwrap();
    read_ok(&mut held[0]).await;
    let mut late = TcpStream::connect(server.address()).await.unwrap();
    late.write_all(GET_HEALTH).await.unwrap();
    read_ok(&mut late).await;
    assert_eq!(
        held[1].read(&mut [0; 16]).await.unwrap(),
        0,
        "the one that was answered the longest ago is still there"
    );
    held[0].write_all(GET_HEALTH).await.unwrap();
    read_ok(&mut held[0]).await;
}

#[tokio::test]
async fn probes_are_answered_while_every_place_idles_or_drips() {
    let server = start(living(Answers::new())).await;
    let mut held = Vec::new();
    for index in 0..MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        if index % 2 == 0 {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nX-Drip: ").await.unwrap();
        }
        held.push(stream);
    }
    let (mut idle, mut dripping): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    for (index, stream) in held.into_iter().enumerate() {
        if index % 2 == 0 { dripping.push(stream) } else { idle.push(stream) }
    }
    let drip = async {
        loop {
            for stream in &mut dripping {
                let _ = stream.write_all(b"x").await;
            }
            tokio::task::yield_now().await;
        }
    };
    let probes = async {
        for _ in 0..5 {
            let answer = talk(&server, b"GET /healthz HTTP/1.0\r\n\r\n").await;
            assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
        }
    };
    tokio::select! {
        () = probes => {}
        () = drip => {}
    }
    drop(idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_is_served_to_the_last() {
    let server = start(living(Answers::new())).await;
    let answers = join_all((0..300).map(|_| talk(&server, b"GET /healthz HTTP/1.0\r\n\r\n"))).await;
    assert!(answers.iter().all(|answer| answer.ends_with("\r\n\r\nok\n")), "{answers:?}");
}

#[tokio::test]
async fn stopping_ends_idle_waiting_and_half_sent_requests() {
    // A loop that never answers.
    let (desk, mut waiting) = desk();
    let server = start(desk).await;
    let address = server.address();
    let mut streams = Vec::new();
    for sent in [&b""[..], b"GET /hea", GET_STATUS] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        streams.push(stream);
    }
    let _question = waiting.recv().await.unwrap();
    server.stop().await;
    for mut stream in streams {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert_eq!(rest, b"");
    }
    assert!(TcpStream::connect(address).await.is_err(), "it still listens");
}

#[tokio::test]
async fn an_answer_under_way_is_finished_at_the_end() {
    let (desk, mut waiting) = desk();
    let server = start(desk).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(GET_HEALTH).await.unwrap();
    let Some(Query::Health(reply)) = waiting.recv().await else { panic!("another question") };
    let address = server.address();
    let stopping = tokio::spawn(server.stop());
    // On one thread: once the address is closed, an end without grace would have cut the connection as well.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    reply.send(()).unwrap();
    read_ok(&mut stream).await;
    stopping.await.unwrap();
}

#[tokio::test]
async fn dropping_the_server_ends_it() {
    let server = start(living(Answers::new())).await;
    let mut idle = TcpStream::connect(server.address()).await.unwrap();
    drop(server);
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap_or(0), 0);
}
