//! `cedargate check`: everything that is wrong with a configuration, before anything starts.

use std::path::Path;

use gateway_pep::Gateway;
use service_kit::{ConfigError, ConfigIssue, Variables};
use token_service::TokenService;

use crate::config::Loaded;

/// What a good configuration consists of, a line each; or every problem, as text.
pub fn check(file: &Path, variables: &Variables) -> Result<Vec<String>, String> {
    let loaded = Loaded::read(file, variables).map_err(|error| error.to_string())?;
    check_loaded(&loaded)
}

/// The same, of one that was read.
pub(crate) fn check_loaded(loaded: &Loaded) -> Result<Vec<String>, String> {
    let Loaded { base, config, .. } = loaded;
    let mut report = Vec::new();
    let mut issues = config.check_topology();
    issues.extend(config.lifecycle.check(base));
    if let Some(tracing) = &config.tracing {
        issues.extend(tracing.check(base));
    }
    let mut policy_problems = None;
    if let Some(pdp) = &config.pdp {
        match pdp::check_configured(pdp, base) {
            Ok((found, unknown)) => {
                report.push(format!("policies: {found}"));
                issues.extend(unknown);
            }
            Err(error) => policy_problems = Some(error.to_string()),
        }
        issues.extend(pdp.check(base));
    }
    if let Some(section) = &config.token_service {
        issues.extend(TokenService::check(section, base));
        report.push(format!("token service: {}", section.issuer));
    }
    if let Some(gateway) = config.gateway() {
        issues.extend(Gateway::check(&gateway, base));
        report.push(format!(
            "gateway: {} routes to {} upstreams",
            gateway.routes.len(),
            gateway.upstreams.len()
        ));
    }
    if let Some(remote) = &config.connect.pdp {
        issues.extend(remote.resolve(base).err());
        issues.extend(remote.local.iter().flat_map(|local| local.check(base)));
    }
    if let Some(remote) = &config.connect.token_service
        && let Err(issue) = remote.resolve(base)
    {
        issues.push(issue);
    }
    let problems = render(loaded, issues, policy_problems);
    if problems.is_empty() {
        Ok(report)
    } else {
        Err(problems)
    }
}

fn render(loaded: &Loaded, issues: Vec<ConfigIssue>, policies: Option<String>) -> String {
    let mut text = Vec::new();
    if !issues.is_empty() {
        text.push(
            ConfigError {
                file: loaded.file.clone(),
                issues,
            }
            .to_string(),
        );
    }
    text.extend(policies);
    text.join("\n")
}
