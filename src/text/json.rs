//! JSON that may be shown: what a terminal or a CI system would act on stands as `\u…`, which every reader of JSON
//! takes for the same text.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use super::printable::is_steering;

/// Writes a value in one line, without a line break.
///
/// # Errors
/// Writing fails, or the value has no form in JSON.
pub fn write(out: impl Write, value: &impl Serialize) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, Shown))
}

/// The same in memory.
///
/// # Errors
/// The value has no form in JSON.
pub fn to_vec(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut json = Vec::new();
    write(&mut json, value)?;
    Ok(json)
}

struct Shown;

impl Formatter for Shown {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        CompactFormatter.write_string_fragment(out, &escaped(fragment))
    }
}

/// JSON text whose strings are escaped so. Outside of a string none of these characters can stand.
pub fn escaped(json: &str) -> std::borrow::Cow<'_, str> {
    let acted_on = |at: usize, c: char| {
        (is_steering(c) && c != '\n')
            || (c == '#' && json[at..].starts_with("##"))
            || (c == ':' && marks_section(&json[..at]))
    };
    if !json.char_indices().any(|(at, c)| acted_on(at, c)) {
        return json.into();
    }
    let mut text = String::with_capacity(json.len() + 16);
    for (at, c) in json.char_indices() {
        if acted_on(at, c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            text.push(c);
        }
    }
    text.into()
}

/// A name of a field is followed by its closing quote, so such a colon stands within a string.
fn marks_section(before: &str) -> bool {
    before.ends_with("section_start") || before.ends_with("section_end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_it_was_and_steers_nothing() {
        for text in
            ["größe", "\u{9b}31m\x1b[1m\r\n\u{7f}", "\u{202e}x\u{e0041}", "##[error]###x", "section_start:1:a\\"]
        {
            let json = String::from_utf8(to_vec(&[text]).expect("is JSON")).expect("is UTF-8");
            assert_eq!(serde_json::from_str::<[String; 1]>(&json).expect("is JSON")[0], text);
            assert!(!json.contains(is_steering) && !json.contains("##") && !json.contains("section_start:"), "{json}");
        }
        assert_eq!(to_vec(&["größe"]).expect("is JSON"), "[\"größe\"]".as_bytes());
    }
}
