//! By which names the admin listener is asked. A page of the web can be led to a loopback address by a name of its own
//! (DNS rebinding); the browser then sends that name.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use service_kit::Problem;

/// Answers only those who ask by an address, by `localhost`, or by one of `hosts`.
pub(crate) fn guarded(router: Router, hosts: &[String]) -> Router {
    let hosts: Arc<[String]> = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
    router.layer(from_fn_with_state(hosts, check))
}

async fn check(State(hosts): State<Arc<[String]>>, request: Request, next: Next) -> Response {
    let mut sent = request.headers().get_all(header::HOST).iter();
    let is_known = match (sent.next(), sent.next(), request.uri().host()) {
        (Some(host), None, _) => host.to_str().is_ok_and(|host| is_known(host, &hosts)),
        // HTTP/2 says it in the target alone.
        (None, None, Some(host)) => is_known(host, &hosts),
        _ => false,
    };
    if is_known {
        return next.run(request).await;
    }
    Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown-host")
        .detail("ask by an address, by `localhost`, or by one of `admin.hosts`")
        .into_response()
}

/// An address in the place of a name is the listener's own: nobody else would get the request.
fn is_known(host: &str, hosts: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok()
        || hosts.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_somebody_else_is_not_ours() {
        let hosts = ["gateway-1.internal".to_owned()];
        for host in [
            "localhost",
            "LOCALHOST:9901",
            "127.0.0.1:9901",
            "[::1]:9901",
            "10.1.2.3",
            "Gateway-1.internal:9901",
        ] {
            assert!(is_known(host, &hosts), "{host}");
        }
        for host in [
            "",
            "attacker.test",
            "attacker.test:9901",
            "127.0.0.1.attacker.test",
            "localhost.attacker.test",
            "[attacker.test]",
            "gateway-1.internal.attacker.test",
            "[::1",
        ] {
            assert!(!is_known(host, &hosts), "{host}");
        }
    }
}
