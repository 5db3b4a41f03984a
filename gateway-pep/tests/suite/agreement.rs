//! Router, decision request, cache, log line and upstream bytes agree on the path of whatever
//! is asked for.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::Value;

use crate::fixture::{Fixture, PATIENCE, Setup};

/// Targets near the edge: what gateways have been fooled with, in every mixture.
pub(crate) fn target() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[a-z0-9]{1,3}",
        2 => "%[0-9a-fA-F]{2}",
        1 => Just("%2e%2e".to_owned()),
        1 => "[/.;%~\\\\#:@!$&'()*+,={}\"<>^`|_-]",
        1 => Just("..".to_owned()),
        1 => Just("/".to_owned()),
    ];
    let path = prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat());
    (
        prop_oneof![Just("/admin/"), Just("/records/"), Just("/")],
        path,
        "(\\?[ -~]{0,8})?",
    )
        .prop_map(|(prefix, path, query)| format!("{prefix}{path}{}", query.replace(' ', "+")))
}

#[test]
fn the_five_views_agree_on_arbitrary_targets() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.jsonl");
    let gateway = format!(
        "{{ workers: 1, access_log: {{ file: '{}' }} }}",
        file.display()
    );
    let fixture = runtime.block_on(async {
        Setup {
            gateway,
            ..Setup::new().await
        }
        .start()
        .await
    });
    let config = Config {
        cases: 1500,
        failure_persistence: None,
        ..Config::default()
    };
    let passed = Cell::new(0);
    TestRunner::new(config)
        .run(&target(), |target| {
            let permitted = runtime.block_on(check_target(&fixture, &target))?;
            passed.set(passed.get() + u32::from(permitted));
            Ok(())
        })
        .unwrap();
    assert!(
        passed.get() > 200,
        "only {} passed: the strategy tests nothing",
        passed.get()
    );
    let forwarded: Vec<String> = fixture
        .upstream
        .seen()
        .iter()
        .map(|seen| path(&seen.target))
        .collect();
    assert!(runtime.block_on(fixture.gateway.finish(PATIENCE)));
    let text = std::fs::read_to_string(&file).unwrap();
    let logged: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["status"] == 200)
        .map(|line| line["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(logged, forwarded);
}

/// True where the target was let through.
async fn check_target(fixture: &Fixture, target: &str) -> Result<bool, TestCaseError> {
    let (asked, seen) = (fixture.pdp.count(), fixture.upstream.seen().len());
    let answer = fixture.get(target, "at_alice").await;
    let upstream = fixture.upstream.seen();
    if answer.status() != 200 {
        prop_assert_eq!(upstream.len(), seen, "refused, but forwarded: {}", target);
        return Ok(false);
    }
    prop_assert_eq!(upstream.len(), seen + 1);
    let forwarded = upstream.last().unwrap().target.clone();
    if fixture.pdp.count() > asked {
        let (question, path) = (fixture.pdp.last(), path(&forwarded));
        prop_assert_eq!(&question.context["path"], &path);
        // The router's view: the parameter is what follows the first segment, decoded once.
        let rest = path.splitn(3, '/').nth(2).unwrap();
        let decoded = percent_encoding::percent_decode_str(rest)
            .decode_utf8()
            .unwrap();
        prop_assert_eq!(question.resource.id, decoded);
    }
    // What went to the upstream is the same question: the cache knows it already.
    let asked = fixture.pdp.count();
    let again = fixture.get(&forwarded, "at_alice").await;
    prop_assert_eq!(again.status(), 200);
    prop_assert_eq!(
        fixture.pdp.count(),
        asked,
        "another question for {}",
        forwarded
    );
    Ok(true)
}

fn path(target: &str) -> String {
    target.split('?').next().unwrap().to_owned()
}
