//! Who may import whom.

use cargo_metadata::DependencyKind;

/// Formats that strangers send, read strictly. Each knows only those before it.
const FORMATS: [&str; 2] = ["strict-json", "jose"];

/// Words and traits that everybody shares. They know formats, and nothing else of ours.
const BOUNDARY: [&str; 4] = ["authzen", "oauth", "store", "service-kit"];

/// What services share that knows the boundary itself.
const SHARED_PARTS: [&str; 1] = ["relying-party"];

/// The three services. They know the boundary, never each other.
const SERVICES: [&str; 3] = ["pdp", "token-service", "gateway-pep"];

/// The only packages that see all.
const BINARY: &str = "cedargate";
const TESTS: &str = "e2e";

/// What measures from outside: it knows none of ours, as a client does not.
const BENCH: &str = "bench";

/// Libraries that one package keeps to itself (a trailing `*` stands for any ending), and why.
const KEPT: [(&str, &[&str], &str); 8] = [
    (
        "cedar-policy*",
        &["pdp"],
        "Cedar's words stay inside the PDP",
    ),
    ("redb", &["store"], "backends are known to the store alone"),
    // The tests break Redis on purpose, and need it in hand for that.
    (
        "redis",
        &["store", TESTS],
        "backends are known to the store alone",
    ),
    (
        "opentelemetry*",
        &["service-kit"],
        "what spans are made with is known to service-kit alone",
    ),
    (
        "prost",
        &["service-kit", "gateway-pep"],
        "spans are made by service-kit alone, and gRPC is spoken to Envoy alone",
    ),
    (
        "rusqlite",
        &["pdp"],
        "databases of others are asked by attribute providers alone",
    ),
    (
        "tokio-postgres*",
        &["pdp"],
        "databases of others are asked by attribute providers alone",
    ),
    (
        "jsonwebtoken",
        &[TESTS],
        "product code signs with prepared keys; this one is the tests' second opinion",
    ),
];

/// A workspace member and what it imports by name.
#[derive(Debug)]
pub(super) struct Package {
    name: String,
    /// Name, and whether only its tests need it.
    imports: Vec<(String, bool)>,
}

impl From<&cargo_metadata::Package> for Package {
    fn from(package: &cargo_metadata::Package) -> Self {
        let imports = package
            .dependencies
            .iter()
            .map(|import| {
                let for_tests = import.kind == DependencyKind::Development;
                (import.name.clone(), for_tests)
            })
            .collect();
        Self {
            name: package.name.to_string(),
            imports,
        }
    }
}

/// Every import that a rule forbids.
pub(super) fn complaints(packages: &[Package]) -> Vec<String> {
    let ours: Vec<_> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut complaints = Vec::new();
    for package in packages {
        let Some(allowed) = allowed(&package.name) else {
            complaints.push(format!(
                "`{}` is new: say in tidy/dependencies.rs what it may import",
                package.name
            ));
            continue;
        };
        for (import, for_tests) in &package.imports {
            if ours.contains(&import.as_str()) && !allowed.contains(&import.as_str()) {
                complaints.push(format!("`{}` may not import `{import}`", package.name));
            }
            complaints.extend(kept_from(&package.name, import, *for_tests));
        }
    }
    complaints
}

/// Which of ours a package may import; none where nobody has said so.
fn allowed(package: &str) -> Option<Vec<&'static str>> {
    let shared = || FORMATS.into_iter().chain(BOUNDARY);
    let of_services = || shared().chain(SHARED_PARTS);
    let everything = || of_services().chain(SERVICES);
    if let Some(at) = FORMATS.iter().position(|format| *format == package) {
        Some(FORMATS.into_iter().take(at).collect())
    } else if package == BENCH {
        Some(Vec::new())
    } else if BOUNDARY.contains(&package) {
        Some(FORMATS.to_vec())
    } else if SHARED_PARTS.contains(&package) {
        Some(shared().collect())
    } else if SERVICES.contains(&package) {
        Some(of_services().collect())
    } else if package == BINARY {
        Some(everything().collect())
    } else if package == TESTS {
        Some(everything().chain([BINARY]).collect())
    } else {
        None
    }
}

fn kept_from(package: &str, import: &str, for_tests: bool) -> Option<String> {
    let (pattern, keepers, why) = KEPT.into_iter().find(|(pattern, ..)| {
        pattern
            .strip_suffix('*')
            .map_or(*pattern == import, |stem| import.starts_with(stem))
    })?;
    // A service's tests may verify signatures with a library that its code may not sign with, and
    // read spans that its code has others send.
    let second_opinion =
        for_tests && ["jsonwebtoken", "opentelemetry*", "prost"].contains(&pattern);
    (!keepers.contains(&package) && !second_opinion)
        .then(|| format!("`{package}` may not import `{import}`: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, imports: &[(&str, bool)], expected: &[&str]) {
        let mut packages: Vec<_> = FORMATS
            .into_iter()
            .chain(BOUNDARY)
            .chain(SHARED_PARTS)
            .chain(SERVICES)
            .chain([BINARY, TESTS])
            .filter(|ours| *ours != name)
            .map(|ours| Package {
                name: ours.to_owned(),
                imports: Vec::new(),
            })
            .collect();
        packages.push(Package {
            name: name.to_owned(),
            imports: imports
                .iter()
                .map(|(import, for_tests)| ((*import).to_owned(), *for_tests))
                .collect(),
        });
        let complaints = complaints(&packages);
        assert_eq!(complaints.len(), expected.len(), "{complaints:?}");
        for (complaint, part) in complaints.iter().zip(expected) {
            assert!(complaint.contains(part), "{complaint} has no {part}");
        }
    }

    #[test]
    fn services_that_import_each_other_are_found() {
        check(
            "gateway-pep",
            &[("authzen", false), ("pdp", false)],
            &["`gateway-pep` may not import `pdp`"],
        );
        check(
            "pdp",
            &[("token-service", true)],
            &["may not import `token-service`"],
        );
    }

    #[test]
    fn boundary_crates_that_import_ours_are_found() {
        check(
            "oauth",
            &[("serde", false), ("service-kit", false), ("jose", false)],
            &["`oauth` may not import `service-kit`"],
        );
        check(
            "strict-json",
            &[("jose", false)],
            &["may not import `jose`"],
        );
        check("jose", &[("strict-json", false)], &[]);
        check(
            "service-kit",
            &[("relying-party", false)],
            &["may not import `relying-party`"],
        );
        check("gateway-pep", &[("relying-party", false)], &[]);
    }

    #[test]
    fn only_the_tests_may_import_the_binary() {
        check("e2e", &[("cedargate", false), ("pdp", false)], &[]);
        check(
            "pdp",
            &[("cedargate", false)],
            &["may not import `cedargate`"],
        );
        check("cedargate", &[("e2e", true)], &["may not import `e2e`"]);
    }

    #[test]
    fn kept_libraries_are_found_elsewhere() {
        check(
            "pdp",
            &[("cedar-policy", false), ("cedar-policy-core", false)],
            &[],
        );
        check(
            "gateway-pep",
            &[("cedar-policy-core", false), ("redis", false)],
            &["`cedar-policy-core`", "`redis`"],
        );
        check("store", &[("redb", false), ("redis", false)], &[]);
        check(
            "token-service",
            &[("jsonwebtoken", true), ("jsonwebtoken", false)],
            &["prepared keys"],
        );
    }

    #[test]
    fn only_tests_read_spans() {
        check(
            "service-kit",
            &[("opentelemetry_sdk", false), ("prost", false)],
            &[],
        );
        check(
            "pdp",
            &[
                ("opentelemetry-proto", true),
                ("prost", true),
                ("opentelemetry", false),
            ],
            &["`pdp` may not import `opentelemetry`"],
        );
    }

    #[test]
    fn an_unknown_package_must_be_given_a_place() {
        check("utils", &[], &["`utils` is new"]);
    }
}
