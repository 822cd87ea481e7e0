//! The plan on its own, over random folders and ledgers.

use std::collections::{BTreeMap, HashMap};

use fastrand::Rng;
use truenorth::engine::{Engine, Pace};
use truenorth::model::{Applied, Desired, Known, ServiceKey, Suspend};
use truenorth::plan::{Step, plan};

use crate::clock::Moment;
use crate::content::{Name, SERVICES, Version};

type Folder = Vec<(ServiceKey, Desired)>;
type Ledger = Vec<(ServiceKey, Known)>;

fn any(chance: &mut Rng) -> (Folder, Ledger) {
    let (mut folder, mut ledger) = (Folder::new(), Ledger::new());
    for name in (0..SERVICES).map(Name) {
        if chance.u8(0..4) > 0 {
            folder.push((name.key().clone(), name.desired(Version::any(chance), chance.u8(0..5) == 0)));
        }
        match chance.u8(0..4) {
            0 => {}
            1 => ledger.push((name.key().clone(), Known::InDoubt)),
            _ => {
                let digest = name.digest(Version::any(chance));
                ledger.push((name.key().clone(), Known::Applied(Applied { digest })));
            }
        }
    }
    (folder, ledger)
}

fn map<T: Clone, M: FromIterator<(ServiceKey, T)>>(pairs: &[(ServiceKey, T)]) -> M {
    pairs.iter().cloned().collect()
}

#[test]
fn a_plan_after_a_plan_was_applied_is_empty() {
    let mut chance = Rng::with_seed(1);
    for _ in 0..500 {
        let (folder, ledger) = any(&mut chance);
        let (desired, mut known): (BTreeMap<_, Desired>, HashMap<_, _>) = (map(&folder), map(&ledger));
        for (key, step) in plan(&desired, &known) {
            if let Step::Update(_) = step {
                known.insert(key.clone(), Known::Applied(Applied { digest: desired[&key].digest }));
            }
        }
        let again = plan(&desired, &known);
        assert!(!again.values().any(|step| matches!(step, Step::Update(_))), "{again:?}");
    }
}

#[test]
fn a_step_is_an_update_only_where_the_folder_asks_for_something_else() {
    let mut chance = Rng::with_seed(2);
    for _ in 0..500 {
        let (folder, ledger) = any(&mut chance);
        let (desired, known): (BTreeMap<_, Desired>, HashMap<_, _>) = (map(&folder), map(&ledger));
        for (key, step) in plan(&desired, &known) {
            let wanted =
                desired.get(&key).filter(|desired| desired.policy.suspend == Suspend::No).map(|desired| desired.digest);
            let has = known.get(&key).and_then(Known::digest);
            assert_eq!(matches!(step, Step::Update(_)), wanted.is_some() && wanted != has, "{key}: {step:?}");
        }
    }
}

#[test]
fn the_order_of_what_goes_in_changes_nothing() {
    let mut chance = Rng::with_seed(3);
    for _ in 0..200 {
        let (mut folder, mut ledger) = any(&mut chance);
        let calls = |folder: &Folder, ledger: &Ledger| -> Vec<_> {
            let mut engine = Engine::new(Pace { concurrency: SERVICES, ..Pace::default() }, ledger.clone());
            engine.observe(map(folder));
            let calls = std::iter::from_fn(|| engine.next_call(Moment(0).timestamp()));
            calls.map(|call| (call.key, call.digest, call.cause)).collect()
        };
        let (steps, first) = (plan(&map(&folder), &map(&ledger)), calls(&folder, &ledger));
        chance.shuffle(&mut folder);
        chance.shuffle(&mut ledger);
        assert_eq!(plan(&map(&folder), &map(&ledger)), steps);
        assert_eq!(calls(&folder, &ledger), first);
        let due = steps.iter().filter(|(_, step)| matches!(step, Step::Update(_)));
        assert!(due.map(|(key, _)| key).eq(first.iter().map(|(key, ..)| key)), "the engine calls what the plan says");
    }
}
