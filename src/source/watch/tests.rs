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

/// Far more than any event takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// A temporary folder that holds everything of a test, and a watch of a path in it.
struct Lookout {
    top: TempDir,
    watch: Watch,
    told: Receiver<()>,
    also: Vec<PathBuf>,
}

impl Lookout {
    /// Watches `folder`, a path in the temporary folder, after `arrange` has put things there.
    fn over(folder: &str, arrange: impl FnOnce(&Path)) -> Self {
        let top = TempDir::new().unwrap();
        arrange(top.path());
        let (sender, told) = mpsc::channel();
        let watch = Watch::start(top.path().join(folder), move || sender.send(()).unwrap_or_default());
        assert_eq!(watch.watching(), &Watching::Events);
        Self { top, watch, told, also: Vec::new() }
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
        if let State::Armed(watches) = &mut self.watch.state {
            watches.hear_all();
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
