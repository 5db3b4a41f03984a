//! The store against a plain model, and what it costs.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;

use cedar_policy_core::ast::{PartialValue, Value};
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;

fn uid(n: usize) -> EntityUID {
    // Two types with the same ids.
    let kind = if n.is_multiple_of(2) { "A" } else { "B" };
    EntityUID::with_eid_and_type(kind, &format!("{}", n / 2)).unwrap()
}

fn row(n: usize, parents: &[usize], named: &[usize]) -> Row {
    let value = Value::set(named.iter().map(|n| Value::from(uid(*n))), None);
    let first = named.first().map(|n| ("one", Value::from(uid(*n))));
    let attributes = first.into_iter().chain([("all", value)]);
    let entity = Entity::new_with_attr_partial_value(
        uid(n),
        attributes.map(|(name, value)| (name.into(), PartialValue::Value(value))),
        HashSet::new(),
        parents.iter().map(|n| uid(*n)).collect(),
        [],
    );
    Row::new(&entity, Origin::Written)
}

/// The same, without any cleverness: entities with their parents and whom they name.
type Model = BTreeMap<usize, Entry>;
type Entry = (BTreeSet<usize>, BTreeSet<usize>);

fn above(model: &Model, n: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![n];
    while let Some(n) = waiting.pop() {
        for parent in model.get(&n).into_iter().flat_map(|(parents, _)| parents) {
            if found.insert(*parent) {
                waiting.push(*parent);
            }
        }
    }
    found
}

#[derive(Debug, Clone)]
enum Change {
    Upsert(usize, Vec<usize>, Vec<usize>),
    Remove(usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let some = || prop::collection::vec(0..14_usize, 0..4);
    let change = prop_oneof![
        4 => (0..14_usize, some(), some()).prop_map(|(n, up, named)| Change::Upsert(n, up, named)),
        1 => (0..14_usize).prop_map(Change::Remove),
    ];
    prop::collection::vec(change, 1..60)
}

fn names(uids: impl IntoIterator<Item = EntityUID>) -> BTreeSet<String> {
    uids.into_iter().map(|uid| uid.to_string()).collect()
}

/// Everything that is within something, as questions ask for it.
fn within(store: &EntityStore) -> Vec<(usize, usize)> {
    let nothing = Overlays::default();
    let view = store.view(&nothing);
    let uids: Vec<EntityUID> = (0..14).map(uid).collect();
    let ancestries: Vec<_> = (0..14)
        .map(|n| view.row(&uid(n)).map(|row| view.ancestry(row)))
        .collect();
    pairs(|n, other| {
        let (other, ancestry) = (&uids[other], &ancestries[n]);
        let has = ancestry
            .as_ref()
            .is_some_and(|all| all.has(Named::of(other)));
        let mut lists = false;
        if let Some(ancestry) = ancestry {
            ancestry.each(|above| lists |= **above == *other);
        }
        assert_eq!(has, lists);
        has
    })
}

fn within_of(model: &Model) -> Vec<(usize, usize)> {
    pairs(|n, other| above(model, n).contains(&other))
}

fn pairs(holds: impl Fn(usize, usize) -> bool) -> Vec<(usize, usize)> {
    let all = (0..14).flat_map(|n| (0..14).map(move |other| (n, other)));
    all.filter(|(n, other)| holds(*n, *other)).collect()
}

fn agrees(store: &EntityStore, model: &Model) {
    assert_eq!(store.len(), model.len());
    let nothing = Overlays::default();
    let view = store.view(&nothing);
    for n in 0..14 {
        let expected = names(above(model, n).into_iter().map(uid));
        let found = view.ancestors(&uid(n));
        assert_eq!(found.len(), expected.len(), "each once");
        assert_eq!(names(found.into_iter().cloned()), expected);
        for other in 0..14 {
            let is_within = n == other || above(model, n).contains(&other);
            assert_eq!(view.is_within(&uid(n), &uid(other)), is_within);
        }
        let linked = |by: fn(&Entry) -> &BTreeSet<usize>| {
            let linked = model.iter().filter(|(_, entry)| by(entry).contains(&n));
            names(linked.map(|(other, _)| uid(*other)))
        };
        let children = names(store.children(&uid(n)).cloned());
        assert_eq!(children, linked(|(parents, _)| parents));
        let referrers = names(store.referrers(&uid(n)).cloned());
        assert_eq!(referrers, linked(|(_, named)| named));
    }
    for kind in [uid(0), uid(1)] {
        let kind = kind.entity_type();
        let mut expected: Vec<String> = model
            .keys()
            .map(|n| uid(*n))
            .filter(|uid| uid.entity_type() == kind)
            .map(|uid| id(&uid).to_owned())
            .collect();
        expected.sort();
        let ids = |after| store.of_type(kind, after).map(|uid| id(uid).to_owned());
        assert_eq!(ids(None).collect::<Vec<_>>(), expected);
        expected.retain(|id| id.as_str() > "3");
        assert_eq!(ids(Some("3")).collect::<Vec<_>>(), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn the_store_is_what_was_written_and_clones_stay_what_they_were(
        changes in changes(),
        aside in (0..14_usize, 0..14_usize),
    ) {
        let (mut store, mut model) = (EntityStore::default(), Model::new());
        let mut kept = Vec::new();
        for change in changes {
            // Another next version, that is looked into and given up.
            let mut other = store.clone();
            let _ = other.upsert(row(aside.0, &[aside.1], &[]));
            within(&other);
            match change {
                Change::Upsert(n, parents, named) => {
                    let parents: BTreeSet<usize> = parents.into_iter().collect();
                    let circular = parents.iter().any(|up| *up == n || above(&model, *up).contains(&n));
                    let list: Vec<usize> = parents.iter().copied().collect();
                    let taken = store.upsert(row(n, &list, &named));
                    prop_assert_eq!(taken.is_err(), circular);
                    if !circular {
                        model.insert(n, (parents, named.into_iter().collect()));
                    }
                }
                Change::Remove(n) => {
                    prop_assert_eq!(store.remove(&uid(n)), model.remove(&n).is_some());
                }
            }
            // What is asked in between is kept, by this version and by those that share with it.
            prop_assert_eq!(within(&store), within_of(&model));
            kept.push((store.clone(), model.clone()));
        }
        for (store, model) in kept.iter().rev().step_by(9) {
            agrees(store, model);
        }
    }
}

#[test]
fn an_entity_is_read_as_it_was_written() {
    let text = r#"[{ "uid": {"type": "A", "id": "ä"}, "parents": [{"type": "B", "id": "up"}], "attrs": {
        "yes": true, "n": -7, "text": "a text of more than twenty-two bytes", "who": {"__entity": {"type": "A", "id": "x"}},
        "set": [1, [2]], "record": {"in": {"__extn": {"fn": "ip", "arg": "10.0.0.0/8"}}}},
        "tags": {"t": "v"} }]"#;
    let read = cedar_policy::Entities::from_json_str(text, None).unwrap();
    let read: &Entities = read.as_ref();
    let store = EntityStore::of(read);
    let nothing = Overlays::default();
    let whole = store
        .slice(read.iter().map(Entity::uid), &nothing, 0)
        .unwrap();
    let named = read.iter().next().unwrap().uid();
    assert!(
        whole
            .entity(named)
            .unwrap()
            .deep_eq(read.entity(named).unwrap())
    );
    assert_eq!(store.row(named).unwrap().references().len(), 1);
}

fn overlaid(row: Row) -> Overlays {
    let mut overlays = Overlays::default();
    overlays.insert(Arc::new(row));
    overlays
}

#[test]
fn a_question_may_describe_a_group_that_is_only_named() {
    let store = EntityStore::of_rows([row(0, &[2], &[]), row(2, &[4], &[])]).unwrap();
    assert_eq!(within(&store), [(0, 2), (0, 4), (2, 4)]);
    let overlays = overlaid(row(4, &[6], &[]));
    let view = store.view(&overlays);
    assert!([0, 2, 4].iter().all(|n| view.is_within(&uid(*n), &uid(6))));
    assert!(!store.view(&Overlays::default()).is_within(&uid(0), &uid(6)));
}

#[test]
fn a_question_may_move_a_group_for_itself() {
    let store = EntityStore::of_rows([row(0, &[2], &[]), row(2, &[4], &[])]).unwrap();
    assert_eq!(within(&store), [(0, 2), (0, 4), (2, 4)]);
    let overlays = overlaid(row(2, &[6], &[]));
    let view = store.view(&overlays);
    assert!(view.is_within(&uid(0), &uid(6)) && !view.is_within(&uid(0), &uid(4)));
    assert_eq!(within(&store), [(0, 2), (0, 4), (2, 4)]);
}

#[test]
fn what_lies_above_is_found_among_many() {
    // A chain, whose start has one parent more for each of forty.
    let mut store = EntityStore::default();
    for n in (1..200).rev() {
        store.upsert(row(n, &[n + 1], &[])).unwrap();
    }
    let wide: Vec<usize> = (1..200).step_by(5).collect();
    store.upsert(row(0, &wide, &[])).unwrap();
    assert!(
        store.closures.is_empty(),
        "loading must not keep what changes"
    );
    let nothing = Overlays::default();
    for _ in 0..2 {
        let ancestry = store.view(&nothing).ancestry(store.row(&uid(0)).unwrap());
        assert!((1..=200).all(|n| ancestry.has(Named::of(&uid(n)))));
        assert!(![0, 201].iter().any(|n| ancestry.has(Named::of(&uid(*n)))));
    }
}

#[test]
fn a_question_may_add_to_the_hierarchy_that_it_sees() {
    let store = EntityStore::of_rows([row(2, &[4], &[]), row(4, &[6], &[])]).unwrap();
    let overlays = overlaid(row(0, &[2], &[]));
    assert!(store.view(&overlays).is_within(&uid(0), &uid(6)));
    assert!(store.row(&uid(0)).is_none());
}

#[test]
fn what_the_store_takes_is_counted_however_it_came_to_be() {
    let mut store = EntityStore::default();
    let nothing = store.bytes();
    for n in 0..50 {
        store.upsert(person(n)).unwrap();
        store
            .upsert(row(n % 7, &[n % 7 + 1 + n % 3], &[n % 5]))
            .unwrap();
        if n % 3 == 0 {
            store.remove(person(n / 2).uid());
        }
    }
    let anew = EntityStore::of_rows(store.rows().map(|row| (**row).clone())).unwrap();
    assert_eq!((store.len(), store.bytes()), (anew.len(), anew.bytes()));
    let uids: Vec<_> = store.rows().map(|row| row.uid().clone()).collect();
    for uid in uids {
        store.remove(&uid);
    }
    assert_eq!((store.len(), store.bytes()), (0, nothing));
}

/// Bytes in use by this process.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<usize>()
        .unwrap()
        * 1024
}

fn person(n: usize) -> Row {
    let entity = Entity::new_with_attr_partial_value(
        EntityUID::with_eid_and_type("User", &format!("user-{n}")).unwrap(),
        [
            ("name", Value::from(format!("Person {n}"))),
            ("level", Value::from(i64::try_from(n % 9).unwrap())),
            ("active", Value::from(true)),
        ]
        .map(|(name, value)| (name.into(), PartialValue::Value(value))),
        HashSet::new(),
        HashSet::from([EntityUID::with_eid_and_type("Team", &format!("{}", n % 1000)).unwrap()]),
        [],
    );
    Row::new(&entity, Origin::Written)
}

#[test]
#[ignore = "a measurement: `bench/decide` runs it"]
fn measure() {
    println!("entities  bytes each (as counted)  load       upsert     delete     clone");
    for count in [1000, 100_000, 1_000_000] {
        let before = resident();
        let started = Instant::now();
        let mut store = EntityStore::of_rows((0..count).map(person)).unwrap();
        let loaded = started.elapsed();
        let each = resident().saturating_sub(before) / count;
        let counted = store.bytes() / count;
        let changes = 1000;
        // Each change is made while the version before it is still held, as it is in service.
        let started = Instant::now();
        for n in 0..changes {
            let held = store.clone();
            store.upsert(person(n * 7919 % count)).unwrap();
            black_box(held);
        }
        let upsert = started.elapsed() / u32::try_from(changes).unwrap();
        let started = Instant::now();
        for n in 0..changes {
            let held = store.clone();
            store.remove(person(n * 7919 % count).uid());
            black_box(held);
        }
        let delete = started.elapsed() / u32::try_from(changes).unwrap();
        let started = Instant::now();
        for _ in 0..changes {
            black_box(store.clone());
        }
        let clone = started.elapsed() / u32::try_from(changes).unwrap();
        println!(
            "{count:<9} {each:<10} ({counted:<10}) {loaded:<10.2?} {upsert:<10.2?} {delete:<10.2?} {clone:.2?}"
        );
    }
}
