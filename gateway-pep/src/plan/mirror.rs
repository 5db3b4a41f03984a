//! A route's mirror, compiled.

use service_kit::ConfigIssue;

use super::UpstreamTimes;
use super::split::named;
use crate::config::{Config, RouteConfig};

/// Who gets copies of permitted requests.
#[derive(Debug)]
pub(crate) struct Mirror {
    /// Index into [`super::Plan::upstreams`].
    pub(crate) upstream: usize,
    pub(crate) percent: u8,
    /// Whether copies carry a JWT of this upstream.
    pub(crate) has_jwt: bool,
    /// Copies of one worker.
    pub(crate) in_flight: usize,
    pub(crate) body_bytes: usize,
    pub(crate) times: UpstreamTimes,
}

impl Mirror {
    /// None: there is none.
    pub(super) fn compile(
        route: &RouteConfig,
        config: &Config,
    ) -> Result<Option<Self>, ConfigIssue> {
        let Some(mirror) = &route.mirror else {
            return Ok(None);
        };
        let name = &mirror.upstream;
        let (upstream, times) =
            named(name, route, config).map_err(|issue| issue.within("`mirror`"))?;
        if route.upstream.leads_to(name) {
            return Err(ConfigIssue::new(format!(
                "`mirror`: `{name}` gets the requests themselves"
            ))
            .hint("name another upstream; it may run in the same place"));
        }
        if !(1..=100).contains(&mirror.percent) || !(1..=1_000).contains(&mirror.in_flight) {
            return Err(ConfigIssue::new(
                "`mirror`: `percent` must be from 1 to 100, and `in_flight` from 1 to 1000",
            )
            .hint("remove a mirror that is to get nothing"));
        }
        if mirror.jwt && route.public {
            return Err(ConfigIssue::new(
                "`mirror`: on a public route nobody has a credential, so there is no JWT",
            )
            .hint("remove `jwt`"));
        }
        Ok(Some(Self {
            upstream,
            percent: mirror.percent,
            has_jwt: mirror.jwt,
            in_flight: mirror.in_flight,
            body_bytes: mirror.body_bytes,
            times,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::compile;

    #[test]
    fn mistakes_say_what_to_do() {
        for (mirror, expected) in [
            ("upstream: c", "there is no upstream `c`"),
            ("upstream: a", "`a` gets the requests themselves"),
            ("upstream: b, percent: 0", "`percent` must be from 1 to 100"),
            (
                "upstream: b, percent: 101",
                "`percent` must be from 1 to 100",
            ),
            ("upstream: b, in_flight: 0", "`in_flight` from 1 to 1000"),
            ("upstream: b, jwt: true", "on a public route"),
        ] {
            let text = format!(
                "upstreams: {{ a: 'http://a', b: 'http://b' }}\n\
                 routes: [{{ match: /x, methods: [GET], upstream: a, public: true, mirror: {{ {mirror} }} }}]\n"
            );
            let issues = compile(&text).map(drop).unwrap_err();
            assert!(issues[0].contains(expected), "{mirror}: {issues:?}");
            assert!(issues[0].contains("`routes[0]` (`/x`)"), "{issues:?}");
        }
    }
}
