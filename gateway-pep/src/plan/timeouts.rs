//! How long an upstream may take on a route: by the route, by the upstream, by the gateway.

use std::time::Duration;

use service_kit::ConfigIssue;

use crate::config::{TimeoutsConfig, UpstreamTimeoutsConfig};
use crate::grpc::Malformed;

/// What a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UpstreamTimes {
    pub(crate) connect: Duration,
    /// To the head of the response, over all tries.
    pub(crate) response: Duration,
    /// Between two pieces of its body.
    pub(crate) idle_body: Duration,
    /// To its end. None: however long it takes.
    pub(crate) total: Option<Duration>,
}

impl UpstreamTimes {
    /// What is said first counts.
    pub(super) fn new(
        route: &UpstreamTimeoutsConfig,
        upstream: &UpstreamTimeoutsConfig,
        gateway: &TimeoutsConfig,
    ) -> Self {
        let said = |of: fn(&UpstreamTimeoutsConfig) -> Option<u64>| of(route).or(of(upstream));
        let secs = |secs: Option<u64>, default| Duration::from_secs(secs.unwrap_or(default));
        let connect = said(|it| it.connect_ms).unwrap_or(gateway.connect_ms);
        Self {
            connect: Duration::from_millis(connect),
            response: secs(said(|it| it.response_secs), gateway.response_secs),
            idle_body: secs(said(|it| it.idle_body_secs), gateway.idle_body_secs),
            total: said(|it| it.total_secs).map(Duration::from_secs),
        }
    }

    /// No longer in all than its caller waits, where that is said in a way that can be understood.
    pub(crate) fn within(mut self, deadline: Result<Option<Duration>, Malformed>) -> Self {
        if let Ok(Some(deadline)) = deadline {
            self.total = Some(self.total.map_or(deadline, |total| total.min(deadline)));
        }
        self
    }

    /// How long the head of a response is waited for.
    pub(crate) fn to_head(self) -> Duration {
        self.total.map_or(self.response, |it| it.min(self.response))
    }
}

/// Nothing takes no time.
pub(super) fn check(at: &str, config: &UpstreamTimeoutsConfig) -> Result<(), ConfigIssue> {
    for (key, value) in [
        ("connect_ms", config.connect_ms),
        ("response_secs", config.response_secs),
        ("idle_body_secs", config.idle_body_secs),
        ("total_secs", config.total_secs),
    ] {
        if value == Some(0) {
            return Err(ConfigIssue::new(format!("`{at}.{key}` must not be 0"))
                .hint("leave it out, and the next wider setting counts"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::compile;
    use super::*;

    #[test]
    fn a_route_says_it_then_its_upstream_then_the_gateway() {
        let plan = compile(
            "gateway: { timeouts: { response_secs: 7, connect_ms: 70, idle_body_secs: 700 } }\n\
             upstreams: { a: { url: 'http://x', timeouts: { response_secs: 5, connect_ms: 50 } } }\n\
             routes:\n\
             - { match: /a, methods: [GET], upstream: a, public: true }\n\
             - { match: /b, methods: [GET], upstream: a, public: true, timeouts: { response_secs: 3, total_secs: 2 } }\n",
        )
        .unwrap();
        let times = |route: usize| plan.routes[route].times;
        let (secs, millis) = (Duration::from_secs, Duration::from_millis);
        let of_upstream = UpstreamTimes {
            connect: millis(50),
            response: secs(5),
            idle_body: secs(700),
            total: None,
        };
        assert_eq!(times(0), of_upstream);
        let of_route = UpstreamTimes {
            response: secs(3),
            total: Some(secs(2)),
            ..of_upstream
        };
        assert_eq!(times(1), of_route);
        assert_eq!(times(1).to_head(), secs(2));
    }

    #[test]
    fn none_of_them_is_nothing() {
        for (upstream, route) in [("total_secs: 0", ""), ("", "connect_ms: 0")] {
            let text = format!(
                "upstreams: {{ a: {{ url: 'http://x', timeouts: {{ {upstream} }} }} }}\n\
                 routes: [{{ match: /a, methods: [GET], upstream: a, public: true, timeouts: {{ {route} }} }}]\n"
            );
            let issues = compile(&text).unwrap_err();
            assert!(issues[0].contains("must not be 0"), "{issues:?}");
        }
    }
}
