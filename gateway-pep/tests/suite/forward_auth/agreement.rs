//! Whatever is asked for: another proxy is told yes only where the gateway would have forwarded the same
//! request unchanged, and then the decision point was asked the same.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::{ALICE, DIALECTS, Dialect, fixture};
use crate::agreement::target;
use crate::fixture::{Fixture, get};

#[test]
fn every_dialect_gives_the_answer_of_the_gateway() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let fixture = runtime.block_on(fixture());
    let config = Config {
        cases: 400,
        failure_persistence: None,
        ..Config::default()
    };
    let permitted = Cell::new(0);
    TestRunner::new(config)
        .run(&target(), |target| {
            for dialect in DIALECTS {
                let is_permitted = runtime.block_on(check(&fixture, dialect, &target))?;
                permitted.set(permitted.get() + u32::from(is_permitted));
            }
            Ok(())
        })
        .unwrap();
    assert!(permitted.get() > 60, "{} yes", permitted.get());
}

async fn check(fixture: &Fixture, dialect: Dialect, target: &str) -> Result<bool, TestCaseError> {
    let before = fixture.upstream.seen().len();
    let forwarded = fixture.raw(&get(target, "at_alice")).await;
    let seen = fixture.upstream.seen();
    let answer = dialect.ask(fixture, "GET", target, ALICE).await;
    prop_assert_eq!(fixture.upstream.seen().len(), seen.len());
    let sent = seen.get(before).map(|seen| seen.target.as_str());
    match answer.status() {
        200 => {
            // Byte for byte: the proxy sends on what it has.
            prop_assert_eq!(sent, Some(target), "{:?}", dialect);
            Ok(true)
        }
        status => {
            prop_assert!(
                sent != Some(target),
                "{:?} {:?} is forwarded here, and there {}",
                dialect,
                target,
                status
            );
            // What the gateway would rewrite is refused.
            let expected = [forwarded.status(), 400].map(|status| dialect.status(status));
            prop_assert!(
                expected.contains(&status),
                "{:?} {:?} {}",
                dialect,
                target,
                status
            );
            Ok(false)
        }
    }
}
