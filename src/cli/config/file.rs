//! Reading a config file: what it says, or all that is wrong with it, with places.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory as _};

use super::options::{self, Named};
use super::windows::{Placed, WINDOWS};
use crate::cli::args::Arguments;
use crate::cli::origin::Configured;
use crate::cli::{Failure, exit::Exit, print};
use crate::daemon::Reread;
use crate::error::chain;
use crate::manifest::values::{self, Kind, Value};
use crate::manifest::{MAX_BYTES, Problem, Source};
use crate::plain_file::PlainFile;
use crate::plan::Windows;
use crate::text::{counted, near, printable, printable_within};

/// How alike two names must be, of 1.
pub(super) const NEAR: f32 = 0.6;
/// Most characters of a value that a message repeats.
pub(super) const SHOWN: usize = 80;
/// Most problems that a line of the log tells.
const TOLD: usize = 5;

/// What a config file says.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    says: Says,
}

/// All that a file says.
#[derive(Debug, Default)]
struct Says {
    settings: Vec<Setting>,
    windows: Vec<Placed>,
}

/// Why a file cannot be used.
#[derive(Debug)]
enum Wrong {
    Unreadable(String),
    Problems(Vec<Problem>),
}

/// What it says of one option.
#[derive(Debug)]
struct Setting {
    name: String,
    variable: Option<std::ffi::OsString>,
    values: Vec<String>,
    line: u32,
}

impl ConfigFile {
    /// Reads the file at `path` by the options that `command` has.
    pub(in crate::cli) fn read(command: &Command, path: &Path) -> anyhow::Result<Self> {
        let (message, hint) = match says(command, path) {
            Ok(says) => return Ok(Self { path: path.to_owned(), says }),
            Err(Wrong::Unreadable(message)) => (message, "--config or TRUENORTH_CONFIG names it"),
            Err(Wrong::Problems(problems)) => {
                print::note(&print::problems_of_config(&problems));
                let message = format!("the config file has {}", counted(problems.len(), "problem"));
                (message, "nothing was sent; `truenorth schema config` says what may stand there")
            }
        };
        Err(Failure { message, hint: Some(hint.to_owned()), exit: Exit::Configuration }.into())
    }

    /// Reads it again: what may be taken over, and what counts after a restart.
    ///
    /// # Errors
    /// It cannot be used any more: why, in one line.
    pub(in crate::cli) fn reread(&self) -> Result<Reread, String> {
        let mut command = Arguments::command();
        command.build();
        let now = says(&command, &self.path).map_err(|wrong| match wrong {
            Wrong::Unreadable(message) => message,
            Wrong::Problems(problems) => {
                let told = |problem: &Problem| {
                    let hint = problem.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                    format!("{}:{}:{} {}{hint}", problem.file, problem.line, problem.column, problem.message)
                };
                problems.iter().take(TOLD).map(told).collect::<Vec<_>>().join("; ")
            }
        })?;
        let same = |one: &Setting, other: &Setting| one.name == other.name && one.values == other.values;
        let lacks = |settings: &[Setting], one: &Setting| !settings.iter().any(|other| same(one, other));
        let (before, after) = (&self.says.settings, &now.settings);
        let gone = before.iter().filter(|setting| lacks(after, setting));
        let come = after.iter().filter(|setting| lacks(before, setting));
        let changed: BTreeSet<&String> = gone.chain(come).map(|setting| &setting.name).collect();
        Ok(Reread { windows: now.windows(&self.path), changed: changed.into_iter().cloned().collect() })
    }

    /// When updates may be sent.
    pub(in crate::cli) fn windows(&self) -> Windows {
        self.says.windows(&self.path)
    }

    /// Each of its windows, and on which line it stands.
    pub(super) fn placed_windows(&self) -> &[Placed] {
        &self.says.windows
    }

    /// The command line with what the file says as its defaults, wherever a command has the option.
    pub(in crate::cli) fn as_defaults(&self, command: Command) -> Command {
        let is_same = |arg: &Arg, setting: &Setting| {
            arg.get_long() == Some(&setting.name) && arg.get_env().map(OsStr::to_owned) == setting.variable
        };
        let command = command.mut_args(|arg| match self.says.settings.iter().find(|setting| is_same(&arg, setting)) {
            Some(setting) => arg.required(false).default_values(setting.values.clone()),
            None => arg,
        });
        command.mut_subcommands(|below| self.as_defaults(below))
    }

    /// Each option with its place, for messages about its value.
    pub(in crate::cli) fn configured(&self) -> Vec<Configured> {
        let of = |Setting { name, variable, line, .. }: &Setting| Configured {
            option: name.clone(),
            variable: variable.clone(),
            place: format!("{}:{line}", self.path.display()),
        };
        self.says.settings.iter().map(of).collect()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// On which line the file sets an option, if it does.
    pub(super) fn line_of(&self, arg: &Arg) -> Option<u32> {
        let of = |setting: &&Setting| {
            arg.get_long() == Some(&setting.name) && arg.get_env().map(OsStr::to_owned) == setting.variable
        };
        self.says.settings.iter().find(of).map(|setting| setting.line)
    }
}

impl Says {
    fn windows(&self, path: &Path) -> Windows {
        // That they can be looked at together was tried when the file was read.
        let windows = Windows::new(self.windows.iter().map(|placed| placed.window.clone()).collect());
        let places = self.windows.iter().map(|placed| format!("{}:{}", path.display(), placed.line));
        windows.unwrap_or_default().standing_at(places.collect())
    }
}

fn says(command: &Command, path: &Path) -> Result<Says, Wrong> {
    let shown = printable(&path.to_string_lossy()).to_string();
    let mut bytes = Vec::new();
    PlainFile::open(path)
        .and_then(|file| file.read(MAX_BYTES, &mut bytes))
        .map_err(|error| Wrong::Unreadable(format!("cannot read the config file {shown}: {}", chain(&error))))?;
    read(command, &shown.into(), &bytes).map_err(Wrong::Problems)
}

fn read(command: &Command, file: &Arc<str>, bytes: &[u8]) -> Result<Says, Vec<Problem>> {
    let source = Source::decode(file, bytes).map_err(|problem| vec![*problem])?;
    let mut reading = Reading { source: &source, problems: Vec::new() };
    let says = match values::read(&source) {
        Ok(None) => Says::default(),
        Ok(Some(value)) if value.is_empty() => Says::default(),
        Ok(Some(Value { kind: Kind::Map(entries), .. })) => reading.entries(command, &entries),
        Ok(Some(other)) => {
            let message = format!("a config file must be a map of options, found {}", other.described());
            reading.problem(&other.at, "", message, "write `option: value`, one a line");
            Says::default()
        }
        Err(problem) => return Err(vec![*problem]),
    };
    if reading.problems.is_empty() { Ok(says) } else { Err(reading.problems) }
}

/// A file that is being read.
pub(super) struct Reading<'s> {
    pub(super) source: &'s Source<'s>,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    pub(super) fn problem(&mut self, at: &Range<usize>, path: &str, message: String, hint: impl Into<String>) {
        self.problems.push(self.source.problem(at.clone(), path.to_owned(), message, hint));
    }

    pub(super) fn line(&self, value: &Value) -> u32 {
        u32::try_from(self.source.line_number(value.at.start)).unwrap_or(u32::MAX)
    }

    fn entries(&mut self, command: &Command, entries: &[(Value, Value)]) -> Says {
        let mut settings: Vec<Setting> = Vec::new();
        let mut windows: Option<(Vec<Placed>, u32)> = None;
        for (key, value) in entries {
            let Kind::Scalar { text: name, .. } = &key.kind else {
                self.problem(
                    &key.at,
                    "",
                    format!("an option's name must be text, found {}", key.described()),
                    "write the long name of an option",
                );
                continue;
            };
            let first = settings.iter().find(|setting| setting.name == *name).map(|setting| setting.line);
            let first = first.or(windows.as_ref().filter(|_| name == WINDOWS).map(|(_, line)| *line));
            if let Some(first) = first {
                let hint = format!("the first one is on line {first}; keep one of them");
                self.problem(&key.at, name, format!("{name} is given twice"), hint);
                continue;
            }
            if name == WINDOWS {
                windows = Some((self.windows(value), self.line(key)));
                continue;
            }
            let arg = match options::named(command, name) {
                Named::One(arg) => arg,
                Named::Several(variables) => {
                    let variables: Vec<_> = variables.iter().map(|variable| variable.to_string_lossy()).collect();
                    let message = format!("several commands have an option {name} of their own");
                    let hint = format!("set the variable of the one that is meant: {}", variables.join(", "));
                    self.problem(&key.at, name, message, hint);
                    continue;
                }
                Named::Unknown => {
                    self.unknown(command, key, name);
                    continue;
                }
            };
            if let Some(values) = self.values(arg, name, value) {
                let line = self.line(key);
                let variable = arg.get_env().map(OsStr::to_owned);
                settings.push(Setting { name: name.clone(), variable, values, line });
            }
        }
        Says { settings, windows: windows.map(|(windows, _)| windows).unwrap_or_default() }
    }

    fn unknown(&mut self, command: &Command, key: &Value, name: &str) {
        let mut names = options::names(command);
        names.push(WINDOWS);
        // As the variables are written, or the fields of a manifest.
        let spelled = name.trim_start_matches("--").to_ascii_lowercase().replace('_', "-");
        let spelled = spelled.strip_prefix("truenorth-").unwrap_or(&spelled);
        let hint = match spelled {
            "config" => "a config file cannot name another one".to_owned(),
            "token" | "northflank-api-token" => {
                "the token itself does not belong in a config file: name its file with token-file".to_owned()
            }
            spelled => match near(spelled, &names, NEAR) {
                Some(near) => format!("did you mean {near}?"),
                None => "options have their long names here; `truenorth --help` lists them".to_owned(),
            },
        };
        self.problem(&key.at, "", format!("unknown option `{}`", printable_within(name, SHOWN)), hint);
    }

    /// The values of an option as texts, each checked as if it were typed.
    fn values(&mut self, arg: &Arg, name: &str, value: &Value) -> Option<Vec<String>> {
        let items = match &value.kind {
            Kind::List(items) if options::is_list(arg) => items.as_slice(),
            _ => std::slice::from_ref(value),
        };
        let texts: Vec<Option<String>> = items.iter().map(|item| self.text(arg, name, item)).collect();
        texts.into_iter().collect()
    }

    fn text(&mut self, arg: &Arg, name: &str, value: &Value) -> Option<String> {
        let wanted = if options::is_flag(arg) { "true or false" } else { "a single value" };
        let text = match &value.kind {
            _ if value.is_empty() => {
                let hint = "add a value, or remove the line".to_owned();
                self.problem(&value.at, name, format!("{name} has no value"), hint);
                return None;
            }
            Kind::Scalar { text, .. } => text,
            Kind::List(_) | Kind::Map(_) => {
                let message = format!("{name} must be {wanted}, found {}", value.described());
                self.problem(&value.at, name, message, format!("write {wanted} behind the colon"));
                return None;
            }
        };
        if options::is_flag(arg) {
            return self.truth(name, value).map(|truth| truth.to_string());
        }
        match refusal(arg, text) {
            None => Some(text.clone()),
            Some((why, hint)) => {
                self.problem(&value.at, name, why, hint);
                None
            }
        }
    }

    fn truth(&mut self, name: &str, value: &Value) -> Option<bool> {
        match &value.kind {
            Kind::Scalar { text, quoted: false } if text == "true" => Some(true),
            Kind::Scalar { text, quoted: false } if text == "false" => Some(false),
            _ => {
                let hint = "write true or false, without quotes".to_owned();
                self.problem(&value.at, name, format!("{name} must be true or false"), hint);
                None
            }
        }
    }
}

/// Why an option does not take a value, and what it takes.
fn refusal(arg: &Arg, value: &str) -> Option<(String, String)> {
    let name = arg.get_long().unwrap_or_default();
    // Alone, and without what else it takes: whether another option is missing is no matter here.
    let alone = Command::new("config").no_binary_name(true).arg(arg.clone().required(false).global(false));
    let error = alone.try_get_matches_from([format!("--{name}={value}")]).err()?;
    let shown = printable_within(value, SHOWN);
    if error.kind() == ErrorKind::InvalidValue
        && let Some(ContextValue::Strings(known)) = error.get(ContextKind::ValidValue)
    {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let hint = match near(value, &known, NEAR) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("known: {}", known.join(", ")),
        };
        return Some((format!("{name} `{shown}` does not exist"), hint));
    }
    let why = std::error::Error::source(&error).map_or_else(|| "not a valid value".to_owned(), ToString::to_string);
    Some((format!("{name} `{shown}`: {why}"), format!("`truenorth --help` says what --{name} takes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Setting>, Vec<Problem>> {
        super::read(&Arguments::command(), &"c.yaml".into(), text.as_bytes()).map(|says| says.settings)
    }

    fn told(text: &str) -> Vec<(u32, u32, String, String)> {
        let told = |problem: Problem| (problem.line, problem.column, problem.message, problem.hint.unwrap_or_default());
        read(text).expect_err(text).into_iter().map(told).collect()
    }

    #[test]
    fn options_stand_by_their_long_names_in_any_yaml() {
        for text in [
            "concurrency: 16\nallow: [shop, 'acme/*']\ndrift: off\nno-adopt: true\n",
            "---\n{\"concurrency\": \"16\", allow: [shop, acme/*], drift: 'off', no-adopt: true}\n",
            "\u{feff}# a comment\r\nconcurrency: 16 # more\r\nallow:\r\n- shop\r\n- acme/*\r\ndrift: off\r\nno-adopt: true",
        ] {
            let read = read(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
            let read: Vec<_> = read.iter().map(|setting| (setting.name.as_str(), setting.values.join(" "))).collect();
            let wanted = [("concurrency", "16"), ("allow", "shop acme/*"), ("drift", "off"), ("no-adopt", "true")];
            assert_eq!(read, wanted.map(|(name, value)| (name, value.to_owned())), "{text}");
        }
        for empty in ["", "# nothing yet\n", "---\n", "null\n"] {
            assert!(read(empty).is_ok_and(|settings| settings.is_empty()), "{empty:?}");
        }
    }

    #[test]
    fn every_mistake_is_told_at_its_place_with_a_way_out() {
        let text = "concurency: 8\ndrift: corect\nresync: 5\nno-adopt: yes\nconcurrency: 0\nallow: {a: b}\n\
            manifests:\ndrift: off\ntoken: abc\nlimit: 3\nconcurrency: [1]\n";
        let told = told(text);
        let told: Vec<_> = told
            .iter()
            .map(|(line, column, message, hint)| (*line, *column, message.as_str(), hint.as_str()))
            .collect();
        let at = |line| told.iter().find(|told| told.0 == line).copied().unwrap();
        assert_eq!(at(1), (1, 1, "unknown option `concurency`", "did you mean concurrency?"));
        assert_eq!(at(2), (2, 8, "drift `corect` does not exist", "did you mean correct?"));
        assert_eq!(
            at(3),
            (
                3,
                9,
                "resync `5`: expected a number with a unit, such as 30s, 1m30s or 100ms",
                "`truenorth --help` says what --resync takes"
            )
        );
        assert_eq!(at(4), (4, 11, "no-adopt must be true or false", "write true or false, without quotes"));
        assert_eq!((at(5).0, at(5).1), (5, 14));
        assert!(at(5).2.contains("from 1 to 1024"), "{:?}", at(5));
        assert_eq!(at(6).2, "allow must be a single value, found a map");
        assert_eq!((at(7).2, at(7).3), ("manifests has no value", "add a value, or remove the line"));
        assert!(at(9).3.contains("token-file"), "{:?}", at(9));
        assert!(at(10).3.contains("TRUENORTH_HISTORY_LIMIT"), "{:?}", at(10));
        assert_eq!(at(11).2, "concurrency must be a single value, found a list");
        assert_eq!(told.len(), 10, "{told:#?}");
    }

    #[test]
    fn a_line_is_drawn_as_it_is_unless_it_may_hold_a_secret() {
        for (line, drawn) in [
            ("windows: [{deny: Mom 09:00-17:00, reason: holiday}]", true),
            ("concurency: 8", true),
            ("token: hunter2", false),
            ("api-urls: https://user:hunter2@example.com", false),
            ("concurency: nf0123456789abcdef0123456789", false),
        ] {
            let problems = super::read(&Arguments::command(), &"c.yaml".into(), line.as_bytes()).err().unwrap();
            let shown = anstream::adapter::strip_str(&print::problems_of_config(&problems)).to_string();
            assert_eq!(shown.contains(line), drawn, "{shown}");
            assert_eq!(shown.contains(" ::: ") || shown.contains("[hidden]"), !drawn, "{shown}");
        }
    }

    #[test]
    fn windows_stand_beside_the_options() {
        let text = "drift: off\nwindows:\n- allow: [\"Mon-Thu 09:00-17:00\", Fri 09:00-12:00]\n  deny: 2026-12-20..2027-01-03\n  \
            zone: Europe/Berlin\n  services: [shop/**, acme]\n  reason: somebody is there\n- deny: Sat,Sun\n";
        for text in [text, "windows: {deny: 22:00-06:00, services: shop}\n", "windows:\n", "windows: []\n"] {
            let says = super::read(&Arguments::command(), &"c.yaml".into(), text.as_bytes());
            let says = says.unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
            let shown: Vec<_> = says.windows.iter().map(|it| (it.line, it.window.to_string())).collect();
            let wanted: &[(u32, &str)] = match shown.len() {
                0 => &[],
                1 => &[(1, "deny 22:00-06:00 (UTC), shop")],
                _ => &[
                    (3, "allow Mon-Thu 09:00-17:00, Fri 09:00-12:00 (Europe/Berlin), shop/**, acme: somebody is there"),
                    (3, "deny 2026-12-20..2027-01-03 (Europe/Berlin), shop/**, acme: somebody is there"),
                    (8, "deny Sat,Sun (UTC), all services"),
                ],
            };
            assert_eq!(shown, wanted.iter().map(|(line, text)| (*line, (*text).to_owned())).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_mistake_in_a_window_is_told_at_its_place_with_a_way_out() {
        let text = "windows:\n- alow: Mon\n- {allow: Mom 09:00-17:00, zone: Europe/Berln}\n- deny: [Sat, 9-17]\n- 5\n\
            - {deny: Sun, services: [a b]}\n- {deny: , zone: UTC}\n- {deny: Sun, deny: Mon}\n- {deny: {a: b}, reason: [x]}\n\
            - {deny: []}\nwindow: 1\nwindows: []\n";
        let told = told(text);
        let told: Vec<_> =
            told.iter().map(|(line, column, message, hint)| (*line, *column, &**message, &**hint)).collect();
        let at = |line: u32| told.iter().filter(|told| told.0 == line).copied().collect::<Vec<_>>();
        let days = "`Mom` is not a day; the days are Mon, Tue, Wed, Thu, Fri, Sat, Sun";
        let forms = "such as \"Mon-Thu 09:00-17:00\", Sat,Sun, 22:00-06:00, 2026-12-20 or 2026-12-20..2027-01-03";
        assert_eq!(at(2)[0], (2, 3, "unknown field `alow` of a window", "did you mean allow?"));
        assert_eq!(at(2)[1].2, "a window needs allow or deny");
        assert_eq!(at(3)[0], (3, 11, &*format!("allow `Mom 09:00-17:00`: {days}"), forms));
        assert_eq!(at(3)[1], (3, 34, "zone `Europe/Berln` does not exist", "did you mean Europe/Berlin?"));
        assert_eq!((at(4)[0].1, at(4)[0].2), (15, "deny `9-17`: `9` is not a time of the day such as 09:00"));
        assert_eq!(at(5)[0].2, "a window must be a map, found a single value");
        assert_eq!(at(6)[0].2, "services `a b` is not a pattern of names");
        assert_eq!(at(7)[0].2, "deny must be text, found nothing");
        assert_eq!(at(8)[0].2, "deny is given twice");
        assert_eq!(
            (at(9)[0].2, at(9)[1].2),
            ("deny must be text, found a map", "reason must be a single value, found a list")
        );
        assert_eq!(at(10)[0].2, "deny must have 1 to 200 values");
        assert_eq!(at(11)[0], (11, 1, "unknown option `window`", "did you mean windows?"));
        assert_eq!(at(12)[0], (12, 1, "windows is given twice", "the first one is on line 1; keep one of them"));
        assert_eq!(told.len(), 14, "{told:#?}");
    }

    #[test]
    fn what_is_not_a_map_of_options_is_told() {
        for (text, message) in [
            ("- a\n", "a config file must be a map of options, found a list"),
            ("a\n", "a config file must be a map of options, found a single value"),
            ("a: b\n---\nc: d\n", "a second document begins here"),
            ("drift: &x off\n", "tags, anchors and aliases are not allowed in a config file"),
            ("drift: off\ndrift: off\n", "drift is given twice"),
            ("drift: \"off\n", "the quote that opens here is never closed"),
        ] {
            assert_eq!(told(text).first().map(|told| told.2.clone()).as_deref(), Some(message), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(told(&deep).len(), 1);
    }
}
