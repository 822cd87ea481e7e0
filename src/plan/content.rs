//! A plan as an object: what would change, in order, under an id that follows from that alone.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::Step;
use crate::model::{Desired, Digest, Known, PlanId, ServiceKey};

/// The services whose content would change, by name.
///
/// It follows from the manifests and the ledger. What live has, what a manifest says beside its content, where it lies
/// and which commit brought it make no other plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    changes: Vec<PlannedChange>,
}

/// A service whose content would change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PlannedChange {
    pub service: ServiceKey,
    /// What it has, as far as the ledger knows.
    pub from: Option<Digest>,
    /// What its manifest says.
    pub to: Digest,
}

impl Plan {
    /// The plan that these steps are. To send again what was applied, because it drifted or may not have arrived, changes
    /// nothing that somebody wrote.
    #[must_use]
    pub fn of(
        steps: &BTreeMap<ServiceKey, Step>,
        desired: &BTreeMap<ServiceKey, Desired>,
        known: &HashMap<ServiceKey, Known>,
    ) -> Self {
        let due = steps.iter().filter(|(_, step)| step.cause().is_some());
        let change = |(service, _): (&ServiceKey, &Step)| {
            let (from, to) = (known.get(service).and_then(Known::digest), desired.get(service)?.digest);
            (from != Some(to)).then(|| PlannedChange { service: service.clone(), from, to })
        };
        Self { changes: due.filter_map(change).collect() }
    }

    /// Leaves the changes of services out that are not part of it.
    pub fn leave_out(&mut self, is_out: impl Fn(&ServiceKey) -> bool) {
        self.changes.retain(|change| !is_out(&change.service));
    }

    /// A plan of these changes.
    #[must_use]
    pub fn of_changes(changes: impl IntoIterator<Item = PlannedChange>) -> Self {
        let by_name: BTreeMap<_, _> = changes.into_iter().map(|change| (change.service.clone(), change)).collect();
        Self { changes: by_name.into_values().collect() }
    }

    /// A plan of one change.
    #[must_use]
    pub fn single(change: PlannedChange) -> Self {
        Self { changes: vec![change] }
    }

    /// Each of its changes as a plan.
    pub fn singles(&self) -> impl Iterator<Item = Self> + use<> {
        self.changes.clone().into_iter().map(Self::single)
    }

    /// Whether everything that this changes is changed by the other too, and in the same way.
    pub fn is_part_of(&self, other: &Self) -> bool {
        let at = |change: &PlannedChange| other.changes.binary_search_by(|one| one.service.cmp(&change.service));
        self.changes.iter().all(|change| at(change).is_ok_and(|at| other.changes[at] == *change))
    }

    /// What would change, by the names of the services.
    pub fn changes(&self) -> &[PlannedChange] {
        &self.changes
    }

    /// The id: the same for the same changes, and for no others. A plan that changes nothing has none.
    pub fn id(&self) -> Option<PlanId> {
        self.line().map(|line| PlanId::of_content(&line))
    }

    /// All that it changes, as the line of which the id is the digest.
    #[must_use]
    #[allow(clippy::expect_used, reason = "a change has string keys only and no custom failure")]
    pub fn line(&self) -> Option<Vec<u8>> {
        let line = || serde_json::to_vec(&self.changes).expect("changes are always JSON");
        (!self.changes.is_empty()).then(line)
    }

    /// From such a line; nothing where it is another text, so that the plan has the id of the line.
    #[must_use]
    pub fn of_line(line: &[u8]) -> Option<Self> {
        let changes: Vec<PlannedChange> = serde_json::from_slice(line).ok()?;
        let plan = Self::of_changes(changes);
        (plan.line()? == line).then_some(plan)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::manifest::{self, Format};
    use crate::model::Applied;
    use crate::plan::{self, Rules};

    fn key(service: usize) -> ServiceKey {
        format!("shop/s{service}").parse().expect("is a name")
    }

    fn digest(content: u8) -> Digest {
        Digest::of_bytes(&[content])
    }

    fn planned(changes: impl IntoIterator<Item = PlannedChange>) -> Plan {
        Plan { changes: changes.into_iter().collect() }
    }

    /// Services with what each has and is to have.
    fn changes() -> impl Strategy<Value = Vec<PlannedChange>> {
        let change = (0..6_usize, prop::option::of(0..3_u8), 0..3_u8);
        prop::collection::vec(change, 0..6).prop_map(|changes| {
            let changes: BTreeMap<_, _> =
                changes.into_iter().map(|(service, from, to)| (key(service), (from.map(digest), digest(to)))).collect();
            changes.into_iter().map(|(service, (from, to))| PlannedChange { service, from, to }).collect()
        })
    }

    /// A manifest of one service, written in one of several ways that mean the same.
    fn written(service: usize, tag: u8, way: u8) -> String {
        let image = format!("r.io/a:1.{tag}");
        match way {
            0 => format!(
                "apiVersion: truenorth/v1\nkind: ServiceDeployment\nmetadata:\n  projectId: shop\n  serviceId: s{service}\nspec:\n  external:\n    imagePath: {image}\n"
            ),
            1 => format!(
                "# a comment\nspec: {{external: {{imagePath: '{image}'}}}}\nmetadata: {{serviceId: \"s{service}\", projectId: shop}}\nkind: ServiceDeployment\napiVersion: truenorth/v1\npolicy: {{drift: report}}\n"
            ),
            _ => format!(
                "{{\"apiVersion\": \"truenorth/v1\", \"kind\": \"ServiceDeployment\", \"spec\": {{\"external\": {{\"imagePath\": \"{image}\"}}}},\n\"metadata\": {{\"projectId\": \"shop\", \"serviceId\": \"s{service}\"}}}}\n"
            ),
        }
    }

    fn plan_of(manifests: &BTreeMap<usize, (u8, u8)>, known: &HashMap<ServiceKey, Known>) -> Plan {
        let mut desired = BTreeMap::new();
        for (at, (service, (tag, way))) in manifests.iter().enumerate() {
            // Another name and place for each way.
            let file = format!("{way}/{at}.yaml");
            let parsed = manifest::parse(&file.as_str().into(), Format::Yaml, written(*service, *tag, *way).as_bytes());
            assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
            desired.extend(parsed.manifests);
        }
        let steps = plan::plan(&desired, known, &HashMap::new(), &Rules::default(), Timestamp::UNIX_EPOCH);
        Plan::of(&steps, &desired, known)
    }

    proptest! {
        #[test]
        fn two_plans_have_one_id_only_if_they_change_the_same(one in changes(), other in changes()) {
            let (one, other) = (planned(one), planned(other));
            prop_assert_eq!(one.id() == other.id(), one == other);
        }

        #[test]
        fn how_and_where_it_is_written_makes_no_other_plan(
            manifests in prop::collection::btree_map(0..5_usize, (0..3_u8, 0..3_u8), 0..5),
            ways in prop::collection::vec(0..3_u8, 5),
            applied in prop::collection::btree_map(0..5_usize, 0..3_u8, 0..5),
        ) {
            let known = applied.iter().map(|(service, tag)| {
                let plan = plan_of(&BTreeMap::from([(*service, (*tag, 0))]), &HashMap::new());
                (key(*service), Known::Applied(Applied::new(plan.changes[0].to)))
            }).collect();
            let rewritten = manifests.iter().map(|(service, (tag, _))| (*service, (*tag, ways[*service]))).collect();
            let (plan, again) = (plan_of(&manifests, &known), plan_of(&rewritten, &known));
            prop_assert_eq!(plan.id(), again.id());
            let differing: BTreeSet<_> = manifests
                .iter()
                .filter(|(service, (tag, _))| applied.get(*service) != Some(tag))
                .map(|(service, _)| key(*service))
                .collect();
            prop_assert_eq!(plan.changes.iter().map(|change| change.service.clone()).collect::<BTreeSet<_>>(), differing);
        }
    }

    #[test]
    fn an_id_never_changes_from_release_to_release() {
        let plan = planned([
            PlannedChange { service: key(1), from: None, to: digest(1) },
            PlannedChange { service: key(2), from: Some(digest(1)), to: digest(2) },
        ]);
        assert_eq!(plan.id().map(|id| id.to_string()).as_deref(), Some("b09f41cec580"));
        assert_eq!(planned([]).id(), None);
    }

    #[test]
    fn what_is_only_sent_again_is_not_part_of_a_plan() {
        let manifests = BTreeMap::from([(1, (1, 0))]);
        let to = plan_of(&manifests, &HashMap::new()).changes[0].to;
        let known = |applied| HashMap::from([(key(1), Known::Applied(applied))]);
        assert_eq!(plan_of(&manifests, &known(Applied { digest: to, unverified: true })).id(), None);
        assert_eq!(plan_of(&manifests, &HashMap::from([(key(1), Known::InDoubt)])).changes().len(), 1);
    }
}
