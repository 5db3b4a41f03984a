//! An answer that the caller may see in part: elements are taken out, fields are blotted out. It is read whole, up
//! to a bound; what cannot be rewritten is not passed on.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::Body as _;

use super::authorize::decide_each;
use super::reauthorize::{confirm, refusal};
use super::record::Record;
use super::refusal::Refusal;
use super::response_body::ResponseBody;
use crate::body::BodyError;
use crate::cache::verdict::{Outcome, Verdict};
use crate::headers::once;
use crate::obligation::filter::{self, Fate};
use crate::question::Particulars;
use crate::worker::Worker;
use authzen::Filter;
use bytes::Bytes;
use std::rc::Rc;

/// The body as the caller may see it.
pub(super) async fn rewrite(
    worker: &Rc<Worker>,
    record: &mut Record,
    (status, headers): (StatusCode, &HeaderMap),
    body: ResponseBody,
) -> Result<ResponseBody, Refusal> {
    let permitted = record.permitted().ok_or(Refusal::NotFound)?;
    let verdict = permitted.granted().map(|(_, verdict)| verdict.clone());
    let Some(Outcome::Permit(obligations)) = verdict.as_deref().map(|it| &it.outcome) else {
        return Err(Refusal::Obligation);
    };
    let is_head = permitted.request().method() == http::Method::HEAD;
    if is_head || body.is_end_stream() {
        return Ok(ResponseBody::whole(""));
    }
    let mut document = read(headers, body, worker.core.masked_body_bytes, record).await?;
    confirm(worker, record).await?;
    for filter in &obligations.filters {
        document = filtered(worker, record, (filter, status), document).await?;
        confirm(worker, record).await?;
    }
    if let Some(mask) = &obligations.mask {
        let masked = mask.apply(&document);
        let masked = masked.map_err(|_| Refusal::Unmaskable("the response is not JSON"))?;
        document = masked.into();
    }
    Ok(ResponseBody::whole(document))
}

async fn read(
    headers: &HeaderMap,
    body: ResponseBody,
    limit: usize,
    record: &mut Record,
) -> Result<Bytes, Refusal> {
    let encoded = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded || !is_json(headers) {
        return Err(Refusal::Unmaskable("the response is not plain JSON"));
    }
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(Refusal::Unmaskable("the response is too large"));
    }
    body.collect(limit, Some(record))
        .await
        .map_err(|error| match error {
            BodyError::TooLarge => Refusal::Unmaskable("the response is too large"),
            BodyError::Idle | BodyError::Broken => Refusal::UpstreamFailed,
            BodyError::Overdue => Refusal::UpstreamTimeout,
            BodyError::Withdrawn(withdrawn) => refusal(withdrawn),
        })
}

/// The document without the elements that the caller may not see.
async fn filtered(
    worker: &Worker,
    record: &Record,
    (filter, status): (&Filter, StatusCode),
    document: Bytes,
) -> Result<Bytes, Refusal> {
    let unusable = |error: filter::Unfilterable| {
        Refusal::Unmaskable(match error {
            filter::Unfilterable::NotJson => {
                "the response is not JSON that can be read in one way only"
            }
            filter::Unfilterable::NoArray => "the response has no array where one was expected",
            filter::Unfilterable::TooMany => "the response has too many elements",
        })
    };
    let most = worker.core.filtered_elements;
    let elements = filter::elements(filter, &document, most).map_err(unusable)?;
    let Some(elements) = elements else {
        // What says that something is wrong has no elements. What says that all is well has them elsewhere.
        let nowhere = filter::Unfilterable::NoArray;
        let is_error = status.is_client_error() || status.is_server_error();
        return if is_error {
            Ok(document)
        } else {
            Err(unusable(nowhere))
        };
    };
    let asked = elements.iter().flatten().map(|(kind, id)| {
        let action = filter.action.as_deref();
        Particulars::of_resource(action, kind, id)
    });
    let asked = asked.collect::<Result<Vec<_>, _>>();
    let asked = asked.map_err(|_| Refusal::DecisionPointUnavailable)?;
    let permitted = record.permitted().ok_or(Refusal::NotFound)?;
    let verdicts = decide_each(worker, permitted, &asked, record).await?;
    let mut verdicts = verdicts.iter();
    let fates = elements.iter().map(|element| match element {
        None => Fate::Removed,
        Some(_) => verdicts
            .next()
            .map_or(Fate::Removed, |verdict| fate(verdict)),
    });
    let fates: Vec<Fate<'_>> = fates.collect();
    let without = filter::without(filter, &document, &fates);
    without
        .map(Bytes::from)
        .ok_or(Refusal::Unmaskable("the response cannot be filtered"))
}

/// An element stays whose permit has no conditions, or one that can be kept in the element itself.
fn fate(verdict: &Rc<Verdict>) -> Fate<'_> {
    match &verdict.outcome {
        Outcome::Permit(obligations) if obligations.is_mask_alone() => {
            Fate::Kept(obligations.mask.as_ref())
        }
        Outcome::Permit(_) | Outcome::Deny | Outcome::UnknownObligation => Fate::Removed,
    }
}

/// `application/json` or any `+json`, one `Content-Type` only.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let value = once(headers, &header::CONTENT_TYPE).map(HeaderValue::to_str);
    let Some(Ok(value)) = value else {
        return false;
    };
    let essence = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}
