//! Passwords of people: Argon2id, a few at a time, and the same work for a user who does not
//! exist.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use service_kit::random;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use crate::error::{TokenServiceError, Trouble};

/// Verifies passwords off the runtime's threads. Clones share the bound.
#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    permits: Arc<Semaphore>,
    /// What is verified where there is no user.
    decoy: Arc<str>,
}

/// One of a few that verify at the same time. Whoever counts what came of it holds it until that is done.
#[derive(Debug)]
pub(crate) struct Turn {
    permit: Arc<OwnedSemaphorePermit>,
    decoy: Arc<str>,
}

/// Each verification holds about 19 MiB and a core for tens of milliseconds.
const AT_ONCE: usize = 4;
/// Whoever waits longer for a turn is told to come back.
const PATIENCE: Duration = Duration::from_secs(5);
/// A hash that asks for more than this is a way to stop the service. KiB.
const MAX_MEMORY: u32 = 1 << 20;

/// Makes the PHC string that `password_hash` in the configuration wants.
pub fn hash_password(password: &str) -> Result<String, TokenServiceError> {
    hash_with(Params::default(), password.as_bytes()).ok_or(TokenServiceError::Crypto {
        message: "password hashing",
    })
}

/// What is wrong with a PHC string, if anything.
pub(crate) fn problem(phc: &str) -> Option<&'static str> {
    let Ok(hash) = PasswordHash::new(phc) else {
        return Some("is not a PHC string; passwords are given as Argon2id hashes, never plain");
    };
    if hash.algorithm.as_str() != "argon2id" {
        return Some("is not an Argon2id hash");
    }
    match Params::try_from(&hash) {
        Ok(params) if params.m_cost() > MAX_MEMORY => Some("asks for more than 1 GiB of memory"),
        Ok(_) if hash.hash.is_none() || hash.salt.is_none() => Some("lacks its salt or its hash"),
        Ok(_) => None,
        Err(_) => Some("has parameters that Argon2 does not know"),
    }
}

impl Passwords {
    /// `like`: a hash whose cost the decoy copies, so that time tells nothing.
    pub(crate) fn new(like: Option<&str>) -> Result<Self, Trouble> {
        let params = like
            .and_then(|phc| PasswordHash::new(phc).ok())
            .and_then(|hash| Params::try_from(&hash).ok())
            .unwrap_or_default();
        let decoy = decoy(&params)?;
        Ok(Self {
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            decoy: decoy.into(),
        })
    }

    /// Waits for a turn.
    pub(crate) async fn turn(&self) -> Result<Turn, Trouble> {
        let permit = tokio::time::timeout(PATIENCE, self.permits.clone().acquire_owned())
            .await
            .map_err(|_| Trouble::Busy)?
            .map_err(|_| Trouble::Busy)?;
        Ok(Turn {
            permit: Arc::new(permit),
            decoy: self.decoy.clone(),
        })
    }
}

impl Turn {
    /// Whether the password fits. None is a user who does not exist: never true, and as slow.
    pub(crate) async fn verify(
        &self,
        phc: Option<&str>,
        password: Zeroizing<String>,
    ) -> Result<bool, Trouble> {
        let permit = self.permit.clone();
        let exists = phc.is_some();
        let phc: Arc<str> = phc.map_or_else(|| self.decoy.clone(), Arc::from);
        let fits = tokio::task::spawn_blocking(move || {
            // The permit lives as long as the work, also where nobody waits for it any more.
            let _permit = permit;
            PasswordHash::new(&phc).is_ok_and(|hash| {
                Argon2::default()
                    .verify_password(password.as_bytes(), &hash)
                    .is_ok()
            })
        })
        .await
        .map_err(|_| Trouble::Crypto {
            message: "password hashing",
        })?;
        Ok(fits && exists)
    }
}

/// A PHC string of this cost that no password is known for: nothing is hashed for it, which would take time and,
/// as allocators are, the memory for good.
fn decoy(params: &Params) -> Result<String, Trouble> {
    let (memory, times, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    let salt = STANDARD_NO_PAD.encode(random::bytes::<16>()?);
    let hash = STANDARD_NO_PAD.encode(random::bytes::<32>()?);
    Ok(format!(
        "$argon2id$v=19$m={memory},t={times},p={lanes}${salt}${hash}"
    ))
}

/// A PHC string of this cost.
pub(crate) fn hash_with(params: Params, password: &[u8]) -> Option<String> {
    let salt = random::bytes::<16>().ok()?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_with_salt(password, &salt)
        .ok()
        .map(|hash: PasswordHash| hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_an_existing_user_fits() {
        let phc = hash_password("correct horse").unwrap();
        let passwords = Passwords::new(Some(&phc)).unwrap();
        let verify = async |phc, text: &str| {
            let turn = passwords.turn().await.unwrap();
            turn.verify(phc, Zeroizing::new(text.to_owned()))
                .await
                .unwrap()
        };
        assert!(verify(Some(phc.as_str()), "correct horse").await);
        assert!(!verify(Some(phc.as_str()), "wrong").await);
        assert!(!verify(None, "correct horse").await);
    }

    #[test]
    fn a_decoy_is_a_hash_of_the_same_cost_and_another_one_each_time() {
        let like = hash_with(Params::new(64, 3, 2, None).unwrap(), b"x").unwrap();
        let decoys = [(); 2].map(|()| Passwords::new(Some(&like)).unwrap().decoy);
        assert_ne!(decoys[0], decoys[1]);
        for decoy in decoys {
            assert_eq!(problem(&decoy), None);
            let cost = |phc| Params::try_from(&PasswordHash::new(phc).unwrap()).unwrap();
            assert_eq!(cost(&decoy), cost(&like));
        }
    }

    #[test]
    fn hashes_that_are_plain_or_foreign_are_named() {
        assert_eq!(problem(&hash_password("x").unwrap()), None);
        assert!(problem("hunter2").unwrap().contains("never plain"));
        let argon2i = "$argon2i$v=19$m=16,t=2,p=1$MTIzNDU2Nzg$pZYz5zX4j5m0Kw";
        assert!(problem(argon2i).is_some());
        let huge = "$argon2id$v=19$m=4194304,t=1,p=1$MTIzNDU2Nzg$MTIzNDU2NzgxMjM0NTY3OA";
        assert!(problem(huge).is_some());
    }
}
