//! The validator, the contract of the API and the schema for editors say the same of every body.

use jsonschema::Validator;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::*;

/// How many documents are tried.
const TRIES: usize = 4000;

fn contract() -> Validator {
    let contract: Value = serde_yaml::from_str(include_str!("../../sandbox/openapi.yaml")).expect("is YAML");
    let update = json!({"$ref": "#/components/schemas/DeploymentUpdate", "components": contract["components"]});
    jsonschema::draft202012::new(&update).expect("is a schema")
}

fn editor() -> Validator {
    let schema = super::schema();
    assert!(jsonschema::meta::is_valid(&schema), "is no valid schema");
    let options = jsonschema::draft202012::options().should_validate_formats(true);
    options.build(&schema).expect("is a schema")
}

/// One of the values given, now and then something of another kind.
fn one_of(values: &[Value]) -> BoxedStrategy<Value> {
    let odd = [json!(null), json!(5), json!(true), json!(["default"]), json!({}), json!("")];
    prop_oneof![30 => prop::sample::select(values.to_vec()), 1 => prop::sample::select(odd.to_vec())].boxed()
}

fn texts(values: &[&str]) -> BoxedStrategy<Value> {
    one_of(&values.iter().map(|text| json!(text)).collect::<Vec<_>>())
}

/// An object with some of the fields, now and then one too many, or no object at all.
fn object(fields: Vec<(&'static str, f64, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let (names, values): (Vec<_>, Vec<_>) =
        fields.into_iter().map(|(name, chance, value)| (name, prop::option::weighted(chance, value))).unzip();
    let extra = prop::sample::select(vec![
        "extra",
        "configtype",
        "imagePath",
        "id",
        "docker",
        "customProcess",
        "reason",
        "until",
    ]);
    let object = (values, prop::option::weighted(0.03, extra)).prop_map(move |(values, extra)| {
        let given = names.iter().zip(values).filter_map(|(name, value)| Some(((*name).to_owned(), value?)));
        given.chain(extra.map(|extra| (extra.to_owned(), json!("x")))).collect::<Value>()
    });
    let odd = [json!(null), json!(5), json!("x"), json!([]), json!({})];
    prop_oneof![40 => object, 1 => prop::sample::select(odd.to_vec())].boxed()
}

/// A digest.
const DIGEST: &str = "a@sha256:0f5b1a2c0f5b1a2c0f5b1a2c0f5b1a2c0f5b1a2c0f5b1a2c0f5b1a2c0f5b1a2c";

/// What the contract's pattern takes for an image, and no registry serves.
const OUTSIDE_THE_GRAMMAR: &[&str] =
    &["localhost:5000/x", "a@sha256:0f", "docker://nginx:1", "http://x:1", "Acme/web:1", "/nginx:1", "a:b:c", "a..b:1"];

fn external() -> BoxedStrategy<Value> {
    let images = prop_oneof![
        6 => texts(&["nginx:1.27", "ghcr.io/acme/web:1.8.2", DIGEST, "https://r.io/v1/a/b:c", "localhost:5000/x:1"]),
        2 => texts(&["nginx", "", ":1", "nginx:", "a b:1", "nginx:1\n", "é:1", "a@b@c", "/", "a:b:c"]),
        1 => texts(OUTSIDE_THE_GRAMMAR),
        1 => "[a-z0-9./:@_ -]{0,14}".prop_map(Value::from),
    ];
    let credentials = prop_oneof![
        5 => texts(&["ghcr", "A-1", "-"]),
        1 => texts(&["a_b", "", "é", "a b", "a\n"]),
    ];
    object(vec![("imagePath", 0.95, images.boxed()), ("credentials", 0.4, credentials.boxed())])
}

fn internal() -> BoxedStrategy<Value> {
    let ids = prop_oneof![
        4 => texts(&["abc", "search-build", "A1b", "a-b-c"]),
        1 => texts(&["ab", "1abc", "a--b", "abc-", "a_b", "äbc"]),
        1 => (1_usize..60).prop_map(|length| json!("x".repeat(length))),
    ];
    let shas = prop_oneof![
        4 => one_of(&[json!("latest"), json!("0".repeat(40)), json!("é".repeat(40)), json!("4f".repeat(20))]),
        1 => one_of(&[json!("Latest"), json!("0".repeat(39)), json!("0".repeat(41)), json!("")]),
    ];
    object(vec![
        ("id", 0.95, ids.boxed()),
        ("branch", 0.4, texts(&["main", "", "a/b"])),
        ("buildSHA", 0.5, shas.boxed()),
        ("buildId", 0.3, texts(&["premium-guide-6393", ""])),
    ])
}

fn runtime(types: &[&str], with_process: bool) -> BoxedStrategy<Value> {
    let command = || texts(&["node server.js", "", "8080", "null"]);
    let types = prop_oneof![15 => texts(types), 1 => texts(&["Default", "custom", "customProcess", ""])];
    let mut fields = vec![
        ("configType", 0.95, types.boxed()),
        ("customEntrypoint", 0.6, command()),
        ("customCommand", 0.7, command()),
    ];
    if with_process {
        fields.push(("customProcess", 0.6, command()));
    }
    object(fields)
}

fn spec() -> BoxedStrategy<Value> {
    let docker = || runtime(&["default", "customEntrypoint", "customCommand", "customEntrypointCustomCommand"], false);
    let buildpack = || {
        let own = "originalEntrypointCustomCommand";
        runtime(&["default", "customProcess", "customCommand", "customEntrypointCustomCommand", own], true)
    };
    let forms = |external_chance: f64, internal_chance: f64, buildpack_chance: f64| {
        object(vec![
            ("external", external_chance, external()),
            ("internal", internal_chance, internal()),
            ("buildpack", buildpack_chance, buildpack()),
            ("docker", 0.5, docker()),
        ])
    };
    prop_oneof![forms(0.99, 0.03, 0.05), forms(0.02, 0.99, 0.4), forms(0.01, 0.01, 0.5)].boxed()
}

fn manifest(metadata: BoxedStrategy<Value>, policy: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    object(vec![
        ("apiVersion", 0.99, prop_oneof![40 => texts(&["truenorth/v1"]), 1 => texts(&["truenorth/v2", "v1"])].boxed()),
        ("kind", 0.99, prop_oneof![40 => texts(&["ServiceDeployment"]), 1 => texts(&["Deployment"])].boxed()),
        ("metadata", 0.98, metadata),
        ("spec", 0.98, spec()),
        ("policy", 0.3, policy),
    ])
}

fn any_manifest() -> BoxedStrategy<Value> {
    let id = || {
        let bad = [
            "",
            ".",
            "..",
            "a/b",
            "a\\b",
            " a",
            "a ",
            "a b",
            "a\n",
            "\u{7f}",
            "\u{a0}a",
            "a_b",
            "ümlaut",
            "sh\u{43e}p",
        ];
        let long = one_of(&[json!("x".repeat(200)), json!("x".repeat(201)), json!("é".repeat(200))]);
        prop_oneof![20 => texts(&["shop", "Shop-2", "1", "-", "a"]), 1 => texts(&bad), 1 => long].boxed()
    };
    let metadata = object(vec![("projectId", 0.98, id()), ("serviceId", 0.98, id()), ("teamId", 0.3, id())]);
    manifest(metadata, policy())
}

fn policy() -> BoxedStrategy<Value> {
    let suspend = prop_oneof![
        3 => one_of(&[json!(true), json!(false), json!("yes")]),
        5 => object(vec![("reason", 0.6, reasons()), ("until", 0.6, times())]),
    ];
    let drift = prop_oneof![9 => texts(&["report", "correct", "off"]), 1 => texts(&["Report", "maybe", "on"])];
    let credentials = prop_oneof![4 => texts(&["none"]), 1 => texts(&["None", "ghcr"])];
    let approval = prop_oneof![4 => texts(&["none", "required"]), 1 => texts(&["yes", "Required"])];
    let gate = prop_oneof![9 => texts(&["deployed", "accepted", "ignore"]), 1 => texts(&["Deployed", "none"])];
    let on_failure = prop_oneof![9 => texts(&["hold", "last-good"]), 1 => texts(&["lastGood", "off"])];
    object(vec![
        ("suspend", 0.8, suspend.boxed()),
        ("drift", 0.5, drift.boxed()),
        ("credentials", 0.3, credentials.boxed()),
        ("dependsOn", 0.3, dependencies()),
        ("gate", 0.3, gate.boxed()),
        ("approval", 0.3, approval.boxed()),
        ("onFailure", 0.3, on_failure.boxed()),
    ])
}

/// Other services, now and then what is not the name of one; none of them the manifest's own.
fn dependencies() -> BoxedStrategy<Value> {
    let names = prop_oneof![
        20 => texts(&["database", "shop/queue", "acme/shop/mail"]),
        1 => texts(&["", "/", "a/b/c/d", "a b", "a_b", "shop/"]),
    ];
    let names = prop::collection::vec(names, 0..3).prop_map(|names| json!(names));
    prop_oneof![20 => names, 1 => texts(&["database"])].boxed()
}

fn reasons() -> BoxedStrategy<Value> {
    let long = one_of(&[1023, 1024, 1025].map(|count| json!("é".repeat(count))));
    prop_oneof![
        6 => texts(&["maintenance", " a\nb ", "日本"]),
        1 => texts(&["", " ", "\n\t", "\u{a0}", "\u{85}", "\u{feff}", "\u{200b}", "\u{2028}"]),
        1 => long,
    ]
    .boxed()
}

fn times() -> BoxedStrategy<Value> {
    prop_oneof![
        8 => texts(&[
            "2027-01-31T18:00:00Z", "2027-01-31t18:00:00.123456789z", "2028-02-29T00:00:00+14:00", "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z", "1970-01-01T00:00:00-00:00", "0000-01-01T00:00:00+23:59",
        ]),
        1 => texts(&[
            "2027-02-29T00:00:00Z", "2027-04-31T00:00:00Z", "2027-13-01T00:00:00Z", "2027-01-01T24:00:00Z", "2027-1-1T0:0:0Z",
            "2027-01-01T00:00:00.Z", "2027-06-30T23:59:60Z", "2027-01-01T00:00:00.1234567890Z", "2027-01-01T00:00:00",
            "2027-01-31", "2027-01-31 18:00:00Z", "2027-01-31T18:00Z", "tomorrow", "+002027-01-31T18:00:00Z",
            "2027-01-31T18:00:00Z[UTC]", "2027-01-31T18:00:00+01", "2027-01-31T18:00:00,5Z", "٢٠٢٧-01-31T18:00:00Z",
        ]),
        1 => "20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,3})?(Z|[+-][0-2][0-9]:[0-6][0-9])"
            .prop_map(Value::from),
    ]
    .boxed()
}

/// Whether a document is valid, read as JSON and as YAML. It is, or has a problem, never both or neither.
fn is_valid(document: &Value) -> bool {
    let parsed = json(document.to_string());
    assert_eq!(parsed.manifests.len() == 1, parsed.problems.is_empty(), "{document}");
    let block = yaml(serde_yaml::to_string(document).expect("is YAML"));
    assert_eq!(block.problems.is_empty(), parsed.problems.is_empty(), "{document}");
    for problem in block.problems.iter().chain(&parsed.problems) {
        assert!(!Drawing::default().of(problem, "file").is_empty());
    }
    parsed.problems.is_empty()
}

fn tries(strategy: &BoxedStrategy<Value>) -> impl Iterator<Item = Value> {
    let mut runner = TestRunner::deterministic();
    std::iter::from_fn(move || Some(strategy.new_tree(&mut runner).expect("generates").current())).take(TRIES)
}

#[test]
fn the_validator_and_the_schema_follow_the_contract() {
    let (contract, editor) = (contract(), editor());
    let mut valid = 0;
    for body in tries(&spec()) {
        let document = json!({"apiVersion": "truenorth/v1", "kind": "ServiceDeployment",
            "metadata": {"projectId": "shop", "serviceId": "checkout"}, "spec": body});
        let accepted = is_valid(&document);
        assert_eq!(editor.is_valid(&document), accepted, "the schema: {body}");
        // Stricter than the contract is the validator about images alone.
        match contract.is_valid(&body) {
            false => assert!(!accepted, "the contract refuses {body}"),
            true if !accepted => {
                let problems = json(document.to_string()).problems;
                assert!(
                    problems.iter().all(|problem| problem.path == "spec.external.imagePath"),
                    "{body}: {problems:?}"
                );
            }
            true => valid += 1,
        }
    }
    assert!((TRIES / 5..TRIES * 4 / 5).contains(&valid), "{valid} of {TRIES} were valid: the test tells little");
}

#[test]
fn an_image_that_no_registry_serves_is_refused_although_the_contract_takes_it() {
    let contract = contract();
    for image in OUTSIDE_THE_GRAMMAR {
        let body = json!({"external": {"imagePath": image}});
        assert!(contract.is_valid(&body), "{image}");
        let document = json!({"apiVersion": "truenorth/v1", "kind": "ServiceDeployment",
            "metadata": {"projectId": "shop", "serviceId": "checkout"}, "spec": body});
        assert!(!is_valid(&document), "{image}");
    }
}

#[test]
fn the_schema_agrees_with_the_validator_on_whole_manifests() {
    let editor = editor();
    let mut valid = 0;
    for document in tries(&any_manifest()) {
        let expected = is_valid(&document);
        assert_eq!(editor.is_valid(&document), expected, "{document}: {:?}", lines(&json(document.to_string())));
        valid += usize::from(expected);
    }
    assert!((TRIES / 10..TRIES * 9 / 10).contains(&valid), "{valid} of {TRIES} were valid: the test tells little");
}

#[test]
fn the_schema_agrees_with_the_validator_on_every_policy() {
    let editor = editor();
    let mut valid = 0;
    for policy in tries(&policy()) {
        let document = json!({"apiVersion": "truenorth/v1", "kind": "ServiceDeployment",
            "metadata": {"projectId": "shop", "serviceId": "checkout"}, "spec": {"docker": {"configType": "default"}},
            "policy": policy});
        let expected = is_valid(&document);
        assert_eq!(editor.is_valid(&document), expected, "{policy}: {:?}", lines(&json(document.to_string())));
        valid += usize::from(expected);
    }
    assert!((TRIES / 5..TRIES * 4 / 5).contains(&valid), "{valid} of {TRIES} were valid: the test tells little");
}

#[test]
fn every_field_of_the_schema_is_described() {
    fn look(schema: &Value, count: &mut usize) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            assert!(property["description"].is_string(), "{name} has no description");
            *count += 1;
        }
        assert_eq!(schema["additionalProperties"], false);
    }
    let schema = super::schema();
    let mut count = 0;
    look(&schema, &mut count);
    for (name, definition) in schema["$defs"].as_object().expect("has definitions") {
        if name != "Spec" {
            look(definition, &mut count);
        }
    }
    assert!(count > 25, "only {count} fields");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}

#[test]
fn the_readme_has_every_field_of_the_table() {
    let readme = include_str!("../../../README.md");
    for fields::Level { path, fields, .. } in fields::LEVELS {
        for field in fields {
            assert!(readme.contains(field), "{path}.{field}");
        }
    }
}
