//! Connections to the decision point and to the token service, on which nothing was asked for a while.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use authzen::{
    Action, DecisionPoint as _, EvaluationRequest, HttpDecisionPoint, HttpDecisionPointConfig,
    Properties, Resource, Subject,
};
use oauth::{
    HttpTokenIntrospector, HttpTokenIntrospectorConfig, OpaqueToken, ResourceId,
    TokenIntrospector as _,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Answers everything with the same, on as many connections as there are: those are counted.
async fn server(body: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let (address, connections) = (
        listener.local_addr().expect("bound"),
        Arc::<AtomicUsize>::default(),
    );
    let counted = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                // Each question is small, and comes at once.
                while stream
                    .read(&mut buffer)
                    .await
                    .is_ok_and(|length| length > 0)
                {
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    stream.write_all(answer.as_bytes()).await.expect("writes");
                }
            });
        }
    });
    (address, connections)
}

/// Servers close connections on which nothing has come for a while, and a question that crosses this has no answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_asked_on_a_connection_that_the_other_end_may_be_closing() {
    let (pdp, pdp_connections) = server("{\"decision\":true}").await;
    let (tokens, token_connections) = server("{\"active\":false}").await;
    let url = format!("http://{pdp}").parse().expect("url");
    let decides = HttpDecisionPoint::new(&HttpDecisionPointConfig::new(url)).expect("client");
    let introspects = HttpTokenIntrospector::new(&HttpTokenIntrospectorConfig {
        url: format!("http://{tokens}/introspect").parse().expect("url"),
        client_id: "gateway".into(),
        client_secret: Some("a secret".to_owned().into()),
        trusted: Vec::new(),
        identity: None,
        timeout: Duration::from_secs(3),
        propagate: None,
    })
    .expect("client");
    let question = EvaluationRequest {
        subject: Subject::new("User", "alice"),
        action: Action::new("view"),
        resource: Resource::new("Record", "1"),
        context: Properties::default(),
    };
    let (token, resource) = (
        OpaqueToken::parse("cg_at_1").expect("a token"),
        ResourceId::new("https://records"),
    );
    for (pause, connections) in [(0, 1), (0, 1), (5_500, 2)] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        decides.evaluate(&question).await.expect("a decision");
        introspects
            .introspect(&token, &resource)
            .await
            .expect("an answer");
        assert_eq!(pdp_connections.load(Ordering::SeqCst), connections);
        assert_eq!(token_connections.load(Ordering::SeqCst), connections);
    }
}
