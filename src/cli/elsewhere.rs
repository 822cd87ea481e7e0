//! Words of other tools, and what does here what they do there.

use clap::Command;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error};

/// Commands of other tools.
const COMMANDS: [(&[&str], &str); 13] = [
    (
        &["apply", "sync", "reconcile", "deploy", "up", "once", "push"],
        "`truenorth --reconcile-once` makes one pass: sends what changed, then exits; `truenorth plan` shows it before",
    ),
    (&["diff", "preview", "dry-run"], "`truenorth plan` shows what a pass would change"),
    (&["get", "list", "ls", "ps", "show"], "`truenorth status` shows every service"),
    (&["describe", "explain", "inspect"], "`truenorth why SERVICE` explains one service"),
    (&["logs", "log", "events"], "`truenorth history` shows what was sent; the daemon's log is on its stderr"),
    (&["check", "lint", "verify", "test", "vet"], "`truenorth validate` checks every manifest, offline"),
    (
        &["setup", "new", "bootstrap", "create", "configure"],
        "`truenorth init` writes manifests from what runs, and the files beside them",
    ),
    (&["export", "pull", "dump", "adopt"], "`truenorth import` writes manifests from what runs"),
    (
        &["watch", "start", "serve", "daemon"],
        "`truenorth run` is the daemon; `truenorth status --watch` shows its services",
    ),
    (
        &["login", "auth", "token"],
        "there is no login: give the API token by `--token-file FILE` or NORTHFLANK_API_TOKEN",
    ),
    (
        &["delete", "destroy", "remove", "rm", "down", "prune"],
        "truenorth never deletes a service; one whose manifest is taken away is left as it is",
    ),
    (&["undo", "revert"], "revert the commit that changed the manifest: truenorth applies what the folder says"),
    (&["version"], "`truenorth --version` prints it"),
];

/// Options of other tools.
const OPTIONS: [(&[&str], &str); 12] = [
    (
        &["--once", "--one-shot", "--oneshot", "--one-time", "--apply"],
        "`truenorth --reconcile-once` makes one pass, then exits",
    ),
    (
        &["--dry-run", "--dryrun", "--diff", "--check", "--plan"],
        "`truenorth plan` shows what a pass would change, and sends nothing",
    ),
    (
        &["-f", "--file", "--filename", "--dir", "--directory", "--folder", "--path", "--chdir", "-C"],
        "`--manifests DIR` names the folder of manifests",
    ),
    (
        &["--token", "--api-token", "--api-key"],
        "others can read a command line: give the token by `--token-file FILE` or NORTHFLANK_API_TOKEN",
    ),
    (&["-y", "--yes", "--auto-approve"], "a pass asks no questions"),
    (&["-v", "--verbose", "--debug"], "`--log-level debug` says more"),
    (&["-q", "--quiet", "--silent"], "`--log-level error` says less"),
    (&["--json"], "`--output json` prints JSON"),
    (&["--interval", "--poll", "--period"], "`--resync DURATION` is how often the daemon looks without an event"),
    (&["--timeout"], "`--deadline DURATION` ends a pass, `--request-timeout DURATION` a call"),
    (&["--port", "--address", "--bind"], "`--listen ADDR` is where the daemon answers"),
    (&["--prune", "--delete"], "truenorth never deletes a service"),
];

/// Adds to an error about a word that is not known what does the same here, or which command has that option.
pub(super) fn explain(error: &mut Error, command: &Command, named: Option<&Command>) {
    let tip = match (error.get(ContextKind::InvalidSubcommand), error.get(ContextKind::InvalidArg)) {
        (Some(ContextValue::String(word)), _) => of(&COMMANDS, word).map(str::to_owned),
        (_, Some(ContextValue::String(word))) if error.kind() == clap::error::ErrorKind::UnknownArgument => {
            let own = || of(&OPTIONS, word).or_else(|| of(&COMMANDS, word)).map(str::to_owned);
            of_others(word, command, named).or_else(own)
        }
        _ => None,
    };
    let Some(tip) = tip else { return };
    // What clap suggests looks like the word, and has nothing to do with it.
    for kind in [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand] {
        error.remove(kind);
    }
    let usage = named.unwrap_or(command).clone().render_usage();
    error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
}

fn of(table: &[(&[&str], &'static str)], word: &str) -> Option<&'static str> {
    table.iter().find(|(words, _)| words.contains(&word)).map(|(_, tip)| *tip)
}

/// Which commands have this option, where the one that is named has not.
fn of_others(word: &str, command: &Command, named: Option<&Command>) -> Option<String> {
    let long = word.strip_prefix("--")?;
    let has = |command: &Command| command.get_arguments().any(|arg| arg.get_long() == Some(long));
    let others = command.get_subcommands().filter(|other| !other.is_hide_set() && has(other));
    let mut others: Vec<String> = others.map(|other| format!("`truenorth {}`", other.get_name())).collect();
    if named.is_some() && has(command) && others.is_empty() {
        others.push("`truenorth` without a command".to_owned());
    }
    match others.len() {
        0 => None,
        _ => Some(format!("`{word}` is an option of {}", others.join(", "))),
    }
}
