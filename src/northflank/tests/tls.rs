//! TLS, HTTP/2 and what it would do on its own: a server in a thread that speaks just enough of both.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::northflank::Delivery;

const ROOT: &[u8] = include_bytes!("tls/ca.pem");
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of HTTP/2 frames.
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

type Tls = StreamOwned<ServerConnection, TcpStream>;

/// Serves connections with `speak` until one says that it was the last; gives back what each of them saw.
fn serve(alpn: &[u8], speak: impl Fn(&mut Tls) -> io::Result<usize> + Send + 'static) -> (String, JoinHandle<usize>) {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/server.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate with its key");
    config.alpn_protocols = vec![alpn.to_vec()];
    let config = Arc::new(config);

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://localhost:{}", listener.local_addr().expect("an address").port());
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        stream.set_read_timeout(Some(LONG)).expect("a deadline");
        let connection = ServerConnection::new(config).expect("a connection");
        let seen = speak(&mut StreamOwned::new(connection, stream)).unwrap_or(0);
        // A second connection would be a second call.
        listener.set_nonblocking(true).expect("no waiting");
        seen + usize::from(listener.accept().is_ok())
    });
    (url, thread)
}

/// How many requests the server saw. The client's connection closes on this thread, so that it must not be blocked.
async fn requests(server: JoinHandle<usize>) -> usize {
    tokio::task::spawn_blocking(|| server.join().expect("no panic")).await.expect("no panic")
}

fn trusting(url: &str) -> Client {
    let roots = Roots::Only(vec![reqwest::Certificate::from_pem(ROOT).expect("a certificate")]);
    Client::build(settings(url, LONG), token(), Proxies::Environment, roots).expect("a client")
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short frame");
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// Reads to the next frame of this kind; not at all at the end of the connection.
fn next(stream: &mut impl Read, kind: u8) -> io::Result<()> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let length = u64::from(u32::from_be_bytes([0, head[0], head[1], head[2]]));
        io::copy(&mut stream.take(length), &mut io::sink())?;
        if head[3] == kind {
            return Ok(());
        }
    }
}

/// Speaks HTTP/2: gives `answer` to the first request, and counts the requests until the client goes.
fn http2(stream: &mut Tls, answer: &[u8]) -> io::Result<usize> {
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface)?;
    assert_eq!(preface, PREFACE, "not HTTP/2");
    stream.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    next(stream, HEADERS)?;
    stream.write_all(answer)?;
    stream.flush()?;
    let mut requests = 1;
    while next(stream, HEADERS).is_ok() {
        requests += 1;
    }
    Ok(requests)
}

#[tokio::test]
async fn http2_is_spoken_where_the_server_offers_it() {
    // 0x89 stands for `:status: 204`; the flags say that the head ends, and the stream with it.
    let (url, server) = serve(b"h2", |stream| http2(stream, &frame(HEADERS, 5, 1, &[0x89])));
    let client = trusting(&url);
    assert_eq!(client.update_deployment(&key(), &update()).await.expect("accepted").status, 204);
    drop(client);
    assert_eq!(requests(server).await, 1);
}

#[tokio::test]
async fn a_request_that_http2_turns_away_is_not_sent_again() {
    let refused = frame(RST_STREAM, 0, 1, &[0, 0, 0, 7]);
    let going = frame(GOAWAY, 0, 0, &[0; 8]);
    for answer in [refused, going] {
        let (url, server) = serve(b"h2", move |stream| http2(stream, &answer));
        let client = trusting(&url);
        let error = failure(&client).await;
        assert_eq!(error.delivery(), Delivery::Unknown, "{}", chain(&error));
        drop(client);
        assert_eq!(requests(server).await, 1);
    }
}

#[tokio::test]
async fn closing_words_that_hold_the_token_are_not_repeated() {
    let words = [&[0, 0, 0, 0, 0, 0, 0, 11], TOKEN.as_bytes()].concat();
    let (url, server) = serve(b"h2", move |stream| http2(stream, &frame(GOAWAY, 0, 0, &words)));
    let client = trusting(&url);
    let error = failure(&client).await;
    let shown = format!("{} {error:?}", chain(&error));
    assert!(!shown.contains("hunter2"), "{shown}");
    drop(client);
    requests(server).await;
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_ends_the_call_before_it_is_sent() {
    let (url, server) = serve(b"http/1.1", http1);
    let client = Client::build(settings(&url, LONG), token(), Proxies::Environment, Roots::Only(vec![]));
    let error = failure(&client.expect("a client")).await;
    assert!(chain(&error).contains("certificate"), "{}", chain(&error));
    assert_eq!(error.delivery(), Delivery::Unsent);
    assert_eq!(requests(server).await, 0, "nothing but a handshake");
}

/// Speaks HTTP/1.1: one request, one answer.
fn http1(stream: &mut Tls) -> io::Result<usize> {
    let mut bytes = [0; 4096];
    let read = stream.read(&mut bytes)?;
    stream.write_all(&super::server::answer("200 OK\nconnection: close", ACCEPTED.as_bytes()))?;
    stream.flush()?;
    Ok(usize::from(bytes[..read].starts_with(b"POST ")))
}

#[tokio::test]
async fn certificates_from_the_environment_take_the_place_of_the_systems() {
    const NAME: &str = "tls::certificates_from_the_environment_take_the_place_of_the_systems";
    if !is_again() {
        return again(NAME, &[("SSL_CERT_FILE", ROOT_FILE)]).await;
    }
    let (url, server) = serve(b"http/1.1", http1);
    let client = Client::new(settings(&url, LONG), token()).expect("a client");
    client.update_deployment(&key(), &update()).await.expect("accepted");
    assert_eq!(requests(server).await, 1);
}

#[tokio::test]
async fn a_machine_without_certificates_can_still_call_its_own_loopback() {
    const NAME: &str = "tls::a_machine_without_certificates_can_still_call_its_own_loopback";
    if !is_again() {
        return again(NAME, &[("SSL_CERT_FILE", "/dev/null")]).await;
    }
    assert!(Client::new(settings("http://localhost:1", LONG), token()).is_ok());
    let error = Client::new(settings("https://localhost:1", LONG), token()).expect_err("no certificates");
    assert!(error.hint().is_some_and(|hint| hint.contains("ca-certificates")), "{error}");
}
