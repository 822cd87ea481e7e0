//! What people know a commit by.

use serde::Serialize;

/// The first line of a commit's message, and who wrote the commit. Whoever may commit chooses both: they are shown and
/// never decide anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Headline {
    /// At most [`Headline::MAX_CHARS`] characters.
    pub subject: Box<str>,
    /// A name, without its address; at most as many.
    pub author: Box<str>,
}

impl Headline {
    /// The longest subject or name that is kept.
    pub const MAX_CHARS: usize = 200;

    /// From a commit's message and the author's name, as git has them.
    #[must_use]
    pub fn new(message: &[u8], author: &[u8]) -> Self {
        let subject = message.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).find(|line| !line.is_empty());
        Self { subject: start(subject.unwrap_or_default()), author: start(author.trim_ascii()) }
    }
}

fn start(bytes: &[u8]) -> Box<str> {
    // No character has more than four bytes: what is beyond is not looked at.
    let bytes = bytes.get(..4 * Headline::MAX_CHARS).unwrap_or(bytes);
    String::from_utf8_lossy(bytes).chars().take(Headline::MAX_CHARS).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_headline_is_the_first_line_that_says_something_and_has_a_bound() {
        let headline = Headline::new(b"\n  Raise web \n\nBecause.\n", b" Ada Lovelace ");
        assert_eq!((&*headline.subject, &*headline.author), ("Raise web", "Ada Lovelace"));
        let long = Headline::new("ä".repeat(1_000_000).as_bytes(), &[0xff; 1000]);
        assert_eq!(long.subject.chars().count(), Headline::MAX_CHARS);
        assert_eq!(long.author.chars().count(), Headline::MAX_CHARS);
        assert_eq!(&*Headline::new(b"", b"").subject, "");
    }
}
