//! Clients that are a web page, as they are configured: which URLs can name one, and what it may have.

use std::collections::BTreeSet;
use std::time::Duration;

use oauth::Scope;
use serde::Serialize;
use url::{Host, Url};

use super::issues::Issues;
use super::registration::{self, Bounds, Flaw};
use super::{Client, Provenance, Registry};
use crate::client_metadata::{ClientMetadata, Said};
use crate::config::{ClientDocumentsConfig, SigningAlgorithm};
use crate::public_web;
use crate::refusal::ErrorCode;

/// What the configuration allows.
#[derive(Debug, Serialize)]
pub(crate) struct ClientDocuments {
    pub(super) bounds: Bounds,
    /// None: any.
    hosts: Option<BTreeSet<String>>,
    redirects_to_other_hosts: bool,
    #[serde(skip)]
    pub(crate) cache: Duration,
    /// Of one host, in a minute.
    #[serde(skip)]
    pub(crate) fetches: u64,
    pub(crate) fetches_per_address: u64,
    #[serde(skip)]
    pub(crate) private_addresses: bool,
}

/// The id of a client that is the URL of its document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DocumentUrl(Url);

/// Longer URLs name nobody. Bytes.
const LONGEST: usize = 500;

impl DocumentUrl {
    /// SECURITY: one spelling alone, so that a client has one id, and what is compared is what is
    /// fetched: no dot segments, no user, no fragment, no default port, no capitals in the host.
    pub(crate) fn read(id: &str) -> Option<Self> {
        if id.len() > LONGEST || !id.starts_with("https://") {
            return None;
        }
        let url = Url::parse(id).ok().filter(|url| url.as_str() == id)?;
        let is_plain = url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
            && url.query().is_none()
            && url.path().len() > 1
            && matches!(url.host(), Some(Host::Domain(_)));
        is_plain.then_some(Self(url))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }

    pub(crate) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

impl ClientDocuments {
    /// `issues`: at `token_service.client_id_metadata_documents`.
    pub(super) fn understand(config: &ClientDocumentsConfig, issues: &mut Issues<'_>) -> Self {
        if !(60..=7 * 24 * 3600).contains(&config.cache_secs) {
            issues.add("cache_secs", "must be from 60 to 604800");
        }
        if config.fetches == 0 {
            issues.add("fetches", "must be at least 1");
        }
        if config.fetches_per_address == 0 {
            issues.add("fetches_per_address", "must be at least 1");
        }
        Self {
            bounds: Bounds::understand(&config.bounds(), config.private_addresses, "", issues),
            hosts: config.hosts.clone().map(BTreeSet::from_iter),
            redirects_to_other_hosts: config.redirects_to_other_hosts,
            cache: Duration::from_secs(config.cache_secs),
            fetches: config.fetches,
            fetches_per_address: config.fetches_per_address,
            private_addresses: config.private_addresses,
        }
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.bounds.scope
    }

    pub(super) fn signing_algorithms(&self) -> impl Iterator<Item = SigningAlgorithm> {
        self.bounds.id_token_algs.iter().copied()
    }

    /// Whether a document may be there at all.
    pub(crate) fn takes(&self, id: &DocumentUrl) -> bool {
        let hosts = self.hosts.as_ref();
        hosts.is_none_or(|hosts| hosts.contains(id.host()))
            && (self.private_addresses || public_web::may_be_public(id.url()))
    }

    /// What a document says, if all of it may be.
    pub(crate) fn checked(
        &self,
        registry: &Registry,
        id: &DocumentUrl,
        said: Said,
    ) -> Result<ClientMetadata, Flaw> {
        let metadata = self.bounds.checked(registry, said)?;
        if metadata
            .redirect_uris
            .iter()
            .all(|uri| self.is_at_home(id, uri))
        {
            Ok(metadata)
        } else {
            Err((
                ErrorCode::InvalidRedirectUri,
                "a redirect URI has another host than the document",
            ))
        }
    }

    fn is_at_home(&self, id: &DocumentUrl, uri: &str) -> bool {
        self.redirects_to_other_hosts
            || !uri.starts_with("https:")
            || Url::parse(uri).is_ok_and(|uri| uri.host() == id.0.host())
    }
}

impl Registry {
    /// The document that an id names. None: it names none, or a client of the configuration, enabled
    /// or not.
    pub(crate) fn document_of(&self, id: &str) -> Option<(&ClientDocuments, DocumentUrl)> {
        let documents = self.client_documents.as_ref()?;
        let url = DocumentUrl::read(id).filter(|url| documents.takes(url))?;
        (!self.clients.contains_key(id)).then_some((documents, url))
    }

    /// What a client of a document is now. None: nobody.
    pub(crate) fn documented(&self, id: &DocumentUrl, kept: &ClientMetadata) -> Option<Client> {
        let documents = self.client_documents.as_ref()?;
        let provenance = Provenance::Document {
            is_trusted_with_addresses: documents.private_addresses,
        };
        let bounds = &documents.bounds;
        let credential = registration::keys(kept);
        let mut client = bounds.client(self, id.as_str(), kept, credential, provenance)?;
        if !documents.takes(id) {
            return None;
        }
        client
            .redirect_uris
            .retain(|uri| documents.is_at_home(id, uri.as_str()));
        Some(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_one_url_and_no_other_spelling_of_it() {
        for good in [
            "https://app.example/client",
            "https://app.example:8443/a/b.json",
        ] {
            assert_eq!(DocumentUrl::read(good).unwrap().as_str(), good);
        }
        for bad in [
            "http://app.example/client",
            "https://app.example",
            "https://app.example/",
            "https://app.example/a/../client",
            "https://app.example/./client",
            "https://app.example/%2e%2e/client",
            "https://app.example/..",
            "https://user@app.example/client",
            "https://user:pass@app.example/client",
            "https://@app.example/client",
            "https://app.example/client#x",
            "https://app.example/client#",
            "https://app.example/client?x",
            "https://app.example/client?",
            "https://app.example:443/client",
            "https://App.example/client",
            "HTTPS://app.example/client",
            "https:app.example/client",
            "https:\\\\app.example/client",
            "https://app.example/cli ent",
            "https://app.example/cli\nent",
            "https://\u{430}pp.example/client",
            "https://127.0.0.1/client",
            "https://[::1]/client",
            "https://0x7f.1/client",
            &format!("https://app.example/{}", "x".repeat(500)),
        ] {
            assert!(DocumentUrl::read(bad).is_none(), "{bad}");
        }
    }
}
