//! What the gateway does not do, and so cannot be attacked in. Where a feature comes, its attacks must
//! come with it: a test holds each of these against the configuration's schema.

/// One kind of attack without a target.
#[derive(Debug, Clone, Copy)]
pub struct Absent {
    pub what: &'static str,
    pub reason: &'static str,
    /// Words that would be in the name of a key of `gateway`, `upstreams` or `routes` that turned it on.
    pub keys: &'static [&'static str],
}

/// All of them.
pub const ABSENT: &[Absent] = &[
    Absent {
        what: "response cache",
        reason: "the gateway keeps no responses",
        keys: &["response_cache", "responses", "freshness"],
    },
    Absent {
        what: "rate limits",
        reason: "only a decision asks for them, and those of the attack ask for nothing",
        keys: &["quota", "per_minute", "per_second"],
    },
    Absent {
        what: "patterns",
        reason: "no path, host or value is matched by a pattern, or made by one",
        keys: &["regex", "pattern", "strip"],
    },
];
