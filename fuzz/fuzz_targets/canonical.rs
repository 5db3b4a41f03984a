//! Any request target and any hosts, a line each: refused, and again so, or in a form that stays the same by
//! every reading, ours and that of the `url` crate.
#![no_main]

use gateway_pep::fuzzing::canonical;
use http::header::HOST;
use http::{HeaderValue, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|byte| *byte == b'\n');
    let target = lines.next().unwrap_or_default();
    let hosts: Vec<&[u8]> = lines.collect();
    let Some(found) = read(target, &hosts) else {
        return;
    };
    assert_eq!(Some(&found), read(target, &hosts).as_ref());
    let Ok((authority, target)) = found else {
        return;
    };
    assert_eq!(hosts.len(), 1);
    check_host(&authority);
    check_path(&target);
    // What is canonical already stays as it is.
    let again = read(target.as_bytes(), &[authority.as_bytes()]);
    assert_eq!(again, Some(Ok((authority, target))));
});

/// None where the parser below has refused it.
fn read(target: &[u8], hosts: &[&[u8]]) -> Option<Result<(String, String), String>> {
    let mut request = Request::get(target);
    for host in hosts {
        request = request.header(HOST, HeaderValue::from_bytes(host).ok()?);
    }
    let (parts, ()) = request.body(()).ok()?.into_parts();
    Some(canonical(parts))
}

fn check_host(authority: &str) {
    let Ok(url) = url::Url::parse(&format!("http://{authority}/")) else {
        // What looks like an international name and is none: no client by URLs ever asks for it.
        assert!(authority.contains("xn--"), "{authority}");
        return;
    };
    assert_eq!(url.port().is_some(), has_port(authority), "{authority}");
    let host = match url.port() {
        Some(port) => authority.strip_suffix(&format!(":{port}")),
        None => Some(authority),
    };
    let host = host.expect("the port as it is written");
    if host.starts_with('[') {
        // An address, of whatever spelling.
        assert!(matches!(url.host(), Some(url::Host::Ipv6(_))));
    } else {
        assert_eq!(url.host_str(), Some(host));
        assert!(!host.ends_with('.'));
    }
}

fn has_port(authority: &str) -> bool {
    let after = authority.rsplit(']').next().unwrap_or_default();
    after.contains(':')
}

fn check_path(target: &str) {
    let path = target.split('?').next().expect("a path");
    let lower = path.to_ascii_lowercase();
    for hidden in ["%00", "%0d", "%0a", "%2e", "%7e", ";", "\\", "#"] {
        assert!(!lower.contains(hidden), "{hidden} in {path}");
    }
    let decoded = percent_encoding::percent_decode_str(path);
    let decoded = decoded.decode_utf8().expect("UTF-8");
    // By whoever decodes it, once or more often, and takes `\` for `/` and `;` for an end.
    let again = percent_encoding::percent_decode_str(&decoded);
    assert_eq!(again.decode_utf8().expect("UTF-8"), decoded);
    let mut segments = decoded
        .strip_prefix('/')
        .expect("a slash")
        .split(['/', '\\'])
        .peekable();
    while let Some(segment) = segments.next() {
        let segment = segment.split(';').next().expect("a part");
        assert!(segment != "." && segment != "..");
        assert!(!segment.is_empty() || segments.peek().is_none(), "{path}");
    }
    let url = url::Url::parse(&format!("http://h{target}")).expect("a URL");
    assert_eq!(url.path(), path);
}
