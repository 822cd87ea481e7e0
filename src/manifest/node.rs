//! The tree of a document, filled from YAML and JSON alike, within a budget.
//!
//! It sees what the formats' own value types hide: duplicate keys, keys that are no text, numbers of any size.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor};

/// Most values of a document, aliases counted as often as they are used. A manifest has some forty.
pub(super) const MAX_NODES: u32 = 10_000;
/// Deepest nesting. A manifest has four levels.
pub(super) const MAX_DEPTH: u32 = 64;
/// Most bytes of text in a document, aliases counted as often as they are used.
pub(super) const MAX_TEXT: usize = 2 * super::MAX_BYTES;

/// A value of a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Node<'t> {
    Null,
    Bool(bool),
    Number,
    Text(Cow<'t, str>),
    List(Vec<Node<'t>>),
    /// Entries as they stand, duplicates and all.
    Map(Vec<(Node<'t>, Node<'t>)>),
}

/// Which limit a document broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    Nodes,
    Depth,
    Text,
}

/// What a document may still use.
pub(super) struct Budget {
    nodes: Cell<u32>,
    text: Cell<usize>,
    excess: Cell<Option<Excess>>,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { nodes: Cell::new(MAX_NODES), text: Cell::new(MAX_TEXT), excess: Cell::new(None) }
    }

    /// The limit that ended the reading, where one did.
    pub(super) fn excess(&self) -> Option<Excess> {
        self.excess.get()
    }

    /// The seed of a document's root.
    pub(super) fn seed(&self) -> Seed<'_> {
        Seed { budget: self, depth: 0 }
    }

    fn refuse<E: Error>(&self, excess: Excess) -> E {
        self.excess.set(Some(excess));
        E::custom("a limit of documents is passed")
    }
}

/// Reads one value and all below it.
#[derive(Clone, Copy)]
pub(super) struct Seed<'b> {
    budget: &'b Budget,
    depth: u32,
}

impl Seed<'_> {
    fn below<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.budget.refuse(Excess::Depth));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    fn text<'t, E: Error>(self, text: Cow<'t, str>) -> Result<Node<'t>, E> {
        let Some(left) = self.budget.text.get().checked_sub(text.len()) else {
            return Err(self.budget.refuse(Excess::Text));
        };
        self.budget.text.set(left);
        Ok(Node::Text(text))
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        let Some(left) = self.budget.nodes.get().checked_sub(1) else {
            return Err(self.budget.refuse(Excess::Nodes));
        };
        self.budget.nodes.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Node<'de>, E> {
        Ok(Node::Number)
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Node<'de>, E> {
        Ok(Node::Number)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Node<'de>, E> {
        Ok(Node::Number)
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Node<'de>, E> {
        Ok(Node::Number)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Node<'de>, E> {
        Ok(Node::Number)
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Node<'de>, E> {
        self.text(Cow::Borrowed(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node<'de>, E> {
        self.text(Cow::Owned(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node<'de>, A::Error> {
        let below = self.below()?;
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(below)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let below = self.below()?;
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(below)? {
            entries.push((key, map.next_value_seed(below)?));
        }
        Ok(Node::Map(entries))
    }

    /// A YAML value with a tag. The tag is reported from the outline, which knows its place; here its value counts.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Node<'de>, A::Error> {
        let (_, value) = tagged.variant::<IgnoredAny>()?;
        value.newtype_variant_seed(self)
    }
}
