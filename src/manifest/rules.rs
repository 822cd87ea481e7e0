//! The rules of a manifest around its spec: what kind of document it is, which service it names, how it is treated.

use crate::model::{DeploymentUpdate, Id, InvalidId, Policy, ServiceKey};

use super::check::{Checker, Field, Hint, Spot, a_kind};
use super::fields;
use super::node::Node;
use super::text::shown;
use super::{policy, spec, suggest};

pub(super) const API_VERSION: &str = "truenorth/v1";
pub(super) const KIND: &str = "ServiceDeployment";
pub(super) const IGNORE_HINT: &str = "if this is not a truenorth manifest, name the file in .truenorthignore";

/// What a valid document says.
pub(super) type Valid = (ServiceKey, DeploymentUpdate, Policy);

/// Checks a document. Nothing comes back exactly when something was found.
pub(super) fn document(checker: &mut Checker, node: &Node<'_>) -> Option<Valid> {
    if is_foreign(checker, node) {
        return None;
    }
    let root = Spot::ROOT;
    let [api_version, kind, metadata, spec, policy] = checker.fields(&root, node, fields::ROOT)?;
    header(checker, "apiVersion", api_version.as_ref(), API_VERSION);
    header(checker, "kind", kind.as_ref(), KIND);
    let key = required(checker, &root, metadata, "metadata").and_then(|field| service(checker, &field));
    let update = required(checker, &root, spec, "spec").and_then(|field| spec::update(checker, &field));
    let policy = policy.map_or(Some(Policy::default()), |field| policy::treatment(checker, &field, key.as_ref()));
    if checker.failed() {
        return None;
    }
    let valid = key.zip(update).zip(policy).map(|((key, update), policy)| (key, update, policy));
    if valid.is_none() {
        // No rule is known to end here; should one ever be checked twice and differently, the document must not pass.
        checker.at_value(&root, "this breaks a rule of manifests".into(), Hint::Text(IGNORE_HINT.into()));
    }
    valid
}

/// The service that a document names, whatever else is wrong with it.
pub(super) fn named_service(node: &Node<'_>) -> Option<ServiceKey> {
    let metadata = get(node, "metadata")?;
    let id = |name| match get(metadata, name) {
        Some(Node::Text(text)) => Some(Id::new(text).ok()),
        Some(_) => Some(None),
        None => None,
    };
    let team = match id("teamId") {
        Some(team) => Some(team?),
        None => None,
    };
    Some(ServiceKey { team, project: id("projectId")??, service: id("serviceId")?? })
}

/// Reports a document that was never meant for truenorth, in a word rather than field by field.
fn is_foreign(checker: &mut Checker, node: &Node<'_>) -> bool {
    let hint = || Hint::Text(IGNORE_HINT.into());
    let Node::Map(entries) = node else {
        checker.at_value(&Spot::ROOT, format!("a manifest is a map of fields, found {}", a_kind(node)), hint());
        return true;
    };
    let text = |name| match get(node, name) {
        Some(Node::Text(text)) => Some(text.as_ref()),
        _ => None,
    };
    match (text("apiVersion"), text("kind")) {
        (Some(version), Some(kind)) if !version.starts_with("truenorth") && kind != KIND => {
            let message = format!(
                "this is {} of {}, expected {KIND} of {API_VERSION}",
                shown(if kind.is_empty() { "nothing" } else { kind }),
                shown(if version.is_empty() { "nothing" } else { version })
            );
            checker.at_value(&Spot::ROOT, message, hint());
            true
        }
        _ => {
            let ours = ["apiVersion", "kind", "metadata", "spec"];
            let any = entries.iter().any(|(key, _)| matches!(key, Node::Text(name) if ours.contains(&name.as_ref())));
            if !any {
                checker.at_value(&Spot::ROOT, "this is not a manifest: apiVersion and kind are missing".into(), hint());
            }
            !any
        }
    }
}

fn header(checker: &mut Checker, name: &str, field: Option<&Field<'_, '_>>, expected: &str) {
    let Some(field) = field else { return checker.missing(&Spot::ROOT, name) };
    let Some(text) = checker.text(field) else { return };
    if text != expected {
        let hint = match crate::text::near(text, &[expected], 0.6) {
            Some(near) => format!("did you mean {near}?"),
            None => IGNORE_HINT.into(),
        };
        let message = format!("{name} is `{}`, expected {expected}", shown(text));
        checker.at_value(&field.spot, message, Hint::Text(hint));
    }
}

fn service(checker: &mut Checker, field: &Field<'_, '_>) -> Option<ServiceKey> {
    let owner = &field.spot;
    let [project, service, team] = checker.fields(owner, field.node, fields::METADATA)?;
    let project = required(checker, owner, project, "projectId").and_then(|field| id(checker, &field));
    let service = required(checker, owner, service, "serviceId").and_then(|field| id(checker, &field));
    let team = match team {
        Some(field) => Some(id(checker, &field)?),
        None => None,
    };
    Some(ServiceKey { team, project: project?, service: service? })
}

fn id(checker: &mut Checker, field: &Field<'_, '_>) -> Option<Id> {
    let text = checker.text(field)?;
    Id::new(text)
        .map_err(|error| {
            let name = field.spot.name();
            let (message, hint) = match error {
                InvalidId::Empty => (format!("{name} {error}"), None),
                _ => (format!("{name} `{}` {error}", shown(text)), suggest::id(text)),
            };
            let hint = hint.unwrap_or_else(|| suggest::ID.into());
            checker.at_value(&field.spot, message, Hint::Text(hint));
        })
        .ok()
}

/// A field that must be there.
pub(super) fn required<'c, 'n>(
    checker: &mut Checker,
    owner: &Spot<'_>,
    field: Option<Field<'c, 'n>>,
    name: &str,
) -> Option<Field<'c, 'n>> {
    if field.is_none() {
        checker.missing(owner, name);
    }
    field
}

/// The first value of a name in a map.
fn get<'n>(node: &'n Node<'_>, name: &str) -> Option<&'n Node<'n>> {
    let Node::Map(entries) = node else { return None };
    entries.iter().find(|(key, _)| matches!(key, Node::Text(text) if text == name)).map(|(_, value)| value)
}
