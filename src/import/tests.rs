//! Any live that can be described survives writing and reading, and a first pass would find it as it is.

use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::model::{LiveExternal, LiveInternal, LiveRuntime};
use crate::plan::compare;

/// Any text, with a liking for what YAML might take for something else.
fn any_text() -> BoxedStrategy<String> {
    let awkward = [
        "",
        " ",
        "yes",
        "no",
        "Null",
        "~",
        "1.0",
        "1e3",
        "0x1F",
        "12:30:45",
        "2001-01-01",
        "#",
        "a #b",
        "a: b",
        "a:",
        "- a",
        "---",
        "...",
        "%YAML",
        "&a",
        "*a",
        "!!str",
        "|",
        ">",
        "@",
        "`",
        "{a}",
        "[a]",
        "'",
        "\"",
        "\\",
        "a\nb",
        "a\nb\n",
        "\na",
        "a\n\n",
        " a\nb",
        "a\n  b\n\nc",
        "a\n \nb",
        "a\tb\n\tc",
        "\u{1b}[2J",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\u{202e}",
        "\r\n",
        "a\rb",
        "\u{0}",
        "null",
        "? a",
        "<<",
        "=",
        "a,b",
        "ünï",
        "用\n户",
    ];
    prop_oneof![
        select(awkward.to_vec()).prop_map(str::to_owned),
        any::<String>(),
        "[ -~]{0,30}",
        "[ -~\n]{0,60}",
        "([ a-z#:-]{0,8}\n){1,4}[a-z ]{0,4}",
    ]
    .boxed()
}

fn any_id() -> BoxedStrategy<Id> {
    prop_oneof![any_text(), "[a-z][a-z0-9-]{0,20}", Just("../x".to_owned())]
        .prop_map(|text| Id::new(&text).unwrap_or_else(|_| "web".parse().unwrap()))
        .boxed()
}

fn any_key() -> impl Strategy<Value = ServiceKey> {
    (of(any_id()), any_id(), any_id()).prop_map(|(team, project, service)| ServiceKey { team, project, service })
}

fn any_runtime() -> impl Strategy<Value = LiveRuntime> {
    let words = [
        "default",
        "customEntrypoint",
        "customCommand",
        "customEntrypointCustomCommand",
        "customProcess",
        "originalEntrypointCustomCommand",
        "custom",
    ];
    let word = prop_oneof![9 => select(words.to_vec()).prop_map(str::to_owned), 1 => any_text()];
    let text = || prop_oneof![1 => Just(None), 4 => any_text().prop_map(Some)];
    (of(word), text(), text(), text()).prop_map(|(config_type, custom_process, custom_entrypoint, custom_command)| {
        LiveRuntime { config_type, custom_process, custom_entrypoint, custom_command }
    })
}

fn any_external() -> impl Strategy<Value = (LiveExternal, Option<String>)> {
    let path = prop_oneof![
        4 => "(v1/|a\\.b/)?[a-z]{1,5}(/[a-z._-]{1,5}){0,2}(:[a-z0-9.]{1,4})?(@sha256:[0-9a-f]{8})?",
        1 => any_text()
    ];
    let provider = prop_oneof![
        4 => select(vec!["dockerhub", "github", "gitlab", "dhi", "custom", "ecr"]).prop_map(str::to_owned),
        1 => any_text()
    ];
    let url = prop_oneof![
        select(vec![
            "docker.io/x",
            "ghcr.io/x",
            "https://index.docker.io/v1/x",
            "localhost:5000/x",
            "QUAY.io:443/x",
            "x"
        ])
        .prop_map(str::to_owned),
        any_text()
    ];
    let credentials = prop_oneof!["[a-z-]{1,8}", any_text()];
    (of(path), of(provider), of(any::<bool>()), of(credentials), of(url)).prop_map(
        |(image_path, registry_provider, private_image, credentials, url)| {
            (LiveExternal { image_path, registry_provider, private_image, credentials }, url)
        },
    )
}

fn any_internal() -> impl Strategy<Value = LiveInternal> {
    let sha = || prop_oneof![Just("latest".to_owned()), "[0-9a-f]{40}", "[0-9]{40}", any_text()];
    (prop_oneof![4 => "[a-z]{3,9}", 1 => any_text()], of(any_text()), of(sha()), of(sha()), of(any_text())).prop_map(
        |(id, branch, build_sha, deployed_sha, build_id)| LiveInternal {
            id: Some(id),
            branch,
            build_sha,
            deployed_sha,
            build_id,
        },
    )
}

fn any_live() -> impl Strategy<Value = Live> {
    let kind = select(vec![ServiceKind::Deployment, ServiceKind::Combined]);
    (kind, of(any_external()), of(any_internal()), of(any_runtime()), of(any_runtime())).prop_map(
        |(kind, external, internal, docker, buildpack)| {
            let (external, image_url) = external.map_or((None, None), |(external, url)| (Some(external), url));
            Live { instances: Some(1), external, internal, image_url, docker, buildpack, ..Live::of_kind(kind) }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn what_runs_is_written_so_that_it_reads_the_same(key in any_key(), live in any_live()) {
        let Ok(described) = describe(&live) else { return Ok(()) };
        let text = yaml::manifest(&key, &described, None);
        let parsed = parse(&Arc::from("a.yaml"), Format::Yaml, text.as_bytes());
        prop_assert_eq!(&parsed.problems, &[], "{}", text);
        let (read, desired) = &parsed.manifests[0];
        prop_assert_eq!(read, &key, "{}", text);
        prop_assert_eq!(&*desired.update, &described.update, "{}", text);
        prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{:?}", text);
        let comparison = compare(&desired.update, &live);
        prop_assert!(comparison.is_adoptable(), "{:#?}\n{:#?}", comparison, live);
    }

    #[test]
    fn no_two_services_share_a_place(first in any_key(), second in any_key()) {
        let (a, b) = (Place::of(&first).to_string(), Place::of(&second).to_string());
        prop_assert_eq!(a == b, first == second, "{} {}", a, b);
        for part in a.split('/') {
            prop_assert!(!part.is_empty() && !part.starts_with('.') && part.len() <= 205 && part.is_ascii(), "{}", a);
        }
    }
}
