//! How many connections fit into what the system lets this process have open. A gateway that finds out only
//! when it cannot accept one has none left to ask anybody whether the next request may pass.

use service_kit::ConfigIssue;

use crate::config::{Config, Http2Config, Protocol, UpstreamConfig};
use crate::plan::UpstreamPlan;

/// What a configuration wants open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) workers: usize,
    /// Of clients, of one worker.
    pub(crate) connections: usize,
    /// To upstreams that one of them can want at a time.
    pub(crate) streams: usize,
    /// To upstreams, of one worker, whatever clients there are.
    pub(crate) upstreams: usize,
}

/// What one worker may have open of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fitting {
    pub(crate) connections: usize,
    upstreams: Share,
}

/// So many of so many connections to upstreams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    fitting: usize,
    of: usize,
}

/// Logs, the store, token service, PDP, listeners, runtimes.
const OWN: u64 = 128;

/// With fewer for each worker there is no point in starting.
const FEWEST: u64 = 16;

impl Wanted {
    pub(crate) fn of(config: &Config, workers: usize) -> Self {
        let gateway = &config.gateway;
        let speaks_http2 = gateway.tls.is_some() || gateway.h2c;
        let streams = usize::try_from(gateway.limits.streams).unwrap_or(usize::MAX);
        Self {
            workers,
            connections: gateway.limits.connections,
            streams: if speaks_http2 { streams } else { 1 },
            upstreams: config
                .upstreams
                .iter()
                .map(|(name, upstream)| most_connections(upstream, takes_tunnels(config, name)))
                .fold(0, usize::saturating_add),
        }
    }

    /// What one worker may have open where the process may have `limit` descriptors.
    pub(crate) fn fit(self, limit: Option<u64>) -> Result<Fitting, ConfigIssue> {
        let whole = self.fitting(self.connections, self.upstreams);
        let Some(limit) = limit else {
            return Ok(whole);
        };
        let as_u64 = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let each = limit.saturating_sub(OWN) / as_u64(self.workers.max(1));
        let (clients, upstreams) = (as_u64(self.connections), as_u64(self.upstreams));
        let at_once = clients.saturating_mul(as_u64(self.streams)).min(upstreams);
        if clients.saturating_add(at_once) <= each {
            return Ok(whole);
        }
        // Either all upstreams' connections fit beside those of more clients, or there is one for each.
        let fitting = each.saturating_sub(upstreams).max(each / 2).min(clients);
        if fitting < FEWEST.min(clients) {
            let least = (2 * FEWEST)
                .saturating_mul(as_u64(self.workers))
                .saturating_add(OWN);
            return Err(ConfigIssue::new(format!(
                "this process may have {limit} files open, too few for a gateway of {} workers",
                self.workers
            ))
            .hint(format!(
                "let it have {least} at least, better many more: `ulimit -n`, or `LimitNOFILE=` of the service"
            )));
        }
        let for_upstreams = (each - fitting).min(upstreams);
        tracing::warn!(
            limit,
            workers = self.workers,
            configured = self.connections,
            fitting,
            configured_upstreams = self.upstreams,
            fitting_upstreams = for_upstreams,
            "the limit of open files is too low for `gateway.limits.connections` and `upstreams.*.connections`: there \
             are fewer"
        );
        let as_usize = |number| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(self.fitting(as_usize(fitting), as_usize(for_upstreams)))
    }

    fn fitting(self, connections: usize, upstreams: usize) -> Fitting {
        Fitting {
            connections,
            upstreams: Share {
                fitting: upstreams,
                of: self.upstreams,
            },
        }
    }
}

/// Whether requests to an upstream can become what has a connection of its own, whatever is spoken.
fn takes_tunnels(config: &Config, upstream: &str) -> bool {
    let mut routes = config.routes.iter();
    routes.any(|route| route.websocket && route.upstream.leads_to(upstream))
}

/// Of one worker.
fn most_connections(upstream: &UpstreamConfig, takes_tunnels: bool) -> usize {
    if upstream.protocol == Protocol::Http1 || takes_tunnels {
        return upstream.connections;
    }
    let each = upstream.http2.as_ref().map(|http2| http2.connections);
    let each = each.unwrap_or_else(|| Http2Config::default().connections);
    // Names have more addresses than there are names.
    let endpoints = match &upstream.dns {
        Some(_) => upstream.connections,
        None => upstream.endpoints.len().max(1),
    };
    endpoints.saturating_mul(each).min(upstream.connections)
}

impl Fitting {
    /// Has none of the upstreams have more than there is for it.
    pub(crate) fn bound(&self, config: &Config, upstreams: &mut [UpstreamPlan]) {
        // By HTTP/2 connections are few anyhow, and do not grow with what is under way on them, but for tunnels.
        let by_request = upstreams
            .iter_mut()
            .filter(|it| it.transport.http2.is_none() || takes_tunnels(config, &it.name));
        for upstream in by_request {
            upstream.connections = self.upstreams.part(upstream.connections);
        }
    }
}

impl Share {
    /// At least one.
    fn part(self, number: usize) -> usize {
        let of = self.of.max(1);
        let Some(product) = number.checked_mul(self.fitting) else {
            return number.min(self.fitting);
        };
        (product / of).clamp(1, number.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections of clients and to upstreams.
    fn fit(
        limit: u64,
        (workers, connections, upstreams): (usize, usize, usize),
        streams: usize,
    ) -> Option<(usize, usize)> {
        let wanted = Wanted {
            workers,
            connections,
            streams,
            upstreams,
        };
        let fitting = wanted.fit(Some(limit)).ok()?;
        Some((fitting.connections, fitting.upstreams.fitting))
    }

    #[test]
    fn what_is_configured_is_taken_on_where_it_fits() {
        let all = Some((1_000, 5_000));
        assert_eq!(fit(128 + 2_000, (1, 1_000, 5_000), 1), all);
        assert_eq!(fit(128 + 1_100, (1, 1_000, 100), 1), Some((1_000, 100)));
        assert_eq!(fit(128 + 4_000, (2, 1_000, 5_000), 1), all);
        assert_eq!(fit(128 + 6_000, (1, 1_000, 5_000), 100), all);
        let wanted = Wanted {
            workers: 4,
            connections: 10_000,
            streams: 100,
            upstreams: 1_000,
        };
        let fitting = wanted.fit(None).unwrap();
        assert_eq!(
            (fitting.connections, fitting.upstreams.part(7)),
            (10_000, 7)
        );
    }

    #[test]
    fn fewer_are_taken_on_where_it_does_not() {
        assert_eq!(fit(128 + 1_000, (1, 1_000, 5_000), 1), Some((500, 500)));
        assert_eq!(fit(128 + 1_000, (1, 1_000, 100), 1), Some((900, 100)));
        assert_eq!(fit(1024, (2, 10_000, 1_024), 1), Some((224, 224)));
    }

    #[test]
    fn what_many_streams_of_few_connections_can_want_fits_too() {
        for limit in (160..20_000).step_by(7) {
            for (workers, connections, upstreams) in
                [(1, 1_000, 5_000), (4, 10_000, 1_024), (2, 20, 3_000)]
            {
                for streams in [1, 100] {
                    let wanted = (workers, connections, upstreams);
                    let Some((clients, upstreams)) = fit(limit, wanted, streams) else {
                        continue;
                    };
                    let at_once = clients + upstreams.min(clients * streams);
                    let all = u64::try_from(at_once * workers).unwrap();
                    assert!(all + OWN <= limit, "{limit} {wanted:?} {streams} {all}");
                    assert!(clients >= 16 && upstreams >= 16, "{limit} {wanted:?}");
                }
            }
        }
    }

    #[test]
    fn each_upstream_has_its_part() {
        let share = Share {
            fitting: 496,
            of: 2_048,
        };
        let parts = [1_024, 1_000, 23, 1].map(|number| share.part(number));
        assert_eq!(parts, [248, 242, 5, 1]);
    }

    #[test]
    fn by_http_2_there_is_a_connection_for_each_tunnel_and_few_beside_them() {
        let upstream = |settings: &str| {
            let text = format!("{{ url: 'http://a', connections: 500, {settings} }}");
            let variables = service_kit::Variables::default();
            service_kit::config::parse::<UpstreamConfig>(&text, &variables).unwrap()
        };
        for (settings, takes_tunnels, most) in [
            ("", false, 500),
            ("protocol: http2", false, 4),
            ("protocol: http2, http2: { connections: 7 }", false, 7),
            ("protocol: http2", true, 500),
        ] {
            let upstream = upstream(settings);
            assert_eq!(
                most_connections(&upstream, takes_tunnels),
                most,
                "{settings}"
            );
        }
    }

    #[test]
    fn too_few_is_said_before_anybody_connects() {
        assert_eq!(fit(150, (2, 10_000, 1_024), 1), None);
        assert_eq!(fit(0, (1, 1, 1), 1), None);
    }
}
