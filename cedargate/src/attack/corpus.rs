//! The attacks, by class, written for the routes at hand. Facts about what has broken gateways are
//! everybody's; the cases are our own.

mod address;
mod bearer;
mod chunked;
mod control;
mod framing;
mod grammar;
mod headers;
mod jwt;
mod path;
mod routing;
mod session;
mod upgrade;

use super::absent::ABSENT;
use super::case::Case;
use super::issuer::StubIssuer;
use super::report::NotApplicable;
use super::target::Target;

/// What there is to attack.
#[derive(Debug)]
pub(super) struct Range<'t> {
    all: &'t [Target],
    read: Option<&'t Target>,
    write: Option<&'t Target>,
    reserved: &'t [String],
    issuers: Option<Issuers<'t>>,
}

/// Whoever signs JWTs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Issuers<'t> {
    /// In the place of those of the file.
    pub(super) known: &'t StubIssuer,
    pub(super) stranger: &'t StubIssuer,
}

impl<'t> Range<'t> {
    pub(super) fn new(targets: &'t [Target], reserved: &'t [String]) -> Self {
        Self {
            all: targets,
            read: Target::to_read(targets),
            write: Target::to_write(targets),
            reserved,
            issuers: None,
        }
    }

    pub(super) fn with(mut self, issuers: Issuers<'t>) -> Self {
        self.issuers = Some(issuers);
        self
    }
}

/// Every case that applies.
pub(super) fn cases(range: &Range<'_>) -> Vec<Case> {
    let (Some(read), Some(write)) = (range.read, range.write) else {
        return Vec::new();
    };
    let mut cases = control::cases(range.all, read, write);
    cases.extend(path::cases(range.all, read));
    cases.extend(address::cases(read));
    cases.extend(headers::cases(read, range.reserved));
    cases.extend(bearer::cases(range.all, read));
    cases.extend(session::cases(range.all, read));
    if let Some(Issuers { known, stranger }) = range.issuers {
        cases.extend(jwt::cases(range.all, known, stranger));
    }
    cases.extend(framing::cases(write));
    cases.extend(chunked::cases(write));
    cases.extend(grammar::cases(read));
    cases.extend(upgrade::cases(read));
    cases.extend(routing::cases(range.all));
    cases
}

/// What is not tried, and why.
pub(super) fn not_applicable(range: &Range<'_>) -> Vec<NotApplicable> {
    let mut list: Vec<_> = ABSENT
        .iter()
        .map(|absent| NotApplicable {
            what: absent.what,
            reason: absent.reason.to_owned(),
        })
        .collect();
    if !range.all.iter().any(|target| target.jwt_issuer.is_some()) {
        list.push(NotApplicable {
            what: "JWT bearer",
            reason: "no route of this file takes JWTs of an issuer".to_owned(),
        });
    }
    let has_login = range.all.iter().any(|target| target.login.is_some());
    list.push(if has_login {
        NotApplicable {
            what: "live sessions",
            reason: "nobody logs in without the provider, which is not asked".to_owned(),
        }
    } else {
        NotApplicable {
            what: "logins",
            reason: "no route of this file has one".to_owned(),
        }
    });
    let is_told = |target: &Target| !target.when.is_empty() || target.rewritten_to.is_some();
    if !range.all.iter().any(is_told) {
        list.push(NotApplicable {
            what: "routing",
            reason: "no route of this file has `when` or rewrites its path".to_owned(),
        });
    }
    if range.all.iter().all(|target| target.token.is_none()) {
        list.push(NotApplicable {
            what: "bearer",
            reason: "every route of this file is public".to_owned(),
        });
    } else if !range.all.iter().any(|target| !target.scope.is_empty()) {
        list.push(NotApplicable {
            what: "scopes",
            reason: "no route of this file wants one".to_owned(),
        });
    }
    list
}
