//! What has to go where a folder holds more than there is room for. Every folder shares its room evenly among what it
//! holds, so whoever puts much into one place loses that, and nobody else anything.

/// Something that takes room, by its path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'p> {
    pub(super) path: &'p str,
    pub(super) cost: u64,
}

/// The paths that have to go so that the rest fits. Nothing goes where all fits, and of two files or folders beside each
/// other never the smaller one alone. An item that is the path of a folder comes before what is in that folder.
pub(super) fn over<'p>(items: impl IntoIterator<Item = Item<'p>>, room: u64) -> Vec<&'p str> {
    let mut items: Vec<_> = items.into_iter().collect();
    // Name by name, so that all of a folder stands together.
    items.sort_unstable_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
    let mut gone = Vec::new();
    share(&items, 0, room, &mut gone);
    gone
}

/// Shares the room of the folder whose path has this length among its items; returns how much of it is used.
fn share<'p>(items: &[Item<'p>], prefix: usize, room: u64, gone: &mut Vec<&'p str>) -> u64 {
    if total(items) <= room {
        return total(items);
    }
    let (own, below) = items.split_at(items.iter().take_while(|item| item.path.len() <= prefix).count());
    let mut left = room;
    for item in own {
        keep(item, &mut left, gone);
    }
    let name = |item: &Item<'p>| item.path[prefix..].split('/').find(|name| !name.is_empty()).unwrap_or_default();
    let mut groups: Vec<&[Item<'p>]> = below.chunk_by(|a, b| name(a) == name(b)).collect();
    groups.sort_by_key(|group| total(group));

    // Who needs less than an equal share has all of it, and the others share what that leaves.
    let mut waiting = groups.len() as u64;
    let mut large = groups.into_iter().peekable();
    while let Some(group) = large.next_if(|group| total(group) <= left / waiting) {
        left -= total(group);
        waiting -= 1;
    }
    let equal = left / waiting.max(1);
    let mut files = Vec::new();
    for group in large {
        match group {
            [file] => files.push(file),
            folder => {
                let start = folder[0].path[prefix..].len() - folder[0].path[prefix..].trim_start_matches('/').len();
                left -= share(folder, prefix + start + name(&folder[0]).len(), equal, gone);
            }
        }
    }
    // A file cannot be had in part, so the files take from what nobody used, the smallest first.
    for file in files {
        keep(file, &mut left, gone);
    }
    room - left
}

fn keep<'p>(item: &Item<'p>, left: &mut u64, gone: &mut Vec<&'p str>) {
    match left.checked_sub(item.cost) {
        Some(rest) => *left = rest,
        None => gone.push(item.path),
    }
}

fn total(items: &[Item<'_>]) -> u64 {
    items.iter().map(|item| item.cost).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(items: &[(&'static str, u64)], room: u64) -> Vec<&'static str> {
        let mut gone = over(items.iter().map(|(path, cost)| Item { path, cost: *cost }), room);
        gone.sort_unstable();
        gone
    }

    #[test]
    fn nothing_goes_where_all_fits() {
        assert_eq!(gone(&[("a", 60), ("b/c", 40)], 100), [""; 0]);
    }

    #[test]
    fn whoever_puts_much_into_a_folder_loses_that_alone() {
        let mut items = vec![("shop/a.yaml", 9), ("shop/b.yaml", 20), ("top.yaml", 5)];
        items.extend(["evil/a", "evil/b", "evil/c", "evil/d", "evil/e/f", "evil/e/g"].map(|path| (path, 21)));
        assert_eq!(gone(&items, 100), ["evil/d", "evil/e/f", "evil/e/g"]);
        // However small the pieces are.
        let many: Vec<String> = (0..1000).map(|number| format!("evil/{number}")).collect();
        let pieces = many.iter().map(|path| Item { path, cost: 1 });
        let gone = over(pieces.chain(items[..3].iter().map(|(path, cost)| Item { path, cost: *cost })), 100);
        assert!(gone.len() == 934 && gone.iter().all(|path| path.starts_with("evil/")), "{}", gone.len());
    }

    #[test]
    fn of_files_beside_each_other_the_smallest_stay() {
        assert_eq!(gone(&[("a", 60), ("b", 50), ("c", 10), ("d", 40)], 100), ["a"]);
        assert_eq!(gone(&[("a", 60), ("b", 70)], 100), ["b"]);
        assert_eq!(gone(&[("a", 30), ("b", 30), ("c", 30), ("d", 30)], 100), ["d"]);
    }

    #[test]
    fn what_is_of_a_folder_comes_before_what_is_in_it() {
        assert_eq!(gone(&[("", 90), ("x", 11), ("y", 5)], 100), ["x"]);
        assert_eq!(gone(&[("x", 90), ("x/y", 11), ("y", 5)], 100), ["x/y"]);
        assert_eq!(gone(&[("", 101), ("x", 11)], 100), [""]);
    }

    #[test]
    fn names_that_begin_alike_are_different_folders() {
        assert_eq!(gone(&[("a", 1), ("a-b/c", 50), ("a/b", 50), ("a/c", 40)], 100), ["a/b"]);
    }
}
