//! Manifests: whatever a file holds, it is read to an end, and what is said of it can be shown.

use std::sync::Arc;

use truenorth::manifest::{Drawing, Format, parse};

use super::{CANARY, assert_shown, rounds};

fn seeds() -> Vec<String> {
    let secret = format!(
        "apiVersion: truenorth/v1\nkind: ServiceDeployment\nmetadata: {{projectId: shop, serviceId: web}}\nspec:\n  external: \
         {{imagePath: 'nginx:1.27'}}\n  docker:\n    configType: customCommand\n    customCommand: node server.js --token {CANARY}\n"
    );
    let folded = secret.replace(" node server.js --token", " >-\n      node server.js\n      --token");
    let policy =
        format!("{secret}policy:\n  suspend: {{reason: x, until: 2030-01-01T00:00:00Z}}\n  drift: off\n---\n{secret}");
    let json = format!(
        r#"{{"apiVersion": "truenorth/v1", "kind": "ServiceDeployment", "metadata": {{"projectId": "shop", "serviceId": "web"}},
 "spec": {{"buildpack": {{"configType": "customProcess", "customProcess": "web --key={CANARY}"}}}}}}"#
    );
    vec![secret, folded, policy, json]
}

#[test]
fn any_file_is_read_to_an_end_and_what_is_said_of_it_can_be_shown() {
    let seeds = seeds();
    let others: Vec<&[u8]> = seeds.iter().map(String::as_bytes).collect();
    let file: Arc<str> = "shop/web.yaml".into();
    let (mut valid, mut problems) = (0, 0);
    rounds(2000, |round, mutator| {
        let seed = *mutator.one(&others);
        let bytes = mutator.changed(seed, &others);
        for format in [Format::Yaml, Format::Json] {
            let parsed = parse(&file, format, &bytes);
            valid += parsed.manifests.len();
            problems += parsed.problems.len();
            for problem in parsed.problems.iter().take(20) {
                let drawn = Drawing::default().of(problem, "shop/web.yaml");
                assert!(drawn.len() < 20_000, "round {round}: {} bytes", drawn.len());
                assert_shown(&drawn);
                assert!(is_torn(&bytes) || !drawn.contains(CANARY), "round {round}: {drawn}");
            }
        }
    });
    assert!(valid > 100 && problems > 1000, "{valid} valid, {problems} problems");
}

/// Whether a change tore the canary from the option that it is the value of, so that nothing tells it from other text.
fn is_torn(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let torn = |line: &str| line.split(CANARY).next().is_some_and(|before| !before.contains(" --"));
    text.split(['\n', '\r']).any(|line| line.contains(CANARY) && torn(line))
}
