//! Dependencies between manifests that cannot hold: on services that no manifest names, and in circles.

use std::collections::BTreeMap;

use crate::manifest::Problem;
use crate::model::{Desired, ServiceKey, in_order};
use crate::text::{counted, near};

const PATH: &str = "policy.dependsOn";

/// Most services of a circle that are named.
const NAMED: usize = 5;

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
        let names: Vec<String> = of_same_project(desired, dependency).map(ToString::to_string).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let hint = match near(&dependency.to_string(), &names, 0.6) {
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
        let mut group = group;
        group.sort_unstable();
        for key in &group {
            let others = group.iter().filter(|other| other != &key).take(NAMED).map(|other| format!("`{other}`"));
            let others = others.collect::<Vec<_>>().join(", ");
            let more = match (group.len() - 1).saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {}", counted(more, "other service")),
            };
            let message = format!("`{key}` depends on itself, through {others}{more}; none of them is applied");
            let hint = "take one of these dependencies out".to_owned();
            problems.extend(desired.get(*key).map(|of| ((*key).clone(), told(of, message, hint))));
        }
    }
    problems
}

fn told(of: &Desired, message: String, hint: String) -> Problem {
    Problem::of_document(&of.place, message, Some(hint)).of_field(PATH)
}
