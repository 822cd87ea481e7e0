//! What happens in the folder is seen, and what does not matter is not.

use super::*;

fn folder() -> Lookout {
    Lookout::over("m", |top| {
        write(top.join("m/a.yaml"), "a");
        write(top.join("m/sub/deep/b.yaml"), "b");
    })
}

#[test]
fn a_file_that_is_created_changed_renamed_or_deleted_is_seen() {
    let mut lookout = folder();
    lookout.sees(|top| write(top.join("m/new.yaml"), "new"));
    lookout.sees(|top| fs::remove_file(top.join("m/new.yaml")).unwrap());
    lookout.sees(|top| fs::rename(top.join("m/a.yaml"), top.join("m/c.yaml")).unwrap());
    lookout.sees(|top| {
        let file = fs::OpenOptions::new().write(true).open(top.join("m/sub/deep/b.yaml")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"x", 0).unwrap();
    });
    lookout.sees(|top| fs::write(top.join("m/c.yaml"), "truncated, then written").unwrap());
    lookout.sees(|top| drop(fs::File::create(top.join("m/c.yaml")).unwrap()));
    lookout.sees(|top| write(top.join("m/.truenorthignore"), "*.txt"));
}

#[test]
fn a_rename_over_a_manifest_is_seen_even_from_a_hidden_name() {
    let mut lookout = folder();
    lookout.ignores(|top| write(top.join("m/sub/.tmp1"), "new"));
    lookout.sees(|top| fs::rename(top.join("m/sub/.tmp1"), top.join("m/sub/deep/b.yaml")).unwrap());
    lookout.sees(|top| fs::rename(top.join("m/a.yaml"), top.join("m/.a.yaml")).unwrap());
    write(lookout.path("elsewhere/b.yaml"), "from elsewhere");
    lookout.sees(|top| fs::rename(top.join("elsewhere/b.yaml"), top.join("m/sub/deep/b.yaml")).unwrap());
}

#[test]
fn a_change_of_mode_is_seen() {
    let mut lookout = folder();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    lookout.sees(|top| mode(&top.join("m/a.yaml"), 0o000));
    lookout.sees(|top| mode(&top.join("m/sub"), 0o500));
    lookout.sees(|top| mode(&top.join("m"), 0o500));
    lookout.sees(|top| mode(&top.join("m"), 0o700));
}

#[test]
fn new_folders_that_are_filled_at_once_are_seen_and_watched_to_the_bottom() {
    let mut lookout = folder();
    lookout.sees(|top| write(top.join("m/x/y/z/new.yaml"), "new"));
    lookout.sees(|top| fs::write(top.join("m/x/y/z/new.yaml"), "changed").unwrap());
    write(lookout.path("elsewhere/p/q/r.yaml"), "r");
    lookout.sees(|top| fs::rename(top.join("elsewhere"), top.join("m/sub/moved")).unwrap());
    lookout.sees(|top| fs::write(top.join("m/sub/moved/p/q/r.yaml"), "changed").unwrap());
    lookout.sees(|top| fs::rename(top.join("m/sub/moved"), top.join("m/again")).unwrap());
    lookout.sees(|top| fs::write(top.join("m/again/p/q/r.yaml"), "changed").unwrap());
}

#[test]
fn folders_that_were_moved_out_are_not_watched_any_more() {
    let mut lookout = folder();
    lookout.look();
    let watched = lookout.watched();
    lookout.sees(|top| write(top.join("m/x/y/new.yaml"), "new"));
    assert_eq!(lookout.watched(), watched + 2);
    lookout.sees(|top| fs::rename(top.join("m/x"), top.join("gone")).unwrap());
    assert_eq!(lookout.watched(), watched);
    lookout.ignores(|top| fs::write(top.join("gone/y/new.yaml"), "changed").unwrap());
}

#[test]
fn a_folder_that_is_removed_and_made_again_is_watched_again() {
    let mut lookout = folder();
    for _ in 0..3 {
        // In one go, so that the new one mostly has the inode of the old.
        lookout.sees(|top| {
            fs::remove_dir_all(top.join("m/sub")).unwrap();
            write(top.join("m/sub/deep/b.yaml"), "b");
        });
        lookout.sees(|top| fs::write(top.join("m/sub/deep/b.yaml"), "changed").unwrap());
        lookout.sees(|top| {
            fs::remove_dir_all(top.join("m")).unwrap();
            write(top.join("m/sub/deep/b.yaml"), "b");
        });
        lookout.sees(|top| fs::write(top.join("m/sub/deep/b.yaml"), "changed").unwrap());
        lookout.sees(|top| fs::remove_dir_all(top.join("m")).unwrap());
        lookout.sees(|top| write(top.join("m/sub/deep/b.yaml"), "b"));
        lookout.sees(|top| fs::write(top.join("m/sub/deep/b.yaml"), "changed").unwrap());
    }
}

#[test]
fn hidden_entries_and_reads_are_not_told() {
    let mut lookout = folder();
    lookout.ignores(|top| write(top.join("m/.a.yaml.swp"), "swap"));
    lookout.ignores(|top| write(top.join("m/.git/index.lock"), "lock"));
    lookout.ignores(|top| write(top.join("m/.git/objects/00/11"), "object"));
    lookout.ignores(|top| fs::rename(top.join("m/.git/index.lock"), top.join("m/.git/index")).unwrap());
    lookout.ignores(|top| drop(fs::read(top.join("m/a.yaml")).unwrap()));
    lookout.ignores(|top| assert_eq!(fs::read_dir(top.join("m/sub")).unwrap().count(), 1));
    lookout.ignores(|top| write(top.join("beside/the/folder.yaml"), "not in it"));
}

#[test]
fn a_file_written_through_a_descriptor_is_told_when_it_is_closed_too() {
    let mut lookout = folder();
    lookout.look();
    let file = fs::OpenOptions::new().append(true).open(lookout.path("m/a.yaml")).unwrap();
    assert_eq!(lookout.told_by_now(), 0, "opening changes nothing");
    drop(file);
    assert!(lookout.told_by_now() > 0, "it may have been written through a map");
}

#[test]
fn what_is_asked_for_besides_is_watched_by_name() {
    let mut lookout = folder();
    write(lookout.path("m/.git/HEAD"), "ref: refs/heads/main");
    write(lookout.path("m/.git/refs/heads/main"), "1");
    for name in ["HEAD", "index.lock", "packed-refs", "refs/heads/main", "refs/heads/team/branch"] {
        lookout.also.push(lookout.path("m/.git").join(name));
    }
    lookout.ignores(|top| write(top.join("m/.git/FETCH_HEAD"), "fetched"));
    lookout.ignores(|top| write(top.join("m/.git/objects/00/11"), "object"));
    lookout.ignores(|top| write(top.join("m/.git/refs/heads/other"), "2"));
    lookout.sees(|top| write(top.join("m/.git/index.lock"), "lock"));
    lookout.sees(|top| fs::remove_file(top.join("m/.git/index.lock")).unwrap());
    lookout.sees(|top| write(top.join("m/.git/HEAD"), "detached"));
    lookout.sees(|top| {
        write(top.join("m/.git/refs/heads/main.lock"), "3");
        fs::rename(top.join("m/.git/refs/heads/main.lock"), top.join("m/.git/refs/heads/main")).unwrap();
    });
    lookout.sees(|top| write(top.join("m/.git/packed-refs"), "packed"));
    lookout.sees(|top| write(top.join("m/.git/refs/heads/team/branch"), "4"));
    lookout.sees(|top| fs::write(top.join("m/.git/refs/heads/team/branch"), "5").unwrap());
    // And not for longer than it is asked for.
    lookout.also.clear();
    lookout.ignores(|top| write(top.join("m/.git/HEAD"), "other"));
}

#[test]
fn of_a_folder_that_is_asked_for_besides_the_entries_are_watched() {
    let mut lookout = folder();
    write(lookout.path("m/.git/refs/heads/main"), "1");
    lookout.also.push(lookout.path("m/.git/refs/heads"));
    lookout.sees(|top| fs::write(top.join("m/.git/refs/heads/main"), "2").unwrap());
    lookout.sees(|top| write(top.join("m/.git/refs/heads/new"), "2"));
    lookout.sees(|top| fs::remove_dir_all(top.join("m/.git")).unwrap());
    lookout.sees(|top| write(top.join("m/.git/refs/heads/main"), "1"));
    lookout.sees(|top| fs::write(top.join("m/.git/refs/heads/main"), "2").unwrap());
}

#[test]
fn a_real_git_commit_is_seen_and_a_status_is_not_told_for_ever() {
    let git = |top: &Path, arguments: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C").arg(top.join("m")).args(["-c", "user.name=a", "-c", "user.email=a@example.com"]).args(arguments);
        git.env("GIT_CONFIG_NOSYSTEM", "1").env_remove("GIT_DIR").output()
    };
    let mut lookout = folder();
    if git(lookout.top.path(), &["init", "--quiet"]).is_err() {
        println!("skipped: there is no git");
        return;
    }
    let run = |top: &Path, arguments: &[&str]| {
        let output = git(top, arguments).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    lookout.also = ["HEAD", "index.lock", "refs/heads"].map(|name| lookout.path("m/.git").join(name)).to_vec();
    lookout.sees(|top| run(top, &["add", "."]));
    lookout.sees(|top| run(top, &["commit", "--quiet", "--message", "first"]));
    lookout.sees(|top| run(top, &["switch", "--quiet", "--create", "other"]));
    lookout.look();
    run(lookout.top.path(), &["status"]);
    // It may have written the index anew. That it comes to rest is what counts.
    lookout.look();
    lookout.also.clear();
    lookout.ignores(|top| run(top, &["status"]));
}
