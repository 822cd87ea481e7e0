//! What every rule needs: walking a tree, reading a field as a type, and collecting what is wrong.
//!
//! Nothing is allocated while a document is good: a place in the tree is a chain of borrowed steps, and becomes a list
//! only when a finding is made.

use super::fields;
use super::node::Node;
use super::suggest;
use super::text::shown;

/// Most findings of one document; the rest is counted.
pub(super) const MAX_FINDINGS: usize = 100;

/// Most bytes of one text. A command that is longer is more than a system takes as an argument.
const MAX_TEXT_BYTES: usize = 64 * 1024;

/// Where a value is in the tree: the step from the value above it, and its name.
///
/// Steps count children as the outline does: a map's keys and values in turn, so that an odd step is a value and the
/// one before it is its key.
#[derive(Clone, Copy)]
pub(super) struct Spot<'c> {
    above: Option<&'c Spot<'c>>,
    step: u32,
    name: &'c str,
}

impl<'c> Spot<'c> {
    /// The document itself.
    pub(super) const ROOT: Spot<'static> = Spot { above: None, step: 0, name: "" };

    fn below(&'c self, step: u32, name: &'c str) -> Self {
        Self { above: Some(self), step, name }
    }

    /// The place among its siblings; a later one stands further down.
    pub(super) fn step(&self) -> u32 {
        self.step
    }

    /// The last part of the path.
    pub(super) fn name(&self) -> &'c str {
        self.name
    }

    /// As `spec.external.imagePath`.
    pub(super) fn path(&self) -> String {
        match self.above {
            None => String::new(),
            Some(above) => join(&above.path(), self.name),
        }
    }

    fn steps(&self) -> Vec<u32> {
        match self.above {
            None => Vec::new(),
            Some(above) => {
                let mut steps = above.steps();
                steps.push(self.step);
                steps
            }
        }
    }

    /// The steps to the key of this value; the document has none.
    fn key_steps(&self) -> Vec<u32> {
        let mut steps = self.steps();
        if let Some(last) = steps.last_mut() {
            *last = last.saturating_sub(1);
        }
        steps
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { shown(name) } else { format!("{path}.{}", shown(name)) }
}

/// A field that is there.
#[derive(Clone, Copy)]
pub(super) struct Field<'c, 'n> {
    pub(super) spot: Spot<'c>,
    pub(super) node: &'n Node<'n>,
}

/// Something wrong with a document, before it is known where in the text that stands.
pub(super) struct Finding {
    /// Steps from the document to the key or value at fault.
    pub(super) steps: Vec<u32>,
    pub(super) path: String,
    pub(super) message: String,
    pub(super) hint: Hint,
}

/// What to do about a finding; some hints need the text.
pub(super) enum Hint {
    Text(String),
    /// Write the value in quotes, exactly as it stands.
    Quote,
    /// The same of a commit, which may be too short besides.
    QuotedSha,
    /// The first of two keys stands there.
    FirstAt(Vec<u32>),
}

/// Collects findings.
#[derive(Default)]
pub(super) struct Checker {
    pub(super) findings: Vec<Finding>,
    /// How many findings there are beyond those kept.
    pub(super) more: usize,
    /// What is allowed, and worth a look.
    pub(super) warnings: Vec<Finding>,
}

impl Checker {
    /// Whether anything was found.
    pub(super) fn failed(&self) -> bool {
        !self.findings.is_empty()
    }

    /// Something wrong with a value.
    pub(super) fn at_value(&mut self, spot: &Spot<'_>, message: String, hint: Hint) {
        self.push(|| Finding { steps: spot.steps(), path: spot.path(), message, hint });
    }

    /// Something that a value may be, and that is worth a look.
    pub(super) fn warn(&mut self, spot: &Spot<'_>, message: String, hint: &str) {
        let hint = Hint::Text(hint.to_owned());
        self.warnings.push(Finding { steps: spot.steps(), path: spot.path(), message, hint });
    }

    /// Something wrong with a field's being there, or with what is not in it.
    pub(super) fn at_key(&mut self, spot: &Spot<'_>, message: String, hint: Hint) {
        self.push(|| Finding { steps: spot.key_steps(), path: spot.path(), message, hint });
    }

    /// A field that is missing from the map at `owner`. `why` follows "is missing".
    pub(super) fn missing(&mut self, owner: &Spot<'_>, name: &str) {
        let path = || join(&owner.path(), name);
        self.push(|| Finding {
            steps: owner.key_steps(),
            path: path(),
            message: format!("{name} is missing"),
            hint: Hint::Text(suggest::missing(&owner.path(), name)),
        });
    }

    /// A field that another field's value asks for.
    pub(super) fn required_by(&mut self, owner: &Spot<'_>, by: &Field<'_, '_>, message: String, name: &str) {
        let hint = Hint::Text(format!("add {name}"));
        self.push(|| Finding { steps: by.spot.steps(), path: join(&owner.path(), name), message, hint });
    }

    fn push(&mut self, finding: impl FnOnce() -> Finding) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding());
        } else {
            self.more += 1;
        }
    }

    /// The known fields of a map, in the order in which they are asked for. Others, and second ones, are reported.
    pub(super) fn fields<'c, 'n, const N: usize>(
        &mut self,
        owner: &'c Spot<'c>,
        node: &'n Node<'n>,
        known: [&'static str; N],
    ) -> Option<[Option<Field<'c, 'n>>; N]> {
        let Node::Map(entries) = node else {
            self.wrong_type(owner, node, "a map of fields");
            return None;
        };
        let mut found = [None; N];
        for ((key, node), step) in entries.iter().zip((0..).step_by(2)) {
            let Node::Text(name) = key else {
                let spot = owner.below(step + 1, "?");
                self.at_key(
                    &spot,
                    format!("a field name must be text, found {}", a_kind(key)),
                    Hint::Text("write a name of letters; one of another kind in quotes".into()),
                );
                continue;
            };
            match known.iter().position(|known| known == name) {
                None => self.unknown(owner, step, name),
                Some(index) => {
                    let spot = owner.below(step + 1, known[index]);
                    match &found[index] {
                        None => found[index] = Some(Field { spot, node }),
                        Some(first) => self.twice(&spot, &first.spot),
                    }
                }
            }
        }
        Some(found)
    }

    /// The entries of a list. `names` has room for what they are called in paths.
    pub(super) fn entries<'c, 'n>(
        &mut self,
        field: &'c Field<'_, 'n>,
        names: &'c [String],
    ) -> Option<Vec<Field<'c, 'n>>> {
        let Node::List(entries) = field.node else {
            self.wrong_type(&field.spot, field.node, "a list");
            return None;
        };
        let spots = names.iter().zip(0..).map(|(name, step)| field.spot.below(step, name));
        Some(spots.zip(entries).map(|(spot, node)| Field { spot, node }).collect())
    }

    fn unknown(&mut self, owner: &Spot<'_>, step: u32, name: &str) {
        self.push(|| Finding {
            steps: owner.below(step + 1, name).key_steps(),
            path: join(&owner.path(), name),
            message: format!("unknown field `{}`", shown(name)),
            hint: Hint::Text(suggest::field(&owner.path(), name)),
        });
    }

    fn twice(&mut self, spot: &Spot<'_>, first: &Spot<'_>) {
        self.at_key(spot, format!("{} is given twice", spot.name()), Hint::FirstAt(first.key_steps()));
    }

    /// The text of a field; what is no text is reported.
    pub(super) fn text<'n>(&mut self, field: &Field<'_, 'n>) -> Option<&'n str> {
        match field.node {
            Node::Text(text) if text.len() > MAX_TEXT_BYTES => {
                let message = format!("{} is longer than {} KiB", field.spot.name(), MAX_TEXT_BYTES / 1024);
                let hint = "put a long script into the image, and start it from there";
                self.at_value(&field.spot, message, Hint::Text(hint.into()));
                None
            }
            Node::Text(text) => Some(text),
            other => {
                self.wrong_type(&field.spot, other, "text");
                None
            }
        }
    }

    /// One of the known words; anything else is reported.
    pub(super) fn choice<T: Copy>(
        &mut self,
        field: &Field<'_, '_>,
        all: &[T],
        word: fn(T) -> &'static str,
    ) -> Option<T> {
        let text = self.text(field)?;
        let found = all.iter().copied().find(|choice| word(*choice) == text);
        if found.is_none() {
            let words: Vec<&str> = all.iter().copied().map(word).collect();
            let message = format!("{} `{}` does not exist", field.spot.name(), shown(text));
            self.at_value(&field.spot, message, Hint::Text(suggest::word(text, &words)));
        }
        found
    }

    /// A value of another type than the `wanted` one, or none at all.
    pub(super) fn wrong_type(&mut self, spot: &Spot<'_>, node: &Node<'_>, wanted: &str) {
        let name = if spot.name().is_empty() { "a manifest" } else { spot.name() };
        let message = match node {
            Node::Null => format!("{name} has no value"),
            _ => format!("{name} must be {wanted}, found {}", a_kind(node)),
        };
        let hint = match node {
            Node::Null if fields::is_required(name) => Hint::Text("add a value".into()),
            Node::Null => Hint::Text("add a value, or remove the field".into()),
            Node::Bool(_) | Node::Number if wanted == "text" => Hint::Quote,
            Node::List(_) if wanted == "text" => Hint::Text("write it as one text, as in a shell".into()),
            _ => Hint::Text(match wanted {
                "a map of fields" => "write its fields below it, indented".into(),
                "a list" => "write its entries below it, each behind a dash".into(),
                wanted => format!("write {wanted}"),
            }),
        };
        self.at_value(spot, message, hint);
    }
}

/// What a value is, with its article.
pub(super) fn a_kind(node: &Node<'_>) -> &'static str {
    match node {
        Node::Null => "nothing",
        Node::Bool(true) => "true",
        Node::Bool(false) => "false",
        Node::Number => "a number",
        Node::Text(_) => "text",
        Node::List(_) => "a list",
        Node::Map(_) => "a map",
    }
}
