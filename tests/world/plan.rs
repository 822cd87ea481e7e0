//! The plan on its own, over random folders and ledgers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fastrand::Rng;
use truenorth::engine::{Engine, Pace, Window};
use truenorth::model::{Applied, Desired, DriftMode, Known, ServiceKey, Suspend};
use truenorth::plan::{Adopt, Rules, Step, plan};

use crate::clock::Moment;
use crate::content::{Name, SERVICES, Version};
use crate::folder::{Suspension, Wanted};

type Folder = Vec<(ServiceKey, Desired)>;
type Ledger = Vec<(ServiceKey, Known)>;

fn any(chance: &mut Rng) -> (Folder, Ledger) {
    let (mut folder, mut ledger) = (Folder::new(), Ledger::new());
    for name in (0..SERVICES).map(Name) {
        if chance.u8(0..4) > 0 {
            let suspend = if chance.u8(0..5) == 0 { Suspension::Yes } else { Suspension::No };
            let wanted = Wanted { suspend, ..Wanted::plain(Version::any(chance)) };
            folder.push((name.key().clone(), name.desired(wanted)));
        }
        match chance.u8(0..4) {
            0 => {}
            1 => ledger.push((name.key().clone(), Known::InDoubt)),
            _ => {
                let digest = name.digest(Version::any(chance));
                ledger.push((name.key().clone(), Known::Applied(Applied::new(digest))));
            }
        }
    }
    (folder, ledger)
}

/// What is planned where nothing was read.
fn unread(desired: &BTreeMap<ServiceKey, Desired>, known: &HashMap<ServiceKey, Known>) -> BTreeMap<ServiceKey, Step> {
    plan(desired, known, &HashMap::new(), &Rules::default(), Moment(0).timestamp())
}

fn sends(step: &Step) -> bool {
    matches!(step, Step::Update(_) | Step::ReadLive(_))
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
        for (key, step) in unread(&desired, &known) {
            if sends(&step) {
                known.insert(key.clone(), Known::Applied(Applied::new(desired[&key].digest)));
            }
        }
        let again = unread(&desired, &known);
        assert!(!again.values().any(sends), "{again:?}");
    }
}

#[test]
fn a_step_is_an_update_only_where_the_folder_asks_for_something_else() {
    let mut chance = Rng::with_seed(2);
    for _ in 0..500 {
        let (folder, ledger) = any(&mut chance);
        let (desired, known): (BTreeMap<_, Desired>, HashMap<_, _>) = (map(&folder), map(&ledger));
        for (key, step) in unread(&desired, &known) {
            let wanted =
                desired.get(&key).filter(|desired| desired.policy.suspend == Suspend::No).map(|desired| desired.digest);
            let has = known.get(&key).and_then(Known::digest);
            assert_eq!(sends(&step), wanted.is_some() && wanted != has, "{key}: {step:?}");
        }
    }
}

#[test]
fn the_order_of_what_goes_in_changes_nothing() {
    let mut chance = Rng::with_seed(3);
    for _ in 0..200 {
        let (mut folder, mut ledger) = any(&mut chance);
        let calls = |folder: &Folder, ledger: &Ledger| -> Vec<_> {
            let rules = Rules { adopt: Adopt::SendFirst, drift: DriftMode::Off };
            let mut engine = Engine::new(Pace { concurrency: 2 * SERVICES, ..Pace::default() }, rules, ledger.clone());
            let window = Window { limit: 1000, remaining: 1000, resets_at: Moment(1_000_000).timestamp() };
            engine.note_quota(window);
            engine.observe(map::<_, BTreeMap<_, _>>(folder), Moment(0).timestamp());
            let calls = std::iter::from_fn(|| engine.next_call(Moment(0).timestamp(), 0));
            calls.map(|call| (call.key, call.digest, call.work)).collect()
        };
        let (steps, first) = (unread(&map(&folder), &map(&ledger)), calls(&folder, &ledger));
        chance.shuffle(&mut folder);
        chance.shuffle(&mut ledger);
        assert_eq!(unread(&map(&folder), &map(&ledger)), steps);
        assert_eq!(calls(&folder, &ledger), first);
        let due: BTreeSet<_> = steps.iter().filter(|(_, step)| sends(step)).map(|(key, _)| key).collect();
        assert_eq!(due, first.iter().map(|(key, ..)| key).collect(), "the engine calls what the plan says");
    }
}
