//! Random users, as Cedar and as SQL.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{literal, number, or_null, some, text, unique, user_number, user_ref};

#[derive(Debug, Clone)]
pub(super) struct User {
    name: &'static str,
    level: i64,
    quota: Option<i64>,
    on: bool,
    dept: Option<usize>,
    boss: Option<usize>,
    skills: Vec<&'static str>,
    limits: Option<Vec<i64>>,
    prefs: Option<(i64, Option<&'static str>)>,
    teams: Vec<usize>,
}

pub(super) fn user() -> impl Strategy<Value = User> {
    let own = (
        text(),
        number(),
        prop::option::of(number()),
        any::<bool>(),
        prop::option::of((number(), prop::option::of(text()))),
    );
    let others = (
        prop::option::of(0..3_usize),
        prop::option::of(user_number()),
        some(0..3_usize),
    );
    let sets = (some(text()), prop::option::of(some(number())));
    (own, others, sets).prop_map(
        |((name, level, quota, on, prefs), (dept, boss, teams), (skills, limits))| User {
            name,
            level,
            quota,
            on,
            dept,
            boss,
            skills,
            limits,
            prefs,
            teams,
        },
    )
}

impl User {
    pub(super) fn entity(&self, n: usize) -> Value {
        let mut attributes = json!({ "name": self.name, "level": self.level, "on": self.on,
            "skills": self.skills });
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                attributes[name] = value;
            }
        };
        set("quota", self.quota.map(Value::from));
        set(
            "dept",
            self.dept
                .map(|dept| json!({ "__entity": { "type": "Dept", "id": format!("x{dept}") } })),
        );
        set("boss", self.boss.map(user_ref));
        set("limits", self.limits.clone().map(Value::from));
        set(
            "prefs",
            self.prefs.map(|(a, b)| match b {
                Some(b) => json!({ "a": a, "b": b }),
                None => json!({ "a": a }),
            }),
        );
        let parents: Vec<_> = unique(&self.teams)
            .iter()
            .map(|n| json!({ "type": "Team", "id": format!("t{n}") }))
            .collect();
        json!({ "uid": { "type": "User", "id": format!("u{n}") }, "attrs": attributes, "parents": parents })
    }

    pub(super) fn sql(&self, n: usize, sql: &mut String) {
        let _ = writeln!(
            sql,
            "INSERT INTO users VALUES ('u{n}', {}, {}, {}, {}, {}, {}, {}, {}, {}, {});",
            literal(self.name),
            self.level,
            or_null(self.quota),
            self.on,
            or_null(self.dept.map(|dept| format!("'x{dept}'"))),
            or_null(self.boss.map(|boss| format!("'u{boss}'"))),
            or_null(self.limits.as_ref().map(|_| true)),
            or_null(self.prefs.map(|_| true)),
            or_null(self.prefs.map(|(a, _)| a)),
            or_null(self.prefs.and_then(|(_, b)| b).map(literal)),
        );
        let mut row = |table: &str, value: String| {
            let _ = writeln!(sql, "INSERT INTO {table} VALUES ('u{n}', {value});");
        };
        for skill in unique(&self.skills) {
            row("user_skills", literal(skill));
        }
        for limit in unique(self.limits.as_deref().unwrap_or_default()) {
            row("user_limits", limit.to_string());
        }
        for team in unique(&self.teams) {
            row("user_teams", format!("'t{team}'"));
        }
    }
}
