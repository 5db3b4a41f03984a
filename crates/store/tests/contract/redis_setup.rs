//! How a Redis is reached: prefixes, passwords, TLS, and what a wrong configuration says.

use std::error::Error;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use store::{RedisConfig, RedisStore, Store, StoreConfig, StoreError};
use tempfile::TempDir;

use crate::backends::{MAX_EVENTS, memory, redis_at, redis_with, wall_clock};
use crate::contract_suite::{bytes, scan_all};
use crate::redis_server::RedisServer;

const PASSWORD: &str = "correct-horse-battery";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_under_different_prefixes_do_not_see_each_other() {
    let server = RedisServer::start().await;
    let mut stores: Vec<Arc<dyn Store>> = Vec::new();
    for prefix in ["one:", "one:k:", "*", ""] {
        let mut config = RedisConfig::at(server.url());
        prefix.clone_into(&mut config.prefix);
        stores.push(Arc::new(redis_with(&config)));
    }
    for (n, store) in stores.iter().enumerate() {
        let key = format!("a:{n}");
        store.put(&key, bytes("v"), None).await.unwrap();
        store.append("log", bytes("e")).await.unwrap();
        assert_eq!(store.count("a:x", Duration::from_mins(1)).await.unwrap(), 1);
    }
    for (n, store) in stores.iter().enumerate() {
        let own = scan_all(store, "a:", 10).await;
        assert_eq!(own, [format!("a:{n}")].into());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_opens_the_door_and_is_never_told() {
    let server = RedisServer::start_with(&["--requirepass", PASSWORD]).await;
    let socket = server.url();
    let right = RedisConfig::at(format!("{socket}?pass={PASSWORD}"));
    redis_with(&right).ping().await.unwrap();

    let folder = TempDir::new().unwrap();
    let url_file = format!("{socket}?pass={PASSWORD}\n");
    std::fs::write(folder.path().join("redis.url"), url_file).unwrap();
    let config: StoreConfig =
        serde_json::from_str(r#"{"redis": {"url_file": "redis.url"}}"#).unwrap();
    let store = store::open(&config, folder.path(), wall_clock())
        .await
        .unwrap();
    store.ping().await.unwrap();

    let wrong = RedisConfig::at(format!("{socket}?pass=wrong-{PASSWORD}"));
    let store = redis_with(&wrong);
    let error = store.ping().await.unwrap_err();
    assert!(
        !error.is_transient(),
        "asking again does not help: {error:?}"
    );
    let mut told = format!("{wrong:?} {store:?} {right:?} {}", whole(&error));
    for odd in ["", "http://", "redis://:", "rediss://\0", "redis+x://u:"] {
        let config = RedisConfig::at(format!("{odd}{PASSWORD}@:x/y"));
        let error = open(&config).unwrap_err();
        told.push_str(&whole(&error));
    }
    assert!(!told.contains(PASSWORD), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_foreign_program_wrote_is_an_error_that_does_not_quote_it() {
    let server = RedisServer::start().await;
    let store = redis_at(&server);
    server
        .command(&["RPUSH", "cedargate:k:a:list", "s3cret"])
        .await;
    server
        .command(&["SET", "cedargate:c:a:count", "s3cret"])
        .await;
    let count = store.count("a:count", Duration::from_secs(1)).await;
    let list = store.get("a:list").await;
    for error in [list.unwrap_err(), count.unwrap_err()] {
        assert!(!error.is_transient(), "{error:?}");
        assert!(!whole(&error).contains("s3cret"), "{error:?}");
    }
    let page = store.scan("a:", None, 10).await.unwrap();
    assert_eq!(page.entries, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_or_cursor_of_another_backend_is_refused() {
    let server = RedisServer::start().await;
    let (redis, memory) = (redis_at(&server), memory().store());
    let (of_redis, of_memory) = (redis.tail("l").await, memory.tail("l").await);
    let wait = Duration::ZERO;
    let there = redis.follow("l", &of_memory.unwrap(), wait).await;
    let here = memory.follow("l", &of_redis.unwrap(), wait).await;
    for page in [there, here] {
        assert!(matches!(page, Err(StoreError::Refused { .. })), "{page:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_spoken_to_a_server_whose_authority_is_trusted_and_to_no_other() {
    let certificates = TempDir::new().unwrap();
    let address = Ipv4Addr::new(127, 83, 41, 7);
    make_certificates(certificates.path(), address);
    let file = |name: &str| certificates.path().join(name).display().to_string();
    // Nobody else listens on this address; the port is free now and soon taken.
    let free = TcpListener::bind((address, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let port = free.port().to_string();
    let _server = RedisServer::start_with(&[
        "--bind",
        &address.to_string(),
        "--tls-port",
        &port,
        "--tls-cert-file",
        &file("server.pem"),
        "--tls-key-file",
        &file("server.key"),
        "--tls-ca-cert-file",
        &file("ca.pem"),
        "--tls-auth-clients",
        "no",
    ])
    .await;
    let mut config = RedisConfig::at(format!("rediss://{address}:{port}"));
    config.timeout_ms = 5000;
    let stranger = redis_with(&config);
    assert!(stranger.ping().await.is_err(), "an unknown authority");
    config.ca_file = Some("ca.pem".into());
    let store = RedisStore::open(&config, certificates.path(), MAX_EVENTS).unwrap();
    store.put("a:1", bytes("v"), None).await.unwrap();
    assert_eq!(store.get("a:1").await.unwrap(), Some(bytes("v")));
    let at = store.tail("log").await.unwrap();
    store.append("log", bytes("e")).await.unwrap();
    let page = store.follow("log", &at, Duration::from_secs(1)).await;
    assert_eq!(crate::event_suite::events(page.unwrap()).0, [bytes("e")]);
}

#[test]
fn a_configuration_is_strict_and_has_defaults() {
    let parse = serde_json::from_str::<StoreConfig>;
    assert_eq!(parse(r#"{"memory": {}}"#).unwrap(), StoreConfig::default());
    let StoreConfig::Redis(redis) = parse(r#"{"redis": {"url": "redis://r"}}"#).unwrap() else {
        panic!("not redis");
    };
    assert_eq!(redis, RedisConfig::at("redis://r"));
    assert_eq!(redis.prefix, "cedargate:");
    assert_eq!(redis.timeout_ms, 1000);
    for odd in [
        r#"{"redis": {"url": "redis://r", "pasword": "x"}}"#,
        r#"{"redb": {}}"#,
        r#"{"redb": {"path": "x", "size": 1}}"#,
        r#"{"memory": {"size": 1}}"#,
        r#"{"memory": {}, "redb": {"path": "x"}}"#,
        r#"{"postgres": {}}"#,
    ] {
        assert!(parse(odd).is_err(), "{odd}");
    }
}

#[test]
fn a_configuration_that_cannot_work_is_refused_when_it_is_opened() {
    let good = RedisConfig::at("redis://127.0.0.1:1");
    assert!(open(&good).is_ok(), "nobody need be there yet");
    let neither = RedisConfig {
        url: None,
        ..good.clone()
    };
    let both = RedisConfig {
        url_file: Some("x".into()),
        ..good.clone()
    };
    let no_file = RedisConfig {
        url_file: Some("x".into()),
        ..neither.clone()
    };
    let no_authority = RedisConfig {
        ca_file: Some("x".into()),
        ..good.clone()
    };
    let at_once = RedisConfig {
        timeout_ms: 0,
        ..good.clone()
    };
    let odd_prefix = RedisConfig {
        prefix: "a\n".into(),
        ..good
    };
    for config in [neither, both, no_file, no_authority, at_once, odd_prefix] {
        assert!(open(&config).is_err(), "{config:?}");
    }
}

fn open(config: &RedisConfig) -> Result<RedisStore, StoreError> {
    RedisStore::open(config, Path::new("/nowhere"), MAX_EVENTS)
}

/// Everything that an error says, to the bottom.
fn whole(error: &StoreError) -> String {
    let mut text = format!("{error:?} {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text} {cause:?} {cause}");
        source = cause.source();
    }
    text
}

/// An authority, and a server certificate by it for one address.
fn make_certificates(folder: &Path, address: Ipv4Addr) {
    let name = format!("subjectAltName=IP:{address}");
    openssl(
        folder,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -subj /CN=test-authority -keyout ca.key -out ca.pem",
        &[],
    );
    openssl(
        folder,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -subj /CN=test-server -keyout server.key -out server.pem -CA ca.pem -CAkey ca.key",
        &[
            "-addext",
            &name,
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ],
    );
}

fn openssl(folder: &Path, words: &str, more: &[&str]) {
    let output = Command::new("openssl")
        .args(words.split_whitespace())
        .args(more)
        .current_dir(folder)
        .output()
        .expect("these tests need `openssl` in PATH; on Debian: apt-get install openssl");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl: {said}");
}
