//! Where events cannot be had, the caller is told to look by itself; where they were lost, all is watched anew.

use std::collections::BTreeSet;
use std::sync::Mutex;

use notify::{EventHandler, RecursiveMode};

use super::*;

/// What the next watchers are to do, and the last one to be spoken for.
#[derive(Clone, Default)]
struct Plan {
    made: Arc<AtomicUsize>,
    watched: Arc<Mutex<BTreeSet<PathBuf>>>,
    fails: Arc<Mutex<Option<Failure>>>,
}

#[derive(Clone)]
enum Failure {
    /// No watcher can be made.
    Instances,
    /// So many watches may be added in all.
    Watches(Arc<AtomicUsize>),
    /// This folder may not be watched.
    Denied(PathBuf),
    /// No event is ever heard.
    Deaf,
    /// While this folder is about to be watched, something happens.
    Race(PathBuf, Arc<dyn Fn() + Send + Sync>),
}

struct Failing {
    inner: AnyWatcher,
    watched: Arc<Mutex<BTreeSet<PathBuf>>>,
    failure: Option<Failure>,
}

impl Watcher for Failing {
    fn new<F: EventHandler>(_: F, _: Config) -> notify::Result<Self> {
        Err(notify::Error::generic("not made this way"))
    }

    fn watch(&mut self, path: &Path, mode: RecursiveMode) -> notify::Result<()> {
        match &self.failure {
            Some(Failure::Watches(left)) if left.load(Ordering::Relaxed) == 0 => {
                return Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch));
            }
            Some(Failure::Watches(left)) => {
                left.fetch_sub(1, Ordering::Relaxed);
            }
            Some(Failure::Denied(denied)) if denied == path => {
                return Err(notify::Error::io(io::ErrorKind::PermissionDenied.into()));
            }
            Some(Failure::Race(watched, happens)) if watched == path => happens(),
            _ => {}
        }
        self.watched.lock().unwrap().insert(path.to_owned());
        self.inner.watch(path, mode)
    }

    fn unwatch(&mut self, path: &Path) -> notify::Result<()> {
        self.watched.lock().unwrap().remove(path);
        self.inner.unwatch(path)
    }

    fn kind() -> notify::WatcherKind {
        notify::WatcherKind::Inotify
    }
}

impl Plan {
    fn set(&self, failure: Option<Failure>) {
        *self.fails.lock().unwrap() = failure;
    }

    fn watch(&self, path: PathBuf, try_again_after: Duration) -> (Watch, Receiver<()>) {
        let (sender, told) = mpsc::channel();
        let noticed = Noticed::new(move |_| sender.send(()).unwrap_or_default());
        let plan = self.clone();
        let make = move |noticed| {
            plan.made.fetch_add(1, Ordering::Relaxed);
            let failure = plan.fails.lock().unwrap().clone();
            if let Some(Failure::Instances) = failure {
                return Err(notify::Error::io(io::Error::from_raw_os_error(24)));
            }
            let noticed = if let Some(Failure::Deaf) = failure { Arc::new(Noticed::new(|_| ())) } else { noticed };
            Ok(Box::new(Failing { inner: inotify(noticed)?, watched: Arc::clone(&plan.watched), failure })
                as AnyWatcher)
        };
        (Watch::with(path, noticed, Box::new(make), try_again_after), told)
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }
}

fn top() -> (TempDir, PathBuf) {
    let top = TempDir::new().unwrap();
    // The temporary folder may itself be reached through a link.
    let path = top.path().canonicalize().unwrap();
    write(path.join("m/sub/a.yaml"), "a");
    (top, path)
}

fn reason(watch: &Watch) -> &str {
    match watch.watching() {
        Watching::Polling { every, reason } => {
            assert_eq!(*every, POLL_EVERY);
            reason
        }
        Watching::Events => panic!("there are events"),
    }
}

#[test]
fn the_limit_of_instances_means_polling_until_it_is_raised() {
    let ((_top, path), plan) = (top(), Plan::default());
    plan.set(Some(Failure::Instances));
    let (mut watch, told) = plan.watch(path.join("m"), Duration::ZERO);
    assert!(reason(&watch).contains("max_user_instances"), "{}", reason(&watch));
    assert_eq!(watch.follow(&[]), None, "what was said is not said again");
    plan.set(None);
    assert_eq!(watch.follow(&[]), Some(&Watching::Events));
    assert_eq!(watch.follow(&[]), None);
    write(path.join("m/sub/b.yaml"), "b");
    told.recv_timeout(DEADLINE).expect("it is told to look");
}

#[test]
fn the_limit_of_watches_means_polling_even_when_it_is_met_later() {
    let ((_top, path), plan) = (top(), Plan::default());
    let left = Arc::new(AtomicUsize::new(50));
    plan.set(Some(Failure::Watches(Arc::clone(&left))));
    let (mut watch, told) = plan.watch(path.join("m"), Duration::ZERO);
    assert_eq!(watch.watching(), &Watching::Events);
    write(path.join("m/more/b.yaml"), "b");
    told.recv_timeout(DEADLINE).expect("it is told to look");
    left.store(0, Ordering::Relaxed);
    let news = watch.follow(&[]).cloned();
    assert!(matches!(news, Some(Watching::Polling { .. })));
    assert!(reason(&watch).contains("max_user_watches"), "{}", reason(&watch));
}

#[test]
fn events_are_not_tried_again_at_each_look() {
    let ((_top, path), plan) = (top(), Plan::default());
    plan.set(Some(Failure::Instances));
    let (mut watch, _told) = plan.watch(path.join("m"), TRY_AGAIN_AFTER);
    for _ in 0..10 {
        assert_eq!(watch.follow(&[]), None);
    }
    assert_eq!(plan.made(), 1);
}

#[test]
fn a_folder_that_cannot_be_watched_matters_where_a_change_in_it_would_go_unnoticed() {
    let ((_top, path), plan) = (top(), Plan::default());
    // In the tree: the look reports it, and the rest is watched.
    plan.set(Some(Failure::Denied(path.join("m/sub"))));
    let (mut watch, told) = plan.watch(path.join("m"), Duration::ZERO);
    assert_eq!(watch.watching(), &Watching::Events);
    watch.follow(&[]);
    write(path.join("m/other.yaml"), "b");
    told.recv_timeout(DEADLINE).expect("it is told to look");
    // The folder itself: a change of its mode is for the folder above to tell.
    plan.set(Some(Failure::Denied(path.join("m"))));
    let (watch, told) = plan.watch(path.join("m"), Duration::ZERO);
    assert_eq!(watch.watching(), &Watching::Events);
    fs::set_permissions(path.join("m"), fs::Permissions::from_mode(0o700)).unwrap();
    told.recv_timeout(DEADLINE).expect("it is told to look");
    // Above it: it can only be renamed.
    plan.set(Some(Failure::Denied(path.clone())));
    assert_eq!(plan.watch(path.join("m"), Duration::ZERO).0.watching(), &Watching::Events);
    // Above a link, and above what is missing.
    symlink("m", path.join("link")).unwrap();
    for watched in ["link", "missing", "missing/m"] {
        let (watch, _told) = plan.watch(path.join(watched), Duration::ZERO);
        assert!(reason(&watch).starts_with("cannot watch `/"), "{}", reason(&watch));
    }
}

#[test]
fn a_folder_that_appears_while_the_watches_are_made_is_watched() {
    let (_top, path) = top();
    for (watched, made) in [("", "missing/m"), ("m", "m/new"), ("m/sub", "m/sub/new/deep")] {
        let plan = Plan::default();
        let new = path.join(made);
        plan.set(Some(Failure::Race(path.join(watched), Arc::new(move || fs::create_dir_all(&new).unwrap()))));
        let folder = if made.starts_with("missing") { "missing/m" } else { "m" };
        let (_watch, told) = plan.watch(path.join(folder), Duration::ZERO);
        while told.try_recv().is_ok() {}
        write(path.join(made).join("a.yaml"), "a");
        told.recv_timeout(DEADLINE).expect("it is told to look");
    }
}

/// Watches nothing, and remembers what it was asked to.
struct Recorder(Arc<Mutex<Vec<(&'static str, PathBuf)>>>);

impl Watcher for Recorder {
    fn new<F: EventHandler>(_: F, _: Config) -> notify::Result<Self> {
        Err(notify::Error::generic("not made this way"))
    }

    fn watch(&mut self, path: &Path, _: RecursiveMode) -> notify::Result<()> {
        self.0.lock().unwrap().push(("watch", path.to_owned()));
        Ok(())
    }

    fn unwatch(&mut self, path: &Path) -> notify::Result<()> {
        self.0.lock().unwrap().push(("unwatch", path.to_owned()));
        Ok(())
    }

    fn kind() -> notify::WatcherKind {
        notify::WatcherKind::NullWatcher
    }
}

/// For the kernel a moved folder has one watch: were the one of the old path dropped last, there would be none, and no
/// event that tells so. Too narrow a race for `storm` to hit.
#[test]
fn a_folder_that_was_moved_unheard_is_dropped_at_its_old_path_before_it_is_watched_at_the_new() {
    let (_top, path) = top();
    let (old, new) = (path.join("m/sub"), path.join("m/new"));
    let calls = Arc::default();
    let mut watches = Watches::new(Box::new(Recorder(Arc::clone(&calls))));
    watches.arm(&old).unwrap();
    fs::rename(&old, &new).unwrap();
    watches.arm(&new).unwrap();
    watches.keep_only(|folder| folder == new);
    assert_eq!(*calls.lock().unwrap(), [("watch", old.clone()), ("unwatch", old), ("watch", new)]);
}

#[test]
fn folders_at_the_top_are_not_watched_while_the_way_goes_on() {
    let ((_top, path), plan) = (top(), Plan::default());
    let (_watch, _told) = plan.watch(path.join("m"), Duration::ZERO);
    let watched = plan.watched.lock().unwrap().clone();
    assert!(watched.contains(&path.join("m")));
    assert!(watched.iter().all(|folder| folder.components().count() > 2), "{watched:?}");
}

#[test]
fn watches_that_are_not_needed_any_more_are_given_back() {
    let ((_top, path), plan) = (top(), Plan::default());
    write(path.join("n/sub/a.yaml"), "a");
    symlink("m", path.join("link")).unwrap();
    let (mut watch, _told) = plan.watch(path.join("link"), Duration::ZERO);
    let below =
        |folder: &str| plan.watched.lock().unwrap().iter().filter(|it| it.starts_with(path.join(folder))).count();
    assert_eq!((below("m"), below("n")), (2, 0));
    swap(path.join("link"), "n");
    watch.follow(&[]);
    assert_eq!((below("m"), below("n")), (0, 2));
}

#[test]
fn after_lost_events_or_an_error_it_is_told_to_look_and_all_is_watched_anew() {
    let ((_top, path), plan) = (top(), Plan::default());
    let (mut watch, told) = plan.watch(path.join("m"), Duration::ZERO);
    let overflow = || Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan));
    let error = || Err(notify::Error::generic("broken"));
    for (lost, made) in [(overflow(), 2), (error(), 3)] {
        watch.noticed.hear(lost);
        told.recv_timeout(DEADLINE).expect("it is told to look");
        assert_eq!(watch.follow(&[]), None);
        assert_eq!(plan.made(), made);
        assert_eq!(watch.follow(&[]), None);
        assert_eq!(plan.made(), made, "once is enough");
        while told.try_recv().is_ok() {}
        write(path.join("m/sub/b.yaml"), "b");
        told.recv_timeout(DEADLINE).expect("it is told of changes again");
    }
}

#[test]
fn a_folder_that_was_replaced_unheard_is_watched_anew() {
    let ((_top, path), plan) = (top(), Plan::default());
    plan.set(Some(Failure::Deaf));
    let (mut watch, told) = plan.watch(path.join("m"), Duration::ZERO);
    plan.set(None);
    fs::rename(path.join("m/sub"), path.join("m/old")).unwrap();
    write(path.join("m/sub/a.yaml"), "a");
    watch.follow(&[]);
    assert_eq!(plan.made(), 2);
    while told.try_recv().is_ok() {}
    write(path.join("m/sub/b.yaml"), "b");
    told.recv_timeout(DEADLINE).expect("it is told of changes again");
}
