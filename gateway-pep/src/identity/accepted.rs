//! Which issuers a route takes tokens of, and which of them a token is for: by what the token is, not
//! by who would take it.
//!
//! A token is shown to one issuer at most. Whoever is asked about a token learns it.

use super::issuer::{Issuer, Kind};

/// A set of issuers that some route accepts, by their indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Known by `iss`.
    named: Vec<usize>,
    /// Who is asked about a token that says nothing.
    asked: Option<usize>,
    /// Who vouches for certificates.
    certificate: Option<usize>,
}

impl Accepted {
    /// Whoever says what tokens are worth is asked; of those there can be but one. The error names
    /// two that could be meant.
    pub(crate) fn new(of: &[usize], issuers: &[Issuer]) -> Result<Self, (usize, usize)> {
        let mut accepted = Self {
            named: Vec::new(),
            asked: None,
            certificate: None,
        };
        for index in of {
            let Some(issuer) = issuers.get(*index) else {
                continue;
            };
            if let Some(url) = issuer.url() {
                let named = accepted.named.iter();
                let mut same = named.filter(|other| {
                    let other = issuers.get(**other);
                    other.and_then(Issuer::url) == Some(url)
                });
                if let Some(other) = same.next() {
                    return Err((*other, *index));
                }
                accepted.named.push(*index);
            }
            let one_of = match issuer.kind {
                Kind::Jwt(_) => continue,
                Kind::TokenService(_) | Kind::Introspection(_) => &mut accepted.asked,
                Kind::Certificate(_) => &mut accepted.certificate,
            };
            if let Some(other) = one_of.replace(*index) {
                return Err((other, *index));
            }
        }
        Ok(accepted)
    }

    pub(crate) fn indices(&self) -> impl Iterator<Item = usize> {
        let asked = self
            .asked
            .iter()
            .filter(|asked| !self.named.contains(asked));
        let all = self.named.iter().chain(asked).chain(&self.certificate);
        all.copied()
    }

    /// Who says whose a certificate is. None: it says nothing here.
    pub(crate) fn by_certificate(&self) -> Option<usize> {
        self.certificate
    }

    /// Whose token it is to be taken for. None: nobody's that is accepted here.
    ///
    /// SECURITY: a JWT of an issuer that is configured is that issuer's alone. Where it is not
    /// accepted, nobody else is asked about it.
    pub(crate) fn issuer_of(&self, token: &str, issuers: &[Issuer]) -> Option<usize> {
        let can_be = |index: &usize| {
            let issuer = issuers.get(*index);
            issuer.is_some_and(|issuer| issuer.can_have_made(token))
        };
        let asked = self.asked.filter(can_be);
        if self.named.is_empty() && asked.is_none() {
            // Whatever it claims.
            return None;
        }
        let claimed = jose::claimed_issuer(token);
        let Some(claimed) = claimed else {
            return asked;
        };
        let is_it = |issuer: &Issuer| issuer.url() == Some(&claimed);
        let mut named = self.named.iter().copied();
        let accepted = named.find(|index| issuers.get(*index).is_some_and(is_it));
        match accepted {
            Some(index) => Some(index),
            None if issuers.iter().any(is_it) => None,
            None => asked,
        }
    }
}
