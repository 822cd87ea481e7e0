use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::thread;

use tempfile::TempDir;

use super::*;
use crate::manifest::Problem;

fn manifest(service: &str, tag: &str) -> String {
    format!(
        "apiVersion: truenorth/v1\nkind: ServiceDeployment\nmetadata:\n  projectId: shop\n  serviceId: {service}\n\
         spec:\n  external:\n    imagePath: nginx:{tag}\n"
    )
}

struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn write(&self, file: &str, content: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn look(&self) -> Snapshot {
        Folder::new(self.0.path()).look().unwrap()
    }
}

fn services(snapshot: &Snapshot) -> Vec<String> {
    snapshot.desired.keys().map(|key| key.service.to_string()).collect()
}

fn problems(snapshot: &Snapshot) -> Vec<(String, String)> {
    let shown = |problem: &Problem| (problem.file.to_string(), problem.message.clone());
    snapshot.problems.iter().map(shown).collect()
}

#[test]
fn manifests_are_found_in_subfolders_and_hidden_ones_are_not() {
    let tree = Tree::new();
    tree.write("a.yaml", &manifest("a", "1"));
    tree.write("deep/er/b.yml", &manifest("b", "1"));
    tree.write(".hidden/c.yaml", &manifest("c", "1"));
    tree.write(".d.yaml", &manifest("d", "1"));
    let snapshot = tree.look();
    assert_eq!(services(&snapshot), ["a", "b"]);
    assert_eq!(problems(&snapshot), []);
}

#[test]
fn what_is_no_manifest_is_a_problem_unless_it_is_ignored() {
    let tree = Tree::new();
    tree.write("a.yaml", &manifest("a", "1"));
    tree.write("notes.txt", "hello");
    tree.write("sub/more.md", "hello");
    let found = problems(&tree.look());
    assert_eq!(found.iter().map(|(file, _)| file.as_str()).collect::<Vec<_>>(), ["notes.txt", "sub/more.md"]);
    tree.write(".truenorthignore", "*.txt\n/sub/\n");
    assert_eq!(problems(&tree.look()), []);
}

#[test]
fn links_are_followed_inside_the_folder_only() {
    let (tree, outside) = (Tree::new(), Tree::new());
    outside.write("secret.yaml", "token: abc");
    tree.write("..2026/a.yaml", &manifest("a", "1"));
    symlink("..2026", tree.path("..data")).unwrap();
    symlink("..data/a.yaml", tree.path("a.yaml")).unwrap();
    symlink(outside.path("secret.yaml"), tree.path("out.yaml")).unwrap();
    symlink(outside.0.path(), tree.path("out")).unwrap();
    symlink("nothing.yaml", tree.path("dangling.yaml")).unwrap();
    symlink(".", tree.path("circle")).unwrap();
    symlink("self.yaml", tree.path("self.yaml")).unwrap();
    let snapshot = tree.look();
    assert_eq!(services(&snapshot), ["a"]);
    let found = problems(&snapshot);
    let of = |name: &str| found.iter().find(|(file, _)| file == name).map(|(_, message)| message.as_str());
    assert_eq!(of("out.yaml"), Some("the link leads out of the manifests folder"));
    assert_eq!(of("out"), Some("the link leads out of the manifests folder"));
    assert_eq!(of("dangling.yaml"), Some("the link leads to nothing"));
    assert!(of("circle").unwrap().starts_with("the link runs in a circle"));
    assert!(of("self.yaml").is_some());
    assert_eq!(found.len(), 5, "{found:?}");
}

#[test]
fn a_link_that_leads_nowhere_can_be_left_out() {
    let tree = Tree::new();
    symlink("nothing.yaml", tree.path("dangling.yaml")).unwrap();
    symlink(".", tree.path("circle")).unwrap();
    symlink("nothing", tree.path(".hidden")).unwrap();
    fs::create_dir(tree.path("sub")).unwrap();
    symlink("nothing.yaml", tree.path("sub/other.yaml")).unwrap();
    tree.write(".truenorthignore", "dangling.yaml\ncircle\n");
    tree.write("sub/.truenorthignore", "/other.yaml\n");
    assert_eq!(problems(&tree.look()), []);
}

#[test]
fn an_ignore_file_that_cannot_be_understood_leaves_out_its_folder_and_shows_nothing_of_it() {
    let outside = Tree::new();
    outside.write("secret", "nf-[secret-token\n");
    for (case, message) in [
        ("fifo", "it is a FIFO, not a regular file"),
        ("out", "it is a link that leads out"),
        ("nowhere", "it is a link that leads to nothing"),
        ("deep", "line 1 has more than 16 wildcards"),
        ("wild", "line 2 has more than 16 wildcards"),
        ("bad", "line 2 is not a valid pattern"),
        ("utf-16", "it is not UTF-8"),
        ("large", "larger than 65536 bytes"),
        ("long", "more than 64 KiB or 1000 lines in all"),
    ] {
        let tree = Tree::new();
        tree.write("a.yaml", &manifest("a", "1"));
        tree.write("sub/b.yaml", &manifest("b", "1"));
        let file = tree.path("sub/.truenorthignore");
        match case {
            "fifo" => {
                rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
            }
            "out" => symlink(outside.path("secret"), &file).unwrap(),
            "nowhere" => symlink("nothing", &file).unwrap(),
            "wild" => fs::write(&file, format!("{}\n{}\n", "*a".repeat(16), "*a".repeat(17))).unwrap(),
            "utf-16" => fs::write(&file, b"\xff\xfea\0").unwrap(),
            "deep" => fs::write(&file, format!("{}a{}", "{".repeat(20_000), "}".repeat(20_000))).unwrap(),
            "bad" => fs::write(&file, "*.md\nnf-secret[z-a]\n").unwrap(),
            "large" => fs::write(&file, "#".repeat(100_000)).unwrap(),
            _ => fs::write(&file, "a\n".repeat(2_000)).unwrap(),
        }
        let snapshot = tree.look();
        assert_eq!(services(&snapshot), ["a"], "{case}");
        let found = problems(&snapshot);
        assert!(found.len() == 1 && found[0].0 == "sub/.truenorthignore", "{case}: {found:?}");
        assert!(found[0].1.contains(message) && !found[0].1.contains("secret"), "{case}: {found:?}");
        let key = "shop/b".parse().unwrap();
        assert!(!snapshot.proves_absence(&key, "sub/b.yaml") && snapshot.proves_absence(&key, "b.yaml"), "{case}");
        assert_eq!(snapshot.problems_of(&key, Some("sub/b.yaml")).count(), 1, "{case}");
    }
}

#[test]
fn a_byte_order_mark_is_not_part_of_the_first_rule() {
    let tree = Tree::new();
    tree.write("sub/a.yaml", &manifest("a", "1"));
    tree.write(".truenorthignore", "\u{feff}/sub/\n");
    let snapshot = tree.look();
    assert_eq!((services(&snapshot), problems(&snapshot)), (vec![], vec![]));
}

#[test]
fn what_editors_leave_beside_a_file_is_left_out() {
    let tree = Tree::new();
    for file in ["a.yaml", "a.yaml~", "#a.yaml#", ".a.yaml.swp", "4913", "a.yaml___jb_tmp___"] {
        tree.write(file, &manifest("a", "1"));
    }
    symlink("me@host.1:2", tree.path(".#a.yaml")).unwrap();
    let snapshot = tree.look();
    assert_eq!((services(&snapshot), problems(&snapshot)), (vec!["a".to_owned()], vec![]));
    // A folder is not an editor's, whatever its name.
    tree.write("b~/b.yaml", &manifest("b", "1"));
    assert_eq!(services(&tree.look()), ["a", "b"]);
}

#[test]
fn a_file_that_is_reached_twice_counts_once() {
    let tree = Tree::new();
    tree.write("a.yaml", &manifest("a", "1"));
    symlink("a.yaml", tree.path("b.yaml")).unwrap();
    let snapshot = tree.look();
    assert_eq!((services(&snapshot), problems(&snapshot)), (vec!["a".to_owned()], vec![]));
}

#[test]
fn two_manifests_of_one_service_are_both_a_problem_and_neither_counts() {
    let tree = Tree::new();
    tree.write("a.yaml", &manifest("web", "1"));
    tree.write("b.yaml", &manifest("web", "2"));
    tree.write("c.yaml", &manifest("other", "1"));
    let snapshot = tree.look();
    assert_eq!(services(&snapshot), ["other"]);
    let found = problems(&snapshot);
    assert_eq!(found.len(), 2);
    assert!(found[0].0 == "a.yaml" && found[0].1.contains("b.yaml:1"), "{found:?}");
    assert!(found[1].0 == "b.yaml" && found[1].1.contains("a.yaml:1"), "{found:?}");
    assert!(!snapshot.proves_absence(&"shop/web".parse().unwrap(), "a.yaml"));
}

#[test]
fn problems_are_found_by_the_service_that_they_keep_back() {
    let tree = Tree::new();
    tree.write("a.yaml", &manifest("web", "1"));
    tree.write("b.yaml", &manifest("web", "2"));
    tree.write("c.yaml", &manifest("other", "1").replace("metadata:", "metdata:"));
    tree.write("d.yaml", &manifest("bad", "1").replace("kind:", "kin:"));
    let snapshot = tree.look();
    let files = |service: &str, last: Option<&str>| {
        let key = format!("shop/{service}").parse().unwrap();
        let mut files: Vec<String> = snapshot.problems_of(&key, last).map(|problem| problem.file.to_string()).collect();
        files.dedup();
        files
    };
    assert_eq!(files("web", None), ["a.yaml", "b.yaml"]);
    assert_eq!(files("bad", None), ["d.yaml"]);
    // Its manifest cannot be told to be its own; that it was the last one can.
    assert_eq!(files("other", None), [""; 0]);
    assert_eq!(files("other", Some("c.yaml")), ["c.yaml"]);
    let claimed: Vec<String> = snapshot.claimed().map(ToString::to_string).collect();
    assert_eq!(claimed, ["shop/bad", "shop/web"]);
}

#[test]
fn absence_is_proven_only_where_all_that_could_name_a_service_was_read() {
    let tree = Tree::new();
    tree.write("sub/bad.yaml", "{");
    let snapshot = tree.look();
    let key = "shop/web".parse().unwrap();
    assert!(!snapshot.proves_absence(&key, "sub/bad.yaml"));
    assert!(snapshot.proves_absence(&key, "sub/bad.yaml.yaml"));
    assert!(snapshot.proves_absence(&key, "gone.yaml"));
}

#[test]
fn pipes_and_sockets_and_large_files_are_problems() {
    let tree = Tree::new();
    rustix::fs::mknodat(rustix::fs::CWD, tree.path("pipe.yaml"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.path("socket.yaml")).unwrap();
    tree.write("large.yaml", &" ".repeat(2 << 20));
    fs::create_dir(tree.path("folder.yaml")).unwrap();
    let found = problems(&tree.look());
    let names: Vec<_> = found.iter().map(|(file, _)| file.as_str()).collect();
    assert_eq!(names, ["large.yaml", "pipe.yaml", "socket.yaml"]);
    assert!(found[0].1.contains("1024 KiB") && found[1].1.contains("FIFO") && found[2].1.contains("socket"));
}

#[test]
fn an_unreadable_folder_is_a_problem_of_its_own_and_of_nothing_else() {
    use std::os::unix::fs::PermissionsExt as _;
    let tree = Tree::new();
    tree.write("a.yaml", &manifest("a", "1"));
    tree.write("closed/b.yaml", &manifest("b", "1"));
    fs::set_permissions(tree.path("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let snapshot = tree.look();
    fs::set_permissions(tree.path("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    if rustix::process::geteuid().is_root() {
        // Nothing is closed to root.
        assert_eq!(services(&snapshot), ["a", "b"]);
        return;
    }
    assert_eq!(services(&snapshot), ["a"]);
    assert_eq!(problems(&snapshot)[0].0, "closed");
    assert!(!snapshot.proves_absence(&"shop/b".parse().unwrap(), "closed/b.yaml"));
}

#[test]
fn a_missing_folder_or_a_file_is_unreadable_not_empty() {
    let tree = Tree::new();
    tree.write("file", "");
    for path in ["missing", "file"] {
        assert!(matches!(Folder::new(tree.path(path)).look(), Err(Unreadable::Folder { .. })), "{path}");
    }
}

#[test]
fn the_folder_may_be_a_link_and_hidden() {
    let tree = Tree::new();
    tree.write(".worktrees/1/a.yaml", &manifest("a", "1"));
    symlink(".worktrees/1", tree.path("current")).unwrap();
    let snapshot = Folder::new(tree.path("current")).look().unwrap();
    assert_eq!(services(&snapshot), ["a"]);
}

#[test]
fn the_revision_follows_content_and_names_only() {
    let tree = Tree::new();
    tree.write("a.yaml", &manifest("a", "1"));
    let first = tree.look().revision;
    tree.write("a.yaml", &manifest("a", "1"));
    assert_eq!(tree.look().revision, first);
    tree.write("a.yaml", &manifest("a", "2"));
    let second = tree.look().revision;
    assert_ne!(second, first);
    fs::rename(tree.path("a.yaml"), tree.path("b.yaml")).unwrap();
    assert_ne!(tree.look().revision, second);
}

#[test]
fn a_second_look_sees_every_change() {
    let tree = Tree::new();
    tree.write("a.yaml", &manifest("a", "1"));
    tree.write("b.yaml", &manifest("b", "1"));
    let mut folder = Folder::new(tree.0.path());
    let first = folder.look().unwrap();
    // Same length, at once: only a stamp that is not trusted too early sees it.
    tree.write("a.yaml", &manifest("a", "2"));
    fs::remove_file(tree.path("b.yaml")).unwrap();
    tree.write("c.yaml", &manifest("c", "1"));
    let second = folder.look().unwrap();
    assert_eq!(services(&second), ["a", "c"]);
    assert_ne!(first.desired.values().next(), second.desired.values().next());
}

/// Trees with the same two manifests, each looked at until its times are trusted.
fn settled<const N: usize>() -> [(Tree, Folder); N] {
    let mut trees = std::array::from_fn(|_| {
        let tree = Tree::new();
        tree.write("a.yaml", &manifest("a", "1"));
        tree.write("deep/er/b.yaml", &manifest("b", "1"));
        tree.write("deep/.truenorthignore", "notes.txt\n");
        let folder = Folder::new(tree.0.path());
        (tree, folder)
    });
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    for (_, folder) in &mut trees {
        while !folder.is_unchanged() {
            assert!(std::time::Instant::now() < until, "its times are never trusted");
            folder.look().unwrap();
            thread::park_timeout(std::time::Duration::from_millis(20));
        }
    }
    trees
}

#[test]
fn a_folder_is_unchanged_until_anything_in_it_changes() {
    use std::os::unix::fs::PermissionsExt as _;
    type Act = fn(&Tree);
    let acts: [(&str, Act); 10] = [
        ("edited in place", |tree| tree.write("deep/er/b.yaml", &manifest("b", "2"))),
        ("renamed over", |tree| {
            tree.write(".new", &manifest("a", "2"));
            fs::rename(tree.path(".new"), tree.path("a.yaml")).unwrap();
        }),
        ("a new file", |tree| tree.write("deep/er/c.yaml", &manifest("c", "1"))),
        ("a new nested file", |tree| tree.write("other/c.yaml", &manifest("c", "1"))),
        ("a file removed", |tree| fs::remove_file(tree.path("deep/er/b.yaml")).unwrap()),
        ("a folder removed", |tree| fs::remove_dir_all(tree.path("deep")).unwrap()),
        ("a folder closed", |tree| {
            fs::set_permissions(tree.path("deep"), fs::Permissions::from_mode(0o700)).unwrap();
        }),
        ("other rules of what is ignored", |tree| tree.write("deep/.truenorthignore", "er\n")),
        ("new rules of what is ignored", |tree| tree.write(".truenorthignore", "deep\n")),
        ("a link", |tree| symlink("a.yaml", tree.path("b.yaml")).unwrap()),
    ];
    for ((what, act), (tree, folder)) in acts.into_iter().zip(settled::<10>()) {
        assert!(folder.is_unchanged(), "{what}");
        act(&tree);
        assert!(!folder.is_unchanged(), "{what} was not seen");
    }
}

#[test]
fn a_folder_that_was_not_read_in_full_or_through_a_link_is_never_taken_for_unchanged() {
    for act in [|tree: &Tree| tree.write("notes.md", ""), |tree: &Tree| symlink("a.yaml", tree.path("z.yaml")).unwrap()]
    {
        let [(tree, mut folder)] = settled();
        act(&tree);
        for _ in 0..3 {
            folder.look().unwrap();
            assert!(folder.rests_on.is_none());
            assert!(!folder.is_unchanged());
        }
    }
    let unread = Folder::new("nowhere");
    assert!(!unread.is_unchanged());
}

#[test]
fn what_is_read_ahead_is_told_once_and_not_taken_for_unchanged() {
    let [(tree, mut folder), (other, mut looked)] = settled();
    for (tree, folder) in [(&tree, &mut folder), (&other, &mut looked)] {
        folder.read_ahead();
        assert!(folder.confirm().is_none(), "nothing changed");
        tree.write("c.yaml", &manifest("c", "1"));
        folder.read_ahead();
        assert!(!folder.is_unchanged());
    }
    assert_eq!(services(&folder.confirm().unwrap()), ["a", "b", "c"]);
    assert!(folder.confirm().is_none());
    assert_eq!(services(&looked.look().unwrap()), ["a", "b", "c"]);
    assert!(looked.confirm().is_none());
}

#[test]
fn what_was_read_ahead_does_not_stand_when_the_folder_goes_on() {
    type Act = fn(&Tree);
    let acts: [(&str, Act); 4] = [
        ("a new file", |tree| tree.write("deep/er/d.yaml", &manifest("d", "1"))),
        ("a file removed", |tree| fs::remove_file(tree.path("a.yaml")).unwrap()),
        ("other rules of what is ignored", |tree| tree.write("deep/.truenorthignore", "er\n")),
        ("a checkout made of it", |tree| checkout(tree)),
    ];
    for ((what, act), (tree, mut folder)) in acts.into_iter().zip(settled::<4>()) {
        tree.write("c.yaml", &manifest("c", "1"));
        folder.read_ahead();
        act(&tree);
        assert!(folder.confirm().is_none(), "{what}");
        assert!(!folder.is_unchanged(), "{what}");
        let (new, known) = (Folder::new(tree.0.path()).look().unwrap(), folder.look().unwrap());
        assert_eq!((new.revision, new.desired), (known.revision, known.desired), "{what}");
    }
}

#[test]
fn nothing_is_read_ahead_while_git_works_and_nothing_older_is_told() {
    let [(tree, mut folder)] = settled();
    checkout(&tree);
    folder.look().unwrap();
    tree.write("c.yaml", &manifest("c", "1"));
    folder.read_ahead();
    tree.write(".git/index.lock", "");
    assert!(folder.confirm().is_none());

    fs::remove_file(tree.path(".git/index.lock")).unwrap();
    folder.look().unwrap();
    tree.write("c.yaml", &manifest("c", "2"));
    folder.read_ahead();
    tree.write("c.yaml", &manifest("c", "3"));
    tree.write(".git/index.lock", "");
    folder.read_ahead();
    fs::remove_file(tree.path(".git/index.lock")).unwrap();
    assert!(folder.confirm().is_none());
}

#[test]
fn a_file_that_is_written_on_after_it_was_read_ahead_is_read_again() {
    let [(tree, mut folder)] = settled();
    tree.write("a.yaml", "");
    folder.read_ahead();
    tree.write("a.yaml", &manifest("a", "2"));
    assert!(folder.confirm().is_none());
    assert_eq!(problems(&folder.look().unwrap()), []);
}

/// Makes a tree the work tree of a repository, as far as can be told without its objects.
fn checkout(tree: &Tree) {
    tree.write(".git/HEAD", "4f2a000000000000000000000000000000000000\n");
    tree.write(".git/index", "");
    fs::create_dir_all(tree.path(".git/objects")).unwrap();
    fs::create_dir_all(tree.path(".git/refs")).unwrap();
}

mod bounds;
mod renew;
mod ways;

#[test]
fn dependencies_that_cannot_hold_are_problems_of_their_manifests_alone() {
    let tree = Tree::new();
    let depending = |service: &str, on: &str| manifest(service, "1") + &format!("policy: {{dependsOn: [{on}]}}\n");
    tree.write("db.yaml", &manifest("db", "1"));
    tree.write("api.yaml", &depending("api", "db"));
    tree.write("typo.yaml", &depending("typo", "dbb"));
    tree.write("lost.yaml", &depending("lost", "nope"));
    tree.write("a.yaml", &depending("a", "b"));
    tree.write("b.yaml", &depending("b", "c, db"));
    tree.write("c.yaml", &depending("c", "a"));
    // What depends on a manifest with a problem is valid, and waits.
    tree.write("after.yaml", &depending("after", "a"));
    tree.write("broken.yaml", &manifest("broken", "1").replace("imagePath", "image"));
    tree.write("waits.yaml", &depending("waits", "broken"));
    let snapshot = tree.look();
    assert_eq!(services(&snapshot), ["after", "api", "db", "waits"]);
    let told: Vec<_> = problems(&snapshot).into_iter().filter(|(file, _)| file != "broken.yaml").collect();
    let circle = |service: &str, way: [&str; 4]| {
        let way = way.map(|service| format!("`shop/{service}`")).join(" → ");
        (format!("{service}.yaml"), format!("`shop/{service}` depends on itself: {way}; none of them is applied"))
    };
    let unknown = |service: &str, on: &str| {
        (format!("{service}.yaml"), format!("`shop/{service}` depends on `shop/{on}`, which no manifest names"))
    };
    let expected = [
        circle("a", ["a", "b", "c", "a"]),
        circle("b", ["b", "c", "a", "b"]),
        circle("c", ["c", "a", "b", "c"]),
        unknown("lost", "nope"),
        unknown("typo", "dbb"),
    ];
    assert_eq!(told, expected);
    let told = |file: &str| snapshot.problems.iter().find(|problem| &*problem.file == file).unwrap();
    assert_eq!(told("typo.yaml").path, "policy.dependsOn");
    assert_eq!(told("typo.yaml").hint.as_deref(), Some("did you mean shop/db?"));
    let hint = told("lost.yaml").hint.as_deref().unwrap();
    assert!(hint.starts_with("name a service of this folder"), "the project alone makes no name alike: {hint}");
    // They are not absent: what was applied of them stays, and is no orphan.
    assert!(!snapshot.proves_absence(&"shop/a".parse().unwrap(), "a.yaml"));
}
