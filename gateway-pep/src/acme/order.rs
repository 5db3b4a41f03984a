//! One order, from the first word to the certificate (RFC 8555 section 7.4).

use std::time::Duration;

use instant_acme::{
    AuthorizationStatus, ChallengeType, Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use service_kit::tls::{CertificateRequest, Issued};

use super::AcmeError;
use super::account::account;
use super::kept::{Kept, Record};
use super::plan::AcmePlan;
use crate::config::AcmeChallenge;

/// An authority looks at a name from several places, and that takes a while.
const LOOKING: Duration = Duration::from_mins(2);

/// Gets a certificate for names that the authority finds to be ours.
pub(super) async fn order(
    plan: &AcmePlan,
    kept: &Kept,
    names: &[String],
) -> Result<(Issued, Record), AcmeError> {
    let account = account(plan, kept).await?;
    let identifiers: Vec<_> = names.iter().cloned().map(Identifier::Dns).collect();
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    show(plan, kept, names, &mut order).await?;
    let retries = RetryPolicy::new().timeout(LOOKING);
    if order.poll_ready(&retries).await? != OrderStatus::Ready {
        return Err(AcmeError::NotShown);
    }
    let request = CertificateRequest::new(names)?;
    order.finalize_csr(&request.der).await?;
    let chain = order.poll_certificate(&retries).await?;
    let record = Record::new(chain, &request.key);
    let issued = record.issued()?;
    // SECURITY: what TLS shows it for, and until when, is what is in it.
    let is_whole = names.iter().all(|name| issued.names.contains(name));
    if !is_whole || issued.names.len() != names.len() {
        return Err(AcmeError::AnotherCertificate);
    }
    Ok((issued, record))
}

/// Shows the authority what it wants to see, at every gateway, and tells it to look.
async fn show(
    plan: &AcmePlan,
    kept: &Kept,
    names: &[String],
    order: &mut Order,
) -> Result<(), AcmeError> {
    let kind = match plan.challenge {
        AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        AcmeChallenge::Http01 => ChallengeType::Http01,
    };
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            _ => return Err(AcmeError::NotShown),
        }
        let Identifier::Dns(name) = authorization.identifier().identifier.clone() else {
            return Err(AcmeError::AnotherIdentifier);
        };
        if !names.contains(&name) {
            return Err(AcmeError::AnotherIdentifier);
        }
        let challenge = authorization.challenge(kind.clone());
        let mut challenge = challenge.ok_or_else(|| AcmeError::NoChallenge(name.clone()))?;
        let shown = challenge.key_authorization();
        match plan.challenge {
            AcmeChallenge::TlsAlpn01 => kept.show_by_name(&name, shown.as_str()).await?,
            AcmeChallenge::Http01 => kept.show_by_token(&challenge.token, shown.as_str()).await?,
        }
        challenge.set_ready().await?;
    }
    Ok(())
}
