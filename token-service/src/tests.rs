//! The service as its callers see it: requests through the whole router, a real store, a clock
//! that is moved by hand.

mod algorithms;
mod api_keys;
mod assertion;
mod authorize;
mod client_documents;
mod configuration;
mod device;
mod dpop;
mod exchange;
mod federation;
mod harness;
mod id_token_hint;
mod interleavings;
mod introspect;
mod jwt_bearer;
mod limits;
mod logout;
mod minted;
mod mtls;
mod native_apps;
mod openid;
mod outage;
mod passwords;
mod pushed;
mod races;
mod refresh;
mod registration;
mod revocation;
mod secrecy;
mod signals;
mod signer;
mod timing;
mod token;
mod without_pkce;
