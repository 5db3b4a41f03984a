//! What it takes to find a route, by the instructions of it: the same whatever else the machine does. Counted by
//! valgrind, which `script/test` asks for.

use std::process::Command;

use http::{HeaderMap, HeaderValue, Method};

use super::super::{Asked, Condition, Lookup, Named, Place, Router, Wanted};

/// Lookups that are counted.
const LOOKUPS: usize = 100;

/// How many routes there are, for [`lookups`].
const ROUTES: &str = "CEDARGATE_TEST_ROUTES";

/// A route, in one of the ways in which there can be many: of hosts of their own, under one prefix, behind a
/// parameter, told by a value.
struct Many(usize);

impl Many {
    fn host(&self) -> String {
        match self.0 % 4 {
            0 => format!("tenant-{}.example.org", self.0),
            _ => "api.example.org".into(),
        }
    }

    fn template(&self) -> String {
        match self.0 % 4 {
            0 => "/records/{id}".into(),
            1 => format!("/api/v1/service-{}/items/{{id}}", self.0),
            2 => format!("/of/{{tenant}}/kind-{}/{{*rest}}", self.0),
            _ => "/told/{id}".into(),
        }
    }

    fn path(&self) -> String {
        let path = self.template().replace("{id}", "1001");
        path.replace("{tenant}", "acme").replace("{*rest}", "a/b")
    }

    fn value(&self) -> Option<String> {
        (self.0 % 4 == 3).then(|| format!("client-{}", self.0))
    }

    fn add_to(&self, router: &mut Router) {
        let told = |value| Condition {
            place: Place::Header(http::HeaderName::from_static("x-client")),
            wanted: Wanted::Exact(value),
        };
        let added = router.insert(Named {
            route: self.0,
            host: self.0.is_multiple_of(4).then(|| self.host()).as_deref(),
            template: &self.template(),
            methods: &[Some(Method::GET)],
            priority: 0,
            conditions: self.value().map(told).into_iter().collect(),
        });
        added.unwrap();
    }
}

#[inline(never)]
fn one_lookup<'r>(router: &'r Router, asked: Asked<'r>) -> Lookup<'r> {
    router.find(asked)
}

#[test]
#[ignore = "started by the test that counts its instructions"]
fn lookups() {
    let routes: usize = std::env::var(ROUTES).unwrap().parse().unwrap();
    let mut router = Router::default();
    for route in 0..routes {
        Many(route).add_to(&mut router);
    }
    assert_eq!(router.finish(), []);
    for lookup in 0..LOOKUPS {
        // Some of each kind, from the first to the last.
        let wanted = Many((lookup * routes / LOOKUPS / 4 * 4 + lookup % 4).min(routes - 1));
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_static("*/*"));
        if let Some(value) = wanted.value() {
            headers.insert("x-client", HeaderValue::try_from(value).unwrap());
        }
        let asked = Asked {
            host: &wanted.host(),
            method: &Method::GET,
            path: &wanted.path(),
            query: Some("page=1"),
            headers: &headers,
        };
        let found = one_lookup(&router, asked);
        assert!(matches!(found, Lookup::Route { route } if route == wanted.0));
    }
}

/// Instructions that all lookups take.
fn counted(routes: usize) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*profile::one_lookup*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "--test-threads=1",
            "route::tests::profile::lookups",
        ])
        .env(ROUTES, routes.to_string())
        .output()
        .expect("valgrind, which counts instructions: install it");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{run:?}");
    let text = std::fs::read_to_string(&out).unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("summary: "));
    total.expect("a summary").trim().parse().unwrap()
}

#[test]
fn a_route_among_ten_thousand_is_found_as_fast_as_one_among_ten() {
    let few = counted(12);
    let many = counted(10_000);
    println!(
        "{} instructions of 12 routes, {} of 10 000",
        few / 100,
        many / 100
    );
    assert!(few > 10_000, "{few}: nothing was counted");
    // Digits of the numbers that stand in their names, and nothing else.
    assert!(
        many < few + few / 2,
        "{few} instructions of 12 routes, {many} of 10 000"
    );
}

/// What the process has in memory, in kilobytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    kilobytes.unwrap().parse().unwrap()
}

#[test]
#[ignore = "a measurement: `bench/routes` runs it"]
fn ten_thousand_routes_are_read() {
    let routes = (0..10_000).map(|route| {
        let many = Many(route);
        let host = if route.is_multiple_of(4) {
            format!("host: {}, ", many.host())
        } else {
            String::new()
        };
        let when = many.value().map(|value| {
            format!(", when: {{ headers: {{ X-Client: {{ exact: {value} }} }} }}")
        });
        format!(
            "- {{ match: '{}', methods: [GET], {host}upstream: a, action: view, resource: R/x{} }}\n",
            many.template(),
            when.unwrap_or_default()
        )
    });
    let routes: String = routes.collect();
    let text = format!("upstreams: {{ a: 'http://x' }}\nroutes:\n{routes}");
    let (before, began) = (resident(), tokio::time::Instant::now());
    let plan = crate::plan::tests::compile(&text).unwrap();
    let (took, kept) = (began.elapsed(), resident() - before);
    println!(
        "{} routes: read in {took:?}, {kept} kB more in memory",
        plan.routes.len()
    );
}
