//! What ran before, from the ledger: it is sent in the place of content whose rollout failed, or that a person
//! took back.

use tracing::{info, warn};

use crate::engine::Sought;
use crate::ledger::{ReadError, Reader};
use crate::model::{DeploymentUpdate, Digest, ServiceKey};
use crate::text::short;

/// What can be sent instead.
pub(super) type Found = Option<(Digest, DeploymentUpdate)>;

/// Finds what can be sent instead; nothing where no such thing is known, or its body had to go.
pub(super) fn find(reader: &Reader, sought: &Sought) -> Result<Found, ReadError> {
    let Sought { key, failed, back, .. } = sought;
    let kept = match back {
        Some(back) => reader.body(key, *back)?,
        None => reader.last_good(key, *failed)?,
    };
    Ok(kept.and_then(|(digest, spec)| Some((digest, update(key, digest, &spec)?))))
}

/// Says what follows from what was found.
pub(super) fn tell(Sought { key, failed, is_chosen, .. }: &Sought, found: &Found) {
    match found {
        Some((digest, _)) if *is_chosen => {
            info!(service = %key, %digest, "a person took back what its manifest says: what they chose takes its place");
        }
        None if *is_chosen => {
            warn!(service = %key, "the version that a person chose is not kept any more: the service is left as it is");
        }
        Some((digest, _)) => info!(service = %key, %digest, "its rollout failed: what ran before is sent in its place"),
        None => warn!(
            service = %key,
            "the rollout of {} failed, and no version is known that ran before: the service is left as it is",
            short::digest(*failed)
        ),
    }
}

/// An update as the ledger keeps it: what its digest speaks of, and nothing else.
fn update(key: &ServiceKey, digest: Digest, spec: &str) -> Option<DeploymentUpdate> {
    let update = serde_json::from_str(spec).ok()?;
    (Digest::of_update(key, &update) == digest).then_some(update)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{External, ImagePath};

    #[test]
    fn what_the_ledger_keeps_is_read_as_what_was_sent_and_nothing_else_is() {
        for name in ["shop/web", "acme/shop/web"] {
            let key: ServiceKey = name.parse().unwrap();
            let external = External { credentials: None, image_path: ImagePath::new("nginx:1").unwrap() };
            let sent = DeploymentUpdate::External { docker: None, external };
            let (digest, spec) = (Digest::of_update(&key, &sent), serde_json::to_string(&sent).unwrap());
            assert_eq!(update(&key, digest, &spec), Some(sent));
            assert_eq!(update(&key, digest, &spec.replace("nginx:1", "nginx:2")), None);
            assert_eq!(update(&key, digest, "{}"), None);
        }
    }
}
