//! The JSON Schema of a manifest, for editors: the validator's rules in the words of a schema.
//!
//! The types here exist only to carry descriptions; a test holds them to the validator and to the API's contract.
#![allow(dead_code, reason = "the types are read by the derive alone")]

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::model::{
    Approval, BuildServiceId, BuildSha, BuildpackConfig, CredentialsId, DependencyGate, DockerConfig, DriftMode,
    Id as ModelId, ImagePath as ModelImagePath, OnFailure, Policy as ModelPolicy, Suspend as ModelSuspend, Unnamed,
};

use super::policy::{SEEN, TIME};
use super::rules::{API_VERSION, KIND};

/// The name of a service: its id, with those of its project and team before it where they are others.
const NAME: &str = "^([A-Za-z0-9-]+/){0,2}[A-Za-z0-9-]+$";

/// The JSON Schema (2020-12) of one manifest document.
#[must_use]
pub fn schema() -> Value {
    SchemaSettings::draft2020_12()
        .with_transform(LeftOut)
        .into_generator()
        .into_root_schema_for::<Manifest>()
        .to_value()
}

/// Optional fields may be left out, but not be null.
#[derive(Clone, Debug)]
struct LeftOut;

impl Transform for LeftOut {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(map) = schema.as_object_mut() else { return };
        if let Some(Value::Array(types)) = map.get_mut("type") {
            types.retain(|kind| kind != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                map.insert("type".into(), only);
            }
        }
        let Some(Value::Array(any)) = map.get_mut("anyOf") else { return };
        any.retain(|of| *of != json!({"type": "null"}));
        if let [Value::Object(only)] = any.as_slice() {
            let only = only.clone();
            map.remove("anyOf");
            map.extend(only);
        }
    }
}

/// What one Northflank service has to run. truenorth sends an update whenever this changes.
#[derive(JsonSchema)]
#[schemars(title = "truenorth manifest", deny_unknown_fields, rename_all = "camelCase")]
struct Manifest {
    /// Version of this format.
    #[schemars(extend("const" = API_VERSION))]
    api_version: String,
    /// Kind of this document.
    #[schemars(extend("const" = KIND))]
    kind: String,
    /// Which service.
    metadata: Metadata,
    /// The body of the update call, field for field, in one of three forms.
    spec: Spec,
    /// How truenorth treats the service. No part of what is sent.
    policy: Option<Policy>,
}

/// Which service.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "camelCase")]
struct Metadata {
    /// Id of the project.
    #[schemars(length(max = ModelId::MAX_CHARS), regex(pattern = ModelId::PATTERN))]
    project_id: String,
    /// Id of the service. It must exist; truenorth creates none and deletes none.
    #[schemars(length(max = ModelId::MAX_CHARS), regex(pattern = ModelId::PATTERN))]
    service_id: String,
    /// Id of the team, where the API token is an organisation's.
    #[schemars(length(max = ModelId::MAX_CHARS), regex(pattern = ModelId::PATTERN))]
    team_id: Option<String>,
}

/// The body of the update call: exactly one of three forms.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Spec {
    External(ExternalDeployment),
    Internal(InternalDeployment),
    Runtime(RuntimeOnly),
}

/// Deploy an image from a registry.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "an external deployment")]
struct ExternalDeployment {
    /// Which image.
    external: External,
    /// How the container starts.
    docker: Option<Docker>,
}

/// Deploy what a build service of Northflank built.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "an internal deployment")]
struct InternalDeployment {
    /// Which build.
    internal: Internal,
    /// How an image built by buildpacks starts.
    buildpack: Option<Buildpack>,
    /// How the container starts.
    docker: Option<Docker>,
}

/// Leave what is deployed as it is, and change how it starts.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "leave the deployment as it is", extend("minProperties" = 1))]
struct RuntimeOnly {
    /// How an image built by buildpacks starts.
    buildpack: Option<Buildpack>,
    /// How the container starts.
    docker: Option<Docker>,
}

/// An image in a registry.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "camelCase")]
struct External {
    /// Image to deploy, with a tag or a digest; outside Docker Hub with the registry's host.
    #[schemars(regex(pattern = ModelImagePath::PATTERN), extend("examples" = ["nginx:1.27", "ghcr.io/acme/web:1.8.2"]))]
    image_path: String,
    /// Id of saved registry credentials, for a private image.
    #[schemars(regex(pattern = CredentialsId::PATTERN))]
    credentials: Option<String>,
}

/// A build of a build service.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "camelCase")]
struct Internal {
    /// Id of the build service to deploy from.
    #[schemars(
        length(min = BuildServiceId::MIN_CHARS, max = BuildServiceId::MAX_CHARS),
        regex(pattern = BuildServiceId::PATTERN)
    )]
    id: String,
    /// Branch to deploy.
    branch: Option<String>,
    /// Commit to deploy: its full SHA, or `latest` for the most recent one. Quote a SHA that has digits only.
    #[schemars(rename = "buildSHA", extend("anyOf" = commits()))]
    build_sha: Option<String>,
    /// Id of the build to deploy.
    build_id: Option<String>,
}

fn commits() -> Value {
    json!([{"minLength": BuildSha::CHARS, "maxLength": BuildSha::CHARS}, {"const": "latest"}])
}

/// How the container starts.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "camelCase", transform = docker_requires)]
struct Docker {
    /// What of the image is overridden; decides which of the other fields are required.
    #[schemars(extend("enum" = DockerConfig::ALL.map(DockerConfig::as_str)))]
    config_type: String,
    /// Entrypoint to use instead of the image's.
    custom_entrypoint: Option<String>,
    /// Command to use instead of the image's.
    custom_command: Option<String>,
}

/// How an image built by buildpacks starts.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "camelCase", transform = buildpack_requires)]
struct Buildpack {
    /// What of the image is overridden; decides which of the other fields are required.
    #[schemars(extend("enum" = BuildpackConfig::ALL.map(BuildpackConfig::as_str)))]
    config_type: String,
    /// Process to run, by its name in the image.
    custom_process: Option<String>,
    /// Entrypoint to use instead of the image's.
    custom_entrypoint: Option<String>,
    /// Command to use instead of the image's.
    custom_command: Option<String>,
}

/// How truenorth treats the service. No part of what is sent.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "camelCase")]
struct Policy {
    // The description is that of the type.
    suspend: Option<Suspend>,
    /// What to do where the service runs something else: report, correct (send again), or off; default: as for all.
    #[schemars(extend("enum" = DriftMode::ALL.map(DriftMode::as_str)))]
    drift: Option<String>,
    /// `none`: the image is to be pulled without credentials, also where the service uses some now.
    #[schemars(extend("enum" = [Unnamed::WORD]))]
    credentials: Option<String>,
    /// Services that must have what their manifests say before anything new is sent for this one: service,
    /// project/service or team/project/service.
    #[schemars(length(max = ModelPolicy::MAX_DEPENDENCIES), inner(regex(pattern = NAME)), extend("uniqueItems" = true))]
    depends_on: Option<Vec<String>>,
    /// What these must have reached: deployed (the default), accepted, or ignore.
    #[schemars(extend("enum" = DependencyGate::ALL.map(DependencyGate::as_str)))]
    gate: Option<String>,
    /// `required`: each change of the service waits for `truenorth approve`.
    #[schemars(extend("enum" = Approval::ALL.map(Approval::as_str)))]
    approval: Option<String>,
    /// What follows where its rollout fails: hold (nothing), or last-good (what ran before is sent again, once); default: as
    /// for all.
    #[schemars(extend("enum" = OnFailure::ALL.map(OnFailure::as_str)))]
    on_failure: Option<String>,
}

/// Leave the service alone: no call, whatever the manifest says. A map does so too, and says why and until when.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum Suspend {
    Plain(bool),
    Explained(Suspension),
}

/// The service is left alone.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Suspension {
    /// Why. Shown wherever the service is said to be suspended.
    #[schemars(length(min = 1, max = ModelSuspend::MAX_REASON_CHARS), regex(pattern = SEEN))]
    reason: Option<String>,
    /// When the service is kept true to its manifest again, by itself: a time with its zone.
    #[schemars(regex(pattern = TIME), extend("format" = "date-time", "examples" = ["2027-01-31T18:00:00Z"]))]
    until: Option<String>,
}

fn docker_requires(schema: &mut Schema) {
    requires(schema, DockerConfig::ALL.map(|config| (config.as_str(), config.requires())));
}

fn buildpack_requires(schema: &mut Schema) {
    requires(schema, BuildpackConfig::ALL.map(|config| (config.as_str(), config.requires())));
}

/// Says for each `configType` which fields it requires.
fn requires<const N: usize>(schema: &mut Schema, types: [(&str, &[&str]); N]) {
    let rules = types.into_iter().filter(|(_, fields)| !fields.is_empty()).map(|(config, fields)| {
        let mut rule = Map::new();
        rule.insert("if".into(), json!({"properties": {"configType": {"const": config}}, "required": ["configType"]}));
        rule.insert("then".into(), json!({"required": fields}));
        Value::Object(rule)
    });
    schema.insert("allOf".into(), rules.collect());
}
