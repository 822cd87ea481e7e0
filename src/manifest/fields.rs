//! The format in one table: every map of a manifest with its fields. The reader, the hints, what `import` writes and the
//! names in messages go by it; a test holds the schema, the model and the README to it.

/// A map of a manifest.
pub(crate) struct Level {
    /// Where it is, such as `spec.external`.
    pub(crate) path: &'static str,
    /// Its fields, in the order in which they are shown and written.
    pub(crate) fields: &'static [&'static str],
    /// Those that it cannot be without.
    pub(crate) required: &'static [&'static str],
}

pub(super) const ROOT: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "policy"];
pub(super) const METADATA: [&str; 3] = ["projectId", "serviceId", "teamId"];
pub(super) const SPEC: [&str; 4] = ["external", "internal", "buildpack", "docker"];
pub(super) const EXTERNAL: [&str; 2] = ["imagePath", "credentials"];
pub(super) const INTERNAL: [&str; 4] = ["id", "branch", "buildSHA", "buildId"];
pub(super) const BUILDPACK: [&str; 4] = ["configType", "customProcess", "customEntrypoint", "customCommand"];
pub(super) const DOCKER: [&str; 3] = ["configType", "customEntrypoint", "customCommand"];
pub(super) const POLICY: [&str; 7] = ["suspend", "drift", "credentials", "dependsOn", "gate", "approval", "onFailure"];
pub(super) const SUSPEND: [&str; 2] = ["reason", "until"];

/// All of them, in the order in which a suggestion names their fields.
pub(crate) const LEVELS: [Level; 9] = [
    Level { path: "", fields: &ROOT, required: &["apiVersion", "kind", "metadata", "spec"] },
    Level { path: "metadata", fields: &METADATA, required: &["projectId", "serviceId"] },
    Level { path: "spec", fields: &SPEC, required: &[] },
    Level { path: "spec.external", fields: &EXTERNAL, required: &["imagePath"] },
    Level { path: "spec.internal", fields: &INTERNAL, required: &["id"] },
    Level { path: "spec.docker", fields: &DOCKER, required: &["configType"] },
    Level { path: "spec.buildpack", fields: &BUILDPACK, required: &["configType"] },
    Level { path: "policy", fields: &POLICY, required: &[] },
    Level { path: "policy.suspend", fields: &SUSPEND, required: &[] },
];

/// The fields of the map at a path.
pub(crate) fn of(path: &str) -> &'static [&'static str] {
    LEVELS.iter().find(|level| level.path == path).map_or(&[], |level| level.fields)
}

/// Whether a field of this name is one that its map cannot be without.
pub(super) fn is_required(name: &str) -> bool {
    LEVELS.iter().any(|level| level.required.contains(&name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::model::DeploymentUpdate;

    fn names(object: &Value) -> BTreeSet<&str> {
        object.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
    }

    /// The map at a path of the schema. What the spec has depends on its form.
    fn in_schema<'s>(schema: &'s Value, path: &str) -> Vec<&'s Value> {
        let defined = |name: &str| &schema["$defs"][name];
        match path {
            "" => vec![schema],
            "spec" => ["ExternalDeployment", "InternalDeployment", "RuntimeOnly"].map(defined).to_vec(),
            "metadata" => vec![defined("Metadata")],
            "spec.external" => vec![defined("External")],
            "spec.internal" => vec![defined("Internal")],
            "spec.docker" => vec![defined("Docker")],
            "spec.buildpack" => vec![defined("Buildpack")],
            "policy" => vec![defined("Policy")],
            "policy.suspend" => vec![defined("Suspension")],
            _ => panic!("the schema of {path} is not known to this test"),
        }
    }

    #[test]
    fn the_schema_has_the_fields_of_the_table_and_requires_the_same() {
        let schema = crate::manifest::schema();
        for Level { path, fields, required } in LEVELS {
            let maps = in_schema(&schema, path);
            let described: BTreeSet<&str> = maps.iter().flat_map(|map| names(&map["properties"])).collect();
            assert_eq!(described, fields.iter().copied().collect(), "{path}");
            if path != "spec" {
                let needed = maps.iter().flat_map(|map| map["required"].as_array().into_iter().flatten());
                let needed: BTreeSet<&str> = needed.map(|name| name.as_str().unwrap()).collect();
                assert_eq!(needed, required.iter().copied().collect(), "{path}");
            }
        }
    }

    #[test]
    fn an_update_has_the_fields_of_the_table() {
        let docker = json!({"configType": "default", "customCommand": "c", "customEntrypoint": "e"});
        let mut buildpack = docker.clone();
        buildpack["customProcess"] = "p".into();
        let external = json!({"imagePath": "nginx:1", "credentials": "ghcr"});
        let internal = json!({"id": "api", "branch": "main", "buildSHA": "latest", "buildId": "1"});
        for body in [
            json!({"external": external, "docker": docker}),
            json!({"internal": internal, "docker": docker, "buildpack": buildpack}),
        ] {
            let update: DeploymentUpdate = serde_json::from_value(body.clone()).unwrap();
            assert_eq!(serde_json::to_value(&update).unwrap(), body);
            for (part, value) in body.as_object().unwrap() {
                assert!(SPEC.contains(&part.as_str()), "{part}");
                assert_eq!(names(value), of(&format!("spec.{part}")).iter().copied().collect(), "{part}");
            }
        }
    }
}
