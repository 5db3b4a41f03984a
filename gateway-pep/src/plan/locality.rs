//! Which endpoints of an upstream are near: in the zone of the gateway.

use service_kit::ConfigIssue;

use crate::config::{Config, EndpointConfig, UpstreamConfig};

/// Whether an endpoint is where the gateway is. Where nobody says where that is, all are.
pub(super) fn is_near(
    at: &str,
    endpoint: &EndpointConfig,
    config: &Config,
) -> Result<bool, ConfigIssue> {
    match (&config.gateway.zone, &endpoint.zone) {
        (None, None) => Ok(true),
        (Some(own), zone) => Ok(zone.as_ref() == Some(own)),
        (None, Some(zone)) => Err(ConfigIssue::new(format!(
            "`{at}`: `zone: {zone}` means nothing without `gateway.zone`"
        ))
        .hint("say where this gateway is, by `zone: ${ZONE}` under `gateway`, or remove it")),
    }
}

/// Percent of the endpoints that are near.
pub(super) fn threshold(name: &str, config: &UpstreamConfig) -> Result<u8, ConfigIssue> {
    let threshold = config.zone_threshold_percent;
    if threshold > 100 {
        return Err(super::health::of_hundred(&format!(
            "upstreams.{name}.zone_threshold_percent"
        )));
    }
    Ok(threshold)
}
