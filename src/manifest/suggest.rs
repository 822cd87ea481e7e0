//! Suggestions: what somebody may have meant by a field or a word that a manifest does not have.

use super::fields::{self, LEVELS, Level};
use super::rules::{API_VERSION, KIND};
use crate::model::{BuildpackConfig, DockerConfig};
use crate::text::{is_invisible, look_alike, near};

/// How alike two words must be, of 1.
const NEAR: f32 = 0.6;
/// How alike a word must be to a field of another map, where the guess is bolder.
const NEAR_ELSEWHERE: f32 = 0.85;
/// Most characters of a text that an id is made of.
const MAX_ID: usize = 64;

/// The hint for an unknown field of the map at `level`, such as `spec.external`.
pub(super) fn field(level: &str, name: &str) -> String {
    if name == "<<" {
        return "merge keys are not allowed in manifests: write the fields out, or use an alias for a whole value"
            .into();
    }
    let siblings = fields::of(level);
    let same = |field: &&&str| field.eq_ignore_ascii_case(name);
    if let Some(sibling) = siblings.iter().find(same) {
        return format!("did you mean {sibling}?");
    }
    if level == "policy" && fields::SUSPEND.iter().any(|field| field.eq_ignore_ascii_case(name)) {
        return format!("it belongs below suspend: write suspend: {{{}: …}}", name.to_ascii_lowercase());
    }
    // A field of two letters says too little to be looked for elsewhere.
    let telling = name.len() > 2;
    let elsewhere = if telling { places(|field| field.eq_ignore_ascii_case(name)) } else { Vec::new() };
    if !elsewhere.is_empty() {
        return format!("did you mean {}?", elsewhere.join(" or "));
    }
    if let Some(near) = near(name, siblings, NEAR) {
        return format!("did you mean {near}?");
    }
    if telling && let Some(near) = known(name) {
        return format!("did you mean {}?", places(|field| field == near).join(" or "));
    }
    format!("known here: {}", siblings.join(", "))
}

/// The field that has this name, or nearly.
pub(super) fn known(name: &str) -> Option<&'static str> {
    let all: Vec<&str> = LEVELS.iter().flat_map(|level| level.fields).copied().collect();
    near(name, &all, NEAR_ELSEWHERE)
}

/// Where the id of a project, a service or a team is found.
pub(super) const ID: &str = "use the id from the URL of its page in Northflank, not its name";

/// The hint for a field that is missing from the map at `level`: what to add.
pub(super) fn missing(level: &str, name: &str) -> String {
    match name {
        "apiVersion" => format!("add {name}: {API_VERSION}"),
        "kind" => format!("add {name}: {KIND}"),
        "metadata" => format!("add {name}, with projectId and serviceId below it"),
        "spec" => format!("add {name}, with external, internal, docker or buildpack below it"),
        "projectId" | "serviceId" => format!("add {name}: the id from the URL of its page in Northflank, not its name"),
        "imagePath" => format!("add {name}: the image, with its tag or digest"),
        "id" => format!("add {name}: that of the build service"),
        "configType" => {
            let words: Vec<&str> = match level {
                "spec.buildpack" => BuildpackConfig::ALL.map(BuildpackConfig::as_str).into(),
                _ => DockerConfig::ALL.map(DockerConfig::as_str).into(),
            };
            format!("add {name}: one of {}", words.join(", "))
        }
        _ => format!("add {name}"),
    }
}

/// The hint for a word that is none of those known.
pub(super) fn word(given: &str, known: &[&str]) -> String {
    match near(given, known, NEAR) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("known: {}", known.join(", ")),
    }
}

/// The id that somebody may have meant who wrote a name, or a letter that only looks right.
pub(super) fn id(given: &str) -> Option<String> {
    let mut id = String::new();
    for c in given.chars().take(MAX_ID) {
        match look_alike(c).unwrap_or(c).to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => id.push(c),
            c if is_invisible(c) => {}
            // Blanks and signs between words; other letters have no one way to be written in ASCII.
            c if !c.is_alphanumeric() => {
                if !id.is_empty() && !id.ends_with('-') {
                    id.push('-');
                }
            }
            _ => return None,
        }
    }
    let id = id.trim_end_matches('-');
    (!id.is_empty()).then(|| format!("did you mean {id}?"))
}

/// The hint for text that was meant as `true` or `false`.
pub(super) fn truth(given: &str) -> Option<String> {
    Some(match given.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" | "true" | "1" => "write true, without quotes".into(),
        "no" | "off" | "n" | "false" | "0" => "write false, without quotes".into(),
        _ => return None,
    })
}

fn places(wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let of_level = |Level { path, fields, .. }: &Level| {
        let found = fields.iter().find(|field| wanted(field))?;
        Some(if path.is_empty() { (*found).to_owned() } else { format!("{path}.{found}") })
    };
    LEVELS.iter().filter_map(of_level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_told_its_name_or_its_place() {
        for (level, name, hint) in [
            ("spec.external", "imagepath", "did you mean imagePath?"),
            ("spec.external", "image", "did you mean imagePath?"),
            ("spec.internal", "buildSha", "did you mean buildSHA?"),
            ("spec", "imagePath", "did you mean spec.external.imagePath?"),
            ("spec", "customCommand", "did you mean spec.docker.customCommand or spec.buildpack.customCommand?"),
            ("spec", "imagePaths", "did you mean spec.external.imagePath?"),
            ("", "projectId", "did you mean metadata.projectId?"),
            ("metadata", "service", "did you mean serviceId?"),
            ("metadata", "id", "known here: projectId, serviceId, teamId"),
            ("policy", "colour", "known here: suspend, drift, credentials, dependsOn, gate, approval, onFailure"),
            ("policy", "onFail", "did you mean onFailure?"),
            ("policy", "onfailure", "did you mean onFailure?"),
            ("", "onFailure", "did you mean policy.onFailure?"),
            ("policy", "Reason", "it belongs below suspend: write suspend: {reason: …}"),
            ("policy.suspend", "drift", "did you mean policy.drift?"),
            ("policy.suspend", "untill", "did you mean until?"),
            ("", "until", "did you mean policy.suspend.until?"),
        ] {
            assert_eq!(field(level, name), hint, "{level} {name}");
        }
        assert!(field("spec", "<<").starts_with("merge keys"));
    }

    #[test]
    fn a_name_is_told_the_likely_id() {
        for (name, hint) in [
            ("My Shop", Some("did you mean my-shop?")),
            (" shop ", Some("did you mean shop?")),
            ("acme/Check_Out", Some("did you mean acme-check-out?")),
            ("sh\u{43e}p", Some("did you mean shop?")),
            ("shop\u{200b}", Some("did you mean shop?")),
            ("caf\u{e9}", None),
            ("..", None),
        ] {
            assert_eq!(id(name).as_deref(), hint, "{name}");
        }
    }

    #[test]
    fn a_word_is_told_the_near_one() {
        assert_eq!(word("CustomComand", &["default", "customCommand"]), "did you mean customCommand?");
        assert_eq!(word("x", &["default", "customCommand"]), "known: default, customCommand");
        assert_eq!(word(&"x".repeat(100_000), &["default"]), "known: default");
    }
}
