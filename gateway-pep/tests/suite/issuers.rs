//! Tokens of other issuers than the token service: JWTs by their keys, opaque ones by introspection.

mod bound;
mod foreign;
mod introspection;
mod jwt;
mod keys;
mod several;

use std::sync::Arc;

use serde_json::{Value, json};
use service_kit::{ManualClock, UnixTime};

use crate::fixture::{Answer, Fixture, Setup};
use crate::holder::changed;
use crate::signer::{self, Signer};
use foreign::Foreign;

/// What the clock says.
pub(crate) const NOW: u64 = 1_800_000_000;

/// Routes by whose tokens they take.
const ROUTES: &str = "  - { match: '/corp/{id}', methods: [GET], upstream: a, action: view, resource: 'Record/{id}', issuers: [corp] }
  - { match: '/other/{id}', methods: [GET], upstream: a, action: view, resource: 'Record/{id}', issuers: [other] }
  - { match: '/both/{id}', methods: [GET], upstream: a, action: view, resource: 'Record/{id}', issuers: [corp, other] }
  - { match: '/mixed/{id}', methods: [GET], upstream: a, action: view, resource: 'Record/{id}', issuers: [token_service, corp] }
  - { match: '/corp-scoped', methods: [GET], upstream: a, action: view, resource: Service/x, scope: write, issuers: [corp] }
  - { match: '/corp-pay', methods: [GET], upstream: a, action: view, resource: Service/x, acr_values: [phr], max_age_secs: 60, issuers: [corp] }
";

/// A gateway with issuers.
struct Gateway {
    fixture: Fixture,
    clock: Arc<ManualClock>,
}

impl Gateway {
    /// `issuers`: flow style, a map.
    async fn start(issuers: &str) -> Self {
        Self::start_with(issuers, "", ROUTES).await
    }

    async fn start_with(issuers: &str, more: &str, routes: &'static str) -> Self {
        let clock = ManualClock::at(UnixTime::from_secs(NOW));
        let log = if more.contains("access_log") {
            ""
        } else {
            "access_log: 'off', "
        };
        let setup = Setup {
            gateway: format!("{{ workers: 1, {log}issuers: {issuers} {more} }}"),
            more_routes: routes,
            clock: clock.clone(),
            ..Setup::new().await
        };
        let fixture = setup.start().await;
        Self { fixture, clock }
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.fixture.get(path, token).await
    }

    #[track_caller]
    fn assert_nothing_passed(&self) {
        assert!(self.fixture.upstream.seen().is_empty());
    }
}

/// `corp` and `other`, whose keys are at hand.
fn at_hand(corp: &[&Signer], other: &[&Signer], more: &str) -> String {
    format!(
        "{{ corp: {{ jwt: {{ issuer: 'https://corp.example', jwks: {}{more} }} }}, \
           other: {{ jwt: {{ issuer: 'https://other.example', jwks: {} }} }} }}",
        signer::jwks(corp),
        signer::jwks(other),
    )
}

/// `corp`, asked for its keys, and `other`, whose keys are `other`'s.
fn fetched(corp: &Foreign, other: &Signer, more: &str) -> String {
    format!(
        "{{ corp: {{ jwt: {{ issuer: '{}'{more} }} }}, \
           other: {{ jwt: {{ issuer: 'https://other.example', jwks: {} }} }} }}",
        corp.issuer(),
        signer::jwks(&[other]),
    )
}

/// An ordinary token's.
fn claims(issuer: &str, changes: &[(&str, Value)]) -> Value {
    let claims = json!({
        "iss": issuer,
        "aud": "https://a",
        "sub": "alice",
        "client_id": "web",
        "iat": NOW - 10,
        "exp": NOW + 300,
        "jti": "1",
        "scope": "read",
    });
    changed(claims, changes)
}

fn corp(changes: &[(&str, Value)]) -> Value {
    claims("https://corp.example", changes)
}
