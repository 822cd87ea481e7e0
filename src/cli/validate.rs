//! `truenorth validate`: reads the folder and says what is wrong in it. Offline.

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::args::{FolderArgs, ShowArgs, TokenArgs};
use super::exit::Exit;
use super::{print, settings, tell_empty};
use crate::manifest::{Problem, Warning};
use crate::model::Revision;
use crate::text::{counted, printable, short};

#[derive(Args, Debug)]
pub(super) struct ValidateArgs {
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    token: TokenArgs,
    #[command(flatten)]
    show: ShowArgs,
    /// What to print on stdout
    #[arg(long, short, value_name = "FORMAT", env = "TRUENORTH_OUTPUT", default_value = "text")]
    output: ValidateOutput,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ValidateOutput {
    /// Problems with their source lines
    Text,
    /// One JSON object
    Json,
    /// Workflow annotations of GitHub Actions
    Github,
}

/// What `--output json` prints.
#[derive(Serialize)]
struct Validation<'a> {
    revision: &'a Revision,
    valid: bool,
    manifests: usize,
    problems: &'a [Problem],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [Warning],
}

pub(super) fn run(args: &ValidateArgs) -> anyhow::Result<Exit> {
    let commands = args.show.commands();
    let mut folder = args.folder.folder();
    let mut snapshot = folder.look().map_err(|error| super::unreadable(&error))?;
    let is_secret = settings::finds_token(&args.token, &settings::environment);
    snapshot.withhold(&is_secret);
    let valid = snapshot.problems.is_empty();
    if valid && snapshot.desired.is_empty() {
        tell_empty(folder.path());
    }
    let warnings = folder.warnings(&is_secret);
    match args.output {
        ValidateOutput::Json => print::json(&Validation {
            revision: &snapshot.revision,
            valid,
            manifests: snapshot.desired.len(),
            problems: &snapshot.problems,
            warnings: &warnings,
        })?,
        ValidateOutput::Github => {
            let mut lines = String::new();
            for problem in &snapshot.problems {
                let file = print::shown_file(folder.path(), &problem.file);
                lines += &format!("{}\n", annotation("error", problem, file.as_str()));
            }
            for Warning(warning) in &warnings {
                let file = print::shown_file(folder.path(), &warning.file);
                lines += &format!("{}\n", annotation("warning", warning, file.as_str()));
            }
            print::verbatim(&lines)?;
        }
        ValidateOutput::Text => {
            print::problems(&snapshot.problems, folder.path(), commands)?;
            print::warnings(&warnings, folder.path(), commands)?;
            let count = |count, noun| (count > 0).then(|| counted(count, noun));
            let parts = [
                count(snapshot.problems.len(), "problem"),
                count(warnings.len(), "warning"),
                Some(counted(snapshot.desired.len(), "valid manifest")),
            ];
            let parts: Vec<_> = parts.into_iter().flatten().collect();
            print::text(&format!("{}  {}\n", parts.join(", "), short::revision(&snapshot.revision.to_string())))?;
        }
    }
    // The process ends: the system takes back the memory of 10,000 manifests faster than they are taken apart.
    std::mem::forget((snapshot, folder));
    Ok(if valid { Exit::Converged } else { Exit::NotConverged })
}

/// A workflow command that shows a problem or a warning at its line of a pull request.
/// <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>
fn annotation(command: &str, problem: &Problem, file: &str) -> String {
    let escaped = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| escaped(text).replace(':', "%3A").replace(',', "%2C");
    let mut message = match problem.path.as_str() {
        "" => printable(&problem.message).to_string(),
        path => printable(&format!("{path}: {}", problem.message)).to_string(),
    };
    if let Some(hint) = &problem.hint {
        message.push_str("\nhint: ");
        message.push_str(printable(hint).as_str());
    }
    format!(
        "::{command} file={},line={},col={},title=truenorth::{}",
        property(file),
        problem.line,
        problem.column,
        escaped(&message)
    )
}
