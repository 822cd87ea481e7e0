//! What `truenorth init` asks on a terminal. Elsewhere nobody would answer, so that the options are named.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use super::usage;
use crate::cli::print;
use crate::text::printable;

/// What may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Project,
    Team,
    TokenFile,
}

impl Question {
    fn option(self) -> &'static str {
        match self {
            Self::Project => "--project PROJECT",
            Self::Team => "--team TEAM",
            Self::TokenFile => "--token-file FILE",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Project => "Project (its id in Northflank)",
            Self::Team => "Team of the project (its id; the token is an organisation's)",
            Self::TokenFile => "File that holds the API token",
        }
    }
}

/// How often a question is put.
const TIMES: usize = 3;

/// Fails where something has to be asked, and nobody is there.
pub(super) fn can_ask(missing: &[Question]) -> anyhow::Result<()> {
    if missing.is_empty() || (io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Ok(());
    }
    let options: Vec<&str> = missing.iter().map(|question| question.option()).collect();
    let hint = match missing.contains(&Question::TokenFile) {
        true => "without an account: truenorth init --project shop --sandbox",
        false => "on a terminal it asks for what is missing",
    };
    Err(usage(format!("init needs {}: there is no terminal to ask on", options.join(" and ")), hint))
}

/// Asks until the answer can be understood.
pub(super) fn answer<T>(question: Question, read: impl Fn(&str) -> Result<T, String>) -> anyhow::Result<T> {
    for _ in 0..TIMES {
        print::note(&format!("{}: ", question.words()));
        let mut line = String::new();
        if io::stdin().read_line(&mut line)? == 0 {
            break;
        }
        match read(line.trim()) {
            Ok(answer) => return Ok(answer),
            Err(why) => print::note(&format!("  {}\n", printable(&why))),
        }
    }
    Err(usage(format!("no answer to what {} says", question.option()), "give it as an option"))
}

/// A file that is there.
pub(super) fn file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_file() { Ok(path) } else { Err(format!("`{text}` is not a file")) }
}
