//! After any storm of changes, looked at in its midst, every folder is watched.

use super::*;

/// Names so few that what comes often takes the place of what went.
const NAMES: [&str; 4] = ["a", "b", ".c", "d"];

fn somewhere(random: &mut fastrand::Rng, top: &Path) -> PathBuf {
    let mut path = top.to_owned();
    for _ in 0..random.usize(1..5) {
        path.push(NAMES[random.usize(..NAMES.len())]);
    }
    path
}

/// Most of it fails, since the paths are random: so it is with a storm.
fn something_happens(random: &mut fastrand::Rng, top: &Path) {
    let path = somewhere(random, top);
    match random.u8(..10) {
        0..4 => drop(fs::create_dir_all(path)),
        4..7 => drop(fs::rename(path, somewhere(random, top))),
        7 => drop(fs::remove_dir_all(path)),
        8 => drop(symlink(somewhere(random, top), path)),
        _ => drop(fs::remove_file(path)),
    }
}

/// All folders whose files are read: those that are not hidden, also where links inside of the folder lead.
fn folders(folder: &Path, root: &Path, found: &mut Vec<PathBuf>) {
    let Ok(folder) = folder.canonicalize() else { return };
    if !folder.starts_with(root) || !folder.is_dir() || found.contains(&folder) {
        return;
    }
    found.push(folder.clone());
    for entry in fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        if !is_hidden(&entry.file_name()) {
            folders(&entry.path(), root, found);
        }
    }
}

#[test]
fn after_a_storm_every_folder_is_watched() {
    for seed in 0..12 {
        let mut random = fastrand::Rng::with_seed(seed);
        let watched = ["a", "a/b", "d/a/b"][random.usize(..3)];
        let mut lookout = Lookout::over(watched, |_| {});
        for _ in 0..5 {
            for _ in 0..40 {
                something_happens(&mut random, &lookout.top.path().canonicalize().unwrap());
                if random.u8(..8) == 0 {
                    lookout.watch.follow(&[]);
                }
            }
            // Only as often as a caller would: when it is told.
            while lookout.told_by_now() > 0 {
                lookout.watch.follow(&[]);
            }
            let mut found = Vec::new();
            if let Ok(root) = lookout.path(watched).canonicalize() {
                folders(&root, &root, &mut found);
            }
            for folder in found {
                fs::write(folder.join("probe.yaml"), "probe").unwrap();
                assert!(lookout.told_by_now() > 0, "seed {seed}: {} is not watched", folder.display());
                fs::remove_file(folder.join("probe.yaml")).unwrap();
                while lookout.told_by_now() > 0 {
                    lookout.watch.follow(&[]);
                }
            }
        }
    }
}
