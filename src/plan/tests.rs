use serde_json::json;

use super::*;
use crate::model::{
    Applied, DeploymentUpdate, Digest, Docker, DockerConfig, External, ImagePath, Place, Policy, Revision,
    RuntimeUpdate, Suspend,
};

fn key(text: &str) -> ServiceKey {
    text.parse().unwrap()
}

fn image(path: &str) -> DeploymentUpdate {
    let external = External { credentials: None, image_path: ImagePath::new(path).unwrap() };
    DeploymentUpdate::External { docker: None, external }
}

fn desired(service: &str, update: DeploymentUpdate, suspend: bool) -> Desired {
    let suspend = if suspend { Suspend::Yes { reason: None, until: None } } else { Suspend::No };
    let policy = Policy { suspend, ..Policy::default() };
    Desired::new(&key(service), update, policy, Place { file: "a.yaml".into(), line: 1 })
}

#[test]
fn a_step_follows_from_what_is_desired_and_known() {
    let web = desired("shop/web", image("nginx:1"), false);
    let same = Known::Applied(Applied { digest: web.digest });
    let other = Known::Applied(Applied { digest: Digest::of_bytes(b"other") });
    let suspended = desired("shop/web", image("nginx:1"), true);
    assert_eq!(step(None, None), None);
    assert_eq!(step(Some(&web), None), Some(Step::Update(Cause::New)));
    assert_eq!(step(Some(&web), Some(&same)), Some(Step::Unchanged));
    assert_eq!(step(Some(&web), Some(&other)), Some(Step::Update(Cause::Changed)));
    assert_eq!(step(Some(&web), Some(&Known::InDoubt)), Some(Step::Update(Cause::InDoubt)));
    for known in [None, Some(&same), Some(&other), Some(&Known::InDoubt)] {
        assert_eq!(step(Some(&suspended), known), Some(Step::Suspended));
    }
    for known in [same, other, Known::InDoubt] {
        assert_eq!(step(None, Some(&known)), Some(Step::Orphaned));
    }
}

#[test]
fn a_plan_after_applying_a_plan_is_empty() {
    let desired: BTreeMap<_, _> = [("shop/a", "nginx:1"), ("shop/b", "nginx:2"), ("acme/shop/c", "nginx:3")]
        .map(|(name, path)| (key(name), desired(name, image(path), false)))
        .into();
    let mut known = HashMap::from([(key("shop/b"), Known::InDoubt), (key("shop/gone"), Known::InDoubt)]);
    let first = plan(&desired, &known);
    assert_eq!(first.len(), 4);
    for (key, step) in &first {
        if matches!(step, Step::Update(_)) {
            known.insert(key.clone(), Known::Applied(Applied { digest: desired[key].digest }));
        }
    }
    assert!(plan(&desired, &known).values().all(|step| matches!(step, Step::Unchanged | Step::Orphaned)));
}

#[test]
fn changes_name_each_field_that_differs() {
    let applied = json!({"external": {"imagePath": "nginx:1", "credentials": "hub"}});
    let found = changes(Some(&applied), &image("nginx:2"));
    let shown: Vec<_> = found.iter().map(|c| (c.path.as_str(), c.from.as_deref(), c.to.as_deref())).collect();
    assert_eq!(
        shown,
        [("external.credentials", Some("hub"), None), ("external.imagePath", Some("nginx:1"), Some("nginx:2"))]
    );
    assert_eq!(changes(Some(&json!({"external": {"imagePath": "nginx:2"}})), &image("nginx:2")), []);
}

#[test]
fn a_change_shows_no_password() {
    let command = "serve --db-password hunter2 API_KEY=abc,x https://joe:pw@host/ TOKEN: t0p --port 80";
    let docker = Docker::new(DockerConfig::CustomCommand, None, Some(command.to_owned())).unwrap();
    let found = changes(None, &DeploymentUpdate::Runtime(RuntimeUpdate::Docker { docker }));
    let shown = found[1].to.clone().unwrap();
    assert_eq!(shown, "serve --db-password *** API_KEY=***,x https://***@host/ TOKEN: *** --port 80");
}

#[test]
fn a_report_reads_as_lines_and_a_summary() {
    let service = |name: &str, outcome, cause, changes, error: Option<&str>| ServiceReport {
        service: key(name),
        outcome,
        digest: None,
        manifest: Some(Place { file: "shop.yaml".into(), line: 3 }),
        cause,
        changes,
        attempts: 1,
        error: error.map(str::to_owned),
    };
    let change =
        Change { path: "external.imagePath".into(), from: Some("nginx:1".into()), to: Some("nginx:\u{1b}2".into()) };
    let report = Report {
        revision: Revision::Tree(Digest::of_bytes(b"")),
        converged: false,
        services: vec![
            service("shop/a", Outcome::Updated, Some(Cause::Changed), vec![change], None),
            service("shop/b", Outcome::Unchanged, None, vec![], None),
            service("shop/c", Outcome::Stalled, Some(Cause::New), vec![], Some("no such service")),
        ],
        problems: vec![],
        api: ApiUse { calls: 2, remaining: Some(998) },
    };
    let plain = anstream::adapter::strip_str(&render(&report)).to_string();
    insta::assert_snapshot!(plain, @r"
    ~ updated   shop/a (changed)  shop.yaml:3
        external.imagePath  nginx:1 -> nginx:\u{1b}2
    ! stalled   shop/c (new)  shop.yaml:3
        no such service
    1 stalled, 1 updated, 1 unchanged; 2 calls, 998 left in this window  tree:sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
    ");
}
