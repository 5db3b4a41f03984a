//! The form of everything opaque that leaves the service: `cg_<kind>_`, 43 characters of
//! randomness, 6 of checksum, all of `[A-Za-z0-9_-]`.
//!
//! The kind and the checksum are looked at before any I/O: they cost nothing, tell kinds apart
//! for secret scanners, and prove nothing. What counts is the keyed hash of the exact text.

mod user_code;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use service_kit::{digest, random};
use zeroize::Zeroizing;

use crate::error::Trouble;
use crate::secrets::Secrets;
pub(crate) use user_code::UserCode;

/// What an opaque string is. Kinds are never interchangeable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    AccessToken,
    RefreshToken,
    AuthorizationCode,
    /// Cookie of a login.
    Session,
    /// Cookie that tells browsers apart before anybody logged in.
    Browser,
    /// Names an authorization request that waits for a person.
    Interaction,
    /// Names an authorization request that its client has pushed (RFC 9126).
    PushedRequest,
    /// What a device polls with (RFC 8628).
    DeviceCode,
    /// With which a registered client changes itself (RFC 7592).
    RegistrationToken,
    /// The `state` of a browser that logs in at an identity provider.
    FederatedLogin,
    /// The `state` of one that logs out there.
    UpstreamLogout,
    /// Names a logout request that an application's page has posted.
    LogoutRequest,
    /// Lasts, and is shown in the place of an access token.
    ApiKey,
}

/// A fresh opaque string. It leaves in the answer that it was made for, and nowhere else.
pub(crate) struct Minted {
    text: Zeroizing<String>,
    pub(crate) handle: Handle,
}

/// Names the record of an opaque string: its keyed hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handle(String);

/// Why a text is not an opaque string of a kind. For the audit log only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormError {
    #[error("not a token of ours")]
    Foreign,
    #[error("a token of another kind")]
    OtherKind,
    #[error("the checksum does not fit")]
    Checksum,
}

const RANDOM: usize = 43;
const CHECKSUM: usize = 6;

impl Kind {
    const ALL: [Self; 13] = [
        Self::AccessToken,
        Self::RefreshToken,
        Self::AuthorizationCode,
        Self::Session,
        Self::Browser,
        Self::Interaction,
        Self::PushedRequest,
        Self::DeviceCode,
        Self::RegistrationToken,
        Self::FederatedLogin,
        Self::UpstreamLogout,
        Self::LogoutRequest,
        Self::ApiKey,
    ];

    /// All are of one length.
    fn prefix(self) -> &'static str {
        match self {
            Self::AccessToken => "cg_at_",
            Self::RefreshToken => "cg_rt_",
            Self::AuthorizationCode => "cg_ac_",
            Self::Session => "cg_ss_",
            Self::Browser => "cg_bw_",
            Self::Interaction => "cg_in_",
            Self::PushedRequest => "cg_pr_",
            Self::DeviceCode => "cg_dc_",
            Self::RegistrationToken => "cg_rg_",
            Self::FederatedLogin => "cg_fl_",
            Self::UpstreamLogout => "cg_uo_",
            Self::LogoutRequest => "cg_lo_",
            Self::ApiKey => "cg_ak_",
        }
    }

    /// Makes a new one.
    pub(crate) fn mint(self, secrets: &Secrets) -> Result<Minted, Trouble> {
        let random = Zeroizing::new(random::bytes::<32>()?);
        Ok(self.made_of(&random, secrets))
    }

    /// The one that comes after a token: the same for whoever has its text and the seed.
    pub(crate) fn after(self, token: &str, seed: &str, secrets: &Secrets) -> Minted {
        let material = secrets.successor(self.prefix(), seed, token);
        self.made_of(&material, secrets)
    }

    fn made_of(self, material: &[u8; 32], secrets: &Secrets) -> Minted {
        let mut text = Zeroizing::new(String::with_capacity(64));
        text.push_str(self.prefix());
        URL_SAFE_NO_PAD.encode_string(material, &mut text);
        let checksum = checksum(&text);
        text.push_str(&checksum);
        let handle = Handle(secrets.token_hash(&text));
        Minted { text, handle }
    }

    /// The handle of a text that has the form of this kind.
    pub(crate) fn read(self, text: &str, secrets: &Secrets) -> Result<Handle, FormError> {
        let rest = text
            .strip_prefix(self.prefix())
            .ok_or_else(|| Self::mismatch(text))?;
        let body = text
            .len()
            .checked_sub(CHECKSUM)
            .filter(|_| rest.len() == RANDOM + CHECKSUM)
            .and_then(|at| text.split_at_checked(at))
            .filter(|_| rest.bytes().all(is_token_byte));
        let (body, given) = body.ok_or(FormError::Foreign)?;
        if checksum(body) != given {
            return Err(FormError::Checksum);
        }
        Ok(Handle(secrets.token_hash(text)))
    }

    fn mismatch(text: &str) -> FormError {
        if Self::ALL.iter().any(|kind| text.starts_with(kind.prefix())) {
            FormError::OtherKind
        } else {
            FormError::Foreign
        }
    }
}

impl Minted {
    /// The string itself: for the answer, never for a record or a log.
    pub(crate) fn reveal(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Minted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Minted(…)")
    }
}

impl Handle {
    /// As a record has it.
    pub(crate) fn kept(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Six characters of the SHA-256 of what comes before them.
fn checksum(body: &str) -> String {
    digest::sha256_base64url(body.as_bytes())
        .chars()
        .take(CHECKSUM)
        .collect()
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secrets() -> Secrets {
        Secrets::derive(&[1; 32]).unwrap()
    }

    #[test]
    fn a_token_is_read_back_only_as_its_own_kind() {
        let secrets = secrets();
        for kind in Kind::ALL {
            let minted = kind.mint(&secrets).unwrap();
            assert_eq!(minted.reveal().len(), 55);
            for other in Kind::ALL {
                let read = other.read(minted.reveal(), &secrets);
                if other == kind {
                    assert_eq!(read.unwrap(), minted.handle);
                } else {
                    assert_eq!(read.unwrap_err(), FormError::OtherKind);
                }
            }
        }
    }

    #[test]
    fn no_prefix_and_no_change_of_one_character_has_the_form() {
        let secrets = secrets();
        let minted = Kind::AccessToken.mint(&secrets).unwrap();
        let text = minted.reveal();
        for length in 0..text.len() {
            assert!(
                Kind::AccessToken
                    .read(text.split_at(length).0, &secrets)
                    .is_err()
            );
        }
        for at in 0..text.len() {
            let mut other: Vec<char> = text.chars().collect();
            other[at] = if other[at] == 'A' { 'B' } else { 'A' };
            let other: String = other.into_iter().collect();
            assert!(Kind::AccessToken.read(&other, &secrets).is_err(), "{at}");
        }
        assert!(
            Kind::AccessToken
                .read(&format!("{text} "), &secrets)
                .is_err()
        );
        assert_eq!(format!("{minted:?}"), "Minted(…)");
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_accepts_nothing_made_up(text in "(cg_at_)?\\PC{0,60}") {
            prop_assert!(Kind::AccessToken.read(&text, &secrets()).is_err());
        }
    }
}
