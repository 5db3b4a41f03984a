//! The ready domains decide what their cases say.

use authzen::Decision;
use serde::Deserialize;
use serde_json::Value;
use service_kit::Variables;

use crate::fixture::{Fixture, ask, domains};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    request: Value,
    decision: String,
    #[serde(default)]
    reasons: Option<Vec<String>>,
    #[serde(default)]
    obligations: Vec<Value>,
    #[serde(default)]
    error: Option<String>,
}

async fn check(domain: &str) {
    let folder = domains().join(domain);
    let cases: Cases =
        service_kit::config::load(&folder.join("cases.yaml"), &Variables::default()).unwrap();
    let fixture = Fixture::empty();
    let pdp = fixture.open_at(&folder).unwrap();
    assert!(!cases.cases.is_empty());
    for case in cases.cases {
        let answer = ask(&pdp, &case.request).await.unwrap();
        let context = answer.context;
        let decision = match answer.decision {
            Decision::Permit => "permit",
            Decision::Deny => "deny",
        };
        assert_eq!(decision, case.decision, "{domain}: {}", case.name);
        if let Some(reasons) = case.reasons {
            let actual: Vec<_> = context.reasons.iter().map(|r| r.policy.clone()).collect();
            assert_eq!(actual, reasons, "{domain}: {}", case.name);
        }
        let obligations: Vec<_> = context
            .obligations
            .iter()
            .map(|obligation| serde_json::to_value(obligation).unwrap())
            .collect();
        assert_eq!(obligations, case.obligations, "{domain}: {}", case.name);
        let message = context
            .error
            .as_ref()
            .and_then(|error| error["message"].as_str().map(str::to_owned));
        assert_eq!(message, case.error, "{domain}: {}", case.name);
    }
}

#[tokio::test]
async fn the_records_domain_decides_what_its_cases_say() {
    check("records").await;
}

#[tokio::test]
async fn the_todo_domain_decides_what_its_cases_say() {
    check("todo").await;
}

#[test]
fn the_ready_domains_are_valid_without_a_warning() {
    for domain in ["records", "todo"] {
        let report = crate::check_policies(&domains().join(domain)).unwrap();
        assert!(report.warnings.is_empty(), "{report}");
        assert!(report.policies > 4 && report.entities > 4, "{report}");
    }
}
