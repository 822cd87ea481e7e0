//! Against real repositories, made by the `git` command.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use ignore::WalkBuilder;
use tempfile::TempDir;

use super::{BlobId, Checkout, CheckoutError, Commit, blob_id};

/// A repository with a checkout in `top`, and beside it room for others.
struct Repository {
    room: TempDir,
    top: PathBuf,
}

impl Repository {
    fn empty() -> Self {
        let room = TempDir::new().expect("a temporary folder");
        let top = room.path().canonicalize().expect("the temporary folder is there").join("top");
        fs::create_dir(&top).expect("a new folder");
        git(&top, &["init", "--quiet", "--initial-branch=main"]);
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
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
        command.env_remove(name);
    }
    let output = command
        .current_dir(folder)
        .args(["-c", "protocol.file.allow=always", "-c", "gc.auto=0", "-c", "safe.directory=*"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a@localhost")])
        .envs([("GIT_COMMITTER_NAME", "c"), ("GIT_COMMITTER_EMAIL", "c@localhost")])
        .output()
        .expect("these tests need the `git` command");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("git prints UTF-8 here").trim_end().to_owned()
}

/// All files that the folder's reader would read.
fn read(folder: &Path) -> Vec<(String, BlobId)> {
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
            Some((path, blob_id(&fs::read(entry.path()).ok()?)))
        })
        .collect()
}

fn commit_at(id: &str) -> Commit {
    Commit(gix_hash::ObjectId::from_hex(id.as_bytes()).expect("git prints an id"))
}

fn checkout(folder: &Path) -> Checkout {
    Checkout::discover(folder).expect("a checkout around the folder")
}

fn head(folder: &Path) -> Option<String> {
    checkout(folder).head().expect("a readable HEAD").map(|commit| commit.to_string())
}

/// Whether the folder differs from its commit, asked twice of one cache.
fn is_dirty(folder: &Path) -> bool {
    let checkout = checkout(folder);
    let commit = checkout.head().expect("a readable HEAD").expect("a commit");
    let files = read(folder);
    let mut committed = None;
    let mut ask = || {
        let files = files.iter().map(|(path, id)| (&**path, *id));
        checkout.is_dirty(commit, files, &mut committed).expect("a readable commit")
    };
    let first = ask();
    assert_eq!(ask(), first, "the cache changed the answer");
    first
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
    assert_eq!(blob_id(b"web 1\n").0.to_string(), listed);
}

#[test]
fn a_commit_is_clean_from_the_top_and_below() {
    let repository = Repository::new();
    let commit = repository.git(&["rev-parse", "HEAD"]);
    assert_clean_at(&repository.top, &commit);
    assert_clean_at(&repository.top, &commit);
}

#[test]
fn clones_are_clean_also_shallow_ones_and_those_that_borrow_objects() {
    let repository = Repository::new();
    repository.write("apps/web.yaml", "web 2\n");
    let commit = repository.commit();
    let whole = repository.top.to_string_lossy().into_owned();
    let url = format!("file://{whole}");
    for (name, how, from) in
        [("plain", "--no-hardlinks", &whole), ("borrower", "--shared", &whole), ("shallow", "--depth=1", &url)]
    {
        git(&repository.room(), &["clone", "--quiet", how, from, name]);
        assert_clean_at(&repository.room().join(name), &commit);
    }
    assert!(repository.room().join("borrower/.git/objects/info/alternates").exists());
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
    assert!(checkout(&repository.apps()).is_locked());
    assert!(!checkout(&side).is_locked());
    write(&repository.top.join(".git/worktrees/side/index.lock"), "");
    assert!(checkout(&side).is_locked());
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
    let mut committed = None;
    let mut is_dirty = |folder: &Path| {
        let (checkout, files) = (checkout(folder), read(folder));
        let commit = checkout.head().expect("a readable HEAD").expect("a commit");
        let files = files.iter().map(|(path, id)| (&**path, *id));
        checkout.is_dirty(commit, files, &mut committed).expect("a readable commit")
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

#[test]
fn repositories_in_formats_that_are_not_read_have_no_commit() {
    let room = TempDir::new().expect("a temporary folder");
    for format in ["--object-format=sha256", "--ref-format=reftable"] {
        let top = room.path().canonicalize().expect("it is there").join(format);
        fs::create_dir(&top).expect("a new folder");
        git(&top, &["init", "--quiet", format]);
        write(&top.join("web.yaml"), "web 1\n");
        git(&top, &["add", "--all"]);
        git(&top, &["commit", "--quiet", "--message=first"]);
        assert_eq!(head(&top), None, "{format}");
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
    assert!(read(&repository.apps()).iter().any(|(path, _)| path == "all/a.yaml"));
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
    let commit = checkout.head().expect("a readable HEAD").expect("a commit");
    for file in ["one.yaml", "out.yaml", "up.yaml", "../other.json", "../web.yaml", "/", "", "web.yaml/x"] {
        let read = [(file, blob_id(b"web 1\n"))];
        assert!(checkout.is_dirty(commit, read, &mut None).expect("a readable commit"), "{file}");
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
fn a_submodule_is_a_checkout_of_its_own() {
    let inner = Repository::new();
    let outer = Repository::new();
    outer.git(&["submodule", "--quiet", "add", &inner.top.to_string_lossy(), "apps/inner"]);
    let above = outer.commit();
    let below = inner.git(&["rev-parse", "HEAD"]);
    assert_ne!(above, below);
    assert_clean_at(&outer.top.join("apps/inner"), &below);
    assert_eq!(head(&outer.apps()), Some(above));
    assert!(is_dirty(&outer.apps()), "the files of a submodule are not the commit's");
    write(&outer.top.join("apps/inner/web.yaml"), "web 2\n");
    assert!(is_dirty(&outer.top.join("apps/inner")));
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
    assert_eq!(Checkout::discover(&room), None);
    assert_eq!(Checkout::discover(&room.join("missing")), None);

    let repository = Repository::new();
    git(&repository.room(), &["clone", "--quiet", "--bare", "top", "bare.git"]);
    assert_eq!(Checkout::discover(&repository.room().join("bare.git")), None);
    assert_eq!(Checkout::discover(&repository.room().join("bare.git/refs")), None);
    assert_eq!(Checkout::discover(&repository.top.join(".git/refs")), None);
}

#[test]
fn a_git_file_that_leads_nowhere_hides_what_is_above() {
    let repository = Repository::new();
    let broken = repository.top.join("broken");
    for text in ["", "gitdir: ", "gitdir: ../nowhere\n", "nonsense", &"x".repeat(100_000)] {
        write(&broken.join(".git"), text);
        assert_eq!(Checkout::discover(&broken), None, "{text:.20}");
    }
    repository.remove("broken/.git");
    let made = Command::new("mkfifo").arg(broken.join(".git")).status().expect("a mkfifo command");
    assert!(made.success());
    assert_eq!(Checkout::discover(&broken), None);
    repository.remove("broken/.git");
    assert!(Checkout::discover(&broken).is_some());
}

#[test]
fn broken_refs_are_errors_that_name_the_file() {
    let repository = Repository::new();
    let checkout = checkout(&repository.top);
    let fails_at = |path: &str| {
        let error = checkout.head().expect_err(path).to_string();
        assert!(error.contains(path), "{error}");
    };
    let branch = ".git/refs/heads/main";
    for text in ["", "\n", "abc\n", "ref: refs/heads/main\n", &"0".repeat(39), &"1".repeat(70_000)] {
        repository.write(branch, text);
        // A ref that leads to itself is named by where the way began.
        fails_at(if text.starts_with("ref") { ".git/HEAD" } else { branch });
    }
    repository.remove(branch);
    let made = Command::new("mkfifo").arg(repository.top.join(branch)).status().expect("a mkfifo command");
    assert!(made.success());
    fails_at(branch);
    repository.write(".git/HEAD", "ref: ../../../etc/hostname\n");
    fails_at(".git/HEAD");
    repository.write(".git/HEAD", "");
    fails_at(".git/HEAD");
    repository.remove(".git/HEAD");
    assert_eq!(Checkout::discover(&repository.top), None);
}

#[test]
fn missing_and_broken_objects_are_errors_that_name_them() {
    let repository = Repository::new();
    let checkout = checkout(&repository.apps());
    let commit = checkout.head().expect("a readable HEAD").expect("a commit");
    let tree = repository.git(&["rev-parse", "HEAD:apps"]);
    let path = repository.top.join(".git/objects").join(&tree[..2]).join(&tree[2..]);
    let ask = |commit: Commit| checkout.is_dirty(commit, [], &mut None).expect_err("an error");

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
    let ask = |tree: &[u8]| checkout(&repository.top).is_dirty(commit_of(&repository, tree), [], &mut None);
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
        let error = checkout(&repository.top).is_dirty(made, [], &mut None).expect_err(name);
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
    let error = checkout(&repository.top).is_dirty(commit_at(&id), [], &mut None).expect_err("too large");
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
    let mut committed = None;
    while !writer.is_finished() {
        let Some(checkout) = Checkout::discover(&repository.apps()) else { continue };
        let commit = checkout.head().expect("git replaces refs whole").expect("there is a commit at any time");
        if commits.last() != Some(&commit) {
            commits.push(commit);
            let _ = checkout.is_dirty(commit, [], &mut committed);
        }
    }
    writer.join().expect("the writer succeeds");
    assert!(commits.len() > 3, "the reader saw {} commits", commits.len());
    assert_clean_at(&repository.top, &repository.git(&["rev-parse", "HEAD"]));
}
