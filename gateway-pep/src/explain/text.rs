//! An explanation for people.

use std::fmt::{self, Display, Formatter};

use authzen::{Decision, Evaluation};

use super::{ExplainedOutcome, Explanation};

/// A line: what it is about, and what there is to say.
struct Line<N, T>(N, T);

impl<N: Display, T: Display> Display for Line<N, T> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{:<15}{}", self.0, self.1)
    }
}

impl Display for Explanation {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        if let Some(request) = &self.request {
            let query = request.query.as_ref().map(|query| format!("?{query}"));
            let (method, host, path) = (&request.method, &request.host, &request.path);
            let query = query.unwrap_or_default();
            Line("request", format!("{method} {host}{path}{query}")).fmt(formatter)?;
        }
        if let Some(route) = &self.route {
            let (template, upstream) = (&route.template, &route.upstream);
            let public = if route.is_public { ", public" } else { "" };
            let login = route.login.as_ref().map(|login| format!(", login {login}"));
            let login = login.unwrap_or_default();
            let when = route.when.iter().map(|when| format!(", {when}"));
            let when: String = when.collect();
            let shares = route.upstreams.iter();
            let shares: Vec<String> = shares
                .map(|(name, weight)| format!("{name} {weight}"))
                .collect();
            let among = match shares.as_slice() {
                [] => String::new(),
                shares => format!(" (of {})", shares.join(", ")),
            };
            let text = format!("{template}{when}, upstream {upstream}{among}{public}{login}");
            Line("route", text).fmt(formatter)?;
        }
        if let Some(caller) = &self.caller {
            let (subject, source) = (&caller.subject, caller.source);
            let (kind, id, issuer) = (&subject.kind, &subject.id, &caller.issuer);
            let text = format!("{kind} {id}, by {issuer} (token from {source})");
            Line("caller", text).fmt(formatter)?;
        }
        if let Some(question) = &self.question {
            let (action, resource) = (&question.action.name, &question.resource);
            let text = format!("{action} on {} {}", resource.kind, resource.id);
            Line("question", text).fmt(formatter)?;
        }
        if let Some(decision) = &self.decision {
            let (word, source) = (word(decision.decision), decision.source);
            let version = decision.policy_version.as_deref();
            let version = version.unwrap_or("of no version");
            let text = format!("{word} (from {source}, policies {version})");
            Line("decision", text).fmt(formatter)?;
        }
        if let Some(evaluation) = &self.decision_point {
            said(evaluation, formatter)?;
        }
        if let Some(error) = &self.decision_point_error {
            Line("decision point", error).fmt(formatter)?;
        }
        Line("outcome", &self.outcome).fmt(formatter)
    }
}

/// What the decision point says.
fn said(evaluation: &Evaluation, formatter: &mut Formatter<'_>) -> fmt::Result {
    let is_permit = evaluation.decision == Decision::Permit;
    Line("decision point", word(is_permit)).fmt(formatter)?;
    let context = &evaluation.context;
    for reason in &context.reasons {
        let why = reason.reason.as_ref().map(|why| format!(": {why}"));
        let text = format!("{}{}", reason.policy, why.unwrap_or_default());
        Line("  by policy", text).fmt(formatter)?;
    }
    for obligation in &context.obligations {
        let text = format!("{} ({})", obligation.kind, obligation.id);
        Line("  obligation", text).fmt(formatter)?;
    }
    if let Some(error) = &context.error {
        Line("  error", error).fmt(formatter)?;
    }
    Ok(())
}

impl Display for ExplainedOutcome {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        if let Some(upstream) = &self.upstream {
            return write!(formatter, "forwarded to {upstream}");
        }
        let (Some(status), reason) = (self.status, self.reason) else {
            return formatter.write_str(self.detail.as_deref().unwrap_or_default());
        };
        write!(formatter, "{status} {}", reason.unwrap_or_default())?;
        match &self.detail {
            Some(detail) => write!(formatter, ": {detail}"),
            None => Ok(()),
        }
    }
}

fn word(is_permit: bool) -> &'static str {
    if is_permit { "permit" } else { "deny" }
}
