//! What every command prints alike. Colours are taken out where stdout is no terminal, or `NO_COLOR` says so.

use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Serialize, Serializer};

use super::table::Size;
use crate::manifest::{Drawing, Problem, Warning};
use crate::model::Headline;
use crate::plan::{self, Report};
use crate::text::command::Commands;
use crate::text::{self, Printable, folded, printable, printable_within};

/// A text on stderr, with its line breaks; on a terminal long lines are folded. Where stderr is gone, there is nobody
/// to tell.
pub(super) fn note(text: &str) {
    let _ = anstream::stderr().write_all(folded(text, columns(Size::of_stderr())).as_bytes());
}

/// How wide a terminal is, where there is one.
fn columns(size: Option<Size>) -> Option<usize> {
    size.map(|size| size.columns)
}

/// One JSON object on stdout.
pub(super) fn json(value: &impl Serialize) -> io::Result<()> {
    told(write_json(value))
}

/// The same, for whoever has to know that the reader is gone.
pub(super) fn write_json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    text::json::write(&mut out, value)?;
    writeln!(out)?;
    out.flush()
}

/// How writing to stdout ended. A reader that has seen enough, as in `truenorth history | head -1`, is not a failure.
pub(super) fn told(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| io::Error::new(error.kind(), format!("cannot write to stdout: {error}"))),
    }
}

/// A text of ours on stdout, as far as that shows colours; on a terminal long lines are folded.
pub(super) fn text(text: &str) -> io::Result<()> {
    verbatim(&folded(text, columns(Size::of_stdout())))
}

/// The same where a line is a line, however long: what is copied as a whole, or read by a program.
pub(super) fn verbatim(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout();
    told(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// The report of a plan or a pass, and where that stands.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    /// The folder of manifests, as it was named.
    #[serde(serialize_with = "path")]
    pub(super) folder: &'a Path,
    /// The folder of the ledger.
    pub(super) ledger: Kept<'a>,
    #[serde(flatten)]
    pub(super) report: &'a Report,
    #[serde(skip)]
    pub(super) commands: Commands,
}

/// Where what was applied is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Kept<'a> {
    /// In this folder.
    In(#[serde(serialize_with = "path")] &'a Path),
    /// In this folder, once something is.
    NotYet(#[serde(serialize_with = "path")] &'a Path),
    /// Nowhere: it is gone with the process.
    Nowhere,
}

impl fmt::Display for Kept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(path) => printable(&path.to_string_lossy()).fmt(f),
            Self::NotYet(path) => write!(f, "{} (there is none yet)", printable(&path.to_string_lossy())),
            Self::Nowhere => f.write_str("thrown away at the end"),
        }
    }
}

/// serde refuses paths that are not UTF-8.
fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

impl Shown<'_> {
    /// Prints what people read on stdout.
    pub(super) fn print(&self) -> io::Result<()> {
        text(&self.text(columns(Size::of_stdout())))
    }

    /// The same, for lines of so many columns.
    pub(super) fn text(&self, width: Option<usize>) -> String {
        let Self { folder, report, commands, .. } = *self;
        let mut text = self.standpoint();
        text += &drawn_problems(&report.problems, folder, commands, width);
        text += &drawn_warnings(&report.warnings, folder, commands, width);
        text + &plan::render(report)
    }

    /// Comes first, so that nobody takes a pass against one API for one against another.
    fn standpoint(&self) -> String {
        let Self { folder, ledger, report, .. } = self;
        let revision = text::short::revision(&report.revision.to_string());
        let mut text = format!("API: {}\n", printable(&report.place.to_string()));
        text += &format!("ledger: {ledger}\nfolder: {} at {revision}\n", printable(&folder.to_string_lossy()));
        if let Some(Headline { subject, author }) = &report.commit {
            let (subject, author) = (printable_within(subject, SUBJECT), printable_within(author, AUTHOR));
            text += &format!("commit: {subject} ({author})\n");
        }
        text
    }
}

/// How much of a commit's subject and of its author's name is shown: so the line fits 80 columns.
const SUBJECT: usize = 46;
const AUTHOR: usize = 20;

/// Problems with their source lines, each followed by an empty line.
pub(super) fn problems(problems: &[Problem], folder: &Path, commands: Commands) -> io::Result<()> {
    text(&drawn_problems(problems, folder, commands, columns(Size::of_stdout())))
}

/// Problems of a config file, which is named as it was typed.
pub(super) fn problems_of_config(problems: &[Problem]) -> String {
    let drawing = Drawing { styled: true, width: columns(Size::of_stderr()), ..Drawing::default() };
    let draw = |one: &Problem| drawing.of_option(one, printable(&one.file).as_str());
    problems.iter().map(|one| format!("{}\n\n", draw(one).trim_end())).collect()
}

/// Warnings, drawn like problems.
pub(super) fn warnings(warnings: &[Warning], folder: &Path, commands: Commands) -> io::Result<()> {
    text(&drawn_warnings(warnings, folder, commands, columns(Size::of_stdout())))
}

fn drawn_problems(problems: &[Problem], folder: &Path, commands: Commands, width: Option<usize>) -> String {
    let drawing = Drawing { styled: true, commands, width };
    let draw = |one: &Problem| drawing.of(one, shown_file(folder, &one.file).as_str());
    problems.iter().map(|one| format!("{}\n\n", draw(one).trim_end())).collect()
}

fn drawn_warnings(warnings: &[Warning], folder: &Path, commands: Commands, width: Option<usize>) -> String {
    let drawing = Drawing { styled: true, commands, width };
    let draw = |one: &Warning| drawing.of_warning(one, shown_file(folder, &one.0.file).as_str());
    warnings.iter().map(|one| format!("{}\n\n", draw(one).trim_end())).collect()
}

/// A file of the folder as seen from where truenorth runs, so that terminals and editors can open it. What in its name
/// would steer a terminal is escaped.
pub(super) fn shown_file(folder: &Path, file: &str) -> Printable {
    printable(&folder.join(file).to_string_lossy())
}
