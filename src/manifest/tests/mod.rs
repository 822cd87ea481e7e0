//! Tests of the module as a whole, by subject.

mod agreement;
mod digests;
mod hostile;
mod mistakes;
mod places;
mod styles;

use std::sync::Arc;

use super::*;

/// The head of a good manifest, up to the lines of its spec.
const HEAD: &str = "apiVersion: truenorth/v1
kind: ServiceDeployment
metadata: {projectId: shop, serviceId: checkout}
spec:
";

fn yaml(text: impl AsRef<[u8]>) -> Parsed {
    parse(&Arc::from("shop/checkout.yaml"), Format::Yaml, text.as_ref())
}

fn json(text: impl AsRef<[u8]>) -> Parsed {
    parse(&Arc::from("shop/checkout.json"), Format::Json, text.as_ref())
}

/// The one manifest of a good file.
fn only(parsed: Parsed) -> (ServiceKey, Desired) {
    assert_eq!(parsed.problems, []);
    let [manifest] = <[_; 1]>::try_from(parsed.manifests).expect("one manifest");
    manifest
}

/// Problems as `line:column path: message (hint)`.
fn lines(parsed: &Parsed) -> Vec<String> {
    let line = |problem: &Problem| {
        let Problem { line, column, path, message, hint, .. } = problem;
        let hint = hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{line}:{column} {path}: {message}{hint}")
    };
    parsed.problems.iter().map(line).collect()
}
