//! The gateway's attack corpus: each case's bytes over a fresh connection, its expectation held
//! against the answer, the upstream's record and the PDP's questions.
//!
//! A case passes when every member of one of its alternatives holds. What is not fired is listed in
//! [`NOT_CARRIED`] with its reason, and no case is in no list.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use cedargate::attack::ABSENT;
use e2e::Site;
use e2e::http::{raw, raw_status};
use e2e::process::repository;
use e2e::recorder::{Recorder, Seen};
use e2e::tokens;
use serde_json::Value;

mod stateful;
mod wire;

/// Cases that are not fired here, by the beginning of their ids, and why.
const NOT_CARRIED: &[(&str, Because)] = &[
    (
        "AUTH-011",
        Because::Suite(
            "a_key_is_for_its_own_algorithm_and_cannot_be_brought_along_or_taken_for_a_secret",
        ),
    ),
    (
        "AUTH-013",
        Because::Suite(
            "a_key_is_for_its_own_algorithm_and_cannot_be_brought_along_or_taken_for_a_secret",
        ),
    ),
    (
        "AUTH-015",
        Because::Suite("what_could_be_read_in_two_ways_or_is_another_kind_of_token_is_refused"),
    ),
    (
        "AUTH-017",
        Because::Suite("every_claim_that_makes_it_a_token_for_here_and_now_is_looked_at"),
    ),
    (
        "AUTH-019",
        Because::Suite("what_could_be_read_in_two_ways_or_is_another_kind_of_token_is_refused"),
    ),
    (
        "AUTH-021",
        Because::Suite("what_could_be_read_in_two_ways_or_is_another_kind_of_token_is_refused"),
    ),
    (
        "DOS-010",
        Because::Suite("a_flood_of_unknown_keys_asks_the_issuer_once_and_holds_up_nobody"),
    ),
    (
        "CACHE-002",
        Because::Suite("a_token_counts_on_the_routes_of_its_issuer_alone_remembered_or_not"),
    ),
    ("OIDC-", Because::Session),
    ("UPG-008", Because::Session),
    ("RC-", Because::Absent("response cache")),
    ("RL-", Because::Absent("rate limits")),
    (
        "AUTH-023",
        Because::Suite("a_token_that_is_bound_to_a_certificate_counts_beside_it_alone"),
    ),
    ("AUTH-025", Because::Left("claims mapped to headers")),
    ("HDR-004", Because::Left("identity headers to the upstream")),
    (
        "HDR-020",
        Because::Suite("what_could_be_read_in_two_ways_is_not_asked"),
    ),
    (
        "CACHE-004",
        Because::Suite("a_token_is_not_used_past_its_end_nor_past_the_limit"),
    ),
    (
        "CACHE-008",
        Because::Suite("only_the_same_question_waits_for_the_same_answer"),
    ),
    ("CACHE-010", Because::Suite("many_waiters_are_one_question")),
    (
        "CACHE-012",
        Because::Suite("when_nobody_can_be_asked_only_what_is_known_passes"),
    ),
    (
        "CACHE-014",
        Because::Suite("masked_fields_never_leave_from_memory_neither"),
    ),
];

/// Why a case is not fired here.
#[derive(Debug)]
enum Because {
    /// The gateway does not do it; what `cedargate attack` says of it is held against the
    /// configuration's schema.
    Absent(&'static str),
    /// Its subject does not exist here, or is answered otherwise.
    Left(&'static str),
    /// A test of the gateway's own suite holds it.
    Suite(&'static str),
    /// It is fired with a session that somebody has got: see `logins`.
    Session,
}

/// Everything one case produced.
#[derive(Default)]
struct Outcome {
    status: Option<u16>,
    /// What came instead of an answer, in the corpus's words.
    end: Option<&'static str>,
    answer: Vec<u8>,
    requests: Vec<Seen>,
    questions: Vec<Value>,
    millis: u128,
    /// By how much the gateway has grown.
    grown_mib: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hostile_request_gets_through_the_gateway() {
    let corpus: Value = serde_json::from_str(
        &std::fs::read_to_string(repository().join("tests/vectors/gateway-attacks.json"))
            .expect("corpus"),
    )
    .expect("JSON");
    let recorder = Recorder::default();
    let site = Site::for_attacks(&recorder).await;
    let alice = tokens::access_token(&site, "alice").await;
    let ada = tokens::access_token(&site, "ada").await;
    let jwt = tokens::phantom(&site, &alice).await;
    let (mut passed, mut failed, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for case in corpus["cases"].as_array().expect("cases") {
        let id = case["id"].as_str().expect("id");
        if reason(id).is_some() {
            left.push(id);
            continue;
        }
        if case["transport"] != "h1" {
            continue;
        }
        let bytes = request_bytes(
            case,
            &[
                ("{TOKEN}", &alice),
                ("{TOKEN_ADMIN}", &ada),
                ("{JWT_INTERNAL}", &jwt),
            ],
        );
        let outcome = attack(&site, &recorder, bytes).await;
        match judge(&case["expectation"], &outcome) {
            Ok(()) => passed.push(id),
            Err(why) => failed.push(format!("{id} ({}): {why}", case["title"])),
        }
    }
    println!(
        "gateway attack corpus: {} passed, {} not carried",
        passed.len(),
        left.len()
    );
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
    assert!(passed.len() >= 78, "only {} cases ran", passed.len());
}

#[test]
fn every_case_is_fired_or_accounted_for() {
    let text = std::fs::read_to_string(repository().join("tests/vectors/gateway-attacks.json"));
    let corpus: Value = serde_json::from_str(&text.expect("corpus")).expect("JSON");
    let mut counts = BTreeMap::<&str, (usize, usize)>::new();
    for case in corpus["cases"].as_array().expect("cases") {
        let id = case["id"].as_str().expect("id");
        let (fired, left) = counts
            .entry(case["class"].as_str().expect("class"))
            .or_default();
        match reason(id) {
            None => {
                let transport = case["transport"].as_str().expect("transport");
                let is_fired =
                    ["h1", "h2", "tls"].contains(&transport) || stateful::CASES.contains(&id);
                assert!(is_fired, "{id} is neither fired nor listed");
                *fired += 1;
            }
            Some(because) => {
                println!("{id}: {because:?}");
                *left += 1;
            }
        }
    }
    println!("class: fired, not carried\n{counts:?}");
    let files = [
        "caches.rs",
        "client_certificates.rs",
        "dpop.rs",
        "obligations.rs",
        "question.rs",
        "issuers/jwt.rs",
        "issuers/keys.rs",
        "issuers/several.rs",
    ];
    let suite: String = files
        .map(|file| repository().join("gateway-pep/tests/suite").join(file))
        .map(|file| std::fs::read_to_string(file).expect("suite"))
        .concat();
    for (prefix, because) in NOT_CARRIED {
        let is_true = match because {
            Because::Absent(what) => ABSENT.iter().any(|absent| absent.what == *what),
            Because::Suite(test) => suite.contains(&format!("async fn {test}()")),
            Because::Left(what) => !what.is_empty(),
            Because::Session => {
                let cases = corpus["cases"].as_array().expect("cases");
                let ids = cases.iter().filter_map(|case| case["id"].as_str());
                let mut own = ids.filter(|id| id.starts_with(prefix));
                own.all(|id| super::logins::CASES.contains(&id))
            }
        };
        assert!(is_true, "{prefix}: {because:?}");
    }
}

fn reason(id: &str) -> Option<&'static Because> {
    let listed = NOT_CARRIED
        .iter()
        .find(|(prefix, _)| id.starts_with(prefix));
    listed.map(|(_, because)| because)
}

async fn attack(site: &Site, recorder: &Recorder, bytes: Vec<u8>) -> Outcome {
    recorder.clear();
    let address = SocketAddr::from((site.host, 8080));
    let begin = std::time::Instant::now();
    let answer = tokio::task::spawn_blocking(move || raw(address, &bytes))
        .await
        .expect("exchange");
    let millis = begin.elapsed().as_millis();
    Outcome {
        status: raw_status(&answer),
        answer,
        requests: recorder.requests(),
        questions: recorder.questions(),
        millis,
        ..Outcome::default()
    }
}

/// The bytes to send: placeholders and `{REPEAT:c:n}` filled in, the length of a body mended
/// unless the case is about it, and the end of the exchange asked for.
fn request_bytes(case: &Value, tokens: &[(&str, &str)]) -> Vec<u8> {
    let mut text = case["raw_request"]
        .as_str()
        .expect("raw_request")
        .to_owned();
    for (placeholder, value) in tokens {
        text = text.replace(placeholder, value);
    }
    for (placeholder, value) in [
        ("{HOST}", "gw.test"),
        ("{ADMIN_HOST}", "admin.gw.test"),
        ("{HOST_B}", "b.gw.test"),
    ] {
        text = text.replace(placeholder, value);
    }
    while let Some(start) = text.find("{REPEAT:") {
        let end = start + text[start..].find('}').expect("closed");
        let mut parts = text[start + 8..end].rsplitn(2, ':');
        let count: usize = parts.next().expect("count").parse().expect("number");
        let repeated = parts.next().expect("text").repeat(count);
        text.replace_range(start..=end, &repeated);
    }
    // The corpus holds bytes as latin-1.
    text.chars()
        .map(|character| u8::try_from(u32::from(character)).expect("latin-1"))
        .collect()
}

fn judge(expectation: &Value, outcome: &Outcome) -> Result<(), String> {
    let alternatives = match expectation["accept"].as_array() {
        Some(alternatives) => alternatives.clone(),
        None => vec![expectation.clone()],
    };
    let mut why = Vec::new();
    for alternative in &alternatives {
        let broken = alternative
            .as_object()
            .expect("object")
            .iter()
            .filter(|(name, expected)| !holds(name, expected, outcome))
            .map(|(name, expected)| format!("{name} is not {expected}"))
            .collect::<Vec<_>>();
        if broken.is_empty() {
            return Ok(());
        }
        why.push(broken.join(", "));
    }
    let paths: Vec<_> = outcome.requests.iter().map(|seen| &seen.target).collect();
    Err(format!(
        "status {:?} {:?}, upstream {paths:?}; {}",
        outcome.status,
        outcome.end,
        why.join(" | ")
    ))
}

/// Whether one member of an alternative holds. An unknown member does not.
fn holds(name: &str, expected: &Value, outcome: &Outcome) -> bool {
    let requests = &outcome.requests;
    let paths = || requests.iter().map(|seen| seen.target.as_str());
    let bodies = || requests.iter().map(|seen| seen.body.as_deref());
    match name {
        "status" => {
            expected
                .as_array()
                .expect("statuses")
                .iter()
                .any(|status| match outcome.status {
                    Some(actual) => *status == actual,
                    None => *status == outcome.end.unwrap_or("close"),
                })
        }
        "h2" | "tls" => outcome.end.is_some_and(|end| {
            let expected = expected.as_str().expect("words");
            expected.split(" or ").any(|word| word == end)
        }),
        "mem_growth_mib_max" => outcome.grown_mib <= expected.as_u64().expect("number"),
        "upstream_hits" => *expected == requests.len(),
        "upstream_hits_max" => requests.len() as u64 <= expected.as_u64().expect("number"),
        "upstream_path" => paths().all(|path| *expected == path),
        "upstream_paths_exclude" => {
            let excluded = expected.as_array().expect("paths");
            paths().all(|path| excluded.iter().all(|excluded| *excluded != path))
        }
        "upstream_body" => {
            bodies().all(|body| body == Some(expected.as_str().expect("text").as_bytes()))
        }
        "upstream_body_incomplete" => bodies().all(|body| body.is_none()) == (*expected == true),
        "upstream_header_absent" => expected.as_array().expect("names").iter().all(|absent| {
            let absent = absent.as_str().expect("name");
            requests
                .iter()
                .flat_map(|seen| &seen.headers)
                .all(|(name, _)| name != &absent.to_lowercase())
        }),
        "upstream_header_equals" => headers_equal(expected, requests),
        "upstream_header_count" => {
            expected
                .as_object()
                .expect("counts")
                .iter()
                .all(|(name, count)| {
                    requests.iter().all(|seen| {
                        seen.headers
                            .iter()
                            .filter(|(actual, _)| *actual == name.to_lowercase())
                            .count() as u64
                            == count.as_u64().expect("number")
                    })
                })
        }
        "upstream_auth_is_internal_jwt" => requests.iter().all(|seen| {
            seen.headers.iter().any(|(name, value)| {
                name == "authorization"
                    && value.starts_with("Bearer ey")
                    && value.matches('.').count() == 2
            })
        }),
        "pdp_path" => outcome
            .questions
            .iter()
            .all(|question| question["context"]["path"] == *expected),
        "upstream_path_equals_pdp_path" => outcome.questions.iter().all(|question| {
            paths().all(|path| question["context"]["path"] == path.split('?').next().expect("path"))
        }),
        // Whatever the client said, the PDP hears of the peer.
        "pdp_client_ip" => outcome.questions.iter().all(|question| {
            question["context"]["client_ip"]
                .as_str()
                .is_some_and(|ip| ip.starts_with("127."))
        }),
        "header_present" => {
            let head = String::from_utf8_lossy(&outcome.answer).to_lowercase();
            expected.as_array().expect("names").iter().all(|name| {
                head.contains(&format!(
                    "\n{}:",
                    name.as_str().expect("name").to_lowercase()
                ))
            })
        }
        "body_not_contains" => {
            let answer = String::from_utf8_lossy(&outcome.answer).into_owned();
            let not_there = |text: &Value| !answer.contains(text.as_str().expect("text"));
            expected
                .as_array()
                .map_or_else(|| not_there(expected), |all| all.iter().all(not_there))
        }
        "latency_ms_max" => outcome.millis <= u128::from(expected.as_u64().expect("number")) + 50,
        // `raw` reads to the end of the connection: what came after is in the upstream's record.
        "conn" | "server_alive" => true,
        _ => false,
    }
}

fn headers_equal(expected: &Value, requests: &[Seen]) -> bool {
    expected
        .as_object()
        .expect("headers")
        .iter()
        .all(|(name, value)| {
            let alternatives = value
                .as_array()
                .cloned()
                .unwrap_or_else(|| vec![value.clone()]);
            requests.iter().all(|seen| {
                seen.headers
                    .iter()
                    .filter(|(actual, _)| *actual == name.to_lowercase())
                    .all(|(_, actual)| {
                        alternatives.iter().any(|wanted| {
                            let wanted = wanted
                                .as_str()
                                .expect("text")
                                .replace("{PEER_IP}", "127.0.0.1");
                            wanted == *actual
                        })
                    })
            })
        })
}
