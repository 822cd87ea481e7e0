//! Paths: templates of the contract, and the ids that a path holds.

use super::contract::Ids;

/// Most characters of an id in a path. The provider's own ids end at 54.
const MAX_ID_CHARS: usize = 200;

/// One part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// These very characters.
    Fixed(String),
    /// `{teamId}`.
    Team,
    /// `{projectId}`.
    Project,
    /// `{serviceId}`.
    Service,
}

/// Reads a template such as `/v1/projects/{projectId}/services`.
pub(super) fn segments_of(template: &str) -> Result<Vec<Segment>, String> {
    let parts = template.strip_prefix('/').ok_or_else(|| format!("`{template}` does not begin with a slash"))?;
    parts
        .split('/')
        .map(|part| match part {
            "{teamId}" => Ok(Segment::Team),
            "{projectId}" => Ok(Segment::Project),
            "{serviceId}" => Ok(Segment::Service),
            _ if part.contains('{') => Err(format!("`{template}` has an unknown parameter `{part}`")),
            fixed => Ok(Segment::Fixed(fixed.to_owned())),
        })
        .collect()
}

/// The ids of a path that fits the template.
pub(super) fn decode_ids(template: &[Segment], path: &str) -> Option<Ids> {
    let mut parts = path.strip_prefix('/')?.split('/');
    let mut ids = Ids::default();
    for segment in template {
        let part = parts.next()?;
        let slot = match segment {
            Segment::Fixed(text) if text == part => continue,
            Segment::Fixed(_) => return None,
            Segment::Team => &mut ids.team,
            Segment::Project => &mut ids.project,
            Segment::Service => &mut ids.service,
        };
        *slot = Some(decode(part).filter(|id| !id.is_empty() && id.chars().count() <= MAX_ID_CHARS)?);
    }
    parts.next().is_none().then_some(ids)
}

/// Takes the escapes (`%2F`) out of one part of a path. A broken escape or bytes that are no UTF-8 fit nothing.
fn decode(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let (digits, tail) = tail.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok().filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_taken_out_and_broken_ones_fit_nothing() {
        assert_eq!(decode("a%20b%2Fc%C3%BC").as_deref(), Some("a b/cü"));
        assert_eq!(decode("a+b").as_deref(), Some("a+b"));
        for broken in ["%", "%2", "%zz", "%+1", "%FF"] {
            assert_eq!(decode(broken), None, "{broken}");
        }
    }

    #[test]
    fn an_id_is_bounded_and_not_empty() {
        let template = segments_of("/v1/projects/{projectId}/services").unwrap();
        let path = |id: &str| format!("/v1/projects/{id}/services");
        assert!(decode_ids(&template, &path(&"x".repeat(200))).is_some());
        assert!(decode_ids(&template, &path(&"x".repeat(201))).is_none());
        assert!(decode_ids(&template, &path("")).is_none());
        assert!(decode_ids(&template, "/v1/projects/p/services/").is_none());
    }
}
