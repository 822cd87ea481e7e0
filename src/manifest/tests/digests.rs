//! Which texts ask for the same thing.

use crate::model::Suspend;

use super::*;

const EXTERNAL: &str = "apiVersion: truenorth/v1
kind: ServiceDeployment
metadata:
  projectId: shop
  serviceId: checkout
spec:
  external:
    imagePath: ghcr.io/acme/checkout:1.8.2
    credentials: ghcr
  docker:
    configType: customCommand
    customCommand: node server.js --port 8080
";
const INTERNAL: &str = "apiVersion: truenorth/v1
kind: ServiceDeployment
metadata: {projectId: shop, serviceId: search, teamId: acme}
spec:
  internal: {id: search-build, branch: main, buildSHA: latest, buildId: premium-guide-6393}
  buildpack: {configType: customProcess, customProcess: worker}
";
const RUNTIME: &str = "apiVersion: truenorth/v1
kind: ServiceDeployment
metadata: {projectId: shop, serviceId: mailer}
spec:
  docker: {configType: customEntrypoint, customEntrypoint: /bin/mail, customCommand: unused}
";

fn digest(parsed: Parsed) -> String {
    only(parsed).1.digest.to_string()
}

/// These values are SHA-256 of texts such as `{"project":"shop","service":"checkout","spec":{…}}`. One that changes
/// sends an update to every service of every user: never adapt them.
#[test]
fn digests_stay_what_they_are() {
    for (text, golden) in [
        (EXTERNAL, "sha256:de75de5a3096f06de542dcc9ec2b0a266ded2181ce939bac118ac412ef5e1a8a"),
        (INTERNAL, "sha256:5fb19e36144a4baa2f3e4afaca500b294dd39dbc99abdb587e3a61c948dd9af2"),
        (RUNTIME, "sha256:35b71115919cc9f6c0dc200db7273d0881fa35a4930a60d2759cfaab49b32ba9"),
    ] {
        assert_eq!(digest(yaml(text)), golden, "{text}");
    }
}

#[test]
fn documents_without_content_count_for_nothing() {
    let parsed = yaml(format!("---\n---\n# c\n---\n{RUNTIME}---\n...\n---\n# c\n"));
    assert_eq!(only(parsed).1.place.line, 5);
}

#[test]
fn a_team_is_part_of_the_digest() {
    assert_ne!(digest(yaml(INTERNAL)), digest(yaml(INTERNAL.replace(", teamId: acme", ""))));
}

#[test]
fn how_a_manifest_is_written_does_not_change_its_digest() {
    let golden = digest(yaml(EXTERNAL));
    let with_anchors = EXTERNAL
        .replace("projectId: shop", "projectId: &shop shop")
        .replace("configType: customCommand", "configType: &type customCommand");
    let variants = [
        format!("\u{feff}# why\n%YAML 1.2\n---\n{EXTERNAL}...\n"),
        EXTERNAL.replace('\n', "\r\n"),
        EXTERNAL.replace('\n', " # why\n"),
        EXTERNAL.replace('\n', "\n\n"),
        EXTERNAL.replace("shop", "\"sh\\x6fp\"").replace("ghcr\n", "'ghcr'\n"),
        EXTERNAL.replace("customCommand: node", "customCommand: >-\n      node").replace(" --port", "\n      --port"),
        with_anchors,
        "spec: {docker: {customCommand: node server.js --port 8080, configType: customCommand}, external: {\
         credentials: ghcr, imagePath: 'ghcr.io/acme/checkout:1.8.2'}}\npolicy: {suspend: true}\nmetadata: {serviceId: \
         checkout, projectId: shop}\nkind: ServiceDeployment\napiVersion: truenorth/v1"
            .to_owned(),
    ];
    for text in variants {
        assert_eq!(digest(yaml(&text)), golden, "{text}");
        assert_eq!(digest(parse(&Arc::from("elsewhere.yml"), Format::Yaml, text.as_bytes())), golden);
    }
    let value: serde_json::Value = serde_yaml::from_str(EXTERNAL).expect("is YAML");
    assert_eq!(digest(json(serde_json::to_string_pretty(&value).expect("is JSON"))), golden);
    assert_eq!(digest(yaml(serde_json::to_string(&value).expect("is JSON"))), golden);
}

#[test]
fn a_value_may_be_an_alias_of_another() {
    let text = "apiVersion: truenorth/v1\nkind: ServiceDeployment\nmetadata: {projectId: &p shop, serviceId: *p}\nspec:\n  \
                docker: {configType: &c customCommand, customCommand: *c}\n";
    assert_eq!(only(yaml(text)).0.to_string(), "shop/shop");
}

#[test]
fn a_manifest_knows_its_line_and_its_policy() {
    let text = format!("# two services\n---\n{EXTERNAL}\n---\n# the other\n{RUNTIME}policy: {{suspend: true}}\n");
    let parsed = yaml(&text);
    let places: Vec<_> = parsed.manifests.iter().map(|(_, desired)| desired.place.to_string()).collect();
    assert_eq!(places, ["shop/checkout.yaml:3", "shop/checkout.yaml:18"]);
    let suspended: Vec<_> = parsed.manifests.iter().map(|(_, desired)| &desired.policy.suspend).collect();
    assert_eq!(suspended, [&Suspend::No, &Suspend::Yes { reason: None, until: None }]);
    assert_eq!(only(json(format!("\n\n{}", serde_json::to_string(&value(RUNTIME)).expect("is JSON")))).1.place.line, 3);
}

fn value(text: &str) -> serde_json::Value {
    serde_yaml::from_str(text).expect("is YAML")
}
