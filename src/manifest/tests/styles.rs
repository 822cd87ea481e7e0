//! Any valid manifest survives writing and reading in every style.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

/// How a text is written.
#[derive(Clone, Copy, Debug)]
enum Quotes {
    Plain,
    Single,
    Double,
    Literal,
}

#[derive(Clone, Copy, Debug)]
struct Style {
    flow: bool,
    quotes: Quotes,
    /// Decides the order of keys.
    order: u64,
}

fn write(value: &Value, style: Style, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if style.flow => {
            out.push('{');
            for (key, value) in shuffled(map, style.order) {
                write!(out, " {key} : ").expect("a string takes all");
                write(value, Style { quotes: without_blocks(style.quotes), ..style }, 0, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Object(map) => {
            for (key, value) in shuffled(map, style.order) {
                write!(out, "\n{:indent$}{key}: ", "").expect("a string takes all");
                write(value, style, indent + 2, out);
            }
        }
        Value::String(text) => out.push_str(&quoted(text, style.quotes, indent)),
        other => out.push_str(&other.to_string()),
    }
}

fn without_blocks(quotes: Quotes) -> Quotes {
    if matches!(quotes, Quotes::Literal) { Quotes::Single } else { quotes }
}

fn quoted(text: &str, quotes: Quotes, indent: usize) -> String {
    let printable = text.chars().all(|c| matches!(c, ' '..='~' | 'à'..='ÿ' | '一'..='龥'));
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && !["null", "true", "false"].contains(&text.to_ascii_lowercase().as_str());
    match quotes {
        Quotes::Plain if word => text.to_owned(),
        Quotes::Single if printable => format!("'{}'", text.replace('\'', "''")),
        Quotes::Literal if printable && !text.is_empty() && !text.starts_with(' ') => {
            format!("|-\n{:indent$}{text}", "")
        }
        _ => {
            let escape = |c: char| match c {
                '"' | '\\' => format!("\\{c}"),
                ' '..='~' => c.to_string(),
                _ => format!("\\U{:08x}", u32::from(c)),
            };
            format!("\"{}\"", text.chars().map(escape).collect::<String>())
        }
    }
}

fn shuffled(map: &Map<String, Value>, order: u64) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| {
        let mut hasher = DefaultHasher::new();
        (order, key).hash(&mut hasher);
        hasher.finish()
    });
    entries
}

/// Any text, with a liking for what YAML might take for something else.
fn any_text() -> BoxedStrategy<String> {
    prop_oneof![
        any::<String>().boxed(),
        "[ -~]{0,30}".boxed(),
        prop::sample::select(vec![
            "",
            "8080",
            "1e5",
            "null",
            "~",
            "true",
            "yes",
            "- a",
            "a: b",
            "# c",
            "{a",
            "[",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "---",
            "a\n---\nb",
            "...",
            " a",
            "a ",
            "a\n",
            "\ta",
            "0x1f",
            "'",
            "\"",
            "|",
            ">",
            "<<",
            "é",
            "日本",
            "\u{feff}",
            "\u{2028}",
            "\u{85}",
            "\0",
        ])
        .prop_map(str::to_owned)
        .boxed(),
    ]
    .boxed()
}

fn manifest() -> impl Strategy<Value = Value> {
    let docker = ("default|customEntrypoint|customCommand|customEntrypointCustomCommand", any_text(), any_text())
        .prop_map(|(config, entrypoint, command)| {
            json!({"configType": config, "customEntrypoint": entrypoint, "customCommand": command})
        });
    let buildpack = ("default|customProcess|originalEntrypointCustomCommand", any_text(), any_text()).prop_map(
        |(config, process, command)| json!({"configType": config, "customProcess": process, "customCommand": command}),
    );
    let external = ("[a-z]{1,9}(\\.io/[a-z]{1,5})?:[a-z0-9][a-z0-9.]{0,8}", "[A-Za-z0-9-]{1,9}")
        .prop_map(|(image, credentials)| json!({"imagePath": image, "credentials": credentials}));
    let internal = ("[a-z][a-z0-9]{2,53}", any_text(), "latest|[0-9a-f]{40}|[0-9]{40}|[0-9]{20}e[0-9]{19}", any_text())
        .prop_map(|(id, branch, sha, build)| json!({"id": id, "branch": branch, "buildSHA": sha, "buildId": build}));
    let spec = prop_oneof![
        (external, docker.clone()).prop_map(|(external, docker)| json!({"external": external, "docker": docker})),
        (internal, buildpack.clone()).prop_map(|(internal, pack)| json!({"internal": internal, "buildpack": pack})),
        (docker, buildpack).prop_map(|(docker, pack)| json!({"docker": docker, "buildpack": pack})),
    ];
    // Ids too have some that YAML might take for something else.
    let id = || prop_oneof!["[A-Za-z0-9-]{1,9}", "null|Null|true|yes|0x1f|1e5|8080|-|---|2027-01-31|inf"];
    (id(), id(), prop::option::of(id()), spec, policy()).prop_map(|(project, service, team, spec, policy)| {
        let mut metadata = json!({"projectId": project, "serviceId": service});
        if let Some(team) = team {
            metadata["teamId"] = team.into();
        }
        json!({"apiVersion": "truenorth/v1", "kind": "ServiceDeployment", "metadata": metadata, "spec": spec,
            "policy": policy})
    })
}

fn policy() -> impl Strategy<Value = Value> {
    let reason = any_text().prop_filter("can be seen", |text| text.contains(|c: char| c.is_ascii_graphic()));
    let times = prop::sample::select(vec!["2027-01-31T18:00:00Z", "2027-01-31T18:00:00.5+01:00"]);
    let suspend = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (reason, times).prop_map(|(reason, until)| json!({"reason": reason, "until": until})),
    ];
    let drift = prop::sample::select(vec!["report", "correct", "off"]);
    (suspend, drift).prop_map(|(suspend, drift)| json!({"suspend": suspend, "drift": drift}))
}

fn style() -> impl Strategy<Value = Style> {
    let quotes = prop::sample::select(vec![Quotes::Plain, Quotes::Single, Quotes::Double, Quotes::Literal]);
    (any::<bool>(), quotes, any::<u64>()).prop_map(|(flow, quotes, order)| Style { flow, quotes, order })
}

proptest! {
    #[test]
    fn a_manifest_means_the_same_in_every_style(manifest in manifest(), style in style()) {
        let (key, desired) = only(json(manifest.to_string()));
        prop_assert_eq!(&serde_json::to_value(&*desired.update).expect("is JSON"), &manifest["spec"]);
        prop_assert_eq!(key.project.as_str(), manifest["metadata"]["projectId"].as_str().expect("is text"));

        let mut text = String::new();
        write(&manifest, style, 0, &mut text);
        let parsed = yaml(&text);
        prop_assert_eq!(lines(&parsed), Vec::<String>::new(), "{}", text);
        let (other_key, other) = only(parsed);
        prop_assert_eq!(&other_key, &key);
        prop_assert_eq!(&other.update, &desired.update, "{}", text);
        prop_assert_eq!((other.digest, other.policy), (desired.digest, desired.policy));
    }

    #[test]
    fn several_manifests_in_a_file_are_those_of_several_files(
        manifests in prop::collection::vec((manifest(), style()), 1..5),
    ) {
        let mut stream = String::new();
        let mut apart = Vec::new();
        for (manifest, style) in manifests {
            let mut text = String::new();
            write(&manifest, style, 0, &mut text);
            stream.push_str("---");
            stream.push_str(if style.flow { " " } else { "" });
            stream.push_str(&text);
            stream.push('\n');
            let (key, desired) = only(yaml(&text));
            apart.push((key, desired.digest));
        }
        let parsed = yaml(&stream);
        prop_assert_eq!(lines(&parsed), Vec::<String>::new(), "{}", stream);
        let together: Vec<_> = parsed.manifests.into_iter().map(|(key, desired)| (key, desired.digest)).collect();
        prop_assert_eq!(together, apart);
    }
}
