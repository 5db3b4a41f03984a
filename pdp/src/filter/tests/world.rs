//! Random documents, users and policies, as Cedar and as SQL.

use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::super::Tables;

pub(crate) const SCHEMA: &str = r"
entity Team in [Team];
entity Dept { code: String };
entity User in [Team] { level: Long, on: Bool, dept?: Dept, skills: Set<String> };
entity Folder in [Folder];
entity Doc in [Folder] {
  title: String, size: Long, extra?: Long, public: Bool, hidden?: Bool,
  owner: User, editor?: User, labels: Set<String>, readers?: Set<User>, sizes: Set<Long>,
  meta: { city: String, zip?: Long }, more?: { a: Long, b?: String },
};
action read appliesTo { principal: [User], resource: [Doc], context: { n: Long } };
";

const MAPPING: &str = r"
entities:
  Dept: { table: depts, id: id, attributes: { code: { column: code } } }
  User:
    table: users
    id: id
    attributes:
      level: { column: level }
      on: { column: active }
      dept: { column: dept_id }
      skills: { set: { table: user_skills, entity: user_id, element: skill } }
    ancestors:
      Team: { table: user_teams, entity: user_id, ancestor: team_id }
  Doc:
    table: docs
    id: id
    attributes:
      title: { column: title }
      size: { column: size }
      extra: { column: extra }
      public: { column: public }
      hidden: { column: hidden }
      owner: { column: owner_id }
      editor: { column: editor_id }
      labels: { set: { table: doc_labels, entity: doc_id, element: label } }
      readers: { set: { table: doc_readers, entity: doc_id, element: user_id, present: has_readers } }
      sizes: { set: { table: doc_sizes, entity: doc_id, element: size } }
      meta.city: { column: city }
      meta.zip: { column: zip }
      more: { present: has_more }
      more.a: { column: more_a }
      more.b: { column: more_b }
    ancestors:
      Folder: { table: doc_folders, entity: doc_id, ancestor: folder_id }
";

pub(super) fn tables() -> Tables {
    service_kit::config::parse(MAPPING, &service_kit::Variables::default()).unwrap()
}

pub(crate) const CREATE: &str = "
CREATE TABLE depts (id TEXT, code TEXT);
CREATE TABLE users (id TEXT, level BIGINT, active BOOLEAN, dept_id TEXT);
CREATE TABLE user_skills (user_id TEXT, skill TEXT);
CREATE TABLE user_teams (user_id TEXT, team_id TEXT);
CREATE TABLE docs (id TEXT, title TEXT, size BIGINT, extra BIGINT, public BOOLEAN, hidden BOOLEAN,
  owner_id TEXT, editor_id TEXT, has_readers BOOLEAN, city TEXT, zip BIGINT, has_more BOOLEAN,
  more_a BIGINT, more_b TEXT);
CREATE TABLE doc_labels (doc_id TEXT, label TEXT);
CREATE TABLE doc_readers (doc_id TEXT, user_id TEXT);
CREATE TABLE doc_sizes (doc_id TEXT, size BIGINT);
CREATE TABLE doc_folders (doc_id TEXT, folder_id TEXT);
";

#[derive(Debug, Clone)]
pub(crate) struct World {
    policies: Vec<String>,
    users: Vec<User>,
    pub(crate) docs: Vec<Doc>,
    pub(crate) n: i64,
}

#[derive(Debug, Clone)]
struct User {
    level: i64,
    on: bool,
    dept: Option<usize>,
    skills: Vec<&'static str>,
    teams: Vec<usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct Doc {
    title: &'static str,
    size: i64,
    extra: Option<i64>,
    public: bool,
    hidden: Option<bool>,
    owner: usize,
    editor: Option<usize>,
    labels: Vec<&'static str>,
    readers: Option<Vec<usize>>,
    sizes: Vec<i64>,
    meta: (&'static str, Option<i64>),
    more: Option<(i64, Option<&'static str>)>,
    folders: Vec<usize>,
}

const TEXTS: &[&str] = &[
    "a", "ab", "A", "a*b", "a%b", "a_b", "aXb", "[a]", "it's", "", "ä", "\\", "?",
];
const NUMBERS: &[i64] = &[
    0,
    1,
    2,
    3,
    -1,
    i64::MAX,
    i64::MIN,
    i64::MAX - 1,
    4_000_000_000,
];

fn text() -> impl Strategy<Value = &'static str> {
    select(TEXTS)
}

fn number() -> impl Strategy<Value = i64> {
    select(NUMBERS)
}

fn some<T: std::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(of, 0..3)
}

fn user() -> impl Strategy<Value = User> {
    (
        number(),
        any::<bool>(),
        prop::option::of(0..3_usize),
        some(text()),
        some(0..3_usize),
    )
        .prop_map(|(level, on, dept, skills, teams)| User {
            level,
            on,
            dept,
            skills,
            teams,
        })
}

fn doc() -> impl Strategy<Value = Doc> {
    let own = (
        text(),
        number(),
        prop::option::of(number()),
        any::<bool>(),
        prop::option::of(any::<bool>()),
    );
    // There is no user 4, and no department 2.
    let people = (
        0..5_usize,
        prop::option::of(0..5_usize),
        prop::option::of(some(0..5_usize)),
    );
    let meta = (text(), prop::option::of(number()));
    let more = prop::option::of((number(), prop::option::of(text())));
    (
        own,
        people,
        some(text()),
        some(number()),
        meta,
        more,
        some(0..3_usize),
    )
        .prop_map(
            |(
                (title, size, extra, public, hidden),
                (owner, editor, readers),
                labels,
                sizes,
                meta,
                more,
                folders,
            )| {
                Doc {
                    title,
                    size,
                    extra,
                    public,
                    hidden,
                    owner,
                    editor,
                    labels,
                    readers,
                    sizes,
                    meta,
                    more,
                    folders,
                }
            },
        )
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

fn long() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        select(vec![
            "resource.size",
            "resource.owner.level",
            "principal.level",
            "context.n",
            "resource.size"
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
            (inner.clone(), inner)
                .prop_map(|(one, other)| format!("(if resource.public then {one} else {other})")),
        ]
    })
}

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

fn atom() -> impl Strategy<Value = String> {
    let fixed = select(FIXED).prop_map(str::to_owned);
    let words = (select(vec!["resource.title", "resource.meta.city"]), text())
        .prop_map(|(of, text)| format!("{of} == {}", quoted(text)));
    let like = (
        select(vec!["resource.title", "resource.meta.city"]),
        pattern(),
    )
        .prop_map(|(of, pattern)| format!("{of} like {pattern}"));
    let labels = (
        select(vec!["contains", "containsAll", "containsAny"]),
        some(text()),
    )
        .prop_map(|(op, texts)| match (op, texts.as_slice()) {
            ("contains", [first, ..]) => format!("resource.labels.contains({})", quoted(first)),
            (_, []) => "resource.labels.contains(\"a\")".to_owned(),
            (op, texts) => format!("resource.labels.{op}({texts:?})"),
        });
    let numbers = (
        long(),
        select(vec!["<", "<=", ">", ">=", "==", "!="]),
        long(),
    )
        .prop_map(|(one, op, other)| format!("{one} {op} {other}"));
    prop_oneof![5 => fixed, 1 => words, 1 => like, 1 => labels, 3 => numbers]
        .prop_map(|atom| format!("({atom})"))
}

fn condition() -> impl Strategy<Value = String> {
    atom().prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} && {other})")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} || {other})")),
            inner.clone().prop_map(|one| format!("(!{one})")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(test, one, other)| format!("(if {test} then {one} else {other})")),
        ]
    })
}

fn policy() -> impl Strategy<Value = String> {
    let head = select(vec![
        "permit (principal, action, resource)",
        "permit (principal, action, resource)",
        "permit (principal, action, resource in Folder::\"f1\")",
        "permit (principal in Team::\"t0\", action, resource)",
        "forbid (principal, action, resource)",
        "forbid (principal, action, resource is Doc in Folder::\"f0\")",
    ]);
    (head, condition(), select(vec!["when", "when", "unless"]))
        .prop_map(|(head, condition, word)| format!("{head} {word} {{ {condition} }};"))
}

pub(crate) fn worlds() -> impl Strategy<Value = World> {
    let users = prop::collection::vec(user(), 4);
    let docs = prop::collection::vec(doc(), 12);
    (prop::collection::vec(policy(), 1..4), users, docs, number()).prop_map(
        |(policies, users, docs, n)| World {
            policies,
            users,
            docs,
            n,
        },
    )
}

/// A folder is in the one before it; a team stands alone.
fn folders_above(folders: &[usize]) -> Vec<usize> {
    let mut above: Vec<usize> = folders.iter().flat_map(|folder| 0..=*folder).collect();
    above.sort_unstable();
    above.dedup();
    above
}

fn user_ref(n: usize) -> Value {
    json!({ "__entity": { "type": "User", "id": format!("u{n}") } })
}

fn unique<T: Ord + Clone>(items: &[T]) -> Vec<T> {
    let mut items = items.to_vec();
    items.sort_unstable();
    items.dedup();
    items
}

impl World {
    pub(crate) fn policies(&self) -> String {
        let policies = self.policies.iter().enumerate();
        policies.fold(String::new(), |mut text, (n, policy)| {
            let _ = writeln!(text, "@id(\"p{n}\") {policy}");
            text
        })
    }

    pub(crate) fn entities(&self) -> Value {
        let mut all = vec![];
        for n in 0..3 {
            let parents: Vec<Value> = (n > 0)
                .then(|| json!({ "type": "Folder", "id": format!("f{}", n - 1) }))
                .into_iter()
                .collect();
            all.push(json!({ "uid": { "type": "Folder", "id": format!("f{n}") }, "attrs": {}, "parents": parents }));
        }
        for (n, code) in TEXTS.iter().enumerate().take(2) {
            all.push(json!({ "uid": { "type": "Dept", "id": format!("x{n}") }, "attrs": { "code": code }, "parents": [] }));
        }
        for (n, user) in self.users.iter().enumerate() {
            let mut attributes =
                json!({ "level": user.level, "on": user.on, "skills": user.skills });
            if let Some(dept) = user.dept {
                attributes["dept"] =
                    json!({ "__entity": { "type": "Dept", "id": format!("x{dept}") } });
            }
            let parents: Vec<_> = unique(&user.teams)
                .iter()
                .map(|n| json!({ "type": "Team", "id": format!("t{n}") }))
                .collect();
            all.push(json!({ "uid": { "type": "User", "id": format!("u{n}") }, "attrs": attributes, "parents": parents }));
        }
        all.extend(self.docs.iter().enumerate().map(|(n, doc)| doc.entity(n)));
        Value::Array(all)
    }

    /// The same, as the only rows of the tables.
    pub(crate) fn fresh_sql(&self) -> String {
        let mut sql = "BEGIN;\n".to_owned();
        for table in CREATE
            .lines()
            .filter_map(|line| line.strip_prefix("CREATE TABLE "))
        {
            let name = table.split(' ').next().unwrap();
            let _ = writeln!(sql, "DELETE FROM {name};");
        }
        for (n, code) in TEXTS.iter().enumerate().take(2) {
            let _ = writeln!(sql, "INSERT INTO depts VALUES ('x{n}', {});", literal(code));
        }
        for (n, user) in self.users.iter().enumerate() {
            let dept = user
                .dept
                .map_or("NULL".to_owned(), |dept| format!("'x{dept}'"));
            let User { level, on, .. } = user;
            let _ = writeln!(
                sql,
                "INSERT INTO users VALUES ('u{n}', {level}, {on}, {dept});"
            );
            for skill in unique(&user.skills) {
                let _ = writeln!(
                    sql,
                    "INSERT INTO user_skills VALUES ('u{n}', {});",
                    literal(skill)
                );
            }
            for team in unique(&user.teams) {
                let _ = writeln!(sql, "INSERT INTO user_teams VALUES ('u{n}', 't{team}');");
            }
        }
        for (n, doc) in self.docs.iter().enumerate() {
            doc.sql(n, &mut sql);
        }
        sql + "COMMIT;"
    }
}

impl Doc {
    fn entity(&self, n: usize) -> Value {
        let mut attributes = json!({ "title": self.title, "size": self.size, "public": self.public,
            "owner": user_ref(self.owner), "labels": self.labels, "sizes": self.sizes,
            "meta": { "city": self.meta.0 } });
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                attributes[name] = value;
            }
        };
        set("extra", self.extra.map(Value::from));
        set("hidden", self.hidden.map(Value::from));
        set("editor", self.editor.map(user_ref));
        set(
            "readers",
            self.readers
                .as_ref()
                .map(|all| all.iter().map(|n| user_ref(*n)).collect()),
        );
        set(
            "more",
            self.more.map(|(a, b)| match b {
                Some(b) => json!({ "a": a, "b": b }),
                None => json!({ "a": a }),
            }),
        );
        if let Some(zip) = self.meta.1 {
            attributes["meta"]["zip"] = zip.into();
        }
        let parents: Vec<_> = unique(&self.folders)
            .iter()
            .map(|n| json!({ "type": "Folder", "id": format!("f{n}") }))
            .collect();
        json!({ "uid": { "type": "Doc", "id": format!("d{n}") }, "attrs": attributes, "parents": parents })
    }

    fn sql(&self, n: usize, sql: &mut String) {
        fn or_null<T: ToString>(value: Option<T>) -> String {
            value.map_or("NULL".to_owned(), |value| value.to_string())
        }
        let _ = writeln!(
            sql,
            "INSERT INTO docs VALUES ('d{n}', {}, {}, {}, {}, {}, 'u{}', {}, {}, {}, {}, {}, {}, {});",
            literal(self.title),
            self.size,
            or_null(self.extra),
            self.public,
            or_null(self.hidden),
            self.owner,
            or_null(self.editor.map(|n| format!("'u{n}'"))),
            // Some tools write NULL for false.
            or_null(self.readers.as_ref().map(|_| true)),
            literal(self.meta.0),
            or_null(self.meta.1),
            or_null(self.more.map(|_| true)),
            or_null(self.more.map(|(a, _)| a)),
            or_null(self.more.and_then(|(_, b)| b).map(literal)),
        );
        for label in unique(&self.labels) {
            let _ = writeln!(
                sql,
                "INSERT INTO doc_labels VALUES ('d{n}', {});",
                literal(label)
            );
        }
        for reader in unique(self.readers.as_deref().unwrap_or_default()) {
            let _ = writeln!(sql, "INSERT INTO doc_readers VALUES ('d{n}', 'u{reader}');");
        }
        for size in unique(&self.sizes) {
            let _ = writeln!(sql, "INSERT INTO doc_sizes VALUES ('d{n}', {size});");
        }
        for folder in folders_above(&self.folders) {
            let _ = writeln!(sql, "INSERT INTO doc_folders VALUES ('d{n}', 'f{folder}');");
        }
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
