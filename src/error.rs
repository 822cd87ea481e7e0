//! How an error is shown: its own words, then those of its causes.

use std::error::Error;

/// An error and its causes in one line: `cannot open `x`: permission denied`. A cause that says what was said already
/// is left out.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !says(&text, &words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

/// Whether these words were said. SQLite's come twice, once behind their number: `Error code 14: …`.
fn says(text: &str, words: &str) -> bool {
    let numbered = words.strip_prefix("Error code ").and_then(|numbered| numbered.split_once(": "));
    match numbered {
        Some((_, words)) => text.to_ascii_lowercase().contains(&words.to_ascii_lowercase()),
        None => text.ends_with(words),
    }
}
