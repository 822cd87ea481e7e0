//! The order that dependencies between services give, and where they give none.

use std::collections::{BTreeMap, HashMap};

use super::{Desired, ServiceKey};

/// The services that depend on others or are depended on, in groups: what a group depends on is in itself or in one
/// before it. A group of several services is a cycle. Takes time in proportion to services and dependencies (Tarjan's
/// strongly connected components, without recursion: a chain may be as long as there are services).
#[must_use]
pub fn in_order(desired: &BTreeMap<ServiceKey, Desired>) -> Vec<Vec<&ServiceKey>> {
    let mut graph = Graph::of(desired);
    for root in 0..graph.services.len() {
        if graph.services[root].index.is_none() {
            graph.visit(root);
        }
    }
    let groups = graph.groups.iter();
    groups.map(|group| group.iter().map(|number| graph.services[*number].key).collect()).collect()
}

struct Graph<'d> {
    services: Vec<Node<'d>>,
    /// How many were visited.
    visited: usize,
    /// Visited, and in no group yet.
    open: Vec<usize>,
    groups: Vec<Vec<usize>>,
}

struct Node<'d> {
    key: &'d ServiceKey,
    depends_on: Vec<usize>,
    /// When it was visited.
    index: Option<usize>,
    /// The service visited first that it leads back to.
    low: usize,
    is_open: bool,
}

impl<'d> Graph<'d> {
    fn of(desired: &'d BTreeMap<ServiceKey, Desired>) -> Self {
        let mut numbers: HashMap<&ServiceKey, usize> = HashMap::new();
        let mut services: Vec<Node<'d>> = Vec::new();
        let mut number = |key: &'d ServiceKey, services: &mut Vec<Node<'d>>| {
            *numbers.entry(key).or_insert_with(|| {
                services.push(Node { key, depends_on: Vec::new(), index: None, low: 0, is_open: false });
                services.len() - 1
            })
        };
        for (key, of) in desired.iter().filter(|(_, of)| !of.policy.depends_on.is_empty()) {
            let from = number(key, &mut services);
            for dependency in of.policy.depends_on.iter() {
                // What no manifest names gives no order.
                if let Some((dependency, _)) = desired.get_key_value(dependency) {
                    let to = number(dependency, &mut services);
                    services[from].depends_on.push(to);
                }
            }
        }
        Self { services, visited: 0, open: Vec::new(), groups: Vec::new() }
    }

    fn enter(&mut self, number: usize) {
        let node = &mut self.services[number];
        (node.index, node.low, node.is_open) = (Some(self.visited), self.visited, true);
        self.visited += 1;
        self.open.push(number);
    }

    fn visit(&mut self, root: usize) {
        self.enter(root);
        // Each service on the way, and which of its dependencies comes next.
        let mut way = vec![(root, 0)];
        while let Some((number, next)) = way.last_mut() {
            let number = *number;
            let dependency = self.services[number].depends_on.get(*next).copied();
            *next += 1;
            match dependency.map(|to| (to, self.services[to].index)) {
                Some((to, None)) => {
                    self.enter(to);
                    way.push((to, 0));
                }
                Some((to, Some(index))) => {
                    if self.services[to].is_open {
                        self.services[number].low = self.services[number].low.min(index);
                    }
                }
                None => {
                    way.pop();
                    if let Some((above, _)) = way.last() {
                        self.services[*above].low = self.services[*above].low.min(self.services[number].low);
                    }
                    if Some(self.services[number].low) == self.services[number].index {
                        self.close(number);
                    }
                }
            }
        }
    }

    /// Takes out the group that ends with this service.
    fn close(&mut self, number: usize) {
        let from = self.open.iter().rposition(|open| *open == number).unwrap_or_default();
        let group = self.open.split_off(from);
        for member in &group {
            self.services[*member].is_open = false;
        }
        self.groups.push(group);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{DeploymentUpdate, External, ImagePath, Place, Policy};

    fn key(number: usize) -> ServiceKey {
        format!("shop/s{number}").parse().unwrap()
    }

    fn folder(depends_on: &[Vec<usize>]) -> BTreeMap<ServiceKey, Desired> {
        let service = |(number, depends_on): (usize, &Vec<usize>)| {
            let external = External { credentials: None, image_path: ImagePath::new("nginx:1").unwrap() };
            let update = DeploymentUpdate::External { docker: None, external };
            let depends_on: Arc<[ServiceKey]> = depends_on.iter().map(|number| key(*number)).collect();
            let policy = Policy { depends_on, ..Policy::default() };
            let place = Place { file: "a.yaml".into(), line: 1 };
            (key(number), Desired::new(&key(number), update, policy, place))
        };
        depends_on.iter().enumerate().map(service).collect()
    }

    /// What each service leads to, by following every way.
    fn reaches(depends_on: &[Vec<usize>], from: usize) -> Vec<bool> {
        let mut reached = vec![false; depends_on.len()];
        let mut open = depends_on[from].clone();
        while let Some(next) = open.pop() {
            if !std::mem::replace(&mut reached[next], true) {
                open.extend(&depends_on[next]);
            }
        }
        reached
    }

    proptest! {
        #[test]
        fn groups_are_the_cycles_and_come_after_what_they_depend_on(
            depends_on in prop::collection::vec(prop::collection::vec(0..8_usize, 0..4), 8)
        ) {
            let folder = folder(&depends_on);
            let groups = in_order(&folder);
            let place: HashMap<&ServiceKey, usize> =
                groups.iter().enumerate().flat_map(|(at, group)| group.iter().map(move |key| (*key, at))).collect();
            for (from, of) in depends_on.iter().enumerate() {
                let reached = reaches(&depends_on, from);
                for to in of {
                    prop_assert!(place[&key(*to)] <= place[&key(from)]);
                }
                for other in (0..8).filter(|other| *other != from) {
                    let cycle = reached[other] && reaches(&depends_on, other)[from];
                    let together = place.get(&key(from)).is_some_and(|at| place.get(&key(other)) == Some(at));
                    prop_assert_eq!(cycle, together, "{} and {}", from, other);
                }
            }
        }
    }

    #[test]
    fn a_long_chain_is_no_deep_recursion() {
        let many = 100_000;
        let chain: Vec<Vec<usize>> =
            (0..many).map(|number| if number + 1 < many { vec![number + 1] } else { vec![] }).collect();
        let folder = folder(&chain);
        let groups = in_order(&folder);
        assert_eq!((groups.len(), groups[0][0], groups[many - 1][0]), (many, &key(many - 1), &key(0)));
    }
}
