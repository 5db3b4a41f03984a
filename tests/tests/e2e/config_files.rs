//! Every example configuration file is good, and mistakes are shown with their place.

use std::process::Command;

use e2e::process::{cedargate, repository, run};

const VARIABLES: &[(&str, &str)] = &[
    (
        "CEDARGATE_TOKEN_SECRET",
        "a secret of the tests, long enough to be taken",
    ),
    (
        "CEDARGATE_CACHE_SECRET",
        "another secret of the tests, also long enough",
    ),
    ("CEDARGATE_GATEWAY_SECRET", "demo-secret-of-gateway"),
    (
        "BENCH_SECRET",
        "the secret of the measurements, also long enough",
    ),
    (
        "CEDARGATE_SESSION_SECRET",
        "one more secret of the tests, long enough, too",
    ),
    ("BENCH_ACCESS_LOG", "access.jsonl"),
];

fn yaml_files(folder: &str) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(repository().join(folder))
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect()
}

#[test]
fn every_example_file_passes_the_check() {
    let files = ["config", "config/docker", "bench"].map(yaml_files);
    assert!(files.iter().all(|folder| !folder.is_empty()), "{files:?}");
    for file in files.iter().flatten() {
        let output = run(
            cedargate(),
            &["check", "-c", &file.display().to_string()],
            VARIABLES,
        );
        assert!(output.contains(": ok"), "{output}");
    }
}

#[test]
fn the_json_schema_names_every_section() {
    let schema: serde_json::Value =
        serde_json::from_str(&run(cedargate(), &["config-schema"], &[])).expect("JSON");
    for section in [
        "log",
        "tracing",
        "admin",
        "store",
        "pdp",
        "token_service",
        "gateway",
        "upstreams",
        "routes",
        "connect",
    ] {
        assert!(schema["properties"].get(section).is_some(), "{section}");
    }
    assert_eq!(schema["additionalProperties"], serde_json::json!(false));
}

/// Checks a file that is wrong; what is said must have every part.
fn check_bad(text: &str, parts: &[&str]) {
    let folder = tempfile::TempDir::new().expect("folder");
    let file = folder.path().join("bad.yaml");
    std::fs::write(&file, text).expect("write");
    let output = Command::new(cedargate())
        .args(["check", "-c"])
        .arg(&file)
        .envs(VARIABLES.iter().copied())
        .output()
        .expect("starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    for part in parts {
        assert!(said.contains(part), "no `{part}` in:\n{said}");
    }
}

#[test]
fn mistakes_are_shown_with_line_column_and_hint() {
    check_bad(
        "gateway:\n  lisen: 127.0.0.1:1\n",
        &["bad.yaml:2:3", "lisen", "did you mean `listen`"],
    );
    check_bad(
        "pdp:\n  policies: ${NOWHERE}\n",
        &["bad.yaml:2:", "`NOWHERE` is not set"],
    );
    check_bad(
        "gateway:\n  public_origins: ['https://api.example.org/v1']\n",
        &[
            "bad.yaml:2:",
            "`https://api.example.org/v1` is no origin; write scheme, host and port alone",
        ],
    );
    check_bad(
        "gateway:\n  dpop: { require_nonces: true }\n",
        &["bad.yaml:2:", "did you mean `require_nonce`"],
    );
    check_bad(
        "gateway:\n  dpop: { require_nonce: true }\n",
        &[
            "bad.yaml",
            "`gateway.dpop.require_nonce` needs `gateway.public_origins`",
            "list how clients reach the gateway",
            "`gateway.dpop.nonce_secret` is missing; give `gateway.dpop.nonce_secret_file: PATH`",
        ],
    );
    check_bad("gateway: {}\n", &["no PDP to ask", "no token service"]);
    check_bad("pdp:\n  policies: nowhere\n", &["nowhere"]);
    check_bad(
        "pdp:\n  public_url: http://pdp.example.org\n",
        &["pdp.public_url", "must be https"],
    );
    check_bad(
        "tracing: { otlp_endpoint: 'https://me:s3cret@otlp.example.org', sample: 2, headers_file: nowhere }\n",
        &[
            "tracing.otlp_endpoint",
            "must not have a user",
            "`tracing.headers_file`",
            "`tracing.sample`",
        ],
    );
}

#[test]
fn attribute_providers_are_held_against_the_schema() {
    let policies = repository().join("policies/records");
    let provider = |entity_type: &str, attribute: &str, source: &str| {
        format!(
            "pdp:\n  policies: {}\n  attribute_providers:\n    - name: hr\n      \
             entity_type: {entity_type}\n      attributes: [{attribute}]\n      {source}\n",
            policies.display()
        )
    };
    let sqlite = "sqlite: { file: people.db, query: SELECT x FROM people WHERE id = ?1 }";
    check_bad(
        &provider("Person", "roles", sqlite),
        &["pdp.attribute_providers `hr`", "no entity type `Person`"],
    );
    check_bad(
        &provider("User", "height", sqlite),
        &["pdp.attribute_providers `hr`", "no attribute `height`"],
    );
    check_bad(
        &provider("User", "roles", "cache_seconds: 1"),
        &[
            "pdp.attribute_providers `hr`",
            "give `http`, `postgresql` or `sqlite`",
        ],
    );
}
