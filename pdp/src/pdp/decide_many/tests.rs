//! A batch says of each entry what the entry says alone, whatever they share.

use std::sync::OnceLock;

use authzen::{BatchBody, EvaluationRequest};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use strict_json::Arena;

use super::*;
use crate::Pdp;
use crate::fixture::Fixture;
use crate::mapping::Mapped;
use crate::snapshot::{Answered, Read};
use service_kit::UnixTime;

const SCHEMA: &str = r"
entity User in [User] { level?: Long, friend?: User, tags?: Set<String> };
entity Doc { owner?: User, level?: Long };
action see appliesTo { principal: [User], resource: [User, Doc], context: { n?: Long, action?: { deep?: Bool } } };
action edit appliesTo { principal: [User], resource: [Doc], context: { n?: Long } };
";

const POLICIES: &str = r#"
@id("level") @obligation("log") @advice("ask")
permit (principal, action, resource) when { principal has level && principal.level > 2 };
@id("friends") @reason("friends see each other")
permit (principal, action == Action::"see", resource is User)
when { resource has friend && resource.friend == principal };
@id("owner") permit (principal, action, resource is Doc)
when { resource has owner && resource.owner == principal };
@id("deep") permit (principal, action == Action::"see", resource)
when { context has action && context.action has deep && context.action.deep };
@id("fails") permit (principal, action, resource is Doc) when { resource has level && resource.level + 1 > 7 };
@id("group") permit (principal in User::"g", action, resource == Doc::"d")
when { principal has level && principal.level * 4611686018427387904 > 0 };
@id("member") forbid (principal is User in User::"g", action == Action::"edit", resource)
when { principal has friend && principal.friend in User::"g" };
@id("never") forbid (principal, action, resource) when { context has n && context.n > 3 };
"#;

const ENTITIES: &str = r#"[
  { "uid": {"type": "User", "id": "g"}, "attrs": {}, "parents": [] },
  { "uid": {"type": "User", "id": "a"}, "attrs": {"level": 1}, "parents": [{"type": "User", "id": "g"}] },
  { "uid": {"type": "Doc", "id": "d"}, "attrs": {"owner": {"__entity": {"type": "User", "id": "b"}}}, "parents": [] }
]"#;

fn pdp() -> &'static Pdp {
    static PDP: OnceLock<Pdp> = OnceLock::new();
    PDP.get_or_init(|| {
        let fixture = Fixture::new();
        for (file, text) in [
            ("schema.cedarschema", SCHEMA),
            ("policies.cedar", POLICIES),
            ("entities.json", ENTITIES),
        ] {
            fixture.write(file, text);
        }
        fixture.open()
    })
}

fn properties() -> impl Strategy<Value = Option<Value>> {
    select(vec![
        None,
        Some(json!({})),
        Some(json!({ "level": 3 })),
        Some(json!({ "level": 9_223_372_036_854_775_807_i64, "unknown": 1 })),
        Some(json!({ "friend": "a", "tags": ["x", "y"] })),
        Some(json!({ "owner": "a" })),
        Some(json!({ "level": "high" })),
        // What no policy reads must fit all the same.
        Some(json!({ "tags": ["x", 1], "level": 3 })),
    ])
}

fn entity() -> impl Strategy<Value = Option<Value>> {
    let names = (
        select(vec![None, Some("User"), Some("Doc")]),
        select(vec![None, Some("a"), Some("b"), Some("d")]),
    );
    let entity = (names, properties()).prop_map(|((kind, id), properties)| {
        let mut entity = json!({});
        for (name, value) in [
            ("type", kind.map(Value::from)),
            ("id", id.map(Value::from)),
            ("properties", properties),
        ] {
            if let Some(value) = value {
                entity[name] = value;
            }
        }
        entity
    });
    proptest::option::of(entity)
}

fn entry() -> impl Strategy<Value = Value> {
    let action = select(vec![
        None,
        Some(json!({ "name": "see" })),
        Some(json!({ "name": "see", "properties": { "deep": true } })),
        Some(json!({ "name": "edit" })),
        Some(json!({ "properties": { "deep": true } })),
    ]);
    let context = select(vec![
        None,
        Some(json!({ "n": 1 })),
        Some(json!({ "n": 4 })),
        Some(Value::Null),
    ]);
    (entity(), action, entity(), context).prop_map(|(subject, action, resource, context)| {
        let mut entry = json!({});
        for (name, part) in [
            ("subject", subject),
            ("action", action),
            ("resource", resource),
            ("context", context),
        ] {
            if let Some(part) = part {
                entry[name] = part;
            }
        }
        entry
    })
}

/// Without what differs from one decision to the next.
fn plain(mut evaluation: Evaluation) -> Evaluation {
    evaluation.context.id = None;
    evaluation
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn an_entry_is_answered_as_it_is_alone(defaults in entry(), entries in prop::collection::vec(entry(), 1..40)) {
        let mut body = defaults;
        body["evaluations"] = entries.into();
        // Of a default that is no object no entry is asked.
        let (body, arena) = (body.to_string(), Arena::new());
        let BatchBody::Many(batch) = BatchBody::parse(body.as_bytes(), &arena).unwrap() else { panic!("many") };
        let snapshot = pdp().0.snapshot.load_full();
        let asker = Asker::default();
        let many = pdp().0.decide_many(&snapshot, batch.entries(), Semantic::ExecuteAll, &asker);
        let replies = run(many).unwrap();
        prop_assert_eq!(replies.len(), batch.entries().len());
        for (reply, entry) in replies.into_iter().zip(batch.to_request().entries) {
            // As it is written, it reads.
            let mut text = JsonText::default();
            reply.write(&mut text);
            let written = String::from_utf8(text.into_bytes()).unwrap();
            let reply = Evaluation::from(reply);
            prop_assert_eq!(&serde_json::from_str::<Evaluation>(&written).unwrap(), &reply, "{}", written);
            let alone = match entry {
                Err(error) => Evaluation::refused(&error.to_string()),
                Ok(request) => {
                    agrees_with_cedar(&snapshot, &request);
                    alone(&snapshot, &request)
                }
            };
            prop_assert_eq!(plain(reply), plain(alone));
        }
    }
}

fn alone(snapshot: &Arc<Snapshot>, request: &EvaluationRequest) -> Evaluation {
    let (arena, asker) = (Arena::new(), Asker::default());
    let lent = request.lend(&arena);
    match run(pdp().0.decide(snapshot, &lent.asked(), &asker)) {
        Ok(answer) => answer.into(),
        Err(DecisionError::Rejected { message }) => Evaluation::refused(&message),
        Err(error) => panic!("{error}"),
    }
}

/// By what is planned for its kind, and as the question describes its entities.
#[track_caller]
fn agrees_with_cedar(snapshot: &Snapshot, request: &EvaluationRequest) {
    let arena = Arena::new();
    let lent = request.lend(&arena);
    let (asked, now) = (lent.asked(), UnixTime::from_secs(0));
    let whole = snapshot.read(&asked, now, &mut Before::default());
    let mapped = match (
        whole,
        snapshot.read_to_decide(&asked, now, &mut Before::default()),
    ) {
        (Ok(Read::Question(whole)), Ok(Read::Question(mapped))) => {
            assert_eq!(whole.unknown_attributes, mapped.unknown_attributes);
            let (_, ours) = *decided(snapshot, mapped).decided.unwrap();
            let cedar = snapshot.by_cedar(&whole.question).unwrap();
            assert!(ours.agrees_with(&cedar), "{request:?}: {ours:?}, {cedar:?}");
            whole
        }
        (whole, some) => return assert_eq!(format!("{whole:?}"), format!("{some:?}")),
    };
    let (question, ours) = *decided(snapshot, mapped).decided.unwrap();
    let cedar = snapshot.by_cedar(&question).unwrap();
    assert!(ours.agrees_with(&cedar), "{request:?}: {ours:?}, {cedar:?}");
}

fn decided(snapshot: &Snapshot, mapped: Mapped) -> Answered<'_> {
    snapshot.decide_mapped(mapped, Id::NONE, true).unwrap()
}

#[test]
fn of_what_no_policy_can_read_nothing_is_kept() {
    let snapshot = pdp().0.snapshot.load_full();
    let body = json!({
        "subject": { "type": "User", "id": "b", "properties": { "tags": ["x"], "level": 3, "friend": "a" } },
        "action": { "name": "see" },
        "resource": { "type": "User", "id": "c", "properties": { "tags": ["y"] } },
    });
    let request = EvaluationRequest::from_json(body.to_string().as_bytes()).unwrap();
    let (arena, now) = (Arena::new(), UnixTime::from_secs(0));
    let lent = request.lend(&arena);
    let kept = |read| {
        let Ok(Read::Question(mapped)) = read else {
            panic!("a question");
        };
        let rows = mapped.question.overlays.rows();
        let names = rows.map(|row| row.attributes().map(|(name, _)| name.to_string()).collect());
        names.collect::<Vec<Vec<String>>>()
    };
    let whole = kept(snapshot.read(&lent.asked(), now, &mut Before::default()));
    assert_eq!(whole, [vec!["friend", "level", "tags"], vec!["tags"]]);
    let some = kept(snapshot.read_to_decide(&lent.asked(), now, &mut Before::default()));
    // Of what nothing is kept it is known that there is such an entity.
    assert_eq!(some, [vec!["friend", "level"], vec![]]);
}
