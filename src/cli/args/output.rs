//! What is printed, and how commands stand in it.

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};

use crate::cli::print;
use crate::text::command::Commands;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Output {
    /// Lines for people
    Text,
    /// One JSON object
    Json,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct ShowArgs {
    /// Show commands whole: where stdout is a terminal, or always, as when it goes to a file
    ///
    /// Without this only the harmless words of a command are shown, since people write passwords into commands: option
    /// names, paths, short numbers, plain words that are no option's value. `[hidden]` stands for the others, `[changed]` for
    /// one that is to change.
    #[arg(
        long,
        value_name = "WHERE",
        env = "TRUENORTH_SHOW_COMMANDS",
        num_args = 0..=1,
        require_equals = true,
        default_value = "never",
        default_missing_value = "terminal"
    )]
    show_commands: ShowCommands,
}

impl ShowArgs {
    /// How commands stand in what is printed; says so on stderr where somebody asked in vain.
    pub(in crate::cli) fn commands(&self) -> Commands {
        match self.show_commands {
            ShowCommands::Never => Commands::Hidden,
            ShowCommands::Always => Commands::Shown,
            ShowCommands::Terminal if std::io::stdout().is_terminal() => Commands::Shown,
            ShowCommands::Terminal => {
                print::note(
                    "note: commands stay hidden: stdout is not a terminal; --show-commands=always shows them\n",
                );
                Commands::Hidden
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ShowCommands {
    /// Nowhere
    Never,
    /// Where stdout is a terminal
    #[value(alias = "true", alias = "1")]
    Terminal,
    /// Also in files and logs
    Always,
}
