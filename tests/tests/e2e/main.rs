//! End to end, over real sockets and real processes, in both topologies. One test binary.

mod attack;
mod clients;
mod config_files;
mod curity_wire;
mod dpop;
mod entities;
mod federation;
mod hostile;
mod kill;
mod mtls;
mod oidc_client;
mod outage;
mod pdp_tls;
mod policy_edit;
mod races;
mod readme;
mod register_client;
mod revocation;
mod scope_edit;
mod search;
mod signals;
mod step_up;
mod tidy;
mod token_lifecycle;
mod tour;
mod traces;
