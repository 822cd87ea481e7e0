//! What the daemon costs, with 10,000 manifests in its folder; the real binary against a sandbox in this process.
//!
//! ```text
//! cargo bench --bench daemon                      latency, pull, resync
//! cargo bench --bench daemon -- latency [RENAMES] from rename(2) to the call, beside a loop of shell commands
//! cargo bench --bench daemon -- pull [COMMITS]    from the end of a git pull to the call
//! cargo bench --bench daemon -- resync [ROUNDS]   a look at an unchanged checkout, beside `git status`
//! cargo bench --bench daemon -- idle [SECONDS]    wake-ups, CPU time and memory while nothing happens
//! cargo bench --bench daemon -- soak [CHANGES]    memory over 100,000 changes
//! ```
//! The shell loop needs `inotifywait` (package inotify-tools) and `curl`, resync needs `git`. `TRUENORTH` names another
//! binary than the one that cargo built.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a bench")]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use truenorth::sandbox::{Operation, Options, Sandbox, World};

const MANIFESTS: usize = 10_000;
/// Files that were written just now are read again until their times are trusted.
const SETTLED: Duration = Duration::from_secs(3);

fn main() {
    // cargo itself adds `--bench`.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let (what, number) = (arguments.next(), arguments.next().map(|number| number.parse().unwrap()));
    match what.as_deref() {
        None => {
            latency(300);
            pulls(100);
            resync(50);
        }
        Some("latency") => latency(number.unwrap_or(300)),
        Some("pull") => pulls(number.unwrap_or(100)),
        Some("resync") => resync(number.unwrap_or(50)),
        Some("idle") => idle(number.unwrap_or(180)),
        Some("soak") => soak(number.unwrap_or(100_000)),
        Some(other) => panic!("no such bench: {other}"),
    }
}

/// A folder of manifests that are all applied, the API, and the daemon.
struct Stage {
    folder: TempDir,
    state: TempDir,
    /// When the daemon told systemd, which is played here, that it is ready.
    ready: Receiver<Instant>,
    world: World,
    url: String,
    daemon: Option<Child>,
    _sandbox: Sandbox,
    _runtime: Runtime,
}

impl Stage {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let options = Options { limit: u32::MAX, log: 100_000, ..Options::default() };
        let sandbox = runtime.block_on(Sandbox::start(SocketAddr::from(([127, 0, 0, 1], 0)), options)).unwrap();
        let (folder, state) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let notify = UnixDatagram::bind(state.path().join("notify")).unwrap();
        let (said, ready) = channel();
        // Read all the time: the daemon waits where nobody does.
        std::thread::spawn(move || {
            let mut message = [0; 4096];
            while let Ok(length) = notify.recv(&mut message) {
                if message[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                    let _ = said.send(Instant::now());
                }
            }
        });
        let (world, url) = (sandbox.world(), sandbox.url());
        let stage = Self { folder, state, ready, world, url, daemon: None, _sandbox: sandbox, _runtime: runtime };
        (0..MANIFESTS).for_each(|number| std::fs::write(stage.path(number), manifest(number, 0)).unwrap());
        stage
    }

    /// Starts the daemon and waits until all is applied.
    fn start(&mut self) {
        let binary = std::env::var_os("TRUENORTH").unwrap_or_else(|| env!("CARGO_BIN_EXE_truenorth").into());
        let daemon = Command::new(binary)
            .args(["--listen", "off", "--concurrency", "64", "--log-level", "warn", "--api-url", &self.url])
            .arg("--manifests")
            .arg(self.folder.path())
            .arg("--state-dir")
            .arg(self.state.path().join("state"))
            .env("NORTHFLANK_API_TOKEN", "bench")
            .env("NOTIFY_SOCKET", self.state.path().join("notify"))
            .spawn()
            .unwrap();
        self.daemon = Some(daemon);
        self.updated(MANIFESTS);
        self.world.clear_calls();
        std::thread::sleep(SETTLED);
        // The look that reads those files once more.
        self.look();
    }

    fn path(&self, number: usize) -> PathBuf {
        let project = self.folder.path().join(format!("project-{}", number / 100));
        std::fs::create_dir_all(&project).unwrap();
        project.join(format!("{number}.yaml"))
    }

    fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    /// Waits until there were so many updates since the calls were cleared. Looks at rollouts are calls too.
    fn updated(&self, updates: usize) {
        let began = Instant::now();
        while self.world.update_count() < updates {
            assert!(began.elapsed() < Duration::from_secs(120), "{} of {updates}", self.world.update_count());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the first update since the calls were cleared, and gives when it was on the wire.
    fn update(&self) -> tokio::time::Instant {
        self.updated(1);
        let calls = self.world.calls();
        calls.iter().find(|call| call.operation == Some(Operation::UpdateServiceDeployment)).unwrap().started
    }

    /// Lets the daemon look at its folder, as at a resync, and waits for the end.
    fn look(&self) -> Duration {
        self.ready.try_iter().for_each(drop);
        let began = Instant::now();
        kill_process(Pid::from_child(self.daemon.as_ref().unwrap()), Signal::HUP).unwrap();
        self.ready.recv_timeout(Duration::from_secs(60)).unwrap() - began
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn manifest(number: usize, tag: usize) -> String {
    format!(
        "apiVersion: truenorth/v1\nkind: ServiceDeployment\nmetadata:\n  projectId: project-{}\n  serviceId: \
         service-{number}\nspec:\n  external:\n    imagePath: ghcr.io/acme/service-{number}:{tag}\n    credentials: \
         ghcr\n  docker:\n    configType: customCommand\n    customCommand: node server.js --port 8080\n",
        number / 100
    )
}

/// Renames new contents over manifests, one by one, and gives for each how long it took until a call came.
fn renames(stage: &Stage, count: usize, tag: usize) -> Vec<Duration> {
    let rename = |round: usize| {
        let number = (round * 7919) % MANIFESTS;
        let path = stage.path(number);
        let new = path.with_file_name(".new");
        std::fs::write(&new, manifest(number, tag + round)).unwrap();
        // The renames must not keep step with anything.
        std::thread::sleep(Duration::from_millis(150 + fastrand::u64(0..50)));
        stage.world.clear_calls();
        let renamed = tokio::time::Instant::now();
        std::fs::rename(new, path).unwrap();
        stage.update() - renamed
    };
    (0..count).map(rename).collect()
}

fn latency(count: usize) {
    let mut stage = Stage::new();
    stage.start();
    let took = renames(&stage, count, 1);
    stage.daemon.take().map(|mut daemon| daemon.kill().and_then(|()| daemon.wait())).unwrap().unwrap();
    println!("from rename(2) to the call on the wire, {count} renames among {MANIFESTS} manifests");
    report("truenorth", took);

    let script = r#"inotifywait -q -m -r -e moved_to --format %w%f "$1" | while read -r file; do
        sum=$(sha256sum "$file")
        curl -s -o /dev/null -H 'Authorization: Bearer bench' --json "{\"external\":{\"imagePath\":\"a:${sum%% *}\"}}" \
            "$2/v1/projects/shop/services/web/deployment"
    done"#;
    let has = |tool| Command::new(tool).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !has("inotifywait") || !has("curl") {
        println!("the shell loop needs inotifywait (package inotify-tools) and curl");
        return;
    }
    let mut shell = Command::new("bash")
        .args(["-c", script, "bash"])
        .args([stage.folder.path().as_os_str(), stage.url.as_ref()])
        .process_group(0)
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let took = renames(&stage, count, 1 + count);
    kill_process_group(Pid::from_child(&shell), Signal::KILL).unwrap();
    shell.wait().unwrap();
    report("inotifywait, sha256sum and curl, which wait for no quiet", took);
}

/// Pulls commits of one manifest each, and gives for each how long it took from the end of the pull until a call came.
fn pulls(count: usize) {
    let mut stage = Stage::new();
    checkout(stage.folder.path());
    let upstream = TempDir::new().unwrap();
    git(upstream.path(), &["clone", "-q", stage.folder.path().to_str().unwrap(), "."]);
    stage.start();
    let took = (0..count).map(|round| {
        let number = (round * 7919) % MANIFESTS;
        let file = upstream.path().join(format!("project-{}/{number}.yaml", number / 100));
        std::fs::write(file, manifest(number, 1 + round)).unwrap();
        git(upstream.path(), &["commit", "-q", "-a", "-m", "change"]);
        std::thread::sleep(Duration::from_millis(300 + fastrand::u64(0..50)));
        stage.world.clear_calls();
        git(stage.folder.path(), &["pull", "-q", "--ff-only", upstream.path().to_str().unwrap(), "HEAD"]);
        let ended = tokio::time::Instant::now();
        // A call may come before git's process has ended: when it let go of its lock, all was whole.
        let took = stage.update().saturating_duration_since(ended);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(stage.world.update_count(), 1, "one update a change");
        took
    });
    let took = took.collect();
    println!("from the end of git pull to the call on the wire, {count} pulls into {MANIFESTS} manifests");
    report("truenorth", took);
}

fn git(folder: &Path, arguments: &[&str]) -> Duration {
    let began = Instant::now();
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(["-c", "user.name=bench", "-c", "user.email=bench@localhost"]).args(arguments);
    assert!(git.stdout(Stdio::null()).status().unwrap().success());
    began.elapsed()
}

/// Makes a checkout of a folder, with all of it in one commit.
fn checkout(folder: &Path) {
    git(folder, &["init", "-q"]);
    git(folder, &["add", "."]);
    git(folder, &["commit", "-q", "-m", "manifests"]);
}

/// Prints percentiles and a histogram.
fn report(title: &str, mut took: Vec<Duration>) {
    took.sort();
    let ms = |took: Duration| took.as_secs_f64() * 1000.0;
    let at = |percent: usize| ms(took[(took.len() * percent / 100).min(took.len() - 1)]);
    let (p50, p99, max) = (at(50), at(99), ms(*took.last().unwrap()));
    println!("  {title}: p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms");
    let step = (max / 12.0).ceil().max(1.0);
    for bucket in 0..12 {
        let (from, to) = (f64::from(bucket) * step, f64::from(bucket + 1) * step);
        let count = took.iter().filter(|took| (from..to).contains(&ms(**took))).count();
        if count > 0 {
            println!("  {from:>5.0} to {to:>3.0} ms {count:>4} {}", "#".repeat((count * 60).div_ceil(took.len())));
        }
    }
}

fn resync(rounds: usize) {
    let mut stage = Stage::new();
    checkout(stage.folder.path());
    stage.start();
    let mut took: Vec<_> =
        (0..rounds).map(|_| (git(stage.folder.path(), &["status", "--porcelain"]), stage.look())).collect();
    assert_eq!(stage.world.update_count(), 0);
    let ms = |took: Duration| took.as_secs_f64() * 1000.0;
    println!("a look at {MANIFESTS} unchanged manifests in a checkout, {rounds} rounds");
    for (name, of) in
        [("git status", (|pair| pair.0) as fn(&(Duration, Duration)) -> Duration), ("resync", |pair| pair.1)]
    {
        took.sort_by_key(of);
        println!("  {name:<10} best {:.1} ms, median {:.1} ms", ms(of(&took[0])), ms(of(&took[rounds / 2])));
    }
}

fn idle(seconds: usize) {
    let mut stage = Stage::new();
    stage.start();
    let before = threads(stage.pid());
    std::thread::sleep(Duration::from_secs(seconds as u64));
    println!("{seconds} s without a change, {MANIFESTS} manifests, {} KiB resident", resident(stage.pid()));
    let mut all = (0, 0);
    for (id, name, wakes, ticks) in threads(stage.pid()) {
        let (_, _, wakes_before, ticks_before) =
            before.iter().find(|thread| thread.0 == id).cloned().unwrap_or_default();
        let (wakes, ticks) = (wakes - wakes_before, ticks - ticks_before);
        all = (all.0 + wakes, all.1 + ticks);
        println!("  {name:<16} {wakes:>5} wake-ups, {:>4} ms of CPU", ticks * 10);
    }
    let share = all.1 as f64 / seconds as f64;
    println!("  {:<16} {:>5} wake-ups, {:>4} ms of CPU, {share:.3} % of a core", "all", all.0, all.1 * 10);
}

/// Id, name, times that it was woken, and time on a processor in hundredths of a second, of each thread.
fn threads(pid: u32) -> Vec<(u32, String, u64, u64)> {
    let read = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
        let (head, rest) = stat.rsplit_once(") ")?;
        let ticks: u64 = rest.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let wakes = field(&status, "voluntary_ctxt_switches:");
        Some((task.file_name().to_str()?.parse().ok()?, head.split_once('(')?.1.to_owned(), wakes, ticks))
    };
    std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().filter_map(|task| read(task.unwrap())).collect()
}

fn resident(pid: u32) -> u64 {
    field(&std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap(), "VmRSS:")
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn soak(changes: usize) {
    const BATCH: usize = 1000;
    let mut stage = Stage::new();
    stage.start();
    println!("{changes} changes, {BATCH} at a time, {MANIFESTS} manifests\n  changes  resident KiB");
    let mut line = String::new();
    for batch in 0..changes.div_ceil(BATCH) {
        stage.world.clear_calls();
        for number in (0..BATCH).map(|at| (batch * BATCH + at) % MANIFESTS) {
            let (path, new) = (stage.path(number), stage.path(number).with_extension("new"));
            let new = new.with_file_name(format!(".{number}"));
            std::fs::write(&new, manifest(number, batch + 1)).unwrap();
            std::fs::rename(new, path).unwrap();
        }
        stage.updated(BATCH);
        if (batch + 1) % 5 == 0 {
            line.clear();
            write!(line, "  {:>7}  {:>12}", (batch + 1) * BATCH, resident(stage.pid())).unwrap();
            println!("{line}");
        }
    }
    // Threads that have no work end after 10 s, and what they held is given back with the next.
    for _ in 0..2 {
        std::thread::sleep(Duration::from_secs(15));
        stage.look();
    }
    println!("  {:>7}  {:>12}", "at rest", resident(stage.pid()));
}
