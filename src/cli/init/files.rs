//! The files that `truenorth init` writes beside the manifests. A file that is there already stays as it is.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::{Runs, Wanted, is_plain, unwritable};
use crate::manifest;
use crate::model::project_path;
use crate::text::printable;

/// The JSON Schema of the manifests, at the top of their folder; hidden, so that it is not read as a manifest.
pub(super) const SCHEMA: &str = ".truenorth.schema.json";

const IGNORE: &str = ".truenorthignore";
const IGNORED: &str = "\
# What truenorth leaves out of this folder, in the syntax of .gitignore. Whatever else is not a manifest is a problem.
*.md
CODEOWNERS
";

const GITHUB: (&str, &str) = (".github/workflows/truenorth.yml", include_str!("../../../deploy/ci/github.yml"));
const GITLAB: (&str, &str) = (".gitlab-ci.yml", include_str!("../../../deploy/ci/gitlab.yml"));
const SYSTEMD: &str = "truenorth.env";

/// A file, and whether it was written now.
pub(super) struct Written {
    path: PathBuf,
    is_new: bool,
    what: &'static str,
}

pub(super) fn write_all(wanted: &Wanted) -> anyhow::Result<Vec<Written>> {
    let folder = &wanted.folder.manifests;
    let schema = format!("{}\n", serde_json::to_string_pretty(&manifest::schema())?);
    let mut files = vec![
        (folder.join(SCHEMA), schema, "JSON Schema of the manifests, for editors"),
        (folder.join(IGNORE), IGNORED.to_owned(), "what is not a manifest"),
    ];
    match wanted.runs {
        Runs::None => {}
        Runs::Systemd => files.push((SYSTEMD.into(), systemd(wanted), "options of the systemd unit")),
        Runs::Ci => files.push((GITHUB.0.into(), job(GITHUB.1, folder), "workflow of GitHub Actions")),
        Runs::Gitlab => files.push((GITLAB.0.into(), job(GITLAB.1, folder), "jobs of GitLab CI")),
    }
    let write = |(path, text, what): (PathBuf, String, _)| match write_new(&path, &text) {
        Ok(is_new) => Ok(Written { path, is_new, what }),
        Err(error) => Err(unwritable(&path, &error)),
    };
    files.into_iter().map(write).collect()
}

/// What was written, and what was there.
pub(super) fn told(written: &[Written]) -> String {
    let line = |file: &Written| {
        let (word, path) = (if file.is_new { "written" } else { "kept" }, printable(&file.path.to_string_lossy()));
        format!("{} {word:<9} {path}  {}\n", if file.is_new { '+' } else { '=' }, file.what)
    };
    written.iter().map(line).collect()
}

/// Writes a file that is not there yet. Says whether it did.
fn write_new(path: &Path, text: &str) -> io::Result<bool> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// The options of the systemd unit. The token is none of them: a variable would go before the unit's credential.
fn systemd(wanted: &Wanted) -> String {
    let folder = &wanted.folder.manifests;
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
    let token = wanted.api.connect.token.token_file.as_deref().unwrap_or(Path::new("<the file with the token>"));
    let project = project_path(wanted.team.as_ref(), &wanted.project);
    format!(
        "# Options of truenorth.service, each as its variable; `truenorth --help` names them all.\n\
         #   sudo install -m 0644 {SYSTEMD} /etc/truenorth/truenorth.env\n\
         #   sudo install -m 0600 {} /etc/truenorth/token\n\
         #   sudo systemctl enable --now truenorth\n\
         TRUENORTH_MANIFESTS={}\n\
         # Only this project may be deployed from there.\n\
         #TRUENORTH_ALLOW={project}\n",
        printable(&token.to_string_lossy()),
        quoted(&whole.to_string_lossy()),
    )
}

/// A value as systemd reads it in a file of variables.
fn quoted(value: &str) -> String {
    if is_plain(value) {
        return value.to_owned();
    }
    let escaped: String =
        value.chars().flat_map(|c| if matches!(c, '"' | '\\' | '`' | '$') { vec!['\\', c] } else { vec![c] }).collect();
    format!("\"{escaped}\"")
}

/// A CI job for this folder of manifests.
fn job(text: &str, folder: &Path) -> String {
    let folder = folder.to_string_lossy();
    let folder = folder.trim_start_matches("./").trim_end_matches('/');
    text.replace("\"manifests/**", &format!("\"{folder}/**"))
        .replace("truenorth validate", &with_folder("truenorth validate", folder))
        .replace("truenorth plan", &with_folder("truenorth plan", folder))
        .replace("truenorth --reconcile-once", &with_folder("truenorth --reconcile-once", folder))
}

fn with_folder(command: &str, folder: &str) -> String {
    if folder == "manifests" { command.to_owned() } else { format!("{command} --manifests '{folder}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_quoted_where_systemd_would_take_it_apart() {
        assert_eq!(quoted("/srv/platform-1/m"), "/srv/platform-1/m");
        assert_eq!(quoted("/srv/a b"), "\"/srv/a b\"");
        assert_eq!(quoted(r#"/a"b\c$d"#), r#""/a\"b\\c\$d""#);
    }

    #[test]
    fn a_job_speaks_of_the_folder_that_was_named() {
        assert_eq!(job(GITHUB.1, Path::new("manifests")), GITHUB.1);
        for (_, text) in [GITHUB, GITLAB] {
            let job = job(text, Path::new("./deploy/prod/"));
            assert!(job.contains("\"deploy/prod/**") && !job.contains("\"manifests/"), "{job}");
            assert_eq!(job.matches("--manifests 'deploy/prod'").count(), 3, "{job}");
        }
    }
}
