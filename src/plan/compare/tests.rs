//! Field by field, by the table of the API's notes. The round trip through the sandbox is in `tests/it/live.rs`.

use super::*;
use crate::model::{BuildServiceId, CredentialsId, ImagePath, RuntimeUpdate};

const COMMIT: &str = "4f2a91c07be7ab9d3c5f4f2a91c07be7ab9d3c5f";
const OTHER: &str = "0000000000000000000000000000000000000000";

fn image(path: &str, credentials: Option<&str>) -> DeploymentUpdate {
    let credentials = credentials.map(|id| CredentialsId::new(id).unwrap());
    let external = External { credentials, image_path: ImagePath::new(path).unwrap() };
    DeploymentUpdate::External { docker: None, external }
}

fn build(branch: Option<&str>, sha: Option<&str>, build_id: Option<&str>) -> DeploymentUpdate {
    let internal = Internal {
        branch: branch.map(Into::into),
        build_id: build_id.map(Into::into),
        build_sha: sha.map(|sha| BuildSha::new(sha).unwrap()),
        id: BuildServiceId::new("builder").unwrap(),
    };
    DeploymentUpdate::Internal { buildpack: None, docker: None, internal }
}

fn docker(config: DockerConfig, entrypoint: Option<&str>, command: Option<&str>) -> DeploymentUpdate {
    let docker = Docker::new(config, entrypoint.map(Into::into), command.map(Into::into)).unwrap();
    DeploymentUpdate::Runtime(RuntimeUpdate::Docker { docker })
}

fn runs_image(path: &str, private: Option<bool>) -> Live {
    let external = LiveExternal {
        image_path: Some(path.into()),
        registry_provider: Some("dockerhub".into()),
        private_image: private,
        credentials: None,
    };
    Live { external: Some(external), ..Live::of_kind(ServiceKind::Deployment) }
}

fn runs_build(internal: LiveInternal) -> Live {
    let internal = LiveInternal { id: Some("builder".into()), ..internal };
    Live { internal: Some(internal), ..Live::of_kind(ServiceKind::Deployment) }
}

fn starts(config_type: Option<&str>, entrypoint: Option<&str>, command: Option<&str>) -> Live {
    let runtime = LiveRuntime {
        config_type: config_type.map(Into::into),
        custom_process: None,
        custom_entrypoint: entrypoint.map(Into::into),
        custom_command: command.map(Into::into),
    };
    Live { instances: Some(1), docker: Some(runtime), ..Live::of_kind(ServiceKind::Deployment) }
}

/// `path: verdict (rule)` of every field.
fn lines(update: &DeploymentUpdate, live: &Live) -> Vec<String> {
    let comparison = compare(update, live);
    let line = |field: &FieldVerdict| format!("{}: {} ({})", field.path, field.verdict.as_str(), field.rule);
    comparison.fields.iter().map(line).collect()
}

fn verdict(update: &DeploymentUpdate, live: &Live, path: &str) -> Verdict {
    compare(update, live).fields.iter().find(|field| field.path == path).expect(path).verdict
}

#[test]
fn credentials_cannot_be_told_but_contradicted() {
    let wanted = image("nginx:1", Some("hub"));
    let of = |private| compare(&wanted, &runs_image("nginx:1", private));
    assert!(of(Some(true)).is_adoptable() && !of(Some(true)).has_drifted());
    assert_eq!(of(Some(true)).undecided().map(|field| field.path).collect::<Vec<_>>(), ["external.credentials"]);
    assert!(of(Some(false)).has_drifted() && !of(Some(false)).is_adoptable());
    assert!(of(None).is_adoptable());
    // What the manifest leaves out is not compared.
    assert!(compare(&image("nginx:1", None), &runs_image("nginx:1", Some(true))).is_adoptable());
}

#[test]
fn credentials_are_compared_where_live_shows_them() {
    let shown = |id: Option<&str>| {
        let external = LiveExternal {
            image_path: Some("ghcr.io/acme/web:1".into()),
            credentials: id.map(Into::into),
            ..LiveExternal::default()
        };
        Live { external: Some(external), ..Live::of_kind(ServiceKind::Deployment) }
    };
    let wanted = image("ghcr.io/acme/web:1", Some("ghcr"));
    assert!(compare(&wanted, &shown(Some("ghcr"))).fields.iter().all(|field| field.verdict == Verdict::Same));
    for other in [Some("hub"), None] {
        assert_eq!(verdict(&wanted, &shown(other), CREDENTIALS), Verdict::Different, "{other:?}");
    }
    // An image of which nothing is shown is not one without credentials.
    let nothing = Live { external: Some(LiveExternal::default()), ..Live::of_kind(ServiceKind::Deployment) };
    assert_eq!(verdict(&wanted, &nothing, CREDENTIALS), Verdict::CannotTell);
}

#[test]
fn credentials_that_no_manifest_names_are_told() {
    let mirror = |id: &str| {
        let mut live = runs_image("nginx:1", None);
        live.external = live.external.map(|external| LiveExternal { credentials: Some(id.into()), ..external });
        live
    };
    let unnamed = |wanted, live: &Live| compare(&wanted, live).unnamed_credentials;
    assert_eq!(unnamed(image("nginx:2", None), &mirror("hub")), Some(UnnamedCredentials { id: Some("hub".into()) }));
    let private = runs_image("nginx:1", Some(true));
    assert_eq!(unnamed(image("nginx:2", None), &private), Some(UnnamedCredentials { id: None }));
    assert_eq!(unnamed(image("nginx:2", Some("other")), &mirror("hub")), None, "said on purpose");
    assert_eq!(unnamed(image("nginx:2", None), &runs_image("nginx:1", Some(false))), None);
    assert_eq!(unnamed(image("nginx:2", None), &runs_image("nginx:1", None)), None, "nothing is known");
    assert_eq!(unnamed(build(None, None, None), &mirror("hub")), None, "an image no longer runs, on purpose");
    assert_eq!(unnamed(docker(DockerConfig::Default, None, None), &mirror("hub")), None, "the image stays as it is");
}

#[test]
fn a_lost_update_is_proven_by_what_it_changed_and_by_nothing_else() {
    let live = Live { image_url: Some("docker.io/nginx:2".into()), ..runs_image("nginx:2", Some(true)) };
    let with_hub = compare(&image("nginx:2", Some("hub")), &live);
    assert!(with_hub.proves(["external.imagePath"]));
    assert!(!with_hub.proves(["external.credentials"]), "which ones is not shown");
    assert!(!with_hub.proves(["external.imagePath", "external.credentials"]));
    assert!(!with_hub.proves(["docker.configType"]), "taken away, and not shown to be");
    assert!(!compare(&image("nginx:3", None), &live).proves(["external.imagePath"]), "it is another");
    assert!(with_hub.proves([]));

    let without = compare(&image("nginx:2", None), &runs_image("nginx:2", Some(false)));
    assert!(without.proves(["external.credentials"]), "live shows that there are none");
    assert!(without.proves(["external.imagePath", "internal.id", "internal.branch"]), "no build runs any more");
    let instead = compare(&build(None, None, None), &runs_build(LiveInternal::default()));
    assert!(instead.proves(["internal.id", "external.imagePath", "external.credentials"]));
    assert!(!instead.proves(["internal.branch"]), "a branch may still be set");
}

#[test]
fn what_nothing_uses_or_nothing_shows_is_the_same_and_not_proven() {
    use DockerConfig::{CustomCommand, Default};
    let unused = docker(Default, None, Some("new"));
    let old = compare(&unused, &starts(Some("default"), None, Some("old")));
    assert!(old.is_adoptable() && !old.proves(["docker.customCommand"]));
    assert!(compare(&unused, &starts(Some("default"), None, Some("new"))).proves(["docker.customCommand"]));
    let unset = compare(&docker(Default, None, None), &runs_image("nginx:1", None));
    assert!(unset.is_adoptable() && !unset.proves(["docker.configType"]));
    let command = docker(CustomCommand, None, Some("run"));
    let shown = compare(&command, &starts(Some("customCommand"), None, Some("run")));
    assert!(shown.proves(["docker.configType", "docker.customCommand"]));
    // No answer that shows no deployment proves anything.
    assert!(!compare(&command, &Live::of_kind(ServiceKind::Deployment)).proves(["docker.customCommand"]));
}

#[test]
fn something_else_that_runs_is_different() {
    let builds = runs_build(LiveInternal::default());
    let own = Live { instances: Some(1), ..Live::of_kind(ServiceKind::Combined) };
    let wanted = image("nginx:1", Some("hub"));
    assert_eq!(
        lines(&wanted, &builds),
        ["external.credentials: different (live runs a build)", "external.imagePath: different (live runs a build)"]
    );
    assert_eq!(lines(&wanted, &own)[1], "external.imagePath: different (live runs its own build)");
    let wanted = build(Some("main"), None, Some("b-1"));
    assert_eq!(
        lines(&wanted, &runs_image("nginx:1", None)),
        [
            "internal.branch: different (live runs an image of a registry)",
            "internal.buildId: different (live runs an image of a registry)",
            "internal.id: different (live runs an image of a registry)",
        ]
    );
    let bare = Live { instances: Some(1), ..Live::of_kind(ServiceKind::Deployment) };
    assert!(compare(&wanted, &bare).has_drifted() && compare(&image("nginx:1", None), &bare).has_drifted());
}

#[test]
fn an_answer_without_a_deployment_tells_nothing() {
    for kind in ServiceKind::ALL {
        let comparison = compare(&image("nginx:1", None), &Live::of_kind(kind));
        assert!(!comparison.has_drifted() && !comparison.is_adoptable() && !comparison.wants_build_id(), "{kind:?}");
    }
    let build = Live { kind: ServiceKind::Build, ..runs_image("nginx:1", None) };
    assert_eq!(verdict(&image("nginx:1", None), &build, "external.imagePath"), Verdict::CannotTell);
    let unshown = compare(&self::build(None, None, Some("b-1")), &Live::of_kind(ServiceKind::Deployment));
    assert!(!unshown.wants_build_id());
}

#[test]
fn a_commit_is_pinned_or_the_latest() {
    let live = |sha: Option<&str>, deployed: Option<&str>| {
        let (build_sha, deployed_sha) = (sha.map(Into::into), deployed.map(Into::into));
        runs_build(LiveInternal { build_sha, deployed_sha, ..LiveInternal::default() })
    };
    let of = |desired: &str, live: Live| verdict(&build(None, Some(desired), None), &live, "internal.buildSHA");
    for deployed in [None, Some(COMMIT), Some(OTHER)] {
        assert_eq!(of("latest", live(Some("latest"), deployed)), Verdict::Same);
        assert_eq!(of("latest", live(None, deployed)), Verdict::CannotTell);
        assert_eq!(of("latest", live(Some(COMMIT), deployed)), Verdict::Different);
        assert_eq!(of(COMMIT, live(Some("latest"), deployed)), Verdict::Different);
        assert_eq!(of(COMMIT, live(Some(&COMMIT.to_uppercase()), deployed)), Verdict::Same);
        assert_eq!(of(COMMIT, live(Some(OTHER), deployed)), Verdict::Different);
    }
    assert_eq!(of(COMMIT, live(None, Some(OTHER))), Verdict::Different);
    assert_eq!(of(COMMIT, live(None, Some(COMMIT))), Verdict::CannotTell);
    assert_eq!(of(COMMIT, live(None, None)), Verdict::CannotTell);
}

#[test]
fn a_build_id_is_asked_for_only_where_it_decides() {
    let wanted = build(Some("main"), None, Some("b-1"));
    let live = |branch: &str| runs_build(LiveInternal { branch: Some(branch.into()), ..LiveInternal::default() });
    let first = compare(&wanted, &live("main"));
    assert!(first.wants_build_id() && !first.has_drifted() && !first.is_adoptable());
    assert!(!compare(&wanted, &live("dev")).wants_build_id(), "it is different anyway");
    assert!(!compare(&build(Some("main"), None, None), &live("main")).wants_build_id());
    let asked = |id: Option<&str>| compare(&wanted, &live("main").with_build_id(id.map(Into::into)));
    assert!(asked(Some("b-1")).is_adoptable() && !asked(Some("b-1")).wants_build_id());
    assert!(asked(Some("b-2")).has_drifted());
    assert!(!asked(None).has_drifted() && !asked(None).is_adoptable());
}

#[test]
fn a_runtime_that_nobody_set_is_the_default() {
    let unset = runs_image("nginx:1", None);
    assert!(compare(&docker(DockerConfig::Default, None, None), &unset).is_adoptable());
    let command = docker(DockerConfig::CustomCommand, None, Some("run"));
    assert_eq!(
        lines(&command, &unset),
        ["docker.configType: different (nothing is set)", "docker.customCommand: different (nothing is set)"]
    );
}

#[test]
fn a_text_counts_only_where_its_type_uses_it() {
    use DockerConfig::{CustomCommand, CustomEntrypoint, CustomEntrypointCustomCommand as Both, Default};
    // Live may show a command though its type does not use it; so may a manifest.
    assert!(compare(&docker(Default, None, None), &starts(Some("default"), None, Some("old"))).is_adoptable());
    assert!(compare(&docker(Default, None, Some("new")), &starts(Some("default"), None, Some("old"))).is_adoptable());
    assert!(
        compare(&docker(CustomEntrypoint, Some("e"), Some("x")), &starts(Some("customEntrypoint"), Some("e"), None))
            .is_adoptable()
    );

    let command = docker(CustomCommand, None, Some("run"));
    let of = |live: Live| verdict(&command, &live, "docker.customCommand");
    assert_eq!(of(starts(Some("customCommand"), None, Some("run"))), Verdict::Same);
    assert_eq!(of(starts(Some("customCommand"), None, Some("run "))), Verdict::Different);
    assert_eq!(of(starts(Some("customCommand"), None, None)), Verdict::CannotTell);
    assert_eq!(of(starts(Some("default"), None, Some("run"))), Verdict::Different);
    let both = starts(Some("customEntrypointCustomCommand"), Some("e"), Some("run"));
    assert_eq!(of(both.clone()), Verdict::Same);
    assert_eq!(verdict(&command, &both, "docker.configType"), Verdict::Different);
    assert_eq!(verdict(&docker(Both, Some("f"), Some("run")), &both, "docker.customEntrypoint"), Verdict::Different);
}

#[test]
fn a_type_that_is_not_known_cannot_be_told() {
    let command = docker(DockerConfig::CustomCommand, None, Some("run"));
    for live in [starts(Some("customEverything"), None, Some("go")), starts(None, None, Some("go"))] {
        let comparison = compare(&command, &live);
        assert!(!comparison.has_drifted() && !comparison.is_adoptable(), "{comparison:?}");
    }
    // A word of the buildpack's is none of docker's.
    let process = Buildpack::new(BuildpackConfig::CustomProcess, Some("web".into()), None, None).unwrap();
    let update = DeploymentUpdate::Runtime(RuntimeUpdate::Buildpack { buildpack: process });
    let runtime = LiveRuntime { custom_process: Some("web".into()), ..LiveRuntime::default() };
    let live = |word: &str| Live {
        buildpack: Some(LiveRuntime { config_type: Some(word.into()), ..runtime.clone() }),
        ..Live::of_kind(ServiceKind::Combined)
    };
    assert!(compare(&update, &live("customProcess")).is_adoptable());
    assert!(compare(&update, &live("customCommand")).has_drifted());
    assert!(!compare(&update, &live("customEntrypoint")).has_drifted());
}

#[test]
fn differences_go_from_live_to_desired_and_show_no_password() {
    let wanted = DeploymentUpdate::External {
        docker: Some(Docker::new(DockerConfig::CustomCommand, None, Some("run --password=b".into())).unwrap()),
        external: External { credentials: None, image_path: ImagePath::new("nginx:2").unwrap() },
    };
    let live = Live {
        docker: starts(Some("customCommand"), None, Some("run --password=a")).docker,
        ..runs_image("nginx:1", None)
    };
    let change =
        |path: &str, from: &str, to: &str| Change { path: path.into(), from: Some(from.into()), to: Some(to.into()) };
    assert_eq!(
        compare(&wanted, &live).differences(),
        [
            change("docker.customCommand", "run --password=[hidden]", "run --password=[changed]"),
            change("external.imagePath", "nginx:1", "nginx:2")
        ]
    );
}

#[test]
fn a_text_of_any_length_is_shown_in_part_and_compared_as_a_whole() {
    let long = |end: &str| format!("run {}{end}", "x".repeat(900_000));
    let docker = Docker::new(DockerConfig::CustomCommand, None, Some(long("a"))).unwrap();
    let wanted = DeploymentUpdate::Runtime(RuntimeUpdate::Docker { docker });
    let runs = |command: &str| starts(Some("customCommand"), None, Some(command));
    assert!(compare(&wanted, &runs(&long("a"))).differences().is_empty());
    let differences = compare(&wanted, &runs(&long("b"))).differences();
    assert_eq!(differences.len(), 1);
    assert_eq!(differences[0].from.as_deref(), Some("run [hidden]"));
    let named = |branch: &str| Live {
        internal: Some(LiveInternal { id: Some("web".into()), branch: Some(branch.into()), ..LiveInternal::default() }),
        ..starts(None, None, None)
    };
    let internal = Internal {
        branch: Some("x".repeat(2000)),
        build_id: None,
        build_sha: None,
        id: BuildServiceId::new("web").unwrap(),
    };
    let wanted = DeploymentUpdate::Internal { buildpack: None, docker: None, internal };
    let differences = compare(&wanted, &named("main")).differences();
    assert!(differences[0].to.as_ref().is_some_and(|text| text.len() < 2000 && text.ends_with('…')), "{differences:?}");
}
