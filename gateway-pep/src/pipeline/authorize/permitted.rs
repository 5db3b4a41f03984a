//! A request that may be forwarded: by whom, by which decision, under which conditions.

use std::rc::Rc;

use crate::cache::verdict::{Outcome, Verdict};
use crate::canonical::CanonicalRequest;
use crate::identity::Identity;
use crate::obligation::Obligations;
use crate::pipeline::authenticate::shown::Shown;
use crate::question::Particulars;

/// A request that may be forwarded, under its conditions. Nothing but the authorization makes one.
#[derive(Debug)]
pub(crate) struct Permitted {
    request: CanonicalRequest,
    route: usize,
    upstream: usize,
    permit: Permit,
    shown: Option<Shown>,
    /// What was asked beside what the path says.
    particulars: Vec<Particulars>,
}

#[derive(Debug)]
pub(super) enum Permit {
    Public,
    Granted {
        caller: Rc<Identity>,
        verdict: Rc<Verdict>,
    },
}

impl Permitted {
    /// SECURITY: where the answer was yes, and its conditions hold.
    pub(super) fn new(
        request: CanonicalRequest,
        (route, upstream): (usize, usize),
        (permit, shown): (Permit, Option<Shown>),
        particulars: Vec<Particulars>,
    ) -> Self {
        Self {
            request,
            route,
            upstream,
            permit,
            shown,
            particulars,
        }
    }

    /// It stands on another answer from now on.
    pub(super) fn renew(&mut self, permit: Permit) {
        self.permit = permit;
    }

    pub(super) fn particulars(&self) -> &[Particulars] {
        &self.particulars
    }

    pub(crate) fn request(&self) -> &CanonicalRequest {
        &self.request
    }

    pub(crate) fn request_mut(&mut self) -> &mut CanonicalRequest {
        &mut self.request
    }

    pub(crate) fn route(&self) -> usize {
        self.route
    }

    /// Where it may be forwarded to: index into [`crate::plan::Plan::upstreams`].
    pub(crate) fn upstream(&self) -> usize {
        self.upstream
    }

    /// Whose request it is; none where the route is public.
    pub(crate) fn caller(&self) -> Option<&Identity> {
        match &self.permit {
            Permit::Public => None,
            Permit::Granted { caller, .. } => Some(caller),
        }
    }

    /// With which credential; none where the route is public.
    pub(crate) fn shown(&self) -> Option<&Shown> {
        self.shown.as_ref()
    }

    /// Who was permitted, and by which decision; none where the route is public.
    pub(crate) fn granted(&self) -> Option<(&Rc<Identity>, &Rc<Verdict>)> {
        match &self.permit {
            Permit::Public => None,
            Permit::Granted { caller, verdict } => Some((caller, verdict)),
        }
    }

    /// Its conditions; none where the route is public.
    pub(crate) fn obligations(&self) -> Option<&Obligations> {
        match &self.granted()?.1.outcome {
            Outcome::Permit(obligations) => Some(obligations),
            Outcome::Deny | Outcome::UnknownObligation => None,
        }
    }
}
