//! A browser with cookies, as far as a gateway can tell.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use url::Url;

use super::provider::Provider;
use crate::fixture::{Answer, Fixture, raw};

#[derive(Debug, Clone)]
pub(super) struct Browser {
    pub(super) addr: SocketAddr,
    pub(super) host: String,
    pub(super) cookies: BTreeMap<String, String>,
}

pub(super) const SESSION: &str = "__Host-cedargate-web";

/// What comes with the address of a page that was typed.
pub(super) const NAVIGATION: &str = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\n";

impl Browser {
    pub(super) fn new(fixture: &Fixture) -> Self {
        Self {
            addr: fixture.addr,
            host: "app.test".into(),
            cookies: BTreeMap::new(),
        }
    }

    /// The same browser, whose next request another gateway gets.
    pub(super) fn at(&self, fixture: &Fixture) -> Self {
        Self {
            addr: fixture.addr,
            ..self.clone()
        }
    }

    pub(super) async fn get(&mut self, path: &str) -> Answer {
        self.send(&format!("GET {path}"), NAVIGATION, "").await
    }

    /// From a script of the page's own origin.
    pub(super) async fn fetch(&mut self, line: &str) -> Answer {
        let fields =
            "Sec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-origin\r\nOrigin: https://app.test\r\n";
        self.send(line, fields, "").await
    }

    /// Keeps the cookies that come back.
    pub(super) async fn send(&mut self, line: &str, fields: &str, body: &str) -> Answer {
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let cookies = if cookies.is_empty() {
            String::new()
        } else {
            format!("Cookie: {}\r\n", cookies.join("; "))
        };
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let answer = raw(
            self.addr,
            &format!(
                "{line} HTTP/1.1\r\nHost: {}\r\n{cookies}{fields}{length}Connection: close\r\n\r\n{body}",
                self.host
            ),
        )
        .await;
        for cookie in set_cookies(&answer) {
            let (pair, attributes) = cookie.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// Through the provider and back.
    pub(super) async fn log_in(&mut self, provider: &Provider, path: &str) -> Answer {
        let sent = self.get(path).await;
        let back = provider.approve(&location(&sent));
        self.get(&back).await
    }

    pub(super) fn session(&self) -> Option<&String> {
        self.cookies.get(SESSION)
    }

    /// Of logins that were begun.
    pub(super) fn pending(&self) -> Vec<&String> {
        let is_pending = |name: &&String| name.contains("-login-");
        self.cookies.keys().filter(is_pending).collect()
    }
}

pub(super) fn set_cookies(answer: &Answer) -> Vec<String> {
    let head = answer.0.split("\r\n\r\n").next().unwrap();
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines
        .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
        .map(|(_, value)| value.to_owned())
        .collect()
}

#[track_caller]
pub(super) fn location(answer: &Answer) -> Url {
    assert_eq!(answer.status(), 303, "{}", answer.0);
    Url::parse(answer.header("location").unwrap()).unwrap()
}

pub(super) fn parameter(url: &Url, name: &str) -> Option<String> {
    let mut pairs = url.query_pairs();
    pairs.find_map(|(own, value)| (own == name).then(|| value.into_owned()))
}
