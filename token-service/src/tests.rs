//! The service as its callers see it: requests through the whole router, a real store, a clock
//! that is moved by hand.

mod assertion;
mod authorize;
mod configuration;
mod device;
mod harness;
mod introspect;
mod openid;
mod outage;
mod pushed;
mod races;
mod secrecy;
mod token;
