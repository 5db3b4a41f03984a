//! Clients whose id is the URL of a document (draft-ietf-oauth-client-id-metadata-document): what the
//! document says, fetched where such a client begins something, and kept.
//!
//! Whoever names a client can make us fetch: how often, from where and how much is bounded. Where a token
//! is looked at, nothing is fetched.

use std::time::Duration;

use crate::audit::audit;
use crate::client_metadata::{ClientMetadata, Said};
use crate::core::Core;
use crate::error::Trouble;
use crate::network::Network;
use crate::record::{self, ClientDocument};
use crate::registry::{Client, ClientDocuments, DocumentUrl, Registry};
use crate::web_document::{Document, Unfetched};

/// Bounds of what a document's server may say.
const SHORTEST: Duration = Duration::from_mins(1);
/// Where it says nothing.
const USUAL: Duration = Duration::from_hours(1);
/// A document that cannot be fetched again counts for so much longer: its server may be down.
const PATIENCE: Duration = Duration::from_hours(24);
/// In which fetches from one host, and for one network of callers, are counted.
const WINDOW: Duration = Duration::from_mins(1);

/// The client of a document, as it was fetched last.
pub(crate) async fn find(
    core: &Core,
    registry: &Registry,
    id: &DocumentUrl,
) -> Result<Option<Client>, Trouble> {
    let name = ClientDocument::id(id.as_str());
    let stored = record::load::<ClientDocument>(&*core.store, &name).await?;
    let kept = stored.map(|stored| stored.record);
    let kept = kept.filter(|kept| core.now() < kept.exp);
    let metadata = kept.and_then(|kept| kept.metadata);
    Ok(metadata.and_then(|metadata| registry.documented(id, &metadata)))
}

/// Fetches the document that an id names, where it does and what is kept is too old. `network`: whence
/// the id came. Nobody there can keep everybody else's documents waiting.
pub(crate) async fn refresh(
    core: &Core,
    registry: &Registry,
    (id, network): (&str, Network),
) -> Result<(), Trouble> {
    let Some((documents, url)) = registry.document_of(id) else {
        return Ok(());
    };
    let now = core.now();
    let name = ClientDocument::id(id);
    let before = record::load::<ClientDocument>(&*core.store, &name).await?;
    let before = before.map(|before| before.record);
    if before
        .as_ref()
        .is_some_and(|before| now < before.fresh_until)
    {
        return Ok(());
    }
    for (kind, whose, most) in [
        ("from", network.to_string(), documents.fetches_per_address),
        ("of", url.host().to_owned(), documents.fetches),
    ] {
        let key = format!("client-documents:{kind}:{whose}");
        if core.store.count(&key, WINDOW).await? > most {
            let reason = format!("too many {kind} {whose}");
            audit!("client_document_refused", client = id, reason = reason);
            return Ok(());
        }
    }
    let kept = match fetched(core, registry, documents, &url).await {
        Ok((metadata, cache)) => ClientDocument {
            metadata: Some(metadata),
            fresh_until: now.plus(cache),
            exp: now.plus(cache).plus(PATIENCE),
        },
        Err((reason, is_final)) => {
            audit!("client_document_refused", client = id, reason = reason);
            let last = before.filter(|before| !is_final && now < before.exp);
            let fresh_until = now.plus(SHORTEST);
            match last {
                Some(last) => ClientDocument {
                    fresh_until,
                    ..last
                },
                None => ClientDocument {
                    metadata: None,
                    fresh_until,
                    exp: fresh_until,
                },
            }
        }
    };
    record::keep(&*core.store, &name, &kept, kept.exp, now).await
}

/// What a document says and how long it holds; or why it says nothing, and whether that is so for good.
async fn fetched(
    core: &Core,
    registry: &Registry,
    documents: &ClientDocuments,
    url: &DocumentUrl,
) -> Result<(ClientMetadata, Duration), (String, bool)> {
    let fetched = core
        .web
        .document(url.url(), documents.private_addresses)
        .await;
    let Document {
        mut members,
        max_age,
    } = fetched.map_err(|reason| (reason.to_string(), reason != Unfetched::NoAnswer))?;
    let refuse = |reason: &str| Err((reason.to_owned(), true));
    if members.get("client_id").and_then(serde_json::Value::as_str) != Some(url.as_str()) {
        return refuse("its `client_id` is not its URL");
    }
    if ["client_secret", "client_secret_expires_at"]
        .iter()
        .any(|name| members.contains_key(*name))
    {
        return refuse("it has a secret in it");
    }
    // Without a word it would have a secret (RFC 7591 section 2), which nobody could have given it.
    let method = members.entry("token_endpoint_auth_method");
    method.or_insert_with(|| "none".into());
    let Some(said) = Said::read(members) else {
        return refuse("a member has a value of another type than it must have");
    };
    let metadata = documents.checked(registry, url, said);
    let metadata = metadata.map_err(|(_, reason)| (reason.to_owned(), true))?;
    let cache = max_age.unwrap_or(USUAL).clamp(SHORTEST, documents.cache);
    Ok((metadata, cache))
}
