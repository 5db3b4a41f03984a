//! What decisions may ask of this gateway: limits and notifications by name.

use std::time::Duration;

use service_kit::ConfigIssue;
use store::Rate;

use crate::config::{GatewayConfig, RateConfig};
use crate::headers::Reserved;
use crate::obligation::Abilities;
use crate::obligation::rate::RatePlan;

/// Beside the abilities: the limits, in the order of their names.
pub(super) fn compile(
    config: &GatewayConfig,
    reserved: &Reserved,
    issues: &mut Vec<ConfigIssue>,
) -> (Abilities, Vec<RatePlan>) {
    let mut rates = Vec::new();
    for (name, rate) in &config.rates {
        match compile_rate(name, rate) {
            Ok(plan) => rates.push(plan),
            Err(issue) => issues.push(issue.within(&format!("`gateway.rates.{name}`"))),
        }
    }
    let places = rates.iter().enumerate();
    let notifications = config.notifications.keys().enumerate();
    let abilities = Abilities {
        reserved: reserved.clone(),
        rates: places
            .map(|(place, rate)| (rate.name.to_string(), place))
            .collect(),
        notifications: notifications
            .map(|(place, name)| (name.clone(), place))
            .collect(),
    };
    (abilities, rates)
}

fn compile_rate(name: &str, config: &RateConfig) -> Result<RatePlan, ConfigIssue> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
        return Err(
            ConfigIssue::new("the name goes into headers").hint("use letters, digits, `-` and `_`")
        );
    }
    let burst = config.burst.unwrap_or(config.limit);
    if config.limit == 0 || burst == 0 || config.window_secs == 0 {
        return Err(ConfigIssue::new(
            "`limit`, `window_secs` and `burst` must not be 0",
        ));
    }
    if config.window_secs > LONGEST {
        return Err(ConfigIssue::new(format!(
            "`window_secs` must be {LONGEST} at most"
        )));
    }
    let rate = Rate {
        quota: config.limit,
        window: Duration::from_secs(config.window_secs),
        burst,
    };
    Ok(RatePlan::new(name, rate, (config.per, config.shared)))
}

/// Some 31 days.
const LONGEST: u64 = 31 * 86_400;
