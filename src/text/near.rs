//! The known name that somebody may have meant.

/// Longer names are compared with none.
const MAX_NAME: usize = 256;

/// The known name that is most like the given one, if it is at least so much alike (of 1), whatever its case.
#[must_use]
pub fn near<'k>(given: &str, known: &[&'k str], cutoff: f32) -> Option<&'k str> {
    if given.len() > MAX_NAME {
        return None;
    }
    let lower: Vec<String> = known.iter().map(|name| name.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let given = given.to_ascii_lowercase();
    let best = *similar::get_close_matches(given.as_str(), &lower, 1, cutoff).first()?;
    known.iter().find(|name| name.eq_ignore_ascii_case(best)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_alike_is_taken_and_a_long_name_none() {
        assert_eq!(near("chekout", &["web", "Checkout"], 0.6), Some("Checkout"));
        assert_eq!(near("q", &["web", "checkout"], 0.6), None);
        assert_eq!(near(&"web".repeat(100_000), &["web"], 0.6), None);
    }
}
