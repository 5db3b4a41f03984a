//! Random policies, about the side of a question that is open.

use proptest::prelude::*;
use proptest::sample::select;

use super::{number, some, text};

/// Which side of a question stands for the rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Principal,
    Resource,
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// A pattern: as it is, or with its stars standing for anything.
fn pattern() -> impl Strategy<Value = String> {
    (text(), any::<bool>()).prop_map(|(text, wild)| {
        let text = text.replace('\\', "\\\\");
        let text = if wild { text } else { text.replace('*', "\\*") };
        format!("\"{text}\"")
    })
}

fn long(open: Side) -> impl Strategy<Value = String> {
    let own = match open {
        Side::Resource => "resource.size",
        Side::Principal => "principal.level",
    };
    let leaf = prop_oneof![
        select(vec![
            "resource.size",
            "resource.owner.level",
            "principal.level",
            "context.n",
            own,
        ])
        .prop_map(str::to_owned),
        number()
            .prop_filter("no literal", |n| *n != i64::MIN)
            .prop_map(|n| format!("({n})")),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), select(vec!["+", "-", "*"]), inner.clone())
                .prop_map(|(one, op, other)| format!("({one} {op} {other})")),
            inner.clone().prop_map(|one| format!("(-{one})")),
            (
                select(vec!["resource.public", "principal.on"]),
                inner.clone(),
                inner
            )
                .prop_map(|(test, one, other)| format!("(if {test} then {one} else {other})")),
        ]
    })
}

/// About documents.
const FIXED: &[&str] = &[
    "resource.public",
    "resource has hidden && resource.hidden",
    "resource has hidden",
    "resource.owner == principal",
    "resource has editor && resource.editor == principal",
    "resource has editor && resource.editor in Team::\"t0\"",
    "resource has editor && resource.editor.on",
    "resource.owner has dept && resource.owner.dept.code == \"a\"",
    "resource.owner has dept && resource.owner.dept has code",
    "resource.owner has level",
    "resource.owner in Team::\"t1\"",
    "resource.owner in [Team::\"t1\", Team::\"t2\"]",
    "resource in Folder::\"f1\"",
    "resource in [Folder::\"f0\", Folder::\"f2\"]",
    "resource == Doc::\"d1\"",
    "resource in Doc::\"d2\"",
    "resource.labels.isEmpty()",
    "resource has readers && resource.readers.contains(principal)",
    "resource has readers && resource.readers.contains(resource.owner)",
    "resource has readers && resource.readers.containsAny([principal, User::\"u3\"])",
    "resource has readers",
    "resource.meta has zip && resource.meta.zip == 3",
    "resource has meta && resource.meta.city == \"ab\"",
    "resource has more && resource.more.a > 2",
    "resource has more.b && resource.more.b == \"a\"",
    "resource has more && resource.more has b",
    "resource has extra && resource.extra * resource.size < 5",
    "resource has extra && resource.extra + 1 > resource.extra",
    "resource.sizes.contains(resource.size)",
    "resource.sizes.containsAll([1, 2])",
    "[1, 2, 3, 0].containsAll(resource.sizes)",
    "principal.skills.containsAny(resource.labels)",
    "[\"a\", \"A\", \"it's\"].contains(resource.title)",
    "[resource.owner, principal].contains(User::\"u1\")",
    "resource.owner.skills.contains(\"a\")",
    "resource is Doc",
    "resource.owner is User",
    "resource.public == resource.owner.on",
    "principal in Team::\"t0\"",
    "principal has dept && resource.owner has dept && principal.dept == resource.owner.dept",
    "principal in resource.owner",
];

/// About users.
const ABOUT_USERS: &[&str] = &[
    "principal.on",
    "principal has quota",
    "principal has quota && principal.quota > 2",
    "principal has quota && principal.quota + 1 > principal.level",
    "principal has quota && principal.quota * resource.size < 5",
    "principal has dept",
    "principal has dept && principal.dept.code == \"a\"",
    "principal has dept && principal.dept has code",
    "principal has boss && principal.boss == resource.owner",
    "principal has boss && principal.boss.level > 1",
    "principal has boss && principal.boss has level",
    "principal has boss && principal.boss in Team::\"t1\"",
    "principal has boss && principal.boss.skills.contains(\"a\")",
    "principal has boss.dept && principal.boss.dept.code == \"a\"",
    "principal has prefs && principal.prefs.a > resource.size",
    "principal has prefs.b && principal.prefs.b == \"a\"",
    "principal has prefs && principal.prefs has b",
    "principal has limits",
    "principal has limits && principal.limits.contains(principal.level)",
    "principal has limits && principal.limits.contains(resource.size)",
    "principal has limits && principal.limits.containsAll([1, 2])",
    "principal has limits && principal.limits.isEmpty()",
    "principal.skills.contains(resource.title)",
    "principal.skills.containsAny(resource.labels)",
    "principal.skills.containsAll(resource.labels)",
    "resource.labels.containsAll(principal.skills)",
    "resource.labels.containsAny(principal.skills)",
    "principal.skills.isEmpty()",
    "principal == User::\"u1\"",
    "principal == resource.owner",
    "principal in Team::\"t0\"",
    "principal in [Team::\"t1\", Team::\"t2\"]",
    "principal in resource.owner",
    "resource.owner in principal",
    "[User::\"u1\", User::\"u3\"].contains(principal)",
    "resource has readers && resource.readers.contains(principal)",
    "resource has readers && resource.readers.containsAny([principal, User::\"u3\"])",
    "resource has editor && resource.editor == principal",
    "principal is User",
    "principal.on == resource.public",
    "principal.on == resource.owner.on",
    "resource.owner has dept && principal has dept && principal.dept == resource.owner.dept",
    "resource has more.b && principal has prefs.b && resource.more.b == principal.prefs.b",
    "resource has hidden && resource.hidden",
    "resource in Folder::\"f1\"",
];

fn atom(open: Side) -> impl Strategy<Value = String> {
    let (fixed, texts, set) = match open {
        Side::Resource => (
            FIXED,
            vec!["resource.title", "resource.meta.city"],
            "resource.labels",
        ),
        Side::Principal => (ABOUT_USERS, vec!["principal.name"], "principal.skills"),
    };
    let fixed = select(fixed).prop_map(str::to_owned);
    let words =
        (select(texts.clone()), text()).prop_map(|(of, text)| format!("{of} == {}", quoted(text)));
    let like = (select(texts), pattern()).prop_map(|(of, pattern)| format!("{of} like {pattern}"));
    let labels = (
        select(vec!["contains", "containsAll", "containsAny"]),
        some(text()),
    )
        .prop_map(move |(op, texts)| match (op, texts.as_slice()) {
            ("contains", [first, ..]) => format!("{set}.contains({})", quoted(first)),
            (_, []) => format!("{set}.contains(\"a\")"),
            (op, texts) => format!("{set}.{op}({texts:?})"),
        });
    let numbers = (
        long(open),
        select(vec!["<", "<=", ">", ">=", "==", "!="]),
        long(open),
    )
        .prop_map(|(one, op, other)| format!("{one} {op} {other}"));
    prop_oneof![5 => fixed, 1 => words, 1 => like, 1 => labels, 3 => numbers]
        .prop_map(|atom| format!("({atom})"))
}

fn condition(open: Side) -> impl Strategy<Value = String> {
    atom(open).prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} && {other})")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} || {other})")),
            inner.clone().prop_map(|one| format!("(!{one})")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(test, one, other)| format!("(if {test} then {one} else {other})")),
        ]
    })
}

pub(super) fn policy(open: Side) -> impl Strategy<Value = String> {
    let head = select(vec![
        "permit (principal, action, resource)",
        "permit (principal, action, resource)",
        "permit (principal, action, resource in Folder::\"f1\")",
        "permit (principal in Team::\"t0\", action, resource)",
        "forbid (principal, action, resource)",
        "forbid (principal, action, resource is Doc in Folder::\"f0\")",
    ]);
    (
        head,
        condition(open),
        select(vec!["when", "when", "unless"]),
    )
        .prop_map(|(head, condition, word)| format!("{head} {word} {{ {condition} }};"))
}
