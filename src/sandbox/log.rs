//! The log of calls: everything that was asked, for tests and for the curious.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::Method;
use serde_json::Value;
use tokio::time::Instant;

use super::contract::Operation;
use super::target::Target;

/// Most bytes of bodies that the log keeps; older calls make room.
const MAX_BODY_BYTES: usize = 64 << 20;

/// One request. The token is no part of it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Counted from 0 in the order of arrival.
    pub number: u64,
    /// Method.
    pub method: String,
    /// Path and query as sent, at most 1,024 characters.
    pub path: String,
    /// What it asked for; absent where the path or method is unknown.
    pub operation: Option<Operation>,
    /// The service that it names, where it names one.
    pub target: Option<Target>,
    /// Its body, where that was JSON.
    pub body: Option<Value>,
    /// How it was answered.
    pub answer: Answer,
    /// Whether it is an update that was accepted, even if the answer was lost.
    pub accepted: bool,
    /// The names of the faults that it met.
    pub faults: Vec<&'static str>,
    /// When its head had arrived, in tokio's time.
    pub started: Instant,
    /// When its answer was handed to the connection, or the connection was cut.
    pub ended: Option<Instant>,
}

/// How a call was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not yet.
    Waiting,
    /// With this status.
    Status(u16),
    /// Not at all: a fault cut the connection.
    Dropped,
    /// Not at all: the client went away first, or the sandbox was stopped.
    Gone,
}

/// A call as the log keeps it. A body stays the bytes that were sent until somebody asks: they take a tenth of the
/// room of a parsed one.
#[derive(Debug)]
pub(super) struct Entry {
    number: u64,
    method: Method,
    path: Box<str>,
    operation: Option<Operation>,
    pub(super) target: Option<Arc<Target>>,
    body: Bytes,
    answer: Answer,
    pub(super) accepted: bool,
    faults: Vec<&'static str>,
    started: Instant,
    ended: Option<Instant>,
}

impl Entry {
    pub(super) fn new(
        method: Method,
        path: &str,
        operation: Option<Operation>,
        target: Option<Arc<Target>>,
        started: Instant,
    ) -> Self {
        let path = path.chars().take(1024).collect();
        let (body, answer, faults) = (Bytes::new(), Answer::Waiting, Vec::new());
        Self { number: 0, method, path, operation, target, body, answer, accepted: false, faults, started, ended: None }
    }

    /// The body, where it was JSON.
    pub(super) fn body(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub(super) fn is_auth(&self) -> bool {
        self.operation == Some(Operation::Auth)
    }

    pub(super) fn to_call(&self) -> Call {
        Call {
            number: self.number,
            method: self.method.to_string(),
            path: self.path.to_string(),
            operation: self.operation,
            target: self.target.as_deref().cloned(),
            body: self.body(),
            answer: self.answer,
            accepted: self.accepted,
            faults: self.faults.clone(),
            started: self.started,
            ended: self.ended,
        }
    }
}

/// The newest calls, bounded in number and bytes.
#[derive(Debug)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    next: u64,
    body_bytes: usize,
    max_calls: usize,
}

impl Log {
    pub(super) fn new(max_calls: usize) -> Self {
        Self { entries: VecDeque::new(), next: 0, body_bytes: 0, max_calls: max_calls.max(1) }
    }

    /// Opens an entry and gives its number.
    pub(super) fn begin(&mut self, entry: Entry) -> u64 {
        let number = self.next;
        self.next += 1;
        self.entries.push_back(Entry { number, ..entry });
        self.make_room();
        number
    }

    /// Adds the body. An entry that had to make room is gone, here and below, and that is no error.
    pub(super) fn set_body(&mut self, number: u64, body: Bytes) {
        if let Some(entry) = self.entry(number) {
            let bytes = body.len();
            entry.body = body;
            self.body_bytes += bytes;
            self.make_room();
        }
    }

    pub(super) fn set_accepted(&mut self, number: u64) {
        if let Some(entry) = self.entry(number) {
            entry.accepted = true;
        }
    }

    pub(super) fn add_fault(&mut self, number: u64, fault: &'static str) {
        if let Some(entry) = self.entry(number) {
            entry.faults.push(fault);
        }
    }

    pub(super) fn end(&mut self, number: u64, answer: Answer, at: Instant) {
        if let Some(entry) = self.entry(number) {
            entry.answer = answer;
            entry.ended = Some(at);
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// How many calls there ever were.
    pub(super) fn total(&self) -> u64 {
        self.next
    }

    /// Forgets the calls; the numbers go on.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.body_bytes = 0;
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        let first = self.entries.front()?.number;
        let index = usize::try_from(number.checked_sub(first)?).ok()?;
        self.entries.get_mut(index)
    }

    fn make_room(&mut self) {
        while self.entries.len() > self.max_calls || self.body_bytes > MAX_BODY_BYTES {
            let Some(entry) = self.entries.pop_front() else { return };
            self.body_bytes -= entry.body.len();
        }
    }
}
