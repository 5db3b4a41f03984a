//! A world of shared documents: who there is, what there is, and ten rules for each kind of it.
//!
//! The rules are stated three times: here, where they say what must be answered, and in each
//! engine's own idiom in `world/cedar` and `world/cerbos`.
#![expect(
    clippy::indexing_slicing,
    reason = "places in lists that are made here"
)]

mod cedar;
mod cerbos;
mod dice;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::ask::{Question, Questions, Sign};
use dice::Dice;

/// People and documents. Each person and each document has its number in its list for an id.
#[derive(Debug)]
struct World {
    people: Vec<Person>,
    documents: Vec<Document>,
    asked: Vec<Asked>,
}

/// Serialized, its attributes.
#[derive(Debug, Serialize)]
struct Person {
    #[serde(skip)]
    id: String,
    roles: Vec<&'static str>,
    department: String,
    clearance: u64,
    mfa: bool,
}

/// Serialized, its attributes.
#[derive(Debug, Serialize)]
struct Document {
    #[serde(skip)]
    id: String,
    #[serde(skip)]
    kind: usize,
    owner: String,
    department: String,
    level: u64,
    status: &'static str,
    public: bool,
    viewers: Vec<String>,
    editors: Vec<String>,
}

/// A question: places in the lists.
#[derive(Debug, Clone, Copy)]
struct Asked {
    person: usize,
    action: &'static str,
    document: usize,
}

const ACTIONS: [&str; 6] = ["view", "comment", "edit", "share", "approve", "delete"];
const ROLES: [&str; 4] = ["employee", "contractor", "manager", "auditor"];
const STATES: [&str; 4] = ["draft", "review", "published", "archived"];
const DEPARTMENTS: usize = 5;
const PEOPLE: usize = 200;
const DOCUMENTS: usize = 2000;
const SINGLES: usize = 1000;
const BATCHES: usize = 50;
const BATCH: usize = 100;

impl World {
    /// `prefix` begins every id.
    fn new(kinds: usize, prefix: &str) -> Self {
        let mut dice = Dice(7);
        let people: Vec<_> = (0..PEOPLE)
            .map(|n| Person::new(format!("{prefix}p{n}"), &mut dice))
            .collect();
        let documents: Vec<_> = (0..DOCUMENTS.max(kinds))
            .map(|n| Document::new(format!("{prefix}d{n}"), n % kinds, prefix, &mut dice))
            .collect();
        let mut world = Self {
            people,
            documents,
            asked: Vec::new(),
        };
        // A batch is one person's: the first question's.
        world.asked = (0..SINGLES + BATCHES * BATCH)
            .map(|number| world.ask((number, kinds), &mut dice))
            .collect();
        world
    }

    /// Questions go through all kinds. Whoever asks has something to do with the document more often than not.
    fn ask(&self, (number, kinds): (usize, usize), dice: &mut Dice) -> Asked {
        let kind = number % kinds;
        let of_kind = (self.documents.len() - kind).div_ceil(kinds);
        let document = dice.below(of_kind) * kinds + kind;
        let about = &self.documents[document];
        let related = match dice.below(6) {
            0 => Some(&about.owner),
            1 => dice.one_of(&about.viewers),
            2 => dice.one_of(&about.editors),
            3 | 4 => self.manager_of(&about.department, dice),
            _ => None,
        };
        let related = related.and_then(|id| self.people.iter().position(|person| person.id == *id));
        Asked {
            person: related.unwrap_or_else(|| dice.below(self.people.len())),
            action: ACTIONS[dice.below(ACTIONS.len())],
            document,
        }
    }

    fn manager_of(&self, department: &str, dice: &mut Dice) -> Option<&String> {
        let managers = self
            .people
            .iter()
            .filter(|person| person.department == department && person.roles.contains(&"manager"));
        let managers: Vec<_> = managers.map(|person| &person.id).collect();
        dice.one_of(&managers).copied()
    }

    fn singles(&self) -> impl Iterator<Item = Vec<Asked>> {
        self.asked.iter().take(SINGLES).map(|asked| vec![*asked])
    }

    fn batches(&self) -> impl Iterator<Item = Vec<Asked>> {
        let rest = self.asked.get(SINGLES..).unwrap_or_default();
        rest.chunks(BATCH).map(|batch| {
            let person = batch.first().map_or(0, |first| first.person);
            let same = |asked: &Asked| Asked { person, ..*asked };
            batch.iter().map(same).collect()
        })
    }

    /// What must be answered.
    fn permits(&self, asked: Asked) -> bool {
        permits(
            &self.people[asked.person],
            asked.action,
            &self.documents[asked.document],
        )
    }
}

/// The ten rules.
fn permits(person: &Person, action: &str, document: &Document) -> bool {
    let owner = document.owner == person.id;
    let role = |role: &str| person.roles.contains(&role);
    let cleared = document.level <= person.clearance;
    let together = document.department == person.department;
    let status = document.status;
    let forbidden =
        (!cleared && !owner) || (matches!(action, "share" | "approve" | "delete") && !person.mfa);
    let permitted = match action {
        "view" => {
            (document.public && status == "published")
                || owner
                || document.viewers.contains(&person.id)
                || (document.editors.contains(&person.id) && status != "archived")
                || (role("employee") && together && cleared)
                || (role("manager") && together && matches!(status, "review" | "published"))
                || (role("auditor") && cleared)
        }
        "comment" => {
            (document.public && status == "published")
                || owner
                || document.viewers.contains(&person.id)
                || (document.editors.contains(&person.id) && status != "archived")
                || (role("manager") && together && matches!(status, "review" | "published"))
        }
        "edit" => owner || (document.editors.contains(&person.id) && status != "archived"),
        "share" => owner,
        "approve" => role("manager") && together && matches!(status, "review" | "published"),
        "delete" => owner && status == "draft",
        _ => false,
    };
    permitted && !forbidden
}

impl Person {
    fn new(id: String, dice: &mut Dice) -> Self {
        let mut roles = vec![ROLES[dice.below(2)]];
        if dice.below(3) == 0 {
            roles.push(ROLES[2 + dice.below(2)]);
        }
        Self {
            id,
            roles,
            department: format!("department{}", dice.below(DEPARTMENTS)),
            clearance: 1 + dice.below(5) as u64,
            mfa: dice.below(4) > 0,
        }
    }
}

impl Document {
    fn new(id: String, kind: usize, prefix: &str, dice: &mut Dice) -> Self {
        let mut people = |most: usize| -> Vec<String> {
            let mut people: Vec<_> = (0..dice.below(most + 1))
                .map(|_| dice.below(PEOPLE))
                .collect();
            people.sort_unstable();
            people.dedup();
            people.iter().map(|n| format!("{prefix}p{n}")).collect()
        };
        let (viewers, editors) = (people(5), people(3));
        Self {
            id,
            kind,
            owner: format!("{prefix}p{}", dice.below(PEOPLE)),
            department: format!("department{}", dice.below(DEPARTMENTS)),
            level: dice.below(4) as u64,
            status: STATES[dice.below(STATES.len())],
            public: dice.below(3) == 0,
            viewers,
            editors,
        }
    }

    /// What every engine calls its kind.
    fn kind(&self) -> String {
        format!("document{}", self.kind)
    }
}

/// Writes all of it: `cedar/` and `cerbos/` are policy folders, the rest are questions.
pub(crate) fn write(kinds: usize, out: &Path) -> anyhow::Result<()> {
    let sent = World::new(kinds, "");
    let stored = World::new(kinds, "stored-");
    let mut files = BTreeMap::new();
    cedar::policies(kinds, &mut files);
    files.insert("cedar/entities.json".into(), cedar::entities(&stored)?);
    cerbos::policies(kinds, &mut files);
    let all: [(&str, Questions); 8] = [
        ("cedargate-one", cedar::one(&sent, true)),
        ("cedargate-many", cedar::many(&sent, true)),
        ("stored-one", cedar::one(&stored, false)),
        ("stored-many", cedar::many(&stored, false)),
        ("floor-one", unchecked(cedar::one(&sent, true))),
        ("floor-many", unchecked(cedar::many(&sent, true))),
        ("cerbos-one", cerbos::one(&sent)),
        ("cerbos-many", cerbos::many(&sent)),
    ];
    for (name, questions) in all {
        files.insert(format!("{name}.json"), serde_json::to_string(&questions)?);
    }
    for (name, text) in files {
        let path = out.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}

/// The same questions to a server that decides nothing.
fn unchecked(mut questions: Questions) -> Questions {
    for question in &mut questions.questions {
        question.expected.clear();
    }
    questions
}

/// Requests to one path, made of questions.
fn questions(
    world: &World,
    path: &str,
    sign: Sign,
    asked: impl Iterator<Item = Vec<Asked>>,
    body: impl Fn(&[Asked]) -> serde_json::Value,
) -> Questions {
    let questions: Vec<_> = asked
        .map(|asked| Question {
            body: body(&asked),
            expected: asked.iter().map(|asked| world.permits(*asked)).collect(),
        })
        .collect();
    let decisions = questions.first().map_or(0, |first| first.expected.len());
    Questions::of_json(path, sign, decisions as u64, questions)
}

#[cfg(test)]
mod tests;
