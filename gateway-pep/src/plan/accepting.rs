//! Which issuers each route accepts: names of the configuration, as sets that many routes may share.

use service_kit::ConfigIssue;

use crate::config::{Config, RouteConfig};
use crate::headers::Reserved;
use crate::identity::accepted::Accepted;
use crate::identity::issuer::{Issuer, Kind};

/// The sets so far.
#[derive(Debug)]
pub(super) struct Accepting<'c> {
    config: &'c Config,
    issuers: &'c [Issuer],
    /// Names of headers that no client can say anything by.
    pub(super) reserved: &'c Reserved,
    pub(super) sets: Vec<Accepted>,
}

impl<'c> Accepting<'c> {
    pub(super) fn new(config: &'c Config, issuers: &'c [Issuer], reserved: &'c Reserved) -> Self {
        Self {
            config,
            issuers,
            reserved,
            sets: Vec::new(),
        }
    }

    /// The set of a route, by its index.
    pub(super) fn of(&mut self, route: &RouteConfig) -> Result<usize, ConfigIssue> {
        let names = self.config.issuers_of(route);
        let key = if route.issuers.is_some() {
            "issuers"
        } else {
            "gateway.default_issuers"
        };
        if names.is_empty() {
            return Err(
                ConfigIssue::new(format!("`{key}` is empty, so nobody could ever pass"))
                    .hint("name an issuer, or say `public: true`"),
            );
        }
        let mut indices = Vec::new();
        for name in names {
            let Some(index) = self.index(name, key)? else {
                continue;
            };
            if !indices.contains(&index) {
                indices.push(index);
            }
            self.check_audience(index, route)?;
        }
        let set = Accepted::new(&indices, self.issuers).map_err(|(one, other)| {
            let (one, other) = (self.name(one), self.name(other));
            ConfigIssue::new(format!(
                "`{key}`: a token could be one of `{one}` or of `{other}`, and only one of them may \
                 see it"
            ))
            .hint(
                "keep one: of the token service and all that are asked by introspection there can be \
                 but one, and of those with one `issuer` and those of kind `certificate`, too",
            )
        })?;
        if let Some(known) = self.sets.iter().position(|known| *known == set) {
            return Ok(known);
        }
        self.sets.push(set);
        Ok(self.sets.len() - 1)
    }

    /// None: it is configured and could not be compiled, which is told already.
    fn index(&self, name: &str, key: &str) -> Result<Option<usize>, ConfigIssue> {
        let mut issuers = self.issuers.iter();
        let found = issuers.position(|issuer| *issuer.name == *name);
        let is_told = self.config.gateway.issuers.contains_key(name);
        match found {
            Some(index) => Ok(Some(index)),
            None if is_told => Ok(None),
            None => Err(
                ConfigIssue::new(format!("`{key}`: there is no issuer `{name}`"))
                    .hint("name it under `gateway.issuers`, or write `token_service`"),
            ),
        }
    }

    fn name(&self, index: usize) -> &str {
        self.issuers.get(index).map_or("", |issuer| &*issuer.name)
    }

    /// Whoever says for whom its tokens are must be told whom we mean.
    fn check_audience(&self, index: usize, route: &RouteConfig) -> Result<(), ConfigIssue> {
        let wants_resource = match self.issuers.get(index).map(|issuer| &issuer.kind) {
            Some(Kind::Jwt(rules)) => rules.audiences.is_empty(),
            Some(Kind::Introspection(asked)) => asked.audiences.is_empty(),
            Some(Kind::TokenService(_) | Kind::Certificate(_)) | None => false,
        };
        let mut upstreams = route.upstream.all();
        let is_said = upstreams.all(|(name, _)| {
            let upstream = self.config.upstreams.get(name);
            upstream.is_none_or(|upstream| upstream.resource.is_some())
        });
        if !wants_resource || is_said {
            return Ok(());
        }
        Err(ConfigIssue::new(format!(
            "nothing says for which audience tokens of `{}` must be here",
            self.name(index)
        ))
        .hint("give the upstream its `resource`, or the issuer its `audiences`"))
    }
}
