//! A manifest as a person would write it. Texts are plain where every reader of YAML, old ones too, takes them for the
//! text that they are; else quoted, and over several lines where they have several.

use std::fmt::Write as _;

use serde_json::Value;

use super::describe::Described;
use crate::manifest::fields;
use crate::model::ServiceKey;
use crate::plan::CREDENTIALS;

/// Words that some reader of YAML takes for something else than a text.
const WORDS: [&str; 11] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"];

/// The text of a manifest, which names its JSON Schema for editors where that is at hand.
pub(super) fn manifest(key: &ServiceKey, described: &Described, schema: Option<&str>) -> String {
    let mut yaml = Yaml(String::new());
    if let Some(schema) = schema {
        yaml.line(0, &format!("# yaml-language-server: $schema={schema}"));
    }
    yaml.line(0, "# Written by `truenorth import` from what runs.");
    yaml.field(0, "apiVersion", "truenorth/v1");
    yaml.field(0, "kind", "ServiceDeployment");
    yaml.line(0, "metadata:");
    yaml.field(2, "projectId", key.project.as_str());
    yaml.field(2, "serviceId", key.service.as_str());
    if let Some(team) = &key.team {
        yaml.field(2, "teamId", team.as_str());
    }
    yaml.line(0, "spec:");
    // The body of the call is what a spec says, field for field.
    let body = serde_json::to_value(&described.update).unwrap_or_default();
    yaml.parts(&body, ["external", "internal"]);
    for untold in &described.untold {
        match untold.path {
            CREDENTIALS => yaml.line(4, "# credentials: <id of the saved credentials>"),
            path => {
                let _ = writeln!(yaml.0, "  # {path}: {}", untold.why);
            }
        }
    }
    yaml.parts(&body, ["buildpack", "docker"]);
    yaml.0
}

/// A document that grows by lines.
struct Yaml(String);

impl Yaml {
    fn line(&mut self, indent: usize, text: &str) {
        let _ = writeln!(self.0, "{:indent$}{text}", "");
    }

    fn field(&mut self, indent: usize, name: &str, text: &str) {
        let _ = write!(self.0, "{:indent$}{name}: ", "");
        write_text(&mut self.0, indent + 2, text);
    }

    /// The parts of a spec that are there.
    fn parts(&mut self, body: &Value, parts: [&str; 2]) {
        for part in parts {
            let Some(values) = body.get(part) else { continue };
            self.line(2, &format!("{part}:"));
            for name in fields::of(&format!("spec.{part}")) {
                if let Some(text) = values[name].as_str() {
                    self.field(4, name, text);
                }
            }
        }
    }
}

/// Writes a text and the end of its line.
fn write_text(out: &mut String, indent: usize, text: &str) {
    if is_plain(text) {
        let _ = writeln!(out, "{text}");
    } else if is_block(text) {
        let (chomp, body) = match text.strip_suffix('\n') {
            Some(body) => ("", body),
            None => ("-", text),
        };
        let _ = writeln!(out, "|{chomp}");
        for line in body.split('\n') {
            let _ = if line.is_empty() { writeln!(out) } else { writeln!(out, "{:indent$}{line}", "") };
        }
    } else if text.chars().all(is_printable) && (!text.contains('\'') || text.contains(['"', '\\'])) {
        let _ = writeln!(out, "'{}'", text.replace('\'', "''"));
    } else {
        let _ = writeln!(out, "\"{}\"", text.chars().map(escaped).collect::<String>());
    }
}

/// Whether a text can stand without quotes: it begins with a letter or is a path, holds nothing that means something in
/// YAML, and is neither a word nor a number.
fn is_plain(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic())
        || (text.contains('/') && text.starts_with(|c: char| c.is_ascii_digit() || c == '/'));
    let harmless = |c: char| c.is_ascii_alphanumeric() || " /._-=+@:,()".contains(c);
    begins
        && text.chars().all(harmless)
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// Whether a text of several lines can stand as a block: nothing in it would be lost or taken for indentation.
fn is_block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.starts_with([' ', '\n'])
        && !body.ends_with('\n')
        && body.split('\n').all(|line| line.is_empty() || !line.trim().is_empty())
        && body.chars().all(|c| c == '\n' || is_printable(c))
}

/// Characters that a person sees as what they are. Whatever else there may be is escaped.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~') || (!c.is_ascii() && c.is_alphanumeric())
}

fn escaped(c: char) -> String {
    match c {
        '"' | '\\' => format!("\\{c}"),
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        c if is_printable(c) => c.to_string(),
        c => format!("\\U{:08x}", u32::from(c)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = String::new();
        write_text(&mut out, 2, text);
        out.pop();
        out
    }

    #[test]
    fn a_text_is_written_in_the_plainest_way_that_every_reader_understands() {
        for (text, expected) in [
            ("node server.js --port 8080", "node server.js --port 8080"),
            ("ghcr.io/acme/web:1.2", "ghcr.io/acme/web:1.2"),
            ("1.dkr.ecr.amazonaws.com/web:1", "1.dkr.ecr.amazonaws.com/web:1"),
            ("/bin/sh", "/bin/sh"),
            ("yes", "'yes'"),
            ("Off", "'Off'"),
            ("1.0", "'1.0'"),
            ("1e3", "'1e3'"),
            ("~", "'~'"),
            ("", "''"),
            ("# no comment", "'# no comment'"),
            ("a #b", "'a #b'"),
            ("a: b", "'a: b'"),
            ("- a", "'- a'"),
            ("sh -c \"run\"", "'sh -c \"run\"'"),
            ("it's", "\"it's\""),
            ("'\"", "'''\"'"),
            ("a\tb", "\"a\\tb\""),
            ("\u{1b}[2J", "\"\\U0000001b[2J\""),
            ("grün", "'grün'"),
            ("a\nb", "|-\n  a\n  b"),
            ("a\n\n  b\n", "|\n  a\n\n    b"),
            (" a\nb", "\" a\\nb\""),
            ("a\nb\n\n", "\"a\\nb\\n\\n\""),
            ("a\n \nb", "\"a\\n \\nb\""),
        ] {
            assert_eq!(written(text), expected, "{text:?}");
            let read: String = serde_yaml::from_str(&format!("{}\n", written(text))).unwrap();
            assert_eq!(read, text);
        }
    }
}
