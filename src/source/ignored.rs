//! What a `.truenorthignore` file leaves out: gitignore syntax.
//!
//! These files come from the folder like all others, so they are read with the same care. One that cannot be understood
//! is a problem that quotes nothing of it, and leaves out its whole folder until it is fixed: what was to be left out must
//! not be applied by mistake.

use std::path::Path;

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
