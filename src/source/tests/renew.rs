//! A walk after few changes finds what a whole walk finds, and what is said of it is what a first look says.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::super::Folder;
use super::super::disk::Disk;
use super::super::file::{Contents, Found};
use super::super::renew::renew_from;
use super::super::walk::{Walked, walk_from};
use super::{Tree, manifest};

const IDS: gix_hash::Kind = gix_hash::Kind::Sha1;

/// A folder that somebody works in. Each change gets a time of its own, however coarse the clock of the file system is.
struct Worked {
    tree: Tree,
    disk: Disk,
    time: u64,
    random: u64,
}

impl Worked {
    fn new(seed: u64) -> Self {
        let tree = Tree::new();
        let disk = Disk::open(&tree.0.path().canonicalize().unwrap()).unwrap();
        Self { tree, disk, time: 1_000_000, random: seed }
    }

    fn any(&mut self, below: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.random >> 33).unwrap() % below
    }

    fn stamp(&mut self, path: &Path) {
        self.time += 1;
        let time = UNIX_EPOCH + Duration::from_secs(self.time);
        File::open(path).and_then(|file| file.set_modified(time)).unwrap();
    }

    fn write(&mut self, file: &str, content: &str) {
        self.tree.write(file, content);
        let path = self.tree.path(file);
        self.stamp(&path);
        let top = self.tree.0.path().to_owned();
        for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(&top)) {
            self.stamp(folder);
        }
    }

    fn change(&mut self) {
        let folders = ["", "a/", "a/b/", "c/", "c/d/e/", "f/"];
        let folder = folders[self.any(folders.len())];
        let file = format!("{folder}{}.yaml", self.any(4));
        let path = self.tree.path(&file);
        let (tag, kind) = (self.any(1_000_000), self.any(24));
        // Now and then one that has another's name, or that depends on one that may not be there.
        let service = if tag % 29 == 0 { "s".to_owned() } else { file.replace(['/', '.'], "-") };
        let policy = if tag % 31 == 0 { "policy:\n  dependsOn: [a-0-yaml]\n" } else { "" };
        let tag = tag.to_string();
        let content = manifest(&service, &tag) + policy;
        match kind {
            0..=4 | 16.. => self.write(&file, &content),
            5 | 6 => {
                let beside = path.with_extension("new");
                self.write(&format!("{folder}x.new"), &content);
                fs::rename(self.tree.path(&format!("{folder}x.new")), &beside).unwrap();
                fs::rename(&beside, &path).unwrap();
                self.stamp(path.parent().unwrap());
            }
            7 | 8 if path.exists() => {
                fs::remove_file(&path).unwrap();
                self.stamp(path.parent().unwrap());
            }
            9 => self.write(&format!("{folder}.truenorthignore"), &format!("/{}.yaml\n*.md\n#{tag}\n", tag.len())),
            10 => {
                let ignore = self.tree.path(&format!("{folder}.truenorthignore"));
                if fs::remove_file(&ignore).is_ok() {
                    self.stamp(ignore.parent().unwrap());
                }
            }
            11 if !folder.is_empty() && self.tree.path(folder).exists() => {
                let folder = self.tree.path(folder);
                fs::remove_dir_all(&folder).unwrap();
                self.stamp(folder.parent().unwrap());
            }
            12 => self.write(&format!("{folder}.hidden.yaml"), &tag),
            13 => {
                let notes = self.tree.path(&format!("{folder}notes.md"));
                match fs::remove_file(&notes) {
                    Ok(()) => self.stamp(notes.parent().unwrap()),
                    Err(_) => self.write(&format!("{folder}notes.md"), &tag),
                }
            }
            14 if !folder.is_empty() && self.tree.path(folder).exists() => {
                let (folder, aside) = (self.tree.path(folder), self.tree.path(".aside"));
                fs::rename(&folder, &aside).unwrap();
                fs::create_dir(&folder).unwrap();
                fs::write(folder.join("1.yaml"), &content).unwrap();
                fs::remove_dir_all(&aside).unwrap();
                self.stamp(folder.parent().unwrap());
            }
            15 if path.parent().unwrap().exists() => {
                let link = self.tree.path(&format!("{folder}link.yaml"));
                if fs::remove_file(&link).is_err() {
                    symlink("0.yaml", &link).unwrap();
                }
                self.stamp(link.parent().unwrap());
            }
            _ => {}
        }
    }

    fn walk(&self, seen: &[Arc<Found>]) -> Walked {
        walk_from(&self.disk, IDS, seen).ok().unwrap()
    }
}

/// As after two quiet seconds: the times of all that was found are trusted.
fn settle(walked: &mut Walked) {
    walked.found.iter_mut().for_each(|found| Arc::get_mut(found).unwrap().stamp.settle());
    walked.folders.iter_mut().for_each(|(_, stamp)| stamp.settle());
}

/// What a walk found, whatever the order.
fn told(walked: &Walked) -> impl PartialEq + std::fmt::Debug + use<> {
    let found = |found: &Arc<Found>| (found.file.to_string(), found.contents.blob, found.stamp.inode());
    let found: Vec<_> = walked.found.iter().map(found).collect();
    let mut folders: Vec<_> = walked.folders.iter().map(|(path, stamp)| (path.clone(), stamp.inode())).collect();
    folders.sort_unstable();
    let mut problems = walked.problems.clone();
    problems.sort_unstable();
    (found, folders, problems, walked.links)
}

#[test]
fn after_any_changes_it_finds_what_a_whole_walk_finds() {
    let (mut renewed, mut left) = (0, 0);
    for seed in 0..12 {
        let mut worked = Worked::new(seed);
        let mut last = worked.walk(&[]);
        for _ in 0..60 {
            settle(&mut last);
            let changes = worked.any(3);
            for _ in 0..=changes {
                worked.change();
            }
            let can_be = last.problems.is_empty() && !last.links;
            let folders = if can_be { Some(std::mem::take(&mut last.folders)) } else { None };
            let now = folders.and_then(|folders| renew_from(&worked.disk, IDS, &last.found, folders).ok().unwrap());
            *if now.is_some() { &mut renewed } else { &mut left } += 1;
            let now = now.unwrap_or_else(|| worked.walk(&last.found));
            assert_eq!(told(&now), told(&worked.walk(&[])), "seed {seed}");
            last = now;
        }
    }
    assert!(renewed > 100 && left > 100, "{renewed} and {left}");
}

#[test]
fn a_folder_that_stands_still_is_not_listed_again() {
    let mut worked = Worked::new(1);
    for folder in 0..50 {
        for file in 0..20 {
            worked.write(&format!("p{folder}/{file}.yaml"), &manifest("s", "1"));
        }
    }
    let mut last = worked.walk(&[]);
    settle(&mut last);
    worked.write("p7/3.yaml", &manifest("s", "22"));
    let folder = worked.tree.path("p7");
    worked.stamp(&folder);
    let before = worked.disk.cost();
    let now = renew_from(&worked.disk, IDS, &last.found, std::mem::take(&mut last.folders)).ok().unwrap().unwrap();
    let cost = worked.disk.cost() - before;
    assert_eq!(told(&now), told(&worked.walk(&[])));
    // A look at each file and folder, and on the way to each folder, and little more.
    assert!(cost < 1000 + 2 * 51 + 60, "{cost}");
}

#[test]
fn many_changed_folders_are_left_to_a_whole_walk() {
    let mut worked = Worked::new(2);
    for folder in 0..80 {
        worked.write(&format!("p{folder}/a.yaml"), &manifest("s", "1"));
    }
    let mut last = worked.walk(&[]);
    settle(&mut last);
    for folder in 0..80 {
        worked.write(&format!("p{folder}/a.yaml"), &manifest("s", "22"));
    }
    let folders = std::mem::take(&mut last.folders);
    assert!(renew_from(&worked.disk, IDS, &last.found, folders).ok().unwrap().is_none());
}

/// A file with 98 problems.
fn bad() -> String {
    manifest("s", "1") + &(0..98).map(|number| format!("field{number}: 1\n")).collect::<String>()
}

fn kept_problems(walked: &Walked) -> usize {
    walked.found.iter().map(|found| found.contents.parsed.problems.len()).sum()
}

#[test]
fn which_of_too_many_problems_are_kept_is_left_to_a_whole_walk() {
    let mut worked = Worked::new(3);
    for file in 0..105 {
        worked.write(&format!("a/{file}.yaml"), &bad());
    }
    let mut last = worked.walk(&[]);
    assert!(kept_problems(&last) < 105 * 98);
    settle(&mut last);
    for file in 0..5 {
        worked.write(&format!("a/{file}.yaml"), &manifest("s", "2"));
    }
    let folders = std::mem::take(&mut last.folders);
    assert!(renew_from(&worked.disk, IDS, &last.found, folders).ok().unwrap().is_none());
    assert_eq!(kept_problems(&worked.walk(&last.found)), 100 * 98);
}

#[test]
fn problems_that_come_little_by_little_are_bounded_like_those_that_come_at_once() {
    let mut worked = Worked::new(4);
    let mut last = worked.walk(&[]);
    for push in 0..3 {
        settle(&mut last);
        for file in 0..40 {
            worked.write(&format!("a/{push}-{file}.yaml"), &bad());
        }
        let folders = std::mem::take(&mut last.folders);
        let renewed = renew_from(&worked.disk, IDS, &last.found, folders).ok().unwrap();
        last = renewed.unwrap_or_else(|| worked.walk(&last.found));
        assert!(kept_problems(&last) <= 10_000 + last.found.len(), "{}", kept_problems(&last));
    }
}

#[test]
fn a_folder_that_is_looked_at_again_and_again_says_what_it_says_to_somebody_new() {
    for seed in 100..106 {
        let mut worked = Worked::new(seed);
        let mut folder = Folder::new(worked.tree.0.path());
        for _ in 0..60 {
            let changes = worked.any(3);
            for _ in 0..=changes {
                worked.change();
            }
            let (again, new) = (folder.look().unwrap(), worked.tree.look());
            assert_eq!(again.desired, new.desired, "seed {seed}");
            assert_eq!(again.revision, new.revision, "seed {seed}");
            assert_eq!((again.problems, again.claimed, again.unread), (new.problems, new.claimed, new.unread));
        }
    }
}

#[test]
fn a_manifest_that_changes_is_put_in_and_the_others_are_not_read_again() {
    let mut worked = Worked::new(3);
    for file in 0..200 {
        worked.write(&format!("{file}.yaml"), &manifest(&format!("s{file}"), "1"));
    }
    let mut folder = Folder::new(worked.tree.0.path());
    let first = folder.look().unwrap().desired;
    folder.settle();
    worked.write("7.yaml", &manifest("s7", "22"));
    let second = folder.look().unwrap().desired;
    let same = first.iter().filter(|(key, desired)| Arc::ptr_eq(&desired.update, &second[*key].update)).count();
    assert_eq!((second.len(), same), (200, 199));
}

impl Folder {
    /// As after two quiet seconds.
    fn settle(&mut self) {
        let settled = |found: &Arc<Found>| {
            let mut stamp = found.stamp;
            stamp.settle();
            let parsed = found.contents.parsed.clone();
            Arc::new(Found::made(found, stamp, Contents { blob: found.contents.blob, parsed }))
        };
        self.seen = self.seen.iter().map(settled).collect();
        self.rests_on.iter_mut().flat_map(|last| &mut last.folders).for_each(|(_, stamp)| stamp.settle());
    }
}
