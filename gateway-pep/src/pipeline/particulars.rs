//! What a question takes from the request itself. Read once, and strictly: what is there twice, or could be read in
//! another way by whoever is behind the gateway, is refused.

use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_ENCODING};
use matchit::Params;
use serde_json::Value;
use strict_json::{Arena, Json};

use super::authenticate::{Authenticated, Caller};
use super::forward::of_body;
use super::refusal::Refusal;
use super::rewrite::is_json;
use crate::body::{BodyError, RequestBody};
use crate::canonical::{CanonicalRequest, decode_segment};
use crate::core::Core;
use crate::identity::Identity;
use crate::plan::{BodyPlace, Places, Protection, QuestionPlan, Reading, Source};
use crate::question::{Particulars, Said};
use crate::values::{Unread, header, query};
use crate::worker::Worker;
use authzen::Properties;

/// What is read of one request.
struct Page<'r> {
    request: &'r CanonicalRequest,
    params: &'r Params<'r, 'r>,
    caller: &'r Identity,
    body: Option<&'r Json<'r>>,
}

/// What each question about a request says of its own. None of a request of which path and route say it all; several
/// of one that names several resources.
///
/// `body`: none where it is not here.
pub(super) async fn read(
    worker: &Worker,
    authenticated: &Authenticated,
    body: Option<&mut RequestBody>,
) -> Result<Vec<Particulars>, Refusal> {
    let core = &worker.core;
    let route = core.plan.routes.get(authenticated.route);
    let route = route.ok_or(Refusal::NotFound)?;
    let (
        Protection::Token {
            reading: Some(reading),
            question,
            ..
        },
        Caller::Known(caller),
    ) = (&route.protection, &authenticated.caller)
    else {
        return Ok(Vec::new());
    };
    let request = &authenticated.request;
    let document = if reading.needs_body {
        document(request.headers(), body, core).await?
    } else {
        None
    };
    let arena = Arena::new();
    let document = match &document {
        Some(document) => Some(Json::parse(document, &arena).map_err(|_| Unread::NotJson)?),
        None => None,
    };
    let router = &core.plan.router;
    let params = router.params(request.authority().host(), request.path());
    let params = params.ok_or(Refusal::NotFound)?;
    let page = Page {
        request,
        params: &params,
        caller,
        body: document.as_ref(),
    };
    let said = page.said(reading, question, core.question_resources)?;
    let particulars = said.into_iter().map(Particulars::new);
    let particulars = particulars.collect::<Result<_, _>>();
    particulars.map_err(|_| Refusal::DecisionPointUnavailable)
}

/// The body, if there is one. It stays where it is, to be forwarded as it came.
async fn document(
    headers: &HeaderMap,
    body: Option<&mut RequestBody>,
    core: &Core,
) -> Result<Option<Bytes>, Refusal> {
    let body = body.ok_or(Unread::NoBody)?;
    let reading = body.read_whole(core.question_body_bytes);
    let whole = tokio::time::timeout(core.timeouts.question_body, reading).await;
    let whole = whole.map_err(|_| Refusal::RequestTimeout)?;
    let whole = whole.map_err(|error| match error {
        BodyError::TooLarge => Unread::TooLarge.into(),
        error => of_body(error),
    })?;
    if whole.is_empty() {
        return Ok(None);
    }
    if headers.contains_key(CONTENT_ENCODING) || !is_json(headers) {
        return Err(Unread::NotJson.into());
    }
    Ok(Some(whole))
}

impl Page<'_> {
    fn said(
        &self,
        reading: &Reading,
        question: &QuestionPlan,
        most: usize,
    ) -> Result<Vec<Said>, Unread> {
        let common = || {
            Ok(Said {
                action: None,
                resource: None,
                resource_properties: self.properties(&reading.resource)?,
                subject_properties: self.properties(&reading.subject)?,
                context: self.properties(&reading.context)?,
            })
        };
        let QuestionPlan::Resource { resource, .. } = question else {
            return Ok(vec![common()?]);
        };
        if !reading.names_resource {
            return Ok(vec![common()?]);
        }
        let ids = resource.ids(self.params, |source| self.texts(source, most))?;
        if ids.len() > most {
            return Err(Unread::TooMany);
        }
        let said = ids.into_iter().map(|id| {
            Ok(Said {
                resource: Some((resource.kind().to_owned(), id)),
                ..common()?
            })
        });
        said.collect()
    }

    fn properties(&self, places: &Places) -> Result<Properties, Unread> {
        let mut properties = Properties::new();
        for (name, source) in places {
            if let Some(value) = self.value(source)? {
                properties.insert(name.clone(), value);
            }
        }
        Ok(properties)
    }

    /// None: the request does not say it.
    fn value(&self, source: &Source) -> Result<Option<Value>, Unread> {
        match source {
            Source::Body(BodyPlace::One(place)) => {
                let found = self.body.and_then(|body| place.find(body));
                Ok(found.filter(|json| !json.is_null()).map(Json::to_value))
            }
            Source::Claim(name) => Ok(self.caller.subject.properties.get(name).cloned()),
            other => {
                let mut texts = self.texts(other, 1)?.into_iter();
                Ok(texts.next().map(Value::String))
            }
        }
    }

    /// What can be part of an id. None of what is not said.
    fn texts(&self, source: &Source, most: usize) -> Result<Vec<String>, Unread> {
        match source {
            Source::Path(name) => {
                let value = self.params.get(name).and_then(decode_segment);
                Ok(value
                    .map(std::borrow::Cow::into_owned)
                    .into_iter()
                    .collect())
            }
            Source::Query { name, list } => {
                query::values(self.request.query().unwrap_or_default(), name, *list, most)
            }
            Source::Header(name) => {
                let value = header(self.request.headers(), name)?;
                Ok(value.map(str::to_owned).into_iter().collect())
            }
            Source::Claim(name) => {
                let claim = self.caller.subject.properties.get(name);
                let claim = claim.and_then(Value::as_str).map(str::to_owned);
                Ok(claim.into_iter().collect())
            }
            Source::Body(BodyPlace::One(place)) => {
                match self.body.and_then(|body| place.find(body)) {
                    None | Some(Json::Null) => Ok(Vec::new()),
                    Some(json) => text(json).map(|text| vec![text]),
                }
            }
            Source::Body(BodyPlace::Each { array, inside }) => {
                match self.body.and_then(|body| array.find(body)) {
                    Some(Json::Array(items)) if items.len() > most => Err(Unread::TooMany),
                    Some(Json::Array(items)) => {
                        let each = items.iter().map(|item| inside.find(item));
                        let texts = each.map(|found| text(found.ok_or(Unread::Missing)?));
                        texts.collect()
                    }
                    _ => Ok(Vec::new()),
                }
            }
        }
    }
}

/// A text, or a whole number as it is written.
fn text(json: &Json<'_>) -> Result<String, Unread> {
    match json {
        Json::Text(text) => Ok((*text).to_owned()),
        Json::Number(number) => {
            let number = number.as_i64().ok_or(Unread::Ambiguous)?;
            Ok(number.to_string())
        }
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => Err(Unread::Ambiguous),
    }
}

impl From<Unread> for Refusal {
    fn from(unread: Unread) -> Self {
        Self::Unread(unread)
    }
}
