//! Makes text that a server sent fit for logs and terminals: without the token, without control characters, bounded.

use super::Token;
use crate::text::is_steering;

/// What stands where a token stood.
const PLACEHOLDER: &str = "[token]";

/// One line of at most `max` bytes, without the token and without characters that steer a terminal or turn the
/// direction of text. Runs of blanks become one; what is cut off is marked with `…`.
pub(super) fn line(text: &str, token: &Token, max: usize) -> String {
    // The token goes first: cut in two, it would no longer be found.
    let mut line = String::with_capacity(text.len().min(max + PLACEHOLDER.len()));
    for c in text.replace(token.expose(), PLACEHOLDER).chars() {
        match harmless(c) {
            ' ' if line.is_empty() || line.ends_with(' ') => {}
            c => line.push(c),
        }
        if line.len() > max {
            break;
        }
    }
    shorten(&mut line, max);
    line.truncate(line.trim_end().len());
    line
}

/// A shorter token cannot be told from a word that is in a text for itself. The provider's are far longer.
const TELLING_TOKEN: usize = 16;

/// The text without the token: a command may hold one, even ours.
pub(super) fn conceal(text: &str, token: &Token) -> String {
    let token = token.expose();
    if token.len() >= TELLING_TOKEN { text.replace(token, PLACEHOLDER) } else { text.to_owned() }
}

/// Whether a text holds the token, or enough of its beginning or end that no other text is likely to.
pub(super) fn holds(text: &str, token: &Token) -> bool {
    // The beginning of a token that is a JWT is that of all others.
    const BEGINNING: usize = 48;
    let token = token.expose();
    let end = token.get(token.len().saturating_sub(TELLING_TOKEN)..).unwrap_or(token);
    let beginning = token.get(..BEGINNING).unwrap_or(token);
    token.len() >= TELLING_TOKEN && (text.contains(end) || text.contains(beginning))
}

/// Cuts a text to at most `max` bytes, `…` included.
fn shorten(text: &mut String, max: usize) {
    const MARK: char = '…';
    if text.len() > max {
        while text.len() > max.saturating_sub(MARK.len_utf8()) {
            text.pop();
        }
        text.push(MARK);
    }
}

/// A character is replaced, never left out: leaving one out could put a token together that was not there before.
fn harmless(c: char) -> char {
    match c {
        c if c.is_whitespace() => ' ',
        c if is_steering(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_token_spoils_no_text_that_happens_to_hold_it() {
        let concealed = |token: &str| conceal("nginx:1.27 --key 0123456789abcdef", &Token::new(token).unwrap());
        assert_eq!(concealed("x"), "nginx:1.27 --key 0123456789abcdef");
        assert_eq!(concealed("0123456789abcdef"), "nginx:1.27 --key [token]");
    }

    fn scrubbed(text: &str, max: usize) -> String {
        line(text, &Token::new("nf-hunter2").expect("valid"), max)
    }

    #[test]
    fn a_token_is_replaced_wherever_a_cut_would_fall() {
        assert_eq!(scrubbed("got 'Bearer nf-hunter2', nf-hunter2", 100), "got 'Bearer [token]', [token]");
        for max in 3..40 {
            let line = scrubbed("got 'Bearer nf-hunter2', nf-hunter2", max);
            assert!(!line.contains("nf-") && line.len() <= max, "{line:?}");
        }
    }

    #[test]
    fn nothing_steers_a_terminal() {
        assert_eq!(scrubbed(" a\x1b[31m\r\n\tb\u{202e}c\u{0} ", 100), "a\u{fffd}[31m b\u{fffd}c\u{fffd}");
        assert_eq!(scrubbed("äöü", 5), "ä…");
    }
}
