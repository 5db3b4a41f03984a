//! Any bytes of a connection, in any pieces: however they arrive, the gateway sees the same messages, and
//! each of them is one by the letter of the RFC, with that target, host and body.
#![no_main]

use fuzz::model;
use gateway_pep::fuzzing::{Message, messages};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

thread_local! {
    static RUNTIME: Runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
}

// How many cuts there are, then where each is after the one before, then the stream.
fuzz_target!(|input: &[u8]| {
    let Some((cuts, rest)) = input.split_first() else {
        return;
    };
    let Some((cuts, stream)) = rest.split_at_checked(usize::from(*cuts % 16)) else {
        return;
    };
    let whole = read(vec![stream.to_vec()]);
    let cut = read(pieces(stream, cuts));
    // Behind a message that is refused the connection may end at once, or a little later.
    for (one, other) in whole.iter().zip(&cut) {
        assert_eq!(one, other);
    }
    let (by_the_letter, _) = model::messages(stream);
    for message in whole.iter().chain(&cut) {
        let Some(body) = &message.body else {
            continue;
        };
        let plain = by_the_letter.get(message.number);
        let plain = plain.unwrap_or_else(|| panic!("no message, but {message:?}"));
        assert_eq!(plain.method, message.method);
        assert_eq!(plain.body, *body);
        let [host] = plain.all("host")[..] else {
            panic!("no host, but {message:?}");
        };
        let host = String::from_utf8_lossy(host).to_ascii_lowercase();
        assert!(host.starts_with(&*message.authority.split(':').next().expect("a host")));
        let (_, query) = plain.target.split_once('?').unwrap_or((&plain.target, ""));
        let (path, own_query) = message
            .target
            .split_once('?')
            .unwrap_or((&message.target, ""));
        assert_eq!(query, own_query);
        assert_eq!(decoded(path), decoded(path_of(&plain.target)));
    }
});

fn read(pieces: Vec<Vec<u8>>) -> Vec<Message> {
    RUNTIME.with(|runtime| runtime.block_on(messages(pieces)))
}

fn pieces(mut stream: &[u8], cuts: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, rest) = stream.split_at(usize::from(*cut).min(stream.len()));
        if !piece.is_empty() {
            pieces.push(piece.to_vec());
        }
        stream = rest;
    }
    // An empty piece would be the end.
    if !stream.is_empty() {
        pieces.push(stream.to_vec());
    }
    pieces
}

/// Without the scheme and the host of an absolute form.
fn path_of(target: &str) -> &str {
    let target = target.split('?').next().unwrap_or_default();
    let after_scheme = target
        .split_once("://")
        .filter(|_| !target.starts_with('/'));
    match after_scheme {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    }
}

fn decoded(path: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(path).collect()
}
