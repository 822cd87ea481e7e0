//! What a connection does, for whoever looks for one that may give way.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What one connection does. Bytes that come in count for nothing: who drips a head is as idle as who is silent.
#[derive(Debug)]
pub(super) struct Activity {
    answering: AtomicBool,
    written: Mutex<Instant>,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self { answering: AtomicBool::new(false), written: Mutex::new(Instant::now()) }
    }

    /// When it was last written to, where it answers nothing now.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let written = *self.written.lock().unwrap_or_else(PoisonError::into_inner);
        (!self.answering.load(Ordering::Relaxed)).then_some(written)
    }

    /// A request is being answered until what this returns is dropped.
    pub(super) fn answering(self: &Arc<Self>) -> impl Drop {
        self.answering.store(true, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }

    fn wrote(&self) {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

struct Answering(Arc<Activity>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.wrote();
        self.0.answering.store(false, Ordering::Relaxed);
    }
}

/// A stream that notes when something could be written to it.
#[derive(Debug)]
pub(super) struct Noted<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Noted<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        self.activity.wrote();
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, pieces));
        self.activity.wrote();
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
