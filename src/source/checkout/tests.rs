//! Against real repositories, made by the `git` command.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use ignore::WalkBuilder;
use tempfile::TempDir;

use gix_hash::Kind::Sha1;

use super::{BlobId, Checkout, CheckoutError, Commit, Committed, Comparison, File, Operation, blob_id};
use crate::source::Busy;
use crate::source::stamp::Stamp;

/// A repository with a checkout in `top`, and beside it room for others.
struct Repository {
    room: TempDir,
    top: PathBuf,
}

impl Repository {
    fn empty() -> Self {
        Self::with(&[])
    }

    fn with(options: &[&str]) -> Self {
        let room = TempDir::new().expect("a temporary folder");
        let top = room.path().canonicalize().expect("the temporary folder is there").join("top");
        fs::create_dir(&top).expect("a new folder");
        git(&top, &[&["init", "--quiet", "--initial-branch=main"], options].concat());
        Self { room, top }
    }

    /// With one commit: two manifests and a note below `apps`, and a manifest beside it.
    fn new() -> Self {
        let repository = Self::empty();
        repository.write("apps/web.yaml", "web 1\n");
        repository.write("apps/shop/cart.yml", "cart 1\n");
        repository.write("apps/shop/NOTE", "about\n");
        repository.write("other.json", "{}\n");
        repository.commit();
        repository
    }

    fn room(&self) -> PathBuf {
        self.room.path().canonicalize().expect("the temporary folder is there")
    }

    fn apps(&self) -> PathBuf {
        self.top.join("apps")
    }

    fn write(&self, path: &str, text: &str) {
        write(&self.top.join(path), text);
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.top.join(path);
        fs::create_dir_all(path.parent().expect("a path below the top")).expect("new folders");
        symlink(target, path).expect("a new link");
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.top.join(path)).expect("a file to remove");
    }

    fn git(&self, arguments: &[&str]) -> String {
        git(&self.top, arguments)
    }

    fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=more"]);
        self.git(&["rev-parse", "HEAD"])
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a path in a folder")).expect("new folders");
    fs::write(path, text).expect("a new file");
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = command(folder, arguments).output().expect("these tests need the `git` command");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("git prints UTF-8 here").trim_end().to_owned()
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
        command.env_remove(name);
    }
    command
        .current_dir(folder)
        .args(["-c", "protocol.file.allow=always", "-c", "gc.auto=0", "-c", "safe.directory=*"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a@localhost")])
        .envs([("GIT_COMMITTER_NAME", "c"), ("GIT_COMMITTER_EMAIL", "c@localhost")]);
    command
}

/// A file that was read.
struct Read {
    path: String,
    id: BlobId,
    stamp: Stamp,
}

impl Read {
    fn as_file(&self) -> File<'_> {
        File { path: self.path.as_bytes(), id: self.id, stamp: &self.stamp }
    }
}

/// All files that the folder's reader would read.
fn read(folder: &Path, ids: gix_hash::Kind) -> Vec<Read> {
    WalkBuilder::new(folder)
        .standard_filters(false)
        .hidden(true)
        .follow_links(true)
        .add_custom_ignore_filename(".truenorthignore")
        .build()
        .filter_map(Result::ok)
        .filter(|entry| {
            entry.path().extension().is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|known| ending == *known))
        })
        .filter_map(|entry| {
            let path = entry.path().strip_prefix(folder).expect("an entry is below").to_str()?.to_owned();
            let disk = entry.path().canonicalize().ok()?;
            let id = blob_id(ids, &fs::read(&disk).ok()?);
            let stamp = Stamp::of(&rustix::fs::stat(&*disk).ok()?, SystemTime::now());
            Some(Read { path, id, stamp })
        })
        .collect()
}

fn commit_at(id: &str) -> Commit {
    Commit(gix_hash::ObjectId::from_hex(id.as_bytes()).expect("git prints an id"))
}

fn checkout(folder: &Path) -> Checkout {
    Checkout::discover(folder).expect("a readable checkout").expect("a checkout around the folder")
}

fn head(folder: &Path) -> Option<String> {
    checkout(folder).state().expect("a readable HEAD").commit.map(|commit| commit.to_string())
}

fn operation(folder: &Path) -> Option<Operation> {
    checkout(folder).state().expect("a readable state").operation
}

fn is_locked(folder: &Path) -> bool {
    checkout(folder).state().expect("a readable state").lock.is_some()
}

/// What the folder is to its commit, asked twice of one cache.
fn compare(folder: &Path) -> Comparison {
    let checkout = checkout(folder);
    let commit = checkout.state().expect("a readable HEAD").commit.expect("a commit");
    let files = read(folder, commit.ids());
    let files: Vec<_> = files.iter().map(Read::as_file).collect();
    let mut committed = Committed::default();
    let first = checkout.compare(commit, &files, &mut committed).expect("a readable commit");
    let second = checkout.compare(commit, &files, &mut committed).expect("a readable commit");
    assert_eq!(first, second, "the cache changed the answer");
    first
}

fn is_dirty(folder: &Path) -> bool {
    match compare(folder) {
        Comparison::Same => false,
        Comparison::Differs => true,
        Comparison::Busy(busy) => panic!("{busy:?}"),
    }
}

/// The checkout is clean at this commit, from its top and from the folder below.
fn assert_clean_at(top: &Path, commit: &str) {
    for folder in [top.to_owned(), top.join("apps")] {
        assert_eq!(head(&folder).as_deref(), Some(commit), "{}", folder.display());
        assert!(!is_dirty(&folder), "{}", folder.display());
    }
}

#[test]
fn a_blob_has_the_id_that_git_gives_it() {
    let repository = Repository::new();
    let listed = repository.git(&["rev-parse", "HEAD:apps/web.yaml"]);
    assert_eq!(blob_id(Sha1, b"web 1\n").0.to_string(), listed);
}

#[test]
fn a_commit_is_clean_from_the_top_and_below() {
    let repository = Repository::new();
    let commit = repository.git(&["rev-parse", "HEAD"]);
    assert_clean_at(&repository.top, &commit);
    assert_clean_at(&repository.top, &commit);
}

#[test]
fn clones_are_clean_also_shallow_ones() {
    let repository = Repository::new();
    repository.write("apps/web.yaml", "web 2\n");
    let commit = repository.commit();
    let whole = repository.top.to_string_lossy().into_owned();
    let url = format!("file://{whole}");
    for (name, how, from) in [("plain", "--no-hardlinks", &whole), ("shallow", "--depth=1", &url)] {
        git(&repository.room(), &["clone", "--quiet", how, from, name]);
        assert_clean_at(&repository.room().join(name), &commit);
    }
    assert!(repository.room().join("shallow/.git/shallow").exists());
}

#[test]
fn packed_refs_and_packed_objects_are_read() {
    let repository = Repository::new();
    for number in 0..20 {
        repository.write("apps/web.yaml", &format!("web {number}\n").repeat(200));
        repository.commit();
    }
    let commit = repository.git(&["rev-parse", "HEAD"]);
    repository.git(&["pack-refs", "--all"]);
    assert!(!repository.top.join(".git/refs/heads/main").exists());
    assert_clean_at(&repository.top, &commit);
    repository.git(&["gc", "--quiet", "--aggressive", "--prune=now"]);
    assert_eq!(repository.git(&["count-objects"]), "0 objects, 0 kilobytes");
    assert_clean_at(&repository.top, &commit);
    repository.git(&["multi-pack-index", "write"]);
    assert_clean_at(&repository.top, &commit);
    let newer = repository.commit();
    assert_clean_at(&repository.top, &newer);
}

#[test]
fn a_linked_work_tree_has_a_commit_and_a_lock_of_its_own() {
    let repository = Repository::new();
    let first = repository.git(&["rev-parse", "HEAD"]);
    repository.git(&["worktree", "add", "--quiet", "-b", "side", "../side"]);
    let side = repository.room().join("side");
    write(&side.join("apps/new.yaml"), "new\n");
    git(&side, &["add", "--all"]);
    git(&side, &["commit", "--quiet", "--message=side"]);
    let second = git(&side, &["rev-parse", "HEAD"]);
    assert_ne!(first, second);
    assert_clean_at(&repository.top, &first);
    assert_clean_at(&side, &second);
    repository.git(&["pack-refs", "--all"]);
    assert_clean_at(&side, &second);

    write(&repository.top.join(".git/index.lock"), "");
    assert!(is_locked(&repository.apps()));
    assert!(!is_locked(&side));
    write(&repository.top.join(".git/worktrees/side/index.lock"), "");
    assert!(is_locked(&side));
}

#[test]
fn the_link_of_a_git_sidecar_leads_to_a_work_tree() {
    // As git-sync lays it out: a repository without files, a work tree for each commit, a link that is swapped, and
    // relative paths in between, as other containers see the volume elsewhere.
    let origin = Repository::new();
    let root = origin.room().join("root");
    fs::create_dir(&root).expect("a new folder");
    git(&root, &["init", "--quiet", "--initial-branch=git-sync"]);
    let publish = |commit: &str| {
        git(&root, &["fetch", "--quiet", &origin.top.to_string_lossy(), commit]);
        let tree = format!(".worktrees/{commit}");
        git(&root, &["worktree", "add", "--quiet", "--force", "--detach", &tree, commit]);
        write(&root.join(&tree).join(".git"), &format!("gitdir: ../../.git/worktrees/{commit}\n"));
        symlink(&tree, root.join("next")).expect("a new link");
        fs::rename(root.join("next"), root.join("current")).expect("the swap");
    };
    let folder = || root.join("current/apps").canonicalize().expect("the link leads to a work tree");
    let first = origin.git(&["rev-parse", "HEAD"]);
    publish(&first);
    assert_eq!(head(&folder()), Some(first));
    assert!(!is_dirty(&folder()));

    origin.write("apps/web.yaml", "web 2\n");
    let second = origin.commit();
    publish(&second);
    assert_eq!(head(&folder()), Some(second.clone()));
    assert!(!is_dirty(&folder()));

    let moved = origin.room().join("volume");
    fs::rename(&root, &moved).expect("the volume is mounted elsewhere");
    assert_clean_at(&moved.join("current").canonicalize().expect("a relative link"), &second);
    assert_eq!(head(&moved), None, "nothing is checked out at the root");
}

#[test]
fn head_follows_branches_and_stands_on_commits() {
    let repository = Repository::new();
    let first = repository.git(&["rev-parse", "HEAD"]);
    repository.git(&["switch", "--quiet", "--create", "deep/branch"]);
    repository.write("apps/web.yaml", "web 2\n");
    let second = repository.commit();
    assert_clean_at(&repository.top, &second);
    repository.git(&["switch", "--quiet", "main"]);
    assert_clean_at(&repository.top, &first);
    repository.git(&["switch", "--quiet", "--detach", &second]);
    assert_clean_at(&repository.top, &second);
    repository.git(&["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
    repository.git(&["symbolic-ref", "HEAD", "refs/heads/alias"]);
    assert_eq!(head(&repository.top), Some(first));
}

#[test]
fn a_cache_is_of_one_commit_and_one_folder() {
    let repository = Repository::new();
    let mut committed = Committed::default();
    let mut is_dirty = |folder: &Path| {
        let (checkout, files) = (checkout(folder), read(folder, Sha1));
        let commit = checkout.state().expect("a readable HEAD").commit.expect("a commit");
        let files: Vec<_> = files.iter().map(Read::as_file).collect();
        checkout.compare(commit, &files, &mut committed).expect("a readable commit") == Comparison::Differs
    };
    assert!(!is_dirty(&repository.apps()));
    assert!(!is_dirty(&repository.top));
    repository.write("apps/web.yaml", "web 2\n");
    assert!(is_dirty(&repository.top));
    repository.commit();
    assert!(!is_dirty(&repository.top));
}

#[test]
fn no_commit_can_be_told_before_the_first_and_before_a_checkout() {
    let repository = Repository::empty();
    assert_eq!(head(&repository.top), None);
    repository.write("apps/web.yaml", "web 1\n");
    repository.git(&["add", "--all"]);
    assert_eq!(head(&repository.top), None);
    let commit = repository.commit();
    assert_eq!(head(&repository.top), Some(commit.clone()));

    git(&repository.room(), &["clone", "--quiet", "--no-checkout", "top", "clone"]);
    let clone = repository.room().join("clone");
    assert_eq!(head(&clone), None);
    // The clone writes its files now.
    write(&clone.join(".git/index.lock"), "");
    assert_eq!(head(&clone), Some(commit));
}

/// Each way to keep refs, with each kind of ids.
const FORMATS: [[&str; 2]; 4] = [
    ["--ref-format=files", "--object-format=sha1"],
    ["--ref-format=reftable", "--object-format=sha1"],
    ["--ref-format=files", "--object-format=sha256"],
    ["--ref-format=reftable", "--object-format=sha256"],
];

#[test]
fn every_format_of_refs_and_ids_is_read() {
    for format in FORMATS {
        let repository = Repository::with(&format);
        assert_eq!(head(&repository.top), None, "{format:?}: before the first commit");
        repository.write("apps/web.yaml", "web 1\n");
        repository.write("apps/shop/cart.yml", "cart 1\n");
        let first = repository.commit();
        assert_clean_at(&repository.top, &first);
        // Many refs and many updates: several tables, in several blocks, that git merges.
        for number in 0..30 {
            repository.git(&["branch", &format!("aaa/branch-{number:04}-with-a-name-that-fills-the-blocks")]);
            repository.git(&["update-ref", &format!("refs/zzz/{number}"), "HEAD"]);
        }
        let script = (0..400).map(|n| format!("create refs/heads/bulk/of-many-branches/{n} {first}\n"));
        let script = script.collect::<String>();
        let path = repository.room().join("script");
        fs::write(&path, script).expect("a script");
        let shell = format!("git update-ref --stdin < '{}'", path.display());
        assert!(Command::new("sh").current_dir(&repository.top).args(["-c", &shell]).status().expect("sh").success());
        assert_clean_at(&repository.top, &first);
        repository.write("apps/web.yaml", "web 2\n");
        assert!(is_dirty(&repository.apps()), "{format:?}");
        let second = repository.commit();
        assert_clean_at(&repository.top, &second);
        repository.git(&["pack-refs", "--all"]);
        assert_clean_at(&repository.top, &second);
        repository.git(&["gc", "--quiet", "--prune=now"]);
        assert_clean_at(&repository.top, &second);
        repository.git(&["switch", "--quiet", "--detach", &first]);
        assert_clean_at(&repository.top, &first);
        repository.git(&["switch", "--quiet", "aaa/branch-0007-with-a-name-that-fills-the-blocks"]);
        assert_clean_at(&repository.top, &first);
        repository.git(&["worktree", "add", "--quiet", "-b", "side", "../side", &second]);
        assert_clean_at(&repository.room().join("side"), &second);
        repository.git(&["branch", "--quiet", "--move", "moved"]);
        assert_clean_at(&repository.top, &first);
        repository.git(&["switch", "--quiet", "--orphan", "new"]);
        assert_eq!(head(&repository.top), None, "{format:?}: a branch without commits");

        assert!(!is_locked(&repository.top));
        write(&repository.top.join(".git/index.lock"), "");
        assert!(is_locked(&repository.top), "{format:?}");
    }
}

#[test]
fn edits_make_a_folder_dirty_staged_or_not() {
    let repository = Repository::new();
    repository.write("apps/web.yaml", "web 2\n");
    assert!(is_dirty(&repository.apps()));
    repository.git(&["add", "--all"]);
    assert!(is_dirty(&repository.apps()));
    assert!(is_dirty(&repository.top));
    repository.git(&["restore", "--worktree", "--source=HEAD", "."]);
    assert!(!is_dirty(&repository.apps()), "what is staged alone is not what was read");
}

#[test]
fn edits_beside_the_folder_and_of_other_files_do_not_count() {
    let repository = Repository::new();
    repository.write("apps/.hidden/old.yaml", "old\n");
    repository.write("apps/text/NOTE", "about\n");
    repository.commit();
    repository.write("other.json", "[]\n");
    repository.write("apps/shop/NOTE", "more\n");
    repository.remove("apps/text/NOTE");
    fs::remove_dir(repository.top.join("apps/text")).expect("an empty folder");
    repository.write("apps/text", "a file where a folder was\n");
    repository.remove("apps/shop/NOTE");
    repository.write("apps/.hidden/new.yaml", "new\n");
    repository.remove("apps/.hidden/old.yaml");
    assert!(!is_dirty(&repository.apps()));
    assert!(is_dirty(&repository.top));
}

#[test]
fn a_new_manifest_makes_a_folder_dirty() {
    let repository = Repository::new();
    repository.write("apps/shop/new.yaml", "new\n");
    assert!(is_dirty(&repository.apps()));
    repository.write(".gitignore", "new.yaml\n");
    assert!(is_dirty(&repository.apps()), "it is read all the same");
}

#[test]
fn a_deleted_manifest_makes_a_folder_dirty() {
    let repository = Repository::new();
    repository.remove("apps/shop/cart.yml");
    assert!(is_dirty(&repository.apps()));
    repository.remove("apps/shop/NOTE");
    fs::remove_dir(repository.top.join("apps/shop")).expect("an empty folder");
    repository.write("apps/shop", "a file where a folder was\n");
    assert!(is_dirty(&repository.apps()));
}

#[test]
fn a_folder_that_the_commit_does_not_have_is_dirty_with_its_first_manifest() {
    let repository = Repository::new();
    let new = repository.top.join("new");
    fs::create_dir(&new).expect("a new folder");
    assert!(!is_dirty(&new));
    write(&new.join("new.yaml"), "new\n");
    assert!(is_dirty(&new));
}

#[test]
fn a_mode_alone_is_no_difference() {
    let repository = Repository::new();
    let path = repository.top.join("apps/web.yaml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a new mode");
    assert!(repository.git(&["status", "--porcelain"]).contains("web.yaml"));
    assert!(!is_dirty(&repository.apps()));
}

#[test]
fn ignored_files_count_only_by_what_ignores_them() {
    let repository = Repository::new();
    repository.write("apps/shop/.truenorthignore", "cart.yml\n");
    assert!(is_dirty(&repository.apps()), "an ignore file that the commit does not have");
    repository.commit();
    assert!(!is_dirty(&repository.apps()));
    repository.write("apps/shop/cart.yml", "cart 2\n");
    assert!(!is_dirty(&repository.apps()));
    repository.write("apps/shop/.truenorthignore", "cart.yml # edited\n");
    assert!(is_dirty(&repository.apps()));
    repository.git(&["checkout", "--quiet", "."]);
    assert!(!is_dirty(&repository.apps()));
    repository.remove("apps/shop/.truenorthignore");
    assert!(is_dirty(&repository.apps()));
}

#[test]
fn an_ignore_file_above_the_folder_does_not_count() {
    let repository = Repository::new();
    repository.write(".truenorthignore", "cart.yml\n");
    assert!(!is_dirty(&repository.apps()));
    assert!(is_dirty(&repository.top));
}

#[test]
fn links_are_clean_while_they_and_their_targets_are_as_committed() {
    let repository = Repository::new();
    repository.write("apps/.data/1/a.yaml", "a 1\n");
    repository.write("apps/.data/1/b.txt", "b 1\n");
    repository.write("apps/.data/2/a.yaml", "a 1\n");
    repository.link("apps/.data/now", "1");
    repository.link("apps/a.yaml", ".data/now/a.yaml");
    repository.link("apps/shop/b.yaml", "../.data/./now/b.txt");
    repository.link("apps/all", ".data/now");
    repository.commit();
    assert!(read(&repository.apps(), Sha1).iter().any(|file| file.path == "all/a.yaml"));
    assert!(!is_dirty(&repository.apps()));

    let put_back = || repository.git(&["checkout", "--quiet", "."]);
    repository.write("apps/.data/1/b.txt", "b 2\n");
    assert!(is_dirty(&repository.apps()), "a target changed");
    put_back();
    repository.remove("apps/.data/now");
    repository.link("apps/.data/now", "2");
    assert!(is_dirty(&repository.apps()), "a link leads elsewhere, though to the same contents");
    put_back();
    repository.remove("apps/all");
    assert!(is_dirty(&repository.apps()), "a link is gone");
    repository.write("apps/all", "no link\n");
    assert!(is_dirty(&repository.apps()), "a link became a file");
    repository.remove("apps/all");
    put_back();
    assert!(!is_dirty(&repository.apps()));
    repository.link("apps/new.yaml", "web.yaml");
    assert!(is_dirty(&repository.apps()), "a new link to what is committed");
}

#[test]
fn links_in_a_circle_or_out_of_the_folder_end() {
    let repository = Repository::new();
    repository.link("apps/one.yaml", "two.yaml");
    repository.link("apps/two.yaml", "one.yaml");
    repository.link("apps/out.yaml", "../other.json");
    repository.link("apps/up.yaml", "../web.yaml");
    repository.commit();
    let checkout = checkout(&repository.apps());
    let commit = checkout.state().expect("a readable HEAD").commit.expect("a commit");
    let web = repository.top.join("apps/web.yaml");
    let stamp = Stamp::of(&rustix::fs::stat(&web).expect("it is there"), SystemTime::now());
    for file in ["one.yaml", "out.yaml", "up.yaml", "../other.json", "../web.yaml", "/", "", "web.yaml/x"] {
        let read = [File { path: file.as_bytes(), id: blob_id(Sha1, b"web 1\n"), stamp: &stamp }];
        let compared = checkout.compare(commit, &read, &mut Committed::default()).expect("a readable commit");
        assert_eq!(compared, Comparison::Differs, "{file}");
    }
}

#[test]
fn an_absolute_link_within_the_folder_is_followed() {
    let repository = Repository::new();
    repository.link("apps/again.yaml", &repository.top.join("apps/web.yaml").to_string_lossy());
    repository.commit();
    assert!(!is_dirty(&repository.apps()));
}

#[test]
fn a_submodule_is_clean_at_the_commit_that_is_named_for_it() {
    let (inner, middle, outer) = (Repository::new(), Repository::new(), Repository::new());
    let add = |to: &Repository, from: &Repository, path: &str| {
        to.git(&["submodule", "--quiet", "add", &from.top.to_string_lossy(), path]);
        to.commit()
    };
    add(&middle, &inner, "apps/inner");
    let above = add(&outer, &middle, "apps/middle");
    outer.git(&["submodule", "--quiet", "update", "--init", "--recursive"]);
    let (middle_top, inner_top) = (outer.top.join("apps/middle"), outer.top.join("apps/middle/apps/inner"));
    assert_clean_at(&inner_top, &inner.git(&["rev-parse", "HEAD"]));
    assert_clean_at(&middle_top, &middle.git(&["rev-parse", "HEAD"]));
    assert_clean_at(&outer.top, &above);

    write(&inner_top.join("web.yaml"), "web 2\n");
    for folder in [&inner_top, &middle_top, &outer.top] {
        assert!(is_dirty(folder), "{}", folder.display());
    }
    git(&inner_top, &["add", "--all"]);
    git(&inner_top, &["commit", "--quiet", "--message=ahead"]);
    assert!(!is_dirty(&inner_top));
    assert!(is_dirty(&outer.top), "another commit is checked out than the one that is named");
    git(&inner_top, &["checkout", "--quiet", "HEAD~"]);
    assert!(!is_dirty(&outer.top));

    let lock = PathBuf::from(git(&inner_top, &["rev-parse", "--absolute-git-dir"])).join("index.lock");
    write(&lock, "");
    assert!(matches!(compare(&outer.top), Comparison::Busy(Busy::Locked { .. })));
    fs::remove_file(&lock).expect("the lock is there");

    // One that was not fetched is an empty folder.
    git(&outer.room(), &["clone", "--quiet", "top", "clone"]);
    assert!(!is_dirty(&outer.room().join("clone")));
    write(&outer.room().join("clone/apps/middle/mine.yaml"), "mine\n");
    assert!(is_dirty(&outer.room().join("clone")));
}

#[test]
fn a_git_folder_elsewhere_is_found() {
    let repository = Repository::new();
    let commit = repository.git(&["rev-parse", "HEAD"]);
    git(&repository.room(), &["clone", "--quiet", "--separate-git-dir=store", "top", "clone"]);
    assert_clean_at(&repository.room().join("clone"), &commit);
}

#[test]
fn a_checkout_of_another_user_is_read() {
    if !rustix::process::geteuid().is_root() {
        // Only root can give files away.
        return;
    }
    let repository = Repository::new();
    let commit = repository.git(&["rev-parse", "HEAD"]);
    let status =
        Command::new("chown").args(["-R", "65533:65533"]).arg(&repository.top).status().expect("a chown command");
    assert!(status.success());
    assert_clean_at(&repository.top, &commit);
}

#[test]
fn what_is_no_checkout_is_none() {
    let room = TempDir::new().expect("a temporary folder");
    let room = room.path().canonicalize().expect("it is there");
    let discover = |folder: &Path| Checkout::discover(folder).expect("nothing is unreadable");
    assert_eq!(discover(&room), None);

    let repository = Repository::new();
    git(&repository.room(), &["clone", "--quiet", "--bare", "top", "bare.git"]);
    assert_eq!(discover(&repository.room().join("bare.git")), None);
    assert_eq!(discover(&repository.room().join("bare.git/refs")), None);
    assert_eq!(discover(&repository.top.join(".git/refs")), None);
    fs::create_dir_all(repository.top.join("hidden/.git")).expect("a new folder");
    assert_eq!(discover(&repository.top.join("hidden")), None, "an empty `.git`");
}

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("a mkfifo command").success());
}

#[test]
fn a_git_file_that_leads_nowhere_hides_what_is_above_and_is_told() {
    let repository = Repository::new();
    let broken = repository.top.join("broken");
    for text in ["", "gitdir: ", "nonsense", &"x".repeat(100_000)] {
        write(&broken.join(".git"), text);
        let error = Checkout::discover(&broken).expect_err(text);
        assert!(matches!(error, CheckoutError::Place { .. }), "{error:?}");
    }
    write(&broken.join(".git"), "gitdir: ../nowhere\n");
    assert!(matches!(Checkout::discover(&broken), Err(CheckoutError::Nowhere { .. })));
    repository.remove("broken/.git");
    mkfifo(&broken.join(".git"));
    assert!(matches!(Checkout::discover(&broken), Err(CheckoutError::Place { .. })));
    repository.remove("broken/.git");
    assert!(Checkout::discover(&broken).expect("a readable checkout").is_some());
}

#[test]
fn broken_refs_are_errors_that_name_the_file() {
    let repository = Repository::new();
    let checkout = checkout(&repository.top);
    let fails_at = |path: &str| {
        let error = checkout.state().expect_err(path).to_string();
        assert!(error.contains(path), "{error}");
    };
    let branch = ".git/refs/heads/main";
    for text in ["", "\n", "abc\n", "ref: refs/heads/main\n", &"0".repeat(39), &"1".repeat(70_000)] {
        repository.write(branch, text);
        // A ref that leads to itself is named by where the way began.
        fails_at(if text.starts_with("ref") { ".git/HEAD" } else { branch });
    }
    repository.remove(branch);
    mkfifo(&repository.top.join(branch));
    fails_at(branch);
    for name in
        ["../../../etc/hostname", "refs/../../../etc/hostname", "refs/.hidden", "etc", "/etc/hostname", "refs/a\0b"]
    {
        repository.write(".git/HEAD", &format!("ref: {name}\n"));
        let error = checkout.state().expect_err(name);
        assert!(matches!(error, CheckoutError::Ref { .. }), "{error:?}");
    }
    repository.write(".git/HEAD", "");
    fails_at(".git/HEAD");
    repository.remove(".git/HEAD");
    assert!(matches!(Checkout::discover(&repository.top), Err(CheckoutError::Place { .. })));
}

#[test]
fn what_is_not_a_plain_file_of_a_bounded_size_is_not_read() {
    type Ask = fn(&Checkout, Commit) -> Result<(), CheckoutError>;
    let state: Ask = |checkout, _| checkout.state().map(drop);
    let tree: Ask = |checkout, commit| checkout.compare(commit, &[], &mut Committed::default()).map(drop);
    let index: Ask = |checkout, commit| {
        let stamp = Stamp::of(&rustix::fs::stat("/").expect("it is there"), SystemTime::now());
        let file = File { path: b"web.yaml", id: blob_id(Sha1, b""), stamp: &stamp };
        checkout.compare(commit, &[file], &mut Committed::default()).map(drop)
    };
    let cases = [
        ("files", "HEAD", state),
        ("files", "packed-refs", state),
        ("files", "sequencer/todo", state),
        ("reftable", "reftable/tables.list", state),
        ("files", "objects/info/alternates", tree),
        ("files", "index", index),
    ];
    for (format, name, ask) in cases {
        let repository = Repository::with(&[&format!("--ref-format={format}")]);
        repository.write("web.yaml", "web 1\n");
        let commit = commit_at(&repository.commit());
        repository.git(&["pack-refs", "--all"]);
        let checkout = checkout(&repository.top);
        assert!(ask(&checkout, commit).is_ok(), "{name}");
        let path = repository.top.join(".git").join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        let _ = fs::remove_file(&path);
        mkfifo(&path);
        let error = crate::error::chain(&ask(&checkout, commit).expect_err("it is a FIFO"));
        let told = if format == "files" && name.starts_with("packed") { name } else { "" };
        assert!(error.contains(told), "{name}: {error}");
        fs::remove_file(&path).expect("the FIFO is there");
        // A hole costs no room.
        fs::File::create(&path).and_then(|file| file.set_len(1 << 40)).expect("a large file");
        assert!(ask(&checkout, commit).is_err(), "{name} is large");
    }
    let repository = Repository::new();
    let commit = commit_at(&repository.git(&["rev-parse", "HEAD"]));
    mkfifo(&repository.top.join(".git/objects/pack/pack-x.idx"));
    assert!(tree(&checkout(&repository.top), commit).is_err());
    repository.remove(".git/objects/pack/pack-x.idx");
    let id = commit.to_string();
    let (folder, rest) = id.split_at(2);
    let object = repository.top.join(".git/objects").join(folder).join(rest);
    fs::remove_file(&object).expect("a loose object");
    mkfifo(&object);
    assert!(tree(&checkout(&repository.top), commit).is_err());
}

#[test]
fn objects_of_another_repository_are_not_followed() {
    let repository = Repository::new();
    git(&repository.room(), &["clone", "--quiet", "--shared", "top", "borrower"]);
    let borrower = repository.room().join("borrower");
    assert!(borrower.join(".git/objects/info/alternates").exists());
    let commit = head(&borrower).expect("a commit");
    let error = checkout(&borrower).compare(commit_at(&commit), &[], &mut Committed::default()).expect_err("refused");
    assert!(matches!(error, CheckoutError::Objects { .. }), "{error:?}");
    git(&borrower, &["repack", "-a", "-d", "-q"]);
    fs::remove_file(borrower.join(".git/objects/info/alternates")).expect("it is there");
    assert_clean_at(&borrower, &commit);
}

#[test]
fn missing_and_broken_objects_are_errors_that_name_them() {
    let repository = Repository::new();
    let checkout = checkout(&repository.apps());
    let commit = checkout.state().expect("a readable HEAD").commit.expect("a commit");
    let tree = repository.git(&["rev-parse", "HEAD:apps"]);
    let path = repository.top.join(".git/objects").join(&tree[..2]).join(&tree[2..]);
    let ask = |commit: Commit| checkout.compare(commit, &[], &mut Committed::default()).expect_err("an error");

    let bytes = fs::read(&path).expect("a loose object");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a new mode");
    for cut in [0, 1, 10, bytes.len() - 8] {
        fs::write(&path, &bytes[..cut]).expect("a cut object");
        let error = ask(commit);
        assert!(matches!(error, CheckoutError::Object { .. }), "{cut}: {error:?}");
        assert!(error.to_string().contains(&tree));
    }
    fs::remove_file(&path).expect("the object is there");
    let error = ask(commit);
    assert!(matches!(error, CheckoutError::Missing { .. }), "{error:?}");

    let blob = commit_at(&repository.git(&["rev-parse", "HEAD:other.json"]));
    assert!(matches!(ask(blob), CheckoutError::Corrupt { .. }));
    fs::remove_dir_all(repository.top.join(".git/objects")).expect("the objects are there");
    assert!(matches!(ask(commit), CheckoutError::Objects { .. }));
}

/// A commit of a tree with these bytes.
fn commit_of(repository: &Repository, tree: &[u8]) -> Commit {
    let path = repository.room().join("object");
    let shown = path.to_string_lossy();
    fs::write(&path, tree).expect("a tree");
    let tree = repository.git(&["hash-object", "-w", "-t", "tree", "--literally", &shown]);
    commit_at(&repository.git(&["commit-tree", "-m", "made", &tree]))
}

#[test]
fn a_tree_over_the_bound_is_refused() {
    let repository = Repository::new();
    let tree = |length: usize| {
        let name = "x".repeat(length);
        (0..4096).flat_map(|i| [format!("100644 {i:08}{name}\0").as_bytes(), &[7; 20]].concat()).collect::<Vec<_>>()
    };
    let ask =
        |tree: &[u8]| checkout(&repository.top).compare(commit_of(&repository, tree), &[], &mut Committed::default());
    assert!(ask(&tree(3000)).is_ok());
    let error = ask(&tree(4080)).expect_err("too large");
    assert!(matches!(error, CheckoutError::Object { .. }), "{error:?}");
}

#[test]
fn a_tree_with_names_that_lead_elsewhere_is_refused() {
    let repository = Repository::new();
    for name in ["..", ".", "", "a/b", "/"] {
        let tree = [format!("100644 {name}\0").as_bytes(), &[7; 20]].concat();
        let made = commit_of(&repository, &tree);
        let error = checkout(&repository.top).compare(made, &[], &mut Committed::default()).expect_err(name);
        assert!(matches!(error, CheckoutError::Corrupt { .. }), "{error:?}");
    }
}

#[test]
fn a_tree_that_unfolds_without_end_is_refused() {
    let repository = Repository::empty();
    // Ten folders that are the same, ten levels deep.
    let mut entry = format!("100644 blob {}\tx.yaml", repository.git(&["hash-object", "-w", "/dev/null"]));
    let listing = repository.room().join("listing");
    for _ in 0..10 {
        let lines = (0..10).map(|number| entry.replace("\tx", &format!("\t{number}x")));
        fs::write(&listing, lines.map(|line| line + "\n").collect::<String>()).expect("a listing");
        let script = format!("git mktree < '{}'", listing.display());
        let made = Command::new("sh").current_dir(&repository.top).args(["-c", &script]).output().expect("a shell");
        entry = format!("040000 tree {}\tx", String::from_utf8_lossy(&made.stdout).trim_end());
    }
    let tree = entry[12..52].to_owned();
    let id = repository.git(&["commit-tree", "-m", "deep", &tree]);
    let error =
        checkout(&repository.top).compare(commit_at(&id), &[], &mut Committed::default()).expect_err("too large");
    assert!(matches!(error, CheckoutError::TooLarge { .. }), "{error:?}");
}

#[test]
fn a_checkout_that_moves_on_meanwhile_is_never_a_panic_and_settles() {
    let repository = Repository::new();
    let top = repository.top.clone();
    let writer = std::thread::spawn(move || {
        for number in 0..12 {
            write(&top.join("apps/web.yaml"), &format!("web {number}\n"));
            git(&top, &["commit", "--quiet", "--all", "--allow-empty", "--message=more"]);
            git(&top, &["pack-refs", "--all"]);
            git(&top, &["gc", "--quiet", "--prune=now"]);
        }
    });
    let mut commits = Vec::new();
    let mut committed = Committed::default();
    while !writer.is_finished() {
        let checkout = checkout(&repository.apps());
        let commit = checkout.state().expect("git replaces refs whole").commit.expect("there is a commit at any time");
        if commits.last() != Some(&commit) {
            commits.push(commit);
            let _ = checkout.compare(commit, &[], &mut committed);
        }
    }
    writer.join().expect("the writer succeeds");
    assert!(commits.len() > 3, "the reader saw {} commits", commits.len());
    assert_clean_at(&repository.top, &repository.git(&["rev-parse", "HEAD"]));
}

/// A repository in which `main` and `side` change the same line.
fn forked(options: &[&str]) -> Repository {
    let repository = Repository::with(options);
    repository.write("apps/web.yaml", "web 1\n");
    repository.write("apps/cart.yaml", "cart 1\n");
    repository.commit();
    repository.git(&["branch", "side"]);
    repository.write("apps/web.yaml", "web 2\n");
    repository.commit();
    repository.git(&["switch", "--quiet", "side"]);
    repository.write("apps/web.yaml", "web 3\n");
    repository.write("apps/cart.yaml", "cart 3\n");
    repository.commit();
    repository.git(&["switch", "--quiet", "main"]);
    repository
}

/// Runs a git command that ends in a conflict.
fn stop(repository: &Repository, arguments: &[&str]) {
    let output = command(&repository.top, arguments).output().expect("git");
    assert!(!output.status.success(), "git {arguments:?} should meet a conflict");
}

#[test]
fn what_git_has_not_finished_is_known_in_every_format() {
    let way_back = |operation: Operation| operation.way_out().split('`').nth_back(1).expect("a command").to_owned();
    for format in FORMATS {
        type Start = fn(&Repository);
        let operations: [(Operation, Start); 8] = [
            (Operation::Merge, |repository| stop(repository, &["merge", "side"])),
            (Operation::Rebase, |repository| stop(repository, &["rebase", "side"])),
            (Operation::Rebase, |repository| stop(repository, &["rebase", "--apply", "side"])),
            (Operation::Am, |repository| {
                let patch = repository.git(&["format-patch", "-1", "--stdout", "side"]);
                let path = repository.room().join("patch");
                fs::write(&path, patch + "\n").expect("a patch");
                stop(repository, &["am", &path.to_string_lossy()]);
            }),
            (Operation::CherryPick, |repository| stop(repository, &["cherry-pick", "side"])),
            (Operation::Revert, |repository| {
                repository.write("apps/web.yaml", "web 9\n");
                repository.commit();
                stop(repository, &["revert", "--no-edit", "HEAD~"]);
            }),
            (Operation::Bisect, |repository| {
                repository.git(&["bisect", "start", "HEAD", "HEAD~"]);
            }),
            (Operation::Conflict, |repository| {
                repository.git(&["switch", "--quiet", "side"]);
                repository.write("apps/web.yaml", "web 5\n");
                repository.git(&["stash", "--quiet"]);
                repository.git(&["switch", "--quiet", "main"]);
                stop(repository, &["stash", "pop"]);
            }),
        ];
        for (expected, start) in operations {
            let repository = forked(&format);
            assert_eq!(operation(&repository.apps()), None);
            start(&repository);
            match expected {
                Operation::Conflict => {
                    assert_eq!(compare(&repository.apps()), Comparison::Busy(Busy::Operation(expected)), "{format:?}");
                }
                _ => assert_eq!(operation(&repository.apps()), Some(expected), "{format:?}"),
            }
            let back = way_back(expected);
            let back: Vec<&str> = back.split(' ').skip(1).collect();
            repository.git(&back);
            assert_eq!(operation(&repository.apps()), None, "{format:?}: after git {back:?}");
            assert!(!is_dirty(&repository.apps()), "{format:?}: after git {back:?}");
        }
        // Two commits, of which the first was resolved.
        let repository = forked(&format);
        repository.git(&["switch", "--quiet", "side"]);
        repository.write("apps/more.yaml", "more\n");
        repository.commit();
        repository.git(&["switch", "--quiet", "main"]);
        stop(&repository, &["cherry-pick", "main..side"]);
        repository.commit();
        assert_eq!(operation(&repository.apps()), Some(Operation::CherryPick), "{format:?}: the second is to come");
    }
}

#[test]
fn an_operation_in_one_work_tree_is_not_one_in_another() {
    for format in FORMATS {
        let repository = forked(&format);
        repository.git(&["worktree", "add", "--quiet", "-b", "third", "../third", "main"]);
        let third = repository.room().join("third");
        assert!(!command(&third, &["cherry-pick", "side"]).output().expect("git").status.success());
        assert_eq!(operation(&third), Some(Operation::CherryPick), "{format:?}");
        assert_eq!(operation(&repository.apps()), None, "{format:?}");
    }
}

/// What `git status` says of the folder, as far as it is read.
fn is_clean_for_git(repository: &Repository) -> bool {
    repository.git(&["status", "--porcelain"]).is_empty()
}

#[test]
fn line_endings_that_git_converts_are_no_difference() {
    type Set = fn(&Repository);
    let settings: [(&str, Set); 3] = [
        ("autocrlf", |repository| drop(repository.git(&["config", "core.autocrlf", "true"]))),
        ("eol", |repository| repository.write(".gitattributes", "*.yaml text eol=crlf\n")),
        ("text=auto", |repository| {
            repository.write(".gitattributes", "* text=auto\n");
            repository.git(&["config", "core.eol", "crlf"]);
        }),
    ];
    for (name, set) in settings {
        let repository = Repository::new();
        set(&repository);
        repository.git(&["add", "--all"]);
        repository.git(&["commit", "--quiet", "--allow-empty", "--message=set"]);
        repository.remove("apps/web.yaml");
        repository.git(&["checkout", "--quiet", "apps/web.yaml"]);
        let converted = fs::read(repository.top.join("apps/web.yaml")).expect("it is there");
        assert_ne!(converted, b"web 1\n", "{name}");
        assert!(is_clean_for_git(&repository), "{name}");
        assert!(!is_dirty(&repository.apps()), "{name}");
        assert!(!is_dirty(&repository.top), "{name}");

        repository.write("apps/web.yaml", "web 2\r\n");
        assert!(is_dirty(&repository.apps()), "{name}: edited");
        fs::write(repository.top.join("apps/web.yaml"), &converted).expect("it is written back");
        assert!(is_clean_for_git(&repository), "{name}: as it was, with other times; git now has those in its index");
        assert!(!is_dirty(&repository.apps()), "{name}");
    }
    let repository = Repository::new();
    repository.write("apps/web.yaml", "web 1\r\n");
    assert!(!is_clean_for_git(&repository));
    assert!(is_dirty(&repository.apps()), "nothing converts these");
}

#[test]
fn line_endings_are_told_apart_also_in_a_copy_of_a_checkout() {
    let repository = Repository::new();
    repository.git(&["config", "core.autocrlf", "true"]);
    repository.remove("apps/web.yaml");
    repository.git(&["checkout", "--quiet", "apps/web.yaml"]);
    let copy = repository.room().join("copy");
    let copied = Command::new("cp").arg("-R").arg(&repository.top).arg(&copy).status().expect("a cp command");
    assert!(copied.success());
    assert!(!is_dirty(&copy.join("apps")));
    write(&copy.join("apps/web.yaml"), "web 2\r\n");
    assert!(is_dirty(&copy.join("apps")));
}

#[test]
fn what_a_filter_made_is_no_difference_and_the_filter_is_not_run() {
    let repository = Repository::new();
    let ran = repository.room().join("ran");
    let script = |what: &str| format!("{what}; touch '{}'", ran.display());
    repository.write(".gitattributes", "*.yaml filter=up\n");
    repository.git(&["config", "filter.up.smudge", &script("tr a-z A-Z")]);
    repository.git(&["config", "filter.up.clean", &script("tr A-Z a-z")]);
    repository.commit();
    repository.remove("apps/web.yaml");
    repository.git(&["checkout", "--quiet", "apps/web.yaml"]);
    assert_eq!(fs::read(repository.top.join("apps/web.yaml")).expect("it is there"), b"WEB 1\n");
    assert!(is_clean_for_git(&repository));
    fs::remove_file(&ran).expect("the filter ran");
    assert!(!is_dirty(&repository.apps()));
    repository.write("apps/web.yaml", "WEB 2\n");
    assert!(is_dirty(&repository.apps()));
    assert!(!ran.exists());
}

#[test]
fn what_a_sparse_checkout_leaves_out_is_not_missing() {
    for how in [&["--no-cone"][..], &["--cone"], &["--cone", "--sparse-index"]] {
        let repository = Repository::new();
        repository.write("apps/deep/er/api.yaml", "api 1\n");
        repository.write("apps/deep/.truenorthignore", "nothing\n");
        repository.commit();
        let pattern = if how[0] == "--no-cone" { "/apps/web.yaml" } else { "apps/shop" };
        repository.git(&[&["sparse-checkout", "set"], how, &[pattern]].concat());
        assert!(!repository.top.join("apps/deep").exists(), "{how:?}");
        assert!(is_clean_for_git(&repository));
        assert!(!is_dirty(&repository.apps()), "{how:?}");
        assert!(!is_dirty(&repository.top), "{how:?}");
        repository.write("apps/web.yaml", "web 2\n");
        assert!(is_dirty(&repository.apps()), "{how:?}");
    }
    // The folder as a whole is left out.
    let repository = Repository::new();
    repository.git(&["sparse-checkout", "set", "--cone", "--sparse-index", "nothing"]);
    fs::create_dir_all(repository.apps()).expect("an empty folder");
    assert!(!is_dirty(&repository.apps()));
}

#[test]
fn what_git_was_told_to_take_for_unchanged_is_no_difference() {
    for flag in ["--assume-unchanged", "--skip-worktree"] {
        let repository = Repository::new();
        repository.git(&["update-index", flag, "apps/web.yaml"]);
        repository.write("apps/web.yaml", "web 2\n");
        assert!(is_clean_for_git(&repository));
        assert!(!is_dirty(&repository.apps()), "{flag}");
        repository.write("apps/shop/cart.yml", "cart 2\n");
        assert!(is_dirty(&repository.apps()), "{flag}");
    }
}

#[test]
fn every_version_of_the_index_is_read() {
    for options in [
        &["--index-version=2"][..],
        &["--index-version=3"],
        &["--index-version=4"],
        &["--untracked-cache"],
        &["--fsmonitor-valid", "apps/web.yaml"],
    ] {
        for ids in ["sha1", "sha256"] {
            let repository = Repository::with(&[&format!("--object-format={ids}")]);
            repository.write("apps/web.yaml", "web 1\n");
            repository.write("apps/shop/cart.yml", "cart 1\n");
            repository.commit();
            repository.git(&["config", "core.autocrlf", "true"]);
            repository.git(&["config", "index.threads", "2"]);
            repository.remove("apps/web.yaml");
            repository.git(&["checkout", "--quiet", "apps/web.yaml"]);
            repository.git(&[&["update-index"], options].concat());
            assert!(!is_dirty(&repository.apps()), "{options:?} {ids}");
        }
    }
}

#[test]
fn an_index_that_is_broken_is_an_error_and_not_a_panic() {
    let repository = Repository::new();
    let whole = fs::read(repository.top.join(".git/index")).expect("an index");
    repository.write("apps/web.yaml", "web 2\n");
    let ask = || {
        let checkout = checkout(&repository.apps());
        let commit = checkout.state().expect("a readable HEAD").commit.expect("a commit");
        let files = read(&repository.apps(), Sha1);
        let files: Vec<_> = files.iter().map(Read::as_file).collect();
        checkout.compare(commit, &files, &mut Committed::default())
    };
    assert_eq!(ask().expect("a readable index"), Comparison::Differs);
    for cut in [0, 4, 11, 12, 50, whole.len() - 21, whole.len() - 1] {
        fs::write(repository.top.join(".git/index"), &whole[..cut]).expect("a cut index");
        assert!(matches!(ask(), Err(CheckoutError::Index { .. })), "{cut}");
    }
    let mut many = whole.clone();
    many[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
    fs::write(repository.top.join(".git/index"), &many).expect("an index that promises too much");
    assert!(matches!(ask(), Err(CheckoutError::Index { .. })));
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        fs::write(repository.top.join(".git/index"), &bytes).expect("a damaged index");
        // Whatever comes of it, the changed file is not taken for the commit's.
        assert!(!matches!(ask(), Ok(Comparison::Same)), "{at}");
    }
}

#[test]
fn a_reftable_that_is_broken_is_an_error_and_not_a_panic() {
    let repository = Repository::with(&["--ref-format=reftable"]);
    repository.write("web.yaml", "web 1\n");
    repository.commit();
    repository.git(&["pack-refs", "--all"]);
    let folder = repository.top.join(".git/reftable");
    let list = fs::read_to_string(folder.join("tables.list")).expect("a list");
    let table = folder.join(list.lines().next().expect("a table"));
    let whole = fs::read(&table).expect("a table");
    let checkout = checkout(&repository.top);
    for cut in 0..whole.len().min(120) {
        fs::write(&table, &whole[..cut]).expect("a cut table");
        assert!(checkout.state().is_err(), "{cut}");
    }
    for at in 0..whole.len().min(120) {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            fs::write(&table, &bytes).expect("a damaged table");
            let _ = checkout.state();
        }
    }
    fs::remove_file(&table).expect("the table is there");
    assert!(checkout.state().is_err());
    for list in ["../../HEAD\n", "/etc/hostname\n", "\n"] {
        fs::write(folder.join("tables.list"), list).expect("a list");
        assert!(checkout.state().is_err(), "{list}");
    }
}
