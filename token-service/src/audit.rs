//! The audit log: what was granted, refused and revoked, to whom, and the reason that the wire
//! does not tell. Never a token, code, password, secret or what somebody typed as a username.

/// Writes one audit event: `audit!("event", reason = …, client = …)`.
macro_rules! audit {
    ($event:literal $(, $name:ident = $value:expr)* $(,)?) => {
        tracing::info!(target: "audit", event = $event $(, $name = %$value)*)
    };
}

pub(crate) use audit;
