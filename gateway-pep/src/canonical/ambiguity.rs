//! Why a request can be read in more than one way, or in none.

/// Why a request has no canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ambiguity {
    #[error("the request target must be a path")]
    TargetForm,
    #[error("the request target is too long")]
    TargetTooLong,
    #[error("the path has an empty segment")]
    EmptySegment,
    #[error("the path has a dot segment")]
    DotSegment,
    #[error("the path has a character that must be percent-encoded, or may not occur")]
    PathCharacter,
    #[error("the path has a malformed percent-encoding")]
    PercentEncoding,
    #[error("the path percent-encodes a character that changes its meaning")]
    EncodedDelimiter,
    #[error("the path is not UTF-8")]
    PathUtf8,
    #[error("the query has a character that must be percent-encoded")]
    QueryCharacter,
    #[error("the request must have exactly one host")]
    Host,
    #[error("the request target and the host disagree")]
    HostMismatch,
    #[error("there are too many header fields")]
    TooManyFields,
    #[error("a header value begins or ends with space")]
    FieldValue,
    #[error("the method is not accepted here")]
    Method,
    #[error("the body has no clear length")]
    Framing,
    #[error("the body is too large")]
    BodyTooLarge,
    #[error("the expectation cannot be met")]
    Expectation,
    #[error("an upgrade request must be a GET without a body")]
    UpgradeWithBody,
    #[error("the request on the wire is malformed")]
    Wire,
    #[error("the proxy does not say once which request it asks about, and whose it is")]
    Asked,
    #[error("the proxy in front does not say clearly for whom it speaks")]
    Forwarded,
    #[error("the request target or the host is not in its canonical form")]
    NotCanonical,
    #[error("a header says that another method or path is meant")]
    Override,
    #[error("the connection may become a WebSocket, and nothing else")]
    Upgrade,
    #[error("a WebSocket by HTTP/1.1 is asked for with one key of 16 bytes")]
    WebSocketKey,
}

impl Ambiguity {
    /// Each of them, as metrics call it.
    pub(crate) const ALL: [(Self, &'static str); 25] = [
        (Self::TargetForm, "target_form"),
        (Self::TargetTooLong, "target_too_long"),
        (Self::EmptySegment, "empty_segment"),
        (Self::DotSegment, "dot_segment"),
        (Self::PathCharacter, "path_character"),
        (Self::PercentEncoding, "percent_encoding"),
        (Self::EncodedDelimiter, "encoded_delimiter"),
        (Self::PathUtf8, "path_utf8"),
        (Self::QueryCharacter, "query_character"),
        (Self::Host, "host"),
        (Self::HostMismatch, "host_mismatch"),
        (Self::TooManyFields, "too_many_fields"),
        (Self::FieldValue, "field_value"),
        (Self::Method, "method"),
        (Self::Framing, "framing"),
        (Self::BodyTooLarge, "body_too_large"),
        (Self::Expectation, "expectation"),
        (Self::UpgradeWithBody, "upgrade_with_body"),
        (Self::Wire, "wire"),
        (Self::Asked, "asked"),
        (Self::Forwarded, "forwarded"),
        (Self::NotCanonical, "not_canonical"),
        (Self::Override, "override"),
        (Self::Upgrade, "upgrade"),
        (Self::WebSocketKey, "websocket_key"),
    ];
}
