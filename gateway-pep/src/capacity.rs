//! How many connections fit into what the system lets this process have open. A gateway that finds out only
//! when it cannot accept one has none left to ask anybody whether the next request may pass.

use service_kit::ConfigIssue;

use crate::config::{Config, UpstreamConfig};

/// What a configuration wants open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) workers: usize,
    /// Of clients, of one worker.
    pub(crate) connections: usize,
    /// To upstreams, of one worker, whatever clients there are.
    pub(crate) upstreams: usize,
}

/// Logs, the store, token service, PDP, listeners, runtimes.
const OWN: u64 = 128;

/// With fewer for each worker there is no point in starting.
const FEWEST: u64 = 16;

impl Wanted {
    pub(crate) fn of(config: &Config, workers: usize) -> Self {
        let most = |upstream: &UpstreamConfig| upstream.connections;
        Self {
            workers,
            connections: config.gateway.limits.connections,
            upstreams: config
                .upstreams
                .values()
                .map(most)
                .fold(0, usize::saturating_add),
        }
    }

    /// How many connections of clients one worker may take on where the process may have `limit` descriptors:
    /// each may want one to an upstream beside its own.
    pub(crate) fn fit(self, limit: Option<u64>) -> Result<usize, ConfigIssue> {
        let Some(limit) = limit else {
            return Ok(self.connections);
        };
        let as_u64 = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let each = limit.saturating_sub(OWN) / as_u64(self.workers.max(1));
        let (clients, upstreams) = (as_u64(self.connections), as_u64(self.upstreams));
        if clients.saturating_add(clients.min(upstreams)) <= each {
            return Ok(self.connections);
        }
        // Either all upstreams' connections fit beside those of more clients, or there is one for each.
        let fitting = each.saturating_sub(upstreams).max(each / 2);
        if fitting < FEWEST {
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
        tracing::warn!(
            limit,
            workers = self.workers,
            configured = self.connections,
            fitting,
            "the limit of open files is too low for `gateway.limits.connections`: fewer are taken on"
        );
        Ok(usize::try_from(fitting).unwrap_or(self.connections))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(limit: u64, (workers, connections, upstreams): (usize, usize, usize)) -> Option<usize> {
        let wanted = Wanted {
            workers,
            connections,
            upstreams,
        };
        wanted.fit(Some(limit)).ok()
    }

    #[test]
    fn what_is_configured_is_taken_on_where_it_fits() {
        assert_eq!(fit(128 + 2_000, (1, 1_000, 5_000)), Some(1_000));
        assert_eq!(fit(128 + 1_100, (1, 1_000, 100)), Some(1_000));
        assert_eq!(fit(128 + 4_000, (2, 1_000, 5_000)), Some(1_000));
        let wanted = Wanted {
            workers: 4,
            connections: 10_000,
            upstreams: 1_000,
        };
        assert_eq!(wanted.fit(None).ok(), Some(10_000));
    }

    #[test]
    fn fewer_are_taken_on_where_it_does_not() {
        assert_eq!(fit(128 + 1_000, (1, 1_000, 5_000)), Some(500));
        assert_eq!(fit(128 + 1_000, (1, 1_000, 100)), Some(900));
        assert_eq!(fit(1024, (2, 10_000, 1_024)), Some(224));
    }

    #[test]
    fn too_few_is_said_before_anybody_connects() {
        assert_eq!(fit(150, (2, 10_000, 1_024)), None);
        assert_eq!(fit(0, (1, 1, 1)), None);
    }
}
