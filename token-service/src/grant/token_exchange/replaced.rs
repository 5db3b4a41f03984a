//! A transaction token that comes back to be replaced: one of ours that has not ended, of this trust
//! domain, and what it was made of is still good. Every cause for no is one and the same refusal.

use jose::Accepted;
use oauth::Scope;
use serde_json::{Map, Value};
use service_kit::UnixTime;

use super::{Exchanging, refused};
use crate::phantom::{self, Live, Unreturned};
use crate::refusal::Refusal;
use crate::registry::TransactionTokens;

/// What it says, and the access token that it was made of.
pub(super) struct Replaced {
    pub(super) live: Box<Live>,
    pub(super) scope: Scope,
    pub(super) exp: UnixTime,
    pub(super) said: Said,
}

/// What stays as it is, however often the token is replaced.
pub(super) struct Said {
    pub(super) txn: String,
    /// Whoever has asked, the first first.
    pub(super) workloads: String,
    pub(super) details: Option<Map<String, Value>>,
    pub(super) context: Option<Map<String, Value>>,
}

/// Nothing else that the same keys have signed.
const TYPES: Accepted = Accepted {
    types: &["txntoken+jwt"],
    untyped: false,
};

/// Longer call chains are nobody's design.
const MOST_WORKLOADS: usize = 10;

impl Replaced {
    pub(super) async fn find(
        Exchanging { request, rule }: Exchanging<'_>,
        domain: &TransactionTokens,
    ) -> Result<Self, Refusal> {
        let no = |reason: Unreturned| refused(request, &reason.to_string());
        let text = request.required("subject_token", "`subject_token` is missing")?;
        let claims = phantom::verified(request.core, text, TYPES).map_err(no)?;
        let (scope, exp, mut said) = said(&claims, domain).ok_or_else(|| no(Unreturned::Claims))?;
        if said.workloads.split(',').count() >= MOST_WORKLOADS {
            return Err(refused(request, "it was replaced too often"));
        }
        // What it was made of may have been taken back since.
        let live = phantom::made_of(request.core, request.registry, &claims).await?;
        let live = live.map_err(no)?;
        if !rule.takes_from(&live.token.client_id) {
            return Err(refused(
                request,
                "it was made of a token of a client that is not in `exchange.subject_clients`",
            ));
        }
        said.workloads.push(',');
        said.workloads.push_str(&request.client.id);
        Ok(Self {
            scope: scope.intersection(&live.facts.scope),
            exp,
            live,
            said,
        })
    }
}

/// None: not of this trust domain, or none that we would make.
fn said(
    claims: &Map<String, Value>,
    domain: &TransactionTokens,
) -> Option<(Scope, UnixTime, Said)> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let object = |name: &str| claims.get(name).and_then(Value::as_object).cloned();
    if text("aud") != Some(domain.trust_domain.as_str()) {
        return None;
    }
    let said = Said {
        txn: text("txn")?.to_owned(),
        workloads: text("req_wl")?.to_owned(),
        details: object("tctx"),
        context: object("rctx"),
    };
    let exp = UnixTime::from_secs(claims.get("exp")?.as_u64()?);
    Some((Scope::parse(text("scope")?).ok()?, exp, said))
}
