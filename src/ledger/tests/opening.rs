//! Opening: the folder, the lock, and files that must stay as they are.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::ledger::{End, HistoryEntry, Holder, OpenError, Reader, open as opening, schema};
use crate::model::Diagnostic;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn a_new_folder_is_for_its_owner_alone_and_so_are_its_files() {
    let top = folder();
    let dir = top.path().join("a/b");
    let ledger = open(&dir);
    ledger.intend(intent("shop/web", "1")).await.unwrap();
    assert_eq!(mode(&dir), 0o700);
    for file in ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", "ledger.lock"] {
        assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
    }
}

#[test]
fn a_folder_that_holds_only_the_ledger_is_closed_and_a_shared_one_is_left_alone() {
    let ours = folder();
    fs::set_permissions(ours.path(), fs::Permissions::from_mode(0o755)).unwrap();
    drop(open(ours.path()));
    assert_eq!(mode(ours.path()), 0o700);
    fs::set_permissions(ours.path(), fs::Permissions::from_mode(0o2750)).unwrap();
    drop(open(ours.path()));
    assert_eq!(mode(ours.path()), 0o2700);

    let shared = folder();
    fs::write(shared.path().join("notes.txt"), "not ours").unwrap();
    fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let ledger = open(shared.path());
    assert_eq!(mode(shared.path()), 0o755);
    assert_eq!(mode(&shared.path().join("ledger.sqlite")), 0o600);
    drop(ledger);
}

/// Opens a folder that others have a hand in, and checks that nothing in it was changed.
fn refuse_folder(dir: &Path, fits: fn(&OpenError) -> bool) {
    let before = contents(dir);
    let error = Ledger::open(dir, here(), at(0)).unwrap_err();
    assert!(fits(&error) && error.hint().is_some() && !error.is_passing(), "{error:?}");
    assert!(contents(dir) == before);
}

#[test]
fn a_folder_that_others_may_write_to_is_refused_save_those_of_our_group() {
    let shared = folder();
    fs::write(shared.path().join("notes.txt"), "not ours").unwrap();
    let others_write = |error: &OpenError| matches!(error, OpenError::OthersWrite { .. });
    for open_to_all in [0o1777, 0o777, 0o702] {
        fs::set_permissions(shared.path(), fs::Permissions::from_mode(open_to_all)).unwrap();
        refuse_folder(shared.path(), others_write);
    }
    // Also where nothing but the ledger is in it: somebody else may have put it there.
    let alone = folder();
    for _ in 0..2 {
        fs::set_permissions(alone.path(), fs::Permissions::from_mode(0o777)).unwrap();
        refuse_folder(alone.path(), others_write);
        fs::set_permissions(alone.path(), fs::Permissions::from_mode(0o755)).unwrap();
        drop(open(alone.path()));
    }
    // As Kubernetes mounts a volume with an fsGroup.
    for of_our_group in [0o2775, 0o770] {
        fs::set_permissions(shared.path(), fs::Permissions::from_mode(of_our_group)).unwrap();
        drop(open(shared.path()));
    }
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(shared.path(), None, Some(54321)).unwrap();
        refuse_folder(shared.path(), others_write);
        std::os::unix::fs::chown(shared.path(), Some(54321), None).unwrap();
        refuse_folder(shared.path(), |error| matches!(error, OpenError::NotOurs { owner: 54321, .. }));
    }
}

#[test]
fn links_and_files_of_others_are_not_taken_for_the_ledger() {
    let elsewhere = folder();
    drop(open(elsewhere.path()));
    for name in [
        "ledger.sqlite",
        "ledger.lock",
        "ledger.mark",
        "ledger.bell",
        "ledger.sqlite-wal",
        "ledger.sqlite-shm",
        "ledger.sqlite-journal",
    ] {
        let dir = folder();
        let target = elsewhere.path().join(name);
        fs::write(elsewhere.path().join("somebody-elses"), "precious").unwrap();
        let target = if target.exists() { target } else { elsewhere.path().join("somebody-elses") };
        symlink(&target, dir.path().join(name)).unwrap();
        let before = fs::read(&target).unwrap();
        let is_link = |error: &OpenError| matches!(error, OpenError::Link { .. });
        let error = Ledger::open(dir.path(), here(), at(0)).unwrap_err();
        assert!(is_link(&error) && error.to_string().contains(name), "{error:?}");
        assert!(is_link(&Reader::open(dir.path()).unwrap_err()), "{name}");
        assert!(fs::read(&target).unwrap() == before);
    }
    if rustix::process::geteuid().is_root() {
        let dir = folder();
        drop(open(dir.path()));
        std::os::unix::fs::chown(dir.path().join("ledger.sqlite"), Some(54321), None).unwrap();
        refuse_folder(dir.path(), |error| matches!(error, OpenError::NotOurs { owner: 54321, .. }));
    }
}

#[test]
fn what_is_no_file_in_place_of_the_ledgers_is_refused_and_not_waited_for() {
    for name in ["ledger.sqlite", "ledger.lock", "ledger.mark", "ledger.bell", "ledger.sqlite-wal"] {
        let dir = folder();
        let path = dir.path().join(name);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let error = Ledger::open(dir.path(), here(), at(0)).unwrap_err();
        assert!(
            matches!(&error, OpenError::Foreign { path: found } if *found == path.canonicalize().unwrap()),
            "{error:?}"
        );
        assert!(Reader::open(dir.path()).is_err(), "{name}");
    }
}

#[test]
fn files_that_others_could_read_are_closed() {
    let dir = folder();
    drop(open(dir.path()));
    fs::write(dir.path().join("notes.txt"), "not ours").unwrap();
    let names = ["ledger.sqlite", "ledger.lock", "ledger.mark", "ledger.bell"];
    fs::write(dir.path().join("ledger.bell"), "").unwrap();
    for name in names {
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o664)).unwrap();
    }
    drop(open(dir.path()));
    for name in names {
        assert_eq!(mode(&dir.path().join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_second_writer_is_told_who_has_it_until_the_first_one_lets_go() {
    let dir = folder();
    let ledger = open(dir.path());
    let error = Ledger::open(dir.path(), here(), at(0)).unwrap_err();
    assert!(matches!(&error, OpenError::InUse { pid, .. } if *pid == Some(std::process::id())), "{error:?}");
    assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
    let through_a_link = dir.path().with_extension("link");
    symlink(dir.path(), &through_a_link).unwrap();
    assert!(matches!(Ledger::open(&through_a_link, here(), at(0)), Err(OpenError::InUse { .. })));
    fs::remove_file(through_a_link).unwrap();

    let reader = Reader::open(dir.path()).unwrap().unwrap();
    assert_eq!(reader.holder().unwrap(), Some(Holder { pid: Some(std::process::id()), writes: true }));
    drop(ledger);
    assert_eq!(reader.holder().unwrap(), None);
    drop(open(dir.path()));
}

#[test]
fn a_lock_file_that_is_left_behind_locks_nothing() {
    let dir = folder();
    drop(open(dir.path()));
    fs::write(dir.path().join("ledger.lock"), "4194304999\n").unwrap();
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    assert_eq!(reader.holder().unwrap(), None);
    let ledger = open(dir.path());
    assert_eq!(reader.holder().unwrap(), Some(Holder { pid: Some(std::process::id()), writes: true }));
    drop(ledger);
}

#[test]
fn where_there_can_be_no_folder_it_says_so() {
    let dir = folder();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(Ledger::open(&file, here(), at(0)), Err(OpenError::NotAFolder { path }) if path == file));
    assert!(matches!(Reader::open(&file), Err(OpenError::NotAFolder { .. })));
    let below = file.join("state");
    let error = Ledger::open(&below, here(), at(0)).unwrap_err();
    assert!(matches!(&error, OpenError::NotAFolder { path } if *path == below), "{error:?}");
    let cannot = Path::new("/proc/truenorth");
    let error = Ledger::open(cannot, here(), at(0)).unwrap_err();
    assert!(matches!(&error, OpenError::Folder { action: "make", path, .. } if path == cannot), "{error:?}");
    assert!(error.hint().is_some());
}

#[test]
fn a_folder_without_write_permission_is_a_clear_error() {
    if rustix::process::geteuid().is_root() {
        // Permissions do not stop root; a file system that takes no files does.
        let error = Ledger::open(Path::new("/proc/self"), here(), at(0)).unwrap_err();
        assert!(matches!(&error, OpenError::File { action: "open for writing", .. }), "{error:?}");
        return;
    }
    let dir = folder();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let error = Ledger::open(dir.path(), here(), at(0)).unwrap_err();
    assert!(matches!(&error, OpenError::File { action: "open for writing", .. }), "{error:?}");
}

/// Opens what is there, and checks that the error fits and no byte of the folder has changed.
fn refuse(dir: &Path, what: &str, fits: fn(&OpenError) -> bool) {
    let before = contents(dir);
    let error = Ledger::open(dir, here(), at(0)).unwrap_err();
    assert!(fits(&error), "{what}: {error:?}");
    assert!(error.to_string().contains("ledger.sqlite"), "{what}: {error}");
    assert!(error.hint().is_some(), "{what}");
    let error = Reader::open(dir).map(drop).unwrap_err();
    assert!(fits(&error), "{what}, to read: {error:?}");
    assert_eq!(contents(dir), before, "{what}");
}

fn is_corrupt(error: &OpenError) -> bool {
    matches!(error, OpenError::Corrupt { .. })
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_as_it_is() {
    let whole = folder();
    let ledger = open(whole.path());
    for n in 0..300 {
        ledger.adopt(adoption(&format!("shop/web-{n}"), "1")).await.unwrap();
    }
    drop(ledger);
    let bytes = fs::read(whole.path().join("ledger.sqlite")).unwrap();
    let page_two_on = vec![0x5a; bytes.len() - 4096];
    let damages: [(&str, Vec<u8>); 6] = [
        ("a few bytes", b"not a ledger".to_vec()),
        ("text", "kind: ServiceDeployment\n".repeat(1000).into_bytes()),
        ("zeros, as after a power loss", vec![0; 8192]),
        ("the first half", bytes[..bytes.len() / 2 / 4096 * 4096].to_vec()),
        ("not even a page", bytes[..1000].to_vec()),
        ("a header alone", bytes[..100].to_vec()),
    ];
    for (what, damaged) in damages {
        let dir = folder();
        fs::write(dir.path().join("ledger.sqlite"), damaged).unwrap();
        refuse(dir.path(), what, is_corrupt);
    }

    let dir = folder();
    fs::write(dir.path().join("ledger.sqlite"), [&bytes[..4096], &page_two_on].concat()).unwrap();
    let before = contents(dir.path());
    let error = Ledger::open(dir.path(), here(), at(0)).unwrap_err();
    assert!(is_corrupt(&error), "garbage behind a whole header: {error:?}");
    assert_eq!(contents(dir.path()), before);
    assert!(is_corrupt(&Reader::open(dir.path()).unwrap_err()));
}

#[tokio::test]
async fn damage_in_history_is_an_error_when_it_is_read() {
    let dir = folder();
    let ledger = open(dir.path());
    send(&ledger, "shop/web", &"x".repeat(50_000), ACCEPTED).await;
    drop(ledger);
    let store = dir.path().join("ledger.sqlite");
    let mut bytes = fs::read(&store).unwrap();
    // The chain of pages that holds the long spec leads out of the file. Behind it are those of the request that was out,
    // which are free by now.
    let end = bytes.len() - 14 * 4096;
    for page in bytes[end - 6 * 4096..end].chunks_mut(4096) {
        page[..4].fill(0xff);
    }
    fs::write(&store, bytes).unwrap();
    let ledger = open(dir.path());
    assert!(known(&ledger, "shop/web").and_then(|known| known.digest()).is_some());
    assert!(ledger.reader().history(None, 10).is_err());
    assert!(ledger.reader().applied(&key("shop/web")).is_err());
}

#[test]
fn a_log_without_its_store_is_not_thrown_away() {
    for store in [None, Some("")] {
        let dir = folder();
        if let Some(content) = store {
            fs::write(dir.path().join("ledger.sqlite"), content).unwrap();
        }
        fs::write(dir.path().join("ledger.sqlite-wal"), "calls that were made").unwrap();
        refuse(dir.path(), "a log alone", is_corrupt);
    }
}

#[test]
fn an_empty_file_is_a_new_ledger_and_so_is_one_that_a_crash_left_half_made() {
    let dir = folder();
    fs::write(dir.path().join("ledger.sqlite"), "").unwrap();
    for left in ["ledger.sqlite.new", "ledger.sqlite.new-journal", "ledger.sqlite.new-wal", "ledger.sqlite-wal"] {
        fs::write(dir.path().join(left), if left.ends_with("sqlite-wal") { "" } else { "half" }).unwrap();
    }
    drop(open(dir.path()));
    let files: Vec<_> = contents(dir.path()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(files, ["ledger.sqlite"]);
    assert_eq!(mode(&dir.path().join("ledger.sqlite")), 0o600);
}

#[test]
fn the_file_of_another_program_is_refused_and_left_as_it_is() {
    for journal in ["delete", "wal"] {
        let dir = folder();
        let other = Connection::open(dir.path().join("ledger.sqlite")).unwrap();
        other.pragma_update_and_check(None, "journal_mode", journal, |_| Ok(())).unwrap();
        other.execute_batch("CREATE TABLE accounts (owner TEXT); INSERT INTO accounts VALUES ('anna')").unwrap();
        drop(other);
        refuse(dir.path(), journal, |error| matches!(error, OpenError::Foreign { .. }));
    }
    let dir = folder();
    fs::create_dir(dir.path().join("ledger.sqlite")).unwrap();
    assert!(matches!(Ledger::open(dir.path(), here(), at(0)), Err(OpenError::Foreign { .. })));
}

#[test]
fn a_newer_ledger_is_refused_and_left_as_it_is() {
    let dir = folder();
    drop(open(dir.path()));
    let store = dir.path().join("ledger.sqlite");
    let newer = Connection::open(&store).unwrap();
    newer.pragma_update(None, "user_version", 1000).unwrap();
    newer.close().unwrap();
    let is_newer = |error: &OpenError| matches!(error, OpenError::Newer { found: 1000, .. });
    refuse(dir.path(), "settled", is_newer);
}

#[test]
fn a_newer_ledger_that_crashed_is_told_by_its_log() {
    let dir = folder();
    drop(open(dir.path()));
    let newer = Connection::open(dir.path().join("ledger.sqlite")).unwrap();
    newer.pragma_update(None, "user_version", 1000).unwrap();
    let crashed = crash_copy(dir.path());
    fs::remove_file(crashed.path().join("ledger.sqlite-shm")).unwrap();
    let before = contents(crashed.path());
    let error = Ledger::open(crashed.path(), here(), at(0)).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 1000, .. }), "{error:?}");
    let mut after = contents(crashed.path());
    // The log's index is made to read it, and made anew by everybody who comes after a crash.
    after.retain(|(name, _)| name != "ledger.sqlite-shm");
    assert_eq!(after, before);
}

/// A ledger as truenorth 0.1 left it. Never edited: a new format gets a fixture of its own beside it.
const FORMAT_1: &str = include_str!("ledger-v1.sql");

#[tokio::test]
async fn a_ledger_of_format_1_opens_with_all_that_it_holds() {
    let dir = folder();
    let old = Connection::open(dir.path().join("ledger.sqlite")).unwrap();
    old.execute_batch(FORMAT_1).unwrap();
    old.close().unwrap();
    let ledger = open(dir.path());
    let applied_digest = Digest::from_bytes([0xab; 32]);
    let known_now = ledger.reader().known().unwrap();
    assert_eq!(known_now.len(), 2);
    assert_eq!(known_now[&key("shop/web")].digest(), Some(applied_digest));
    assert_eq!(known_now[&key("acme/shop/api")], Known::InDoubt);
    let record = ledger.reader().applied(&key("shop/web")).unwrap().unwrap();
    assert_eq!(record.place.to_string(), "shop/web.yaml:3");
    assert_eq!(ledger.reader().pause().unwrap().unwrap().reason, "rate limit");
    assert_eq!(ledger.reader().history(None, 100).unwrap().len(), 7);
    send(&ledger, "acme/shop/api", "2", ACCEPTED).await;
    assert_eq!(known(&ledger, "acme/shop/api"), applied("acme/shop/api", "2"));
}

/// A ledger as the release before formats had marks left it: 12 calls of three services, the last of them unsent.
const FORMAT_2: &str = include_str!("ledger-v2.sql");

#[test]
fn a_ledger_of_format_2_is_read_as_it_is_and_opens_with_all_that_it_holds() {
    let dir = folder();
    let old = Connection::open(dir.path().join("ledger.sqlite")).unwrap();
    old.execute_batch(FORMAT_2).unwrap();
    old.close().unwrap();
    let before = contents(dir.path());
    let look = |reader: &Reader| {
        let known = reader.known().unwrap();
        let (mut services, mut specs) = (reader.services().unwrap(), Vec::from_iter(reader.specs().unwrap()));
        services.sort();
        specs.sort();
        let marks = reader.marks().unwrap().len();
        let (live, quota) = (reader.sightings().unwrap().len(), reader.quota().unwrap());
        (known, services, specs, marks, live, quota, reader.place().unwrap())
    };
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    let old = look(&reader);
    let old_history = reader.history(None, 100).unwrap();
    drop(reader);
    assert_eq!(contents(dir.path()), before, "to read it changes nothing");
    assert!(old.0.values().all(|known| matches!(known, Known::Applied(_))) && old.0.len() == 3, "{old:?}");
    assert!(old.2.contains(&(key("shop/web"), r#"{"external":{"imagePath":"ghcr.io/acme/web:8"}}"#.to_owned())));
    assert_eq!((old.3, old_history.len(), old.6.is_none()), (3, 12, true));

    let ledger = open(dir.path());
    assert_eq!(look(ledger.reader()), old, "nothing is mistrusted because it was moved to the new format");
    let history = ledger.reader().history(None, 100).unwrap();
    let bodies = history.iter().filter(|entry| entry.spec.is_some()).count();
    assert_eq!((history.len(), bodies), (12, 5 + 2 + 1), "the newest five of web, and all of the others");
    for (entry, old) in history.iter().zip(&old_history) {
        let spec = entry.spec.as_ref().or(old.spec.as_ref());
        let before = old.before.clone();
        assert_eq!(&HistoryEntry { spec: spec.cloned(), before, ..entry.clone() }, old);
    }
    drop(ledger);
    let ledger = open(dir.path());
    assert_eq!(look(ledger.reader()), old);
}

/// Asks everything that can be asked of a ledger.
fn ask_everything(reader: &Reader) {
    let web = key("shop/web");
    let none = Digest::from_bytes([0; 32]);
    reader.known().unwrap();
    reader.applied(&web).unwrap();
    reader.marks().unwrap();
    reader.files().unwrap();
    reader.services().unwrap();
    reader.specs().unwrap();
    reader.history(None, 9).unwrap();
    reader.newest().unwrap();
    reader.pause().unwrap();
    reader.unnamed().unwrap();
    reader.sightings().unwrap();
    reader.kind(&web).unwrap();
    reader.corrections(at(0)).unwrap();
    reader.kept_quota().unwrap();
    reader.open_calls().unwrap();
    reader.rollouts().unwrap();
    reader.last_good(&web, none).unwrap();
    reader.body(&web, none).unwrap();
    reader.quarantines().unwrap();
    reader.states().unwrap();
    reader.unsettled().unwrap();
    reader.others(&web).unwrap();
    reader.unread().unwrap();
    reader.fuse(None).unwrap();
    reader.newest_decisions(Some(&web), 9).unwrap();
    reader.turned().unwrap();
    reader.people().unwrap();
    reader.requests(Some(&web), 9).unwrap();
    reader.place().unwrap();
}

#[test]
fn a_ledger_of_every_earlier_format_answers_everything_as_it_is_and_once_it_is_opened() {
    for format in 1..schema::STEPS.len() {
        let dir = folder();
        let mut old = Connection::open(dir.path().join("ledger.sqlite")).unwrap();
        schema::migrate(&mut old, &schema::STEPS[..format]).unwrap();
        old.execute_batch("INSERT INTO service (id, name) VALUES (1, 'shop/web')").unwrap();
        old.close().unwrap();
        ask_everything(&Reader::open(dir.path()).unwrap().unwrap());
        let ledger = open(dir.path());
        assert_eq!(ledger.reader().services().unwrap(), [key("shop/web")], "{format}");
        ask_everything(ledger.reader());
    }
}

/// Until format 9 a way out stood behind the message.
#[test]
fn a_hint_of_a_ledger_of_format_9_becomes_a_part_of_its_own() {
    let dir = folder();
    let mut old = Connection::open(dir.path().join("ledger.sqlite")).unwrap();
    schema::migrate(&mut old, &schema::STEPS[..9]).unwrap();
    old.execute_batch(
        "INSERT INTO service (id, name) VALUES (1, 'shop/web');
        INSERT INTO call (service, digest, cause, revision, file, line, attempt, began_at, ended_at, outcome, message)
            VALUES (1, zeroblob(32), 'new', 'dir:1', 'web.yaml', 1, 1, 0, 0, 'unsent', 'no; hint: go on'),
                (1, zeroblob(32), 'new', 'dir:1', 'web.yaml', 1, 2, 0, 0, 'unsent', 'no');
        INSERT INTO live (service, read_at, failure) VALUES (1, 0, 'unread; hint: allow it');
        INSERT INTO state (name, state, since, reason) VALUES ('shop/web', 'stalled', 0, 'refused; hint: correct it');
        INSERT INTO states_of (only_one, at, adopt, drift, reserve) VALUES (1, 0, 'matching', 'report', 10)",
    )
    .unwrap();
    old.close().unwrap();
    assert_eq!(Reader::open(dir.path()).unwrap().unwrap().history(None, 9).unwrap().len(), 2, "it is read as it is");
    let ledger = open(dir.path());
    let ends = ledger.reader().history(None, 9).unwrap().into_iter().map(|entry| entry.end);
    let unsent = |error: Diagnostic| End::Recorded { outcome: Outcome::Unsent { error }, at: Timestamp::UNIX_EPOCH };
    assert_eq!(Vec::from_iter(ends), [unsent("no".into()), unsent(Diagnostic::from("no").with_hint("go on"))]);
    let sighting = ledger.reader().sightings().unwrap().remove(&key("shop/web")).unwrap();
    assert_eq!(sighting.failure, Some(Diagnostic::from("unread").with_hint("allow it")));
    let states = ledger.reader().states().unwrap().unwrap();
    assert_eq!(states.of[&key("shop/web")].reason, Some(Diagnostic::from("refused").with_hint("correct it")));
}

#[test]
fn the_steps_that_a_store_lacks_are_carried_out_once_each() {
    let mut store = Connection::open_in_memory().unwrap();
    let first = "CREATE TABLE a (x); INSERT INTO a VALUES (1)";
    let second = "ALTER TABLE a ADD COLUMN y; UPDATE a SET y = x + 1";
    assert!(schema::migrate(&mut store, &[first]).unwrap());
    assert!(schema::migrate(&mut store, &[first, second]).unwrap());
    assert!(!schema::migrate(&mut store, &[first, second]).unwrap());
    assert_eq!(store.query_row("SELECT sum(y) FROM a", [], |row| row.get::<_, i64>(0)).unwrap(), 2);
    assert_eq!(schema::identity(&store).unwrap(), (schema::APPLICATION_ID, 2));

    let broken = "CREATE TABLE b (x); INSERT INTO nowhere VALUES (1)";
    assert!(schema::migrate(&mut store, &[first, second, broken]).is_err());
    assert_eq!(schema::identity(&store).unwrap().1, 2, "a step that fails leaves the format before it");
    assert!(store.execute_batch("SELECT * FROM b").is_err());
}

#[test]
fn a_name_that_a_url_would_read_otherwise_is_the_same_file_both_ways() {
    let top = folder();
    let dir = top.path().join("wh y?immutable=0#%41 ü");
    drop(open(&dir));
    let store = dir.join("ledger.sqlite");
    let alone = opening::immutable(&store).unwrap();
    assert_eq!(schema::identity(&alone).unwrap(), (schema::APPLICATION_ID, schema::newest(schema::STEPS)));
    drop(open(&dir));
}
