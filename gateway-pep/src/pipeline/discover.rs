//! Beside the path of requests: what the gateway itself says of its resources (RFC 9728). Anybody may
//! ask, from any page.

use http::header::{self, HeaderValue};
use http::{Method, Response, StatusCode};

use super::refusal::Refusal;
use super::response_body::ResponseBody;
use crate::canonical::CanonicalRequest;
use crate::plan::Discovery;

/// The answer to a request for metadata. None: it is for something else.
pub(crate) fn discover(
    discovery: &Discovery,
    request: &CanonicalRequest,
) -> Option<Result<Response<ResponseBody>, Refusal>> {
    let path = request.path();
    if !discovery.is_asked(path) {
        return None;
    }
    let document = discovery.document(request.authority().host(), path)?;
    Some(answer(request.method(), document))
}

fn answer(method: &Method, document: &bytes::Bytes) -> Result<Response<ResponseBody>, Refusal> {
    const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
    let (status, body) = match *method {
        Method::GET | Method::HEAD => (StatusCode::OK, document.clone()),
        Method::OPTIONS => (StatusCode::NO_CONTENT, bytes::Bytes::new()),
        _ => return Err(Refusal::MethodNotAllowed { allow: ALLOW }),
    };
    let mut response = Response::new(ResponseBody::whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let any = HeaderValue::from_static("*");
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any.clone());
    if *method == Method::OPTIONS {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOW);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, any);
    } else {
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        headers.insert(header::CACHE_CONTROL, crate::plan::CACHE_CONTROL);
    }
    Ok(response)
}
