//! Cutting a YAML stream into its documents.
//!
//! A line that begins with `---` or `...` always ends a document, even inside a block scalar; so the lines alone tell
//! where documents are, and a document that cannot be read does not hide those after it.

use super::text::Lines;

/// One document of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Document<'t> {
    /// Its text, with its directives, its `---` and its comments.
    pub(super) text: &'t str,
    /// Where that begins in the file.
    pub(super) offset: usize,
    /// The line of its first content, from 1.
    pub(super) line: u32,
    /// How many directives stand before it.
    pub(super) directives: usize,
}

/// The document that is being read.
struct Open {
    offset: usize,
    /// Its `---` was seen.
    marked: bool,
    first_line: Option<u32>,
    directives: usize,
}

impl Open {
    fn at(offset: usize) -> Self {
        Self { offset, marked: false, first_line: None, directives: 0 }
    }

    /// The finished document; nothing where there is no content.
    fn close(self, text: &str, end: usize) -> Option<Document<'_>> {
        let line = self.first_line?;
        Some(Document { text: &text[self.offset..end], offset: self.offset, line, directives: self.directives })
    }
}

/// The documents of a stream that have content.
pub(super) fn split(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let mut open = Open::at(0);
    for ((start, line), number) in Lines::new(text).zip(1_u32..) {
        if let Some(rest) = marker(line, "---") {
            if open.marked || open.first_line.is_some() {
                documents.extend(std::mem::replace(&mut open, Open::at(start)).close(text, start));
            }
            open.marked = true;
            if has_content(rest) {
                open.first_line = Some(number);
            }
        } else if let Some(rest) = marker(line, "...") {
            if has_content(rest) && open.first_line.is_none() {
                open.first_line = Some(number);
            }
            let end = start + line.len();
            documents.extend(std::mem::replace(&mut open, Open::at(end)).close(text, end));
        } else if open.first_line.is_none() && has_content(line) {
            if line.starts_with('%') && !open.marked {
                open.directives += 1;
            } else {
                open.first_line = Some(number);
            }
        }
    }
    documents.extend(open.close(text, text.len()));
    documents
}

/// What follows a marker on its line.
fn marker<'l>(line: &'l str, marker: &str) -> Option<&'l str> {
    line.strip_prefix(marker).filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}

fn has_content(line: &str) -> bool {
    let content = line.trim_start_matches([' ', '\t']);
    !content.is_empty() && !content.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<u32> {
        split(text).iter().map(|document| document.line).collect()
    }

    #[test]
    fn a_document_stands_at_its_first_content() {
        assert_eq!(lines("a: b\n"), [1]);
        assert_eq!(lines("# c\n\n%YAML 1.2\n---\n\n  # c\na: b\n"), [7]);
        assert_eq!(lines("--- {a: b}\n---\nc: d\n--- # c\r\ne: f"), [1, 3, 5]);
        assert_eq!(lines("a: |\n  x\n---\nb: c\n...\n# c\n---\rd: e\r"), [1, 4, 8]);
    }

    #[test]
    fn documents_without_content_are_left_out() {
        for text in ["", "\n \n", "# c", "---", "---\n---\n# c\n...\n...\n", "%YAML 1.2\n---\n"] {
            assert_eq!(lines(text), [0; 0], "{text:?}");
        }
        assert_eq!(lines("---\n---\na: b\n---\n"), [3]);
    }

    #[test]
    fn what_only_looks_like_a_marker_ends_nothing() {
        assert_eq!(lines("a: b\n---x: y\n ---\n....\n"), [1]);
    }

    #[test]
    fn the_documents_together_are_the_text_that_has_content() {
        let text = "a: b\n---\nc: d\n...\n# c\n---\ne: f\n";
        let parts: Vec<_> = split(text).iter().map(|document| document.text).collect();
        assert_eq!(parts, ["a: b\n", "---\nc: d\n...", "\n# c\n---\ne: f\n"]);
        assert!(split(text).iter().all(|document| text[document.offset..].starts_with(document.text)));
    }
}
