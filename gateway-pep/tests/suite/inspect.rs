//! What whoever operates a gateway sees of its routes and upstreams.

use crate::fixture::{Fixture, Setup, eventually};

#[tokio::test]
async fn routes_are_those_in_force() {
    let fixture = Fixture::start().await;
    let routes = serde_json::to_value(fixture.gateway.inspector().routes()).unwrap();
    let first = &routes[0];
    assert_eq!(first["match"], "/records/{id}");
    assert_eq!(first["methods"], serde_json::json!(["GET", "PUT", "POST"]));
    assert_eq!(first["issuers"], serde_json::json!(["token_service"]));
    assert_eq!(
        (&first["action"], &first["is_public"]),
        (&"view".into(), &false.into())
    );
    let public = routes
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["is_public"] == true);
    assert_eq!(public.unwrap()["issuers"], serde_json::json!([]));
    assert!(public.unwrap().get("action").is_none());
    assert_eq!(first["encoded_characters"], serde_json::json!([]));
    let websockets = routes.as_array().unwrap().iter();
    let websockets: Vec<_> = websockets.filter(|it| it["websocket"] == true).collect();
    assert!(!websockets.is_empty() && *first != *websockets[0]);
}

#[tokio::test]
async fn an_upstream_says_how_it_is() {
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let down = nowhere.local_addr().unwrap();
    drop(nowhere);
    let mut setup = Setup::new().await;
    let up = setup.upstream.addr;
    setup.upstream_settings = format!(
        "endpoints: ['{up}', {{ address: '{down}', weight: 2 }}], outlier_detection: {{ consecutive_failures: 2, \
         ejection_secs: 60 }}, retries: {{ attempts: 1 }}"
    );
    let fixture = setup.start().await;
    let inspector = fixture.gateway.inspector();
    let of = |name: String| {
        let upstreams = serde_json::to_value(inspector.upstreams()).unwrap();
        let endpoints = upstreams[0]["endpoints"].as_array().unwrap().clone();
        endpoints.into_iter().find(|it| it["name"] == name).unwrap()
    };
    assert_eq!(of(down.to_string())["share"], 2);
    assert_eq!(of(up.to_string())["is_up"], true);
    for n in 0..12 {
        fixture.get(&format!("/records/{n}"), "at_alice").await;
    }
    eventually("it is ejected", || of(down.to_string())["share"] == 0).await;
    let ejected = of(down.to_string());
    assert_eq!(
        (&ejected["is_up"], &ejected["ejections"]),
        (&false.into(), &1.into())
    );
    assert_eq!(ejected["weight"], 2);
    assert!(of(up.to_string())["requests"].as_u64().unwrap() > 0);
    let upstreams = serde_json::to_value(inspector.upstreams()).unwrap();
    assert_eq!(upstreams[0]["name"], "a");
    assert_eq!(upstreams[0]["load_balancing"], "round_robin");
    assert_eq!(upstreams[0]["pending"], 0);
}
