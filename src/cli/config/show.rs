//! `truenorth config`: what holds, and from where.

use std::ffi::OsStr;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory as _};
use serde::Serialize;

use super::windows::{Placed, WINDOWS};
use super::{ConfigFile, innermost, options};
use crate::cli::args::{Arguments, Output, RunArgs};
use crate::cli::exit::Exit;
use crate::cli::table::{Cell, Column, Row, Size, lines};
use crate::cli::{print, settings};
use crate::northflank::{ApiUrl, TokenReadError, TokenSource};
use crate::plan::ChangeWindow;
use crate::text::printable;

/// An option as it holds.
#[derive(Debug, Serialize)]
struct Holds {
    option: String,
    /// `None` where it is not set, or is a secret.
    value: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    secret: bool,
    from: From,
    /// The variable, or the file with its line.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
}

/// A window of the config file.
#[derive(Debug, Serialize)]
struct Window<'c> {
    #[serde(flatten)]
    window: &'c ChangeWindow,
    place: String,
}

fn windows(config: &ConfigFile) -> impl Iterator<Item = Window<'_>> {
    let placed = config.placed_windows().iter();
    placed.map(|Placed { window, line }| Window { window, place: format!("{}:{line}", config.path().display()) })
}

/// From where a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum From {
    CommandLine,
    Environment,
    Config,
    Default,
}

pub(in crate::cli) fn run(args: &RunArgs, matches: &ArgMatches, config: Option<&ConfigFile>) -> anyhow::Result<Exit> {
    let command = Arguments::command();
    let matches = innermost(matches);
    let mut all: Vec<Holds> = options::of(&command).map(|arg| holds(arg, args, matches, config)).collect();
    all.push(token(args));
    let windows: Vec<Window<'_>> = config.into_iter().flat_map(windows).collect();
    match args.output {
        Output::Json => print::json(&serde_json::json!({
            "config": config.map(|config| config.path().to_string_lossy()),
            "options": all,
            "windows": windows,
        }))?,
        Output::Text => print::verbatim(&text(&all, &windows))?,
    }
    Ok(Exit::Converged)
}

fn holds(arg: &Arg, args: &RunArgs, matches: &ArgMatches, config: Option<&ConfigFile>) -> Holds {
    let id = arg.get_id().as_str();
    let option = arg.get_long().unwrap_or(id).to_owned();
    let file = config.zip(config.and_then(|config| config.line_of(arg)));
    let (from, place) = match (matches.value_source(id), file) {
        (Some(ValueSource::CommandLine), _) => (From::CommandLine, None),
        (Some(ValueSource::EnvVariable), _) => {
            (From::Environment, arg.get_env().map(|variable| variable.to_string_lossy().into_owned()))
        }
        (Some(_), Some((config, line))) => (From::Config, Some(format!("{}:{line}", config.path().display()))),
        (_, _) => (From::Default, None),
    };
    let value = if options::is_flag(arg) {
        Some(matches.get_flag(id).to_string())
    } else {
        let given = matches.get_raw(id).map(|values| values.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(", "));
        given.or_else(|| unset(&option, args))
    };
    // A URL that is refused may be one with a password.
    let secret = option == "api-url" && value.as_deref().is_some_and(|url| url.parse::<ApiUrl>().is_err());
    Holds { option, value: value.filter(|_| !secret), secret, from, place }
}

/// What holds where an option is not set, and that is not "nothing".
fn unset(option: &str, args: &RunArgs) -> Option<String> {
    match option {
        "api-url" => Some(ApiUrl::default().to_string()),
        "debounce" => Some("adaptive".to_owned()),
        "state-dir" => {
            let dir = settings::state_dir(&args.state, &settings::environment).ok()?;
            Some(dir.to_string_lossy().into_owned())
        }
        _ => None,
    }
}

/// The token, by the name of where it is.
fn token(args: &RunArgs) -> Holds {
    let file = args.api.connect.token.token_file.as_deref();
    let place = match TokenSource::choose(file, settings::environment) {
        Ok(TokenSource::File(path)) => Some(path.display().to_string()),
        Ok(TokenSource::Environment(_)) | Err(TokenReadError::InEnvironment { .. }) => {
            Some(TokenSource::VARIABLE.to_owned())
        }
        Err(_) => None,
    };
    let from = if place.is_some() { From::Environment } else { From::Default };
    Holds { option: "token".to_owned(), value: None, secret: true, from, place }
}

fn text(all: &[Holds], windows: &[Window<'_>]) -> String {
    let columns = [Column::Firm("OPTION"), Column::Soft("VALUE"), Column::Soft("FROM")];
    let row = |holds: &Holds| {
        let value = match (&holds.value, holds.secret) {
            (_, true) => "[hidden]",
            (Some(value), false) => value,
            (None, false) => "not set",
        };
        let from = match (holds.from, &holds.place) {
            (From::CommandLine, _) => "command line",
            (_, Some(place)) => place,
            (_, None) if holds.secret => "not set",
            (_, None) => "default",
        };
        let cells = [holds.option.as_str(), value, from].map(|text| Cell::new(printable(text)));
        Row { cells, below: Vec::new() }
    };
    let window = |Window { window, place }: &Window<'_>| {
        let cells = [WINDOWS, &window.to_string(), place].map(|text| Cell::new(printable(text)));
        Row { cells, below: Vec::new() }
    };
    let rows: Vec<_> = all.iter().map(row).chain(windows.iter().map(window)).collect();
    let width = Size::of_stdout().map(|size| size.columns);
    lines(columns, &rows, width).into_iter().map(|line| line + "\n").collect()
}
