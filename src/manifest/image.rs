//! What to do about an image that cannot be one. No hint names a version: nobody but its author knows which should run.

use crate::model::InvalidImage;

use super::text::shown;

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
            let without: String = text.chars().filter(|c| c.is_ascii_graphic()).collect();
            instead(&without).unwrap_or_else(example)
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
