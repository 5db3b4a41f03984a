//! The account at the authority: made once for all gateways.

use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};

use super::AcmeError;
use super::kept::Kept;
use super::plan::AcmePlan;
use super::web::Web;

/// The one that is kept, or a new one.
pub(super) async fn account(plan: &AcmePlan, kept: &Kept) -> Result<Account, AcmeError> {
    loop {
        let known: Option<AccountCredentials> = kept.account(&plan.directory).await?;
        let builder = Account::builder_with_http(Box::new(Web(plan.client.clone())));
        if let Some(known) = known {
            return Ok(builder.from_credentials(known).await?);
        }
        let contacts: Vec<&str> = plan.contacts.iter().map(String::as_str).collect();
        let wanted = NewAccount {
            contact: &contacts,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let external = plan.external_account.as_ref();
        let external = external.map(|it| ExternalAccountKey::new(it.key_id.clone(), &it.key));
        let made = builder
            .create(&wanted, plan.directory.clone(), external.as_ref())
            .await;
        let (account, credentials) = match made {
            Ok(made) => made,
            // An authority may take an external key once: another gateway may have had it since.
            Err(error) => match kept.account(&plan.directory).await? {
                Some::<AccountCredentials>(_) => continue,
                None => return Err(error.into()),
            },
        };
        if kept.put_account(&plan.directory, &credentials).await? {
            return Ok(account);
        }
        // Another gateway was first: its account is everybody's.
    }
}
