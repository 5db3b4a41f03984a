//! Lists of tasks that teams read and edit: the shape of the `TinyTodo` application of the paper on
//! Cedar (Cutler et al., OOPSLA 2024).

use cedar_policy_core::ast::{EntityUID, Value};
use smol_str::SmolStr;

use super::{Asked, Dice, QUESTIONS, Workload, entity, uid};

const SCHEMA: &str = "
entity Application;
entity Team in [Team, Application];
entity User in [Team, Application];
type Task = { name: String, id: Long, done: Bool };
entity List in [Application] {
  name: String, owner: User, readers: Team, editors: Team, tasks: Set<Task>,
};
action create_list, get_lists appliesTo { principal: [User], resource: [Application] };
action get_list, update_list, delete_list, create_task, update_task, delete_task, edit_shares
  appliesTo { principal: [User], resource: [List] };
";

const POLICIES: &str = r#"
permit (principal, action in [Action::"create_list", Action::"get_lists"], resource);
permit (principal, action, resource is List) when { resource.owner == principal };
permit (principal, action == Action::"get_list", resource)
when { principal in resource.readers || principal in resource.editors };
permit (
  principal,
  action in [
    Action::"update_list", Action::"create_task", Action::"update_task", Action::"delete_task"
  ],
  resource
) when { principal in resource.editors };
"#;

const ACTIONS: [&str; 9] = [
    "create_list",
    "get_lists",
    "get_list",
    "update_list",
    "delete_list",
    "create_task",
    "update_task",
    "delete_task",
    "edit_shares",
];

/// `size` of each: users, teams, lists.
pub(super) fn workload(size: usize, dice: &mut Dice) -> Workload {
    let mut entities = vec![entity(application(), vec![], [])];
    for n in 0..size {
        let parents = teams(dice, size, size);
        entities.push(entity(uid("User", n), vec![], parents));
    }
    for n in 0..size {
        // Teams are in earlier ones only: no circles.
        let mut parents = vec![application()];
        if n > 0 {
            parents = teams(dice, size, n);
        }
        entities.push(entity(uid("Team", n), vec![], parents));
    }
    for n in 0..size {
        entities.push(list(n, size, dice));
    }
    Workload {
        name: "tinytodo",
        size,
        schema: SCHEMA.into(),
        policies: POLICIES.into(),
        entities,
        questions: (0..QUESTIONS).map(|_| asked(size, dice)).collect(),
    }
}

fn list(n: usize, size: usize, dice: &mut Dice) -> cedar_policy_core::ast::Entity {
    let tasks = (0..dice.below(51)).map(|task| {
        let members = [
            (SmolStr::from("name"), Value::from(format!("task {task}"))),
            ("id".into(), Value::from(i64::try_from(task).unwrap())),
            ("done".into(), Value::from(dice.below(2) == 0)),
        ];
        Value::record(members, None)
    });
    let tasks = Value::set(tasks.collect::<Vec<_>>(), None);
    let attributes = vec![
        ("name", Value::from(format!("list {n}"))),
        ("owner", Value::from(uid("User", dice.below(size)))),
        ("readers", Value::from(uid("Team", dice.below(size)))),
        ("editors", Value::from(uid("Team", dice.below(size)))),
        ("tasks", tasks),
    ];
    entity(uid("List", n), attributes, [application()])
}

fn asked(size: usize, dice: &mut Dice) -> Asked {
    let action = dice.one_of(&ACTIONS);
    let resource = if matches!(action, "create_list" | "get_lists") {
        application()
    } else {
        uid("List", dice.below(size))
    };
    Asked {
        principal: uid("User", dice.below(size)),
        action: uid("Action", action),
        resource,
        context: Vec::new(),
    }
}

fn application() -> EntityUID {
    uid("Application", "TinyTodo")
}

/// The application and the teams that the dice connect with.
fn teams(dice: &mut Dice, size: usize, among: usize) -> Vec<EntityUID> {
    let teams = dice.connections(size, among);
    let teams = teams.into_iter().map(|n| uid("Team", n));
    teams.chain([application()]).collect()
}
