//! From configuration to a [`Registry`]: every problem is reported, none stops the search for
//! the next.

use std::collections::BTreeSet;
use std::sync::Arc;

use service_kit::ConfigIssue;
use url::Url;

use super::certificate::{Mtls, Written};
use super::issues::Issues;
use super::{
    ApiKeyRules, Client, ClientDocuments, Credential, DocumentUrl, Exchange, Provenance,
    Registration, Registry, Resource, ResourceServer, TransactionTokens, User,
};
use crate::config::{
    ClientConfig, GrantType, ResourceConfig, ResourceServerConfig, TokenServiceConfig, UserConfig,
};
use crate::password;
use crate::record::RegisteredClient;

/// Claims that a resource cannot ask for: the service writes them itself.
const RESERVED_CLAIMS: [&str; 19] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "client_id",
    "scope",
    "auth_time",
    "acr",
    "amr",
    "cnf",
    "act",
    "may_act",
    "azp",
    "nonce",
    "sid",
    "at_hash",
];

impl Registry {
    /// Builds what can be built and adds every problem to `issues`. With issues added, the
    /// result is not to be used.
    pub(crate) fn build(config: &TokenServiceConfig, issues: &mut Vec<ConfigIssue>) -> Self {
        let mut registry = Self {
            only_pushed: config.require_pushed_authorization_requests,
            mtls: Mtls::of(config.mtls.as_ref()),
            meanings: config.scope_meanings.clone(),
            ..Self::default()
        };
        for (index, resource) in config.resources.iter().enumerate() {
            let at = format!("token_service.resources[{index}]");
            registry.add_resource(resource, config, &mut Issues::at(at, issues));
        }
        let at = "token_service.transaction_tokens".to_owned();
        registry.transaction_tokens =
            TransactionTokens::understand(config, &mut Issues::at(at, issues));
        for (index, client) in config.clients.iter().enumerate() {
            let at = format!("token_service.clients[{index}]");
            registry.add_client(client, &mut Issues::at(at, issues));
        }
        for (index, user) in config.users.iter().enumerate() {
            let at = format!("token_service.users[{index}]");
            registry.add_user(user, &mut Issues::at(at, issues));
        }
        for (index, server) in config.resource_servers.iter().enumerate() {
            let at = format!("token_service.resource_servers[{index}]");
            registry.add_resource_server(server, &mut Issues::at(at, issues));
        }
        for (index, issuer) in config.assertion_issuers.iter().enumerate() {
            let at = format!("token_service.assertion_issuers[{index}]");
            let mut issues = Issues::at(at, issues);
            registry.add_assertion_issuer(issuer, &config.issuer, &mut issues);
        }
        registry.add_options(config, issues);
        let scopes = registry.scopes();
        for scope in config.scope_meanings.keys() {
            if !scopes.contains(scope) {
                issues.push(
                    ConfigIssue::new(format!(
                        "`token_service.scope_meanings`: no client may have the scope `{scope}`"
                    ))
                    .hint("the scopes of clients are in `clients[].scope`"),
                );
            }
        }
        registry.check_names(config, &mut |key, problem| {
            issues.push(ConfigIssue::new(format!(
                "`token_service.{key}`: {problem}"
            )));
        });
        registry
    }

    /// What is there only where it is configured, and is named by nothing else.
    fn add_options(&mut self, config: &TokenServiceConfig, issues: &mut Vec<ConfigIssue>) {
        if let Some(api_keys) = &config.api_keys {
            let at = "token_service.api_keys".to_owned();
            let understood = ApiKeyRules::understand(api_keys, &mut Issues::at(at, issues));
            self.api_keys = Some(understood);
        }
        if let Some(registration) = &config.registration {
            let at = "token_service.registration".to_owned();
            let understood = Registration::understand(registration, &mut Issues::at(at, issues));
            self.registration = Some(understood);
        }
        if let Some(documents) = &config.client_id_metadata_documents {
            let at = "token_service.client_id_metadata_documents".to_owned();
            let understood = ClientDocuments::understand(documents, &mut Issues::at(at, issues));
            self.client_documents = Some(understood);
        }
    }

    fn add_resource(
        &mut self,
        config: &ResourceConfig,
        whole: &TokenServiceConfig,
        issues: &mut Issues<'_>,
    ) {
        match Url::parse(&config.id) {
            Ok(url) if url.fragment().is_some() => issues.add("id", "must not have a fragment"),
            Ok(_) => {}
            Err(_) => issues.add("id", "must be an absolute URI"),
        }
        for claim in &config.claims {
            if RESERVED_CLAIMS.contains(&claim.as_str()) {
                issues.add("claims", &format!("`{claim}` is always the service's own"));
            }
        }
        let jwt_ttl_secs = config.jwt_ttl_secs.unwrap_or(whole.ttl.jwt_secs);
        if !(1..=3600).contains(&jwt_ttl_secs) {
            issues.add("jwt_ttl_secs", "must be from 1 to 3600");
        }
        let resource = Resource {
            id: config.id.clone(),
            scope: issues.scope(&config.scope),
            claims: config.claims.clone(),
            jwt_ttl_secs,
            jwt_alg: config.jwt_alg,
            claims_by_policy: config.claims_by_policy,
        };
        if self
            .resources
            .insert(resource.id.clone(), resource)
            .is_some()
        {
            issues.add("id", &format!("`{}` is there twice", config.id));
        }
    }

    fn add_client(&mut self, config: &ClientConfig, issues: &mut Issues<'_>) {
        issues.id(&config.id);
        if RegisteredClient::is_id(&config.id) {
            issues.add(
                "id",
                "looks like one of a client that has registered itself",
            );
        }
        issues.not_federated("id", &config.id);
        let credential = self.client_credential(config, issues);
        let grant_types: BTreeSet<_> = config.grant_types.iter().copied().collect();
        check_grant_types(config, &grant_types, issues);
        if !config.require_pkce && credential.is_none() {
            issues.add(
                "require_pkce",
                "of a client without a credential must not be `false`: whoever finds a code could use it",
            );
        }
        let redirect_uris = issues.uris("redirect_uris", &config.redirect_uris);
        let after_logout = &config.post_logout_redirect_uris;
        let post_logout_redirect_uris = issues.uris("post_logout_redirect_uris", after_logout);
        let backchannel_logout = config.backchannel_logout_uri.as_deref();
        let client = Client {
            id: config.id.clone(),
            name: config.name.clone().unwrap_or_else(|| config.id.clone()),
            credential,
            grant_types,
            redirect_uris,
            post_logout_redirect_uris,
            backchannel_logout: backchannel_logout
                .and_then(|uri| issues.web_uri("backchannel_logout_uri", uri)),
            scope: issues.scope(&config.scope),
            attributes: config.attributes.clone(),
            consent: config.consent,
            only_pushed: config.require_pushed_authorization_requests,
            requires_pkce: config.require_pkce,
            id_token_alg: config.id_token_signed_response_alg,
            only_bound: config.dpop_bound_access_tokens,
            certificate_bound: config.tls_client_certificate_bound_access_tokens,
            exchange: Exchange::build(config, self, issues),
            may_act: config.may_act.clone().map(BTreeSet::from_iter),
            disabled: config.disabled,
            provenance: Provenance::Configured,
        };
        let client = Arc::new(client);
        if self.clients.insert(client.id.clone(), client).is_some() {
            issues.add("id", &format!("`{}` is there twice", config.id));
        }
    }

    /// None: public, or nothing that can be used.
    fn client_credential(
        &self,
        config: &ClientConfig,
        issues: &mut Issues<'_>,
    ) -> Option<Credential> {
        let written = Written {
            by_authority: config.tls_client_auth.as_ref(),
            self_signed: config.self_signed_tls_client_auth.as_ref(),
        };
        let credential = issues.credential(config.secret_hash.as_ref(), config.jwks.as_ref());
        let credential = issues.with_certificates(credential, written, self.mtls);
        let is_given =
            config.secret_hash.is_some() || config.jwks.is_some() || !written.is_nothing();
        match (&credential, config.public) {
            (Some(_), true) => issues.add(
                "public",
                "such a client has no secret, no keys and no certificate to be known by",
            ),
            (None, false) if !is_given => {
                issues.add(
                    "secret_hash",
                    "is missing; or give `jwks`, `tls_client_auth` or \
                     `self_signed_tls_client_auth`, or say `public: true`",
                );
            }
            _ => {}
        }
        if let Some(credential) = &credential {
            let others = self.clients.values();
            let mut others = others.filter_map(|other| other.credential.as_ref());
            if others.any(|other| other.shares_certificate(credential)) {
                issues.add("id", "its certificate is another client's, too");
            }
        }
        if config.tls_client_certificate_bound_access_tokens {
            let key = "tls_client_certificate_bound_access_tokens";
            if self.mtls == Mtls::None {
                issues.add(key, "needs `token_service.mtls`: nobody sees certificates");
            }
            if config.dpop_bound_access_tokens {
                issues.add(key, "cannot be given beside `dpop_bound_access_tokens`");
            }
        }
        credential
    }

    fn add_user(&mut self, config: &UserConfig, issues: &mut Issues<'_>) {
        let sub = config
            .sub
            .clone()
            .unwrap_or_else(|| config.username.clone());
        if sub.is_empty() || sub.len() > 255 || config.username.is_empty() {
            issues.add("username", "must not be empty, and `sub` at most 255 bytes");
        }
        issues.not_federated("sub", &sub);
        // RFC 9700 section 4.15: no client may pass for a user.
        let could_be_one = RegisteredClient::is_id(&sub) || DocumentUrl::read(&sub).is_some();
        if self.clients.contains_key(&sub) || could_be_one {
            issues.add(
                "sub",
                &format!("`{sub}` is the id of a client, or could be"),
            );
        }
        if let Some(problem) = password::problem(config.password_hash.reveal()) {
            issues.add("password_hash", problem);
        }
        let username = config.username.to_lowercase();
        if self.usernames.insert(username, sub.clone()).is_some() {
            issues.add("username", &format!("`{}` is there twice", config.username));
        }
        let user = User {
            sub: sub.clone(),
            username: config.username.clone(),
            password_hash: Some(config.password_hash.clone()),
            name: config.name.clone(),
            email: config.email.clone(),
            attributes: config.attributes.clone(),
            may_act: config.may_act.clone().map(BTreeSet::from_iter),
            disabled: config.disabled,
        };
        if self.users.insert(sub.clone(), Arc::new(user)).is_some() {
            issues.add("sub", &format!("`{sub}` is there twice"));
        }
    }

    fn add_resource_server(&mut self, config: &ResourceServerConfig, issues: &mut Issues<'_>) {
        issues.id(&config.id);
        if config.resources.is_empty() {
            issues.add("resources", "must name at least one resource");
        }
        for resource in &config.resources {
            if !self.resources.contains_key(resource) {
                issues.add(
                    "resources",
                    &format!("`{resource}` is not among `resources`"),
                );
            }
        }
        let written = Written {
            by_authority: config.tls_client_auth.as_ref(),
            self_signed: config.self_signed_tls_client_auth.as_ref(),
        };
        let credential = issues.credential(config.secret_hash.as_ref(), config.jwks.as_ref());
        let credential = issues.with_certificates(credential, written, self.mtls);
        if let Some(credential) = &credential {
            let others = self.resource_servers.values();
            let mut others = others.filter_map(|other| other.credential.as_ref());
            if others.any(|other| other.shares_certificate(credential)) {
                issues.add("id", "its certificate is another resource server's, too");
            }
        }
        let server = ResourceServer {
            id: config.id.clone(),
            credential,
            introspection_alg: config.introspection_signed_response_alg,
            resources: config.resources.clone(),
        };
        if self
            .resource_servers
            .insert(server.id.clone(), server)
            .is_some()
        {
            issues.add("id", &format!("`{}` is there twice", config.id));
        }
    }
}

fn check_grant_types(
    config: &ClientConfig,
    grant_types: &BTreeSet<GrantType>,
    issues: &mut Issues<'_>,
) {
    if grant_types.is_empty() {
        issues.add("grant_types", "must name at least one");
    }
    let code = grant_types.contains(&GrantType::AuthorizationCode);
    if code == config.redirect_uris.is_empty() {
        issues.add(
            "redirect_uris",
            "belong to `authorization_code`: give both, or neither",
        );
    }
    let mut others = grant_types.iter();
    if grant_types.contains(&GrantType::RefreshToken) && !others.any(|it| it.is_renewable()) {
        issues.add(
            "grant_types",
            "`refresh_token` needs `authorization_code` or `device_code`",
        );
    }
    if grant_types.contains(&GrantType::ClientCredentials) && config.public {
        issues.add(
            "grant_types",
            "`client_credentials` needs a client with a secret",
        );
    }
}
