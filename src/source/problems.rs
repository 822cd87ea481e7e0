//! What can be wrong with a folder, its files and its links, before anything in them is read.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::ignored::IGNORE_FILE;
use super::unreadable::Broken;
use crate::manifest::Problem;

const LEAVE_OUT: &str = "remove it, or name it in .truenorthignore";

pub(super) fn not_a_manifest(path: &Path) -> Problem {
    let hint = "move it elsewhere, or name it in .truenorthignore";
    of(path, "the file is not a manifest: expected .yaml, .yml or .json", hint)
}

pub(super) fn not_plain(path: &Path, kind: &str) -> Problem {
    of(path, format!("this is {kind}, not a file of manifests"), LEAVE_OUT)
}

pub(super) fn link_out(path: &Path) -> Problem {
    let hint = "copy what it leads to into the folder, or name the link in .truenorthignore";
    of(path, "the link leads out of the manifests folder", hint)
}

pub(super) fn dangling(path: &Path) -> Problem {
    of(path, "the link leads to nothing", "remove the link, or name it in .truenorthignore")
}

/// A link in a folder to that folder or one above; the manifests folder itself is `.`.
pub(super) fn circle(path: &Path, start: &Path) -> Problem {
    let start = if start.as_os_str().is_empty() { ".".into() } else { shown(start) };
    let message = format!("the link runs in a circle: it leads back to `{start}`");
    of(path, message, "remove the link, or name it in .truenorthignore")
}

pub(super) fn too_deep(path: &Path, most: usize) -> Problem {
    let message = format!("the folder lies more than {most} folders deep; nothing in it is read");
    of(path, message, "move it up, or name it in .truenorthignore")
}

pub(super) fn too_many(path: &Path, most: usize) -> Problem {
    let message = format!(
        "there are more than {} files and folders in the manifests folder, and this folder holds the most; nothing in it \
         is read",
        grouped(most)
    );
    of(path, message, "move what is not a manifest elsewhere, or name it in .truenorthignore")
}

pub(super) fn path_too_long(path: &Path, most: usize) -> Problem {
    let message = format!("its path from the manifests folder is longer than {most} bytes");
    of(path, message, "shorten the names, or name it in .truenorthignore")
}

pub(super) fn too_large(path: &Path, most: usize) -> Problem {
    let message = format!("the file is larger than {} KiB, the most that a file of manifests may have", most / 1024);
    of(path, message, "split it into several files")
}

pub(super) fn too_much(path: &Path, most: u64) -> Problem {
    let message = format!(
        "the files in the manifests folder hold more than {} MiB in all, and this is one of the largest; it is not read",
        most / 1024 / 1024
    );
    of(path, message, "shorten it, or name files in .truenorthignore and run another truenorth for them")
}

pub(super) fn ignore_file(path: &Path, wrong: &str) -> Problem {
    let message = format!("{wrong}; everything in its folder is left out until it is fixed");
    of(path, message, "fix or remove it; its patterns are those of a .gitignore")
}

/// Stands for all problems beyond those that are shown.
pub(super) fn more(count: usize) -> Problem {
    let problems = if count == 1 { "problem" } else { "problems" };
    let message = format!("and {} more {problems} in the folder", grouped(count));
    of(Path::new("."), message, "fix those that are shown; the others are shown then")
}

/// A number with a comma after each three digits.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The file or folder that a problem keeps from being read: that of an ignore file is a problem of its folder.
pub(super) fn scope(problem: &Problem) -> &str {
    match problem.file.strip_suffix(IGNORE_FILE) {
        Some("") => "",
        Some(folder) => folder.strip_suffix('/').unwrap_or(&problem.file),
        None => &problem.file,
    }
}

/// A folder or file that could not be read. One that is gone is not a problem: it vanished while the folder was read,
/// which is then read again.
pub(super) fn of_failure(path: &Path, error: &io::Error) -> Result<Problem, Broken> {
    if error.kind() == io::ErrorKind::NotFound { Err(Broken::Changed) } else { Ok(unreadable(path, error)) }
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "let the user that runs truenorth read it",
        _ => "see to its disk or mount, or name it in .truenorthignore",
    };
    of(path, format!("it cannot be read: {error}"), hint)
}

fn of(path: &Path, message: impl Into<String>, hint: &str) -> Problem {
    Problem::of_file(&shown(path), message, hint)
}

/// A path as reports show it: with what is not UTF-8 replaced.
pub(super) fn shown(path: &Path) -> Arc<str> {
    path.to_string_lossy().into()
}
