//! One attack: the bytes that are sent, and what may come of them.

use super::target::Target;

/// What a case is about; the rows of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Control,
    Path,
    Target,
    Host,
    Headers,
    Bearer,
    FailClosed,
    Session,
    Framing,
    Chunked,
    Grammar,
    ControlBytes,
    Upgrade,
    Routing,
}

/// Bytes on a fresh connection.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) class: Class,
    pub(super) title: String,
    pub(super) bytes: Vec<u8>,
    pub(super) expect: Expect,
    /// [`MARKER`] must not be in what the upstream gets.
    pub(super) hides_marker: bool,
    /// The request is to a route that wants a token, and so must bring the stub's JWT upstream.
    pub(super) is_protected: bool,
    /// The route rewrites the path, so that it is not that which was decided on.
    pub(super) is_rewritten: bool,
    /// So many requests of their own may reach the upstream.
    pub(super) requests: usize,
}

/// What may come of it.
#[derive(Debug)]
pub(super) enum Expect {
    /// An error or the end of the connection, and nothing whole reaches the upstream.
    Refused,
    /// Exactly one of these statuses, and nothing reaches the upstream.
    Status(&'static [u16]),
    /// It reaches the upstream once, so, and the upstream's answer comes back.
    Passes { target: String, body: Vec<u8> },
    /// It is refused, or passes as what was decided on.
    Sound,
}

/// What an attacker says in fields that must not arrive.
pub(super) const MARKER: &str = "cg-marker";

impl Case {
    pub(super) fn new(
        class: Class,
        target: &Target,
        title: impl Into<String>,
        bytes: Vec<u8>,
        expect: Expect,
    ) -> Self {
        Self {
            class,
            title: title.into(),
            bytes,
            expect,
            hides_marker: false,
            is_protected: target.token.is_some(),
            is_rewritten: target.rewritten_to.is_some(),
            requests: 1,
        }
    }

    pub(super) fn hiding_marker(mut self) -> Self {
        self.hides_marker = true;
        self
    }

    /// No credential goes on to the upstream.
    pub(super) fn taking_token_away(mut self) -> Self {
        self.is_protected = false;
        self
    }

    pub(super) fn of_requests(mut self, requests: usize) -> Self {
        self.requests = requests;
        self
    }
}

impl Expect {
    /// It passes as the target stands, without a body.
    pub(super) fn passes(target: &Target) -> Self {
        Self::passes_with(target, "")
    }

    /// The same with a body.
    pub(super) fn passes_with(target: &Target, body: &str) -> Self {
        Self::Passes {
            target: target.forwarded_target(),
            body: body.as_bytes().to_vec(),
        }
    }
}

impl Class {
    pub(super) const ALL: [Self; 14] = [
        Self::Control,
        Self::Path,
        Self::Target,
        Self::Host,
        Self::Headers,
        Self::Bearer,
        Self::FailClosed,
        Self::Session,
        Self::Framing,
        Self::Chunked,
        Self::Grammar,
        Self::ControlBytes,
        Self::Upgrade,
        Self::Routing,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Path => "path",
            Self::Target => "target form",
            Self::Host => "host",
            Self::Headers => "headers",
            Self::Bearer => "bearer",
            Self::FailClosed => "fail closed",
            Self::Session => "session",
            Self::Framing => "framing",
            Self::Chunked => "chunked",
            Self::Grammar => "grammar",
            Self::ControlBytes => "control bytes",
            Self::Upgrade => "upgrade",
            Self::Routing => "routing",
        }
    }

    /// Where to look when a case of the class fails.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Control => {
                "an ordinary request does not pass, so refusals prove nothing: check that the \
                 route's path, host, scope and limits let it"
            }
            Self::Path | Self::Target | Self::Host => {
                "two readings of one address: put nothing in front of the gateway that rewrites \
                 it, and report this to the gateway's authors"
            }
            Self::Routing => {
                "a request can have one route here and mean another to its upstream: report this to \
                 the gateway's authors"
            }
            Self::Headers => {
                "a field that upstreams believe came from outside: add its name to \
                 `gateway.reserved_headers`"
            }
            Self::Bearer | Self::FailClosed | Self::Session => {
                "a request passed without a live token and a permit: let no client reach the \
                 upstream until this is mended, and report it to the gateway's authors"
            }
            Self::Framing | Self::Chunked | Self::Grammar | Self::ControlBytes | Self::Upgrade => {
                "the gateway and an upstream can disagree where a message ends: report it to \
                 the gateway's authors"
            }
        }
    }
}
