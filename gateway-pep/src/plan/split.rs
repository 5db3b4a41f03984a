//! A route's upstreams, and which of them gets a request. That is settled before a token is swapped: its JWT is cut
//! for one of them.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use service_kit::ConfigIssue;

use super::UpstreamTimes;
use super::reading::is_said_by_clients;
use crate::config::{Config, RouteConfig};
use crate::headers::Reserved;
use crate::maglev::{Maglev, draw, hash};

/// Several upstreams of one route.
#[derive(Debug)]
pub(crate) struct Split {
    pub(crate) shares: Vec<Share>,
    sticky: Option<Sticky>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Share {
    /// Index into [`super::Plan::upstreams`].
    pub(crate) upstream: usize,
    pub(crate) name: Arc<str>,
    pub(crate) weight: u32,
    pub(crate) times: UpstreamTimes,
}

/// What leads to the same upstream again.
#[derive(Debug)]
struct Sticky {
    on: StickyOn,
    table: Maglev,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum StickyOn {
    Header(HeaderName),
    Subject,
}

/// The largest weight: sums of all of them stay far from any end.
const HEAVIEST: u32 = 1_000;

/// So many that choosing among them costs nothing that counts.
const MOST: usize = 16;

/// Where a route leads, as far as that is known.
#[derive(Debug)]
pub(super) struct Destinations {
    /// The heaviest of all.
    pub(super) main: usize,
    pub(super) times: UpstreamTimes,
    /// None: there is no other.
    pub(super) split: Option<Box<Split>>,
}

impl Destinations {
    pub(super) fn compile(
        route: &RouteConfig,
        config: &Config,
        reserved: &Reserved,
    ) -> Result<Self, Vec<ConfigIssue>> {
        let mut issues = Vec::new();
        let mut shares = Vec::new();
        for (name, weight) in route.upstream.all() {
            let (upstream, times) = match named(name, route, config) {
                Ok(named) => named,
                Err(issue) => {
                    issues.push(issue);
                    continue;
                }
            };
            if !(1..=HEAVIEST).contains(&weight) {
                issues.push(
                    ConfigIssue::new(format!(
                        "`upstream`: the weight of `{name}` must be from 1 to {HEAVIEST}"
                    ))
                    .hint("leave out an upstream that is to get nothing"),
                );
            }
            shares.push(Share {
                upstream,
                name: name.into(),
                weight,
                times,
            });
        }
        if shares.len() > MOST || route.upstream.all().len() == 0 {
            issues.push(
                ConfigIssue::new(format!("`upstream` must name from 1 to {MOST} upstreams"))
                    .hint("write one name, or names with weights"),
            );
        }
        let sticky = StickyOn::compile(route, reserved).unwrap_or_else(|issue| {
            issues.push(issue);
            None
        });
        // Of equals the first by its name: the same at every gateway.
        let main = shares.iter().rev().max_by_key(|share| share.weight);
        match main.map(|main| (main.upstream, main.times)) {
            Some((main, times)) if issues.is_empty() => Ok(Self {
                main,
                times,
                split: (shares.len() > 1).then(|| Box::new(Split::new(shares, sticky))),
            }),
            _ => Err(issues),
        }
    }
}

/// An upstream by its name, and how long it may take on a route.
pub(super) fn named(
    name: &str,
    route: &RouteConfig,
    config: &Config,
) -> Result<(usize, UpstreamTimes), ConfigIssue> {
    let index = config.upstreams.keys().position(|known| known == name);
    let found = index.zip(config.upstreams.get(name));
    let (index, own) = found.ok_or_else(|| {
        ConfigIssue::new(format!("there is no upstream `{name}`")).hint("name it under `upstreams`")
    })?;
    let times = UpstreamTimes::new(&route.timeouts, &own.timeouts, &config.gateway.timeouts);
    Ok((index, times))
}

impl StickyOn {
    fn compile(route: &RouteConfig, reserved: &Reserved) -> Result<Option<Self>, ConfigIssue> {
        let Some(text) = &route.sticky_on else {
            return Ok(None);
        };
        let wrong = |why: &str| {
            ConfigIssue::new(format!("`sticky_on: {text}` {why}"))
                .hint("write `subject` or `header:name`, where there are several upstreams")
        };
        if route.upstream.all().len() < 2 {
            return Err(wrong("means nothing with one upstream"));
        }
        match text.split_once(':') {
            None if text == "subject" && route.public => {
                Err(wrong("cannot be on a public route: nobody says who calls"))
            }
            None if text == "subject" => Ok(Some(Self::Subject)),
            Some(("header", name)) => match HeaderName::try_from(name) {
                Ok(name) if is_said_by_clients(&name, reserved) => Ok(Some(Self::Header(name))),
                Ok(_) => Err(wrong("is not the client's to say")),
                Err(_) => Err(wrong("is no name of a header")),
            },
            _ => Err(wrong("is nothing of a request")),
        }
    }
}

impl Split {
    fn new(shares: Vec<Share>, sticky: Option<StickyOn>) -> Self {
        let weights = shares.iter().map(|share| (&*share.name, share.weight));
        let table = sticky.map(|on| Sticky {
            on,
            table: Maglev::new(weights),
        });
        Self {
            sticky: table,
            shares,
        }
    }

    /// Whether nobody knows before who calls.
    pub(crate) fn is_by_subject(&self) -> bool {
        let sticky = self.sticky.as_ref();
        sticky.is_some_and(|sticky| sticky.on == StickyOn::Subject)
    }

    /// The upstream of whoever calls.
    pub(crate) fn of_subject(&self, id: &str) -> Option<usize> {
        self.of(hash(id.as_bytes()))
    }

    /// The upstream of a request. One that does not say what leads to the same one again gets any of them.
    pub(crate) fn of_request(&self, headers: &HeaderMap) -> Option<usize> {
        if let Some(Sticky {
            on: StickyOn::Header(name),
            ..
        }) = &self.sticky
            && let Some(value) = headers.get(name)
        {
            return self.of(hash(value.as_bytes()));
        }
        let shares = self.shares.iter();
        draw(shares.map(|share| (share.upstream, share.weight))).map(|(upstream, _)| upstream)
    }

    fn of(&self, key: u64) -> Option<usize> {
        let slot = self.sticky.as_ref()?.table.candidates(key).next()?;
        self.shares.get(slot).map(|share| share.upstream)
    }

    /// How long this one of them may take.
    pub(crate) fn times(&self, upstream: usize) -> Option<UpstreamTimes> {
        let mut shares = self.shares.iter();
        let share = shares.find(|share| share.upstream == upstream);
        share.map(|share| share.times)
    }

    pub(crate) fn leads_to(&self, upstream: usize) -> bool {
        self.shares.iter().any(|share| share.upstream == upstream)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http::HeaderValue;

    use super::super::tests::compile;
    use super::*;

    const UPSTREAMS: &str = "upstreams: { a: 'http://a', b: 'http://b', c: 'http://c' }";

    fn split(settings: &str) -> Result<Box<Split>, String> {
        let text = format!(
            "{UPSTREAMS}\nroutes: [{{ match: /x, methods: [GET], action: v, resource: R/x, {settings} }}]\n"
        );
        let plan = compile(&text).map_err(|issues| issues.join("\n"))?;
        let route = plan.routes.into_iter().next().unwrap();
        Ok(route.split.unwrap())
    }

    /// How many of 10 000 each upstream gets.
    fn counts(mut choose: impl FnMut(u32) -> Option<usize>) -> BTreeMap<usize, u32> {
        let mut counts = BTreeMap::new();
        for number in 0..10_000 {
            *counts.entry(choose(number).unwrap()).or_default() += 1;
        }
        counts
    }

    #[test]
    fn each_upstream_gets_its_share() {
        let drawn = split("upstream: { a: 95, b: 5 }").unwrap();
        let none = HeaderMap::new();
        let found = counts(|_| drawn.of_request(&none));
        assert!((350..650).contains(&found[&1]), "{found:?}");
        let sticky = split("upstream: { a: 90, c: 10 }, sticky_on: 'header:X-Tenant'").unwrap();
        let said = |number: u32| {
            HeaderMap::from_iter([(
                HeaderName::from_static("x-tenant"),
                HeaderValue::from(number),
            )])
        };
        let found = counts(|number| sticky.of_request(&said(number)));
        assert!((700..1300).contains(&found[&2]), "{found:?}");
        for number in 0..100 {
            let (one, other) = (said(number), said(number));
            assert_eq!(sticky.of_request(&one), sticky.of_request(&other));
        }
    }

    #[test]
    fn a_growing_share_takes_few_from_others_but_its_own() {
        let before = split("upstream: { a: 95, b: 5 }, sticky_on: subject").unwrap();
        let after = split("upstream: { a: 80, b: 20 }, sticky_on: subject").unwrap();
        assert!(before.is_by_subject());
        let of = |split: &Split, number: u32| split.of_subject(&format!("user-{number}")).unwrap();
        let back =
            (0..10_000).filter(|number| of(&before, *number) == 1 && of(&after, *number) == 0);
        let back = back.count();
        assert!(back < 100, "{back} of 10 000 went back");
        let found = counts(|number| Some(of(&after, number)));
        assert!((1700..2300).contains(&found[&1]), "{found:?}");
    }

    #[test]
    fn mistakes_say_what_to_do() {
        for (settings, expected) in [
            ("upstream: { a: 1, d: 1 }", "there is no upstream `d`"),
            (
                "upstream: { a: 0, b: 1 }",
                "the weight of `a` must be from 1 to 1000",
            ),
            (
                "upstream: { a: 1001, b: 1 }",
                "the weight of `a` must be from 1 to 1000",
            ),
            ("upstream: {}", "must name from 1 to 16"),
            (
                "upstream: a, sticky_on: subject",
                "means nothing with one upstream",
            ),
            (
                "upstream: { a: 1, b: 1 }, sticky_on: cookie",
                "is nothing of a request",
            ),
            (
                "upstream: { a: 1, b: 1 }, sticky_on: 'header:authorization'",
                "is not the client's to say",
            ),
        ] {
            let error = split(settings).unwrap_err();
            assert!(error.contains(expected), "{settings}: {error}");
        }
        let public = format!(
            "{UPSTREAMS}\nroutes: [{{ match: /x, methods: [GET], public: true, upstream: {{ a: 1, b: 1 }}, sticky_on: subject }}]\n"
        );
        let issues = compile(&public).map(drop).unwrap_err();
        assert!(
            issues[0].contains("cannot be on a public route"),
            "{issues:?}"
        );
    }
}
