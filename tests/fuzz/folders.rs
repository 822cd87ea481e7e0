//! Folders: whatever an ignore file or git's own files hold, a look ends, and everybody else's manifests are still there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use truenorth::source::Folder;

use super::{assert_shown, rounds};

const MANIFEST: &str = "apiVersion: truenorth/v1\nkind: ServiceDeployment\nmetadata: {projectId: shop, serviceId: NAME}\nspec: \
                        {external: {imagePath: 'nginx:1.27'}}\n";

fn write(folder: &Path, name: &str) {
    fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
    let service = name.rsplit('/').next().unwrap().trim_end_matches(".yaml");
    fs::write(folder.join(name), MANIFEST.replace("NAME", service)).unwrap();
}

#[test]
fn any_ignore_file_leaves_the_manifests_beside_its_folder_alone() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), "kept.yaml");
    for name in ["a/one.yaml", "a/b/two.yaml", "a/b/c/three.yaml"] {
        write(folder.path(), name);
    }
    let seeds: [&[u8]; 3] = [b"/b/\n*.yaml\n!two.yaml\n", b"# all\n**/c/**\n[a-c]?e.yaml\n", b"a\\ b\n/*\n!/b\n"];
    rounds(400, |round, mutator| {
        let seed = *mutator.one(&seeds);
        fs::write(folder.path().join("a/.truenorthignore"), mutator.changed(seed, &seeds)).unwrap();
        let snapshot = Folder::new(folder.path()).look().unwrap();
        let kept = snapshot.desired.keys().any(|key| key.to_string() == "shop/kept");
        assert!(kept, "round {round}: {:?}", snapshot.problems);
        assert!(snapshot.desired.len() <= 4 && snapshot.problems.len() <= 10, "round {round}");
        for problem in &snapshot.problems {
            assert_shown(&truenorth::manifest::Drawing::default().of(problem, "a/.truenorthignore"));
        }
    });
}

#[test]
fn any_git_folder_is_read_to_an_end() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), "kept.yaml");
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"];
        let ran = Command::new("git").current_dir(folder.path()).args(identity).args(arguments).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message", "x"]);
    git(&["pack-refs", "--all"]);
    let files: Vec<(PathBuf, Vec<u8>)> =
        ["HEAD", "config", "packed-refs", "index", "refs/heads/x", "objects/info/alternates", "commondir"]
            .map(|name| folder.path().join(".git").join(name))
            .map(|path| (path.clone(), fs::read(&path).unwrap_or_default()))
            .into();
    let others: Vec<&[u8]> = files.iter().map(|(_, bytes)| bytes.as_slice()).collect();
    let mut read = 0;
    rounds(300, |round, mutator| {
        let (path, bytes) = mutator.one(&files);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, mutator.changed(bytes, &others)).unwrap();
        match Folder::new(folder.path()).look_within(Duration::ZERO) {
            Ok(snapshot) => {
                read += 1;
                assert!(snapshot.desired.len() <= 1, "round {round}");
                assert_shown(&snapshot.revision.to_string());
            }
            // What git has not finished holds the folder; it says so in words that can be shown.
            Err(error) => assert_shown(&truenorth::text::printable(&truenorth::error::chain(&error)).to_string()),
        }
        match bytes.is_empty() {
            true => fs::remove_file(path).unwrap(),
            false => fs::write(path, bytes).unwrap(),
        }
    });
    assert!(read > 50, "{read} of the folders could be read");
}
