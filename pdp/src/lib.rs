//! The Policy Decision Point: AuthZEN questions in, decisions of Cedar policies out.
//!
//! Policies, schema and entities come from a folder. They are read whole, validated strictly and
//! swapped in one pointer store, or refused whole while the old snapshot keeps deciding. A
//! decision never mixes two snapshots, and a `forbid` that cannot be evaluated denies.
//!
//! Never reads a subject's token, never knows a route, and is never asked what its policies say.

mod answer;
mod attributes;
mod callers;
mod cedar_json;
mod check;
mod config;
mod contract;
mod decision_log;
mod depth;
mod engine;
mod entities;
mod error;
mod explain;
mod filter;
mod folder;
mod handout;
mod http;
mod index;
mod load;
mod local;
mod mapping;
mod metadata;
mod meters;
mod native;
mod now;
mod pdp;
mod plain;
mod publish;
mod rate;
mod reads;
mod residual;
mod room;
mod search;
mod second_opinion;
mod shards;
mod short;
mod signing;
mod snapshot;
mod source;
mod spelled;
mod terms;
mod traced;
mod watch;
mod written;

#[cfg(test)]
mod corpora;
#[cfg(test)]
mod domains;
#[cfg(test)]
mod fixture;

pub use check::{CheckReport, check_configured, check_policies};
pub use config::{
    AttributeProviderConfig, CallerConfig, CertificateCallerConfig, EntityRight, ExplainRight,
    HttpSource, InlineEntities, JwtCallerConfig, PdpConfig, PostgresqlSource, RequestProperties,
    SnapshotsConfig, SqliteSource,
};
pub use error::{PdpError, PolicyIssue};
pub use explain::{
    Conjunct, ExplainedOutcome, ExplainedPolicy, Explanation, Mismatch, Place, explain_policies,
};
pub use http::Api;
pub use local::{LocalConfig, LocalPdp};
pub use pdp::{Pdp, PdpParts};
