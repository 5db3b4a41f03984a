//! How many passwords may be guessed: for one username from one network, for one username from all
//! networks together, and from one network for all usernames together.

use http::request::Parts;
use service_kit::digest;

use crate::audit::audit;
use crate::core::Core;
use crate::error::Trouble;
use crate::http::request;
use crate::network::Network;
use crate::record::{self, LoginPause};

/// One attempt to log in by a password.
pub(super) struct Attempt {
    network: Network,
    /// Hashed: it may be long, and a password that went into the wrong field.
    username: String,
}

impl Attempt {
    pub(super) fn of(parts: &Parts, username: &str) -> Self {
        Self {
            network: request::peer_network(parts),
            username: digest::sha256_base64url(username.to_lowercase().as_bytes()),
        }
    }

    /// Counts the attempt, and says whether the password may be looked at: before it is, for that is
    /// the dear part.
    pub(super) async fn may_be_made(&self, core: &Core) -> Result<bool, Trouble> {
        let (network, username) = (&self.network, &self.username);
        let key = format!("login-attempts:{network}:{username}");
        let attempts = core.store.count(&key, core.attempts.window).await?;
        if attempts > core.attempts.most {
            self.refuse("too many attempts");
            return Ok(false);
        }
        self.is_open(core).await
    }

    /// Whether not too many passwords have been wrong. Asked again when it is its turn: others may have been
    /// wrong meanwhile.
    pub(super) async fn is_open(&self, core: &Core) -> Result<bool, Trouble> {
        for (counted, _) in self.counted(core) {
            let pause = record::load::<LoginPause>(&*core.store, &counted).await?;
            if pause.is_some_and(|pause| core.now() < pause.record.exp) {
                self.refuse("too many wrong passwords");
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The password was wrong. Right ones are not counted here: a network, or a proxy, may be that of
    /// many people.
    pub(super) async fn has_failed(&self, core: &Core) -> Result<(), Trouble> {
        for (counted, most) in self.counted(core) {
            let key = format!("login-failures:{counted}");
            if core.store.count(&key, core.attempts.window).await? < most {
                continue;
            }
            let now = core.now();
            let exp = now.plus(core.attempts.window);
            record::keep(&*core.store, &counted, &LoginPause { exp }, exp, now).await?;
        }
        Ok(())
    }

    /// What wrong passwords are counted by, and how many may come in a window.
    fn counted(&self, core: &Core) -> [(String, u64); 2] {
        let attempts = &core.attempts;
        [
            (
                format!("username:{}", self.username),
                attempts.failures_per_username,
            ),
            (
                format!("network:{}", self.network),
                attempts.failures_per_address,
            ),
        ]
    }

    fn refuse(&self, reason: &str) {
        audit!("login_refused", reason = reason, address = self.network);
    }
}
