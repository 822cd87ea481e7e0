//! The ways of a walk: along descriptors, each folder once, and never out.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::source::disk::Disk;
use crate::source::walk::{Proof, Walked};

/// The files that a walk finds, and what the walk and the proof that nothing moved cost.
fn walked(disk: &Disk) -> (Vec<String>, usize) {
    let before = disk.cost();
    let Ok(Walked { found, folders, problems, .. }) = walk::walk_from(disk, gix_hash::Kind::Sha1, &[]) else {
        panic!("not walked")
    };
    assert_eq!(problems, []);
    assert!(walk::hold_from(disk, &found, &folders, Proof::Steady));
    (found.iter().map(|found| found.file.to_string()).collect(), disk.cost() - before)
}

fn disk(tree: &Tree) -> Disk {
    Disk::open(&tree.0.path().canonicalize().unwrap()).unwrap()
}

/// As many folders as these, each with a manifest.
fn folders(names: impl Iterator<Item = String>) -> (Tree, usize) {
    let (tree, mut count) = (Tree::new(), 0);
    for (number, folder) in names.enumerate() {
        tree.write(&format!("{folder}/a.yaml"), &manifest(&format!("s-{number}"), "1"));
        count += 1;
    }
    (tree, count)
}

#[test]
fn a_deep_tree_costs_as_many_steps_as_a_flat_one() {
    let (flat, count) = folders((0..64).map(|number| format!("folder-{number}")));
    let (deep, _) = folders((1..=64).map(|depth| "d/".repeat(depth)));
    let (flat, deep) = (walked(&disk(&flat)), walked(&disk(&deep)));
    assert_eq!((flat.0.len(), deep.0.len()), (count, count));
    assert!(deep.1 <= flat.1 + count, "{} steps, and {} in a flat tree", deep.1, flat.1);
    assert!(flat.1 <= count * 7, "{} steps for {count} folders and as many files", flat.1);
}

#[test]
fn ways_through_links_do_not_multiply() {
    let tree = Tree::new();
    for level in 0..29 {
        tree.write(&format!(".{level}/a.yaml"), &manifest(&format!("s-{level}"), "1"));
        for way in ["b", "c"] {
            symlink(format!("../.{}", level + 1), tree.path(&format!(".{level}/{way}"))).unwrap();
        }
    }
    tree.write(".29/a.yaml", &manifest("s-29", "1"));
    symlink(".0", tree.path("top")).unwrap();
    let (files, cost) = walked(&disk(&tree));
    assert_eq!(files.len(), 30);
    assert!(files.contains(&format!("top{}/a.yaml", "/b".repeat(29))), "{files:?}");
    assert!(cost < 30 * 100, "{cost} steps for 30 folders");
}

#[test]
fn a_fan_of_links_to_one_place_is_read_once_and_named_by_the_first() {
    let tree = Tree::new();
    tree.write(".hidden/a.yaml", &manifest("a", "1"));
    tree.write(".b.yaml", &manifest("b", "1"));
    for number in 0..200 {
        symlink(".hidden", tree.path(&format!("link-{number:03}"))).unwrap();
        symlink(".b.yaml", tree.path(&format!("link-{number:03}.yaml"))).unwrap();
    }
    let (files, cost) = walked(&disk(&tree));
    assert_eq!(files, ["link-000.yaml", "link-000/a.yaml"]);
    assert!(cost < 450, "{cost} steps for 400 links");
}

#[test]
fn a_file_is_named_by_its_own_path_rather_than_by_a_link() {
    let tree = Tree::new();
    tree.write("z/a.yaml", &manifest("a", "1"));
    tree.write("z/bad.yaml", "");
    symlink("z", tree.path("current")).unwrap();
    for file in ["a.yaml", "bad.yaml"] {
        symlink(format!("z/{file}"), tree.path(file)).unwrap();
    }
    let snapshot = tree.look();
    let names: Vec<&str> = snapshot.desired.values().map(|desired| &*desired.place.file).collect();
    assert_eq!(names, ["z/a.yaml"]);
    assert_eq!(problems(&snapshot), [("z/bad.yaml".to_owned(), "the file is empty".to_owned())]);
}

#[test]
fn links_lead_to_the_same_with_and_without_openat2() {
    let (tree, outside) = (Tree::new(), Tree::new());
    outside.write("b.yaml", &manifest("b", "1"));
    tree.write(".v1/sub/a.yaml", &manifest("a", "1"));
    tree.write("deep/er/.keep", "");
    symlink(".v1", tree.path(".current")).unwrap();
    symlink("../../.current/sub", tree.path("deep/er/relative")).unwrap();
    symlink(tree.path(".v1/sub/a.yaml").canonicalize().unwrap(), tree.path("absolute.yaml")).unwrap();
    assert_eq!(walked(&disk(&tree)).0, ["absolute.yaml", "deep/er/relative/a.yaml"]);
    symlink(outside.path("b.yaml"), tree.path("out.yaml")).unwrap();
    symlink(format!("../{}/b.yaml", outside.0.path().file_name().unwrap().display()), tree.path("up.yaml")).unwrap();
    symlink("/proc/self/root", tree.path("magic")).unwrap();
    symlink("nothing", tree.path("dangling")).unwrap();
    symlink("self", tree.path("self")).unwrap();
    symlink("deep/..", tree.path("circle")).unwrap();
    let mut seen = [disk(&tree), disk(&tree).without_openat2()].map(|disk| {
        let Ok(Walked { found, mut problems, .. }) = walk::walk_from(&disk, gix_hash::Kind::Sha1, &[]) else {
            panic!("not walked")
        };
        problems.sort();
        let files: Vec<String> = found.iter().map(|found| found.file.to_string()).collect();
        (files, problems.iter().map(|problem| (problem.file.to_string(), problem.message.clone())).collect::<Vec<_>>())
    });
    let [with, without] = &mut seen;
    assert_eq!(with, without);
    assert_eq!(with.0, ["absolute.yaml", "deep/er/relative/a.yaml"]);
    let names: Vec<&str> = with.1.iter().map(|(file, _)| file.as_str()).collect();
    assert_eq!(names, ["circle", "dangling", "magic", "out.yaml", "self", "up.yaml"]);
    for out in ["magic", "out.yaml", "up.yaml"] {
        let (_, message) = with.1.iter().find(|(file, _)| file == out).unwrap();
        assert_eq!(message, "the link leads out of the manifests folder", "{out}");
    }
}

#[test]
fn nothing_outside_is_read_while_folders_and_links_are_swapped() {
    let (tree, outside) = (Tree::new(), Tree::new());
    for folder in ["here/sub", "there/sub"] {
        outside.write(&format!("{folder}/a.yaml"), &manifest("secret", "1"));
    }
    tree.write("a/sub/a.yaml", &manifest("a", "1"));
    symlink("a/sub/a.yaml", tree.path("b.yaml")).unwrap();
    symlink(outside.path("here"), tree.path(".evil")).unwrap();
    for disk in [disk(&tree), disk(&tree).without_openat2()] {
        let done = AtomicBool::new(false);
        let mut read = 0;
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let (a, evil) = (tree.path("a"), tree.path(".evil"));
                    rustix::fs::renameat_with(
                        rustix::fs::CWD,
                        &a,
                        rustix::fs::CWD,
                        &evil,
                        rustix::fs::RenameFlags::EXCHANGE,
                    )
                    .unwrap();
                }
            });
            for _ in 0..2_000 {
                let Ok(walked) = walk::walk_from(&disk, gix_hash::Kind::Sha1, &[]) else { continue };
                for found in &walked.found {
                    let [(key, _)] = &*found.contents.parsed.manifests else { continue };
                    assert_eq!(key.service.to_string(), "a", "{} is from outside", found.file);
                    read += 1;
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        assert!(read > 0);
    }
}
