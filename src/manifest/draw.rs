//! Drawing a problem for people: the message, the place, the source line with a caret, the hint.

use std::sync::LazyLock;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use regex::Regex;

use super::problem::Excerpt;
use super::{Problem, Warning, leftover, suggest};
use crate::text::command::{self, Commands};
use crate::text::{folded_at, printable, printable_with_tabs};

/// How problems are drawn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drawing {
    /// Whether with ANSI colours.
    pub styled: bool,
    /// How much is drawn of a line that may hold a command, or is no field of a manifest: its harmless words, as a rule.
    pub commands: Commands,
    /// How many columns a line has, where that is known; long sentences go on below.
    pub width: Option<usize>,
}

impl Drawing {
    /// Draws a problem over several lines, without a final line break. `shown_file` is the file's name as the user knows
    /// it.
    #[must_use]
    pub fn of(&self, problem: &Problem, shown_file: &str) -> String {
        self.drawn(&Level::ERROR, problem, shown_file)
    }

    /// Draws a problem of a file of options, which has no commands. A line that may hold a secret is drawn like one of a
    /// manifest.
    #[must_use]
    pub fn of_option(&self, problem: &Problem, shown_file: &str) -> String {
        let line = problem.excerpt.as_ref().map_or("", |excerpt| &excerpt.text);
        let commands = if may_hold_secret(line) { Commands::Hidden } else { Commands::Shown };
        Self { commands, ..*self }.of(problem, shown_file)
    }

    /// Draws a warning in the same way.
    #[must_use]
    pub fn of_warning(&self, Warning(warning): &Warning, shown_file: &str) -> String {
        self.drawn(&Level::WARNING, warning, shown_file)
    }

    fn drawn(&self, level: &Level<'_>, problem: &Problem, shown_file: &str) -> String {
        let renderer = if self.styled { Renderer::styled() } else { Renderer::plain() };
        let (line, column) = (problem.line as usize, problem.column as usize);
        let title = if problem.path.is_empty() || problem.message.contains(last_part(&problem.path)) {
            problem.message.clone()
        } else {
            format!("{}: {}", problem.path, problem.message)
        };
        let title = self.beside("warning: ".len(), printable(&title).as_str());
        let mut group = Group::with_title(level.clone().primary_title(title));
        let origin = Origin::path(shown_file).line(line).char_column(column);
        let excerpt = problem.excerpt.as_ref().map(|excerpt| shown(excerpt, self.commands));
        group = match excerpt.filter(|excerpt| tells_something(&excerpt.text)) {
            None => group.element(origin),
            Some(excerpt) => {
                let caret = AnnotationKind::Primary.span(excerpt.start..excerpt.end);
                // The renderer counts the column in the excerpt, which of a long line holds only a piece.
                let counted = excerpt.text.get(..excerpt.start).map_or(0, |before| before.chars().count() + 1);
                let snippet = Snippet::source(excerpt.text).line_start(line).annotation(caret);
                if counted == column {
                    group.element(snippet.path(shown_file))
                } else {
                    group.element(origin).element(snippet)
                }
            }
        };
        if let Some(hint) = &problem.hint {
            let column = line.to_string().len() + " = hint: ".len();
            let hint = self.beside(column, printable(hint).as_str());
            group = group.element(Level::HELP.with_name("hint").message(hint));
        }
        let renderer = self.width.map_or(renderer.clone(), |width| renderer.term_width(width));
        without_breaks(&renderer.decor_style(DecorStyle::Ascii).render(&[group]))
    }

    /// A sentence that begins at a column. The renderer puts its further lines there too.
    fn beside(&self, column: usize, sentence: &str) -> String {
        folded_at(sentence, 0, self.width.map(|width| width.saturating_sub(column)))
    }
}

/// A drawing without the lines that say that what follows is of another place: there is one place.
fn without_breaks(drawing: &str) -> String {
    let is_break = |line: &str| anstream::adapter::strip_str(line).to_string().trim() == ":::";
    let lines = drawing.split_inclusive('\n').filter(|line| !(line.contains(":::") && is_break(line)));
    lines.collect()
}

/// Whether a line speaks of what may be one, as a URL with a password in it, or has a word that is as long as a token.
fn may_hold_secret(line: &str) -> bool {
    const LONG: usize = 24;
    let lower = line.to_ascii_lowercase();
    let speaks = ["token", "secret", "pass", "key", "auth", "url", "://"].iter().any(|word| lower.contains(word));
    speaks || lower.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word.len() >= LONG)
}

fn last_part(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// The excerpt as it may be shown; the caret stays under what is at fault.
fn shown(excerpt: &Excerpt, commands: Commands) -> Excerpt {
    let text = &excerpt.text;
    let (plain, harmless) = plain_until(text);
    let all = commands == Commands::Shown || harmless.of(&text[plain..]) == text[plain..];
    let plain = if all { text.len() } else { plain };
    // What is at fault in a command has no place of its own in what is shown of it.
    let start = excerpt.start.min(plain);
    let end = if excerpt.end > plain { text.len() } else { excerpt.end };
    let part = |from: usize, to: usize| {
        let known = text.get(from..to.min(plain)).unwrap_or_default();
        let rest = text.get(from.max(plain)..to).filter(|rest| !rest.is_empty());
        known.to_owned() + &rest.map(|rest| harmless.of(rest)).unwrap_or_default()
    };
    let (before, fault, after) = (part(0, start), part(start, end), part(end, text.len()));
    let places = [before.len(), before.len() + fault.len()];
    let (text, [start, end]) = printable_with_tabs(&(before + &fault + &after), places);
    Excerpt { text: text.to_string(), start, end }
}

/// Whether there is more to see in a line than that its words are hidden.
fn tells_something(shown: &str) -> bool {
    let hidden = |shown: &str| shown.contains(command::HIDDEN);
    !hidden(shown) || shown.replace(command::HIDDEN, "").contains(|c: char| c.is_alphanumeric() || "<>=|".contains(c))
}

/// What the rest of a line is.
#[derive(Clone, Copy, Debug)]
enum Rest {
    /// A command, from its first word on.
    Command,
    /// A piece of one, or what no manifest has.
    Piece,
}

impl Rest {
    /// What may be shown of it, within the quotes and brackets of the document.
    fn of(self, text: &str) -> String {
        let value = text.trim_end_matches(['}', ']', ',', ' ', '…']);
        let quote =
            ["'", "\""].into_iter().find(|quote| value.len() > 1 && value.starts_with(quote) && value.ends_with(quote));
        let (quote, within) = quote.map_or(("", value), |quote| (quote, &value[1..value.len() - 1]));
        let shown = match self {
            Self::Command => command::shown(within),
            Self::Piece => command::shown_piece(within),
        };
        format!("{quote}{shown}{quote}{}", &text[value.len()..])
    }
}

/// Up to where a line holds nothing but fields of a manifest that are no commands, and what follows.
fn plain_until(line: &str) -> (usize, Rest) {
    let (fields, rest) = fields_until(line);
    // No value of theirs has options: what has is a line that lost its end, or two that became one.
    let options = command::options_begin(line);
    if options < fields { (options, Rest::Piece) } else { (fields, rest) }
}

fn fields_until(line: &str) -> (usize, Rest) {
    if let Some(end) = leftover::plain_until(line) {
        return (end, Rest::Piece);
    }
    #[allow(clippy::expect_used, reason = "a constant pattern that tests use")]
    static FIELD: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#""([^"\\]{1,64})"\s*:\s*|'([^'\\]{1,64})'\s*:\s*|([A-Za-z_][\w.-]{0,63})\s*:(?:\s+|$|["'\[{])"#)
            .expect("a valid pattern")
    });
    let mut fields = 0;
    for found in FIELD.captures_iter(line) {
        let (Some(whole), Some(name)) = (found.get(0), (1..=3).find_map(|index| found.get(index))) else { break };
        match suggest::known(name.as_str()) {
            Some(field) if command::is_command(field) => return (whole.end(), Rest::Command),
            Some(_) => fields += 1,
            None => return (whole.end(), Rest::Piece),
        }
    }
    (if fields == 0 { line.len() - line.trim_start().len() } else { line.len() }, Rest::Piece)
}
