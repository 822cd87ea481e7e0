//! Images: an `imagePath` taken apart as live shows it, registry host and path in two fields.

/// What live says of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImageParts {
    /// The contract's `registryProvider`.
    pub(super) provider: &'static str,
    /// Path, tag and digest without the host.
    pub(super) path: String,
    /// Where the image is, host included, Docker Hub's too.
    pub(super) url: String,
}

/// Takes an image path apart: the scheme and a `/v1` after the host fall away, a first part with a dot, a colon or the
/// name `localhost` is a host, and no host means Docker Hub.
pub(super) fn take_apart(image: &str) -> ImageParts {
    let bare = image.strip_prefix("https://").or_else(|| image.strip_prefix("http://")).unwrap_or(image);
    let (host, path) = match bare.trim_start_matches('/').split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => {
            (host, path.strip_prefix("v1/").unwrap_or(path))
        }
        _ => ("docker.io", bare.trim_start_matches('/')),
    };
    ImageParts { provider: provider_of(host), path: path.to_owned(), url: format!("{host}/{path}") }
}

fn provider_of(host: &str) -> &'static str {
    match host {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => "dockerhub",
        "dhi.io" => "dhi",
        "ghcr.io" => "github",
        "registry.gitlab.com" => "gitlab",
        _ if host.ends_with("-docker.pkg.dev") => "gar",
        _ if host.ends_with(".amazonaws.com") => "ecr",
        _ if host.ends_with(".azurecr.io") => "acr",
        _ => "custom",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_image_becomes_its_provider() {
        for (image, provider, path, url) in [
            ("nginx:1.27", "dockerhub", "nginx:1.27", "docker.io/nginx:1.27"),
            ("docker.io/library/nginx:1", "dockerhub", "library/nginx:1", "docker.io/library/nginx:1"),
            ("acme/web:1", "dockerhub", "acme/web:1", "docker.io/acme/web:1"),
            ("ghcr.io/acme/web:1.2", "github", "acme/web:1.2", "ghcr.io/acme/web:1.2"),
            ("https://ghcr.io/v1/acme/web:1", "github", "acme/web:1", "ghcr.io/acme/web:1"),
            ("registry.gitlab.com/a/b@sha256:12", "gitlab", "a/b@sha256:12", "registry.gitlab.com/a/b@sha256:12"),
            ("europe-docker.pkg.dev/p/r/i:1", "gar", "p/r/i:1", "europe-docker.pkg.dev/p/r/i:1"),
            ("1.dkr.ecr.eu.amazonaws.com/i:1", "ecr", "i:1", "1.dkr.ecr.eu.amazonaws.com/i:1"),
            ("acme.azurecr.io/i:1", "acr", "i:1", "acme.azurecr.io/i:1"),
            ("localhost:5000/i:1", "custom", "i:1", "localhost:5000/i:1"),
        ] {
            let parts = ImageParts { provider, path: path.to_owned(), url: url.to_owned() };
            assert_eq!(take_apart(image), parts, "{image}");
        }
    }
}
