//! Paths that two readers could take for different ones.

use gateway_pep::EncodedCharacter;

use super::super::case::{Case, Class, Expect};
use super::super::target::Target;

/// Put after the path, or in the place of `~`, which is the path.
const REFUSED: &[&str] = &[
    "~/../x",
    "~/..",
    "~/.",
    "~/./x",
    "/..~",
    "/.~",
    "/../..~",
    "~/%2e%2e/x",
    "~/%2E%2E/x",
    "~/.%2e/x",
    "~/%2e./x",
    "~/%2e",
    "~/%2e/x",
    "~/..%2fx",
    "~/..%2Fx",
    "~/%2e%2e%2fx",
    "~/..%5cx",
    "~%2f..%2fx",
    "~/%252e%252e/x",
    "~/%25%32%65%25%32%65/x",
    "~/..%252fx",
    "~%252fx",
    "~%2500",
    "~//x",
    "/~",
    "//~",
    "~//",
    "~/x//y",
    "~;a=b",
    "~/..;/x",
    "~/..;a=b/x",
    "~/;/x",
    "~;/../x",
    "~%2f",
    "~%2f%2fx",
    "~%5c..%5cx",
    "~%25u002fx",
    "~/.;/x",
    "~;",
    "/;~",
    "~\\x",
    "~/..\\x",
    "~\\..\\x",
    "~%",
    "~%2",
    "~%zz",
    "~%2g",
    "~%u002e",
    "~%u002f",
    "~% 2e",
    "~%%32%65",
    "~%-2e",
    "~%+2e",
    "~%c0%ae%c0%ae/x",
    "~%c0%af",
    "~%e0%80%af",
    "~%f0%80%80%af",
    "~%ff",
    "~%c3",
    "~%ed%a0%80",
    "~\u{e9}",
    "~\u{c0}\u{ae}",
    "~\u{ff}",
    "~#x",
    "~#/../x",
    "#~",
    "~?a#b",
    "~?a\u{e9}",
    "~?a b",
    "~{",
    "~}",
    "~|",
    "~^",
    "~`",
    "~\"",
    "~<",
    "~>",
    "~[",
    "~]",
    "~ x",
    "~\tx",
    "~ HTTP/1.1 x",
];

/// Refused where the route does not take them, and then decided on as they are forwarded.
const ENCODED: &[(EncodedCharacter, &str)] = &[
    (EncodedCharacter::Slash, "~%2fx"),
    (EncodedCharacter::Backslash, "~%5cx"),
    (EncodedCharacter::Percent, "~%25"),
    (EncodedCharacter::Semicolon, "~%3bx"),
];

/// Neither wrong nor plain: it must be decided on as it is forwarded.
const SOUND: &[&str] = &[
    "~/",
    "~%23",
    "~%3f",
    "~%20",
    "~%2B",
    "~+",
    "~:80",
    "~@x",
    "~,x",
    "~=x",
    "~'",
    "~!",
    "~$",
    "~&x",
    "~*",
    "~(x)",
    "~.x",
    "~..x",
    "~...",
    "~/...",
    "~/x..",
    "~?a=/../b",
    "~?",
    "~??",
    "~?%2e%2e/",
    "~%c3%a9",
    "~%C3%a9",
    "~-",
    "~_",
    "~~",
    "~/.hidden",
    "~.json",
    "~.css",
    "~/x.js",
];

pub(super) fn cases(all: &[Target], read: &Target) -> Vec<Case> {
    let mut cases = shapes(read);
    // Where something is taken that is refused elsewhere, everything is tried.
    let others = all.iter().filter(|it| !it.encoded.is_empty());
    cases.extend(others.filter(|it| it.path != read.path).flat_map(shapes));
    cases
}

fn shapes(read: &Target) -> Vec<Case> {
    let base = read.path.trim_end_matches('/');
    let mut cases = Vec::new();
    let mut case = |path: String, expect: Expect| {
        let bytes = read.request_to(&path, "");
        cases.push(Case::new(Class::Path, read, path, bytes, expect));
    };
    for shape in REFUSED {
        case(shape.replacen('~', base, 1), Expect::Refused);
    }
    for (character, shape) in ENCODED {
        let is_taken = read.encoded.contains(character);
        let expect = if is_taken {
            Expect::Sound
        } else {
            Expect::Refused
        };
        case(shape.replacen('~', base, 1), expect);
    }
    for shape in SOUND {
        case(shape.replacen('~', base, 1), Expect::Sound);
    }
    case(read.path.to_ascii_uppercase(), Expect::Sound);
    // Each letter of the path written as an escape, one after the other: the same path, or none.
    for (at, letter) in read.path.char_indices() {
        if letter.is_ascii_alphanumeric() {
            let (before, after) = read.path.split_at_checked(at).unwrap_or_default();
            let escaped = format!(
                "{before}%{:02x}{}",
                u32::from(letter),
                after.get(1..).unwrap_or_default()
            );
            case(escaped, Expect::passes(read));
        }
    }
    for byte in (0..0x20).chain([0x7f]) {
        case(format!("{base}%{byte:02x}x"), Expect::Refused);
    }
    case(format!("{base}/{}", "a".repeat(70_000)), Expect::Refused);
    cases
}
