//! The bounds over a folder: what is over one is a problem and left out, and everybody else is read.

use super::*;

fn files(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.problems.iter().map(|problem| &*problem.file).collect()
}

#[test]
fn a_folder_may_lie_64_folders_deep() {
    let tree = Tree::new();
    let deepest = vec!["d"; 64].join("/");
    tree.write(&format!("{deepest}/a.yaml"), &manifest("a", "1"));
    assert_eq!(services(&tree.look()), ["a"]);
    tree.write(&format!("{deepest}/d/b.yaml"), &manifest("b", "1"));
    tree.write(".hidden/c.yaml", &manifest("c", "1"));
    symlink(tree.path(".hidden").canonicalize().unwrap(), tree.path(&format!("{deepest}/link"))).unwrap();
    let snapshot = tree.look();
    assert_eq!(services(&snapshot), ["a"]);
    assert_eq!(files(&snapshot), [format!("{deepest}/d"), format!("{deepest}/link")]);
    assert!(snapshot.problems[0].message.contains("more than 64 folders deep"));
    assert!(!snapshot.proves_absence(&"shop/b".parse().unwrap(), &format!("{deepest}/d/b.yaml")));
}

#[test]
fn a_path_may_have_1024_bytes() {
    let tree = Tree::new();
    let folder = [vec!["d".repeat(200); 5].join("/"), "e".repeat(12)].join("/");
    assert_eq!(folder.len(), 1017);
    tree.write(&format!("{folder}/a.yaml"), &manifest("a", "1"));
    tree.write(&format!("{folder}/bb.yaml"), &manifest("b", "1"));
    let snapshot = tree.look();
    assert_eq!(services(&snapshot), ["a"]);
    assert_eq!(files(&snapshot), [format!("{folder}/bb.yaml")]);
}

#[test]
fn ignore_files_share_64_kib_and_1000_lines_and_the_largest_are_left_out_with_their_folders() {
    for (what, rules) in [("bytes", "#".repeat(60 * 1024)), ("lines", "x\n".repeat(900))] {
        let tree = Tree::new();
        tree.write(".truenorthignore", "*.txt\n");
        tree.write("notes.txt", "");
        for number in 0..3 {
            tree.write(&format!("evil/{number}/.truenorthignore"), &rules);
            tree.write(&format!("evil/{number}/a.yaml"), &manifest(&format!("evil-{number}"), "1"));
        }
        // The last by name, so that no order helps it.
        tree.write("zoo/.truenorthignore", &"b.yaml\n".repeat(50));
        tree.write("zoo/a.yaml", &manifest("zoo", "1"));
        tree.write("zoo/b.yaml", "");
        let snapshot = tree.look();
        assert_eq!(services(&snapshot), ["evil-0", "zoo"], "{what}");
        assert_eq!(files(&snapshot), ["evil/1/.truenorthignore", "evil/2/.truenorthignore"], "{what}");
        assert!(snapshot.problems[0].message.contains("more than 64 KiB or 1000 lines in all"), "{what}");
        assert!(!snapshot.proves_absence(&"shop/evil-1".parse().unwrap(), "evil/1/a.yaml"), "{what}");
        assert_eq!(tree.look().problems, snapshot.problems, "{what}");
    }
}

#[test]
fn rules_below_an_ignore_file_that_is_left_out_are_counted_once_it_is_read() {
    let tree = Tree::new();
    let nested = (1..=12).map(|depth| "d/".repeat(depth));
    for (folder, lines) in nested.zip([600, 500, 400, 300, 200, 150, 120, 110, 100, 90, 80, 70]) {
        tree.write(&format!("{folder}.truenorthignore"), &"x\n".repeat(lines));
    }
    tree.write("a.yaml", &manifest("a", "1"));
    let snapshot = tree.look();
    assert_eq!(services(&snapshot), ["a"]);
    assert_eq!(files(&snapshot), ["d/d/.truenorthignore"]);
    assert_eq!(tree.look().problems, snapshot.problems);
}

#[test]
fn files_share_64_mib_and_the_largest_are_left_out() {
    let tree = Tree::new();
    let large = format!("{}\n#", "#".repeat(1 << 10)).repeat(1000);
    let large = &large[..large.len().min(1 << 20)];
    for number in 0..70 {
        tree.write(&format!("evil/{number:02}.yaml"), large);
    }
    tree.write("zoo/a.yaml", &manifest("zoo", "1"));
    let mut folder = Folder::new(tree.0.path());
    let snapshot = folder.look().unwrap();
    assert_eq!(services(&snapshot), ["zoo"]);
    let left_out: Vec<&Problem> =
        snapshot.problems.iter().filter(|problem| problem.message.contains("more than 64 MiB in all")).collect();
    let names: Vec<&str> = left_out.iter().map(|problem| &*problem.file).collect();
    let room = (64 << 20) / (large.len() + "evil/00.yaml".len());
    let last: Vec<String> = (room..70).map(|number| format!("evil/{number}.yaml")).collect();
    assert_eq!(names, last);
    assert!(!snapshot.proves_absence(&"shop/evil".parse().unwrap(), &last[0]));

    fs::remove_dir_all(tree.path("evil")).unwrap();
    tree.write("evil.yaml", large);
    assert_eq!(files(&folder.look().unwrap()), ["evil.yaml"]);
}

#[test]
fn a_folder_shows_10000_problems_and_counts_the_rest() {
    let tree = Tree::new();
    let bad = manifest("a", "1") + &(0..98).map(|number| format!("field{number}: 1\n")).collect::<String>();
    for number in 0..103 {
        tree.write(&format!("evil/{number}.yaml"), &bad.replace("shop", &format!("shop-{number}")));
    }
    tree.write("zoo.yaml", &manifest("zoo", "1"));
    tree.write("zoo-bad.yaml", "spec: 1");
    let mut folder = Folder::new(tree.0.path());
    let snapshot = folder.look().unwrap();
    assert_eq!(services(&snapshot), ["zoo"]);
    // Those of one file do not hide another's.
    assert_eq!(snapshot.problems.len(), 103 + 1 + 1);
    assert!(files(&snapshot).contains(&"zoo-bad.yaml"));
    let shown: usize = 104;
    let all: usize = snapshot
        .problems
        .last()
        .map(|problem| problem.message.clone())
        .and_then(|message| message.strip_prefix("and ")?.split(' ').next()?.replace(',', "").parse().ok())
        .unwrap();
    assert!(all + shown > 10_000, "{all}");
    assert!(!snapshot.proves_absence(&"shop-7/a".parse().unwrap(), "evil/7.yaml"));

    // With fewer, each is shown again, also of files that did not change meanwhile.
    for number in 50..103 {
        fs::remove_file(tree.path(&format!("evil/{number}.yaml"))).unwrap();
    }
    let fewer = folder.look().unwrap();
    assert_eq!(fewer.problems, tree.look().problems);
    assert!(fewer.problems.len() > 4_000, "{}", fewer.problems.len());
}

#[test]
fn more_than_10000_files_with_problems_are_counted_and_none_is_taken_for_absent() {
    let tree = Tree::new();
    for folder in 0..11 {
        fs::create_dir(tree.path(&format!("{folder:02}"))).unwrap();
        for number in 0..1000 {
            fs::write(tree.path(&format!("{folder:02}/{number:03}.txt")), "").unwrap();
        }
    }
    let snapshot = tree.look();
    assert_eq!(snapshot.problems.len(), 10_001);
    let last = snapshot.problems.last().unwrap();
    assert_eq!((&*last.file, &*last.message), (".", "and 1,000 more problems in the folder"));
    let key = "shop/a".parse().unwrap();
    assert!(!snapshot.proves_absence(&key, "10/999.txt") && snapshot.proves_absence(&key, "10/1000.txt"));
}

#[test]
fn a_folder_that_holds_too_many_is_left_out_and_not_the_others() {
    let tree = Tree::new();
    tree.write("evil/deep/er/a.yaml", &manifest("evil", "1"));
    tree.write("evil/many/b.yaml", &manifest("many", "1"));
    tree.write("zoo/a.yaml", &manifest("zoo", "1"));
    fs::create_dir_all(tree.path("evil/more")).unwrap();
    let mut folder = Folder::new(tree.0.path());
    folder.look().unwrap();
    for (folder, count) in [("evil/many", 60_000), ("evil/more", 41_000)] {
        fs::write(tree.path(&format!("{folder}/x")), "").unwrap();
        for number in 0..count {
            fs::hard_link(tree.path(&format!("{folder}/x")), tree.path(&format!("{folder}/{number}.txt"))).unwrap();
        }
    }
    let snapshot = folder.look().unwrap();
    assert_eq!(services(&snapshot), ["evil", "zoo"]);
    let many = snapshot.problems.iter().find(|problem| problem.message.contains("more than 100,000 files")).unwrap();
    assert_eq!(&*many.file, "evil/many");
    assert!(!snapshot.proves_absence(&"shop/many".parse().unwrap(), "evil/many/b.yaml"));
    assert!(snapshot.proves_absence(&"shop/gone".parse().unwrap(), "zoo/gone.yaml"));
}

#[test]
fn an_ignore_file_whose_patterns_take_too_long_is_left_out_with_its_folder() {
    let tree = Tree::new();
    // As if by lot: no two lines or names have much in common.
    let mut lot = 1_u64;
    let mut letter = move || {
        lot = lot.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ["a", "b", "c"][(lot >> 33) as usize % 3]
    };
    let mut slow = String::new();
    for _ in 0..400 {
        (0..15).for_each(|_| slow.extend(["*", letter()]));
        slow.push_str("*z\n");
    }
    tree.write("evil/.truenorthignore", &slow);
    for number in 0..200 {
        let name: String = (0..200).map(|_| letter()).collect();
        tree.write(&format!("evil/{name}.yaml"), &manifest(&format!("evil-{number}"), "1"));
    }
    tree.write("zoo/.truenorthignore", "*b*.yaml\n");
    tree.write("zoo/a.yaml", &manifest("zoo", "1"));
    tree.write("zoo/b.yaml", "");
    let snapshot = tree.look();
    assert_eq!(services(&snapshot), ["zoo"]);
    assert_eq!(files(&snapshot), ["evil/.truenorthignore"]);
    assert!(snapshot.problems[0].message.contains("take too long"), "{}", snapshot.problems[0].message);
    assert!(!snapshot.proves_absence(&"shop/evil-1".parse().unwrap(), "evil/a.yaml"));
    assert_eq!(tree.look().problems, snapshot.problems);
}
