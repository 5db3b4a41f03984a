//! Where the cases are that no function here carries, and that none is forgotten.

use std::collections::BTreeSet;
use std::path::Path;

use e2e::process::repository;
use serde_json::Value;

/// A case, and a test that carries it: in the process, where time can be moved and parts can fail.
const CARRIED: &[(&str, &str)] = &[
    (
        "PT-23",
        "a_disabled_client_gets_nothing_and_its_tokens_are_dead",
    ),
    (
        "PT-25",
        "without_the_store_nothing_is_granted_revoked_or_known",
    ),
    (
        "RV-07",
        "an_answer_from_before_a_revocation_is_not_used_after_it",
    ),
    (
        "RV-09",
        "caches_are_bypassed_when_the_event_log_is_not_heard_and_nothing_was_missed_after",
    ),
    (
        "AZ-11",
        "consent_cannot_be_given_from_elsewhere_or_by_somebody_else",
    ),
    (
        "AZ-13",
        "prompt_login_and_max_age_ask_for_the_password_again",
    ),
    (
        "AZ-19",
        "a_wrong_password_and_an_unknown_user_look_alike_and_guessing_is_limited",
    ),
    (
        "TK-02",
        "of_fifty_redemptions_of_one_code_one_wins_and_its_family_dies",
    ),
    ("TK-02", "fifty_at_once_are_one_on_redb"),
    ("TK-02", "fifty_at_once_are_one_on_redis"),
    (
        "TK-04",
        "a_code_is_good_only_for_its_client_its_redirect_uri_and_its_verifier",
    ),
    (
        "TK-18",
        "a_disabled_user_gets_nothing_by_any_path_and_keeps_nothing",
    ),
    (
        "TK-18",
        "who_was_disabled_since_approves_nothing_and_gets_nothing",
    ),
    ("TK-18", "of_a_disabled_user_or_client_nothing_is_exchanged"),
    (
        "RT-08",
        "the_refresh_token_of_a_public_client_is_bound_and_of_another_is_not",
    ),
    (
        "RT-10",
        "refresh_tokens_end_when_idle_and_at_the_end_of_their_grant",
    ),
    (
        "DP-02",
        "a_proof_that_is_not_in_order_is_refused_and_gets_no_token",
    ),
    (
        "DP-02",
        "every_claim_is_of_this_request_and_this_token_and_now",
    ),
    (
        "DP-04",
        "a_used_proof_is_refused_until_it_is_too_old_for_every_clock",
    ),
    ("DP-04", "of_fifty_at_once_at_two_gateways_one_passes"),
    (
        "DP-04",
        "a_proof_that_was_used_at_one_gateway_is_refused_at_every_other",
    ),
    (
        "DP-06",
        "whoever_has_the_token_alone_has_nothing_also_where_it_is_remembered",
    ),
    (
        "DP-04",
        "a_proof_is_good_once_until_it_is_too_old_to_be_good",
    ),
    ("DP-04", "fifty_at_once_are_one_on_redis"),
    ("DP-06", "userinfo_takes_a_bound_token_with_its_proof_alone"),
    (
        "DP-06",
        "who_looks_at_no_proof_gets_no_jwt_of_a_bound_token",
    ),
    (
        "DP-06",
        "a_token_that_is_bound_to_a_key_is_no_bearer_token_wherever_it_is_remembered",
    ),
    (
        "DP-08",
        "a_code_that_is_bound_to_a_key_is_redeemed_with_it_alone",
    ),
    ("DP-08", "a_pushed_request_binds_its_code_by_its_proof"),
    ("TX-02", "neither_scope_nor_lifetime_grows"),
    ("TX-04", "tokens_of_other_kinds_are_one_refusal"),
    (
        "TX-04",
        "unsupported_types_and_missing_parameters_are_refused",
    ),
    (
        "TX-06",
        "a_bound_token_is_exchanged_with_a_proof_of_its_key_alone",
    ),
    (
        "TX-06",
        "only_tokens_that_were_meant_for_the_client_are_taken",
    ),
    (
        "TX-08",
        "a_replacement_keeps_the_transaction_and_never_grows",
    ),
    (
        "DV-03",
        "guessing_is_limited_for_a_person_wherever_they_are_and_for_a_code",
    ),
    (
        "DV-05",
        "the_decision_point_rules_over_devices_as_over_codes",
    ),
    (
        "DC-02",
        "a_registration_access_token_is_for_its_own_client_and_for_nothing_else",
    ),
    (
        "DC-02",
        "a_disabled_client_has_nothing_and_cannot_change_that",
    ),
    (
        "DC-02",
        "a_client_looks_at_itself_changes_itself_and_ends_itself",
    ),
    (
        "DC-04",
        "nothing_else_than_the_document_at_its_own_url_is_believed",
    ),
    (
        "DC-04",
        "an_answer_that_is_not_a_short_json_document_is_not_believed",
    ),
    (
        "DC-04",
        "a_url_in_another_spelling_or_at_another_place_is_never_asked",
    ),
    (
        "KY-04",
        "a_key_is_published_before_it_signs_and_stays_until_its_tokens_died",
    ),
    ("KY-06", "nothing_starts_without_a_secret_of_ones_own"),
    (
        "LO-03",
        "every_client_of_the_login_is_told_by_a_token_that_is_for_nothing_else",
    ),
    (
        "AD-01",
        "a_token_is_refused_for_anything_but_its_own_search",
    ),
    ("UI-05", "a_route_passes_the_login_that_it_wants"),
    (
        "UI-05",
        "a_route_that_wants_a_login_says_which_and_a_remembered_one_grows_old",
    ),
    ("AD-01", "a_page_token_of_another_caller_is_a_bad_token"),
];

/// A case about what is not there yet, and what that is.
const NOT_YET: &[(&str, &str)] = &[];

/// Every case of the corpus is carried here, carried elsewhere by tests that exist, or listed with the
/// reason why not; and in one of these only.
pub(super) fn assert_whole(corpus: &Value, here: &BTreeSet<String>) {
    let complaints = complaints(corpus, here, &tests_of(&repository()));
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    println!(
        "token service attack corpus: {} cases carried here",
        here.len()
    );
}

fn complaints(corpus: &Value, here: &BTreeSet<String>, tests: &BTreeSet<String>) -> Vec<String> {
    let cases = corpus["cases"].as_array().expect("cases");
    let ids: BTreeSet<&str> = cases
        .iter()
        .filter_map(|case| case["id"].as_str())
        .collect();
    let here: BTreeSet<&str> = here.iter().map(String::as_str).collect();
    let carried: BTreeSet<&str> = CARRIED.iter().map(|(id, _)| *id).collect();
    let not_yet: BTreeSet<&str> = NOT_YET.iter().map(|(id, _)| *id).collect();
    let mut complaints = Vec::new();
    for id in &ids {
        let lists = [&here, &carried, &not_yet];
        match lists.iter().filter(|list| list.contains(id)).count() {
            0 => complaints.push(format!("{id} is carried nowhere, and in no list")),
            1 => {}
            _ => complaints.push(format!("{id} is in more than one list")),
        }
    }
    for id in carried.union(&not_yet).filter(|id| !ids.contains(*id)) {
        complaints.push(format!("{id} is no case"));
    }
    for (id, test) in CARRIED.iter().filter(|(_, test)| !tests.contains(*test)) {
        complaints.push(format!("{id}: there is no test `{test}`"));
    }
    complaints
}

/// The names of all tests below a folder.
fn tests_of(root: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("folder") {
            let entry = entry.expect("entry");
            let (path, kind) = (entry.path(), entry.file_type().expect("type"));
            let name = entry.file_name().to_string_lossy().into_owned();
            if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
                folders.push(path);
            } else if kind.is_file() && name.ends_with(".rs") {
                names.extend(tests_in(&std::fs::read_to_string(&path).expect("text")));
            }
        }
    }
    names
}

/// Functions that stand under a `test` attribute, others between them or not.
fn tests_in(text: &str) -> Vec<String> {
    let (mut names, mut is_test) = (Vec::new(), false);
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            continue;
        }
        let function = line
            .strip_prefix("async ")
            .unwrap_or(line)
            .strip_prefix("fn ");
        if let Some((name, _)) = function.and_then(|rest| rest.split_once('(')) {
            if is_test {
                names.push(name.to_owned());
            }
            is_test = false;
        }
    }
    names
}

const SKIPPED: [&str; 4] = [".git", ".venv", "target", "node_modules"];

#[test]
fn a_case_that_is_forgotten_or_named_with_no_test_is_found() {
    let corpus =
        serde_json::json!({ "cases": [{ "id": "PT-23" }, { "id": "TX-08" }, { "id": "XX-01" }] });
    let here = BTreeSet::from(["TX-08".to_owned()]);
    let tests = tests_in(
        "#[test]\n#[expect(x)]\nfn one() {}\nfn two() {}\n\n#[tokio::test(flavor = \"x\")]\nasync fn three() {}\n",
    );
    assert_eq!(tests, ["one", "three"]);
    let complaints = complaints(&corpus, &here, &tests.into_iter().collect()).join("\n");
    for part in [
        "XX-01 is carried nowhere",
        "TX-08 is in more than one list",
        "AZ-11 is no case",
        "PT-23: there is no test `a_disabled_client_gets_nothing",
    ] {
        assert!(complaints.contains(part), "{part}: {complaints}");
    }
}
