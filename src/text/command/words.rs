//! The words of a command, and which of them are plainly harmless.

use std::sync::LazyLock;

use regex::Regex;

/// Most words that are judged one by one; the rest is one hidden word.
const MAX_WORDS: usize = 256;

/// Words that command lines are made of: nobody's secret, wherever they stand.
const COMMON: &str = "all api app apply auto beat build celery collectstatic consume cron cron-worker daemon debug default \
     deploy dev development down error exec false flask gunicorn head html index info init install jobs \
     js json listen localhost main manage migrate mix no node none off on preview prod production puma \
     python queue rails rake release run runserver scheduler serve server sidekiq staging start stop test \
     text thread threads trace true up upgrade utf8 utf-8 uvicorn verbose warn warning watch web worker \
     workers yes";
/// Options of one dash and several letters that are no letter with its value behind it.
const ONE_DASH: &str = "-addr -bind -classpath -conf -config -cp -debug -env -help -host -jar -level -listen -log -port \
     -server -verbose -version -workers";
/// Options with `NAME=value` behind them.
const ASSIGNING: &str = "e env build-arg set";
/// What begins another simple command.
const SEPARATORS: &str = "&& || | ; & ( ) { } ! then do else";
const REDIRECTIONS: &str = "> >> < 2>&1 >&2 2> &>";
/// Programs that run the command behind them.
const PREFIXES: &str = "exec env nohup time sudo command tini dumb-init export set";
const SHELLS: &str = "sh bash ash dash zsh";
/// Programs that take `module:name`.
const PYTHON_SERVERS: &str = "gunicorn uvicorn hypercorn granian daphne waitress-serve";
/// Programs with scripts as `start:prod`.
const SCRIPT_RUNNERS: &str = "npm yarn pnpm bun php rails rake";
/// Folders that programs are kept in; a path that begins otherwise may be `user/password`.
const FOLDERS: &str = "app bin build cmd config dist lib node_modules out public scripts src target";
const ENDINGS: &str = "bat cfg cjs conf config dll env ex exe exs go html ini jar js json jsx log lua mjs php pl properties \
     py rb rs ru service sh so sock sql toml ts tsx txt war xml yaml yml";
/// Parts of words behind which a secret may stand in any form.
const SPEAKING: &str = "pass pwd secret token auth cred key login otp salt sign hmac bearer licen priv user cookie session \
     dsn url uri connection crypt unlock unseal hook mnemonic";
/// The same where they are all of a word, or stand between dashes: within others they mean nothing.
const SPEAKING_WHOLE: &str = "pw pin psk pat jwt seed code phrase sas sid cvv iban basic";
/// Programs that print or take what is behind them.
const TELLING: &str = "echo printf expect mysql redis-cli openssl sqlplus ldapsearch";

/// A word, and what of it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// As it was written.
    pub(super) text: String,
    /// How many bytes of its start are harmless; all of them where it hides nothing.
    harmless: usize,
    /// The quotes around a command within the command.
    around: (String, String),
}

impl Word {
    fn new(text: &str, harmless: usize) -> Self {
        Self { text: text.to_owned(), harmless, around: Default::default() }
    }

    /// The word with this in place of what is not shown.
    pub(super) fn shown(&self, stand_in: &str) -> String {
        let (start, rest) = self.text.split_at(self.harmless);
        let (open, close) = &self.around;
        format!("{open}{start}{}{close}", if rest.is_empty() { "" } else { stand_in })
    }

    /// What of it is not shown.
    pub(super) fn hidden(self) -> Option<String> {
        Some(self.text[self.harmless..].to_owned()).filter(|hidden| !hidden.is_empty())
    }
}

/// The words of a command.
pub(super) fn words(command: &str) -> Vec<Word> {
    read(command, Reader::default())
}

/// The words of a piece of a command: the first may be the value of any option.
pub(super) fn words_of_piece(piece: &str) -> Vec<Word> {
    let option = Some("p".to_owned());
    read(piece, Reader { program: Some(String::new()), options: true, option, ..Reader::default() })
}

fn read(command: &str, mut reader: Reader) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = command.trim_start();
    while !rest.is_empty() {
        if words.len() >= MAX_WORDS {
            words.push(Word::new(rest, 0));
            break;
        }
        let (word, after) = rest.split_at(end_of_word(rest));
        words.extend(reader.read(word));
        rest = after.trim_start();
    }
    words
}

/// Where the first word ends: at a blank outside of quotes.
fn end_of_word(text: &str) -> usize {
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => drop(chars.next()),
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, None) if c.is_whitespace() => return at,
            _ => {}
        }
    }
    text.len()
}

/// Where in a command the reader is.
#[derive(Debug, Default)]
struct Reader {
    /// The program of the simple command, once it was read.
    program: Option<String>,
    /// Plain words behind it.
    plain: usize,
    /// Whether there was an option.
    options: bool,
    /// The option whose value may come.
    option: Option<String>,
    /// Whether nothing is shown up to the end of the simple command.
    silent: bool,
    /// Whether nothing is shown any more: what follows is input of a program.
    ended: bool,
}

/// How many words behind a program are its subcommands.
const SUBCOMMANDS: usize = 3;

impl Reader {
    fn read(&mut self, text: &str) -> Vec<Word> {
        if self.ended || text.starts_with("<<") {
            self.ended = true;
            return vec![Word::new(text, 0)];
        }
        if let Some(within) = self.command_within(text) {
            return within;
        }
        let (bare, ends) = match text.strip_suffix(';') {
            Some(bare) if !bare.is_empty() => (bare, true),
            _ => (text, false),
        };
        let harmless = self.harmless(bare);
        if ends {
            *self = Self::default();
        }
        vec![Word::new(text, if harmless == bare.len() { text.len() } else { harmless })]
    }

    /// The words of `"…"` in `sh -c "…"`.
    fn command_within(&mut self, text: &str) -> Option<Vec<Word>> {
        let is_shell = self.program.as_deref().is_some_and(|program| is_in(SHELLS, program));
        if !is_shell || self.silent || self.option.as_deref() != Some("c") {
            return None;
        }
        let command = unquoted(text);
        let quote = text.get(..1).filter(|_| command.len() < text.len())?;
        if command.contains('\\') || command.contains(quote) {
            return None;
        }
        let mut within = words(command);
        within.first_mut()?.around.0 = quote.to_owned();
        within.last_mut()?.around.1 = quote.to_owned();
        self.option = None;
        Some(within)
    }

    /// How many bytes of a word's start are harmless.
    fn harmless(&mut self, text: &str) -> usize {
        if is_in(SEPARATORS, text) {
            *self = Self::default();
            return text.len();
        }
        if is_in(REDIRECTIONS, text) {
            return text.len();
        }
        let option = self.option.take();
        if let Some(length) = self.option(text) {
            return length;
        }
        let may_assign = option.as_deref().is_none_or(|option| is_in(ASSIGNING, option)) && !self.silent;
        if let Some(found) = pattern(&ASSIGNMENT, text).filter(|_| may_assign) {
            // What stands before a program belongs to its environment.
            self.options |= self.program.is_some();
            return named_value(text, found);
        }
        let all_if = |harmless: bool| if harmless { text.len() } else { 0 };
        let plain = unquoted(text);
        if let Some(option) = option {
            let module = option == "m" && self.program.as_deref().is_some_and(|program| program.starts_with("python"));
            return all_if(
                (module && matches(&MODULE, plain))
                    || is_harmless_value(&option, plain) && !(self.silent && option.len() == 1),
            );
        }
        let Some(program) = self.program.clone() else { return all_if(self.begin(plain)) };
        if self.silent {
            return all_if(is_variable(plain));
        }
        let takes = |programs| is_in(programs, &program);
        let named = is_plain(plain) && !self.options && self.plain < SUBCOMMANDS;
        // Behind a file or a number no subcommand comes.
        self.plain = if named { self.plain + 1 } else { SUBCOMMANDS };
        self.silent = speaks(plain);
        all_if(
            named
                || is_harmless_value("", plain)
                || is_path(plain)
                || (takes(PYTHON_SERVERS) && matches(&PYTHON_NAME, plain))
                || (takes(SCRIPT_RUNNERS) && !self.options && matches(&SCRIPT, plain)),
        )
    }

    /// Reads the first word of a simple command.
    fn begin(&mut self, text: &str) -> bool {
        let program = text.rsplit('/').next().unwrap_or(text);
        let harmless =
            [&PROGRAM, &NUMBER].into_iter().any(|form| matches(form, text)) || is_path(text) || is_variable(text);
        if !(harmless && is_in(PREFIXES, program)) {
            self.program = Some(program.to_owned());
            self.silent = !harmless || is_in(TELLING, program) || speaks(program);
        }
        harmless
    }

    /// How much of an option is harmless; nothing where it is none.
    fn option(&mut self, text: &str) -> Option<usize> {
        if !text.starts_with('-') || text == "-" {
            return None;
        }
        self.options = true;
        if let Some(found) = pattern(&LONG_VALUE, text).or_else(|| pattern(&JAVA_PROPERTY, text)) {
            return Some(named_value(text, found));
        }
        let name = text.trim_start_matches('-');
        let is_shells = self.program.as_deref().is_some_and(|program| is_in(SHELLS, program));
        if is_shells && matches(&SHELL_COMMAND, text) {
            self.option = Some("c".to_owned());
            return Some(text.len());
        }
        if text == "--" || matches(&JAVA_MEMORY, text) {
            return Some(text.len());
        }
        self.option = Some(name.to_owned());
        if matches(&LONG, text) || name.chars().count() == 1 || is_in(ONE_DASH, text) {
            return Some(text.len());
        }
        // `-pSECRET`: the letter, and what is its value.
        let letter = matches(&SHORT_VALUE, text);
        Some(if letter { 2 } else { 0 })
    }
}

/// How much of `name=value` is harmless, where the name ends.
fn named_value(text: &str, name: (usize, &str)) -> usize {
    let (end, name) = name;
    if is_harmless_value(name, unquoted(&text[end..])) { text.len() } else { end }
}

/// A word without the quotes around it.
fn unquoted(text: &str) -> &str {
    ['"', '\''].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(text)
}

/// A value behind an option, or of a variable. One letter says too little of what its value is.
fn is_harmless_value(name: &str, value: &str) -> bool {
    is_variable(value)
        || (!speaks(name)
            && (matches!(value, "" | "daemon off;")
                || (name.len() != 1 && is_in(COMMON, value))
                || matches(&NUMBER, value)
                || matches(&ADDRESS, value)
                || is_path(value)))
}

/// Whether it is one of these words.
fn is_in(words: &str, word: &str) -> bool {
    words.split(' ').any(|known| known == word)
}

/// A short word, as subcommands are. What has hexadecimal digits only is hardly one.
fn is_plain(text: &str) -> bool {
    const LONGEST: usize = 20;
    const HARDLY: usize = 8;
    let is_hexadecimal = text.len() >= HARDLY && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.len() <= LONGEST && !is_hexadecimal && matches(&PLAIN, text)
}

fn is_variable(text: &str) -> bool {
    matches(&VARIABLE, text)
}

fn is_path(text: &str) -> bool {
    let first = text.split('/').next().unwrap_or_default();
    let is_rooted = text.contains('/') && (matches!(first, "" | "." | ".." | "~") || is_in(FOLDERS, first));
    let is_file = || text.rsplit_once('.').is_some_and(|(name, ending)| !name.is_empty() && is_in(ENDINGS, ending));
    (is_rooted || is_file()) && matches(&PATH, text)
}

/// Whether a word speaks of what is kept secret.
fn speaks(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    SPEAKING.split(' ').any(|part| word.contains(part))
        || word.split(|c: char| !c.is_alphanumeric()).any(|part| is_in(SPEAKING_WHOLE, part))
}

/// A name of a file or folder: words, humps, versions. Letters behind digits are of a key as a rule.
const SEGMENT: &str = r"(?:[*]|[a-z]{0,20}(?:[A-Z][a-z]{1,12}){0,4}[0-9]{0,3})(?:[._-](?:[*]|[a-z]{0,20}(?:[A-Z][a-z]{1,12}){0,4}[0-9]{0,3})){0,6}";

type Pattern = LazyLock<Regex>;

#[allow(clippy::expect_used, reason = "constant patterns that tests use")]
fn compiled(pattern: &str) -> Regex {
    Regex::new(&format!("^(?:{pattern})$")).expect("a valid pattern")
}

macro_rules! patterns {
    ($($name:ident = $pattern:expr;)*) => { $(static $name: Pattern = LazyLock::new(|| compiled($pattern));)* };
}

patterns! {
    PROGRAM = r"[a-z]{1,20}[0-9]{0,2}(?:[._-][a-z0-9]{1,16}){0,3}";
    PLAIN = r"[a-z]{1,16}(?:[-_][a-z]{1,16}){0,3}";
    MODULE = r"[a-z_]{1,32}(?:\.[a-z_]{1,32}){0,4}";
    PYTHON_NAME = r"[a-z_]{1,32}(?:\.[a-z_]{1,32}){0,4}:[a-z_]{1,32}(?:\(\))?";
    SCRIPT = r"[a-z]{1,16}(?:[:_-][a-z]{1,16}){0,3}";
    NUMBER = r"-?[0-9]{1,5}(?:\.[0-9]{1,3})?(?:ms|s|m|h|d|k|K|M|G|Mi|Gi|MB|GB|%)?";
    ADDRESS = r"(?:https?://)?(?:localhost|[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[::1?\]|)(?::[0-9]{1,5})?/?";
    VARIABLE = r"\$(?:[A-Z]{1,24}(?:_[A-Z0-9]{1,24}){0,6}|\{[A-Z]{1,24}(?:_[A-Z0-9]{1,24}){0,6}(?::-[0-9]{1,5})?\}|@|\*|[0-9])";
    PATH = &format!(r"(?:[~.]{{0,2}}/)?{SEGMENT}(?:/{SEGMENT}){{0,16}}");
    LONG = r"--[A-Za-z]{1,20}[0-9]{0,2}(?:[._-][A-Za-z]{1,20}[0-9]{0,2}){0,6}";
    LONG_VALUE = r"(--([A-Za-z]{1,20}[0-9]{0,2}(?:[._-][A-Za-z]{1,20}[0-9]{0,2}){0,6})=)(?s:.*)";
    JAVA_PROPERTY = r"(-D([a-z]{1,20}(?:[._-][a-zA-Z]{1,20}){0,8})=)(?s:.*)";
    JAVA_MEMORY = r"-X(?:mx|ms|ss)[0-9]{1,5}[kmgKMG]?";
    SHELL_COMMAND = r"-[eluox]{0,4}c";
    SHORT_VALUE = r"-[A-Za-z](?s:.*)";
    ASSIGNMENT = r"(([A-Z]{1,16}[0-9]{0,2}(?:_[A-Z]{0,16}[0-9]{0,2}){0,6}|[a-z]{1,16}(?:[._-][a-z]{1,16}){0,4})=)(?s:.*)";
}

fn matches(pattern: &Pattern, text: &str) -> bool {
    pattern.is_match(text)
}

/// Where `name=` ends, and the name.
fn pattern<'t>(pattern: &Pattern, text: &'t str) -> Option<(usize, &'t str)> {
    let found = pattern.captures(text)?;
    Some((found.get(1)?.end(), found.get(2)?.as_str()))
}
