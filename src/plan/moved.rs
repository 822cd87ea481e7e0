//! Manifests that moved: one that names another service than before, with the same content. Told as such, it is one line
//! instead of an orphaned service and a new one that nobody connects.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::model::ServiceKey;

/// A service with its content and the file that names it, or named it last.
#[derive(Clone, Debug)]
pub struct Named {
    pub service: ServiceKey,
    pub file: String,
    /// The body of its update.
    pub content: Value,
}

/// Among more services of one content nobody can tell which of them is which.
const MOST_ALIKE: usize = 50;

/// What two services of the same content may share, the surest first.
const SIGNS: [fn(&Named, &Named) -> bool; 3] =
    [|new, old| new.file == old.file, |new, old| new.service.service == old.service.service, |_, _| true];

/// New services whose content an orphaned one had, each with that one. Where several could be meant, none is.
#[must_use]
pub fn moved(new: &[Named], orphaned: &[Named]) -> BTreeMap<ServiceKey, ServiceKey> {
    let mut alike: HashMap<String, (Vec<&Named>, Vec<&Named>)> = HashMap::new();
    for old in orphaned {
        alike.entry(old.content.to_string()).or_default().1.push(old);
    }
    for new in new {
        if let Some((news, _)) = alike.get_mut(&new.content.to_string()) {
            news.push(new);
        }
    }
    let mut moved = BTreeMap::new();
    for (mut news, mut olds) in alike.into_values().filter(|(news, olds)| news.len().max(olds.len()) <= MOST_ALIKE) {
        for sign in SIGNS {
            let only = |one: &Named, many: &[&Named], other: &dyn Fn(&Named) -> bool| {
                other(one) && many.iter().filter(|named| other(named)).count() == 1
            };
            let pairs: Vec<(ServiceKey, ServiceKey)> = news
                .iter()
                .filter_map(|new| {
                    let mut matching = olds.iter().filter(|old| sign(new, old));
                    let old = matching.next().filter(|_| matching.next().is_none())?;
                    only(new, &news, &|named| sign(named, old)).then(|| (new.service.clone(), old.service.clone()))
                })
                .collect();
            news.retain(|new| pairs.iter().all(|(paired, _)| *paired != new.service));
            olds.retain(|old| pairs.iter().all(|(_, paired)| *paired != old.service));
            moved.extend(pairs);
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(service: &str, file: &str, content: &str) -> Named {
        Named { service: service.parse().unwrap(), file: file.to_owned(), content: content.into() }
    }

    fn paired(new: &[Named], old: &[Named]) -> Vec<(String, String)> {
        moved(new, old).into_iter().map(|(new, old)| (new.to_string(), old.to_string())).collect()
    }

    fn pair(new: &str, old: &str) -> (String, String) {
        (new.to_owned(), old.to_owned())
    }

    #[test]
    fn a_manifest_moved_where_its_content_is_that_of_an_orphan() {
        let old = [named("shop/web", "web.yaml", "a")];
        assert_eq!(paired(&[named("store/web", "web.yaml", "a")], &old), [pair("store/web", "shop/web")]);
        assert_eq!(paired(&[named("shop/site", "site.yaml", "a")], &old), [pair("shop/site", "shop/web")]);
        assert_eq!(paired(&[named("store/web", "web.yaml", "b")], &old), []);
        assert_eq!(paired(&[], &old), []);
    }

    #[test]
    fn of_several_that_are_alike_file_and_service_decide_and_else_nobody_does() {
        let old = [named("shop/a", "a.yaml", "x"), named("shop/b", "b.yaml", "x"), named("shop/c", "c.yaml", "x")];
        let new =
            [named("store/a", "a.yaml", "x"), named("store/b", "new/b.yaml", "x"), named("store/q", "q.yaml", "x")];
        let all = [pair("store/a", "shop/a"), pair("store/b", "shop/b"), pair("store/q", "shop/c")];
        assert_eq!(paired(&new, &old), all);
        let new = [named("store/p", "p.yaml", "x"), named("store/q", "q.yaml", "x")];
        assert_eq!(paired(&new, &old), []);
        assert_eq!(paired(&new, &old[..1]), []);
    }
}
