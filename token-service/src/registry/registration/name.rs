//! What a registered client calls itself: read by people who are asked to trust it. Nobody has looked
//! whether it is true, but it must not be able to pass for a client of the configuration.

use unicode_security::confusable_detection::skeleton;
use unicode_security::restriction_level::RestrictionLevelDetection as _;
use unicode_security::{GeneralSecurityProfile as _, RestrictionLevel};

/// Longer ones push what else there is to read out of sight. Characters.
const LONGEST: usize = 64;

/// Whether it can be shown. `known`: what others are called.
pub(super) fn check<'n>(
    name: &str,
    known: impl Iterator<Item = &'n str>,
) -> Result<(), &'static str> {
    if name.chars().count() > LONGEST || name.trim().is_empty() {
        return Err("`client_name` must have 1 to 64 characters");
    }
    // Nothing invisible, nothing that turns the direction of what follows.
    let is_plain = |it: char| {
        it == ' ' || it.is_ascii_graphic() || (!it.is_ascii() && it.identifier_allowed())
    };
    if !name.chars().all(is_plain) {
        return Err("`client_name` has a character that cannot be shown safely");
    }
    // Unicode Technical Standard 39 section 5.2: letters of several scripts look like those of one.
    if !letters(name).check_restriction_level(RestrictionLevel::HighlyRestrictive) {
        return Err("`client_name` mixes scripts");
    }
    let looks = looks(name);
    for other in known {
        if looks == self::looks(other) {
            return Err("`client_name` looks like another client's");
        }
    }
    Ok(())
}

/// The same for two names that people would take for one another (section 4).
fn looks(name: &str) -> String {
    let lower = letters(name).to_lowercase();
    // A digit may look like a capital.
    let looks: String = skeleton(&lower).collect();
    skeleton(&looks.to_lowercase()).collect()
}

/// Without spaces and punctuation.
fn letters(name: &str) -> String {
    name.chars().filter(|it| it.is_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_can_be_shown_and_are_nobody_elses_are_taken() {
        let known = || ["The <Web> Shop", "records-web"].into_iter();
        for good in [
            "Notes",
            "Claude Code (desktop)",
            "Łódź Notes",
            "メモ帳",
            "Заметки",
            "A & B <i>",
        ] {
            assert_eq!(check(good, known()), Ok(()), "{good}");
        }
        for bad in [
            "",
            "  ",
            &"a".repeat(65),
            "a\nb",
            "a\u{0}b",
            "safe\u{202e}exe.",
            "zero\u{200b}width",
            "line\u{2028}separator",
            "p\u{430}ypal",
            "the web shop",
            "The Web Sh\u{43e}p",
            "records\u{2010}web",
            "REC0RDS-WEB",
            "records web",
        ] {
            assert!(check(bad, known()).is_err(), "{bad:?}");
        }
    }
}
