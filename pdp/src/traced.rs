//! What spans say of the PDP's work: what kind of question it was and what came of it. Only words
//! of the schema and of the configuration; never an id, a property or a context.

use std::borrow::Cow;

use authzen::{Asked, Decision, DecisionError, SearchKind, SnapshotVersion};
use service_kit::traces::Span;

use crate::answer::Answer;
use crate::decision_log::Asker;
use crate::search::PageFound;

/// In a batch of more, entries and what is fetched for them have no spans of their own.
const FEW: usize = 16;

/// Says what kind of question it is. Call it for what the schema knows alone: any other type or
/// action is a text of the caller's.
pub(crate) fn about(span: Option<&mut Span>, asked: &Asked<'_>) {
    if let Some(span) = span {
        span.set("cedargate.action", asked.action.name.to_owned());
        span.set("cedargate.subject.type", asked.subject.kind.to_owned());
        span.set("cedargate.resource.type", asked.resource.kind.to_owned());
    }
}

/// Says what was decided, and by what.
pub(crate) fn decided(span: Option<&mut Span>, answer: &Answer<'_>) {
    let Some(span) = span else {
        return;
    };
    let decision = match answer.decision {
        Decision::Permit => "permit",
        Decision::Deny => "deny",
    };
    span.set("cedargate.decision", decision);
    by(span, answer.version);
    if let Some(error) = &answer.error {
        let kind = error.get("type").and_then(serde_json::Value::as_str);
        let status = error.get("status").and_then(serde_json::Value::as_u64);
        let kind = kind.map(str::to_owned);
        span.fail(kind.unwrap_or_else(|| status.unwrap_or(500).to_string()));
    }
}

/// Says what a page of a search has found.
pub(crate) fn searched(
    span: Option<&mut Span>,
    kind: SearchKind,
    found: &PageFound,
    version: &SnapshotVersion,
) {
    let Some(span) = span else {
        return;
    };
    span.set("cedargate.search.kind", kind.as_str());
    span.count("cedargate.search.results", found.results.len());
    span.count("cedargate.search.decided", found.decided);
    span.set("cedargate.search.more", found.next.is_some());
    by(span, version);
}

/// Begins a batch: its span, and who asks for the entries.
pub(crate) fn batch(asker: &Asker, entries: usize) -> (Option<Span>, Cow<'_, Asker>) {
    let Some(mut span) = asker.part("decide batch") else {
        return (None, Cow::Borrowed(asker));
    };
    span.count("cedargate.entries", entries);
    let within = span.context();
    let within = if entries <= FEW {
        within.clone()
    } else {
        within.without_parts()
    };
    let asker = Asker {
        trace: Some(within),
        ..asker.clone()
    };
    (Some(span), Cow::Owned(asker))
}

/// The work is done.
pub(crate) fn finish(span: Option<Span>, error: Option<&DecisionError>) {
    let Some(mut span) = span else {
        return;
    };
    match error {
        None => {}
        Some(DecisionError::Rejected { .. }) => span.fail("rejected"),
        Some(DecisionError::Unavailable(_)) => span.fail("unavailable"),
        Some(DecisionError::Timeout) => span.fail("timeout"),
        Some(DecisionError::Internal { .. }) => span.fail("internal"),
    }
    span.finish();
}

fn by(span: &mut Span, version: &SnapshotVersion) {
    span.set("cedargate.snapshot.version", version.version.clone());
    let revision = i64::try_from(version.revision).unwrap_or(i64::MAX);
    span.set("cedargate.snapshot.revision", revision);
}

#[cfg(test)]
mod tests;
