//! Manifests as most people write them, read in a tenth of libyaml's time: nested fields, one a line, of words that
//! nobody has to quote. With thousands of manifests that time is the better half of a pass.
//!
//! This is no reader of YAML: whatever is not plain beyond doubt (quotes, lists, anchors, numbers, a comment behind a
//! value, an empty value, a value over several lines, anything but ASCII) is left to libyaml, and so is every document
//! with a mistake. What is read here, libyaml reads the same; a property test holds the two together.

use std::iter::Peekable;

use super::SMALL;
use super::node::Node;

/// Deepest nesting that is read here. A manifest has three levels.
const MAX_DEPTH: u32 = 8;
/// Longest name of a field, in bytes; YAML's own limit is 1024 characters.
const MAX_NAME: usize = 64;

/// The tree of a plain document; nothing where it is not plain.
pub(super) fn read(text: &str) -> Option<Node<'_>> {
    if text.len() > SMALL {
        return None;
    }
    let text = text.strip_prefix("---\n").unwrap_or(text);
    let mut lines = text.split('\n').filter(|line| !line.is_empty()).filter_map(line).peekable();
    let tree = map(&mut lines, 0, 0)?;
    lines.next().is_none().then_some(tree)
}

/// A line with a field.
struct Line<'t> {
    indent: usize,
    name: &'t str,
    value: Value<'t>,
}

enum Value<'t> {
    Here(Node<'t>),
    /// A map, on the lines below.
    Below,
}

/// What a line says: nothing for a comment, `Some(None)` for what is not plain.
fn line(line: &str) -> Option<Option<Line<'_>>> {
    let content = line.trim_start_matches(' ');
    match content.strip_prefix('#') {
        Some(comment) if comment.bytes().all(|byte| matches!(byte, b' '..=b'~')) => None,
        Some(_) => Some(None),
        None => Some(field(line.len() - content.len(), content)),
    }
}

fn field(indent: usize, content: &str) -> Option<Line<'_>> {
    let (name, value) = content.split_once(':')?;
    let is_name = name.len() <= MAX_NAME && name.bytes().all(|byte| byte.is_ascii_alphanumeric()) && is_text(name);
    let value = match value {
        "" => Value::Below,
        value => Value::Here(scalar(value.strip_prefix(' ')?.trim_start_matches(' '))?),
    };
    is_name.then_some(Line { indent, name, value })
}

fn scalar(text: &str) -> Option<Node<'_>> {
    match text {
        "true" => Some(Node::Bool(true)),
        "false" => Some(Node::Bool(false)),
        text => is_text(text).then(|| Node::Text(text.into())),
    }
}

/// Whether these characters are a text, the same one, for every reader of YAML.
fn is_text(text: &str) -> bool {
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'.' | b'/' | b'_' | b'-' | b':' | b'@' | b'=' | b',')
    };
    // A number begins with something else than a letter; the words are `true`, `false` and `null`.
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(plain)
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !["true", "false", "null"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// The fields of one map: those with this indentation, up to a line with less.
fn map<'t>(
    lines: &mut Peekable<impl Iterator<Item = Option<Line<'t>>>>,
    indent: usize,
    depth: u32,
) -> Option<Node<'t>> {
    let mut entries = Vec::new();
    while let Some(next) = lines.peek() {
        match next.as_ref()?.indent {
            less if less < indent => break,
            more if more > indent => return None,
            _ => {}
        }
        let Line { name, value, .. } = lines.next()??;
        let value = match value {
            Value::Here(value) => value,
            Value::Below => {
                let below = lines.peek()?.as_ref()?.indent;
                if below <= indent || depth == MAX_DEPTH {
                    return None;
                }
                map(lines, below, depth + 1)?
            }
        };
        entries.push((Node::Text(name.into()), value));
    }
    (!entries.is_empty()).then_some(Node::Map(entries))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::DeserializeSeed as _;

    use super::super::node::Budget;
    use super::*;

    const MANIFEST: &str = "---\n# The shop.\napiVersion: truenorth/v1\nkind: ServiceDeployment\n\nmetadata:\n    \
        projectId: shop\n    serviceId: web\nspec:\n  external:\n    imagePath: ghcr.io/acme/web:1.8.2\n  docker:\n    \
        configType: customCommand\n  # Not 80.\n    customCommand: node server.js --port 8080, a=b\npolicy:\n  suspend: false\n";

    fn by_libyaml(text: &str) -> Option<Node<'_>> {
        Budget::new().seed().deserialize(serde_yaml::Deserializer::from_str(text)).ok()
    }

    #[test]
    fn an_ordinary_manifest_is_plain() {
        let tree = read(MANIFEST);
        assert!(tree.is_some());
        assert_eq!(tree, by_libyaml(MANIFEST));
    }

    #[test]
    fn what_is_not_plain_beyond_doubt_is_left_to_libyaml() {
        for text in [
            "",
            "# c",
            "a",
            "a:",
            "a: b:",
            "a: b: c",
            "a: b # c",
            "a: b ",
            "a: 1",
            "a: 'b'",
            "a: b\n  c",
            "a: b\n  c: d",
            "a:\nb: c",
            "a:\n  b: c\n d: e",
            " a: b",
            "a: null",
            "a: True",
            "null: a",
            "true: a",
            "a: b\r\nc: d",
            "a:b",
            "a: b\tc",
            "a: ü",
            "a: b\n---\nc: d",
            "a: b\n...",
            "- a: b",
            "? a",
            "a: [b]",
            "a: |\n  b",
            "a: &b c",
            "a: *b",
            "a: !b c",
            "1: a",
            "a: .5",
            "a: -b",
            "a: ~",
            "\ta: b",
            "# \u{7}\na: b",
            "%YAML 1.2\n---\na: b",
            "a: b\n- c",
        ] {
            assert_eq!(read(text), None, "{text:?} was read");
        }
    }

    /// Lines that are often plain, and often nearly so.
    fn lines() -> impl Strategy<Value = String> {
        let word = "[a-zA-Z0-9]{1,5}|true|False|null|NULL|yes|on|inf|nan|e5|x[ ./_:@=,#-]{1,3}y|[ -~]{1,6}";
        let line = prop_oneof![
            8 => (0_usize..4, word, word).prop_map(|(indent, name, value)| format!("{:1$}{name}: {value}", "", 2 * indent)),
            4 => (0_usize..4, word).prop_map(|(indent, name)| format!("{:1$}{name}:", "", 2 * indent)),
            1 => (0_usize..5, "[ -~]{0,6}").prop_map(|(indent, text)| format!("{:1$}#{text}", "", indent)),
            1 => Just(String::new()),
            1 => "[ -~\t\r]{0,8}",
            1 => Just("---".to_owned()),
        ];
        prop::collection::vec(line, 1..8).prop_map(|lines| lines.join("\n"))
    }

    /// The manifest above with a few characters changed.
    fn mutants() -> impl Strategy<Value = String> {
        let edit = (0..MANIFEST.len(), "[ -~\n\t\r]{0,2}", 0_usize..3);
        prop::collection::vec(edit, 1..4).prop_map(|edits| {
            edits.into_iter().fold(MANIFEST.to_owned(), |mut text, (at, new, removed)| {
                let at = at.min(text.len());
                let end = (at + removed).min(text.len());
                text.replace_range(at..end, &new);
                text
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn what_is_read_here_libyaml_reads_the_same(text in prop_oneof![lines(), mutants()]) {
            if let Some(tree) = read(&text) {
                prop_assert_eq!(Some(tree), by_libyaml(&text));
            }
        }
    }
}
