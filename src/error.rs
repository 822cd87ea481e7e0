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
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}
