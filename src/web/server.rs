//! The server: its connections, how many, for how long, and their end.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::activity::{Activity, Noted};
use super::pages::pages;
use super::{Desk, Meters, Whereabouts};
use crate::host::Hosts;

/// Most connections at a time; for a further one another gives way.
pub(super) const MAX_CONNECTIONS: usize = 64;
/// Longest head of a request, and the least that hyper accepts as a limit.
pub(super) const MAX_HEAD_BYTES: usize = 8192;
/// How long a head may take, and how long a connection may be idle before it.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection must have been idle to give way: whoever comes in a crowd has sent its request by then.
const IDLE: Duration = Duration::from_millis(250);
/// Age at which a connection takes no further request.
const AGE_LIMIT: Duration = Duration::from_secs(30);
/// What the answer under way then has left: each has at least this long to be read.
const LAST_ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// What answers under way have left when the server is stopped.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// The address of `--listen` cannot be listened on; exit code 78.
#[derive(Debug, Error)]
#[error("listen on `{address}` for health, metrics and status")]
pub struct StartError {
    /// The address asked for.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl StartError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self.source.kind() {
            io::ErrorKind::AddrInUse => {
                "another program listens there, perhaps another truenorth; name another port with `--listen`, \
                 or go without with `--listen off`"
            }
            io::ErrorKind::AddrNotAvailable => {
                "this machine does not have that address; name another one with `--listen`, \
                 or go without with `--listen off`"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 are reserved; name another port with `--listen`, or go without with `--listen off`"
            }
            _ => "name another address with `--listen`, or go without with `--listen off`",
        }
    }
}

/// A running server. Dropping it ends it as well, without waiting.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    /// Nothing is ever sent: that it is gone is the message.
    stop: watch::Sender<()>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Starts listening; port 0 takes a free one. Needs a tokio runtime with time and I/O, on which it serves from then
    /// on.
    ///
    /// # Errors
    /// The address cannot be listened on: taken, not this machine's, not allowed.
    pub async fn start(
        address: SocketAddr,
        hosts: Hosts,
        desk: Desk,
        meters: Meters,
        whereabouts: Whereabouts,
    ) -> Result<Self, StartError> {
        let failed = |source| StartError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let (stop, stopped) = watch::channel(());
        let accepting = tokio::spawn(accept(listener, pages(desk, meters, whereabouts, hosts), stopped));
        Ok(Self { address: bound, stop, accepting })
    }

    /// Where it listens, with the port that it got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it: nothing new is accepted, idle connections are closed, answers under way have a second, then they are
    /// cut.
    pub async fn stop(self) {
        drop(self.stop);
        // It ends by itself and returns nothing; that it panicked would make no difference now.
        let _ = self.accepting.await;
    }
}

/// Accepts connections until the server is stopped, then sees to their end.
async fn accept(mut listener: TcpListener, router: Router, mut stopped: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    let mut attended: Vec<(AbortHandle, Arc<Activity>)> = Vec::new();
    loop {
        let idle = (0..attended.len())
            .filter_map(|index| Some((attended[index].1.idle_since()?, index)))
            .min()
            .map(|(since, index)| (since + IDLE, index));
        let is_full = attended.len() >= MAX_CONNECTIONS;
        let has_room = !is_full || idle.is_some_and(|(gives_way, _)| gives_way <= Instant::now());
        tokio::select! {
            biased;
            // It only ever ends with the sender gone.
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => attended.retain(|(task, _)| !task.is_finished()),
            // axum's accept waits out the errors of a system that has no files left, and returns connections only.
            (stream, _) = Listener::accept(&mut listener), if has_room => {
                // Answers are small; one that waits for company is a slow one. A stream that refuses is not worth an
                // error.
                let _ = stream.set_nodelay(true);
                if let Some((_, index)) = idle.filter(|_| is_full) {
                    attended.swap_remove(index).0.abort();
                }
                let activity = Arc::new(Activity::new());
                let task = connections.spawn(attend(stream, router.clone(), Arc::clone(&activity), stopped.clone()));
                attended.push((task, activity));
            }
            // One of those that answer now may be idle then.
            () = sleep_until(idle.map_or_else(|| Instant::now() + IDLE, |(gives_way, _)| gives_way)), if !has_room => {}
        }
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(STOP_GRACE, all_ended).await;
    connections.shutdown().await;
}

/// Serves one connection to its end.
pub(super) async fn attend(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    activity: Arc<Activity>,
    mut stopped: watch::Receiver<()>,
) {
    let service = TowerToHyperService::new(router.layer(from_fn_with_state(Arc::clone(&activity), answering)));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(Noted::new(stream, activity)), service)
    );
    // What ends a connection is the client's doing, or a limit's: there is nobody to tell.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.changed() => {}
        () = sleep(AGE_LIMIT) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(LAST_ANSWER_LIMIT, connection).await;
}

/// Notes that a request is being answered.
async fn answering(State(activity): State<Arc<Activity>>, request: Request, next: Next) -> Response {
    let _answering = activity.answering();
    next.run(request).await
}
