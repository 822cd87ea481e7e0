//! The query of a list: which page.

use axum::extract::Query;
use axum::http::Uri;
use serde_json::{Value, json};

use super::details::{Details, finding};

/// Which part of a list is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Most entries.
    pub(super) size: usize,
    /// Begin after the entry of this id.
    pub(super) after: Option<String>,
    /// Leave out so many.
    pub(super) skip: usize,
}

impl Page {
    /// Reads `per_page` (1 to 100, else 50), `cursor` and `page` (from 1). With a cursor, `page` counts for nothing.
    ///
    /// # Errors
    /// Which of them is no good. Others are no concern of ours.
    pub(super) fn read(query: &str) -> Result<Self, Details> {
        let uri: Uri = format!("/?{query}").parse().map_err(|_| finding("query", "cannot be read"))?;
        let Query(pairs) =
            Query::<Vec<(String, String)>>::try_from_uri(&uri).map_err(|_| finding("query", "cannot be read"))?;
        let find = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let size = number("per_page", find("per_page"), 50, 100)?;
        let page = number("page", find("page"), 1, 1_000_000)?;
        let after = find("cursor").map(|cursor| {
            service_of_cursor(cursor).ok_or_else(|| finding("cursor", "is not a cursor that an answer returned"))
        });
        let after = after.transpose()?;
        let skip = if after.is_some() { 0 } else { (page - 1) * size };
        Ok(Self { size, after, skip })
    }

    /// The entries of the page, of all from where it begins, with the answer's `pagination`. `id` names the one that a
    /// cursor leads on after.
    pub(super) fn of<T>(&self, mut all: impl Iterator<Item = T>, id: impl Fn(&T) -> &str) -> (Vec<T>, Value) {
        let entries: Vec<T> = all.by_ref().take(self.size).collect();
        let has_next = all.next().is_some();
        let mut pagination = json!({"hasNextPage": has_next, "count": entries.len()});
        if let Some(last) = entries.last().filter(|_| has_next) {
            pagination["cursor"] = Self::cursor_after(id(last)).into();
        }
        (entries, pagination)
    }

    /// The cursor that leads on after an entry: its id in hexadecimal digits, which no client has to escape.
    pub(super) fn cursor_after(id: &str) -> String {
        id.bytes().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn number(name: &str, text: Option<&str>, default: usize, max: usize) -> Result<usize, Details> {
    let Some(text) = text else { return Ok(default) };
    let number = text.parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| finding(name, &format!("must be a whole number from 1 to {max}")))
}

fn service_of_cursor(cursor: &str) -> Option<String> {
    let bytes = cursor.as_bytes().chunks(2).map(|pair| {
        let digits = std::str::from_utf8(pair).ok().filter(|digits| digits.len() == 2 && !digits.contains('+'))?;
        u8::from_str_radix(digits, 16).ok()
    });
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_and_bounded() {
        let page = |query| Page::read(query).ok().map(|page| (page.size, page.after, page.skip));
        assert_eq!(page(""), Some((50, None, 0)));
        assert_eq!(page("per_page=100&page=3"), Some((100, None, 200)));
        let after = format!("cursor={}&page=3", Page::cursor_after("wéb&1"));
        assert_eq!(page(&after), Some((50, Some("wéb&1".to_owned()), 0)));
        for bad in ["per_page=0", "per_page=101", "per_page=x", "page=0", "cursor=zz", "cursor=1", "page=-1"] {
            assert_eq!(page(bad), None, "{bad}");
        }
    }
}
