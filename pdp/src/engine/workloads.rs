//! Workloads of whole applications, decided here and by Cedar's plain authorizer: the answers must
//! be the same, and `measure` compares what they cost.

mod gdrive;
mod github;
mod hospital;
mod tinytodo;

use std::collections::HashSet;
use std::hint::black_box;
use std::str::FromStr;
use std::time::Duration;

use cedar_policy::{Authorizer, Entities, PolicySet, Request, Schema, ValidationMode, Validator};
use cedar_policy_core::ast::{Context, Entity, EntityUID, PartialValue, Value};
use tokio::time::Instant;

use super::tests::{assert_agree, ours, question, rules, theirs};
use super::{Question, Rules};
use crate::entities::EntityStore;

/// An application of some size: its rules, who and what there is, and questions about them.
struct Workload {
    name: &'static str,
    /// How many entities there are of each type, or departments.
    size: usize,
    schema: String,
    policies: String,
    entities: Vec<Entity>,
    questions: Vec<Asked>,
}

/// A question about a workload.
struct Asked {
    principal: EntityUID,
    action: EntityUID,
    resource: EntityUID,
    context: Vec<(&'static str, Value)>,
}

/// A workload, made ready for both ways of deciding.
struct Ready {
    about: String,
    policies: PolicySet,
    entities: Entities,
    requests: Vec<Request>,
    rules: Rules,
    store: EntityStore,
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    /// `SplitMix64`, by Steele, Lea and Flood.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap();
        usize::try_from(self.next() % bound).unwrap()
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Which of `size` others one is connected with: each with a chance of one in twenty, as in
    /// the paper. Above fifty, which it does not go beyond, no more of them than there.
    fn connections(&mut self, size: usize, among: usize) -> Vec<usize> {
        let odds = 20 * size.max(50) / 50;
        if odds == 20 {
            return (0..among).filter(|_| self.below(odds) == 0).collect();
        }
        // The same number on average, without rolling once for each of very many.
        let drawn = self.below(2 * among / odds + 1);
        let drawn: HashSet<usize> = (0..drawn).map(|_| self.below(among)).collect();
        let mut drawn: Vec<usize> = drawn.into_iter().collect();
        drawn.sort_unstable();
        drawn
    }
}

impl Workload {
    /// Whatever the schema does not know fails here.
    fn ready(&self) -> Ready {
        let (schema, _) = Schema::from_cedarschema_str(&self.schema).unwrap();
        let policies: PolicySet = self.policies.parse().unwrap();
        let validated = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        assert!(validated.validation_passed(), "{}: {validated}", self.name);
        let entities = self.entities.iter().cloned().map(Into::into);
        let entities = Entities::from_entities(entities, Some(&schema)).unwrap();
        let requests = self.questions.iter().map(|asked| asked.request(&schema));
        Ready {
            about: format!("{} {}", self.name, self.size),
            rules: rules(&policies),
            store: EntityStore::of(entities.as_ref()),
            requests: requests.collect(),
            policies,
            entities,
        }
    }
}

impl Asked {
    fn request(&self, schema: &Schema) -> Request {
        let members = self.context.iter().cloned();
        let context = Context::Value(std::sync::Arc::new(
            members.map(|(name, value)| (name.into(), value)).collect(),
        ));
        let side = |uid: &EntityUID| cedar_policy::EntityUid::from(uid.clone());
        Request::new(
            side(&self.principal),
            side(&self.action),
            side(&self.resource),
            context.into(),
            Some(schema),
        )
        .unwrap()
    }
}

impl Ready {
    /// Asserts that both ways say the same about every question; gives how many are permitted.
    fn assert_same(&self) -> usize {
        let mut permitted = 0;
        for request in &self.requests {
            let actual = ours(&self.rules, &self.store, request);
            let expected = theirs(&self.policies, &self.entities, request);
            let about = format!("{}: {request}", self.about);
            assert_agree(&actual, &expected, &about);
            assert!(actual.2.is_empty(), "{about}: {:?}", actual.2);
            permitted += usize::from(actual.0);
        }
        permitted
    }

    fn questions(&self) -> Vec<Question> {
        self.requests.iter().map(question).collect()
    }
}

fn uid(kind: &str, id: impl std::fmt::Display) -> EntityUID {
    EntityUID::from_str(&format!("{kind}::\"{id}\"")).unwrap()
}

fn entity(
    uid: EntityUID,
    attributes: Vec<(&str, Value)>,
    parents: impl IntoIterator<Item = EntityUID>,
) -> Entity {
    Entity::new_with_attr_partial_value(
        uid,
        attributes
            .into_iter()
            .map(|(name, value)| (name.into(), PartialValue::from(value))),
        HashSet::new(),
        parents.into_iter().collect(),
        [],
    )
}

fn set(of: impl IntoIterator<Item = EntityUID>) -> Value {
    Value::set(of.into_iter().map(Value::from), None)
}

/// How large the applications are: up to 50 as in the paper.
const SIZES: [usize; 6] = [5, 10, 20, 50, 500, 5000];
/// Departments of the hospital: 38, 170, 1 655 and 9 905 policies.
const DEPARTMENTS: [usize; 4] = [1, 5, 50, 300];
const QUESTIONS: usize = 500;

/// How an application of some size is made from dice.
type Maker = fn(usize, &mut Dice) -> Workload;

const APPLICATIONS: [Maker; 3] = [github::workload, gdrive::workload, tinytodo::workload];
const HOSPITALS: [Maker; 2] = [hospital::by_guards, hospital::by_scopes];

/// The rules, the entities and the questions of an application of some size.
pub(super) fn made(name: &str, size: usize) -> (Rules, EntityStore, Vec<Question>) {
    let make = match name {
        "github" => github::workload,
        "gdrive" => gdrive::workload,
        "tinytodo" => tinytodo::workload,
        "guards" => hospital::by_guards,
        "scopes" => hospital::by_scopes,
        _ => panic!("no workload `{name}`"),
    };
    let ready = make(size, &mut Dice(1)).ready();
    let questions = ready.questions();
    (ready.rules, ready.store, questions)
}

fn check(make: Maker, sizes: &[usize]) {
    for size in sizes {
        let mut asked = 0;
        let mut permitted = 0;
        for seed in 0..2 {
            let mut workload = make(*size, &mut Dice(seed));
            workload.questions.truncate(100);
            let ready = workload.ready();
            asked += ready.requests.len();
            permitted += ready.assert_same();
        }
        // A workload that always says the same would prove nothing.
        let share = permitted * 100 / asked;
        assert!((3..=97).contains(&share), "{size}: {share} % permitted");
    }
}

#[test]
fn applications_are_decided_as_cedar_decides_them() {
    for make in APPLICATIONS {
        check(make, &[5, 20]);
    }
}

#[test]
fn a_hospital_is_decided_as_cedar_decides_it() {
    for make in HOSPITALS {
        assert_eq!(make(3, &mut Dice(0)).ready().rules.len(), 33 * 3 + 5);
        check(make, &[2]);
    }
}

/// Nanoseconds of single calls: of each question in turn, `rounds` times over. The clock's own
/// time is taken off.
fn each<T>(of: &[T], rounds: usize, mut call: impl FnMut(&T)) -> Vec<u64> {
    let clock = median_of_clock();
    let mut taken = Vec::with_capacity(of.len() * rounds);
    // The first round warms up.
    for round in 0..=rounds {
        for one in of {
            let started = Instant::now();
            call(one);
            let elapsed = started.elapsed().saturating_sub(clock);
            if round > 0 {
                taken.push(u64::try_from(elapsed.as_nanos()).unwrap());
            }
        }
    }
    taken.sort_unstable();
    taken
}

fn median_of_clock() -> Duration {
    let mut readings: Vec<_> = (0..1001).map(|_| Instant::now().elapsed()).collect();
    readings.sort();
    readings[500]
}

fn at(sorted: &[u64], percent: usize) -> String {
    let nanos = sorted[(sorted.len() - 1) * percent / 100];
    format!("{:.2?}", Duration::from_nanos(nanos))
}

fn measure_one(workload: &Workload) {
    let ready = workload.ready();
    let permitted = ready.assert_same();
    let questions = ready.questions();
    let ours = each(&questions, 100, |question| {
        let outcome = black_box(&ready.rules).decide(black_box(question), &ready.store);
        black_box(outcome.unwrap().permitted);
    });
    // It needs milliseconds where there are thousands of policies.
    let rounds = if ready.rules.len() > 1000 { 1 } else { 5 };
    let authorizer = Authorizer::new();
    let plain = each(&ready.requests, rounds, |request| {
        let response =
            authorizer.is_authorized(black_box(request), &ready.policies, &ready.entities);
        black_box(response.decision());
    });
    println!(
        "{:<18} {:<6} {:<9} {:<9} {:<8} {:<10} {:<10} {:<10} {}",
        workload.name,
        workload.size,
        ready.rules.len(),
        workload.entities.len(),
        format!("{} %", permitted * 100 / questions.len()),
        at(&ours, 50),
        at(&ours, 99),
        at(&plain, 50),
        at(&plain, 99),
    );
}

#[test]
#[ignore = "a measurement: `bench/decide` runs it"]
fn measure() {
    println!(
        "workload           size   policies  entities  permit   ours p50   p99        plain p50  p99"
    );
    for make in APPLICATIONS {
        for size in SIZES {
            measure_one(&make(size, &mut Dice(1)));
        }
    }
    for make in HOSPITALS {
        for departments in DEPARTMENTS {
            measure_one(&make(departments, &mut Dice(1)));
        }
    }
}
