//! The text of a file: decoding, lines, and the way from a range of bytes to a problem with a place.

use std::cell::OnceCell;
use std::ops::Range;
use std::sync::Arc;

use super::problem::{Excerpt, Problem};
use crate::text::{command, printable_within};

/// Most characters of input that a message or a path repeats.
const SHOWN_CHARS: usize = 80;
/// Most bytes of a line that an excerpt keeps on each side of what is at fault.
const EXCERPT_BYTES: usize = 120;

/// A file's decoded text, without a byte order mark.
pub(crate) struct Source<'t> {
    pub(super) file: &'t Arc<str>,
    pub(super) text: &'t str,
    /// Where each line begins; found when the first problem asks.
    lines: OnceCell<Vec<usize>>,
}

impl<'t> Source<'t> {
    /// Decodes a file.
    ///
    /// # Errors
    /// The problem of a file that is not UTF-8, at its first bad byte.
    pub(crate) fn decode(file: &'t Arc<str>, bytes: &'t [u8]) -> Result<Self, Box<Problem>> {
        let hint = "save the file as UTF-8";
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return Err(Box::new(Problem::of_file(file, "the file is UTF-16, expected UTF-8", hint)));
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self { file, text, lines: OnceCell::new() }),
            Err(error) => {
                let (good, bad) = bytes.split_at(error.valid_up_to());
                let text = std::str::from_utf8(good).unwrap_or_default();
                let source = Source { file, text, lines: OnceCell::new() };
                let byte = bad.first().copied().unwrap_or_default();
                let message = format!("the file is not UTF-8: invalid byte 0x{byte:02x}");
                let mut problem = source.problem(text.len()..text.len(), String::new(), message, hint);
                if let Some(excerpt) = &mut problem.excerpt {
                    excerpt.text.push(char::REPLACEMENT_CHARACTER);
                    excerpt.end = excerpt.text.len();
                }
                Err(Box::new(problem))
            }
        }
    }

    /// A problem about a range of bytes of the text; what goes past the end of its first line is left out.
    pub(crate) fn problem(
        &self,
        range: Range<usize>,
        path: String,
        message: String,
        hint: impl Into<String>,
    ) -> Problem {
        let start = self.text.floor_char_boundary(range.start);
        let end = self.text.ceil_char_boundary(range.end.max(start));
        let (number, line_start) = self.line_of(start);
        let line = self.text[line_start..].split(['\n', '\r']).next().unwrap_or_default();
        let line_end = line_start + line.len();
        let (start, end) = (start.min(line_end), end.min(line_end));
        let column = self.text[line_start..start].chars().count() + 1;
        Problem {
            file: Arc::clone(self.file),
            line: u32::try_from(number).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
            path,
            message,
            hint: Some(hint.into()),
            excerpt: Some(self.excerpt(line_start..line_end, start..end)),
        }
    }

    /// The offset of a line and column, both from 1 and the column in characters, as libyaml counts them.
    pub(super) fn offset_of_chars(&self, line: usize, column: usize) -> usize {
        let start = self.line_start(line);
        let rest = self.text.get(start..).unwrap_or_default();
        start + rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(index, _)| index)
    }

    /// The offset of a line and column, both from 1 and the column in bytes, as serde_json counts them.
    pub(super) fn offset_of_bytes(&self, line: usize, column: usize) -> usize {
        (self.line_start(line) + column.saturating_sub(1)).min(self.text.len())
    }

    /// The number of the line that holds an offset, from 1.
    pub(crate) fn line_number(&self, offset: usize) -> usize {
        self.line_of(offset).0
    }

    /// The indentation of the line that holds an offset.
    pub(super) fn indentation(&self, offset: usize) -> Range<usize> {
        let (_, start) = self.line_of(offset);
        let rest = self.text.get(start..).unwrap_or_default();
        start..start + (rest.len() - rest.trim_start_matches([' ', '\t']).len())
    }

    fn line_start(&self, line: usize) -> usize {
        self.lines().get(line.saturating_sub(1)).copied().unwrap_or(self.text.len())
    }

    fn line_of(&self, offset: usize) -> (usize, usize) {
        let number = self.lines().partition_point(|start| *start <= offset).max(1);
        (number, self.lines().get(number - 1).copied().unwrap_or_default())
    }

    fn lines(&self) -> &[usize] {
        self.lines.get_or_init(|| Lines::new(self.text).map(|(start, _)| start).collect())
    }

    fn excerpt(&self, line: Range<usize>, fault: Range<usize>) -> Excerpt {
        let from = self.text.ceil_char_boundary(line.start.max(fault.start.saturating_sub(EXCERPT_BYTES)));
        let last = fault.end.min(fault.start + EXCERPT_BYTES);
        let to = self.text.floor_char_boundary(line.end.min(last + EXCERPT_BYTES));
        let last = self.text.ceil_char_boundary(last);
        let mut text = String::with_capacity(to - from + 6);
        if from > line.start {
            text.push('…');
        }
        let shift = text.len();
        text.push_str(&self.text[from..to]);
        if to < line.end {
            text.push('…');
        }
        // A caret under nothing would not be drawn: past the end of a line it stands on a blank.
        let (start, mut end) = (shift + fault.start - from, shift + last - from);
        if start == end {
            match text[start..].chars().next() {
                Some(next) => end += next.len_utf8(),
                None => {
                    text.push(' ');
                    end += 1;
                }
            }
        }
        Excerpt { text, start, end }
    }
}

/// The lines of a text as (offset, line without its break). A break is LF, CR LF or CR, in YAML as in JSON. The last
/// line is there even when it is empty, so that every offset has its line.
pub(super) struct Lines<'t> {
    text: &'t str,
    next: Option<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, next: Some(0) }
    }
}

impl<'t> Iterator for Lines<'t> {
    type Item = (usize, &'t str);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.next?;
        let rest = &self.text[start..];
        let Some(length) = rest.bytes().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            self.next = None;
            return Some((start, rest));
        };
        let breaks = if rest[length..].starts_with("\r\n") { 2 } else { 1 };
        self.next = Some(start + length + breaks);
        Some((start, &rest[..length]))
    }
}

/// A text from the input as messages show it: printable, bounded, and without a command that came in between.
pub(super) fn shown(text: &str) -> String {
    let (plain, command) = text.split_at(command::options_begin(text));
    printable_within(&(plain.to_owned() + &command::shown_piece(command)), SHOWN_CHARS).to_string()
}
