//! Words on a terminal: what may be shown of a text from outside, and short forms of counts, times, ids and names.
//! The ground floor: it knows no other module, and does no I/O.
//!
//! Everything that comes from a file, a server or a name passes through [`printable()`] before it is shown, and every
//! command through [`command`], so that each rule exists once.

mod character;
pub mod command;
mod fold;
pub mod json;
mod near;
mod printable;
pub mod short;
mod word;

use std::fmt;

pub use character::{look_alike, named};
pub use fold::{folded, folded_at, measured, width_of};
pub use near::near;
pub use printable::{Printable, is_invisible, is_steering, printable, printable_with_tabs, printable_within};
pub(crate) use word::words;

/// Most names that a sentence lists.
const LISTED: usize = 5;

/// `a, b, c, d, e and 3 more`.
#[must_use]
pub fn listed(names: &[impl fmt::Display]) -> String {
    listed_up_to(LISTED, names)
}

/// The same with so many names.
#[must_use]
pub fn listed_up_to(most: usize, names: &[impl fmt::Display]) -> String {
    let shown: Vec<String> = names.iter().take(most).map(ToString::to_string).collect();
    match names.len().saturating_sub(most) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// `1 call`, `2 calls`.
#[must_use]
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
