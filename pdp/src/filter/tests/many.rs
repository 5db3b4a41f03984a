//! Conditions of some thousand values: databases take them, or they are refused with the reason.

use super::*;
use crate::filter::limits::{Excess, MOST_DEEP};
use crate::filter::sql::{Cond, Scalar};
use crate::filter::writer::Writer;
use proptest::strategy::ValueTree as _;

/// Texts, some of which are in the world.
fn texts(count: usize) -> Vec<String> {
    let known = ["ab", "A", "a_b", ""].map(str::to_owned);
    let others = (known.len()..count).map(|n| format!("t{n}"));
    known.into_iter().chain(others).collect()
}

fn joined(of: &[String], between: &str, part: impl Fn(&str) -> String) -> String {
    let parts: Vec<_> = of.iter().map(|text| part(text)).collect();
    parts.join(between)
}

fn policy(clause: &str) -> Vec<String> {
    vec![format!(
        "permit (principal, action, resource) when {{ {clause} }};"
    )]
}

/// Policies of `count` values together, in several forms. Of a chain, Cedar itself evaluates no more
/// than its stack has room for.
fn forms(count: usize) -> Vec<(&'static str, Vec<String>)> {
    let texts = texts(count);
    let each = |scope: &str, clause: &dyn Fn(usize, &str) -> String| -> Vec<String> {
        let texts = texts.iter().enumerate();
        texts
            .map(|(n, text)| format!("{scope} when {{ {} }};", clause(n, text)))
            .collect()
    };
    let permit = "permit (principal, action, resource)";
    let forbid = "forbid (principal, action, resource)";
    let equal = |_: usize, text: &str| format!("resource.title == {text:?}");
    let with_size =
        |n: usize, text: &str| format!("resource.title == {text:?} && resource.size > -{}", n % 7);
    let folders = (0..count).map(|n| {
        format!(
            "permit (principal, action, resource in Folder::\"f{}\");",
            n * 2
        )
    });
    let mut forbidden = each(forbid, &equal);
    forbidden.push(format!("{permit};"));
    let mut but = each(forbid, &with_size);
    but.truncate(count / 2);
    but.push(format!("{permit};"));
    let mut forms = vec![
        ("policies", each(permit, &equal)),
        ("policies of two conditions", each(permit, &with_size)),
        ("forbids", forbidden),
        ("forbids of two conditions", but),
        ("folders", folders.collect()),
    ];
    forms.extend(sets_and_chains(&texts, count));
    forms
}

/// The same in one clause.
fn sets_and_chains(texts: &[String], count: usize) -> Vec<(&'static str, Vec<String>)> {
    let equal = |text: &str| format!("resource.title == {text:?}");
    let city = |text: &str| format!("resource.meta.city != {text:?}");
    let mixed = |text: &str| {
        format!("resource.title == {text:?} || resource.owner.skills.contains({text:?})")
    };
    vec![
        (
            "a set",
            policy(&format!("{texts:?}.contains(resource.title)")),
        ),
        (
            "any of a set",
            policy(&format!("resource.labels.containsAny({texts:?})")),
        ),
        (
            "all of a set",
            policy(&format!("{texts:?}.containsAll(resource.labels)")),
        ),
        (
            "some",
            policy(&format!("resource.labels.containsAll({:?})", &texts[..1])),
        ),
        (
            "a chain",
            policy(&joined(&texts[..count / 10], " || ", equal)),
        ),
        (
            "a chain of what differs",
            policy(&joined(&texts[..count / 10], " && ", city)),
        ),
        (
            "a chain of both",
            policy(&joined(&texts[..count / 20], " || ", mixed)),
        ),
    ]
}

#[test]
fn databases_take_conditions_of_some_thousand_values() {
    let databases = Databases::start();
    let mut runner = TestRunner::deterministic();
    for (form, policies) in forms(3000) {
        let world = world::worlds().new_tree(&mut runner).unwrap().current();
        let world = world.with(policies);
        let snapshot = snapshot(&world);
        let filters = [Dialect::Sqlite, Dialect::Postgresql].map(|dialect| {
            let filter = filter(&snapshot, Side::Resource, world.n, dialect);
            filter.unwrap_or_else(|error| panic!("{form}: {error}"))
        });
        let expected = permitted(&snapshot, Side::Resource, world.n);
        assert!(
            expected.len() < world.docs.len(),
            "{form} tells nothing apart"
        );
        let found = databases.ask(&world, Side::Resource, filters.each_ref());
        let text: String = query(Side::Resource, &filters[0])
            .0
            .chars()
            .take(600)
            .collect();
        assert_eq!(found, [expected.clone(), expected], "{form}: {text}");
    }
}

/// A condition of so many values.
fn of_values(dialect: Dialect, count: usize) -> Result<(String, Vec<Bind>), Excess> {
    let column = Scalar::Column("title".into());
    let values = texts(count).into_iter();
    let equal = values.map(|text| Cond::Equal(column.clone(), Scalar::Bound(Bind::Text(text))));
    written(dialect, &Cond::any(equal))
}

/// A condition that is nested so deep, around an attribute of something else.
fn of_depth(dialect: Dialect, depth: usize) -> Result<(String, Vec<Bind>), Excess> {
    let lookup = |is: Scalar, column: &str| Scalar::Lookup {
        table: "users".into(),
        key: "id".into(),
        is: Box::new(is),
        column: column.into(),
    };
    let boss = lookup(
        lookup(Scalar::Column("owner_id".into()), "boss_id"),
        "boss_id",
    );
    let level = |n: usize| Scalar::Bound(Bind::Long(i64::try_from(n).unwrap()));
    let equal = |n: usize| Cond::Equal(lookup(boss.clone(), "level"), level(n));
    let mut nested = equal(0);
    for n in 1..depth {
        nested = if n % 2 == 0 {
            Cond::any([equal(n), nested])
        } else {
            Cond::all([equal(n), nested])
        };
    }
    written(dialect, &nested)
}

fn written(dialect: Dialect, cond: &Cond) -> Result<(String, Vec<Bind>), Excess> {
    let mut writer = Writer::new(dialect, "d");
    writer.cond(cond);
    writer.done()
}

/// Cedar says of what has no room that it fails, which would be a filter that nobody can pass.
#[test]
fn policies_that_are_too_deep_are_refused() {
    let mut runner = TestRunner::deterministic();
    for (n, is_refused) in [(398, false), (401, true)] {
        let world = world::worlds().new_tree(&mut runner).unwrap().current();
        let clause = joined(&texts(n), " || ", |text| {
            format!("resource.title == {text:?}")
        });
        let snapshot = snapshot(&world.with(policy(&clause)));
        let filter = filter(&snapshot, Side::Resource, 0, Dialect::Sqlite);
        match filter {
            Ok(Filter::Rows { binds, .. }) => assert!(!is_refused && binds.len() == n, "{n}"),
            Err(Untranslatable::Policy { reason, .. }) => {
                assert!(is_refused && reason.contains("too deep"), "{n}: {reason}");
            }
            other => panic!("{n}: {other:?}"),
        }
    }
}

#[test]
fn databases_take_what_is_just_within_their_limits_and_more_is_refused() {
    let databases = Databases::start();
    let mut runner = TestRunner::deterministic();
    let world = world::worlds().new_tree(&mut runner).unwrap().current();
    let rows = |(condition, binds)| Filter::Rows { condition, binds };
    let (sqlite, postgres) = (Dialect::Sqlite, Dialect::Postgresql);
    let [one, other] = databases.ask(
        &world,
        Side::Resource,
        [
            &rows(of_values(sqlite, sqlite.most_values()).unwrap()),
            &rows(of_values(postgres, postgres.most_values()).unwrap()),
        ],
    );
    assert_eq!(one, other);
    for dialect in [sqlite, postgres] {
        let most = dialect.most_values();
        let excess = of_values(dialect, most + 1).unwrap_err();
        assert_eq!(excess, Excess::Values(dialect, most));
        assert!(
            excess
                .to_string()
                .contains(&format!("more than {most} values, which {dialect}"))
        );
    }

    // What is around the innermost scalar is counted, too.
    let deepest = (1..MOST_DEEP)
        .rev()
        .find(|depth| of_depth(sqlite, *depth).is_ok())
        .unwrap();
    assert!(deepest > MOST_DEEP / 2, "{deepest}");
    let [one, other] = [sqlite, postgres].map(|dialect| rows(of_depth(dialect, deepest).unwrap()));
    let [one, other] = databases.ask(&world, Side::Resource, [&one, &other]);
    assert_eq!(one, other);
    for dialect in [sqlite, postgres] {
        assert_eq!(of_depth(dialect, deepest + 1).unwrap_err(), Excess::Depth);
    }
    let long = |dialect: Dialect| {
        let parts = (0..20_000).map(|n| {
            Cond::Row(
                "a_table".into(),
                vec![(format!("column{n}"), Scalar::Column("id".into()))],
            )
        });
        written(dialect, &Cond::any(parts)).unwrap_err()
    };
    assert_eq!(long(sqlite), Excess::Length(sqlite.longest()));
    assert_eq!(long(postgres), Excess::Length(postgres.longest()));
}
