//! Whatever happens on the way to the folder is seen: missing folders, links, renames, mounts.

use super::*;

#[test]
fn a_folder_that_is_missing_at_first_is_seen_when_it_is_made() {
    let mut lookout = Lookout::over("a/b/m", |_| {});
    lookout.sees(|top| fs::create_dir(top.join("a")).unwrap());
    lookout.sees(|top| fs::create_dir(top.join("a/b")).unwrap());
    lookout.ignores(|top| fs::create_dir(top.join("a/b/other")).unwrap());
    lookout.sees(|top| fs::create_dir(top.join("a/b/m")).unwrap());
    lookout.sees(|top| write(top.join("a/b/m/a.yaml"), "a"));
}

#[test]
fn a_folder_that_is_made_with_its_parents_at_once_is_seen() {
    let mut lookout = Lookout::over("a/b/m", |_| {});
    lookout.sees(|top| write(top.join("a/b/m/x/a.yaml"), "a"));
    lookout.sees(|top| fs::write(top.join("a/b/m/x/a.yaml"), "changed").unwrap());
}

#[test]
fn a_file_in_the_place_of_the_folder_is_seen_to_go() {
    let mut lookout = Lookout::over("a/m", |top| write(top.join("a"), "a file"));
    lookout.sees(|top| {
        fs::remove_file(top.join("a")).unwrap();
        write(top.join("a/m/a.yaml"), "a");
    });
}

#[test]
fn a_folder_that_is_renamed_away_and_back_is_seen() {
    let mut lookout = Lookout::over("a/b/m", |top| write(top.join("a/b/m/sub/a.yaml"), "a"));
    for (from, to) in [("a/b/m", "a/b/other"), ("a/b", "a/other"), ("a", "other")] {
        lookout.sees(|top| fs::rename(top.join(from), top.join(to)).unwrap());
        lookout.sees(|top| fs::rename(top.join(to), top.join(from)).unwrap());
        lookout.sees(|top| fs::write(top.join("a/b/m/sub/a.yaml"), "changed").unwrap());
    }
}

#[test]
fn a_folder_near_the_top_that_is_renamed_away_and_back_is_seen() {
    let mut lookout = Lookout::over("", |top| write(top.join("sub/a.yaml"), "a"));
    let away = lookout.top.path().with_extension("away");
    lookout.sees(|top| fs::rename(top, &away).unwrap());
    lookout.sees(|top| fs::rename(&away, top).unwrap());
    lookout.sees(|top| fs::write(top.join("sub/a.yaml"), "changed").unwrap());
}

#[test]
fn a_folder_above_that_is_replaced_by_another_is_seen() {
    let mut lookout = Lookout::over("a/b/m", |top| {
        write(top.join("a/b/m/a.yaml"), "a");
        write(top.join("new/b/m/a.yaml"), "b");
    });
    lookout.sees(|top| {
        fs::rename(top.join("a"), top.join("old")).unwrap();
        fs::rename(top.join("new"), top.join("a")).unwrap();
    });
    lookout.ignores(|top| fs::write(top.join("old/b/m/a.yaml"), "not ours any more").unwrap());
}

#[test]
fn a_swap_of_the_link_of_git_sync_is_seen() {
    let mut lookout = Lookout::over("git/current/m", |top| {
        write(top.join("git/.worktrees/1/m/sub/a.yaml"), "1");
        symlink(".worktrees/1", top.join("git/current")).unwrap();
    });
    lookout.look();
    let watched = lookout.watched();
    for revision in 2..6 {
        let worktree = format!(".worktrees/{revision}");
        lookout.ignores(|top| write(top.join("git").join(&worktree).join("m/sub/a.yaml"), &worktree));
        lookout.sees(|top| swap(top.join("git/current"), &worktree));
        lookout.sees(|top| fs::write(top.join("git/current/m/sub/a.yaml"), "changed").unwrap());
        assert_eq!(lookout.watched(), watched, "the old ones are not watched any more");
        let old = format!("git/.worktrees/{}", revision - 1);
        lookout.ignores(|top| fs::remove_dir_all(top.join(old)).unwrap());
    }
}

#[test]
fn a_swap_of_kubernetes_data_is_seen() {
    let mut lookout = Lookout::over("m", |top| {
        write(top.join("m/..2026_1/a.yaml"), "1");
        symlink("..2026_1", top.join("m/..data")).unwrap();
        symlink("..data/a.yaml", top.join("m/a.yaml")).unwrap();
    });
    for version in 2..5 {
        let folder = format!("..2026_{version}");
        lookout.ignores(|top| write(top.join("m").join(&folder).join("a.yaml"), &folder));
        lookout.sees(|top| swap(top.join("m/..data"), &folder));
        lookout.sees(|top| fs::write(top.join("m/a.yaml"), "changed in place").unwrap());
        lookout.sees(|top| fs::remove_dir_all(top.join("m/..data/").canonicalize().unwrap()).unwrap());
    }
}

#[test]
fn any_link_of_a_chain_is_seen_to_change() {
    let mut lookout = Lookout::over("one/x/m", |top| {
        for place in ["p", "q"] {
            write(top.join(place).join("inner/x/m/a.yaml"), place);
            write(top.join(place).join("other/x/m/a.yaml"), place);
        }
        symlink("two", top.join("one")).unwrap();
        symlink(top.join("place/inner"), top.join("two")).unwrap();
        symlink("./p/../p", top.join("place")).unwrap();
    });
    lookout.sees(|top| swap(top.join("place"), "q"));
    lookout.sees(|top| swap(top.join("two"), "place/other"));
    lookout.sees(|top| swap(top.join("one"), "p/other"));
    lookout.sees(|top| swap(top.join("one"), "two"));
    lookout.ignores(|top| swap(top.join("unrelated"), "two"));
    lookout.sees(|top| fs::write(top.join("q/other/x/m/a.yaml"), "changed").unwrap());
}

#[test]
fn a_link_in_place_of_the_folder_is_seen_and_so_is_what_it_led_nowhere_to() {
    let mut lookout = Lookout::over("m", |top| symlink("nowhere/m", top.join("m")).unwrap());
    lookout.sees(|top| write(top.join("nowhere/m/a.yaml"), "a"));
    lookout.sees(|top| fs::remove_file(top.join("m")).unwrap());
    lookout.sees(|top| write(top.join("m/a.yaml"), "a"));
    lookout.sees(|top| {
        fs::rename(top.join("m"), top.join("real")).unwrap();
        symlink("real", top.join("m")).unwrap();
    });
}

#[test]
fn a_circle_of_links_is_waited_out() {
    let mut lookout = Lookout::over("m", |top| {
        symlink("n", top.join("m")).unwrap();
        symlink("m", top.join("n")).unwrap();
    });
    lookout.sees(|top| {
        fs::remove_file(top.join("n")).unwrap();
        write(top.join("n/a.yaml"), "a");
    });
}

#[test]
fn links_inside_the_folder_are_followed_into_hidden_folders_but_not_out() {
    let mut lookout = Lookout::over("m", |top| {
        write(top.join("m/.store/1/deep/a.yaml"), "1");
        write(top.join("m/.store/2/deep/a.yaml"), "2");
        write(top.join("outside/a.yaml"), "outside");
        symlink("1", top.join("m/.store/now")).unwrap();
        symlink(".store/now", top.join("m/apps")).unwrap();
        symlink("../outside", top.join("m/out")).unwrap();
        symlink("..", top.join("m/circle")).unwrap();
        symlink(".", top.join("m/self")).unwrap();
    });
    lookout.sees(|top| fs::write(top.join("m/.store/1/deep/a.yaml"), "changed").unwrap());
    lookout.sees(|top| swap(top.join("m/.store/now"), "2"));
    lookout.sees(|top| write(top.join("m/.store/2/deep/new/b.yaml"), "b"));
    lookout.ignores(|top| write(top.join("m/.store/1/deep/b.yaml"), "b"));
    lookout.ignores(|top| write(top.join("outside/b.yaml"), "b"));
    lookout.ignores(|top| write(top.join("beside.yaml"), "b"));
}

/// A bind mount, until it is dropped.
struct Mount(PathBuf);

impl Mount {
    fn bind(from: &Path, over: &Path) -> Option<Self> {
        let mounted = Command::new("mount").arg("--bind").args([from, over]).output().ok()?;
        if !mounted.status.success() {
            println!("skipped: cannot mount: {}", String::from_utf8_lossy(&mounted.stderr));
            return None;
        }
        Some(Self(over.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

#[test]
fn a_mount_over_the_folder_or_in_it_or_above_it_is_found_by_the_next_look() {
    for (over, inside) in [("a/m", "a/m/new.yaml"), ("a/m/sub", "a/m/sub/new.yaml"), ("a", "a/m/new.yaml")] {
        let mut lookout = Lookout::over("a/m", |top| {
            write(top.join("a/m/sub/a.yaml"), "a");
            write(top.join("other/m/sub/a.yaml"), "b");
        });
        lookout.look();

        let Some(mount) = Mount::bind(&lookout.path("other"), &lookout.path(over)) else { return };
        lookout.look();
        lookout.sees(|top| write(top.join(inside), "in the mounted folder"));

        drop(mount);
        lookout.look();
        lookout.sees(|top| fs::write(top.join("a/m/sub/a.yaml"), "in the folder below").unwrap());
    }
}
