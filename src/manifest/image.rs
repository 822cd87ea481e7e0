//! What to say of an image beside that it can or cannot be one. No hint names a version: only its author knows which
//! should run.

use crate::model::{ImagePath, InvalidImage, Version};

use super::check::{Checker, Field};
use super::text::shown;
use crate::text::{is_invisible, look_alike};

/// Warns of an image that can be deployed, and is hardly meant as it is written.
pub(super) fn warn(checker: &mut Checker, field: &Field<'_, '_>, image: &ImagePath) {
    if let Version::Tag(tag) = image.version()
        && moves(tag)
    {
        let message = format!(
            "the tag `{tag}` moves: when another image is pushed under it, no manifest changes and nothing is deployed"
        );
        checker.warn(&field.spot, message, "name a version or a digest, so that a new image is a change");
    }
    if let Some(scheme) = image.scheme() {
        let message = format!("`{scheme}://` is not needed, and other tools refuse it");
        checker.warn(&field.spot, message, "begin with the registry's host");
    }
}

/// Whether a tag is a channel rather than a version: versions have a digit, or are a commit.
fn moves(tag: &str) -> bool {
    let is_commit = |part: &str| part.len() >= 7 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    !tag.bytes().any(|byte| byte.is_ascii_digit()) && !tag.split(['-', '_', '.']).any(is_commit)
}

/// Longer images are not repeated in a hint.
const MAX_REPEATED: usize = 120;

/// The hint for an image.
pub(super) fn hint(text: &str, error: &InvalidImage) -> String {
    let instead = |image: &str| (image.len() <= MAX_REPEATED).then(|| format!("write {}", shown(image)));
    let versioned = |image: &str| {
        let image = if image.len() <= MAX_REPEATED { shown(image) } else { "the image".into() };
        format!("say which version should run: write {image}:<version>")
    };
    let example = || "write it as ghcr.io/acme/web:1.8.2: registry, repository and tag".to_owned();
    match error {
        InvalidImage::NoVersion | InvalidImage::PortOnly(_) => versioned(text),
        InvalidImage::EmptyTag => {
            format!("{}; is a variable for the tag not set?", versioned(text.trim_end_matches(':')))
        }
        InvalidImage::Scheme(scheme) => text.get(scheme.len() + 3..).and_then(instead).unwrap_or_else(example),
        InvalidImage::Character { c, .. } if !c.is_ascii_graphic() => {
            meant(text).and_then(|image| instead(&image)).unwrap_or_else(example)
        }
        InvalidImage::Capitals => {
            let (name, version) = match text.rfind(['/', ':', '@']).map(|at| text.split_at(at)) {
                Some((name, version)) if !version.starts_with('/') => (name, version),
                _ => (text, ""),
            };
            instead(&format!("{}{version}", name.to_ascii_lowercase())).unwrap_or_else(example)
        }
        InvalidImage::TagAndDigest { tag } => {
            format!("keep the digest, which says exactly what runs, and remove `:{}`", shown(tag))
        }
        InvalidImage::PortAndDigest => "name a tag instead of the digest".into(),
        InvalidImage::NoAlgorithm | InvalidImage::Algorithm(_) | InvalidImage::DigestLength { .. } => {
            "copy the whole digest: sha256: and 64 digits".into()
        }
        InvalidImage::Digit('A'..='F') => "write the digest in lower case".into(),
        InvalidImage::Digit(_) => "copy the whole digest: sha256: and 64 digits".into(),
        InvalidImage::Empty
        | InvalidImage::Character { .. }
        | InvalidImage::Host(_)
        | InvalidImage::Port(_)
        | InvalidImage::Part(_)
        | InvalidImage::EmptyPart
        | InvalidImage::TooLong
        | InvalidImage::Tag(_)
        | InvalidImage::TagLength(_) => example(),
    }
}

/// The image without blanks, and with the letters that others look like; nothing where a letter looks like none.
fn meant(text: &str) -> Option<String> {
    let of_sight = |c: &char| !(c.is_whitespace() || c.is_control() || is_invisible(*c));
    text.chars().filter(of_sight).map(|c| if c.is_ascii() { Some(c) } else { look_alike(c) }).collect()
}
