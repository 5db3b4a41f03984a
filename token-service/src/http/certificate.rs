//! What a connection has shown of a certificate (RFC 8705), and over which listener it came.
//!
//! SECURITY: a certificate is what the handshake of this connection has shown. Headers say nothing of
//! it, whatever they are called.

use std::convert::Infallible;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use service_kit::ClientCertificate;
use service_kit::serve::Client;

use crate::core::Core;

/// Marks what came over the listener for certificates.
#[derive(Debug, Clone, Copy)]
struct OverMtls;

/// Marks every request of that listener.
pub(super) async fn mark(mut request: Request, next: Next) -> Result<Response, Infallible> {
    request.extensions_mut().insert(OverMtls);
    Ok(next.run(request).await)
}

/// The URL that a request went to, as the client knows it.
pub(super) fn url(core: &Core, parts: &Parts, path: &str) -> String {
    match &core.mtls {
        Some(mtls) if parts.extensions.get::<OverMtls>().is_some() => mtls.url.endpoint(path),
        _ => core.issuer.endpoint(path),
    }
}

/// The certificate that the other end of the connection has shown.
pub(super) fn shown(parts: &Parts) -> Option<&ClientCertificate> {
    parts.extensions.get::<OverMtls>()?;
    parts.extensions.get::<Client>()?.certificate.as_deref()
}

/// Names it in tokens: `x5t#S256` (RFC 8705 section 3.1).
pub(super) fn thumbprint(parts: &Parts) -> Option<String> {
    shown(parts).map(|shown| URL_SAFE_NO_PAD.encode(shown.sha256))
}
