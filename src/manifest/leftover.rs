//! What tools and copying leave behind in a file: merge conflicts, pointers of git LFS, templates that nobody rendered,
//! blanks that are not blanks. Told by what it is, once a file, rather than by what a reader of YAML makes of it.

use std::ops::Range;

use crate::text::{command::is_command, is_invisible, named};

use super::documents::Document;
use super::problem::Problem;
use super::syntax::UNCLEAR;
use super::text::{Lines, Source, shown};

/// How the pointer begins that git LFS leaves in place of a file.
const LFS_POINTER: &str = "version https://git-lfs.github.com/spec/";

/// A file that is not what its author meant to commit, whatever else can be read in it.
pub(super) fn of_file(source: &Source<'_>) -> Option<Problem> {
    let problem =
        |at: Range<usize>, message: &str, hint: &str| Some(source.problem(at, String::new(), message.to_owned(), hint));
    if source.text.starts_with(LFS_POINTER) {
        let hint = "run `git lfs pull` in the checkout, or keep manifests out of git LFS";
        return problem(0..LFS_POINTER.len(), "this is a git LFS pointer, not the file itself", hint);
    }
    let sides = ["<<<<<<< ", ">>>>>>> "];
    if sides.iter().any(|side| source.text.contains(side))
        && let Some(at) = line_that(source.text, |line| sides.iter().any(|side| line.starts_with(side)))
    {
        return problem(at, CONFLICT, CONFLICT_HINT);
    }
    None
}

/// Up to where a line is one that a tool left behind, which holds nothing of anybody's.
pub(super) fn plain_until(line: &str) -> Option<usize> {
    const MARKERS: [&str; 4] = ["<<<<<<< ", ">>>>>>> ", "||||||| ", "======="];
    if let Some(marker) = MARKERS.iter().find(|marker| line.starts_with(**marker)) {
        return Some(marker.len());
    }
    let version = line.strip_prefix(LFS_POINTER)?;
    let is_version = version.len() <= 4 && version.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_version.then_some(line.len())
}

const CONFLICT: &str = "this is an unresolved merge conflict";
const CONFLICT_HINT: &str = "resolve it and commit the result; `git diff --check` lists conflict markers";

/// The first line for which something holds.
fn line_that(text: &str, holds: impl Fn(&str) -> bool) -> Option<Range<usize>> {
    Lines::new(text).find(|(_, line)| holds(line)).map(|(start, line)| start..start + line.len())
}

/// What was told of a file already.
#[derive(Default)]
pub(super) struct Told {
    conflict: bool,
    template: bool,
    blank: bool,
}

impl Told {
    /// Says of a document's problems what is behind them, where that is something left over.
    pub(super) fn explain(&mut self, source: &Source<'_>, document: &Document<'_>, problems: &mut Vec<Problem>) {
        if problems.is_empty() {
            return;
        }
        let problem = |at: Range<usize>, message: String, hint: &str| source.problem(at, String::new(), message, hint);
        // Half of a conflict, whose other markers were removed.
        if let Some(at) = line_that(document.text, |line| line == "=======" || line.starts_with("||||||| ")) {
            let at = document.offset + at.start..document.offset + at.end;
            problems.clear();
            problems.extend(once(&mut self.conflict).then(|| problem(at, CONFLICT.to_owned(), CONFLICT_HINT)));
            return;
        }
        if let Some((at, c)) = odd_blank(document.text) {
            let at = document.offset + at;
            let message = format!("{} stands where YAML needs an ordinary blank", named(c));
            let hint = "replace it with an ordinary blank, here and wherever else it is in the file";
            problems.clear();
            problems.extend(once(&mut self.blank).then(|| problem(at..at + c.len_utf8(), message, hint)));
            return;
        }
        if let Some((at, what)) =
            tag_of_template(document.text).filter(|_| problems.iter().any(|one| one.path.is_empty()))
        {
            let at = document.offset + at;
            problems.clear();
            problems.extend(once(&mut self.template).then(|| {
                let template = Template::Tag(what);
                problem(at..at + what.len(), format!("this is {}", template.kind()), template.hint())
            }));
            return;
        }
        problems.retain_mut(|problem| {
            let Some(template) = problem.fault().and_then(Template::in_value) else { return true };
            // What stands in a command is nothing for a message.
            let what = if is_command(&problem.path) { "this" } else { &template.shown() };
            let message = format!("{what} is {}", template.kind());
            (problem.message, problem.hint) = (message, Some(template.hint().to_owned()));
            once(&mut self.template)
        });
    }
}

/// Whether this is the first time.
fn once(told: &mut bool) -> bool {
    !std::mem::replace(told, true)
}

/// Something that was to be replaced before anybody reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Template<'t> {
    /// `{{ .Values.tag }}`, `{% if %}`, `<%= tag %>`.
    Tag(&'t str),
    /// `${TAG}`, `$(TAG)`, `$TAG`.
    Variable(&'t str),
}

impl<'t> Template<'t> {
    /// The first one in a value that no shell will see.
    pub(super) fn in_value(text: &'t str) -> Option<Self> {
        Self::in_command(text).or_else(|| {
            let at = text.find('$')?;
            let rest = &text[at..];
            let end = match rest.as_bytes().get(1)? {
                b'{' => rest.find('}')? + 1,
                b'(' => rest.find(')')? + 1,
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => rest
                    .bytes()
                    .skip(1)
                    .position(|byte| !(byte.is_ascii_alphanumeric() || byte == b'_'))
                    .map_or(rest.len(), |end| end + 1),
                _ => return None,
            };
            Some(Self::Variable(&rest[..end]))
        })
    }

    /// The first one in a command, where a shell fills in variables by itself.
    pub(super) fn in_command(text: &'t str) -> Option<Self> {
        let tags = [("{{", "}}"), ("{%", "%}"), ("<%", "%>")];
        tags.into_iter().find_map(|(open, close)| {
            let rest = &text[text.find(open)?..];
            Some(Self::Tag(&rest[..rest.find(close)? + close.len()]))
        })
    }

    /// Its text.
    fn shown(self) -> String {
        let (Self::Tag(text) | Self::Variable(text)) = self;
        format!("`{}`", shown(text))
    }

    /// What it is.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Tag(_) => "a template that was not rendered",
            Self::Variable(_) => "a variable that was not replaced",
        }
    }

    /// What to do about it.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Tag(_) => "render the template, and give truenorth what comes out",
            Self::Variable(_) => "replace variables before truenorth reads the file, with envsubst for instance",
        }
    }
}

/// A template's tag that stands outside of quotes, where a reader of YAML stumbles over it: at the beginning of a line or
/// of a value.
fn tag_of_template(text: &str) -> Option<(usize, &str)> {
    Lines::new(text).find_map(|(start, line)| {
        let content = line.trim_start_matches([' ', '-']);
        let value = match content.split_once(": ") {
            Some((_, value)) if !content.starts_with(['{', '<', '#']) => value.trim_start(),
            _ => content,
        };
        if !["{{", "{%", "<%"].iter().any(|open| value.starts_with(open)) {
            return None;
        }
        let Some(Template::Tag(tag)) = Template::in_command(value) else { return None };
        Some((start + line.len() - value.len(), tag))
    })
}

/// The first character that looks like a blank of YAML's structure and is none: in the indentation, beside a colon or dash,
/// or at a line's end.
fn odd_blank(text: &str) -> Option<(usize, char)> {
    if text.is_ascii() {
        return None;
    }
    Lines::new(text).find_map(|(start, line)| odd_blank_in(line).map(|(at, c)| (start + at, c)))
}

/// The same of one line, which may be long.
fn odd_blank_in(line: &str) -> Option<(usize, char)> {
    let is_blank = |c: char| c.is_whitespace() || is_odd(c);
    let end = line.trim_end_matches(is_blank).len();
    // The last character that is not a blank; none within the indentation.
    let mut last = None;
    for (at, c) in line.char_indices() {
        let beside = matches!(last, None | Some(':' | '-')) || at >= end || line[at + c.len_utf8()..].starts_with(':');
        match c {
            '#' if last.is_none() => return None,
            c if is_odd(c) && beside && !UNCLEAR.contains(&c) => return Some((at, c)),
            c if is_blank(c) => {}
            c => last = Some(c),
        }
    }
    None
}

/// Whether a character takes the room of a blank, or none, and a shell or a reader of YAML takes it for a letter. What
/// emojis are joined with is not meant.
pub(super) fn is_odd(c: char) -> bool {
    !c.is_ascii()
        && (c.is_whitespace() || is_invisible(c))
        && !matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_told_from_shells() {
        for (text, template) in [
            ("ghcr.io/web:{{ .Values.tag }}", Some(Template::Tag("{{ .Values.tag }}"))),
            ("{% raw %}x", Some(Template::Tag("{% raw %}"))),
            ("web:${TAG:-1}", Some(Template::Variable("${TAG:-1}"))),
            ("web:$TAG-x", Some(Template::Variable("$TAG"))),
            ("$(TAG)", Some(Template::Variable("$(TAG)"))),
            ("web:$1 {{ }", None),
            ("a$", None),
        ] {
            assert_eq!(Template::in_value(text), template, "{text}");
        }
        assert_eq!(Template::in_command("serve --port ${PORT}"), None);
    }

    #[test]
    fn a_tag_in_quotes_or_in_the_middle_of_a_value_stops_no_reader() {
        for text in ["a: '{{ b }}'", "a: b{{ c }}", "# {{ a }}", "a: {b: c}"] {
            assert_eq!(tag_of_template(text), None, "{text}");
        }
        assert_eq!(tag_of_template("a: b\n  c: {{ d }}\n"), Some((10, "{{ d }}")));
        assert_eq!(tag_of_template("{{- if .x }}\n"), Some((0, "{{- if .x }}")));
    }

    #[test]
    fn an_odd_blank_counts_where_yaml_needs_a_blank() {
        for text in ["a:\u{a0}b", "\u{a0}a: b", "a\u{200b}: b", "a: b\u{a0}", "a: b\n  \u{3000}c: d", "-\u{a0}a"] {
            assert!(odd_blank(text).is_some(), "{text:?}");
        }
        for text in ["a: b\u{a0}c", "# \u{a0}", "a: b", "a: '\u{1f468}\u{200d}\u{1f469}'"] {
            assert_eq!(odd_blank(text), None, "{text:?}");
        }
    }
}
