//! A hospital of N departments with 33 N + 5 policies, which look at role, kind of resource,
//! department and action: the shape of SAPL's benchmark of that name.

use std::fmt::Write as _;

use cedar_policy_core::ast::{EntityUID, Value};

use super::{Asked, Dice, QUESTIONS, Workload, entity, uid};

/// What roles do to kinds of resources in their own department: a policy for each action.
const MAY: [(&str, &str, &[&str]); 11] = [
    ("doctor", "Record", &["read", "write", "sign", "share"]),
    ("doctor", "LabResult", &["read", "order", "sign"]),
    ("doctor", "Prescription", &["read", "write", "sign"]),
    ("doctor", "Image", &["read", "order", "sign"]),
    ("nurse", "Record", &["read", "write"]),
    ("nurse", "LabResult", &["read", "order"]),
    ("nurse", "Prescription", &["read", "administer"]),
    ("technician", "LabResult", &["read", "write", "share"]),
    ("technician", "Image", &["read", "write", "share"]),
    ("clerk", "Record", &["read", "archive", "share", "bill"]),
    (
        "clerk",
        "Prescription",
        &["read", "bill", "archive", "share"],
    ),
];

/// What holds in all of the hospital.
const EVERYWHERE: [&str; 5] = [
    r#"permit (principal, action == Action::"read", resource)
       when { principal.role == "auditor" };"#,
    r#"permit (principal, action == Action::"read", resource)
       when { principal.role == "doctor" && context.emergency };"#,
    r#"permit (principal, action in [Action::"read", Action::"archive"], resource)
       when { principal.role == "admin" };"#,
    r"forbid (principal, action, resource) when { principal.suspended };",
    r#"forbid (principal, action, resource)
       when { resource.locked && action != Action::"read" };"#,
];

const KINDS: [&str; 4] = ["Record", "LabResult", "Prescription", "Image"];
const ROLES: [&str; 6] = ["doctor", "nurse", "technician", "clerk", "auditor", "admin"];
const ACTIONS: [&str; 9] = [
    "read",
    "write",
    "sign",
    "share",
    "order",
    "administer",
    "archive",
    "bill",
    "discard",
];
const PEOPLE: usize = 40;
const THINGS: usize = 100;

/// Everything is said in conditions, as SAPL's policies do.
pub(super) fn by_guards(departments: usize, dice: &mut Dice) -> Workload {
    let mut policies = EVERYWHERE.join("\n");
    for (role, kind, action, department) in rules(departments) {
        let _ = writeln!(
            policies,
            "permit (principal, action == Action::\"{action}\", resource is {kind}) when {{ \
             principal.role == \"{role}\" && principal.department == \"{department}\" && \
             resource.department == \"{department}\" }};"
        );
    }
    hospital("hospital, guards", policies, departments, dice)
}

/// Role and department are groups, which scopes can name: Cedar's idiom.
pub(super) fn by_scopes(departments: usize, dice: &mut Dice) -> Workload {
    let mut policies = EVERYWHERE.join("\n");
    for (role, kind, action, department) in rules(departments) {
        let _ = writeln!(
            policies,
            "permit (principal in Role::\"{department} {role}\", action == Action::\"{action}\", \
             resource is {kind} in Department::\"{department}\");"
        );
    }
    hospital("hospital, scopes", policies, departments, dice)
}

fn rules(
    departments: usize,
) -> impl Iterator<Item = (&'static str, &'static str, &'static str, String)> {
    (0..departments).flat_map(|n| {
        MAY.iter().flat_map(move |(role, kind, actions)| {
            actions
                .iter()
                .map(move |action| (*role, *kind, *action, format!("d{n}")))
        })
    })
}

fn hospital(name: &'static str, policies: String, departments: usize, dice: &mut Dice) -> Workload {
    let mut entities = Vec::new();
    for n in 0..departments {
        let department = format!("d{n}");
        entities.push(entity(uid("Department", &department), vec![], []));
        entities.extend(ROLES.map(|role| entity(role_in(&department, role), vec![], [])));
        entities.extend((0..PEOPLE).map(|n| person(n, &department, dice)));
        entities.extend((0..THINGS).map(|n| thing(n, &department, dice)));
    }
    Workload {
        name,
        size: departments,
        schema: schema(),
        policies,
        entities,
        questions: (0..QUESTIONS).map(|_| asked(departments, dice)).collect(),
    }
}

fn schema() -> String {
    let mut schema = String::from(
        "entity Department; entity Role;
         entity User in [Role] { role: String, department: String, suspended: Bool };\n",
    );
    for kind in KINDS {
        let _ = writeln!(
            schema,
            "entity {kind} in [Department] {{ department: String, locked: Bool }};"
        );
    }
    let _ = writeln!(
        schema,
        "action {} appliesTo {{ principal: [User], resource: [{}], context: {{ emergency: Bool }} }};",
        ACTIONS.join(", "),
        KINDS.join(", ")
    );
    schema
}

fn person(n: usize, department: &str, dice: &mut Dice) -> cedar_policy_core::ast::Entity {
    let role = ROLES[n % ROLES.len()];
    let attributes = vec![
        ("role", Value::from(role)),
        ("department", Value::from(department)),
        ("suspended", Value::from(dice.below(20) == 0)),
    ];
    let name = uid("User", format!("{department} {n}"));
    entity(name, attributes, [role_in(department, role)])
}

fn thing(n: usize, department: &str, dice: &mut Dice) -> cedar_policy_core::ast::Entity {
    let attributes = vec![
        ("department", Value::from(department)),
        ("locked", Value::from(dice.below(10) == 0)),
    ];
    let name = uid(KINDS[n % KINDS.len()], format!("{department} {n}"));
    entity(name, attributes, [uid("Department", department)])
}

fn role_in(department: &str, role: &str) -> EntityUID {
    uid("Role", format!("{department} {role}"))
}

fn asked(departments: usize, dice: &mut Dice) -> Asked {
    let department = format!("d{}", dice.below(departments));
    // Some ask about another department than their own.
    let other = if dice.below(4) == 0 {
        format!("d{}", dice.below(departments))
    } else {
        department.clone()
    };
    let (person, thing) = (dice.below(PEOPLE), dice.below(THINGS));
    Asked {
        principal: uid("User", format!("{department} {person}")),
        action: uid("Action", dice.one_of(&ACTIONS)),
        resource: uid(KINDS[thing % KINDS.len()], format!("{other} {thing}")),
        context: vec![("emergency", Value::from(dice.below(10) == 0))],
    }
}
