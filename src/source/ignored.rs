//! What a `.truenorthignore` file leaves out: gitignore syntax.
//!
//! These files come from the folder like all others, so they are read with the same care. One that cannot be understood
//! is a problem that quotes nothing of it, and leaves out its whole folder until it is fixed: what was to be left out must
//! not be applied by mistake.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The name of the files that say what to leave out.
pub(super) const IGNORE_FILE: &str = ".truenorthignore";

/// Most bytes of all such files of a folder.
pub(super) const MAX_BYTES: usize = 64 * 1024;
/// Most lines of all of them.
pub(super) const MAX_LINES: usize = 1000;
/// Most wildcards in a line: each may make the line's match take as many times longer, and each level of braces costs
/// stack.
const MAX_WILDCARDS: usize = 16;

/// What a file takes from the bounds for all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) bytes: usize,
    pub(super) lines: usize,
}

impl Size {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len(), lines: bytes.split_inclusive(|byte| *byte == b'\n').count() }
    }

    pub(super) fn and(self, more: Self) -> Self {
        Self { bytes: self.bytes + more.bytes, lines: self.lines + more.lines }
    }

    pub(super) fn fits(self) -> bool {
        self.bytes <= MAX_BYTES && self.lines <= MAX_LINES
    }
}

/// What is wrong with patterns that take too long.
pub(super) const SLOW: &str = "its patterns take too long to compare with the names here: they need fewer wildcards";
/// How long all rules of a look may take before any is found slow, how long those of one file, and how long it may take for
/// each path: some twenty times what ordinary ones do in a build without optimisations. Many patterns with several
/// wildcards each can take a thousand times as long for a name that is made for them; nothing in their text tells.
const ALL_MAY_TAKE: Duration = Duration::from_millis(500);
const ONE_MAY_TAKE: Duration = Duration::from_millis(20);
const MAY_TAKE_A_PATH: Duration = Duration::from_micros(50);

/// What an ignore file leaves out, and how long it took to tell so far. Rules that are slow leave out everything.
pub(super) struct Rules {
    patterns: Gitignore,
    took: Cell<Duration>,
    paths: Cell<u32>,
    slow: Cell<bool>,
    /// What all rules took.
    all: Rc<Cell<Duration>>,
}

impl Rules {
    pub(super) fn new(patterns: Gitignore, all: &Rc<Cell<Duration>>) -> Self {
        Self { patterns, took: Cell::default(), paths: Cell::default(), slow: Cell::default(), all: Rc::clone(all) }
    }

    /// Whether a path is left out; `None` where they say nothing of it.
    pub(super) fn leaves_out(&self, path: &Path, is_folder: bool) -> Option<bool> {
        if self.slow.get() {
            return Some(true);
        }
        let began = processor_time();
        let said = self.patterns.matched(path, is_folder);
        let took = processor_time().saturating_sub(began);
        self.took.set(self.took.get() + took);
        self.all.set(self.all.get() + took);
        self.paths.set(self.paths.get() + 1);
        let is_over = |most: Duration| self.took.get() > most;
        self.slow
            .set(self.all.get() > ALL_MAY_TAKE && is_over(ONE_MAY_TAKE) && is_over(MAY_TAKE_A_PATH * self.paths.get()));
        (!said.is_none()).then(|| said.is_ignore())
    }

    pub(super) fn are_slow(&self) -> bool {
        self.slow.get()
    }
}

/// What this thread used of a processor: a busy machine makes no rules slow.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.try_into().unwrap_or_default()
}

/// The rules of a file in `folder`.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn rules(folder: &Path, bytes: &[u8]) -> Result<Gitignore, String> {
    let Some(text) = text(bytes) else { return Err("it is not UTF-8".to_owned()) };
    // The library takes a folder without a name for one that is not known.
    let mut builder = GitignoreBuilder::new(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    for (line, number) in text.lines().zip(1..) {
        let wildcards = line.bytes().filter(|byte| matches!(byte, b'*' | b'?' | b'[' | b'{')).count();
        if wildcards > MAX_WILDCARDS && !line.starts_with('#') {
            return Err(format!("line {number} has more than {MAX_WILDCARDS} wildcards"));
        }
        if builder.add_line(None, line).is_err() {
            return Err(format!("line {number} is not a valid pattern"));
        }
    }
    builder.build().map_err(|_| "its patterns are too many".to_owned())
}

/// The text of a file, without the byte order mark that some editors put before it.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)).ok()
}
