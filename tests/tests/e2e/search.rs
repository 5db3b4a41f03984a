//! Searches over real sockets, by the client that other services use.

use std::time::Duration;

use authzen::{
    DecisionError, DecisionPoint as _, Found, HttpDecisionPoint, HttpDecisionPointConfig,
    SearchKind, SearchRequest, SearchResults,
};
use e2e::Site;
use e2e::site::eventually;
use serde_json::{Value, json};

async fn search(pdp: &HttpDecisionPoint, body: &Value) -> Result<SearchResults, DecisionError> {
    let body = body.to_string();
    let request = SearchRequest::from_json(SearchKind::Resource, body.as_bytes()).unwrap();
    pdp.search(&request).await
}

fn ids(results: &SearchResults) -> Vec<&str> {
    let results = results.results.iter();
    results
        .map(|result| match &result.found {
            Found::Entity { id, .. } => id.as_str(),
            Found::Action { name } => name.as_str(),
        })
        .collect()
}

fn records_of(subject: &str, roles: &[&str]) -> Value {
    json!({
        "subject": { "type": "User", "id": subject,
            "properties": { "roles": roles, "scope": ["records:read"] } },
        "action": { "name": "view_record" },
        "resource": { "type": "Record" },
    })
}

#[tokio::test]
async fn a_search_finds_the_records_of_each_and_follows_an_edit() {
    let site = Site::all_in_one();
    let url = site.pdp_url("").parse().unwrap();
    let mut config = HttpDecisionPointConfig::new(url);
    config.timeout = Duration::from_secs(10);
    let pdp = HttpDecisionPoint::new(&config).unwrap();

    let found = search(&pdp, &records_of("alice", &["customer"])).await;
    assert_eq!(ids(&found.unwrap()), ["1001"]);

    let mut first = records_of("sam", &["support"]);
    first["page"] = json!({ "limit": 2 });
    let page = search(&pdp, &first).await.unwrap();
    assert_eq!(ids(&page), ["1001", "1002"]);
    // Support sees masked records: each result says so.
    let obligations = &page.results.first().unwrap().context.obligations;
    assert!(!obligations.is_empty());
    let next = json!({ "page": { "token": page.page.next_token } });
    let last = search(&pdp, &next).await.unwrap();
    assert_eq!(ids(&last), ["1003"]);
    assert_eq!(last.page.next_token, "");

    let other = json!({ "page": { "token": page.page.next_token, "limit": 7 } });
    let refused = search(&pdp, &other).await.unwrap_err();
    assert!(
        matches!(refused, DecisionError::Rejected { .. }),
        "{refused}"
    );

    let file = site.policies().join("nobody.cedar");
    std::fs::write(
        file,
        "@id(\"nobody\") forbid (principal, action, resource is Record);\n",
    )
    .unwrap();
    eventually("the edit decides", Duration::from_secs(20), || async {
        let found = search(&pdp, &records_of("alice", &["customer"])).await;
        found.is_ok_and(|found| found.results.is_empty())
    })
    .await;
}
