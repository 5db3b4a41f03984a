//! `id_token_hint` (OpenID Connect Core section 3.1.2.1, RP-Initiated Logout section 2): an ID token of ours,
//! alive or expired, that a client has sent back to say whom it means.

use jose::{Accepted, Unverified};
use serde_json::Value;

use super::browser::LoggedIn;
use crate::core::Core;

const ID_TOKENS: Accepted = Accepted {
    types: &["jwt"],
    untyped: false,
};

/// What it says.
#[derive(Debug)]
pub(super) struct Hint {
    pub(super) sub: String,
    /// The login that it is of.
    pub(super) sid: Option<String>,
    pub(super) client: String,
}

impl Hint {
    /// None: it was never ours, or its key is gone.
    pub(super) fn read(core: &Core, text: &str) -> Option<Self> {
        let unverified = Unverified::read(text, ID_TOKENS).ok()?;
        let claims = unverified.verify(&core.keys.verifying()).ok()?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(core.issuer.as_str()) {
            return None;
        }
        Some(Self {
            sub: text("sub")?.to_owned(),
            sid: text("sid").map(str::to_owned),
            client: text("aud")?.to_owned(),
        })
    }

    /// Whether it is of this very login.
    pub(super) fn is_of(&self, logged_in: &LoggedIn) -> bool {
        let session = &logged_in.session;
        self.sub == session.sub && self.sid.as_deref() == Some(&session.authentication.sid)
    }
}
