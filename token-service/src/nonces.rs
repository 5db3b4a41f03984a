//! Nonces for DPoP proofs (RFC 9449 section 8): made of the time and a key of ours, so that nothing is
//! kept, and every replica knows those of the others.

use service_kit::UnixTime;

use crate::secrets::Secrets;

/// A nonce is said for so long, and good for as long again. Seconds.
const PERIOD: u64 = 120;

/// What proofs are to repeat now.
pub(crate) fn current(secrets: &Secrets, now: UnixTime) -> String {
    secrets.nonce(now.as_secs() / PERIOD)
}

/// Whether a nonce is the present one, or the one before.
pub(crate) fn is_good(secrets: &Secrets, nonce: &str, now: UnixTime) -> bool {
    let period = now.as_secs() / PERIOD;
    let good = [period, period.saturating_sub(1)];
    good.into_iter()
        .any(|period| secrets.nonce(period) == nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_for_its_period_and_the_next() {
        let secrets = Secrets::derive(&[7; 32]).unwrap();
        let at = UnixTime::from_secs;
        let nonce = current(&secrets, at(10 * PERIOD));
        for (now, expected) in [(10, true), (11, true), (12, false), (9, false)] {
            let now = at(now * PERIOD + PERIOD - 1);
            assert_eq!(is_good(&secrets, &nonce, now), expected);
        }
        let others = Secrets::derive(&[8; 32]).unwrap();
        assert!(!is_good(&others, &nonce, at(10 * PERIOD)));
        assert!(!is_good(&secrets, "", at(10 * PERIOD)));
    }
}
