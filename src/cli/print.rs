//! What every command prints alike. Colours are taken out where stdout is no terminal, or `NO_COLOR` says so.

use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;

use crate::manifest::{self, Problem, Warning};
use crate::plan::{self, Report};
use crate::text::command::Commands;
use crate::text::{self, Printable, printable};

use super::args::Output;

/// A text on stderr, with its line breaks. Where stderr is gone, there is nobody to tell.
pub(super) fn note(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}

/// One JSON object on stdout.
pub(super) fn json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    text::json::write(&mut out, value)?;
    writeln!(out)?;
    out.flush()
}

/// A report on stdout.
pub(super) fn report(report: &Report, folder: &Path, output: Output, commands: Commands) -> io::Result<()> {
    match output {
        Output::Json => json(report),
        Output::Text => {
            // First, so that nobody takes a pass against one API for one against another.
            writeln!(anstream::stdout(), "API: {}", printable(&report.place.to_string()))?;
            problems(&report.problems, folder, commands)?;
            warnings(&report.warnings, folder, commands)?;
            let mut out = anstream::stdout().lock();
            out.write_all(plan::render(report).as_bytes())
        }
    }
}

/// Problems with their source lines, each followed by an empty line.
pub(super) fn problems(problems: &[Problem], folder: &Path, commands: Commands) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    for problem in problems {
        let drawn = manifest::draw_with(problem, shown_file(folder, &problem.file).as_str(), true, commands);
        writeln!(out, "{}\n", drawn.trim_end())?;
    }
    Ok(())
}

/// Warnings, drawn like problems.
pub(super) fn warnings(warnings: &[Warning], folder: &Path, commands: Commands) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    for warning in warnings {
        let drawn = manifest::draw_warning(warning, shown_file(folder, &warning.0.file).as_str(), true, commands);
        writeln!(out, "{}\n", drawn.trim_end())?;
    }
    Ok(())
}

/// A file of the folder as seen from where truenorth runs, so that terminals and editors can open it. What in its name
/// would steer a terminal is escaped.
pub(super) fn shown_file(folder: &Path, file: &str) -> Printable {
    printable(&folder.join(file).to_string_lossy())
}
