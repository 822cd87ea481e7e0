//! What is shown of a command: `customCommand`, `customEntrypoint`, `customProcess`.
//!
//! People write passwords into commands in more ways than a list of patterns can hold. So nothing is guessed about which
//! words are secret: a word is shown only where it is plainly harmless, and [`HIDDEN`] stands for every other one. Two
//! commands beside each other tell with [`CHANGED`] which of their hidden words differ.
//!
//! Harmless are: a program and plain words up to the first option; an option's name; a path of plain names; a short
//! number; an IP address; a name in capitals that a shell replaces (`$PORT`); a word out of a list of those that every
//! command line has (`start`, `true`, `info`). Behind a word that speaks of secrets nothing is shown until the command
//! ends.

mod words;

use similar::{ChangeTag, TextDiff};

use words::{Word, words, words_of_piece};

/// What stands for a word that is not shown.
pub const HIDDEN: &str = "[hidden]";
/// The same for one that is other than before.
pub const CHANGED: &str = "[changed]";

/// Whether commands are shown as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Commands {
    /// Only their harmless words.
    #[default]
    Hidden,
    /// Whole, because somebody asked for that.
    Shown,
}

/// Whether a field of an update holds a command.
#[must_use]
pub fn is_command(path: &str) -> bool {
    matches!(path.rsplit('.').next(), Some("customCommand" | "customEntrypoint" | "customProcess"))
}

/// A command as it may be shown.
#[must_use]
pub fn shown(command: &str) -> String {
    let shown: Vec<String> = words(command).iter().map(|word| word.shown(HIDDEN)).collect();
    shown.join(" ")
}

/// The same of a piece of one, whose beginning may have been anything.
#[must_use]
pub fn shown_piece(piece: &str) -> String {
    let shown: Vec<String> = words_of_piece(piece).iter().map(|word| word.shown(HIDDEN)).collect();
    shown.join(" ")
}

/// Where a text that should be no command reads like one: at the word before its first option, else at its end.
#[must_use]
pub fn options_begin(text: &str) -> usize {
    let begins = |(at, _): &(usize, &str)| {
        let (before, dash) = text.split_at(*at);
        before.ends_with(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '='))
            && dash[1..].starts_with(|c: char| c == '-' || c.is_alphabetic())
    };
    let option = text.match_indices('-').find(begins);
    option.map_or(text.len(), |(at, _)| text[..at].trim_end().rfind(' ').map_or(0, |blank| blank + 1))
}

/// What a command was and what it is now, as both may be shown.
#[must_use]
pub fn change(from: &str, to: &str) -> (String, String) {
    let (old, new) = (words(from), words(to));
    let old_texts: Vec<&str> = old.iter().map(|word| &*word.text).collect();
    let new_texts: Vec<&str> = new.iter().map(|word| &*word.text).collect();
    let (mut before, mut after): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for step in TextDiff::from_slices(&old_texts, &new_texts).iter_all_changes() {
        let word = |words: &[Word], index: Option<usize>, stand_in| Some(words.get(index?)?.shown(stand_in));
        let stand_in = if step.tag() == ChangeTag::Equal { HIDDEN } else { CHANGED };
        before.extend(word(&old, step.old_index(), HIDDEN));
        after.extend(word(&new, step.new_index(), stand_in));
    }
    let (before, mut after) = (before.join(" "), after.join(" "));
    if before == after && from != to {
        after.push_str(" (other blanks)");
    }
    (before, after)
}

/// A text of somebody else, such as an answer of the API, without the words of a command that are not shown.
#[must_use]
pub fn concealed(text: &str, command: &str) -> String {
    let hidden: Vec<String> = words(command).into_iter().filter_map(Word::hidden).collect();
    let mut parts: Vec<&str> = hidden.iter().flat_map(|word| telling_parts(word)).collect();
    parts.sort_unstable_by_key(|part| std::cmp::Reverse(part.len()));
    parts.dedup();
    // A word that was cut off would not be found.
    let whole = match text.strip_suffix('…') {
        Some(cut) if !parts.is_empty() => format!("{}…", cut.trim_end_matches(char::is_alphanumeric)),
        _ => text.to_owned(),
    };
    parts.into_iter().fold(whole, |text, part| text.replace(part, HIDDEN))
}

/// Fewer characters are found in many a word, and tell nothing.
const TELLING: usize = 4;

/// What of a word would be found again, however it was quoted or escaped on its way.
fn telling_parts(word: &str) -> impl Iterator<Item = &str> {
    word.split(|c: char| !c.is_alphanumeric()).filter(|part| part.chars().count() >= TELLING && !HIDDEN.contains(part))
}

#[cfg(test)]
mod tests;
