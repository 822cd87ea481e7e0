//! The rules of a manifest's spec: the body of the update call, as the contract of the API has it.

use crate::model::{
    BuildServiceId, BuildSha, Buildpack, BuildpackConfig, CredentialsId, DeploymentUpdate, Docker, DockerConfig,
    External, ImagePath, Internal, InvalidField, InvalidImage, RuntimeUpdate,
};

use super::check::{Checker, Field, Hint, Spot};
use super::fields;
use super::image;
use super::leftover::{self, Template};
use super::node::Node;
use super::rules::required;
use super::text::shown;
use crate::text::named;

/// Checks the spec as a whole, and says which of the three forms it has.
pub(super) fn update(checker: &mut Checker, spec: &Field<'_, '_>) -> Option<DeploymentUpdate> {
    let [external, internal, buildpack, docker] = checker.fields(&spec.spot, spec.node, fields::SPEC)?;
    one_form(checker, spec, [external.as_ref(), internal.as_ref(), buildpack.as_ref()]);
    let external = external.and_then(|field| self::external(checker, &field));
    let internal = internal.and_then(|field| self::internal(checker, &field));
    let buildpack = buildpack.and_then(|field| self::buildpack(checker, &field));
    let docker = docker.and_then(|field| self::docker(checker, &field));
    if checker.failed() {
        // What is missing here may only be unreadable: the form cannot be told.
        return None;
    }
    match (external, internal, buildpack, docker) {
        (Some(external), None, None, docker) => Some(DeploymentUpdate::External { docker, external }),
        (None, Some(internal), buildpack, docker) => Some(DeploymentUpdate::Internal { buildpack, docker, internal }),
        (None, None, Some(buildpack), Some(docker)) => {
            Some(DeploymentUpdate::Runtime(RuntimeUpdate::Both { buildpack, docker }))
        }
        (None, None, Some(buildpack), None) => Some(DeploymentUpdate::Runtime(RuntimeUpdate::Buildpack { buildpack })),
        (None, None, None, Some(docker)) => Some(DeploymentUpdate::Runtime(RuntimeUpdate::Docker { docker })),
        _ => None,
    }
}

/// Reports a spec that has none of the forms, or parts of two.
fn one_form(checker: &mut Checker, spec: &Field<'_, '_>, parts: [Option<&Field<'_, '_>>; 3]) {
    match parts {
        [Some(external), Some(internal), _] => {
            let later = if external.spot.step() > internal.spot.step() { external } else { internal };
            let hint = "keep external for an image in a registry, or internal for a Northflank build";
            checker.at_key(
                &later.spot,
                "external and internal cannot be used together".into(),
                Hint::Text(hint.into()),
            );
        }
        [Some(_), None, Some(buildpack)] => {
            let hint = "use docker to set how an external image starts";
            checker.at_key(&buildpack.spot, "buildpack cannot be used with external".into(), Hint::Text(hint.into()));
        }
        _ => {
            if matches!(spec.node, Node::Map(entries) if entries.is_empty()) {
                let hint = "add external, internal, docker or buildpack";
                checker.at_value(&spec.spot, "spec is empty".into(), Hint::Text(hint.into()));
            }
        }
    }
}

fn external(checker: &mut Checker, field: &Field<'_, '_>) -> Option<External> {
    let [image, credentials] = checker.fields(&field.spot, field.node, fields::EXTERNAL)?;
    let image = required(checker, &field.spot, image, "imagePath").and_then(|field| image_path(checker, &field));
    let credentials =
        credentials.map(|field| value(checker, &field, CredentialsId::new, |_| id_hint("the saved credentials")));
    Some(External { credentials: optional(credentials)?, image_path: image? })
}

/// Where an id is found that is not that of the service.
fn id_hint(of: &str) -> Hint {
    Hint::Text(format!("use the id of {of} in Northflank, not its name"))
}

fn image_path(checker: &mut Checker, field: &Field<'_, '_>) -> Option<ImagePath> {
    let text = checker.text(field)?;
    ImagePath::new(text)
        .inspect(|image| image::warn(checker, field, image))
        .map_err(|error| {
            let message = match error {
                InvalidImage::Empty => "imagePath is empty".to_owned(),
                _ => format!("imagePath `{}` {error}", shown(text)),
            };
            checker.at_value(&field.spot, message, Hint::Text(image::hint(text, &error)));
        })
        .ok()
}

fn internal(checker: &mut Checker, field: &Field<'_, '_>) -> Option<Internal> {
    let [id, branch, sha, build] = checker.fields(&field.spot, field.node, fields::INTERNAL)?;
    let id = required(checker, &field.spot, id, "id").and_then(|field| {
        value(checker, &field, BuildServiceId::new, |text| match BuildServiceId::new(text) {
            Err(InvalidField::BuildServiceLength) => Hint::Text(format!("this one has {}", characters(text))),
            _ => id_hint("the build service"),
        })
    });
    let branch = branch.map(|field| text(checker, &field));
    let sha = sha.map(|field| build_sha(checker, &field));
    let build = build.map(|field| text(checker, &field));
    Some(Internal { branch: optional(branch)?, build_id: optional(build)?, build_sha: optional(sha)?, id: id? })
}

fn build_sha(checker: &mut Checker, field: &Field<'_, '_>) -> Option<BuildSha> {
    let (message, hint) = match field.node {
        Node::Text(text) => match BuildSha::new(text) {
            Ok(sha) => {
                if matches!(&sha, BuildSha::Commit(sha) if !sha.bytes().all(|byte| byte.is_ascii_hexdigit())) {
                    let message = format!("buildSHA `{}` is not hexadecimal, as commits are", shown(text));
                    checker.warn(&field.spot, message, "copy the SHA of the commit again");
                }
                return Some(sha);
            }
            Err(_) => {
                (format!("buildSHA `{}` has {}, and a commit has 40", shown(text), characters(text)), sha_hint(text))
            }
        },
        // A short one of digits alone would be told twice otherwise: that it is a number, then that it is too short.
        Node::Number => ("buildSHA must be text of 40 characters, found a number".into(), Hint::QuotedSha),
        other => {
            checker.wrong_type(&field.spot, other, "text");
            return None;
        }
    };
    checker.at_value(&field.spot, message, hint);
    None
}

fn sha_hint(text: &str) -> Hint {
    let is_short = (4..BuildSha::CHARS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    Hint::Text(if is_short {
        format!("write all 40 characters: `git rev-parse {text}` prints them")
    } else {
        "write the full SHA of a commit, or latest".into()
    })
}

fn docker(checker: &mut Checker, field: &Field<'_, '_>) -> Option<Docker> {
    let owner = &field.spot;
    let names = fields::DOCKER;
    let [config, entrypoint, command] = checker.fields(owner, field.node, names)?;
    let given = [(names[1], entrypoint.is_some()), (names[2], command.is_some())];
    let config = required(checker, owner, config, names[0]).and_then(|field| {
        let config = checker.choice(&field, &DockerConfig::ALL, DockerConfig::as_str)?;
        commands(checker, owner, &field, (config.as_str(), config.requires()), &given);
        Some(config)
    });
    let entrypoint = entrypoint.map(|field| self::command(checker, &field));
    let command = command.map(|field| self::command(checker, &field));
    Docker::new(config?, optional(entrypoint)?, optional(command)?).ok()
}

fn buildpack(checker: &mut Checker, field: &Field<'_, '_>) -> Option<Buildpack> {
    let owner = &field.spot;
    let names = fields::BUILDPACK;
    let [config, process, entrypoint, command] = checker.fields(owner, field.node, names)?;
    let given = [(names[1], process.is_some()), (names[2], entrypoint.is_some()), (names[3], command.is_some())];
    let config = required(checker, owner, config, names[0]).and_then(|field| {
        let config = checker.choice(&field, &BuildpackConfig::ALL, BuildpackConfig::as_str)?;
        commands(checker, owner, &field, (config.as_str(), config.requires()), &given);
        Some(config)
    });
    let process = process.map(|field| self::command(checker, &field));
    let entrypoint = entrypoint.map(|field| self::command(checker, &field));
    let command = command.map(|field| self::command(checker, &field));
    Buildpack::new(config?, optional(process)?, optional(entrypoint)?, optional(command)?).ok()
}

/// Reports what a `configType` requires and does not get.
fn commands(
    checker: &mut Checker,
    owner: &Spot<'_>,
    field: &Field<'_, '_>,
    (config, requires): (&str, &[&str]),
    given: &[(&str, bool)],
) {
    for name in requires.iter().filter(|name| !given.contains(&(**name, true))) {
        checker.required_by(owner, field, format!("configType {config} requires {name}"), name);
    }
}

/// A text that may be any.
fn text(checker: &mut Checker, field: &Field<'_, '_>) -> Option<String> {
    let text = checker.text(field)?;
    look_over(checker, field, text, Template::in_value(text));
    Some(text.to_owned())
}

/// A text that a shell may read, which fills in variables by itself.
fn command(checker: &mut Checker, field: &Field<'_, '_>) -> Option<String> {
    let text = checker.text(field)?;
    look_over(checker, field, text, Template::in_command(text));
    Some(text.to_owned())
}

/// Warns of what a text may hold, and is hardly meant to.
fn look_over(checker: &mut Checker, field: &Field<'_, '_>, text: &str, template: Option<Template<'_>>) {
    if let Some(template) = template {
        let message = format!("{} has {}", field.spot.name(), template.kind());
        checker.warn(&field.spot, message, template.hint());
    }
    if let Some((at, c)) = text.chars().enumerate().find(|(_, c)| leftover::is_odd(*c)) {
        let message = format!("{} has {} at position {}", field.spot.name(), named(c), at + 1);
        checker.warn(&field.spot, message, "replace it with an ordinary blank, or remove it");
    }
}

/// A text that a constructor of the model takes; what it refuses is reported in its words.
fn value<T>(
    checker: &mut Checker,
    field: &Field<'_, '_>,
    new: fn(&str) -> Result<T, InvalidField>,
    hint: impl FnOnce(&str) -> Hint,
) -> Option<T> {
    let text = checker.text(field)?;
    new(text)
        .map_err(|error| {
            let message = format!("{} `{}` {error}", field.spot.name(), shown(text));
            checker.at_value(&field.spot, message, hint(text));
        })
        .ok()
}

/// A field that may be left out: absent is fine, there but wrong is not.
fn optional<T>(field: Option<Option<T>>) -> Option<Option<T>> {
    match field {
        None => Some(None),
        Some(value) => value.map(Some),
    }
}

fn characters(text: &str) -> String {
    match text.chars().count() {
        1 => "1 character".into(),
        count => format!("{count} characters"),
    }
}
