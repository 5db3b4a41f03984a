//! A browser to log in with.

use std::collections::BTreeMap;

use axum::body::Body;
use http::{Request, header};

use super::{Answer, PASSWORD, World, encode, path_of};

/// A browser: a cookie jar.
#[derive(Debug, Default, Clone)]
pub(in crate::tests) struct Browser {
    pub(in crate::tests) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(in crate::tests) async fn get(&mut self, world: &World, uri: &str) -> Answer {
        let request = Request::get(path_of(uri)).header(header::COOKIE, self.cookie_header());
        self.keep(world.send(request.body(Body::empty()).unwrap()).await)
    }

    pub(in crate::tests) async fn post(
        &mut self,
        world: &World,
        uri: &str,
        form: &[(&str, &str)],
    ) -> Answer {
        let request = Request::post(path_of(uri))
            .header(header::COOKIE, self.cookie_header())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(encode(form)))
            .unwrap();
        self.keep(world.send(request).await)
    }

    /// Fills in the login page.
    pub(in crate::tests) async fn log_in(
        &mut self,
        world: &World,
        page: &Answer,
        user: &str,
    ) -> Answer {
        let (interaction, csrf) = (page.field("interaction"), page.field("csrf"));
        let form = [
            ("interaction", interaction.as_str()),
            ("csrf", csrf.as_str()),
            ("username", user),
            ("password", PASSWORD),
        ];
        self.post(world, "/login", &form).await
    }

    pub(in crate::tests) async fn decide(
        &mut self,
        world: &World,
        page: &Answer,
        decision: &str,
    ) -> Answer {
        let (interaction, csrf) = (page.field("interaction"), page.field("csrf"));
        let form = [
            ("interaction", interaction.as_str()),
            ("scope", &page.field("scope")),
            ("csrf", csrf.as_str()),
            ("decision", decision),
        ];
        self.post(world, "/consent", &form).await
    }

    /// Logs in and approves as long as pages come. Returns where the browser is sent at last.
    pub(in crate::tests) async fn walk(&mut self, world: &World, uri: &str, user: &str) -> String {
        let mut page = self.get(world, uri).await;
        for _ in 0..5 {
            page = if page.status == 303 && page.location().starts_with('/') {
                let location = page.location().to_owned();
                self.get(world, &location).await
            } else if page.status == 303 {
                return page.location().to_owned();
            } else if page.body.contains("name=\"password\"") {
                self.log_in(world, &page, user).await
            } else {
                self.decide(world, &page, "approve").await
            };
        }
        panic!("no end: {page:?}");
    }

    pub(in crate::tests) fn cookie_header(&self) -> String {
        let pairs: Vec<_> = self
            .cookies
            .iter()
            .map(|(n, v)| format!("{n}={v}"))
            .collect();
        pairs.join("; ")
    }

    fn keep(&mut self, answer: Answer) -> Answer {
        for cookie in answer.headers.get_all(header::SET_COOKIE) {
            let text = cookie.to_str().unwrap();
            assert!(
                text.contains("; Path=/; HttpOnly; SameSite=Lax; Secure"),
                "{text}"
            );
            let (name, value) = text.split_once(';').unwrap().0.split_once('=').unwrap();
            assert!(name.starts_with("__Host-"), "{text}");
            self.cookies.insert(name.into(), value.into());
        }
        answer
    }
}
