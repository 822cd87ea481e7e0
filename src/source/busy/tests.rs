//! Folders in which somebody is in the middle of something.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::super::file::{Contents, Found};
use super::super::stamp::Stamp;
use super::super::{Folder, Snapshot, Uncommitted, Unreadable, Watch};
use super::*;
use crate::model::Revision;

const DEADLINE: Duration = Duration::from_secs(60);

fn manifest(service: &str, tag: &str) -> String {
    format!(
        "apiVersion: truenorth/v1\nkind: ServiceDeployment\nmetadata:\n  projectId: shop\n  serviceId: {service}\n\
         spec:\n  external:\n    imagePath: nginx:{tag}\n"
    )
}

struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(TempDir::new().unwrap());
        fs::create_dir(tree.path("")).unwrap();
        tree
    }

    /// A checkout with two services at version 1.
    fn checkout() -> Self {
        let tree = Self::new();
        tree.git(&["init", "--quiet", "--initial-branch=main"]);
        tree.service("a", "1");
        tree.service("b", "1");
        tree.commit();
        tree
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join("m").join(file)
    }

    fn write(&self, file: &str, content: &str) {
        fs::write(self.path(file), content).unwrap();
    }

    fn service(&self, service: &str, tag: &str) {
        self.write(&format!("{service}.yaml"), &manifest(service, tag));
    }

    fn git(&self, arguments: &[&str]) -> bool {
        let mut git = Command::new("git");
        git.current_dir(self.path("")).args(arguments);
        for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            git.env_remove(variable);
        }
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        git.envs([("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a@localhost")]);
        git.envs([("GIT_COMMITTER_NAME", "c"), ("GIT_COMMITTER_EMAIL", "c@localhost")]);
        git.output().unwrap().status.success()
    }

    fn commit(&self) {
        assert!(self.git(&["add", "--all"]) && self.git(&["commit", "--quiet", "--message=more"]));
    }

    fn folder(&self) -> Folder {
        Folder::new(self.path(""))
    }
}

/// The version of each service.
fn versions(snapshot: &Snapshot) -> Vec<String> {
    let version = |(key, desired): (&crate::model::ServiceKey, &crate::model::Desired)| {
        let update = serde_json::to_value(&desired.update).unwrap();
        format!("{} {}", key.service, update["external"]["imagePath"].as_str().unwrap().replace("nginx:", ""))
    };
    snapshot.desired.iter().map(version).collect()
}

/// Looks, without waiting for anybody, until the folder says this; events take a moment.
#[track_caller]
fn says(folder: &mut Folder, expected: &[&str]) -> Snapshot {
    let until = Instant::now() + DEADLINE;
    loop {
        let seen = folder.look_within(Duration::ZERO);
        if let Ok(snapshot) = seen
            && versions(&snapshot) == expected
        {
            return snapshot;
        }
        assert!(Instant::now() < until, "it never says {expected:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Why the folder is held.
#[track_caller]
fn held(folder: &mut Folder) -> Busy {
    match folder.look_within(Duration::ZERO) {
        Err(Unreadable::Busy { busy, .. }) => busy,
        other => panic!("{other:?}"),
    }
}

fn is_clean(snapshot: &Snapshot) -> bool {
    matches!(snapshot.revision, Revision::Git { dirty: false, .. })
}

/// A folder that heeds a watch of it.
fn watched(tree: &Tree) -> (Watch, Folder) {
    let watch = Watch::start(tree.path(""), |_| ());
    let mut folder = tree.folder();
    folder.heed(watch.writers());
    (watch, folder)
}

impl Found {
    /// One that has this stamp, and what another one had.
    fn forged(other: &Self, stamp: Stamp, text: &str) -> Self {
        let parsed = crate::manifest::parse(&other.file, crate::manifest::Format::Yaml, text.as_bytes());
        Self::made(other, stamp, Contents { blob: other.contents.blob, parsed })
    }
}

impl Folder {
    /// The files as they are now, whoever writes to them.
    fn look_without_writers(&self) -> Vec<std::sync::Arc<super::super::file::Found>> {
        let root = self.path.canonicalize().unwrap();
        super::super::walk::walk(&root, self.ids, &[]).ok().unwrap().found
    }
}

/// Writes the first half of what is to be in a file, and leaves it open.
fn half(path: &Path, text: &str) -> File {
    let mut file = File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn half_a_file_keeps_what_it_had_and_holds_up_nobody_else() {
    let tree = Tree::new();
    tree.service("a", "10");
    let (_watch, mut folder) = watched(&tree);
    says(&mut folder, &["a 10"]);
    let (first, rest) = (manifest("a", "1"), "2\n");
    let mut writer = half(&tree.path("a.yaml"), first.trim_end());
    let _new = half(&tree.path("c.yaml"), manifest("c", "1").trim_end());
    tree.service("b", "1");
    let snapshot = says(&mut folder, &["a 10", "b 1"]);
    assert!(snapshot.unfinished);
    assert!(!folder.is_unchanged());
    writer.write_all(rest.as_bytes()).unwrap();
    says(&mut folder, &["a 10", "b 1"]);
    drop(writer);
    says(&mut folder, &["a 12", "b 1"]);
    // The other is left open, and counts once it was quiet.
    let snapshot = says(&mut folder, &["a 12", "b 1", "c 1"]);
    assert!(!snapshot.unfinished);
}

#[test]
fn what_a_read_that_does_not_count_saw_is_not_kept_for_what_a_file_had() {
    let tree = Tree::new();
    tree.service("a", "10");
    let (watch, mut folder) = watched(&tree);
    says(&mut folder, &["a 10"]);
    let first = manifest("a", "1");
    let _writer = half(&tree.path("a.yaml"), first.trim_end());
    // Read before the watch has heard of it, and told after.
    folder.seen = tree.folder().look_without_writers().into();
    let until = Instant::now() + DEADLINE;
    while watch.writers().unfinished().is_empty() {
        assert!(Instant::now() < until, "the writer is never heard of");
        std::thread::yield_now();
    }
    let snapshot = folder.look().unwrap();
    assert_eq!((versions(&snapshot), snapshot.unfinished), (vec!["a 10".to_owned()], true));
}

#[test]
fn a_read_without_a_watch_waits_for_who_writes() {
    let tree = Tree::new();
    tree.service("b", "1");
    let first = manifest("a", "1");
    // Who writes ends at another moment of the read each time.
    for _ in 0..20 {
        let mut writer = half(&tree.path("a.yaml"), first.trim_end());
        assert_eq!(held(&mut tree.folder()), Busy::Written { file: tree.path("a.yaml").canonicalize().unwrap() });
        let path = tree.path("");
        let looking = std::thread::spawn(move || Folder::new(path).look().unwrap());
        writer.write_all(b"2\n").unwrap();
        drop(writer);
        assert_eq!(versions(&looking.join().unwrap()), ["a 12", "b 1"]);
    }
}

#[test]
fn what_is_as_committed_is_whole_whoever_has_it_open() {
    let tree = Tree::checkout();
    let _open = fs::OpenOptions::new().append(true).open(tree.path("a.yaml")).unwrap();
    assert!(is_clean(&says(&mut tree.folder(), &["a 1", "b 1"])));
}

#[test]
fn under_a_lock_only_what_head_has_is_applied_however_long_it_stands() {
    let tree = Tree::checkout();
    tree.write(".git/index.lock", "");
    let mut folder = tree.folder();
    assert!(is_clean(&says(&mut folder, &["a 1", "b 1"])));
    tree.service("a", "2");
    let lock = tree.path(".git/index.lock").canonicalize().unwrap();
    assert_eq!(held(&mut folder), Busy::Locked { lock: lock.clone() });
    folder.stillness.as_mut().unwrap().pass(LOCK_IS_LEFT_AFTER);
    let unreadable = folder.look().unwrap_err();
    assert!(!unreadable.may_pass());
    assert!(unreadable.hint().unwrap().contains(lock.to_str().unwrap()), "{unreadable:?}");
    // Something moves: perhaps git is there after all.
    tree.service("b", "2");
    held(&mut folder);
    assert!(folder.look_within(Duration::ZERO).unwrap_err().may_pass());
    tree.service("a", "1");
    tree.service("b", "1");
    assert!(is_clean(&says(&mut folder, &["a 1", "b 1"])), "what HEAD has needs nobody to finish it");
    tree.service("a", "3");
    held(&mut folder);
    fs::remove_file(lock).unwrap();
    assert!(!is_clean(&says(&mut folder, &["a 3", "b 1"])));
}

#[test]
fn a_lock_that_a_process_has_open_is_not_one_that_was_left() {
    let tree = Tree::checkout();
    tree.service("a", "2");
    let git = File::create(tree.path(".git/index.lock")).unwrap();
    let mut folder = tree.folder();
    held(&mut folder);
    folder.stillness.as_mut().unwrap().pass(LOCK_IS_LEFT_AFTER);
    assert!(folder.look_within(Duration::ZERO).unwrap_err().may_pass());
    drop(git);
    folder.stillness.as_mut().unwrap().pass(LOCK_IS_LEFT_AFTER);
    assert!(!folder.look_within(Duration::ZERO).unwrap_err().may_pass());
}

#[test]
fn a_look_waits_for_the_lock_and_sees_what_git_made_of_it() {
    let tree = Tree::checkout();
    tree.service("a", "2");
    let index = fs::read(tree.path(".git/index")).unwrap();
    tree.write(".git/index.lock", "");
    let path = tree.path("");
    let (sender, began) = std::sync::mpsc::channel();
    let looking = std::thread::spawn(move || {
        let mut folder = Folder::new(path);
        held(&mut folder);
        sender.send(()).unwrap();
        folder.look().unwrap()
    });
    began.recv().unwrap();
    tree.service("b", "2");
    fs::write(tree.path(".git/index.lock"), index).unwrap();
    fs::rename(tree.path(".git/index.lock"), tree.path(".git/index")).unwrap();
    tree.commit();
    assert!(is_clean(&looking.join().unwrap()));
}

#[test]
fn before_head_follows_the_index_nothing_is_told() {
    let tree = Tree::checkout();
    tree.service("a", "2");
    assert!(tree.git(&["add", "--all"]));
    // Right after git wrote the index, HEAD may be about to follow; later this is somebody's work.
    let mut folder = tree.folder();
    if let Ok(snapshot) = folder.look_within(Duration::ZERO) {
        let age = fs::metadata(tree.path(".git/index")).unwrap().modified().unwrap().elapsed().unwrap();
        assert!(age > Duration::from_millis(200) && !is_clean(&snapshot));
    }
    assert!(!is_clean(&folder.look().unwrap()));
}

#[test]
fn an_operation_holds_the_folder_until_it_is_ended() {
    let tree = Tree::checkout();
    assert!(tree.git(&["checkout", "-b", "side"]));
    tree.service("a", "2");
    tree.service("b", "2");
    tree.commit();
    assert!(tree.git(&["checkout", "main"]));
    tree.service("a", "3");
    tree.commit();
    let mut folder = tree.folder();
    says(&mut folder, &["a 3", "b 1"]);
    assert!(!tree.git(&["merge", "side"]), "a conflict");
    assert_eq!(held(&mut folder), Busy::Operation(Operation::Merge));
    assert!(!folder.is_unchanged());
    folder.read_ahead();
    assert!(folder.confirm().is_none());
    let unreadable = folder.look().unwrap_err();
    assert!(unreadable.hint().unwrap().contains("git merge --abort"), "{unreadable:?}");
    assert!(tree.git(&["merge", "--abort"]));
    assert!(is_clean(&says(&mut folder, &["a 3", "b 1"])));
}

#[test]
fn a_repository_that_cannot_be_read_is_told_and_one_that_is_elsewhere_is_a_problem() {
    let tree = Tree::checkout();
    let head = fs::read(tree.path(".git/HEAD")).unwrap();
    tree.write(".git/HEAD", "nonsense\n");
    let unreadable = tree.folder().look().unwrap_err();
    assert!(matches!(&unreadable, Unreadable::Checkout { why, .. } if why.contains(".git/HEAD")), "{unreadable:?}");
    fs::write(tree.path(".git/HEAD"), head).unwrap();
    fs::remove_dir_all(tree.path(".git/objects")).unwrap();
    fs::create_dir(tree.path(".git/objects")).unwrap();
    let snapshot = says(&mut tree.folder(), &["a 1", "b 1"]);
    assert!(!is_clean(&snapshot));
    assert!(snapshot.uncompared.unwrap().contains("objects"));

    fs::remove_dir_all(tree.path(".git")).unwrap();
    tree.write(".git", "gitdir: ../elsewhere\n");
    let snapshot = says(&mut tree.folder(), &["a 1", "b 1"]);
    assert!(matches!(snapshot.revision, Revision::Tree(_)));
    assert!(snapshot.problems[0].message.contains("../elsewhere"), "{:?}", snapshot.problems);
}

#[test]
fn once_in_a_while_no_stamp_is_trusted() {
    let tree = Tree::new();
    tree.service("a", "1");
    tree.service("b", "1");
    let mut folder = tree.folder();
    let until = Instant::now() + DEADLINE;
    while !folder.is_unchanged() {
        assert!(Instant::now() < until, "its times are never trusted");
        folder.look().unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    // As a write through a memory map may do it: other contents with the same times. The change of the inode's own time
    // cannot be undone here, so what is remembered of the file is changed instead.
    let before = folder.seen.clone();
    tree.service("a", "2");
    folder.look().unwrap();
    let stamp = folder.seen[0].stamp;
    let forged = Found::forged(&before[0], stamp, &manifest("a", "1"));
    let mut seen = folder.seen.to_vec();
    seen[0] = std::sync::Arc::new(forged);
    folder.seen = seen.into();
    folder.forget_changed();
    assert_eq!(folder.seen.len(), 1, "only what is as it was is kept");
    assert!(!folder.is_unchanged());
    assert_eq!(versions(&folder.look().unwrap()), ["a 2", "b 1"]);
}

/// What HEAD has of the tree's folder.
fn of_head(tree: &Tree) -> Folder {
    tree.folder().with(Uncommitted::Ignore)
}

#[test]
fn what_is_not_committed_is_ignored_if_so_asked() {
    let tree = Tree::checkout();
    let mut folder = of_head(&tree);
    let first = says(&mut folder, &["a 1", "b 1"]);
    assert!(is_clean(&first) && folder.is_unchanged());
    tree.service("a", "2");
    tree.service("new", "1");
    fs::remove_file(tree.path("b.yaml")).unwrap();
    tree.write(".truenorthignore", "a.yaml\n");
    assert!(tree.git(&["add", "--all"]));
    assert!(folder.is_unchanged(), "also what is staged");
    assert_eq!(says(&mut folder, &["a 1", "b 1"]).revision, first.revision);
    // A lock says nothing of HEAD.
    tree.write(".git/index.lock", "");
    says(&mut folder, &["a 1", "b 1"]);
    fs::remove_file(tree.path(".git/index.lock")).unwrap();
    tree.commit();
    assert!(!folder.is_unchanged());
    folder.read_ahead();
    let ahead = folder.confirm().expect("a commit holds still");
    assert_eq!(versions(&ahead), ["new 1"]);
    assert_eq!(versions(&says(&mut folder, &["new 1"])), ["new 1"]);
}

#[test]
fn what_head_has_is_read_by_the_rules_for_all_folders() {
    for ids in ["sha1", "sha256"] {
        let tree = Tree::new();
        assert!(tree.git(&["init", "--quiet", &format!("--object-format={ids}")]));
        for folder in ["sub", ".data/1", "kept/deep"] {
            fs::create_dir_all(tree.path(folder)).unwrap();
        }
        tree.service("sub/a", "1");
        tree.service("kept/deep/left", "1");
        tree.write("kept/.truenorthignore", "left.yaml\n");
        tree.write("notes.md", "notes");
        tree.write("bad.yaml", "kind: [");
        tree.write("large.yaml", &"#".repeat(2 * 1024 * 1024));
        tree.write(".data/1/b.txt", &manifest("b", "1"));
        for (target, link) in [("1", ".data/now"), (".data/now/b.txt", "b.yaml"), ("/etc/hostname", "out.yaml")] {
            std::os::unix::fs::symlink(target, tree.path(link)).unwrap();
        }
        let inside = tree.path("sub").canonicalize().unwrap().join("a.yaml");
        std::os::unix::fs::symlink(inside, tree.path("again.yaml")).unwrap();
        fs::rename(tree.path("sub/a.yaml"), tree.path("sub/x")).unwrap();
        tree.write("sub/a.yaml", &manifest("a", "1"));
        fs::remove_file(tree.path("sub/x")).unwrap();
        tree.commit();
        let (here, head) = (tree.folder().look().unwrap(), of_head(&tree).look().unwrap());
        assert_eq!(here.revision, head.revision, "{ids}");
        assert_eq!(here.desired, head.desired);
        assert_eq!(here.problems, head.problems);
        assert_eq!(here.problems.len(), 4, "{:?}", here.problems);

        let mut below = Folder::new(tree.path("sub")).with(Uncommitted::Ignore);
        fs::remove_file(tree.path("sub/a.yaml")).unwrap();
        assert_eq!(versions(&below.look().unwrap()).len(), 1);
    }
}

#[test]
fn without_a_commit_nothing_can_be_read_of_head() {
    let tree = Tree::new();
    tree.service("a", "1");
    assert!(matches!(of_head(&tree).look(), Err(Unreadable::Uncommitted { .. })));
    assert!(tree.git(&["init", "--quiet"]));
    let unreadable = of_head(&tree).look().unwrap_err();
    assert!(matches!(unreadable, Unreadable::Uncommitted { .. }) && unreadable.hint().is_some());
    tree.commit();
    says(&mut of_head(&tree), &["a 1"]);
    // An operation moves HEAD from commit to commit, of which none is meant to stay.
    assert!(tree.git(&["bisect", "start"]));
    assert_eq!(held(&mut of_head(&tree)), Busy::Operation(Operation::Bisect));
    assert!(tree.git(&["bisect", "reset"]));
    fs::remove_dir_all(tree.path(".git/objects")).unwrap();
    fs::create_dir(tree.path(".git/objects")).unwrap();
    assert!(matches!(of_head(&tree).look(), Err(Unreadable::Checkout { .. })));
}
