//! Whether a deployment of the API's list is of an update. The list shows an image or a commit and nothing of the rest,
//! so that it can contradict, and never prove.

use super::Verdict;
use super::image::compare_image;
use crate::model::{DeploymentEntry, DeploymentUpdate, LiveExternal};

/// Whether a listed deployment contradicts an update: it is of something else for certain.
#[must_use]
pub fn contradicts(entry: &DeploymentEntry, update: &DeploymentUpdate) -> bool {
    match update {
        DeploymentUpdate::External { external, .. } => {
            let wanted = external.image_path.as_str();
            let mut ways = ways(entry, wanted).peekable();
            // One that fits is enough.
            ways.peek().is_some() && ways.all(|way| is_another(wanted, way))
        }
        DeploymentUpdate::Internal { internal, .. } => {
            let wanted = internal.build_sha.as_ref().map(|sha| sha.as_str()).filter(|sha| *sha != "latest");
            let is_another = |(wanted, listed): (&str, &String)| {
                let (wanted, listed) = (wanted.to_ascii_lowercase(), listed.to_ascii_lowercase());
                !listed.starts_with(&wanted) && !wanted.starts_with(&listed)
            };
            wanted.zip(entry.commit.as_ref()).is_some_and(is_another)
        }
        DeploymentUpdate::Runtime(_) => false,
    }
}

fn is_another(wanted: &str, image: String) -> bool {
    let listed = LiveExternal { image_path: Some(image), ..LiveExternal::default() };
    compare_image(wanted, &listed, None).0 == Verdict::Different
}

/// The ways to write the image of a deployment that can be compared with a wanted one: a tag with a tag, a digest with a
/// digest.
fn ways(entry: &DeploymentEntry, wanted: &str) -> impl Iterator<Item = String> {
    let (name, digest) = entry.image.as_deref().map_or((None, None), |image| match image.split_once('@') {
        Some((name, digest)) => (Some(name), Some(digest)),
        None => (Some(image), None),
    });
    // A port stands before the last slash, a tag after it.
    let (bare, tag) = match name.and_then(|name| name.rsplit_once(':')) {
        Some((bare, tag)) if !tag.contains('/') => (Some(bare), Some(tag)),
        _ => (name, None),
    };
    let (mark, versions) =
        if wanted.contains('@') { ('@', [digest, entry.sha.as_deref()]) } else { (':', [tag, entry.tag.as_deref()]) };
    let written = move |version: &str| bare.map(|bare| format!("{bare}{mark}{version}"));
    versions.into_iter().flatten().filter_map(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BuildServiceId, BuildSha, External, ImagePath, Internal};
    use jiff::Timestamp;

    fn entry(image: &str, tag: &str, sha: &str) -> DeploymentEntry {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        DeploymentEntry {
            id: "d".to_owned(),
            created_at: Timestamp::UNIX_EPOCH,
            image: some(image),
            tag: some(tag),
            sha: some(sha),
            commit: None,
            user: None,
        }
    }

    fn image(path: &str) -> DeploymentUpdate {
        let external = External { credentials: None, image_path: ImagePath::new(path).expect("is an image") };
        DeploymentUpdate::External { docker: None, external }
    }

    #[test]
    fn an_image_contradicts_by_what_both_name_and_by_nothing_else() {
        let sha = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        let other = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
        let by_digest = format!("ghcr.io/acme/web@{sha}");
        for (wanted, listed, is_another) in [
            ("ghcr.io/acme/web:2", entry("ghcr.io/acme/web:2", "", ""), false),
            ("ghcr.io/acme/web:2", entry("acme/web:2", "", sha), false),
            ("ghcr.io/acme/web:2", entry("acme/web", "2", ""), false),
            ("ghcr.io/acme/web:2", entry("acme/web", "", ""), false),
            ("ghcr.io/acme/web:2", entry("", "", ""), false),
            ("ghcr.io/acme/web:2", entry("acme/web:1", "", ""), true),
            ("ghcr.io/acme/web:2", entry("acme/web", "1", ""), true),
            ("ghcr.io/acme/web:2", entry("acme/api:2", "", ""), true),
            ("localhost:5000/web:2", entry("localhost:5000/web", "2", ""), false),
            ("nginx:1.27", entry("docker.io/library/nginx:1.27", "1.27", sha), false),
            (&by_digest, entry("ghcr.io/acme/web:2", "2", ""), false),
            (&by_digest, entry("ghcr.io/acme/web:2", "2", sha), false),
            (&by_digest, entry("ghcr.io/acme/web:2", "2", other), true),
        ] {
            assert_eq!(contradicts(&listed, &image(wanted)), is_another, "{wanted} {listed:?}");
        }
    }

    #[test]
    fn a_build_contradicts_by_its_commit() {
        let internal = |sha: Option<&str>| {
            let build_sha = sha.map(|sha| BuildSha::new(sha).expect("is a commit"));
            let id = BuildServiceId::new("builder").expect("is an id");
            DeploymentUpdate::Internal {
                docker: None,
                buildpack: None,
                internal: Internal { id, branch: None, build_sha, build_id: None },
            }
        };
        let commit = "4f2a91c07be7ab9d3c5f4f2a91c07be7ab9d3c5f";
        let of = |sha: &str| DeploymentEntry { commit: Some(sha.to_owned()), ..entry("", "", "") };
        assert!(!contradicts(&of(commit), &internal(Some(commit))));
        assert!(!contradicts(&of("4F2A91C"), &internal(Some(commit))));
        assert!(contradicts(&of("0000000"), &internal(Some(commit))));
        assert!(!contradicts(&of("0000000"), &internal(Some("latest"))));
        assert!(!contradicts(&entry("registry.internal/builder", "", ""), &internal(None)));
    }
}
