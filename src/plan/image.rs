//! Whether live runs the image that a manifest names. The two write it in different ways: the manifest as a person
//! would, live with the registry's host in one field (or only its provider's name) and the rest in another.

use std::fmt;

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
#[derive(Clone, Debug, PartialEq, Eq)]
enum Registry<'a> {
    Host(String),
    /// One of a provider's many, or a word that is not known.
    Provider(&'a str),
    Unknown,
}

/// One way to understand what live shows of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Running<'a> {
    registry: Registry<'a>,
    image: Image<'a>,
}

/// Compares the image of a manifest with live's, and names the rule that decided.
pub(super) fn compare_image(desired: &str, live: &LiveExternal, image_url: Option<&str>) -> (Verdict, &'static str) {
    let wanted = Image::read(desired);
    let of_readings = readings(live, image_url).into_iter().map(|running| compare_reading(&wanted, &running));
    // Where live can be understood in two ways, one that fits is enough, and only both together can contradict.
    let certainty = |(verdict, _): &(Verdict, _)| match verdict {
        Verdict::Same => 0,
        Verdict::CannotTell => 1,
        Verdict::Different => 2,
    };
    let Some((verdict, rule)) = of_readings.min_by_key(certainty) else {
        return (Verdict::CannotTell, "live does not show its image");
    };
    let is_verbatim = live.image_path.as_deref() == Some(desired);
    match verdict {
        Verdict::Same if is_verbatim => (Verdict::Same, "the same image"),
        Verdict::Same => (Verdict::Same, "the same image, written in another way"),
        // The same text is never a difference, but live names another registry beside it.
        Verdict::Different if is_verbatim => (Verdict::CannotTell, "the same text, of another registry as it seems"),
        Verdict::CannotTell if is_verbatim => (Verdict::Same, "the same text"),
        Verdict::Different | Verdict::CannotTell => (verdict, rule),
    }
}

fn compare_reading(wanted: &Image<'_>, running: &Running<'_>) -> (Verdict, &'static str) {
    let wanted_host = wanted.host.as_deref().unwrap_or(DOCKER_HUB);
    let host = match &running.registry {
        Registry::Host(host) if host == wanted_host => Verdict::Same,
        Registry::Host(_) => Verdict::Different,
        Registry::Provider(provider) => is_of_provider(wanted_host, provider),
        Registry::Unknown => Verdict::CannotTell,
    };
    let running = &running.image;
    let same_path =
        wanted.readings().iter().any(|path| in_full(path, wanted_host) == in_full(running.path, wanted_host));
    if host == Verdict::Different {
        (Verdict::Different, "another registry")
    } else if !same_path {
        (Verdict::Different, "another repository")
    } else if let Some(rule) = other_version(wanted, running) {
        (Verdict::Different, rule)
    } else if host == Verdict::CannotTell {
        (Verdict::CannotTell, "live does not show which registry the image comes from")
    } else {
        (Verdict::Same, "the same image")
    }
}

/// The ways to understand what live shows. `imagePath` has its host in it (the mirror) or not (the flat shape), and
/// what is beside it says which: `imageUrl` knows best, where it is of this image, then the provider, where it has one
/// host. Without either, a path may begin with a host, or with a folder that looks like one.
fn readings<'a>(live: &'a LiveExternal, image_url: Option<&'a str>) -> Vec<Running<'a>> {
    let url = image_url.map(Image::read);
    let of_provider = match live.registry_provider.as_deref() {
        Some(provider) => match only_host(provider) {
            Some(host) => Registry::Host(host.to_owned()),
            None => Registry::Provider(provider),
        },
        None => Registry::Unknown,
    };
    let Some(text) = live.image_path.as_deref() else {
        let host = |url: &Image<'_>| url.host.clone().map(Registry::Host);
        return url
            .into_iter()
            .map(|image| Running { registry: host(&image).unwrap_or(of_provider.clone()), image })
            .collect();
    };
    let (mirror, flat) = (Image::read(text), Image::without_host(text));
    let of_url = url.as_ref().and_then(|url| {
        let is_path =
            |path: &&str| url.host.as_deref().is_some_and(|host| in_full(path, host) == in_full(flat.path, host));
        url.readings().iter().any(is_path).then(|| url.host.clone())?
    });
    match (mirror.host.clone().map(Registry::Host), of_url.map(Registry::Host)) {
        // The flat shape, as `imageUrl` shows; or the mirror, where no host means Docker Hub.
        (_, Some(registry)) => vec![Running { registry, image: flat }],
        (None, None) => vec![Running { registry: of_provider, image: flat }],
        (Some(registry), None) if registry == of_provider => vec![Running { registry, image: mirror }],
        (Some(registry), None) => {
            let (mirror, flat) = (Running { registry, image: mirror }, Running { registry: of_provider, image: flat });
            // The likelier one first: only the flat shape names a provider.
            if matches!(flat.registry, Registry::Host(_)) { vec![flat, mirror] } else { vec![mirror, flat] }
        }
    }
}

/// Live's image as a manifest would write it, as far as that is known: with its registry's host outside Docker Hub.
pub(crate) fn written_image(live: &LiveExternal, image_url: Option<&str>) -> Option<String> {
    let Running { registry, image } = readings(live, image_url).into_iter().next()?;
    Some(match registry {
        Registry::Host(_) if live.image_path.is_none() => image_url?.to_owned(),
        // A first part that would be taken for a host needs a host before it.
        Registry::Host(host) if host != DOCKER_HUB || Image::read(image.path).host.is_some() => {
            format!("{host}/{image}")
        }
        Registry::Host(_) | Registry::Provider(_) | Registry::Unknown => image.to_string(),
    })
}

/// Whether the registry of live's image is known, so that [`written_image`] is the whole of it.
pub(crate) fn knows_registry(live: &LiveExternal, image_url: Option<&str>) -> bool {
    match readings(live, image_url).first().map(|running| &running.registry) {
        Some(Registry::Host(_)) => true,
        // The mirror, where no host means Docker Hub.
        Some(Registry::Unknown) => live.image_path.is_some(),
        Some(Registry::Provider(_)) | None => false,
    }
}

impl fmt::Display for Image<'_> {
    /// Without the host.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)?;
        if let Some(tag) = self.tag {
            write!(f, ":{tag}")?;
        }
        match self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
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
            ..LiveExternal::default()
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
            assert_eq!(verdict(desired, "./nginx:1.27", "github", None), Verdict::Different, "{desired}");
        }
    }

    #[test]
    fn the_host_comes_from_the_url_before_the_provider() {
        let url = Some("ghcr.io/acme/web:1");
        assert_eq!(verdict("GHCR.io/acme/web:1", "acme/web:1", "custom", url), Verdict::Same);
        assert_eq!(verdict("quay.io/acme/web:1", "acme/web:1", "custom", url), Verdict::Different);
        assert_eq!(verdict("ghcr.io/acme/web:1", "acme/web:1", "github", Some("acme/web:1")), Verdict::Same);
        assert_eq!(verdict("docker.io/acme/web:1", "acme/web:1", "github", None), Verdict::Different);
        assert_eq!(verdict("localhost:5000/web:1", "web:1", "custom", Some("localhost:5000/web:1")), Verdict::Same);
        assert_eq!(verdict("ghcr.io/acme/web:1", "ghcr.io/acme/web:1", "github", None), Verdict::Same);
    }

    #[test]
    fn the_same_text_is_never_a_difference() {
        let hosts =
            ["", "docker.io/", "ghcr.io/", "registry.gitlab.com/", "quay.io/", "acme.azurecr.io/", "localhost:5000/"];
        for host in hosts {
            let image = format!("{host}acme/web:1");
            for provider in ["dockerhub", "github", "gitlab", "ecr", "gar", "acr", "custom", "legacy", "a-new-one"] {
                for url in
                    [None, Some("ghcr.io/acme/web:1"), Some("proxy.example/cache/acme/web:1"), Some(image.as_str())]
                {
                    let live =
                        [external(&image, provider), LiveExternal { registry_provider: None, ..external(&image, "") }];
                    for live in live {
                        let verdict = compare_image(&image, &live, url).0;
                        assert_ne!(verdict, Verdict::Different, "{image} {provider} {url:?}");
                        // With its host in it the text says all.
                        assert!(host.is_empty() || verdict == Verdict::Same, "{image} {provider} {url:?}");
                    }
                }
            }
        }
        assert_eq!(verdict("acme/web:1", "acme/web:1", "custom", None), Verdict::Same);
        // Live names another registry than the text does: neither can be believed.
        assert_eq!(verdict("acme/web:1", "acme/web:1", "github", None), Verdict::CannotTell);
    }

    #[test]
    fn an_image_in_the_mirror_has_its_host_in_it() {
        let mirror = |path: &str| LiveExternal { image_path: Some(path.to_owned()), ..LiveExternal::default() };
        let of = |desired, path: &str, url| compare_image(desired, &mirror(path), url).0;
        for url in [None, Some("ghcr.io/acme/web:1"), Some("proxy.example/0123")] {
            assert_eq!(of("ghcr.io/acme/web:1", "ghcr.io/acme/web:1", url), Verdict::Same, "{url:?}");
            assert_eq!(of("GHCR.io:443/acme/web:1", "https://ghcr.io/acme/web:1", url), Verdict::Same, "{url:?}");
            assert_eq!(of("ghcr.io/acme/web:2", "ghcr.io/acme/web:1", url), Verdict::Different, "{url:?}");
            assert_eq!(of("quay.io/acme/web:1", "ghcr.io/acme/web:1", url), Verdict::Different, "{url:?}");
        }
        for url in [None, Some("docker.io/library/nginx:1"), Some("proxy.example/0123")] {
            assert_eq!(of("nginx:1", "nginx:1", url), Verdict::Same, "{url:?}");
            assert_eq!(of("nginx:2", "nginx:1", url), Verdict::Different, "{url:?}");
            assert_eq!(of("ghcr.io/nginx:2", "nginx:1", url), Verdict::Different, "{url:?}");
        }
        let written = |path: &str, url| (written_image(&mirror(path), url), knows_registry(&mirror(path), url));
        for image in ["nginx:1", "acme/web:1", "ghcr.io/acme/web:1", "quay.io/a/b@sha256:12", "localhost:5000/x:1"] {
            for url in [None, Some("proxy.example/0123")] {
                assert_eq!(written(image, url), (Some(image.to_owned()), true), "{image} {url:?}");
            }
        }
    }

    #[test]
    fn a_folder_that_looks_like_a_host_contradicts_nothing() {
        let flat = "group.name/web:1";
        assert_eq!(verdict("registry.gitlab.com/group.name/web:1", flat, "gitlab", None), Verdict::Same);
        assert_eq!(verdict("quay.io/group.name/web:1", flat, "custom", None), Verdict::CannotTell);
        assert_eq!(
            verdict("quay.io/group.name/web:1", flat, "custom", Some("quay.io/group.name/web:1")),
            Verdict::Same
        );
        assert_eq!(verdict("ghcr.io/group.name/web:1", flat, "gitlab", None), Verdict::Different);
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
