//! What runs, as the update that would deploy it. Pure: an answer in, an update and what it lacks out.

use serde::Serialize;

use crate::model::{
    BuildServiceId, BuildSha, Buildpack, BuildpackConfig, CredentialsId, DeploymentUpdate, Docker, DockerConfig,
    External, ImagePath, Internal, Live, LiveExternal, LiveInternal, LiveRuntime, RuntimeUpdate, ServiceKind,
};
use crate::plan::{CREDENTIALS, compare, knows_registry, written_image};

/// A service in a manifest's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    /// What would deploy it.
    pub(super) update: DeploymentUpdate,
    /// What runs has it, and live does not show it.
    pub(super) untold: Vec<Untold>,
}

/// A field that a manifest could name and live does not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Untold {
    /// The field in the body of the update.
    pub path: &'static str,
    /// What is known of it.
    pub why: &'static str,
}

/// Why there is nothing to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Indescribable {
    /// It has no deployment that a manifest could be about.
    NoDeployment(&'static str),
    /// It has one, and live does not show enough of it, or something that no manifest can say.
    Beyond(&'static str),
}

pub(super) fn describe(live: &Live) -> Result<Described, Indescribable> {
    if live.kind == ServiceKind::Build {
        return Err(Indescribable::NoDeployment("a service of type build deploys nothing"));
    }
    if !live.shows_a_deployment() {
        return Err(Indescribable::Beyond("live shows no deployment"));
    }
    let mut untold = Vec::new();
    let docker = docker(live.docker.as_ref(), &mut untold);
    let update = match (&live.external, &live.internal) {
        (Some(external), _) => {
            DeploymentUpdate::External { docker, external: self::external(external, live, &mut untold)? }
        }
        (None, Some(internal)) => DeploymentUpdate::Internal {
            buildpack: buildpack(live.buildpack.as_ref(), &mut untold),
            docker,
            internal: self::internal(internal, &mut untold)?,
        },
        (None, None) => {
            let runtime = match (buildpack(live.buildpack.as_ref(), &mut untold), docker) {
                (Some(buildpack), Some(docker)) => RuntimeUpdate::Both { buildpack, docker },
                (Some(buildpack), None) => RuntimeUpdate::Buildpack { buildpack },
                (None, Some(docker)) => RuntimeUpdate::Docker { docker },
                (None, None) => return Err(nothing_to_say(live.kind)),
            };
            DeploymentUpdate::Runtime(runtime)
        }
    };
    // An image of characters that no registry has, and the like: a manifest that is different from the start helps nobody.
    if !compare(&update, live).is_adoptable() {
        return Err(Indescribable::Beyond("no manifest says just what live shows of it"));
    }
    Ok(Described { update, untold })
}

fn nothing_to_say(kind: ServiceKind) -> Indescribable {
    match kind {
        ServiceKind::Combined => {
            Indescribable::NoDeployment("it deploys its own build, and live shows no setting of how that starts")
        }
        ServiceKind::Deployment | ServiceKind::Build => Indescribable::Beyond("live does not show what it deploys"),
    }
}

fn external(shown: &LiveExternal, live: &Live, untold: &mut Vec<Untold>) -> Result<External, Indescribable> {
    let image_url = live.image_url.as_deref();
    let written = written_image(shown, image_url).ok_or(Indescribable::Beyond("live does not show its image"))?;
    if !knows_registry(shown, image_url) {
        return Err(Indescribable::Beyond("live does not show which registry its image comes from"));
    }
    let image_path = ImagePath::new(&written)
        // No tag at all means this one.
        .or_else(|_| ImagePath::new(&format!("{written}:latest")))
        .map_err(|_| Indescribable::Beyond("its image is not one that the API's contract allows"))?;
    let credentials = match shown.credentials.as_deref() {
        Some(id) => Some(
            CredentialsId::new(id)
                .map_err(|_| Indescribable::Beyond("its credentials' id is not one that the API's contract allows"))?,
        ),
        None if shown.uses_credentials() == Some(true) => {
            untold.push(Untold { path: CREDENTIALS, why: "live uses credentials and does not show which" });
            None
        }
        None => None,
    };
    Ok(External { credentials, image_path })
}

fn internal(shown: &LiveInternal, untold: &mut Vec<Untold>) -> Result<Internal, Indescribable> {
    let id = shown.id.as_deref().ok_or(Indescribable::Beyond("live does not show which build service it deploys"))?;
    let id = BuildServiceId::new(id)
        .map_err(|_| Indescribable::Beyond("its build service's id is not one that the API's contract allows"))?;
    let build_sha = shown.build_sha.as_deref().and_then(|sha| BuildSha::new(sha).ok());
    // Beside a commit or `latest` the build is what follows from that.
    let build_id = shown.build_id.clone().filter(|_| build_sha.is_none());
    if build_sha.is_none() && build_id.is_none() {
        untold.push(Untold { path: "internal.buildSHA", why: "live shows no whole commit, nor latest" });
    }
    Ok(Internal { branch: shown.branch.clone(), build_id, build_sha, id })
}

/// Only the texts that the type uses are taken over: live may show others.
fn docker(shown: Option<&LiveRuntime>, untold: &mut Vec<Untold>) -> Option<Docker> {
    let shown = shown?;
    let docker = shown.config_type.as_deref().and_then(DockerConfig::from_word).and_then(|config| {
        let used = |field, text: &Option<String>| text.clone().filter(|_| config.requires().contains(&field));
        let entrypoint = used("customEntrypoint", &shown.custom_entrypoint);
        Docker::new(config, entrypoint, used("customCommand", &shown.custom_command)).ok()
    });
    if docker.is_none() {
        untold.push(Untold { path: "docker", why: UNCLEAR });
    }
    docker
}

fn buildpack(shown: Option<&LiveRuntime>, untold: &mut Vec<Untold>) -> Option<Buildpack> {
    let shown = shown?;
    let buildpack = shown.config_type.as_deref().and_then(BuildpackConfig::from_word).and_then(|config| {
        let used = |field, text: &Option<String>| text.clone().filter(|_| config.requires().contains(&field));
        let process = used("customProcess", &shown.custom_process);
        let entrypoint = used("customEntrypoint", &shown.custom_entrypoint);
        Buildpack::new(config, process, entrypoint, used("customCommand", &shown.custom_command)).ok()
    });
    if buildpack.is_none() {
        untold.push(Untold { path: "buildpack", why: UNCLEAR });
    }
    buildpack
}

const UNCLEAR: &str = "live shows a configType that truenorth does not know, or not what the type needs";

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn image(path: &str, provider: &str, url: Option<&str>, private: bool) -> Live {
        let external = LiveExternal {
            image_path: text(path),
            registry_provider: text(provider),
            private_image: Some(private),
            credentials: None,
        };
        let image_url = url.map(str::to_owned);
        Live { external: Some(external), image_url, ..Live::of_kind(ServiceKind::Deployment) }
    }

    fn json(described: Result<Described, Indescribable>) -> String {
        serde_json::to_string(&described.unwrap().update).unwrap()
    }

    #[test]
    fn an_image_is_described_with_its_host() {
        for (live, expected) in [
            (image("nginx:1", "dockerhub", None, false), r#"{"external":{"imagePath":"nginx:1"}}"#),
            (image("nginx", "dockerhub", None, false), r#"{"external":{"imagePath":"nginx:latest"}}"#),
            (image("a/web:1", "github", None, false), r#"{"external":{"imagePath":"ghcr.io/a/web:1"}}"#),
            (
                image("web:1", "ecr", Some("1.amazonaws.com/web:1"), false),
                r#"{"external":{"imagePath":"1.amazonaws.com/web:1"}}"#,
            ),
            (image("my.org/web:1", "dockerhub", None, false), r#"{"external":{"imagePath":"docker.io/my.org/web:1"}}"#),
        ] {
            let described = describe(&live);
            assert!(compare(&described.as_ref().unwrap().update, &live).is_adoptable(), "{expected}");
            assert_eq!(json(described), expected);
        }
        assert_eq!(describe(&image("nginx:1", "dockerhub", None, true)).unwrap().untold[0].path, CREDENTIALS);

        let mut mirror = image("ghcr.io/a/web:1", "", None, true);
        mirror.external = Some(LiveExternal {
            image_path: text("ghcr.io/a/web:1"),
            credentials: text("ghcr"),
            ..LiveExternal::default()
        });
        let described = describe(&mirror);
        assert_eq!(described.as_ref().unwrap().untold, []);
        assert_eq!(json(described), r#"{"external":{"credentials":"ghcr","imagePath":"ghcr.io/a/web:1"}}"#);
    }

    #[test]
    fn what_no_manifest_can_say_is_not_described() {
        for live in [
            image("web:1", "ecr", None, false),
            image("w eb:1", "dockerhub", None, false),
            Live { internal: Some(LiveInternal::default()), ..Live::of_kind(ServiceKind::Deployment) },
            Live {
                internal: Some(LiveInternal { id: text("-"), ..LiveInternal::default() }),
                ..Live::of_kind(ServiceKind::Deployment)
            },
            Live::of_kind(ServiceKind::Deployment),
            Live { instances: Some(1), ..Live::of_kind(ServiceKind::Deployment) },
        ] {
            assert!(matches!(describe(&live), Err(Indescribable::Beyond(_))), "{live:?}");
        }
        let own = Live { instances: Some(1), ..Live::of_kind(ServiceKind::Combined) };
        for live in [own, Live::of_kind(ServiceKind::Build)] {
            assert!(matches!(describe(&live), Err(Indescribable::NoDeployment(_))), "{live:?}");
        }
    }

    #[test]
    fn only_the_texts_that_count_are_taken_over() {
        let runtime = |config: &str| LiveRuntime {
            config_type: text(config),
            custom_process: text("p"),
            custom_entrypoint: text("e"),
            custom_command: text("c"),
        };
        let live = |docker, buildpack| Live { docker, buildpack, ..Live::of_kind(ServiceKind::Combined) };
        let described = |docker: Option<&str>, buildpack: Option<&str>| {
            describe(&live(docker.map(runtime), buildpack.map(runtime)))
        };
        assert_eq!(json(described(Some("default"), None)), r#"{"docker":{"configType":"default"}}"#);
        assert_eq!(
            json(described(Some("customCommand"), Some("customProcess"))),
            r#"{"buildpack":{"configType":"customProcess","customProcess":"p"},"docker":{"configType":"customCommand","customCommand":"c"}}"#
        );
        let part = described(Some("customThing"), Some("default")).unwrap();
        assert_eq!(part.untold.iter().map(|untold| untold.path).collect::<Vec<_>>(), ["docker"]);
        assert!(described(Some("customThing"), None).is_err());
    }
}
