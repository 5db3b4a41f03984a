//! The core against Cedar's own authorizer, on random policies, entities and questions.

use std::collections::{BTreeSet, HashMap};

use authzen::Reason;
use cedar_policy::{Authorizer, Entities, PolicySet};
use cedar_policy_core::ast::EntityUID;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::reads::Names;

/// What both sides are compared by: decision, determining policies, failing policies.
type Verdict = (bool, BTreeSet<String>, BTreeSet<String>);

/// Rules as the loader makes them, without annotations.
pub(crate) fn rules(policies: &PolicySet) -> Rules {
    rules_with(policies, &Names::default())
}

pub(crate) fn rules_with(policies: &PolicySet, names: &Names) -> Rules {
    let mut rules = unshared(policies, names);
    rules.share(|_| None);
    rules
}

/// The same before any share what they have alike.
pub(super) fn unshared(policies: &PolicySet, names: &Names) -> Rules {
    Rules::new(
        policies
            .policies()
            .map(|policy| {
                let reason = Reason {
                    policy: policy.id().to_string(),
                    reason: None,
                };
                let inner: &cedar_policy_core::ast::Policy = policy.as_ref();
                Rule::new(inner.clone(), reason, Vec::new(), Vec::new(), names)
            })
            .collect(),
    )
}

/// The question that a request is.
pub(crate) fn question(request: &cedar_policy::Request) -> Question {
    let request: &cedar_policy_core::ast::Request = request.as_ref();
    Question {
        principal: request.principal().uid().unwrap().clone().into(),
        action: request.action().uid().unwrap().clone().into(),
        resource: request.resource().uid().unwrap().clone().into(),
        context: request.context().unwrap().clone(),
        now: None,
        overlays: crate::entities::Overlays::default(),
    }
}

/// A request with `peer` and `flag` in its context.
pub(super) fn asked(
    principal: &str,
    action: &str,
    resource: &str,
    peer: &str,
    flag: bool,
) -> cedar_policy::Request {
    let peer: cedar_policy::EntityUid = peer.parse().unwrap();
    let context = cedar_policy::Context::from_pairs([
        (
            "peer".to_owned(),
            cedar_policy::RestrictedExpression::new_entity_uid(peer),
        ),
        (
            "flag".to_owned(),
            cedar_policy::RestrictedExpression::new_bool(flag),
        ),
    ])
    .unwrap();
    cedar_policy::Request::new(
        principal.parse().unwrap(),
        format!("Action::\"{action}\"").parse().unwrap(),
        resource.parse().unwrap(),
        context,
        None,
    )
    .unwrap()
}

/// Ours, without the rule that a failing `forbid` denies.
pub(crate) fn ours(rules: &Rules, store: &EntityStore, request: &cedar_policy::Request) -> Verdict {
    let question = question(request);
    let outcome = decided(rules, &question, store);
    let failing_forbid = outcome.failures.iter().any(|(rule, _)| rule.is_forbid());
    if failing_forbid {
        assert!(!outcome.permitted, "a failing forbid must deny");
    }
    (
        outcome.permitted || outcome.denied_by_failure,
        names(outcome.determining.iter().copied()),
        names(outcome.failures.iter().map(|(rule, _)| *rule)),
    )
}

/// What is said of a question, also where what is planned for its kind was planned for other entities.
pub(crate) fn decided<'r>(
    rules: &'r Rules,
    question: &Question,
    store: &EntityStore,
) -> Outcome<'r> {
    let (planned, kind) = (rules.clone(), KindPlace { at: 0, of: 1 });
    let another = |uid: &Uid| {
        let kind = uid.entity_type().clone();
        Uid::from(EntityUID::from_components(
            kind,
            cedar_policy_core::ast::Eid::new("another"),
            None,
        ))
    };
    let other = Question {
        principal: another(&question.principal),
        resource: another(&question.resource),
        ..question.clone()
    };
    planned.decide_of_kind(kind, &other, store).unwrap();
    let by_plan = planned.decide_of_kind(kind, question, store).unwrap();
    let outcome = rules.decide(question, store).unwrap();
    let said = |outcome: &Outcome<'_>| {
        let failures = outcome.failures.iter().map(|(rule, _)| *rule);
        let determining = outcome.determining.iter().copied();
        (
            outcome.permitted,
            outcome.denied_by_failure,
            names(determining),
            names(failures),
            outcome.reads,
        )
    };
    assert_eq!(said(&by_plan), said(&outcome), "{question:?}");
    outcome
}

fn names<'a>(rules: impl Iterator<Item = &'a Rule>) -> BTreeSet<String> {
    rules.map(|rule| rule.reason.policy.clone()).collect()
}

/// Cedar's own.
pub(crate) fn theirs(
    policies: &PolicySet,
    entities: &Entities,
    request: &cedar_policy::Request,
) -> Verdict {
    let response = Authorizer::new().is_authorized(request, policies, entities);
    (
        response.decision() == cedar_policy::Decision::Allow,
        response
            .diagnostics()
            .reason()
            .map(ToString::to_string)
            .collect(),
        response
            .diagnostics()
            .errors()
            .map(|error| match error {
                cedar_policy::AuthorizationError::PolicyEvaluationError(error) => {
                    error.policy_id().to_string()
                }
            })
            .collect(),
    )
}

/// Where a failing forbid denies, ours names no permit that Cedar would have let through.
pub(crate) fn assert_agree(ours: &Verdict, theirs: &Verdict, about: &str) {
    assert_eq!((ours.0, &ours.2), (theirs.0, &theirs.2), "{about}");
    if !ours.1.is_empty() || !theirs.0 {
        assert_eq!(ours.1, theirs.1, "{about}");
    }
}

pub(super) fn uid() -> impl Strategy<Value = String> {
    (select(vec!["A", "B"]), 0..4).prop_map(|(kind, id)| format!("{kind}::\"{id}\""))
}

fn action() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "g", "h"]).prop_map(|id| format!("Action::\"{id}\""))
}

fn scope(variable: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![
        Just(variable.to_owned()),
        uid().prop_map(move |uid| format!("{variable} == {uid}")),
        uid().prop_map(move |uid| format!("{variable} in {uid}")),
        select(vec!["A", "B"]).prop_map(move |kind| format!("{variable} is {kind}")),
        (select(vec!["A", "B"]), uid())
            .prop_map(move |(kind, uid)| format!("{variable} is {kind} in {uid}")),
    ]
}

fn action_scope() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("action".to_owned()),
        action().prop_map(|action| format!("action == {action}")),
        action().prop_map(|action| format!("action in {action}")),
        proptest::collection::vec(action(), 0..3)
            .prop_map(|actions| format!("action in [{}]", actions.join(", "))),
    ]
}

/// An entity by some way: a variable, a literal, the context, or attributes of those.
fn entity() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        select(vec!["principal", "resource", "context.peer"]).prop_map(str::to_owned),
        uid(),
    ];
    leaf.prop_recursive(3, 8, 1, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| format!("{inner}.peer")),
            inner.prop_map(|inner| format!("(if {inner} has peer then {inner}.peer else {inner})")),
        ]
    })
}

fn numbers() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..3_i64).prop_map(|number| number.to_string()),
        entity().prop_map(|entity| format!("{entity}.size")),
        entity().prop_map(|entity| format!("({entity}.size * 9223372036854775807)")),
        entity().prop_map(|entity| format!("(-{entity}.size - 9223372036854775807)")),
    ]
}

fn clause() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("true".to_owned()),
        Just("context.flag".to_owned()),
        entity().prop_map(|entity| format!("{entity}.flag")),
        entity().prop_map(|entity| format!("{entity} has flag && {entity}.flag")),
        entity().prop_map(|entity| format!("!({entity} has peer.peer.flag)")),
        (entity(), entity()).prop_map(|(left, right)| format!("{left} == {right}")),
        (entity(), entity()).prop_map(|(left, right)| format!("{left} in {right}")),
        (entity(), entity())
            .prop_map(|(left, right)| format!("[{left}, {right}].contains({right}.peer)")),
        entity().prop_map(|entity| format!("{entity} is A && {entity}.size + 1 > 2")),
        (entity(), numbers()).prop_map(|(entity, number)| format!("{entity}.size < {number}")),
        (numbers(), numbers()).prop_map(|(one, other)| format!("{one} <= {other} || context.flag")),
        (entity(), entity()).prop_map(|(one, other)| format!("{one} in [{other}, principal]")),
        (entity(), entity())
            .prop_map(|(one, other)| format!("[{one}, {other}].containsAll([principal, {one}])")),
        (entity(), entity())
            .prop_map(|(one, other)| format!("[{one}].containsAny([{other}, {other}.flag])")),
        entity().prop_map(|entity| format!("{{a: {entity}, b: {{c: {entity}.size}}}}.b.c == 1")),
        entity().prop_map(|entity| format!("{{a: {entity}}} has a.peer.size && !context.flag")),
        entity().prop_map(|entity| format!("{{a: {entity}}} == {{a: resource.peer}}")),
        entity().prop_map(|entity| format!(
            "{entity}.hasTag(\"t\") && {entity}.getTag(\"t\") like \"a*\""
        )),
        entity().prop_map(|entity| format!("{entity}.getTag({entity}.getTag(\"t\")) == \"abc\"")),
        numbers().prop_map(|number| format!("if {number} == 1 then context.flag else context")),
        numbers().prop_map(|number| format!(
            "context has flag && [{number}, {number}].contains({number})"
        )),
        select(vec![
            "decimal(\"1.5\").lessThan(decimal(\"1.50001\"))",
            "ip(\"10.0.0.1\").isInRange(ip(\"10.0.0.0/8\"))",
            "ip(\"10.0.0.1\") == ip(\"10.0.0.1/32\")",
            "datetime(\"2024-01-01\").offset(duration(\"1d\")) > datetime(\"2024-01-01\")",
            "datetime(\"2024-01-01\") < duration(\"1d\")",
            "[].isEmpty() && ![1].isEmpty()",
            "[1, true, \"a\", [2]].contains([2])",
            "principal in [resource, 1]",
            "action in Action::\"h\" && action is Action",
            "context == {flag: true, peer: A::\"1\"}",
            "context like \"a\"",
            "-9223372036854775808 == -context.peer.size",
            "1 in principal",
        ])
        .prop_map(str::to_owned),
    ]
}

fn policies() -> impl Strategy<Value = String> {
    let policy = (
        select(vec!["permit", "permit", "forbid"]),
        scope("principal"),
        action_scope(),
        scope("resource"),
        proptest::option::of((select(vec!["when", "unless"]), clause())),
    )
        .prop_map(|(effect, principal, action, resource, clause)| {
            let clause = clause.map_or_else(String::new, |(word, clause)| {
                format!(" {word} {{ {clause} }}")
            });
            format!("{effect} ({principal}, {action}, {resource}){clause};\n")
        });
    proptest::collection::vec(policy, 0..8).prop_map(|policies| policies.concat())
}

/// A template and what it is linked to.
#[derive(Debug, Clone)]
struct Link {
    text: String,
    principal: Option<String>,
    resource: Option<String>,
}

impl Link {
    fn add(self, set: &mut PolicySet, n: usize) {
        let id = cedar_policy::PolicyId::new(format!("template{n}"));
        let template = cedar_policy::Template::parse(Some(id.clone()), self.text).unwrap();
        set.add_template(template).unwrap();
        let mut values = HashMap::new();
        for (slot, uid) in [
            (cedar_policy::SlotId::principal(), self.principal),
            (cedar_policy::SlotId::resource(), self.resource),
        ] {
            values.extend(uid.map(|uid| (slot, uid.parse().unwrap())));
        }
        set.link(id, cedar_policy::PolicyId::new(format!("link{n}")), values)
            .unwrap();
    }
}

fn links() -> impl Strategy<Value = Vec<Link>> {
    let slot = |variable: &'static str| {
        prop_oneof![
            Just((variable.to_owned(), None)),
            (select(vec!["==", "in", "is A in", "is B in"]), uid()).prop_map(move |(word, uid)| {
                (format!("{variable} {word} ?{variable}"), Some(uid))
            }),
        ]
    };
    let link = (
        select(vec!["permit", "forbid"]),
        slot("principal"),
        action_scope(),
        slot("resource"),
        clause(),
    )
        .prop_filter("a template has a slot", |(_, principal, _, resource, _)| {
            principal.1.is_some() || resource.1.is_some()
        })
        .prop_map(|(effect, principal, action, resource, clause)| Link {
            text: format!(
                "{effect} ({}, {action}, {}) when {{ {clause} }};",
                principal.0, resource.0
            ),
            principal: principal.1,
            resource: resource.1,
        });
    proptest::collection::vec(link, 0..3)
}

fn tags(index: usize) -> serde_json::Value {
    match index % 3 {
        0 => serde_json::json!({ "t": "abc", "abc": "abc" }),
        1 => serde_json::json!({ "t": "b" }),
        _ => serde_json::json!({}),
    }
}

/// Entities that may or may not be there, each in some of those that come after it.
pub(super) fn entities() -> impl Strategy<Value = serde_json::Value> {
    let row = (
        proptest::bool::weighted(0.8),
        proptest::option::of(any::<bool>()),
        proptest::option::weighted(0.8, 0..3_i64),
        proptest::option::weighted(0.8, 0..8_usize),
        proptest::collection::btree_set(0..8_usize, 0..3),
        proptest::option::weighted(0.8, proptest::collection::vec(0..8_usize, 0..4)),
    );
    proptest::collection::vec(row, 8).prop_map(|rows| {
        let name = |index: usize| {
            let kind = if index < 4 { "A" } else { "B" };
            serde_json::json!({ "type": kind, "id": (index % 4).to_string() })
        };
        let action = |id: &str| serde_json::json!({ "type": "Action", "id": id });
        let mut list = vec![
            serde_json::json!({"uid": action("a"), "attrs": {}, "parents": [action("g")]}),
            serde_json::json!({"uid": action("g"), "attrs": {}, "parents": [action("h")]}),
        ];
        // A set of everything that a clause may look for, and of what it looks inside.
        let items = [
            serde_json::json!(0),
            serde_json::json!(1),
            serde_json::json!(2),
            serde_json::json!(true),
            serde_json::json!([1]),
            serde_json::json!({ "__entity": name(0) }),
            serde_json::json!({ "__entity": name(5) }),
            serde_json::json!("a"),
        ];
        for (index, (there, flag, size, peer, parents, all)) in rows.into_iter().enumerate() {
            if !there {
                continue;
            }
            let mut attributes = serde_json::Map::new();
            attributes.extend(flag.map(|flag| ("flag".to_owned(), flag.into())));
            attributes.extend(size.map(|size| ("size".to_owned(), size.into())));
            attributes.extend(peer.map(|peer| {
                (
                    "peer".to_owned(),
                    serde_json::json!({ "__entity": name(peer) }),
                )
            }));
            attributes.extend(all.map(|all| {
                let all = all.into_iter().map(|n| items[n].clone()).collect();
                ("all".to_owned(), all)
            }));
            let parents: Vec<_> = parents
                .into_iter()
                .filter(|p| *p > index)
                .map(name)
                .collect();
            list.push(serde_json::json!({
                "uid": name(index), "attrs": attributes, "parents": parents, "tags": tags(index),
            }));
        }
        serde_json::Value::Array(list)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn the_index_and_the_compiled_clauses_agree_with_the_plain_authorizer(
        policies in policies(),
        links in links(),
        entities in entities(),
        principal in uid(),
        action in select(vec!["a", "b"]),
        resource in uid(),
        peer in uid(),
        flag in any::<bool>(),
    ) {
        let mut set: PolicySet = policies.parse().unwrap();
        for (n, link) in links.into_iter().enumerate() {
            link.add(&mut set, n);
        }
        let all = Entities::from_json_value(entities, None).unwrap();
        let store = EntityStore::of(all.as_ref());
        let request = asked(&principal, action, &resource, &peer, flag);
        let ours = ours(&rules(&set), &store, &request);
        assert_agree(&ours, &theirs(&set, &all, &request), &set.to_string());
    }
}

#[test]
fn a_failing_forbid_denies_what_a_permit_would_allow() {
    let set: PolicySet = "permit (principal, action, resource);
        forbid (principal, action, resource) when { principal.suspended };"
        .parse()
        .unwrap();
    let (store, rules) = (EntityStore::default(), rules(&set));
    let uid = |name: &str| {
        name.parse::<cedar_policy_core::ast::EntityUID>()
            .unwrap()
            .into()
    };
    let question = Question {
        principal: uid("A::\"1\""),
        action: uid("Action::\"a\""),
        resource: uid("B::\"1\""),
        context: Context::empty(),
        now: None,
        overlays: crate::entities::Overlays::default(),
    };
    let outcome = rules.decide(&question, &store).unwrap();
    assert!(!outcome.permitted && outcome.denied_by_failure && outcome.determining.is_empty());
    assert_eq!(outcome.failures.len(), 1);
}
