//! Who calls by the certificate of the connection: one name in it, that an authority of the listener
//! vouches for.

use authzen::Properties;
use oauth::{Scope, SubjectFacts, SubjectKind};
use service_kit::{ClientCertificate, UnixTime};

use super::Vouched;
use super::mapping::Namespace;

/// How an issuer's certificates are read.
#[derive(Debug)]
pub(crate) struct CertificateRules {
    pub(crate) name: NameRule,
    pub(crate) kind: SubjectKind,
    /// What whoever has one may ask for.
    pub(crate) scope: Scope,
    pub(crate) namespace: Namespace,
}

/// Which name of a certificate its subject is called by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameRule {
    SubjectDn,
    SanDns,
    SanUri,
    SanEmail,
}

/// Longer names are not taken. Bytes.
const LONGEST_NAME: usize = 255;

impl CertificateRules {
    /// What the certificate says of whoever has it. None: nothing.
    ///
    /// SECURITY: of a certificate that no authority vouches for, names are what the client has written
    /// itself.
    pub(crate) fn vouch(&self, shown: &ClientCertificate) -> Option<Vouched> {
        let name = self.name.of(shown).filter(|_| shown.is_trusted)?;
        let sub = self.namespace.name(&name).ok()?;
        Some(Vouched {
            facts: SubjectFacts {
                kind: self.kind,
                client_id: sub.clone(),
                sub,
                scope: self.scope.clone(),
                username: None,
                auth_time: None,
                acr: None,
                amr: Vec::new(),
                act: None,
                api_key: None,
                attributes: Properties::new(),
            },
            confirmation: None,
            ends: UnixTime::from_secs(shown.not_after),
            forwarded: None,
        })
    }
}

impl NameRule {
    /// The one name of its kind. Of several (X509-SVID section 2), which is meant nobody says.
    fn of(self, shown: &ClientCertificate) -> Option<String> {
        let only = |names: &[String]| match names {
            [only] => Some(only.clone()),
            _ => None,
        };
        let name = match self {
            Self::SubjectDn => shown.subject.as_ref().map(ToString::to_string),
            Self::SanDns => only(&shown.dns_names),
            Self::SanUri => only(&shown.uris),
            Self::SanEmail => only(&shown.emails),
        }?;
        // Many clients', where it is a name of a host.
        let is_wild = self == Self::SanDns && name.contains('*');
        let is_odd = name.is_empty() || name.chars().any(char::is_control);
        (!is_wild && !is_odd && name.len() <= LONGEST_NAME).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(name: NameRule) -> CertificateRules {
        CertificateRules {
            name,
            kind: SubjectKind::Client,
            scope: Scope::parse("read").unwrap(),
            namespace: Namespace {
                own: "mesh:".into(),
                taken: Vec::new(),
            },
        }
    }

    fn shown() -> ClientCertificate {
        ClientCertificate {
            dns_names: vec!["a.test".into()],
            uris: vec!["spiffe://x/a".into()],
            emails: vec!["a@x.test".into()],
            subject: Some("CN=a,O=X".parse().unwrap()),
            not_after: 7,
            is_trusted: true,
            ..ClientCertificate::default()
        }
    }

    #[test]
    fn a_certificate_is_called_by_its_one_name_of_a_kind() {
        for (name, expected) in [
            (NameRule::SubjectDn, "mesh:CN=a,O=X"),
            (NameRule::SanDns, "mesh:a.test"),
            (NameRule::SanUri, "mesh:spiffe://x/a"),
            (NameRule::SanEmail, "mesh:a@x.test"),
        ] {
            let vouched = rules(name).vouch(&shown()).unwrap();
            assert_eq!((&*vouched.facts.sub, vouched.ends.as_secs()), (expected, 7));
            assert!(vouched.forwarded.is_none() && vouched.confirmation.is_none());
        }
    }

    #[test]
    fn without_an_authority_or_with_two_names_it_is_nobody() {
        let changes: [fn(&mut ClientCertificate); 6] = [
            |shown| shown.is_trusted = false,
            |shown| shown.uris.push("spiffe://x/b".into()),
            |shown| shown.uris.clear(),
            |shown| shown.uris = vec![String::new()],
            |shown| shown.uris = vec!["spiffe://x/\n".into()],
            |shown| shown.uris = vec!["x".repeat(256)],
        ];
        for change in changes {
            let mut shown = shown();
            change(&mut shown);
            assert!(rules(NameRule::SanUri).vouch(&shown).is_none(), "{shown:?}");
        }
        let mut wild = shown();
        wild.dns_names = vec!["*.test".into()];
        assert!(rules(NameRule::SanDns).vouch(&wild).is_none());
    }
}
