//! Reading an answer's body: chunk by chunk, to a limit that counts what came out of the decompression.

use reqwest::Response;
use tokio::time::{Instant, timeout_at};

/// The most of a body that is kept of an answer that is no success, in bytes.
pub(super) const MAX_FAILURE: usize = 64 * 1024;

/// A body as far as it was read.
#[derive(Debug)]
pub(super) struct Body {
    /// What was read; never more than the limit.
    pub(super) bytes: Vec<u8>,
    /// How it ended.
    pub(super) end: End,
}

/// How a body ended.
#[derive(Debug)]
pub(super) enum End {
    /// With its last byte.
    Whole,
    /// There was more than the limit.
    TooLong,
    /// The deadline came first.
    Deadline,
    /// The connection or the compression broke.
    Broken,
}

/// Reads a body until it ends, breaks, passes `limit` or the deadline comes.
pub(super) async fn read(mut response: Response, limit: usize, deadline: Instant) -> Body {
    let mut bytes = Vec::new();
    let end = loop {
        match timeout_at(deadline, response.chunk()).await {
            Err(_) => break End::Deadline,
            Ok(Err(_)) => break End::Broken,
            Ok(Ok(None)) => break End::Whole,
            Ok(Ok(Some(chunk))) => {
                let room = limit - bytes.len();
                bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    break End::TooLong;
                }
            }
        }
    };
    Body { bytes, end }
}
