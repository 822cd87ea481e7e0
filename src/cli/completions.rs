//! `truenorth completions` and `truenorth schema`: what shells and editors want to know.

use std::ffi::OsString;

use anyhow::Context as _;
use clap::{CommandFactory as _, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::env::Shells;

use super::args::Arguments;
use super::exit::Exit;
use super::{config, print, settings};
use crate::manifest;

/// What `truenorth schema` describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SchemaOf {
    /// A manifest
    Manifest,
    /// The file that --config names
    Config,
}

/// Set where a shell asks what may follow the words that were typed.
pub(super) const VARIABLE: &str = "TRUENORTH_COMPLETE";

const NAME: &str = "truenorth";

/// Answers a shell that asks for completions; nothing where none does.
pub(super) fn answer(words: &[OsString]) -> Option<Exit> {
    if settings::environment(VARIABLE).is_none_or(|shell| shell.is_empty()) {
        return None;
    }
    let complete = CompleteEnv::with_factory(Arguments::command).var(VARIABLE).bin(NAME).completer(NAME);
    let here = std::env::current_dir().ok();
    match complete.try_complete(words.to_vec(), here.as_deref()) {
        Ok(answered) => answered.then_some(Exit::Converged),
        Err(error) => {
            // Nothing can be done where printing fails.
            let _ = error.print();
            Some(Exit::Usage)
        }
    }
}

/// Prints completions for a shell: a script that asks this program, which knows the services.
pub(super) fn run(shell: clap_complete::Shell) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let completer = shells.completer(&shell.to_string()).context("no completions for this shell")?;
    completer.write_registration(VARIABLE, NAME, NAME, NAME, &mut script)?;
    if shell == clap_complete::Shell::Zsh {
        // From a folder of completions the file is run as the body of a function, which has to answer the first time too.
        script.extend_from_slice(b"[[ $funcstack[1] = _truenorth ]] && _clap_dynamic_completer_truenorth \"$@\"\n");
    }
    print::told(std::io::Write::write_all(&mut std::io::stdout(), &script))?;
    Ok(Exit::Converged)
}

/// Prints the JSON Schema of a manifest or of the config file.
pub(super) fn schema(of: SchemaOf) -> anyhow::Result<Exit> {
    let schema = match of {
        SchemaOf::Manifest => manifest::schema(),
        SchemaOf::Config => config::schema(&Arguments::command()),
    };
    let text = serde_json::to_string_pretty(&schema)?;
    print::verbatim(&format!("{text}\n"))?;
    Ok(Exit::Converged)
}
