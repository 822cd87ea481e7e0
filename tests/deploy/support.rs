//! Files of the project, YAML values, and what several of the shipped files must agree on.

use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_yaml::Value;

/// A path in the project, from its top.
pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A file of the project.
#[track_caller]
pub(crate) fn text(path: &str) -> String {
    std::fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All documents of a YAML file of the project.
#[track_caller]
pub(crate) fn documents(path: &str) -> Vec<Value> {
    let text = text(path);
    let all = serde_yaml::Deserializer::from_str(&text).map(Value::deserialize);
    all.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The value at a path of keys that are joined by dots; null where there is none.
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, key| value.get(key).unwrap_or(&Value::Null))
}

/// A list of strings; nothing where there is no list.
pub(crate) fn strings(value: &Value) -> Vec<&str> {
    value.as_sequence().into_iter().flatten().map(|item| item.as_str().unwrap()).collect()
}

/// What an argument of the form `--option=value` gives to an option.
#[track_caller]
pub(crate) fn argument<'a>(arguments: &[&'a str], option: &str) -> &'a str {
    let value = |argument: &&'a str| argument.strip_prefix(option)?.strip_prefix('=');
    arguments.iter().find_map(value).unwrap_or_else(|| panic!("no {option} in {arguments:?}"))
}

/// Checks that an image is named by a tag that says which one it is.
#[track_caller]
pub(crate) fn assert_pinned(image: &str) {
    let (_, name) = image.rsplit_once('/').unwrap_or(("", image));
    let tag = name.split_once(':').map(|(_, tag)| tag);
    assert!(
        tag.is_some_and(|tag| !tag.is_empty() && tag != "latest"),
        "`{image}` has no tag that says which image it is"
    );
}

/// Checks that an image of our own has the version of this checkout.
#[track_caller]
pub(crate) fn assert_ours(image: &str) {
    let expected = concat!("truenorth:", env!("CARGO_PKG_VERSION"));
    assert!(image.rsplit('/').next() == Some(expected), "`{image}` is not {expected}");
}

/// What git-sync calls its options, as far as they are used here. It ends at one that it does not know.
const GIT_SYNC: [&str; 9] =
    ["--repo", "--ref", "--root", "--link", "--period", "--max-failures", "--depth", "--username", "--password-file"];

/// Checks git-sync's arguments, and that truenorth reads through the link that git-sync swaps.
#[track_caller]
pub(crate) fn assert_swapped_link(git_sync: &[&str], truenorth: &[&str]) {
    for given in git_sync {
        let option = given.split('=').next().unwrap();
        assert!(GIT_SYNC.contains(&option), "git-sync has no {option}");
    }
    let link = format!("{}/{}/", argument(git_sync, "--root"), argument(git_sync, "--link"));
    let manifests = argument(truenorth, "--manifests");
    assert!(manifests.starts_with(&link), "{manifests} is not below {link}");
}
