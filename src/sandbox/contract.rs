//! The contract: the embedded `openapi.yaml`, and what it says of paths and bodies.
//!
//! Paths, methods and body rules are taken from the document when the first sandbox starts, so there is no second copy
//! of them that could differ. It knows nothing of the manifest module: a mistake there cannot be repeated here.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::http::Method;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value, json};

use super::details::{Details, details_of};
use super::path::{Segment, decode_ids, segments_of};
use crate::text::words;

const DOCUMENT: &str = include_str!("openapi.yaml");

/// The contract, read once per process.
pub(super) static CONTRACT: LazyLock<Contract> = LazyLock::new(|| {
    Contract::read(DOCUMENT).expect("the embedded contract is valid, which the tests of this module hold")
});

words! {
    /// What a path and a method ask for.
    #[derive(Hash)]
    pub enum Operation {
        /// `POST …/services/{service}/deployment`.
        UpdateServiceDeployment = "updateServiceDeployment",
        /// `GET …/services/{service}/deployment`.
        GetServiceDeployment = "getServiceDeployment",
        /// `GET …/services/{service}`.
        GetService = "getService",
        /// `GET …/services`.
        ListServices = "listServices",
        /// `PATCH …/services/deployment/{service}`.
        PatchDeploymentService = "patchDeploymentService",
        /// `PATCH …/services/combined/{service}`.
        PatchCombinedService = "patchCombinedService",
        /// `GET /v1/login`, which the official CLI asks; no part of the contract.
        Login = "login",
        /// `GET /v1/auth`, whose the token is; no part of the contract.
        Auth = "getAuth",
        /// `GET …/services/{service}/containers`; no part of the contract.
        ListContainers = "listServiceContainers",
        /// `GET …/services/{service}/deployments`; no part of the contract.
        ListDeployments = "listServiceDeployments",
    }
}

impl Operation {
    /// Whether it changes what a service runs: POST and both PATCHes.
    #[must_use]
    pub fn is_update(self) -> bool {
        matches!(self, Self::UpdateServiceDeployment | Self::PatchDeploymentService | Self::PatchCombinedService)
    }
}

/// The ids of a path, decoded. What a path does not hold is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) team: Option<String>,
    pub(super) project: Option<String>,
    pub(super) service: Option<String>,
}

/// Where a request leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// An operation and the ids of its path.
    Found(Operation, Ids),
    /// The path is known, for other methods.
    OtherMethods(Vec<Method>),
    /// No such path.
    Unknown,
}

struct Path {
    template: Vec<Segment>,
    operations: Vec<(Method, Operation)>,
}

/// See the module.
pub(super) struct Contract {
    paths: Vec<Path>,
    bodies: HashMap<Operation, Validator>,
}

impl Contract {
    fn read(text: &str) -> Result<Self, String> {
        let document: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        let mut contract = Self { paths: Vec::new(), bodies: HashMap::new() };
        for (template, item) in document["paths"].as_object().ok_or("no paths")? {
            let item = item.as_object().ok_or_else(|| format!("`{template}` is not an object"))?;
            let operations = contract.read_operations(&document, item)?;
            contract.paths.push(Path { template: segments_of(template)?, operations });
        }
        for (below, operation) in
            [("containers", Operation::ListContainers), ("deployments", Operation::ListDeployments)]
        {
            contract.add_read(&format!("/v1/projects/{{projectId}}/services/{{serviceId}}/{below}"), operation)?;
        }
        contract.add_team_forms();
        for (path, operation) in [("/v1/login", Operation::Login), ("/v1/auth", Operation::Auth)] {
            contract.add_read(path, operation)?;
        }
        Ok(contract)
    }

    /// A path that the document does not have.
    fn add_read(&mut self, path: &str, operation: Operation) -> Result<(), String> {
        self.paths.push(Path { template: segments_of(path)?, operations: vec![(Method::GET, operation)] });
        Ok(())
    }

    fn read_operations(
        &mut self,
        document: &Value,
        item: &Map<String, Value>,
    ) -> Result<Vec<(Method, Operation)>, String> {
        let mut operations = Vec::new();
        for (key, entry) in item.iter().filter(|(key, _)| key.as_str() != "parameters") {
            let method = Method::from_bytes(key.to_ascii_uppercase().as_bytes()).map_err(|error| error.to_string())?;
            let id = entry["operationId"].as_str().ok_or("an operation without operationId")?;
            let operation = Operation::from_word(id).ok_or_else(|| format!("the sandbox does not know `{id}`"))?;
            if let Some(schema) = entry.pointer("/requestBody/content/application~1json/schema") {
                self.bodies.insert(operation, compile(document, schema)?);
            }
            operations.push((method, operation));
        }
        Ok(operations)
    }

    /// The document gives the team form of a path only where truenorth has a use for it; the real API has it for all.
    fn add_team_forms(&mut self) {
        let prefix = [Segment::Fixed("v1".into()), Segment::Fixed("teams".into()), Segment::Team];
        let missing: Vec<Path> = self
            .paths
            .iter()
            .filter(|path| !path.template.contains(&Segment::Team))
            .map(|path| Path {
                template: prefix.iter().chain(&path.template[1..]).cloned().collect(),
                operations: path.operations.clone(),
            })
            .filter(|twin| self.paths.iter().all(|path| path.template != twin.template))
            .collect();
        self.paths.extend(missing);
    }

    /// Finds the operation of a method and an undecoded path.
    ///
    /// More than one template may fit a path (a service may be called `deployment`), so the method decides too.
    pub(super) fn route(&self, method: &Method, path: &str) -> Route {
        let mut others = Vec::new();
        for candidate in &self.paths {
            let Some(ids) = decode_ids(&candidate.template, path) else { continue };
            match candidate.operations.iter().find(|(allowed, _)| allowed == method) {
                Some((_, operation)) => return Route::Found(*operation, ids),
                None => others.extend(candidate.operations.iter().map(|(allowed, _)| allowed.clone())),
            }
        }
        if others.is_empty() { Route::Unknown } else { Route::OtherMethods(others) }
    }

    /// Checks the body of an update.
    ///
    /// # Errors
    /// Each field at fault and what is wrong with it.
    pub(super) fn check(&self, operation: Operation, body: &Value) -> Result<(), Details> {
        let Some(validator) = self.bodies.get(&operation) else { return Ok(()) };
        if validator.is_valid(body) { Ok(()) } else { Err(details_of(validator, body)) }
    }
}

/// Compiles a schema of the document. Its references all point into `components`, which is put beside it.
fn compile(document: &Value, schema: &Value) -> Result<Validator, String> {
    let mut root = schema.as_object().cloned().ok_or("the schema is not an object")?;
    root.insert("components".to_owned(), document["components"].clone());
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::regex())
        .build(&json!(root))
        .map_err(|error| error.to_string())
}

#[cfg(test)]
pub(super) mod for_tests {
    //! The document itself, for tests that walk through it.
    use super::*;

    /// The whole document.
    pub(in crate::sandbox) fn document() -> Value {
        serde_yaml::from_str(DOCUMENT).unwrap()
    }

    /// A validator for answers of an operation: of its 200, or of a failure.
    pub(in crate::sandbox) fn answer_schema(operation: Operation, status: u16) -> Validator {
        let document = document();
        let entry = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|item| item.as_object().unwrap().values())
            .find(|entry| entry["operationId"] == operation.as_str())
            .unwrap();
        let mut answer = &entry["responses"][if status == 200 { "200" } else { "default" }];
        if let Some(name) = answer["$ref"].as_str() {
            answer = document.pointer(name.trim_start_matches('#')).unwrap();
        }
        compile(&document, &answer["content"]["application/json"]["schema"]).unwrap()
    }
}
