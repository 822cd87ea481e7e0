//! Dependencies between manifests that cannot hold: on services that no manifest names, and in circles.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::manifest::Problem;
use crate::model::{Desired, ServiceKey, in_order};
use crate::text::{counted, near};

const PATH: &str = "policy.dependsOn";

/// Most services of a circle that are named. In a larger group of circles its way is not searched for each service.
const NAMED: usize = 12;

/// Takes out the manifests whose dependencies cannot hold, with a problem for each. `is_claimed` says of a service
/// whether a manifest with a problem names it: to depend on that is no mistake, only to be waited for.
pub(super) fn refuse(
    desired: &mut BTreeMap<ServiceKey, Desired>,
    is_claimed: impl Fn(&ServiceKey) -> bool,
) -> Vec<(ServiceKey, Desired, Problem)> {
    let mut refused = unknown(desired, is_claimed);
    refused.extend(circles(desired));
    let taken = refused.into_iter().filter_map(|(key, problem)| {
        let taken = desired.remove(&key)?;
        Some((key, taken, problem))
    });
    taken.collect()
}

fn unknown(
    desired: &BTreeMap<ServiceKey, Desired>,
    is_claimed: impl Fn(&ServiceKey) -> bool,
) -> Vec<(ServiceKey, Problem)> {
    let problem = |(key, of): (&ServiceKey, &Desired)| {
        let unknown = |dependency: &&ServiceKey| !desired.contains_key(dependency) && !is_claimed(dependency);
        let dependency = of.policy.depends_on.iter().find(unknown)?;
        let message = format!("`{key}` depends on `{dependency}`, which no manifest names");
        let known: Vec<&ServiceKey> = of_same_project(desired, dependency).collect();
        let names: Vec<&str> = known.iter().map(|other| other.service.as_str()).collect();
        let near = near(dependency.service.as_str(), &names, 0.6);
        let hint = match known.iter().find(|other| near == Some(other.service.as_str())) {
            Some(near) => format!("did you mean {near}?"),
            None => "name a service of this folder, as service, project/service or team/project/service".to_owned(),
        };
        Some((key.clone(), told(of, message, hint)))
    };
    desired.iter().filter_map(problem).collect()
}

/// Few enough to be compared with a name one by one.
fn of_same_project<'d>(
    desired: &'d BTreeMap<ServiceKey, Desired>,
    key: &ServiceKey,
) -> impl Iterator<Item = &'d ServiceKey> {
    let (team, project) = (key.team.clone(), key.project.clone());
    desired.keys().filter(move |other| other.team == team && other.project == project).take(1000)
}

fn circles(desired: &BTreeMap<ServiceKey, Desired>) -> Vec<(ServiceKey, Problem)> {
    let mut problems = Vec::new();
    for group in in_order(desired).into_iter().filter(|group| group.len() > 1) {
        let members: BTreeSet<&ServiceKey> = group.iter().copied().collect();
        for key in &members {
            let way = if members.len() <= NAMED * NAMED { way_back(key, &members, desired) } else { Vec::new() };
            let message = if (1..=NAMED).contains(&way.len()) {
                let way = way.iter().chain([key]).map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" → ");
                format!("`{key}` depends on itself: {way}; none of them is applied")
            } else {
                let many = counted(members.len(), "service");
                format!("`{key}` depends on itself, through some of {many}; none of them is applied")
            };
            let hint = "take one of these dependencies out".to_owned();
            problems.extend(desired.get(*key).map(|of| ((*key).clone(), told(of, message, hint))));
        }
    }
    problems
}

/// The shortest way from a service back to itself: whom it goes through, the service itself first.
fn way_back<'d>(
    from: &'d ServiceKey,
    members: &BTreeSet<&'d ServiceKey>,
    desired: &'d BTreeMap<ServiceKey, Desired>,
) -> Vec<&'d ServiceKey> {
    let mut reached_from: BTreeMap<&ServiceKey, &ServiceKey> = BTreeMap::new();
    let mut next = VecDeque::from([from]);
    while let Some(at) = next.pop_front() {
        for to in desired.get(at).iter().flat_map(|of| of.policy.depends_on.iter()) {
            if to == from {
                let mut way = vec![at];
                while let Some(before) = way.last().and_then(|at| reached_from.get(at)) {
                    way.push(before);
                }
                way.reverse();
                return way;
            }
            if let Some(to) = members.get(to).filter(|to| !reached_from.contains_key(**to)) {
                reached_from.insert(to, at);
                next.push_back(to);
            }
        }
    }
    Vec::new()
}

fn told(of: &Desired, message: String, hint: String) -> Problem {
    Problem::of_document(&of.place, message, hint).of_field(PATH)
}
