//! Which files are being written to.

use std::io::Write as _;

use super::*;

fn folder() -> Lookout {
    Lookout::over("m", |top| write(top.join("m/a.yaml"), "a"))
}

impl Lookout {
    /// The names of the files that are being written to.
    fn unfinished(&mut self) -> Vec<String> {
        self.bell.ring();
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        self.watch.noticed.unfinished().iter().map(name).collect()
    }
}

#[test]
fn a_file_is_unfinished_from_its_first_byte_until_it_is_closed() {
    let mut lookout = folder();
    let mut file = fs::File::create(lookout.path("m/new.yaml")).unwrap();
    assert_eq!(lookout.unfinished(), ["new.yaml"], "created");
    file.write_all(b"half").unwrap();
    assert_eq!(lookout.unfinished(), ["new.yaml"]);
    let _reader = fs::read(lookout.path("m/new.yaml")).unwrap();
    assert_eq!(lookout.unfinished(), ["new.yaml"], "a reader closes nothing");
    drop(file);
    assert_eq!(lookout.unfinished(), [""; 0]);

    let mut file = fs::OpenOptions::new().append(true).open(lookout.path("m/a.yaml")).unwrap();
    assert_eq!(lookout.unfinished(), [""; 0], "opened, and not written to");
    file.write_all(b"more").unwrap();
    assert_eq!(lookout.unfinished(), ["a.yaml"]);
    drop(file);
    let truncated = fs::File::create(lookout.path("m/a.yaml")).unwrap();
    assert_eq!(lookout.unfinished(), ["a.yaml"], "truncated");
    drop(truncated);
    assert_eq!(lookout.unfinished(), [""; 0]);
}

#[test]
fn what_is_whole_by_itself_is_not_unfinished() {
    let mut lookout = folder();
    fs::hard_link(lookout.path("m/a.yaml"), lookout.path("m/b.yaml")).unwrap();
    symlink("a.yaml", lookout.path("m/c.yaml")).unwrap();
    fs::create_dir(lookout.path("m/d")).unwrap();
    write(lookout.path("m/.new"), "new");
    fs::rename(lookout.path("m/.new"), lookout.path("m/e.yaml")).unwrap();
    fs::set_permissions(lookout.path("m/a.yaml"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(lookout.unfinished(), [""; 0]);
}

#[test]
fn a_file_that_was_renamed_over_or_removed_is_not_unfinished_any_more() {
    let mut lookout = folder();
    let mut files: Vec<_> =
        ["b", "c", "d"].iter().map(|name| fs::File::create(lookout.path(&format!("m/{name}"))).unwrap()).collect();
    assert_eq!(lookout.unfinished(), ["b", "c", "d"]);
    fs::rename(lookout.path("m/a.yaml"), lookout.path("m/b")).unwrap();
    fs::remove_file(lookout.path("m/c")).unwrap();
    fs::rename(lookout.path("m/d"), lookout.path("m/e")).unwrap();
    assert_eq!(lookout.unfinished(), [""; 0]);
    files[2].write_all(b"more").unwrap();
    assert_eq!(lookout.unfinished(), ["e"], "it is written under its new name");
}

#[test]
fn a_file_that_is_left_open_is_finished_once_nobody_wrote_for_a_while() {
    let mut written = writers::Written::default();
    let (folder, start) = (TempDir::new().unwrap(), Instant::now());
    let path = folder.path().join("a.yaml");
    fs::write(&path, "").unwrap();
    let data = EventKind::Modify(notify::event::ModifyKind::Data(notify::event::DataChange::Any));
    written.take_in(data, &path, start);
    let later = start + QUIET_AFTER / 2;
    assert_eq!(written.writing(later), Writing::GoesOn);
    written.take_in(data, &path, later);
    assert_eq!(written.writing(start + QUIET_AFTER), Writing::GoesOn);
    assert_eq!(written.unfinished(start + QUIET_AFTER).len(), 1);
    assert_eq!(written.writing(later + QUIET_AFTER), Writing::Ended);
    assert_eq!(written.unfinished(later + QUIET_AFTER).len(), 0);
}

#[test]
fn git_that_lets_go_of_its_lock_is_told_apart() {
    let top = TempDir::new().unwrap();
    write(top.path().join("m/.git/index"), "1");
    let (sender, told) = mpsc::channel();
    let noticed = Noticed::new(move |writing| sender.send(writing).unwrap_or_default());
    let (mut bell, make) = Bell::new();
    let mut watch = Watch::with(top.path().join("m"), noticed, make, TRY_AGAIN_AFTER);
    watch.follow(&[top.path().join("m/.git/index"), top.path().join("m/.git/index.lock")]);
    let mut told = || {
        bell.ring();
        told.try_iter().last()
    };
    fs::write(top.path().join("m/.git/index.lock"), "2").unwrap();
    assert_eq!(told(), Some(Writing::Ended));
    fs::write(top.path().join("m/a.yaml"), "a").unwrap();
    assert_eq!(told(), Some(Writing::Ended));
    fs::rename(top.path().join("m/.git/index.lock"), top.path().join("m/.git/index")).unwrap();
    assert_eq!(told(), Some(Writing::GitEnded));
    fs::write(top.path().join("m/.git/index.lock"), "3").unwrap();
    fs::remove_file(top.path().join("m/.git/index.lock")).unwrap();
    assert_eq!(told(), Some(Writing::GitEnded));
    fs::write(top.path().join("m/.git/other"), "x").unwrap();
    assert_eq!(told(), None, "what else git does is not heard");
}
