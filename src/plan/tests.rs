use serde_json::json;

use super::*;
use crate::model::{
    ApiPlace, Applied, DeploymentUpdate, Digest, Docker, DockerConfig, External, ImagePath, Place, Policy, Revision,
    RuntimeUpdate, Suspend,
};
use crate::text::command::Commands;

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

/// The time does not matter here.
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// Sends without reading first.
const BARE: Rules = Rules { adopt: Adopt::SendFirst, drift: DriftMode::Report };

fn bare(desired: Option<&Desired>, known: Option<&Known>) -> Option<Step> {
    step(desired, known, None, &BARE, NOW)
}

fn unread(desired: &BTreeMap<ServiceKey, Desired>, known: &HashMap<ServiceKey, Known>) -> BTreeMap<ServiceKey, Step> {
    plan(desired, known, &HashMap::new(), &Rules::default(), NOW)
}

#[test]
fn a_step_follows_from_what_is_desired_and_known() {
    let web = desired("shop/web", image("nginx:1"), false);
    let same = Known::Applied(Applied::new(web.digest));
    let other = Known::Applied(Applied::new(Digest::of_bytes(b"other")));
    let suspended = desired("shop/web", image("nginx:1"), true);
    assert_eq!(bare(None, None), None);
    assert_eq!(bare(Some(&web), None), Some(Step::Update(Cause::New)));
    assert_eq!(bare(Some(&web), Some(&same)), Some(Step::Unchanged));
    assert_eq!(bare(Some(&web), Some(&other)), Some(Step::Update(Cause::Changed)));
    assert_eq!(bare(Some(&web), Some(&Known::InDoubt)), Some(Step::ReadLive(Cause::InDoubt)));
    for known in [None, Some(&same), Some(&other), Some(&Known::InDoubt)] {
        assert_eq!(bare(Some(&suspended), known), Some(Step::Suspended));
    }
    for known in [same, other, Known::InDoubt] {
        assert_eq!(bare(None, Some(&known)), Some(Step::Orphaned));
    }
}

#[test]
fn what_drifted_is_read_before_each_content_that_is_to_be_sent() {
    let [applied, compared, newest] =
        ["1", "2", "3"].map(|tag| desired("shop/web", image(&format!("nginx:{tag}")), false));
    let known = Known::Applied(Applied::new(applied.digest));
    let change = Change { path: "external.imagePath".into(), from: Some("nginx:3".into()), to: None };
    let differs = Reading { differences: [change].into(), undecided: [].into(), ..Reading::default() };
    let next = |with: &Desired, reading: &Reading, desired: &Desired| {
        let seen = Seen { compared: with.digest, at: NOW, reading: reading.clone() };
        step(Some(desired), Some(&known), Some(&seen), &Rules::default(), NOW)
    };
    assert_eq!(next(&applied, &differs, &compared), Some(Step::ReadLive(Cause::Changed)));
    assert_eq!(next(&compared, &differs, &compared), Some(Step::Update(Cause::Changed)));
    assert_eq!(next(&compared, &differs, &newest), Some(Step::ReadLive(Cause::Changed)), "it may be what runs");
    assert_eq!(next(&applied, &Reading::default(), &newest), Some(Step::Update(Cause::Changed)), "nothing drifted");
}

#[test]
fn a_plan_after_applying_a_plan_is_empty() {
    let desired: BTreeMap<_, _> = [("shop/a", "nginx:1"), ("shop/b", "nginx:2"), ("acme/shop/c", "nginx:3")]
        .map(|(name, path)| (key(name), desired(name, image(path), false)))
        .into();
    let mut known = HashMap::from([(key("shop/b"), Known::InDoubt), (key("shop/gone"), Known::InDoubt)]);
    let first = unread(&desired, &known);
    assert_eq!(first.len(), 4);
    for (key, step) in &first {
        if matches!(step, Step::Update(_) | Step::ReadLive(_)) {
            known.insert(key.clone(), Known::Applied(Applied::new(desired[key].digest)));
        }
    }
    assert!(unread(&desired, &known).values().all(|step| matches!(step, Step::Unchanged | Step::Orphaned)));
}

#[test]
fn changes_name_each_field_that_differs() {
    let applied = json!({"external": {"imagePath": "nginx:1", "credentials": "hub"}});
    let found = changes(Some(&applied), &image("nginx:2"), Commands::Hidden);
    let shown: Vec<_> = found.iter().map(|c| (c.path.as_str(), c.from.as_deref(), c.to.as_deref())).collect();
    assert_eq!(
        shown,
        [("external.credentials", Some("hub"), None), ("external.imagePath", Some("nginx:1"), Some("nginx:2"))]
    );
    assert_eq!(changes(Some(&json!({"external": {"imagePath": "nginx:2"}})), &image("nginx:2"), Commands::Hidden), []);
}

#[test]
fn a_change_shows_no_password() {
    let command = "serve --db-password hunter2 API_KEY=abc,x https://joe:pw@host/ TOKEN: t0p --port 80";
    let docker = Docker::new(DockerConfig::CustomCommand, None, Some(command.to_owned())).unwrap();
    let found = changes(None, &DeploymentUpdate::Runtime(RuntimeUpdate::Docker { docker }), Commands::Hidden);
    let shown = found[1].to.clone().unwrap();
    assert_eq!(shown, "serve --db-password [hidden] API_KEY=[hidden] [hidden] [hidden] [hidden] --port 80");
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
        error: error.map(Into::into),
        undecided: vec![],
        warnings: vec![],
        held_by: Vec::new(),
        drift: vec![],
        suspension: None,
        rollout: None,
        moved_from: None,
        moved_to: None,
        awaited: false,
    };
    let change =
        Change { path: "external.imagePath".into(), from: Some("nginx:1".into()), to: Some("nginx:\u{1b}2".into()) };
    let report = Report {
        place: ApiPlace::new("https://api.example.com"),
        revision: Revision::Tree(Digest::of_bytes(b"")),
        commit: None,
        plan: PlanReport { id: None, changes: 2, limit: None, state: PlanState::Within },
        converged: false,
        waves: Vec::new(),
        services: vec![
            service("shop/a", Outcome::Updated, Some(Cause::Changed), vec![change], None),
            service("shop/b", Outcome::Unchanged, None, vec![], None),
            service("shop/c", Outcome::Stalled, Some(Cause::New), vec![], Some("no such service")),
        ],
        problems: vec![],
        warnings: vec![],
        api: ApiUse { calls: 2, remaining: Some(998) },
        cost: None,
    };
    let plain = anstream::adapter::strip_str(&render(&report)).to_string();
    insta::assert_snapshot!(plain, @r"
    signs: ~ changed, ! needs a look
    ~ updated   shop/a (changed)  shop.yaml:3
        external.imagePath  nginx:1 -> nginx:\u{1b}2
    ! stalled   shop/c (new)  shop.yaml:3
        no such service
    1 stalled, 1 updated, 1 unchanged; 2 calls, 998 left in this window
    ");
}

#[test]
fn what_is_not_known_is_read_before_it_is_sent() {
    let web = desired("shop/web", image("nginx:1"), false);
    let rules = Rules::default();
    let seen = |compared| {
        let change = Change { path: "external.imagePath".into(), from: Some("nginx:0".into()), to: None };
        Seen {
            compared,
            at: NOW,
            reading: Reading { differences: [change].into(), undecided: [].into(), ..Reading::default() },
        }
    };
    let (read, stale) = (seen(web.digest), seen(Digest::of_bytes(b"other")));
    for (known, cause) in [(None, Cause::New), (Some(Known::InDoubt), Cause::InDoubt)] {
        let step = |seen| step(Some(&web), known.as_ref(), seen, &rules, NOW);
        assert_eq!(step(None), Some(Step::ReadLive(cause)));
        assert_eq!(step(Some(&stale)), Some(Step::ReadLive(cause)), "other content was compared");
        assert_eq!(step(Some(&read)), Some(Step::Update(cause)));
    }
    let doubt = step(Some(&web), Some(&Known::InDoubt), None, &BARE, NOW);
    assert_eq!(doubt, Some(Step::ReadLive(Cause::InDoubt)), "doubt is settled by reading, whatever the rule");
}

#[test]
fn drift_is_corrected_where_that_is_the_rule() {
    let mut web = desired("shop/web", image("nginx:1"), false);
    let known = Known::Applied(Applied::new(web.digest));
    let change = Change { path: "external.imagePath".into(), from: Some("nginx:0".into()), to: None };
    let reading = Reading { differences: [change].into(), undecided: [].into(), ..Reading::default() };
    let seen = Seen { compared: web.digest, at: NOW, reading };
    for (rule, policy, step_) in [
        (DriftMode::Report, None, Step::Unchanged),
        (DriftMode::Correct, None, Step::Update(Cause::Drifted)),
        (DriftMode::Off, Some(DriftMode::Correct), Step::Update(Cause::Drifted)),
        (DriftMode::Correct, Some(DriftMode::Report), Step::Unchanged),
    ] {
        web.policy.drift = policy;
        let rules = Rules { drift: rule, ..Rules::default() };
        assert_eq!(step(Some(&web), Some(&known), Some(&seen), &rules, NOW), Some(step_), "{rule:?} {policy:?}");
    }
    let undecided =
        Seen { reading: Reading { undecided: ["external.credentials".into()].into(), ..Reading::default() }, ..seen };
    let rules = Rules { drift: DriftMode::Correct, ..Rules::default() };
    web.policy.drift = None;
    assert_eq!(step(Some(&web), Some(&known), Some(&undecided), &rules, NOW), Some(Step::Unchanged));
}
