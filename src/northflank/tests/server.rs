//! A server of raw bytes: keeps what it was sent and does what the test says.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What to do with each request.
#[derive(Clone)]
pub(super) enum Script {
    /// Answer, and wait for the next request.
    Answer(Vec<u8>),
    /// Answer, and close.
    AnswerAndClose(Vec<u8>),
    /// Send the first bytes and then the others again and again.
    Endless(Vec<u8>, Vec<u8>),
    /// Read on and say nothing.
    Silent,
    /// Close without a word.
    Close,
}

pub(super) struct Server {
    pub(super) url: String,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (requests, connections) = (Arc::default(), Arc::default());
        let task = tokio::spawn(accept(listener, script, Arc::clone(&requests), Arc::clone(&connections)));
        Self { url, requests, connections, task }
    }

    /// Answers each request with these bytes; line ends may be written as `\n`.
    pub(super) async fn answering(head: &str, body: &str) -> Self {
        Self::start(Script::Answer(answer(head, body.as_bytes()))).await
    }

    /// Every request so far, head and body.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no test panicked").clone()
    }

    /// How many connections were made.
    pub(super) fn connections(&self) -> usize {
        *self.connections.lock().expect("no test panicked")
    }

    /// The address without its scheme.
    pub(super) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A whole answer: `404 Not Found` and headers a line each, and a body of known length.
pub(super) fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let head = head.replace('\n', "\r\n");
    let mut bytes = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

async fn accept(
    listener: TcpListener,
    script: Script,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        *connections.lock().expect("no test panicked") += 1;
        tokio::spawn(serve(stream, script.clone(), Arc::clone(&requests)));
    }
}

async fn serve(mut stream: TcpStream, script: Script, requests: Arc<Mutex<Vec<String>>>) {
    while let Some(request) = read_request(&mut stream).await {
        requests.lock().expect("no test panicked").push(request);
        match &script {
            Script::Answer(bytes) => {
                if stream.write_all(bytes).await.is_err() {
                    return;
                }
            }
            Script::AnswerAndClose(bytes) => {
                let _ = stream.write_all(bytes).await;
                return;
            }
            Script::Endless(first, more) => {
                let mut sent = stream.write_all(first).await;
                while sent.is_ok() {
                    sent = stream.write_all(more).await;
                }
                return;
            }
            Script::Silent => {}
            Script::Close => return,
        }
    }
}

/// Reads to the end of a request by its `content-length`; nothing at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().expect("a length")) {
                return Some(text);
            }
        }
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}
