//! Repositories that users, teams and members of organizations have rights to: the shape of the
//! GitHub application of the paper on Cedar (Cutler et al., OOPSLA 2024).

use cedar_policy_core::ast::{EntityUID, Value};

use super::{Asked, Dice, QUESTIONS, Workload, entity, uid};

const SCHEMA: &str = "
entity Right;
entity Team in [Team, Right];
entity Organization in [Right] { readers: Right, writers: Right, admins: Right };
entity User in [Team, Organization, Right];
entity Repository {
  readers: Right, triagers: Right, writers: Right, maintainers: Right, admins: Right,
  owner: Organization,
};
action administer;
action maintain in [administer];
action write in [maintain];
action triage in [write];
action read in [triage];
action pull, fork, view_issues in [read]
  appliesTo { principal: [User], resource: [Repository] };
action label_issue, close_issue in [triage]
  appliesTo { principal: [User], resource: [Repository] };
action push, merge in [write] appliesTo { principal: [User], resource: [Repository] };
action edit_topics in [maintain] appliesTo { principal: [User], resource: [Repository] };
action delete_repository in [administer]
  appliesTo { principal: [User], resource: [Repository] };
";

const POLICIES: &str = r#"
permit (principal, action in Action::"read", resource) when { principal in resource.readers };
permit (principal, action in Action::"triage", resource) when { principal in resource.triagers };
permit (principal, action in Action::"write", resource) when { principal in resource.writers };
permit (principal, action in Action::"maintain", resource)
when { principal in resource.maintainers };
permit (principal, action in Action::"administer", resource)
when { principal in resource.admins };
permit (principal, action in Action::"read", resource)
when { principal in resource.owner.readers };
permit (principal, action in Action::"write", resource)
when { principal in resource.owner.writers };
permit (principal, action in Action::"administer", resource)
when { principal in resource.owner.admins };
"#;

const ACTIONS: [&str; 9] = [
    "pull",
    "fork",
    "view_issues",
    "label_issue",
    "close_issue",
    "push",
    "merge",
    "edit_topics",
    "delete_repository",
];
const OF_REPOSITORY: [&str; 5] = ["readers", "triagers", "writers", "maintainers", "admins"];
const OF_ORGANIZATION: [&str; 3] = ["readers", "writers", "admins"];

/// `size` of each: users, teams, repositories, organizations.
pub(super) fn workload(size: usize, dice: &mut Dice) -> Workload {
    let mut entities = Vec::new();
    for n in 0..size {
        let name = format!("org{n}");
        let parents = granted(dice, size, "org", &OF_ORGANIZATION);
        let attributes = rights(&name, &OF_ORGANIZATION);
        entities.extend(OF_ORGANIZATION.map(|right| entity(right_of(&name, right), vec![], [])));
        entities.push(entity(uid("Organization", &name), attributes, parents));
    }
    for n in 0..size {
        let name = format!("repo{n}");
        let owner = uid("Organization", format!("org{}", dice.below(size)));
        let mut attributes = rights(&name, &OF_REPOSITORY);
        attributes.push(("owner", Value::from(owner)));
        entities.extend(OF_REPOSITORY.map(|right| entity(right_of(&name, right), vec![], [])));
        entities.push(entity(uid("Repository", &name), attributes, []));
    }
    for n in 0..size {
        // Teams are in earlier ones only: no circles.
        let mut parents = if n == 0 {
            Vec::new()
        } else {
            teams(dice, size, n)
        };
        parents.extend(granted(dice, size, "repo", &OF_REPOSITORY));
        entities.push(entity(uid("Team", format!("team{n}")), vec![], parents));
    }
    for n in 0..size {
        let mut parents = granted(dice, size, "repo", &OF_REPOSITORY);
        parents.extend(teams(dice, size, size));
        parents.extend(
            dice.connections(size, size)
                .into_iter()
                .map(|n| uid("Organization", format!("org{n}"))),
        );
        parents.extend(granted(dice, size, "org", &OF_ORGANIZATION));
        entities.push(entity(uid("User", format!("user{n}")), vec![], parents));
    }
    Workload {
        name: "github",
        size,
        schema: SCHEMA.into(),
        policies: POLICIES.into(),
        entities,
        questions: (0..QUESTIONS).map(|_| asked(size, dice)).collect(),
    }
}

fn asked(size: usize, dice: &mut Dice) -> Asked {
    Asked {
        principal: uid("User", format!("user{}", dice.below(size))),
        action: uid("Action", dice.one_of(&ACTIONS)),
        resource: uid("Repository", format!("repo{}", dice.below(size))),
        context: Vec::new(),
    }
}

fn right_of(name: &str, right: &str) -> EntityUID {
    uid("Right", format!("{name} {right}"))
}

fn rights<'a>(name: &str, rights: &[&'a str]) -> Vec<(&'a str, Value)> {
    rights
        .iter()
        .map(|right| (*right, Value::from(right_of(name, right))))
        .collect()
}

/// A right to each of those that the dice connect with.
fn granted(dice: &mut Dice, size: usize, kind: &str, rights: &[&str]) -> Vec<EntityUID> {
    let connected = dice.connections(size, size);
    connected
        .into_iter()
        .map(|n| right_of(&format!("{kind}{n}"), dice.one_of(rights)))
        .collect()
}

fn teams(dice: &mut Dice, size: usize, among: usize) -> Vec<EntityUID> {
    let connected = dice.connections(size, among);
    connected
        .into_iter()
        .map(|n| uid("Team", format!("team{n}")))
        .collect()
}
