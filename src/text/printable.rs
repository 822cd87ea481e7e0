//! Text from outside that may be shown: it cannot begin a line, steer a terminal, turn or hide what stands beside it,
//! or give a command to a CI system that reads logs.

use std::fmt;

/// A text that may be shown. [`printable()`] alone makes it of what came from outside; a literal is ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Printable(String);

impl Printable {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing to see.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Printable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&'static str> for Printable {
    fn from(literal: &'static str) -> Self {
        Self(literal.to_owned())
    }
}

/// The text with everything escaped that does something else than being seen. Done twice, it changes nothing more.
#[must_use]
pub fn printable(text: &str) -> Printable {
    escaped(text, is_steering, []).0
}

/// The same with tabs as they are, for whoever widens them; and where two places of the text then stand.
#[must_use]
pub fn printable_with_tabs(text: &str, places: [usize; 2]) -> (Printable, [usize; 2]) {
    escaped(text, |c| c != '\t' && is_steering(c), places)
}

fn escaped<const N: usize>(text: &str, steers: fn(char) -> bool, places: [usize; N]) -> (Printable, [usize; N]) {
    let mut shown = String::with_capacity(text.len());
    let mut moved = [0; N];
    let mut note = |at: usize, shown: &String| {
        for (place, moved) in places.iter().zip(&mut moved) {
            if *place >= at {
                *moved = shown.len();
            }
        }
    };
    for (at, c) in text.char_indices() {
        note(at, &shown);
        if steers(c) {
            shown.extend(c.escape_default());
        } else if begins_command(&text[..at], &text[at..]) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    note(text.len(), &shown);
    (Printable(shown), moved)
}

/// The same of at most so many characters; `…` marks what was cut off.
#[must_use]
pub fn printable_within(text: &str, chars: usize) -> Printable {
    match text.char_indices().nth(chars) {
        None => printable(text),
        Some((end, _)) => printable(&format!("{}…", &text[..end])),
    }
}

/// Whether a character moves the cursor, breaks the line, turns the direction of text, or is not seen. A variation
/// selector only says how the character before it looks.
#[must_use]
pub fn is_steering(c: char) -> bool {
    c.is_control() || (is_invisible(c) && !matches!(c, '\u{fe00}'..='\u{fe0f}'))
}

/// Whether a character takes no room, or turns the direction of what stands beside it.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Whether a CI system would read a command in a log at this character. GitHub's runner takes `::name` where a line
/// begins, blanks aside, and `##[name]` anywhere; Azure's `##vso[` and TeamCity's `##teamcity[` are of that kind;
/// GitLab folds what stands between `section_start:` and `section_end:`. A word may come to stand first in a line where
/// lines are wrapped.
fn begins_command(before: &str, rest: &str) -> bool {
    if let Some(name) = rest.strip_prefix("::") {
        return before.chars().next_back().is_none_or(char::is_whitespace)
            && name.starts_with(|c: char| c.is_ascii_alphabetic());
    }
    if let Some(name) = rest.strip_prefix("##") {
        return name.trim_start_matches(|c: char| c.is_ascii_alphabetic()).starts_with('[');
    }
    rest.starts_with(':') && (before.ends_with("section_start") || before.ends_with("section_end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shows(text: &str, shown: &str) {
        assert_eq!(printable(text).as_str(), shown);
        assert_eq!(printable(shown).as_str(), shown, "done twice, it changes again");
    }

    #[test]
    fn what_can_be_seen_stays_as_it_is() {
        for text in ["", "nginx:1.27", "größe 東京 ⚠️ é", "std::fs", "[::]:9095", "::1", "a ## b", "#[derive]"]
        {
            shows(text, text);
        }
    }

    #[test]
    fn nothing_moves_turns_or_hides() {
        shows("a\nb\r\n\tc", r"a\nb\r\n\tc");
        shows("\x1b[31m\u{9b}31m\u{7f}", r"\u{1b}[31m\u{9b}31m\u{7f}");
        shows("\u{202e}\u{61c}\u{200b}\u{2028}\u{feff}\u{ad}", r"\u{202e}\u{61c}\u{200b}\u{2028}\u{feff}\u{ad}");
        shows("\u{e0041}\u{3164}", r"\u{e0041}\u{3164}");
    }

    #[test]
    fn no_command_of_a_ci_system_is_left() {
        shows("::error file=a::b", r"\u{3a}:error file=a::b");
        shows("a  ::set-output", r"a  \u{3a}:set-output");
        shows("x##[error]y ##vso[task] ##teamcity[a", r"x\u{23}#[error]y \u{23}#vso[task] \u{23}#teamcity[a");
        shows("###[group]", r"#\u{23}#[group]");
        shows("section_start:1:a section_end:1:a", r"section_start\u{3a}1:a section_end\u{3a}1:a");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(printable_within("äöü", 3).as_str(), "äöü");
        assert_eq!(printable_within("äöü", 2).as_str(), "äö…");
        assert_eq!(printable_within("\n\n\n", 1).as_str(), r"\n…");
    }
}
