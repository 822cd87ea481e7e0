//! What a pass costs: reading and planning 10,000 manifests, and 1,000 changed services against an API of 20 ms.

#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use tempfile::TempDir;
use truenorth::engine::Pace;
use truenorth::ledger::Ledger;
use truenorth::model::ApiPlace;
use truenorth::northflank::{Client, Settings, Token, TokenSource};
use truenorth::pass::{PassSettings, reconcile_once};
use truenorth::plan::{Adopt, Rules, plan, waves};
use truenorth::runner::{Api, UpdateCall};
use truenorth::sandbox::{Options, Sandbox};
use truenorth::source::Folder;
use truenorth::stop::Stop;

fn write_manifests(folder: &Path, count: usize, tag: &str) {
    for number in 0..count {
        let project = folder.join(format!("project-{}", number / 100));
        std::fs::create_dir_all(&project).unwrap();
        let text = format!(
            "apiVersion: truenorth/v1\nkind: ServiceDeployment\nmetadata:\n  projectId: project-{}\n  serviceId: \
             service-{number}\nspec:\n  external:\n    imagePath: ghcr.io/acme/service-{number}:{tag}\n    \
             credentials: ghcr\n",
            number / 100
        );
        std::fs::write(project.join(format!("{number}.yaml")), text).unwrap();
    }
}

/// A first look, and one that finds every file as it was.
fn look(criterion: &mut Criterion) {
    let folder = TempDir::new().unwrap();
    write_manifests(folder.path(), 10_000, "1");
    let mut group = criterion.benchmark_group("look at 10,000 manifests");
    group.sample_size(20);
    group.bench_function("first", |bencher| bencher.iter(|| Folder::new(folder.path()).look().unwrap()));
    let mut known = Folder::new(folder.path());
    // Files that were written just now are read again until their times are trusted.
    std::thread::sleep(Duration::from_secs(3));
    known.look().unwrap();
    group.bench_function("again", |bencher| bencher.iter(|| known.look().unwrap()));
    group.finish();
}

/// A first look at 100,000 files and folders in shapes that were made to be slow; the goal is twice the flat one at most.
fn shapes(criterion: &mut Criterion) {
    const ENTRIES: usize = 100_000;
    let deep = format!("{}end", "d/".repeat(62));
    let write = |folder: &Path, number: usize| {
        let text = format!(
            "apiVersion: truenorth/v1\nkind: ServiceDeployment\nmetadata: {{projectId: p, serviceId: s-{number}}}\nspec: \
             {{external: {{imagePath: nginx:1}}}}\n"
        );
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(format!("{number}.yaml")), text).unwrap();
    };
    let mut group = criterion.benchmark_group("first look at 100,000 entries");
    group.sample_size(10);
    let mut shape = |name: &str, make: &dyn Fn(&Path)| {
        let folder = TempDir::new().unwrap();
        make(folder.path());
        group.bench_function(name, |bencher| bencher.iter(|| Folder::new(folder.path()).look().unwrap()));
    };
    shape("flat", &|top| (0..ENTRIES).for_each(|number| write(top, number)));
    shape("64 folders deep", &|top| (0..ENTRIES - 63).for_each(|number| write(&top.join(&deep), number)));
    shape("a folder each", &|top| (0..ENTRIES / 2).for_each(|number| write(&top.join(number.to_string()), number)));
    shape("chains of folders", &|top| {
        let chain = "d/".repeat(60);
        (0..ENTRIES / 62).for_each(|number| write(&top.join(number.to_string()).join(&chain), number));
    });
    shape("a link each", &|top| {
        for number in 0..ENTRIES {
            write(&top.join(".data"), number);
            std::os::unix::fs::symlink(format!(".data/{number}.yaml"), top.join(format!("{number}.yaml"))).unwrap();
        }
    });
    shape("links to one folder", &|top| {
        write(&top.join(".data"), 0);
        for number in 0..ENTRIES - 1 {
            std::os::unix::fs::symlink(".data", top.join(number.to_string())).unwrap();
        }
    });
    group.finish();
}

/// 1,000 updates at 64 in flight against 20 ms; the ideal is 1000 · 20 ms / 64 = 312.5 ms.
fn updates(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let options = Options { limit: u32::MAX, latency: Duration::from_millis(20), ..Options::default() };
    let sandbox = runtime.block_on(Sandbox::start(SocketAddr::from(([127, 0, 0, 1], 0)), options)).unwrap();
    let (folder, state) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut round = 0;
    let mut group = criterion.benchmark_group("1,000 updates of 20 ms, 64 in flight");
    group.sample_size(10);
    group.bench_function("pass", |bencher| {
        bencher.iter_custom(|times| {
            let mut total = Duration::ZERO;
            for _ in 0..times {
                round += 1;
                write_manifests(folder.path(), 1_000, &round.to_string());
                let began = Instant::now();
                runtime.block_on(pass(&sandbox.url(), folder.path(), state.path()));
                total += began.elapsed();
            }
            total
        });
    });
    group.finish();
    runtime.block_on(sandbox.stop());
}

async fn pass(url: &str, folder: &Path, state: &Path) {
    let token = Token::new("bench").unwrap();
    let client = Client::new(Settings::new(url.parse().unwrap(), Duration::from_secs(30)), token.clone()).unwrap();
    let ledger = Ledger::open(&state.join("state"), ApiPlace::new(url), Timestamp::now()).unwrap();
    let settings = PassSettings {
        max_changes: None,
        windows: truenorth::plan::Windows::default(),
        on_failure: truenorth::model::OnFailure::Hold,
        concurrency: 64,
        rate_limit: 1_000_000,
        deadline: Duration::from_secs(60),
        backoff: Pace::default().backoff,
        rules: Rules { adopt: Adopt::SendFirst, ..Rules::default() },
        follow: None,
        commands: truenorth::text::command::Commands::Hidden,
    };
    let tokens = TokenSource::Environment(token);
    let request_timeout = Duration::from_secs(30);
    let api = Api { client, tokens, update_call: UpdateCall::Post, request_timeout, asks_account: false };
    let (_sender, stop) = Stop::channel();
    let report = reconcile_once(&mut Folder::new(folder), ledger, api, settings, stop, |_| {}).await.unwrap();
    assert!(report.converged && report.api.calls == 1_000);
}

/// What 30,000 dependencies add where 10,000 services are due, to putting together what the folder says and to the plan;
/// the goal is 10 ms.
fn dependencies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("10,000 services that are due");
    group.sample_size(20);
    for each in [0, 3] {
        let folder = TempDir::new().unwrap();
        write_manifests(folder.path(), 10_000, "1");
        for number in 1..10_000_usize {
            // Some near, some far, and no circle.
            let of = |step: usize| number.checked_sub(step).map(|of| format!("project-{}/service-{of}", of / 100));
            let named: Vec<String> = [1, 100, 1 + number / 2].into_iter().take(each).filter_map(of).collect();
            if each > 0 {
                let path = folder.path().join(format!("project-{}", number / 100)).join(format!("{number}.yaml"));
                let text = std::fs::read_to_string(&path).unwrap();
                std::fs::write(path, format!("{text}policy:\n  dependsOn: [{}]\n", named.join(", "))).unwrap();
            }
        }
        let mut known = Folder::new(folder.path());
        known.look().unwrap();
        // Files that were written just now are read again until their times are trusted.
        std::thread::sleep(Duration::from_secs(3));
        let desired = known.look().unwrap().desired;
        assert_eq!(desired.len(), 10_000);
        let (none, rules) = (HashMap::new(), Rules { adopt: Adopt::SendFirst, ..Rules::default() });
        group.bench_function(format!("a look, {each} dependencies each"), |bencher| {
            bencher.iter(|| known.look().unwrap());
        });
        group.bench_function(format!("a plan, {each} dependencies each"), |bencher| {
            bencher.iter(|| {
                let steps = plan(&desired, &none, &HashMap::new(), &rules, Timestamp::UNIX_EPOCH);
                waves(&desired, &steps).len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, look, shapes, updates, dependencies);
criterion_main!(benches);
