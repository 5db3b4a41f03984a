//! Nonces for DPoP proofs (RFC 9449 section 8): made of the time and a key of the server's, so that
//! nothing is kept, and every replica with the same key knows those of the others.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The nonces of one server. `Debug` hides the key.
#[derive(Clone)]
pub struct DpopNonces(hmac::Key);

/// A nonce is said for so long, and good for as long again. Seconds.
const PERIOD: u64 = 120;

impl fmt::Debug for DpopNonces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DpopNonces(…)")
    }
}

impl DpopNonces {
    /// By a key that serves nothing else.
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// What proofs are to repeat now. `now` is in Unix seconds.
    pub fn current(&self, now: u64) -> String {
        self.of(now / PERIOD)
    }

    /// Whether a nonce is the present one, or the one before.
    pub fn is_good(&self, nonce: &str, now: u64) -> bool {
        let period = now / PERIOD;
        let good = [period, period.saturating_sub(1)];
        good.into_iter().any(|period| self.of(period) == nonce)
    }

    fn of(&self, period: u64) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, &period.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_for_its_period_and_the_next() {
        let nonces = DpopNonces::new(&[7; 32]);
        let nonce = nonces.current(10 * PERIOD);
        for (now, expected) in [(10, true), (11, true), (12, false), (9, false)] {
            assert_eq!(nonces.is_good(&nonce, now * PERIOD + PERIOD - 1), expected);
        }
        let others = DpopNonces::new(&[8; 32]);
        assert!(!others.is_good(&nonce, 10 * PERIOD));
        assert!(!nonces.is_good("", 10 * PERIOD));
    }

    #[test]
    fn the_key_is_not_shown() {
        assert_eq!(format!("{:?}", DpopNonces::new(b"secret")), "DpopNonces(…)");
    }
}
