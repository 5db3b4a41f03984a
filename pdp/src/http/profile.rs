//! Requests by themselves, without a connection, to be looked at by a profiler: times lie where other
//! work runs.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::http::Request;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use service_kit::line_sink::{LineTarget, RotatingTarget};
use service_kit::serve::Client;
use service_kit::{Health, Metrics, SystemClock, Tasks, Traces};

use super::Api;
use crate::{Pdp, PdpConfig, PdpParts};

/// What is asked, and by which path.
struct Asked {
    path: String,
    bodies: Vec<Bytes>,
    /// Of them all.
    decisions: u64,
}

impl Asked {
    /// Of a file that `bench world` has written.
    fn read(file: &Path) -> Self {
        let file: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let questions = file["questions"].as_array().unwrap();
        let body = |question: &Value| Bytes::from(question["body"].to_string());
        Self {
            path: file["path"].as_str().unwrap().to_owned(),
            decisions: file["decisions"].as_u64().unwrap() * questions.len() as u64,
            bodies: questions.iter().map(body).collect(),
        }
    }

    async fn ask(&self, api: &Api, client: &Client) {
        for body in &self.bodies {
            let request = Request::post(&self.path)
                .header("content-type", "application/json")
                .body(Full::new(body.clone()))
                .unwrap();
            let response = api.ask(request, client).await.unwrap();
            assert_eq!(response.status(), 200);
            black_box(response.into_body().collect().await.unwrap());
        }
    }
}

/// What is to be counted: nothing else is called by this name.
#[inline(never)]
fn one_round(runtime: &tokio::runtime::Runtime, api: &Api, client: &Client, asked: &Asked) {
    runtime.block_on(asked.ask(api, client));
}

/// `WORLD` is a folder that `bench world` has written, `QUESTIONS` are `one` or `many`, and `LOG` is a
/// file for the decision log, or `off`.
#[test]
#[ignore = "a measurement: `bench/instructions` runs it"]
fn requests() {
    let variable = |name| std::env::var(name).unwrap();
    let (world, questions) = (PathBuf::from(variable("WORLD")), variable("QUESTIONS"));
    let asked = Asked::read(&world.join(format!("cedargate-{questions}.json")));
    let decision_log = match variable("LOG").as_str() {
        "off" => LineTarget::Off,
        path => LineTarget::Rotating(RotatingTarget {
            path: path.into(),
            max_bytes: 64 << 20,
            keep: 1,
        }),
    };
    let config = PdpConfig {
        policies: world.join("cedar"),
        decision_log,
        second_opinion_every: 0,
        ..PdpConfig::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    let parts = PdpParts {
        clock: Arc::new(SystemClock),
        metrics: Metrics::new(),
        health: Health::new(),
        tasks: Tasks::new(),
        store: None,
        traces: Traces::off(),
    };
    let pdp = runtime.block_on(async { Pdp::open(&config, Path::new("."), parts) });
    let api = pdp.unwrap().api();
    let client = Client::of(([127, 0, 0, 1], 1).into());
    runtime.block_on(asked.ask(&api, &client));
    let allocated =
        allocation_counter::measure(|| runtime.block_on(asked.ask(&api, &client))).count_total;
    one_round(&runtime, &api, &client, &asked);
    let decisions = asked.decisions;
    println!("{decisions} decisions, {allocated} allocations");
}
