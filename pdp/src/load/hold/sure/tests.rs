//! Sure is what the validator says nothing of, and nothing else: every scope with every condition.

use std::collections::BTreeSet;

use cedar_policy::{PolicySet, Schema, ValidationMode, Validator};

use super::*;
use crate::load::hold::template;

const SCHEMA: &str = r#"
entity Team;
entity User in [Team] { level: Long, nick?: String };
entity Robot { level: Long };
entity Colour enum ["red", "green"];
entity Folder in [Folder];
entity Doc in [Folder] { owner: User, level: Long };
entity Page in [Doc] { text: String };
action every;
action write in [every];
action read in [every] appliesTo { principal: [User, Robot], resource: [Doc, Page], context: { mfa: Bool } };
action edit in [write] appliesTo { principal: User, resource: [Doc, Folder], context: { ip?: ipaddr } };
action paint appliesTo { principal: Robot, resource: Colour };
action nothing;
"#;

const SIDES: [&str; 12] = [
    "",
    r#"== User::"u""#,
    r#"== Robot::"r""#,
    r#"in Team::"t""#,
    "is User",
    r#"is User in Team::"t""#,
    r#"is Doc in Folder::"f""#,
    "is Page",
    r#"== Doc::"d""#,
    r#"in Folder::"f""#,
    r#"== Colour::"blue""#,
    "is Ghost",
];

const ACTIONS: [&str; 8] = [
    "",
    r#"== Action::"read""#,
    r#"== Action::"paint""#,
    r#"in Action::"every""#,
    r#"in [Action::"write", Action::"paint"]"#,
    r#"in [Action::"read", Action::"edit", Action::"read"]"#,
    r#"== Action::"nothing""#,
    r#"in [Action::"read", Action::"unheard"]"#,
];

const BODIES: [&str; 12] = [
    "",
    "when { principal.level > 3 }",
    "when { resource.owner == principal }",
    "when { context has mfa && context.mfa }",
    "when { context.mfa } unless { resource.level > 2 }",
    r#"when { principal has nick && principal.nick like "a*" }"#,
    "when { principal.nick == \"b\" }",
    r#"when { principal == Colour::"red" || resource == Colour::"grey" }"#,
    r#"when { "раураl" == "b" }"#,
    "when { false }",
    "when { principal is Robot && principal.level == 1 }",
    "when { 1 + true == 2 }",
];

/// What the validator says but for texts that look like others.
fn said(policies: &PolicySet, schema: &Schema) -> usize {
    let result = Validator::new(schema.clone()).validate(policies, ValidationMode::Strict);
    let of_texts: BTreeSet<String> =
        cedar_policy_core::validator::confusable_string_checks(policies.policies().map(template))
            .map(|warning| warning.to_string())
            .collect();
    let warnings = result.validation_warnings();
    let warnings = warnings.filter(|warning| !of_texts.contains(&warning.to_string()));
    result.validation_errors().count() + warnings.count()
}

#[test]
fn sure_is_what_the_validator_says_nothing_of() {
    let (schema, _) = Schema::from_cedarschema_str(SCHEMA).unwrap();
    let known = Sure::new(schema.as_ref());
    let mut sure = 0;
    for principal in SIDES {
        for action in ACTIONS {
            for resource in SIDES {
                for body in BODIES {
                    let text = format!(
                        "permit (principal {principal}, action {action}, resource {resource}) {body};"
                    );
                    let policies: PolicySet = text.parse().unwrap();
                    let policy = policies.policies().next().unwrap();
                    let is_sure = known.is_of(template(policy));
                    assert_eq!(is_sure, said(&policies, &schema) == 0, "{text}");
                    sure += usize::from(is_sure);
                }
            }
        }
    }
    assert!(sure > 500, "{sure}");
}

#[test]
fn of_templates_and_their_links_nothing_is_sure() {
    let (schema, _) = Schema::from_cedarschema_str(SCHEMA).unwrap();
    let known = Sure::new(schema.as_ref());
    let text = "permit (principal == ?principal, action, resource is Doc);";
    let policies: PolicySet = text.parse().unwrap();
    let policies: &cedar_policy_core::ast::PolicySet = policies.as_ref();
    assert!(!known.is_of(policies.all_templates().next().unwrap()));
}
