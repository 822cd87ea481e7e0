//! Long lines on a terminal: broken at blanks, and going on below what they say rather than below their label.

use unicode_width::UnicodeWidthChar as _;

/// What a sentence may begin with, and goes on behind.
const LABELS: [&str; 5] = ["hint: ", "tip: ", "note: ", "warning: ", "error: "];

/// How far to the right the second column of a line may begin for its other lines to begin there.
const FARTHEST: usize = 40;

/// How many columns a text takes; sequences that colour it take none.
#[must_use]
pub fn measured(text: &str) -> usize {
    visible(text).map(width_of).sum()
}

/// How many columns a character takes. A variation selector makes some characters before it as wide as two; it is
/// counted for any.
#[must_use]
pub fn width_of(c: char) -> usize {
    if c == '\u{fe0f}' { 1 } else { c.width().unwrap_or(0) }
}

/// The characters of a text without the sequences that colour it.
fn visible(text: &str) -> impl Iterator<Item = char> {
    let mut coloured = false;
    text.chars().filter(move |c| match c {
        '\u{1b}' => {
            coloured = true;
            false
        }
        'm' if coloured => {
            coloured = false;
            false
        }
        _ => !coloured,
    })
}

/// A text of several lines, each on as many of at most `width` columns as it takes.
#[must_use]
pub fn folded(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    let mut folded = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        match measured(line) > width {
            true => fold(&mut folded, line, 0, hang(line, width), width),
            false => folded.push_str(line),
        }
    }
    folded
}

/// A text that begins at a column, and goes on there.
#[must_use]
pub fn folded_at(text: &str, column: usize, width: Option<usize>) -> String {
    let mut folded = String::with_capacity(text.len());
    match width.filter(|width| *width > column) {
        Some(width) => fold(&mut folded, text, column, column, width),
        None => folded.push_str(text),
    }
    folded
}

/// The column at which a line goes on: behind its label, or where its second column begins.
fn hang(line: &str, width: usize) -> usize {
    let line: String = visible(line).collect();
    let content = line.trim_start_matches(' ');
    let indent = line.len() - content.len();
    let label = LABELS.iter().find(|label| content.starts_with(**label)).map(|label| label.len());
    let column = label.or_else(|| {
        let gap = content.find("  ").filter(|gap| indent + gap <= FARTHEST)?;
        let rest = content[gap..].trim_start_matches(' ');
        Some(measured(&content[..content.len() - rest.len()]))
    });
    let hang = column.map_or(indent + 2, |column| indent + column);
    if hang <= width / 2 { hang } else { (indent + 2).min(width / 2) }
}

/// Breaks a line that begins at one column and goes on at another.
fn fold(folded: &mut String, line: &str, begins: usize, hang: usize, width: usize) {
    let mut used = begins;
    let mut blanks = 0;
    for word in words(line, width.saturating_sub(hang)) {
        let length = measured(word);
        if used + blanks + length > width && used > hang {
            folded.push('\n');
            folded.extend(std::iter::repeat_n(' ', hang));
            used = hang;
        } else {
            folded.extend(std::iter::repeat_n(' ', blanks));
            used += blanks;
        }
        folded.push_str(word);
        used += length;
        // Indentation is not a blank between words.
        blanks = 1;
    }
}

/// The parts between single blanks; more blanks than one give empty ones. What stands in backticks is copied from there,
/// and stays whole where a line has room for it.
fn words(line: &str, room: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let mut end = rest.find(' ').unwrap_or(rest.len());
        if rest[..end].matches('`').count() % 2 == 1
            && let Some(closing) = rest[end..].find('`')
        {
            let whole = end + closing + rest[end + closing..].find(' ').unwrap_or(rest.len() - end - closing);
            if measured(&rest[..whole]) <= room {
                end = whole;
            }
        }
        words.push(&rest[..end]);
        match rest.get(end + 1..) {
            Some(next) => rest = next,
            None => return words,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_goes_on_behind_its_label() {
        let fold = |text| folded(text, Some(24));
        assert_eq!(fold("error: one two three four\n"), "error: one two three\n       four\n");
        assert_eq!(fold("  hint: one two three four\nnext"), "  hint: one two three\n        four\nnext");
        assert_eq!(fold("  next   one two three four"), "  next   one two three\n         four");
        assert_eq!(fold("    one two three four five"), "    one two three four\n      five");
        assert_eq!(
            fold("\u{1b}[1merror:\u{1b}[0m one two three four"),
            "\u{1b}[1merror:\u{1b}[0m one two three\n       four"
        );
        assert_eq!(fold("short\n\nlines\n"), "short\n\nlines\n");
        assert_eq!(folded("error: one two three four", None), "error: one two three four");
    }

    #[test]
    fn a_text_that_begins_at_a_column_goes_on_there() {
        assert_eq!(folded_at("one two three", 4, None), "one two three");
        assert_eq!(folded_at("one two three", 4, Some(11)), "one two\n    three");
        assert_eq!(folded_at("one  two", 2, Some(80)), "one  two");
        assert_eq!(folded_at("unbreakable a", 1, Some(6)), "unbreakable\n a");
        assert_eq!(folded_at("one two", 9, Some(5)), "one two");
    }

    #[test]
    fn a_command_stays_whole_where_a_line_has_room_for_it() {
        let fold = |width| folded("hint: see `truenorth plan`, or ask", Some(width));
        assert_eq!(fold(24), "hint: see\n      `truenorth plan`,\n      or ask");
        assert_eq!(fold(20), "hint: see `truenorth\n      plan`, or ask");
        assert_eq!(folded("it is `not closed by anything", Some(14)), "it is `not\n  closed by\n  anything");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_only_a_word_that_has_no_room_is_over_the_edge(
            text in "([a-z`:é日]{0,9}| |  |hint: |\n){0,30}", width in 1_usize..40,
        ) {
            let folded = folded(&text, Some(width));
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(letters(&folded), letters(&text));
            let longest = text.split(['\n', ' ']).map(measured).max().unwrap_or_default();
            for line in folded.lines() {
                // One word has to stand on a line, behind what that begins with.
                let most = width.max(width / 2 + 1 + longest);
                prop_assert!(measured(line.trim_end()) <= most, "{width}: {line:?}");
            }
        }
    }
}
