//! Whether live runs the image that a manifest names. The two write it in different ways: the manifest as a person
//! would, live with the registry's host in one field (or only its provider's name) and the rest in another.

use super::Verdict;
use crate::model::LiveExternal;

/// Docker Hub's canonical name. An image without a host comes from there.
const DOCKER_HUB: &str = "docker.io";

/// Other names under which Docker Hub answers.
const DOCKER_HUB_ALIASES: [&str; 3] = ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/// Where official images of Docker Hub are, though nobody writes it.
const OFFICIAL: &str = "library/";

/// An image taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Image<'a> {
    /// The registry's host, in its canonical form, where one is written.
    host: Option<String>,
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

/// What is known of the registry that live's image comes from.
#[derive(Debug, PartialEq, Eq)]
enum Registry<'a> {
    /// This one.
    Host(String),
    /// One of a provider's many, or a word that is not known.
    Provider(&'a str),
    /// Nothing.
    Unknown,
}

/// Compares the image of a manifest with live's, and names the rule that decided.
pub(super) fn compare_image(desired: &str, live: &LiveExternal, image_url: Option<&str>) -> (Verdict, &'static str) {
    let wanted = Image::read(desired);
    let Some(running) = Image::of_live(live, image_url) else {
        return (Verdict::CannotTell, "live does not show its image");
    };
    let wanted_host = wanted.host.as_deref().unwrap_or(DOCKER_HUB);
    let registry = registry(live, image_url);
    let host = match &registry {
        Registry::Host(host) if host == wanted_host => Verdict::Same,
        Registry::Host(_) => Verdict::Different,
        Registry::Provider(provider) => is_of_provider(wanted_host, provider),
        Registry::Unknown => Verdict::CannotTell,
    };
    let running_path = match &registry {
        // Live gives the path without the host; an answer that leaves it there says the same.
        Registry::Host(host) => after_host(running.path, host),
        Registry::Provider(_) | Registry::Unknown => running.path,
    };
    let same_path =
        wanted.readings().iter().any(|path| in_full(path, wanted_host) == in_full(running_path, wanted_host));
    if host == Verdict::Different {
        (Verdict::Different, "another registry")
    } else if !same_path {
        (Verdict::Different, "another repository")
    } else if let Some(rule) = other_version(&wanted, &running) {
        (Verdict::Different, rule)
    } else if host == Verdict::CannotTell {
        (Verdict::CannotTell, "live does not show which registry the image comes from")
    } else if live.image_path.as_deref() == Some(desired) {
        (Verdict::Same, "the same image")
    } else {
        (Verdict::Same, "the same image, written in another way")
    }
}

/// Live's image as a manifest would write it, as far as that is known: with its registry's host outside Docker Hub.
pub(crate) fn written_image(live: &LiveExternal, image_url: Option<&str>) -> Option<String> {
    let path = match (live.image_path.as_deref(), image_url) {
        (Some(path), _) => path,
        (None, Some(url)) if Image::read(url).host.is_some() => return Some(url.to_owned()),
        (None, url) => url?,
    };
    let path = path.trim_start_matches('/');
    Some(match registry(live, image_url) {
        // A first part that would be taken for a host needs a host before it.
        Registry::Host(host) if host == DOCKER_HUB && Image::read(path).host.is_none() => path.to_owned(),
        Registry::Host(host) => format!("{host}/{}", after_host(path, &host)),
        Registry::Provider(_) | Registry::Unknown => path.to_owned(),
    })
}

/// Whether the host of live's image is known, so that [`written_image`] is the whole of it.
pub(crate) fn knows_registry(live: &LiveExternal, image_url: Option<&str>) -> bool {
    matches!(registry(live, image_url), Registry::Host(_))
}

impl<'a> Image<'a> {
    /// Takes apart what a manifest or `imageUrl` names. Docker's rule for the host: a first part with a dot, a colon or
    /// the name `localhost`.
    fn read(text: &'a str) -> Self {
        let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        let bare = bare.trim_start_matches('/');
        match bare.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => {
                Self { host: Some(canonical(host)), ..Self::without_host(rest) }
            }
            _ => Self::without_host(bare),
        }
    }

    /// Takes apart what follows the host: path, tag and digest.
    fn without_host(text: &'a str) -> Self {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let (path, tag) = match name.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (name, None),
        };
        Self { host: None, path: path.trim_start_matches('/'), tag, digest }
    }

    /// What live shows, its host aside.
    fn of_live(live: &'a LiveExternal, image_url: Option<&'a str>) -> Option<Self> {
        match live.image_path.as_deref() {
            Some(path) => Some(Self::without_host(path)),
            None => image_url.map(Self::read),
        }
    }

    /// The paths that a manifest can mean. The contract allows `/v1` between host and path, as in
    /// `https://index.docker.io/v1/library/nginx`; a repository may just as well be called so.
    fn readings(&self) -> Vec<&'a str> {
        let without_version = self.path.strip_prefix("v1/").filter(|_| self.host.is_some());
        std::iter::once(self.path).chain(without_version).collect()
    }
}

/// A host as all of its ways of writing come out: lower case, without the port of https, Docker Hub's many names as one.
fn canonical(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix(":443").unwrap_or(&host);
    if DOCKER_HUB_ALIASES.contains(&host) { DOCKER_HUB.to_owned() } else { host.to_owned() }
}

/// `imageUrl` knows best; else the provider, where it has one host.
fn registry<'a>(live: &'a LiveExternal, image_url: Option<&str>) -> Registry<'a> {
    if let Some(host) = image_url.and_then(|url| Image::read(url).host) {
        return Registry::Host(host);
    }
    let Some(provider) = live.registry_provider.as_deref() else { return Registry::Unknown };
    match only_host(provider) {
        Some(host) => Registry::Host(host.to_owned()),
        None => Registry::Provider(provider),
    }
}

/// The host of a provider that has just one.
fn only_host(provider: &str) -> Option<&'static str> {
    match provider {
        "dockerhub" => Some(DOCKER_HUB),
        "dhi" => Some("dhi.io"),
        "github" => Some("ghcr.io"),
        "gitlab" => Some("registry.gitlab.com"),
        _ => None,
    }
}

/// Whether a host can be one of a provider's many. `custom` and `legacy` can be any.
fn is_of_provider(host: &str, provider: &str) -> Verdict {
    let belongs_to = match host {
        DOCKER_HUB => "dockerhub",
        "dhi.io" => "dhi",
        "ghcr.io" => "github",
        "registry.gitlab.com" => "gitlab",
        _ if host.ends_with("-docker.pkg.dev") => "gar",
        _ if host.ends_with(".amazonaws.com") => "ecr",
        _ if host.ends_with(".azurecr.io") => "acr",
        _ => return Verdict::CannotTell,
    };
    let decides = matches!(provider, "gar" | "ecr" | "acr");
    if decides && belongs_to != provider { Verdict::Different } else { Verdict::CannotTell }
}

/// A path without the host that it begins with, if it does.
fn after_host<'a>(path: &'a str, host: &str) -> &'a str {
    match path.split_once('/') {
        Some((first, rest)) if canonical(first) == host => rest,
        _ => path,
    }
}

/// A path with what Docker Hub adds to an official image's.
fn in_full(path: &str, host: &str) -> String {
    if host == DOCKER_HUB && !path.contains('/') { format!("{OFFICIAL}{path}") } else { path.to_owned() }
}

/// The rule by which two references to one repository are not the same version, if there is one. A digest says what
/// runs, whatever the tag beside it; no tag at all means `latest`.
fn other_version(wanted: &Image<'_>, running: &Image<'_>) -> Option<&'static str> {
    match (wanted.digest, running.digest) {
        (Some(wanted), Some(running)) => (!wanted.eq_ignore_ascii_case(running)).then_some("another digest"),
        (Some(_), None) => Some("the manifest names a digest, live a tag"),
        (None, Some(_)) => Some("the manifest names a tag, live a digest"),
        (None, None) => {
            let other = wanted.tag.unwrap_or("latest") != running.tag.unwrap_or("latest");
            other.then_some("another tag")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn external(path: &str, provider: &str) -> LiveExternal {
        LiveExternal {
            image_path: Some(path.to_owned()),
            registry_provider: Some(provider.to_owned()),
            private_image: None,
        }
    }

    fn verdict(desired: &str, path: &str, provider: &str, url: Option<&str>) -> Verdict {
        compare_image(desired, &external(path, provider), url).0
    }

    #[test]
    fn the_ways_to_write_an_image_of_docker_hub_are_one() {
        let names = [
            "nginx:1.27",
            "library/nginx:1.27",
            "docker.io/nginx:1.27",
            "docker.io/library/nginx:1.27",
            "index.docker.io/library/nginx:1.27",
            "registry-1.docker.io/nginx:1.27",
            "https://index.docker.io/v1/library/nginx:1.27",
            "https://index.docker.io/v1/nginx:1.27",
            "http://docker.io/nginx:1.27",
            "DOCKER.IO/nginx:1.27",
            "docker.io:443/nginx:1.27",
            "/nginx:1.27",
        ];
        for desired in names {
            for path in ["nginx:1.27", "library/nginx:1.27"] {
                for url in [None, Some("docker.io/nginx:1.27"), Some("https://index.docker.io/v1/library/nginx:1.27")] {
                    assert_eq!(verdict(desired, path, "dockerhub", url), Verdict::Same, "{desired} {path} {url:?}");
                }
            }
            for other in ["nginx:1.26", "acme/nginx:1.27", "nginx-unprivileged:1.27", "nginx@sha256:12"] {
                assert_eq!(verdict(desired, other, "dockerhub", None), Verdict::Different, "{desired} {other}");
            }
            assert_eq!(verdict(desired, "nginx:1.27", "github", None), Verdict::Different, "{desired}");
        }
    }

    #[test]
    fn the_host_comes_from_the_url_before_the_provider() {
        let url = Some("ghcr.io/acme/web:1");
        assert_eq!(verdict("GHCR.io/acme/web:1", "acme/web:1", "custom", url), Verdict::Same);
        assert_eq!(verdict("quay.io/acme/web:1", "acme/web:1", "custom", url), Verdict::Different);
        assert_eq!(verdict("ghcr.io/acme/web:1", "acme/web:1", "github", Some("acme/web:1")), Verdict::Same);
        assert_eq!(verdict("acme/web:1", "acme/web:1", "github", None), Verdict::Different);
        assert_eq!(verdict("localhost:5000/web:1", "web:1", "custom", Some("localhost:5000/web:1")), Verdict::Same);
        assert_eq!(verdict("ghcr.io/acme/web:1", "ghcr.io/acme/web:1", "github", None), Verdict::Same);
    }

    #[test]
    fn a_provider_with_many_hosts_leaves_the_host_open_and_nothing_else() {
        for (provider, host, other) in [
            ("gar", "europe-docker.pkg.dev", "ghcr.io"),
            ("ecr", "1.dkr.ecr.eu-west-1.amazonaws.com", "acme.azurecr.io"),
            ("acr", "acme.azurecr.io", "docker.io"),
        ] {
            let image = |host: &str| format!("{host}/p/web:1");
            assert_eq!(verdict(&image(host), "p/web:1", provider, None), Verdict::CannotTell, "{provider}");
            assert_eq!(verdict(&image("my.registry"), "p/web:1", provider, None), Verdict::CannotTell, "{provider}");
            assert_eq!(verdict(&image(other), "p/web:1", provider, None), Verdict::Different, "{provider} {other}");
            assert_eq!(verdict(&image(host), "p/api:1", provider, None), Verdict::Different, "{provider}");
            assert_eq!(verdict(&image(host), "p/web:2", provider, None), Verdict::Different, "{provider}");
        }
        for provider in ["custom", "legacy", "a-new-one"] {
            assert_eq!(verdict("ghcr.io/p/web:1", "p/web:1", provider, None), Verdict::CannotTell, "{provider}");
            assert_eq!(verdict("nginx:1", "library/nginx:1", provider, None), Verdict::CannotTell, "{provider}");
            assert_eq!(verdict("nginx:1", "acme/nginx:1", provider, None), Verdict::Different, "{provider}");
        }
        let unshown = LiveExternal { registry_provider: None, ..external("p/web:1", "") };
        assert_eq!(compare_image("ghcr.io/p/web:1", &unshown, None).0, Verdict::CannotTell);
        assert_eq!(compare_image("p/web:1", &LiveExternal::default(), None).0, Verdict::CannotTell);
        assert_eq!(compare_image("p/web:1", &LiveExternal::default(), Some("docker.io/p/web:1")).0, Verdict::Same);
    }

    #[test]
    fn a_digest_says_more_than_a_tag() {
        let of = |desired, path| compare_image(desired, &external(path, "dockerhub"), None);
        assert_eq!(of("nginx:1@sha256:ab", "nginx@sha256:AB").0, Verdict::Same);
        assert_eq!(of("nginx@sha256:ab", "nginx@sha256:ac"), (Verdict::Different, "another digest"));
        assert_eq!(of("nginx:1@sha256:ab", "nginx:1").0, Verdict::Different);
        assert_eq!(of("nginx:1", "nginx:1@sha256:ab").0, Verdict::Different);
        assert_eq!(of("nginx:latest", "nginx").0, Verdict::Same);
        assert_eq!(of("nginx:1", "nginx"), (Verdict::Different, "another tag"));
        assert_eq!(of("nginx:1", "Nginx:1").0, Verdict::Different);
    }

    #[test]
    fn a_repository_may_be_called_v1() {
        assert_eq!(verdict("ghcr.io/v1/web:1", "v1/web:1", "github", None), Verdict::Same);
        assert_eq!(verdict("ghcr.io/v1/web:1", "web:1", "github", None), Verdict::Same);
        assert_eq!(verdict("v1/web:1", "v1/web:1", "dockerhub", Some("docker.io/v1/web:1")), Verdict::Same);
        assert_eq!(verdict("web:1", "v1/web:1", "dockerhub", Some("docker.io/v1/web:1")), Verdict::Different);
    }

    #[test]
    fn an_image_is_written_as_a_manifest_would() {
        let written = |path, provider, url| written_image(&external(path, provider), url);
        assert_eq!(written("nginx:1", "dockerhub", None).as_deref(), Some("nginx:1"));
        assert_eq!(written("acme/web:1", "github", None).as_deref(), Some("ghcr.io/acme/web:1"));
        assert_eq!(written("web:1", "custom", Some("https://quay.io/v1/web:1")).as_deref(), Some("quay.io/web:1"));
        assert_eq!(written("ghcr.io/web:1", "github", None).as_deref(), Some("ghcr.io/web:1"));
    }
}
