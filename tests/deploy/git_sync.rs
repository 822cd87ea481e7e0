//! The real binary over a folder that git-sync keeps (version 4): a clone without files in `/git`, a worktree for each
//! commit in `/git/.worktrees/<commit>`, and the link `/git/current`, which is swapped by a rename. Here git-sync is
//! played by the same git commands in the same order.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use truenorth::model::Desired;
use truenorth::sandbox::{Options, Sandbox};
use truenorth::source::Folder;

/// Services of the commits that are swapped during reads.
const MANY: usize = 60;
const SWAPS: u32 = 12;

/// A repository, git-sync's folder that follows it, and a state folder.
struct GitSync {
    folder: TempDir,
}

impl GitSync {
    fn new() -> Self {
        let own = Self { folder: tempfile::tempdir().unwrap() };
        for repository in ["upstream", "git"] {
            fs::create_dir(own.path(repository)).unwrap();
            own.git(repository, &["init", "--quiet", "-b", "main"]);
        }
        own
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[track_caller]
    fn git(&self, folder: &str, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "protocol.file.allow=always"]);
        git.args(arguments).current_dir(self.path(folder)).env("HOME", self.folder.path());
        git.env("GIT_CONFIG_NOSYSTEM", "1").env_remove("GIT_DIR").env_remove("GIT_WORK_TREE");
        let output = git.output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Commits exactly these manifests upstream: services with the tag of their image.
    fn commit<'a>(&self, services: impl IntoIterator<Item = (&'a str, u32)>) {
        let manifests = self.path("upstream/manifests");
        let _ = fs::remove_dir_all(&manifests);
        for (service, tag) in services {
            // A subfolder for each, so that a read takes its time.
            let folder = manifests.join(service);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("service.yaml"), manifest(service, tag)).unwrap();
        }
        self.git("upstream", &["add", "--all"]);
        self.git("upstream", &["commit", "--quiet", "--message", "a change"]);
    }

    /// What git-sync does before it swaps: fetches what is newest and checks it out beside what is there.
    fn check_out(&self) -> String {
        let upstream = self.path("upstream");
        self.git(
            "git",
            &["fetch", "--quiet", "--depth", "1", "--prune", "--no-auto-gc", upstream.to_str().unwrap(), "main"],
        );
        let commit = self.git("git", &["rev-parse", "FETCH_HEAD^{}"]);
        self.git("git", &["reset", "--soft", &commit, "--"]);
        let worktree = self.worktree(&commit);
        self.git(
            "git",
            &["worktree", "add", "--force", "--detach", "--no-checkout", worktree.to_str().unwrap(), &commit],
        );
        // Relative, so that it holds where another container mounts the volume elsewhere.
        fs::write(worktree.join(".git"), format!("gitdir: ../../.git/worktrees/{commit}\n")).unwrap();
        self.git(&format!("git/.worktrees/{commit}"), &["reset", "--quiet", "--hard", &commit, "--"]);
        commit
    }

    fn worktree(&self, commit: &str) -> PathBuf {
        self.path("git/.worktrees").join(commit)
    }

    /// The swap, and the removal of what was there before.
    fn swap(&self, commit: &str) {
        let (link, new) = (self.path("git/current"), self.path("git/tmp-link"));
        let before = fs::read_link(&link).ok();
        symlink(Path::new(".worktrees").join(commit), &new).unwrap();
        fs::rename(new, link).unwrap();
        if let Some(before) = before {
            fs::remove_dir_all(self.path("git").join(before)).unwrap();
            self.git("git", &["worktree", "prune"]);
        }
    }

    /// One pass over the link.
    fn pass(&self, api: &Api) -> Pass {
        let before = api.updates().len();
        let mut truenorth = Command::new(env!("CARGO_BIN_EXE_truenorth"));
        truenorth.args(["--reconcile-once", "--no-wait", "--output", "json", "--api-url", &api.sandbox.url()]);
        truenorth.arg("--manifests").arg(self.path("git/current/manifests")).current_dir(self.folder.path());
        truenorth.env_clear().env("NORTHFLANK_API_TOKEN", "nf-token").env("TRUENORTH_STATE_DIR", self.path("state"));
        let output = truenorth.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:#?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut sent = api.updates().split_off(before);
        sent.sort();
        Pass { revision: report["revision"].as_str().unwrap().to_owned(), sent }
    }
}

fn manifest(service: &str, tag: u32) -> String {
    format!(
        "apiVersion: truenorth/v1\nkind: ServiceDeployment\nmetadata: {{projectId: shop, serviceId: {service}}}\nspec:\n  \
         external: {{imagePath: 'ghcr.io/acme/{service}:{tag}'}}\n"
    )
}

/// What a pass read, and the images that it sent, in order.
#[derive(Debug)]
struct Pass {
    revision: String,
    sent: Vec<String>,
}

/// A sandbox without a rate limit to speak of.
struct Api {
    sandbox: Sandbox,
    _runtime: tokio::runtime::Runtime,
}

impl Api {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let options = Options { rollout: Duration::ZERO, limit: 1_000_000, ..Options::default() };
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { sandbox: runtime.block_on(Sandbox::start(address, options)).unwrap(), _runtime: runtime }
    }

    /// The images of all updates, as they came.
    fn updates(&self) -> Vec<String> {
        let image = |call: truenorth::sandbox::Call| Some(call.body?["external"]["imagePath"].as_str()?.to_owned());
        self.sandbox.world().calls().into_iter().filter_map(image).collect()
    }
}

#[test]
fn each_pass_applies_the_commit_that_the_link_leads_to() {
    let (api, git_sync) = (Api::new(), GitSync::new());
    git_sync.commit([("web", 1), ("worker", 1), ("old", 1)]);
    let first = git_sync.check_out();
    git_sync.swap(&first);
    let pass = git_sync.pass(&api);
    assert_eq!(pass.revision, format!("git:{first}"));
    assert_eq!(pass.sent, ["ghcr.io/acme/old:1", "ghcr.io/acme/web:1", "ghcr.io/acme/worker:1"]);

    // Checked out, but not yet what the link leads to.
    git_sync.commit([("web", 2), ("worker", 1), ("new", 1)]);
    let second = git_sync.check_out();
    let before_the_swap = git_sync.pass(&api);
    assert_eq!((before_the_swap.revision, before_the_swap.sent), (pass.revision.clone(), Vec::new()));

    git_sync.swap(&second);
    let swapped = git_sync.pass(&api);
    assert_eq!(swapped.sent, ["ghcr.io/acme/new:1", "ghcr.io/acme/web:2"]);
    assert_eq!(swapped.revision, format!("git:{second}"));
    let again = git_sync.pass(&api);
    assert_eq!((again.revision, again.sent), (swapped.revision, Vec::new()));

    // What a revert brings back is sent again where it differs, and `old`, which was never touched, is not.
    git_sync.commit([("web", 1), ("worker", 1), ("old", 1)]);
    let third = git_sync.check_out();
    git_sync.swap(&third);
    assert_eq!(git_sync.pass(&api).sent, ["ghcr.io/acme/web:1"]);
}

/// The tags that one read of the folder finds.
fn tags(folder: &Path) -> Vec<u32> {
    let snapshot = Folder::new(folder).look().unwrap();
    assert_eq!(snapshot.problems, []);
    let tag = |desired: &Desired| {
        let update = serde_json::to_value(&*desired.update).unwrap();
        update["external"]["imagePath"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()
    };
    snapshot.desired.values().map(tag).collect()
}

/// Reads without a pause while links are swapped, with the library, as a process would spend its time on starting.
#[test]
fn whatever_is_read_during_swaps_is_one_commit_and_all_of_it() {
    let (api, git_sync) = (Api::new(), GitSync::new());
    let names: Vec<String> = (0..MANY).map(|number| format!("service-{number:03}")).collect();
    let publish = |tag: u32| {
        git_sync.commit(names.iter().map(|name| (&**name, tag)));
        git_sync.swap(&git_sync.check_out());
    };
    publish(1);
    assert_eq!(git_sync.pass(&api).sent.len(), MANY);
    let manifests = git_sync.path("git/current/manifests");
    std::thread::scope(|scope| {
        let swaps = scope.spawn(|| (2..=SWAPS).for_each(publish));
        let mut newest = 1;
        while !swaps.is_finished() {
            let tags = tags(&manifests);
            assert!(tags.len() == MANY && tags.iter().all(|tag| *tag == tags[0]), "{tags:?}");
            assert!(tags[0] >= newest, "{} after {newest}", tags[0]);
            newest = tags[0];
        }
    });
    assert_eq!(tags(&manifests), vec![SWAPS; MANY]);
    let last = git_sync.pass(&api).sent;
    assert!(last.len() == MANY && last.iter().all(|image| image.ends_with(&format!(":{SWAPS}"))), "{last:#?}");
}
