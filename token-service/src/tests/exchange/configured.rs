//! What a configuration of exchanges may say, and how a mistake in it is explained.

use std::path::Path;

use service_kit::Variables;

use super::super::harness::{ORDERS, config};
use super::services;
use crate::{TokenService, TokenServiceConfig, secret_hash};

fn problems(config: &TokenServiceConfig) -> Vec<String> {
    TokenService::check(config, Path::new("."))
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Of a configuration with one client, `a`, and one resource, `ORDERS`.
#[track_caller]
fn check(client: &str, expected: &str) {
    let text = format!(
        "secret: {}\nresources: [{{ id: '{ORDERS}', scope: x }}]\nclients: [{{ id: a, {} }}]",
        "x".repeat(32),
        client
            .replace("SECRET", &format!("secret_hash: '{}'", secret_hash("s")))
            .replace("ORDERS", &format!("'{ORDERS}'")),
    );
    let config = service_kit::config::parse(&text, &Variables::default()).unwrap();
    let problems = problems(&config);
    if expected.is_empty() {
        assert_eq!(problems, Vec::<String>::new());
    } else {
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(expected), "{problems:?}");
    }
}

fn check_exchange(exchange: &str, expected: &str) {
    let client = format!("SECRET, grant_types: [token_exchange], exchange: {{ {exchange} }}");
    check(&client, expected);
}

#[test]
fn names_must_be_known_and_there() {
    for (exchange, expected) in [
        ("audiences: [ORDERS], subject_clients: [a]", ""),
        (
            "audiences: [ORDERS], any_subject_client: true, subject_resources: [ORDERS]",
            "",
        ),
        (
            "audiences: [ORDERS], subject_clients: [b], subject_resources: [ORDERS]",
            "`token_service.clients[0].exchange.subject_clients`: `b` is not among `clients`",
        ),
        (
            "audiences: [], subject_clients: [a]",
            "`token_service.clients[0].exchange.audiences`: must name at least one resource",
        ),
        (
            "audiences: [nope], subject_clients: [a]",
            "exchange.audiences`: `nope` is not among `resources`",
        ),
        (
            "audiences: [ORDERS], subject_clients: [a], subject_resources: [nope]",
            "exchange.subject_resources`: `nope` is not among `resources`",
        ),
    ] {
        check_exchange(exchange, expected);
    }
}

#[test]
fn whose_tokens_must_be_said_once_and_for_whom_they_were() {
    for (exchange, expected) in [
        (
            "audiences: [ORDERS]",
            "exchange.subject_clients`: must name at least one client, or `any_subject_client`",
        ),
        (
            "audiences: [ORDERS], subject_clients: [a], any_subject_client: true, subject_resources: [ORDERS]",
            "be true; not both",
        ),
        (
            "audiences: [ORDERS], any_subject_client: true",
            "exchange.subject_resources`: is missing: name the resources that this client is",
        ),
    ] {
        check_exchange(exchange, expected);
    }
}

#[test]
fn the_section_belongs_to_the_grant_type_of_a_client_with_a_secret() {
    let section = "exchange: { audiences: [ORDERS], subject_clients: [a] }";
    let without = "SECRET, grant_types: [token_exchange]";
    check(
        without,
        "`token_service.clients[0].exchange`: belongs to `token_exchange` in `grant_types`: give both",
    );
    let other = format!("SECRET, grant_types: [client_credentials], {section}");
    check(&other, "give both, or neither");
    let public = format!("public: true, grant_types: [token_exchange], {section}");
    check(
        &public,
        "`token_service.clients[0].grant_types`: `token_exchange` needs a client with a secret",
    );
}

#[test]
fn whoever_may_act_must_be_somebody() {
    check(
        "SECRET, grant_types: [client_credentials], may_act: [who]",
        "`token_service.clients[0].may_act`: `who` is neither the id of a client nor the `sub`",
    );
    check(
        "SECRET, grant_types: [client_credentials], may_act: [a]",
        "",
    );
    let alice = config(|text| text.replace("username: alice,", "username: alice, may_act: [x],"));
    let problems = problems(&alice);
    assert!(
        problems[0].contains("`token_service.users[0].may_act`: `x` is neither"),
        "{problems:?}"
    );
}

#[test]
fn the_services_of_these_tests_are_in_order() {
    assert_eq!(problems(&services(|text| text)), Vec::<String>::new());
}
