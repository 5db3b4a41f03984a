//! Random documents, users and policies, as Cedar and as SQL.

mod policies;
mod users;

use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::super::Tables;
pub(crate) use policies::Side;
use policies::policy;
use users::{User, user};

pub(crate) const SCHEMA: &str = r"
entity Team in [Team];
entity Dept { code: String };
entity User in [Team] {
  name: String, level: Long, quota?: Long, on: Bool, dept?: Dept, boss?: User,
  skills: Set<String>, limits?: Set<Long>, prefs?: { a: Long, b?: String },
};
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
      name: { column: name }
      level: { column: level }
      quota: { column: quota }
      on: { column: active }
      dept: { column: dept_id }
      boss: { column: boss_id }
      skills: { set: { table: user_skills, entity: user_id, element: skill } }
      limits: { set: { table: user_limits, entity: user_id, element: size, present: has_limits } }
      prefs: { present: has_prefs }
      prefs.a: { column: pref_a }
      prefs.b: { column: pref_b }
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
CREATE TABLE users (id TEXT, name TEXT, level BIGINT, quota BIGINT, active BOOLEAN, dept_id TEXT,
  boss_id TEXT, has_limits BOOLEAN, has_prefs BOOLEAN, pref_a BIGINT, pref_b TEXT);
CREATE TABLE user_limits (user_id TEXT, size BIGINT);
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

/// There is no user 99, and no department 2.
fn user_number() -> impl Strategy<Value = usize> {
    select(vec![0, 1, 2, 3, 99])
}

fn doc() -> impl Strategy<Value = Doc> {
    let own = (
        text(),
        number(),
        prop::option::of(number()),
        any::<bool>(),
        prop::option::of(any::<bool>()),
    );
    let people = (
        user_number(),
        prop::option::of(user_number()),
        prop::option::of(some(user_number())),
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

/// About documents, asked for a user.
pub(crate) fn worlds() -> impl Strategy<Value = World> {
    worlds_about(Side::Resource)
}

pub(crate) fn worlds_about(open: Side) -> impl Strategy<Value = World> {
    let users = prop::collection::vec(user(), 10);
    let docs = prop::collection::vec(doc(), 12);
    let policies = prop::collection::vec(policy(open), 1..4);
    (policies, users, docs, number()).prop_map(|(policies, users, docs, n)| World {
        policies,
        users,
        docs,
        n,
    })
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
    /// How many there are of what is open.
    pub(super) fn count(&self, open: Side) -> usize {
        match open {
            Side::Resource => self.docs.len(),
            Side::Principal => self.users.len(),
        }
    }

    /// The same users and documents by other policies.
    pub(super) fn with(self, policies: Vec<String>) -> Self {
        Self { policies, ..self }
    }

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
        all.extend(
            self.users
                .iter()
                .enumerate()
                .map(|(n, user)| user.entity(n)),
        );
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
            user.sql(n, &mut sql);
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

fn or_null<T: ToString>(value: Option<T>) -> String {
    value.map_or("NULL".to_owned(), |value| value.to_string())
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
