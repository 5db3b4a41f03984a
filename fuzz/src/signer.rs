//! Keys that are the same in every run, and the tokens that fuzzers have them sign.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

/// Signs what it is told to.
#[derive(Debug)]
pub struct Signer(Ed25519KeyPair);

impl Signer {
    pub fn new(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]);
        Self(pair.expect("a key"))
    }

    pub fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
    }

    /// Any two texts as header and claims of a token.
    pub fn sign(&self, header: &str, claims: &str) -> String {
        let encode = |text: &[u8]| URL_SAFE_NO_PAD.encode(text);
        let signed = format!(
            "{}.{}",
            encode(header.as_bytes()),
            encode(claims.as_bytes())
        );
        let signature = self.0.sign(signed.as_bytes());
        format!("{signed}.{}", encode(signature.as_ref()))
    }

    /// Header and claims of a token that this one has signed; none where it has not. Reads by another
    /// reader than the product.
    pub fn opened(&self, token: &str) -> Option<(Map<String, Value>, Map<String, Value>)> {
        opened(token, self.0.public_key().as_ref())
    }
}

/// The same, by any Ed25519 key.
pub fn opened(token: &str, key: &[u8]) -> Option<(Map<String, Value>, Map<String, Value>)> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        return None;
    };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let signed = format!("{header}.{claims}");
    UnparsedPublicKey::new(&ED25519, key)
        .verify(signed.as_bytes(), &decode(signature)?)
        .ok()?;
    let object = |part: &str| serde_json::from_slice(&decode(part)?).ok();
    Some((object(header)?, object(claims)?))
}

/// What a fuzzer does with a signer: the first byte says which, the rest is header and claims, a line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The text is the token.
    AsItIs,
    Signed,
    /// By another key.
    ByAnother,
    /// And then a byte of it is another one.
    Changed,
}

/// A token of a fuzzer's input, and how it came to be.
pub fn token_of(input: &str, known: &Signer, stranger: &Signer) -> Option<(Way, String)> {
    let mut characters = input.chars();
    let way = match u32::from(characters.next()?) % 4 {
        0 => return Some((Way::AsItIs, characters.as_str().to_owned())),
        1 => Way::Signed,
        2 => Way::ByAnother,
        _ => Way::Changed,
    };
    let mut at = 0;
    let mut put = 'A';
    if way == Way::Changed {
        at = u32::from(characters.next()?) as usize;
        put = characters.next().filter(char::is_ascii)?;
    }
    let (header, claims) = characters.as_str().split_once('\n')?;
    let signer = if way == Way::ByAnother {
        stranger
    } else {
        known
    };
    let token = signer.sign(header, claims);
    if way != Way::Changed {
        return Some((way, token));
    }
    let mut bytes = token.clone().into_bytes();
    let at = at % bytes.len();
    bytes[at] = u8::try_from(put).ok()?;
    let changed = String::from_utf8(bytes).ok()?;
    (changed != token).then_some((way, changed))
}
