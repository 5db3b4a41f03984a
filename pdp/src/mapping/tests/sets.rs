//! Sets that a question brings along are asked about as Cedar asks about its own.

use std::sync::OnceLock;

use authzen::EvaluationRequest;
use proptest::prelude::*;
use serde_json::{Value, json};
use service_kit::UnixTime;

use crate::Pdp;
use crate::fixture::{Fixture, answer};

const SCHEMA: &str = r"
entity Team;
entity User in [Team] { tags?: Set<String>, numbers?: Set<Long>, teams?: Set<Team>, lists?: Set<Set<Long>> };
entity Doc { tags?: Set<String>, numbers?: Set<Long>, teams?: Set<Team>, friends?: Set<User> };
action read appliesTo { principal: [User], resource: [Doc], context: { tags?: Set<String> } };
";

/// Each is a policy of its own, so that each is compared.
const CONDITIONS: &[&str] = &[
    r#"principal has tags && principal.tags.contains("a")"#,
    "principal has tags && resource has tags && principal.tags.containsAll(resource.tags)",
    "principal has tags && resource has tags && principal.tags.containsAny(resource.tags)",
    "principal has tags && resource has tags && principal.tags == resource.tags",
    r#"principal has tags && principal.tags == ["a", "b"]"#,
    "principal has tags && principal.tags.isEmpty()",
    r#"principal has tags && ["a", "b", "c"].containsAll(principal.tags)"#,
    "principal has numbers && resource has numbers && resource.numbers.containsAny(principal.numbers)",
    "principal has numbers && principal.numbers.contains(-1)",
    "principal has lists && principal.lists.contains([1, 2])",
    "principal has lists && principal has numbers && principal.lists.contains(principal.numbers)",
    "principal has teams && principal in principal.teams",
    "resource has teams && principal in resource.teams",
    "resource has friends && resource.friends.contains(principal)",
    "resource has friends && resource.friends.isEmpty()",
    "resource has friends && resource.friends == [principal]",
    "resource has friends && [resource.friends].contains([principal])",
    r#"resource has friends && resource.friends.containsAny([User::"v", principal])"#,
    r#"resource has friends && resource.friends.containsAll([User::"v", principal])"#,
    "resource has friends && principal in resource.friends",
    "resource has teams && principal has teams && resource.teams.containsAll(principal.teams)",
    // Filed by what they look for.
    r#"resource has friends && resource.friends.contains(User::"u")"#,
    r#"resource has friends && resource.friends.contains(User::"v")"#,
    r#"resource has friends && resource.friends.contains(User::"w")"#,
    r#"resource has friends && resource.friends.contains(User::"x")"#,
    "context has tags && principal has tags && context.tags.containsAny(principal.tags)",
    r#"principal has tags && [principal.tags].contains(["b", "a"])"#,
    r#"principal has tags && {t: principal.tags}.t.contains("b")"#,
    r#"(if principal has tags then principal.tags else ["z"]).contains("z")"#,
];

const ENTITIES: &str = r#"[
  { "uid": {"type": "User", "id": "u"}, "attrs": {}, "parents": [{"type": "Team", "id": "red"}] },
  { "uid": {"type": "Team", "id": "red"}, "attrs": {}, "parents": [] }
]"#;

fn pdp() -> &'static Pdp {
    static PDP: OnceLock<Pdp> = OnceLock::new();
    PDP.get_or_init(|| {
        let fixture = Fixture::new();
        let policies: String = CONDITIONS
            .iter()
            .enumerate()
            .map(|(n, condition)| {
                format!(
                    "@id(\"p{n}\") permit (principal, action, resource) when {{ {condition} }};\n"
                )
            })
            .collect::<Vec<_>>()
            .concat();
        fixture.write("schema.cedarschema", SCHEMA);
        fixture.write("policies.cedar", &policies);
        fixture.write("entities.json", ENTITIES);
        fixture.open()
    })
}

/// Some with more than are walked.
fn set(of: &'static [&'static str]) -> impl Strategy<Value = Option<Value>> {
    let item =
        proptest::sample::select(of).prop_map(|item| serde_json::from_str::<Value>(item).unwrap());
    let few = prop::collection::vec(item.clone(), 0..5);
    let many = prop::collection::vec(item, 15..19);
    prop_oneof![
        1 => Just(None),
        8 => few.prop_map(|items| Some(Value::from(items))),
        1 => many.prop_map(|items| Some(Value::from(items))),
    ]
}

const TEXTS: &[&str] = &[r#""a""#, r#""b""#, r#""c""#, r#""z""#];
const NUMBERS: &[&str] = &["1", "2", "-1"];
const LISTS: &[&str] = &["[]", "[1,2]", "[2,1,1]", "[-1]"];
const TEAMS: &[&str] = &[r#""red""#, r#""blue""#];
const USERS: &[&str] = &[r#""u""#, r#""v""#, r#"{"type":"User","id":"v"}"#];

fn properties(sets: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    let given = sets
        .into_iter()
        .filter_map(|(name, set)| Some((name.to_owned(), set?)));
    Value::Object(given.collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn a_set_that_is_sent_is_a_set_of_cedars(
        principal in (set(TEXTS), set(NUMBERS), set(TEAMS), set(LISTS)),
        resource in (set(TEXTS), set(NUMBERS), set(TEAMS), set(USERS)),
        tags in set(TEXTS),
    ) {
        let question = json!({
            "subject": { "type": "User", "id": "u", "properties": properties([
                ("tags", principal.0), ("numbers", principal.1), ("teams", principal.2), ("lists", principal.3),
            ]) },
            "action": { "name": "read" },
            "resource": { "type": "Doc", "id": "d", "properties": properties([
                ("tags", resource.0), ("numbers", resource.1), ("teams", resource.2), ("friends", resource.3),
            ]) },
            "context": properties([("tags", tags)]),
        });
        let request = EvaluationRequest::from_json(question.to_string().as_bytes()).unwrap();
        let snapshot = pdp().0.snapshot.load();
        let answered = answer(&snapshot, &request, UnixTime::from_secs(0)).unwrap();
        let (question, verdict) = *answered.decided.unwrap();
        prop_assert_eq!(verdict, snapshot.by_cedar(&question).unwrap());
    }
}
