use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};

use notify::event::Flag;
use notify::{Event, EventKind};
use tempfile::TempDir;

use super::super::Folder;
use super::*;

mod polling;
mod sees;
mod storm;
mod ways;
mod writing;

/// Far more than any event takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// A temporary folder that holds everything of a test, and a watch of a path in it.
struct Lookout {
    top: TempDir,
    watch: Watch,
    told: Receiver<()>,
    bell: Bell,
    also: Vec<PathBuf>,
}

impl Lookout {
    /// Watches `folder`, a path in the temporary folder, after `arrange` has put things there.
    fn over(folder: &str, arrange: impl FnOnce(&Path)) -> Self {
        let top = TempDir::new().unwrap();
        arrange(top.path());
        let (sender, told) = mpsc::channel();
        let noticed = Noticed::new(move |_| sender.send(()).unwrap_or_default());
        let (bell, make) = Bell::new();
        let watch = Watch::with(top.path().join(folder), noticed, make, TRY_AGAIN_AFTER);
        assert_eq!(watch.watching(), &Watching::Events);
        Self { top, watch, told, bell, also: Vec::new() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.top.path().join(path)
    }

    /// Does what a caller does until nothing more is told, without sleeping. That this ends shows that neither
    /// following nor reading the folder wakes the caller again.
    fn look(&mut self) {
        for _ in 0..20 {
            self.watch.follow(&self.also);
            let _ = Folder::new(&self.watch.path).look();
            if self.told_by_now() == 0 {
                return;
            }
        }
        panic!("looking causes looks for ever");
    }

    /// How often it was told to look, because of anything that happened until now.
    fn told_by_now(&mut self) -> usize {
        if let State::Armed(_) = &self.watch.state {
            self.bell.ring();
        }
        self.told.try_iter().count()
    }

    /// It is told to look when this happens, and once it looked, a new manifest in the folder is noticed as well, if
    /// there is a folder: so the watches are in line.
    #[track_caller]
    fn sees(&mut self, happens: impl FnOnce(&Path)) {
        self.look();
        happens(self.top.path());
        self.told.recv_timeout(DEADLINE).expect("it is told to look");
        self.look();
        let probe = self.watch.path.join("probe.yaml");
        if fs::write(&probe, "probe").is_ok() {
            self.told.recv_timeout(DEADLINE).expect("it is told of the next change");
            fs::remove_file(&probe).unwrap();
        }
        self.look();
    }

    #[track_caller]
    fn ignores(&mut self, happens: impl FnOnce(&Path)) {
        self.look();
        happens(self.top.path());
        assert_eq!(self.told_by_now(), 0, "it is told to look");
    }

    fn watched(&self) -> usize {
        match &self.watch.state {
            State::Armed(watches) => watches.len(),
            State::Bare | State::GaveUp(_) => 0,
        }
    }
}

/// A file beside, watched by every watcher that is made: as events come in order, those of all that happened before
/// have been heard once it is.
struct Bell {
    folder: TempDir,
    made: Arc<AtomicUsize>,
    heard: Receiver<(usize, PathBuf)>,
    rung: usize,
}

impl Bell {
    fn new() -> (Self, MakeWatcher) {
        let (sender, heard) = mpsc::channel();
        let bell = Self { folder: TempDir::new().unwrap(), made: Arc::default(), heard, rung: 0 };
        let (made, folder) = (Arc::clone(&bell.made), bell.folder.path().to_owned());
        let make = move |noticed: Arc<Noticed>| {
            let which = made.fetch_add(1, Ordering::Relaxed) + 1;
            let (sender, beside) = (sender.clone(), folder.clone());
            let hear = move |event: notify::Result<Event>| match event {
                Ok(Event { kind: EventKind::Create(_), paths, .. }) if paths[0].starts_with(&beside) => {
                    let _ = sender.send((which, paths[0].clone()));
                }
                event => noticed.hear(event),
            };
            let mut watcher = INotifyWatcher::new(hear, Config::default())?;
            watcher.watch(&folder, notify::RecursiveMode::NonRecursive)?;
            Ok(Box::new(watcher) as AnyWatcher)
        };
        (bell, Box::new(make))
    }

    /// Returns once the newest watcher has heard of all that happened before.
    fn ring(&mut self) {
        self.rung += 1;
        let path = self.folder.path().join(self.rung.to_string());
        fs::write(&path, "").unwrap();
        let rung = (self.made.load(Ordering::Relaxed), path);
        while self.heard.recv_timeout(DEADLINE).expect("the bell is heard") != rung {}
    }
}

fn write(path: impl AsRef<Path>, content: &str) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Puts a link in place of another at once, as git-sync and Kubernetes do.
fn swap(link: impl AsRef<Path>, target: &str) {
    let new = link.as_ref().with_file_name(".new-link");
    symlink(target, &new).unwrap();
    fs::rename(&new, link).unwrap();
}
