//! Variables of the environment that look like ours and are none: a misspelt one is an option that was never set.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use clap::{Command, CommandFactory as _};

use super::args::Arguments;
use crate::text::{near, printable};

/// Tells of the process's own variables on stderr; the log has them where there is one.
pub(super) fn tell() {
    for warning in unread_here() {
        super::print::note(&format!("warning: {}\n", printable(&warning)));
    }
}

/// A warning for each of the process's own variables that nothing reads.
pub(super) fn unread_here() -> Vec<String> {
    let names: Vec<String> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    unread(names.iter().map(String::as_str))
}

/// How alike two names must be after what they begin with, of 1.
const NEAR: f32 = 0.6;

/// What Kubernetes sets for each container beside a Service named `truenorth`.
const OF_KUBERNETES: [&str; 2] = ["TRUENORTH_SERVICE_", "TRUENORTH_PORT"];

/// Names that people use for what has another name here.
const OTHERS: [(&str, &str); 6] = [
    ("TRUENORTH_TOKEN", "NORTHFLANK_API_TOKEN"),
    ("TRUENORTH_API_TOKEN", "NORTHFLANK_API_TOKEN"),
    ("TRUENORTH_API_URL", "NORTHFLANK_API_URL"),
    ("NORTHFLANK_TOKEN", "NORTHFLANK_API_TOKEN"),
    ("NORTHFLANK_API_KEY", "NORTHFLANK_API_TOKEN"),
    ("NORTHFLANK_URL", "NORTHFLANK_API_URL"),
];

/// A warning for each of these names that nothing reads. Their values are not looked at.
fn unread<'n>(set: impl IntoIterator<Item = &'n str>) -> Vec<String> {
    let known = known();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let set: BTreeSet<&str> = set.into_iter().collect();
    let unread = set.iter().copied().filter(|name| !known.contains(name));
    unread.filter_map(|name| warning(name, &known, &set)).collect()
}

fn warning(name: &str, known: &[&str], set: &BTreeSet<&str>) -> Option<String> {
    let other = OTHERS.iter().find(|(other, _)| *other == name).map(|(_, meant)| *meant);
    // Other programs have names of their own for the same token.
    let other = other.filter(|meant| !set.contains(meant));
    let rest = name.strip_prefix("TRUENORTH_");
    if other.is_none() && (rest.is_none() || OF_KUBERNETES.iter().any(|of| name.starts_with(of))) {
        return None;
    }
    let meant = other.or_else(|| {
        let rests: Vec<&str> = known.iter().filter_map(|known| known.strip_prefix("TRUENORTH_")).collect();
        let near = near(rest?, &rests, NEAR)?;
        known.iter().find(|known| known.strip_prefix("TRUENORTH_") == Some(near)).copied()
    });
    Some(match meant {
        Some(meant) => format!("the variable {name} is not read; did you mean {meant}?"),
        None => format!("the variable {name} is not read; `truenorth --help` names those that are"),
    })
}

/// The variables of all options of all commands, and the token's.
fn known() -> BTreeSet<String> {
    fn of(command: &Command, names: &mut BTreeSet<String>) {
        let variables = command.get_arguments().filter_map(|arg| arg.get_env());
        names.extend(variables.filter_map(OsStr::to_str).map(str::to_owned));
        command.get_subcommands().for_each(|command| of(command, names));
    }
    let mut names =
        BTreeSet::from([crate::northflank::TokenSource::VARIABLE, super::completions::VARIABLE].map(str::to_owned));
    of(&Arguments::command(), &mut names);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_variable_is_told_with_the_near_name_and_without_its_value() {
        let told = |name: &str, meant: &str| {
            assert_eq!(unread([name]), [format!("the variable {name} is not read; did you mean {meant}?")]);
        };
        told("TRUENORTH_MANIFEST", "TRUENORTH_MANIFESTS");
        told("TRUENORTH_STATEDIR", "TRUENORTH_STATE_DIR");
        told("TRUENORTH_RECONCILE_ONCES", "TRUENORTH_RECONCILE_ONCE");
        told("TRUENORTH_TOKEN", "NORTHFLANK_API_TOKEN");
        told("NORTHFLANK_TOKEN", "NORTHFLANK_API_TOKEN");
        assert_eq!(unread(["TRUENORTH_QQQ"]).len(), 1);
        assert_eq!(unread(["NORTHFLANK_TOKEN", "NORTHFLANK_API_TOKEN"]), [""; 0]);
    }

    #[test]
    fn a_variable_of_ours_or_of_others_is_no_mistake() {
        for name in [
            "TRUENORTH_MANIFESTS",
            "TRUENORTH_HISTORY_LIMIT",
            "NORTHFLANK_API_TOKEN",
            "TRUENORTH_SERVICE_HOST",
            "TRUENORTH_PORT_9095_TCP_ADDR",
            "TRUENORTH_PORT",
            "NORTHFLANK_REGION",
            "HOME",
        ] {
            assert_eq!(unread([name]), [""; 0], "{name}");
        }
    }
}
