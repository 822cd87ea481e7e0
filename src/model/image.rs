//! Image references: which image runs, by the grammar that registries and container tools share
//! (<https://github.com/distribution/reference>), within what the contract of the API takes.
//!
//! The contract's own pattern takes nearly any text with a colon in it. What it takes beyond the grammar (a port and no
//! tag, half a digest, `docker://`) no registry serves; it is refused here, with the reason.

use serde::Serialize;
use thiserror::Error;

use crate::text::named;

/// A label of a host's name.
macro_rules! label {
    () => {
        "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    };
}
/// A host with a dot.
macro_rules! dotted {
    () => {
        concat!(label!(), r"(?:\.", label!(), ")+")
    };
}
/// What follows a host.
macro_rules! parts {
    () => {
        concat!(part!(), "(?:/", part!(), ")*")
    };
}
/// A part of a repository.
macro_rules! part {
    () => {
        r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
    };
}
/// A repository without a host: its first part has no dot, unless it is the only one.
macro_rules! hostless {
    () => {
        concat!("(?:", part!(), "|[a-z0-9]+(?:(?:_|__|-+)[a-z0-9]+)*/", parts!(), ")")
    };
}

/// Image to deploy; outside Docker Hub with the registry's host. Names a tag or a digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ImagePath(Box<str>);

/// Which version of an image is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version<'a> {
    /// A name that its owner can give to another content.
    Tag(&'a str),
    /// One content, for all time: algorithm and digits.
    Digest(&'a str),
}

/// Why a text is not an [`ImagePath`]. The texts complete the sentence that the image begins.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidImage {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// A scheme, which only some tools take.
    #[error("begins with `{0}://`, which is not part of an image's name")]
    Scheme(String),
    /// A character that stands in no image.
    #[error("has {} at position {at}, which an image cannot have", named(*c))]
    Character {
        c: char,
        /// Where, counted in characters from 1.
        at: usize,
    },
    /// A host that cannot be one.
    #[error("has the registry `{0}`, which is not a valid host")]
    Host(String),
    /// A registry's port that is not a port.
    #[error("has the registry port `{0}`, which is not a number of up to five digits")]
    Port(String),
    /// Capital letters in the repository.
    #[error("has capital letters in its repository, which is lower case in every registry")]
    Capitals,
    /// A part of the repository that is empty or begins or ends with a separator.
    #[error("has the part `{0}`, which does not begin and end with a letter or digit, or has two separators in a row")]
    Part(String),
    /// An empty part of the repository.
    #[error("has an empty part: a slash too many, or nothing before the tag")]
    EmptyPart,
    /// Longer than [`ImagePath::MAX_REPOSITORY`].
    #[error("has a repository of more than {} characters", ImagePath::MAX_REPOSITORY)]
    TooLong,
    /// Neither a tag nor a digest.
    #[error("names no tag or digest")]
    NoVersion,
    /// The same, where a port looks like a tag.
    #[error("names no tag or digest: `:{0}` is the registry's port")]
    PortOnly(String),
    /// A colon, and nothing behind it.
    #[error("has an empty tag")]
    EmptyTag,
    /// A tag that cannot be one.
    #[error(
        "has the tag `{0}`; a tag has only letters, digits, dots, dashes and underscores, and no dot or dash first"
    )]
    Tag(String),
    /// Longer than [`ImagePath::MAX_TAG`].
    #[error("has a tag of {0} characters, more than {max}", max = ImagePath::MAX_TAG)]
    TagLength(usize),
    /// Both, of which the API takes one.
    #[error("has both a tag and a digest, and the API takes only one of them")]
    TagAndDigest { tag: String },
    /// A port beside a digest, which the contract's pattern has no room for.
    #[error("has a registry with a port and a digest, and the API takes a port only with a tag")]
    PortAndDigest,
    /// A digest without algorithm and colon.
    #[error("has a digest without an algorithm")]
    NoAlgorithm,
    /// An algorithm that registries do not use.
    #[error("has a digest of `{0}`; registries use sha256 and sha512")]
    Algorithm(String),
    /// Too few or too many digits.
    #[error("has a digest of {found} digits, and {algorithm} has {expected}")]
    DigestLength {
        algorithm: &'static str,
        expected: usize,
        /// Those that are there.
        found: usize,
    },
    /// Digits that are not lower-case hexadecimal.
    #[error("has a digest with {}; its digits are 0 to 9 and a to f", named(*.0))]
    Digit(char),
}

/// The algorithms that a digest may have, with their number of hexadecimal digits.
const ALGORITHMS: [(&str, usize); 3] = [("sha256", 64), ("sha384", 96), ("sha512", 128)];

impl ImagePath {
    /// The longest repository, in characters, as registries have it.
    pub const MAX_REPOSITORY: usize = 255;
    /// The longest tag, in characters.
    pub const MAX_TAG: usize = 128;

    /// The grammar as a pattern, for editors; only [`ImagePath::MAX_REPOSITORY`] is not in it. A property test holds it
    /// to [`ImagePath::new`]. A first part with a dot or a colon, or the name `localhost`, is a host.
    pub const PATTERN: &'static str = concat!(
        "^(?:",
        // A tag, with a host that may have a port …
        "(?:(?:(?:https?://)?",
        dotted!(),
        "(?::[0-9]{1,5})?|localhost(?::[0-9]{1,5})?|",
        label!(),
        ":[0-9]{1,5})/",
        parts!(),
        "|",
        hostless!(),
        "):[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}",
        // … or a digest, where the contract takes no port.
        "|(?:(?:(?:https?://)?",
        dotted!(),
        "|localhost)/",
        parts!(),
        "|",
        hostless!(),
        ")@(?:sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}))$"
    );

    /// Checks and takes a text.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn new(text: &str) -> Result<Self, InvalidImage> {
        check(text).map(|()| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its tag or digest.
    pub fn version(&self) -> Version<'_> {
        match self.0.split_once('@') {
            Some((_, digest)) => Version::Digest(digest),
            None => Version::Tag(self.0.rsplit_once(':').map_or("", |(_, tag)| tag)),
        }
    }

    /// The scheme that the contract allows before a host, though no registry needs it.
    pub fn scheme(&self) -> Option<&str> {
        self.0.split_once("://").map(|(scheme, _)| scheme)
    }
}

fn check(text: &str) -> Result<(), InvalidImage> {
    if text.is_empty() {
        return Err(InvalidImage::Empty);
    }
    let (scheme, reference) = match text.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme), rest),
        _ => (None, text),
    };
    let first = reference.split('/').next().unwrap_or_default();
    // The contract takes these two before a host with a dot.
    let may_have = |scheme| matches!(scheme, "http" | "https") && reference.contains('/') && first.contains('.');
    if let Some(scheme) = scheme.filter(|scheme| !may_have(scheme)) {
        return Err(InvalidImage::Scheme(scheme.to_owned()));
    }
    let foreign = |c: char| !(c.is_ascii_alphanumeric() || "./:@_-".contains(c));
    if let Some((at, c)) = text.chars().enumerate().find(|(_, c)| foreign(*c)) {
        return Err(InvalidImage::Character { c, at: at + 1 });
    }
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    let (host, rest) = match name.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (Some(host), rest),
        _ => (None, name),
    };
    let port = host.map(self::host).transpose()?.flatten();
    let (repository, tag) = match rest.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (rest, None),
    };
    self::repository(repository)?;
    match (tag, digest, port) {
        (None, None, Some(port)) => Err(InvalidImage::PortOnly(piece(port))),
        (None, None, None) => Err(InvalidImage::NoVersion),
        (Some(tag), Some(_), _) => Err(InvalidImage::TagAndDigest { tag: piece(tag) }),
        (Some(tag), None, _) => self::tag(tag),
        (None, Some(digest), port) => self::digest(digest).and(match port {
            Some(_) => Err(InvalidImage::PortAndDigest),
            None => Ok(()),
        }),
    }
}

/// Whether a text is a scheme of some tool, rather than anything with a colon and slashes behind it.
fn is_scheme(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// A part of an image as an error repeats it.
fn piece(text: &str) -> String {
    let end = text.floor_char_boundary(40);
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

/// Checks a registry's host; returns its port.
fn host(text: &str) -> Result<Option<&str>, InvalidImage> {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let is_label = |label: &str| {
        label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !(label.is_empty() || label.starts_with('-') || label.ends_with('-'))
    };
    if !name.split('.').all(is_label) {
        return Err(InvalidImage::Host(piece(name)));
    }
    match port {
        Some(port) if !(1..=5).contains(&port.len()) || !port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(InvalidImage::Port(piece(port)))
        }
        port => Ok(port),
    }
}

fn repository(text: &str) -> Result<(), InvalidImage> {
    if text.len() > ImagePath::MAX_REPOSITORY {
        return Err(InvalidImage::TooLong);
    }
    for part in text.split('/') {
        if part.is_empty() {
            return Err(InvalidImage::EmptyPart);
        } else if part.contains(|c: char| c.is_ascii_uppercase()) {
            return Err(InvalidImage::Capitals);
        } else if !is_part(part) {
            return Err(InvalidImage::Part(piece(part)));
        }
    }
    Ok(())
}

/// Whether a part of a repository is runs of letters and digits, with one separator between each two: `.`, `_`, `__` or
/// any number of dashes.
fn is_part(part: &str) -> bool {
    let is_separator = |c: char| matches!(c, '.' | '_' | '-');
    let mut separators = part.split(|c: char| !is_separator(c)).filter(|separator| !separator.is_empty());
    !part.starts_with(is_separator)
        && !part.ends_with(is_separator)
        && separators.all(|separator| matches!(separator, "." | "_" | "__") || separator.bytes().all(|c| c == b'-'))
        && part.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || is_separator(char::from(c)))
}

fn tag(text: &str) -> Result<(), InvalidImage> {
    if text.is_empty() {
        Err(InvalidImage::EmptyTag)
    } else if text.len() > ImagePath::MAX_TAG {
        Err(InvalidImage::TagLength(text.len()))
    } else if text.starts_with(['.', '-']) || text.contains(['/', ':']) {
        Err(InvalidImage::Tag(piece(text)))
    } else {
        Ok(())
    }
}

fn digest(text: &str) -> Result<(), InvalidImage> {
    let (name, digits) = text.split_once(':').ok_or(InvalidImage::NoAlgorithm)?;
    let known = ALGORITHMS.into_iter().find(|(algorithm, _)| *algorithm == name);
    let (algorithm, expected) = known.ok_or_else(|| InvalidImage::Algorithm(piece(name)))?;
    if let Some(c) = digits.chars().find(|c| !matches!(c, '0'..='9' | 'a'..='f')) {
        return Err(InvalidImage::Digit(c));
    }
    match digits.len() {
        found if found == expected => Ok(()),
        found => Err(InvalidImage::DigestLength { algorithm, expected, found }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    const SHA256: &str = "0f5b1a2c0f5b1a2c0f5b1a2c0f5b1a2c0f5b1a2c0f5b1a2c0f5b1a2c0f5b1a2c";

    #[test]
    fn what_registries_serve_is_an_image() {
        for good in [
            "nginx:1.27",
            "nginx:latest",
            "web_app:_x",
            "ghcr.io/acme/web:1.8.2",
            "GHCR.io/acme/web:V1",
            "acme/a-b__c.d---e:1",
            "host:5000/web:1",
            "localhost/web:1",
            "localhost:5000/a/b/c:1",
            "my-host.internal:443/web:1",
            "10.0.0.1:5000/web:1",
            "https://index.docker.io/v1/library/nginx:1.27",
            "http://r.io/a:b",
            &format!("nginx@sha256:{SHA256}"),
            &format!("r.io/a/b@sha512:{SHA256}{SHA256}"),
            &format!("nginx:{}", "x".repeat(128)),
            &format!("{}:1", "x".repeat(255)),
        ] {
            assert_eq!(ImagePath::new(good).map(|image| image.as_str().to_owned()), Ok(good.to_owned()));
        }
    }

    #[test]
    fn what_is_not_an_image_is_told_why() {
        let told = |text: &str| ImagePath::new(text).map_err(|error| error.to_string()).expect_err(text);
        for (text, why) in [
            ("", "is empty"),
            ("nginx", "names no tag or digest"),
            ("host:5000/web", "names no tag or digest: `:5000` is the registry's port"),
            ("ghcr.io/acme/web:", "has an empty tag"),
            ("docker://nginx:1", "begins with `docker://`, which is not part of an image's name"),
            ("https://nginx:1", "begins with `https://`, which is not part of an image's name"),
            ("https://localhost:5000/a:1", "begins with `https://`, which is not part of an image's name"),
            ("ngin x:1", "has a blank at position 5, which an image cannot have"),
            ("nginx:1\n", "has a control character (U+000A) at position 8, which an image cannot have"),
            ("nginx\u{a0}:1", "has a no-break space (U+00A0) at position 6, which an image cannot have"),
            ("ngin\u{445}:1", "has `х` (U+0445, a Cyrillic letter) at position 5, which an image cannot have"),
            ("[::1]:5000/a:1", "has `[` at position 1, which an image cannot have"),
            ("-a.io/b:1", "has the registry `-a.io`, which is not a valid host"),
            (":5000/b:1", "has the registry ``, which is not a valid host"),
            ("a_b.io/c:1", "has the registry `a_b.io`, which is not a valid host"),
            ("nginx:latest/web", "has the registry port `latest`, which is not a number of up to five digits"),
            ("Acme/web:1", "has capital letters in its repository, which is lower case in every registry"),
            ("ghcr.io/acme/Web:1", "has capital letters in its repository, which is lower case in every registry"),
            ("/nginx:1", "has an empty part: a slash too many, or nothing before the tag"),
            (":1", "has an empty part: a slash too many, or nothing before the tag"),
            ("ghcr.io/:1", "has an empty part: a slash too many, or nothing before the tag"),
            (
                "a..b:1",
                "has the part `a..b`, which does not begin and end with a letter or digit, or has two separators in a row",
            ),
            (
                "nginx:-1",
                "has the tag `-1`; a tag has only letters, digits, dots, dashes and underscores, and no dot or dash first",
            ),
            (
                "a:b:c",
                "has the tag `b:c`; a tag has only letters, digits, dots, dashes and underscores, and no dot or dash first",
            ),
            (&format!("a:{}", "x".repeat(129)), "has a tag of 129 characters, more than 128"),
            (&format!("{}:1", "x".repeat(256)), "has a repository of more than 255 characters"),
            ("a@", "has a digest without an algorithm"),
            ("a@md5:00", "has a digest of `md5`; registries use sha256 and sha512"),
            ("a@sha256:abc", "has a digest of 3 digits, and sha256 has 64"),
            ("a@sha256:ABC", "has a digest with `A`; its digits are 0 to 9 and a to f"),
            (&format!("a:1@sha256:{SHA256}"), "has both a tag and a digest, and the API takes only one of them"),
            (
                &format!("r.io:5000/a@sha256:{SHA256}"),
                "has a registry with a port and a digest, and the API takes a port only with a tag",
            ),
        ] {
            assert_eq!(told(text), why, "{text:?}");
        }
    }

    #[test]
    fn an_image_says_its_version() {
        let image = |text: &str| ImagePath::new(text).expect("is an image");
        assert_eq!(image("host:5000/web:1.2").version(), Version::Tag("1.2"));
        let digest = format!("sha256:{SHA256}");
        assert_eq!(image(&format!("ghcr.io/web@{digest}")).version(), Version::Digest(&digest));
        assert_eq!(image("https://r.io/a:b").scheme(), Some("https"));
        assert_eq!(image("r.io/a:b").scheme(), None);
    }

    /// Pieces that images are made of, put together right and wrong.
    fn nearly_images() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            prop::sample::select(vec![
                "nginx",
                "a",
                "B",
                "0",
                "ghcr.io",
                "localhost",
                "host",
                "/",
                "/",
                "/",
                ":",
                ":",
                "@",
                ".",
                "-",
                "--",
                "_",
                "__",
                "___",
                "v1",
                "5000",
                "123456",
                "https://",
                "docker://",
                "sha256:",
                "sha512:",
                "sha1:",
                SHA256,
                " ",
                "é",
            ])
            .prop_map(str::to_owned),
            "[a-zA-Z0-9./:@_-]{0,6}",
        ];
        prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn the_pattern_for_editors_and_the_check_agree(text in nearly_images()) {
            thread_local!(static PATTERN: Regex = Regex::new(ImagePath::PATTERN).expect("is a pattern"));
            let matches = PATTERN.with(|pattern| pattern.is_match(&text));
            prop_assert_eq!(ImagePath::new(&text).is_ok(), matches, "{:?}", ImagePath::new(&text));
        }
    }
}
