//! Wires: connections that can be cut from inside, for faults that drop them and for a stop that does not wait.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Most connections at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;

/// The switch of one connection.
#[derive(Debug)]
pub(super) struct Line {
    cut: watch::Sender<bool>,
    wire: AtomicWaker,
}

impl Line {
    fn new() -> Self {
        Self { cut: watch::Sender::new(false), wire: AtomicWaker::new() }
    }

    /// Ends the connection: every read and write fails from now on.
    pub(super) fn cut(&self) {
        self.cut.send_replace(true);
        self.wire.wake();
    }

    /// Returns once the connection is cut.
    pub(super) async fn wait_cut(&self) {
        // It can only fail when the sender is gone, and the sender is ours.
        let _ = self.cut.subscribe().wait_for(|cut| *cut).await;
    }
}

/// All connections that are open.
#[derive(Debug, Default)]
pub(super) struct Lines {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    lines: BTreeMap<u64, Arc<Line>>,
    closed: bool,
}

impl Lines {
    /// Cuts every connection, and those that may still come.
    pub(super) fn cut_all(&self) {
        let mut open = self.lock();
        open.closed = true;
        open.lines.values().for_each(|line| line.cut());
    }

    fn add(&self) -> (u64, Arc<Line>) {
        let line = Arc::new(Line::new());
        let mut open = self.lock();
        if open.closed {
            line.cut();
        }
        let number = open.next;
        open.next += 1;
        open.lines.insert(number, Arc::clone(&line));
        (number, line)
    }

    fn remove(&self, number: u64) {
        self.lock().lines.remove(&number);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A listener whose connections are [`Wire`]s.
#[derive(Debug)]
pub(super) struct Door {
    listener: TcpListener,
    lines: Arc<Lines>,
    places: Arc<Semaphore>,
}

impl Door {
    pub(super) fn new(listener: TcpListener, lines: Arc<Lines>) -> Self {
        Self { listener, lines, places: Arc::new(Semaphore::new(MAX_CONNECTIONS)) }
    }
}

impl Listener for Door {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        // The semaphore is never closed; without a permit there would only be one limit less.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // Answers are small; one that waits for company is a slow one. A stream that refuses is not worth an error.
        let _ = stream.set_nodelay(true);
        let (number, line) = self.lines.add();
        (Wire { stream, line, number, lines: Arc::clone(&self.lines), _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection with its switch.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    line: Arc<Line>,
    number: u64,
    lines: Arc<Lines>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Wire {
    /// Fails once the line is cut, and sees to it that the task is woken when it is. One waker is enough: reading and
    /// writing go on in the same task.
    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        self.line.wire.register(cx.waker());
        if *self.line.cut.borrow() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.lines.remove(self.number);
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// What a request knows of its connection.
#[derive(Clone, Debug)]
pub(super) struct Connection(pub(super) Arc<Line>);

impl Connected<IncomingStream<'_, Door>> for Connection {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        Self(Arc::clone(&stream.io().line))
    }
}
