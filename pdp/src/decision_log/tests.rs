//! What a record says, and what it must not.

use serde_json::{Value, json};
use service_kit::line_sink::LineTarget;

use super::unbroken;
use crate::fixture::{Fixture, ask};
use crate::http::tests::post;
use crate::{InlineEntities, Pdp};

const LOG: &str = "decisions.jsonl";

/// A PDP that writes its log to a file.
fn logging(change: impl Fn(&mut Fixture)) -> (Fixture, Pdp) {
    let mut fixture = Fixture::new();
    fixture.config.decision_log = LineTarget::File(LOG.into());
    change(&mut fixture);
    let pdp = fixture.open();
    (fixture, pdp)
}

/// What it has written.
fn records(fixture: &Fixture, pdp: Pdp) -> Vec<Value> {
    drop(pdp);
    let text = std::fs::read_to_string(fixture.folder.path().join(LOG)).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn every_decision_is_one_masked_line() {
    let mut fixture = Fixture::new();
    fixture.config.decision_log = LineTarget::File("data/decisions.jsonl".into());
    fixture.config.decision_log_mask = vec!["name".into(), "zip".into()];
    let pdp = fixture.open();
    let question = json!({
        "subject": { "type": "user", "id": "ben", "properties": { "name": "s3cret", "age": 4, "address": { "city": "x", "zip": "s3cret" } } },
        "action": { "name": "GET /docs/{id}" },
        "resource": { "type": "urn:x:doc", "id": "d1" },
        "context": { "list": [{ "zip": "s3cret" }] },
    });
    let answer = ask(&pdp, &question).await.unwrap();
    let refused = json!({ "subject": { "type": "x", "id": "1" }, "action": { "name": "fly" }, "resource": { "type": "y", "id": "2" } });
    ask(&pdp, &refused).await.unwrap();
    drop(pdp);
    let text = std::fs::read_to_string(fixture.folder.path().join("data/decisions.jsonl")).unwrap();
    assert!(!text.contains("s3cret"), "{text}");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["id"], json!(answer.context.id));
    assert_eq!(lines[0]["time"], "2023-11-14T22:13:20.000Z");
    assert_eq!(lines[0]["decision"], true);
    assert_eq!(lines[0]["policies"], json!(["owner-reads"]));
    assert_eq!(lines[0]["caller"], "in process");
    assert_eq!(lines[0]["snapshot"]["epoch"], 1);
    assert!(lines[0]["duration_us"].is_u64());
    assert_eq!(
        lines[0]["subject"],
        json!({ "type": "user", "id": "ben", "properties": { "name": "[masked]", "age": 4, "address": { "city": "x", "zip": "[masked]" } } })
    );
    assert_eq!(lines[1]["error"]["status"], 404);
}

/// Permits and denies by turns, and some denies by an error.
async fn sampled(permits: f64, denies: f64) -> [Vec<Value>; 3] {
    let (fixture, pdp) = logging(|fixture| {
        fixture.config.decision_log_sample_permits = permits;
        fixture.config.decision_log_sample_denies = denies;
    });
    for n in 0..800 {
        let doc = if n % 2 == 0 { "d1" } else { "none" };
        let question = json!({ "subject": { "type": "user", "id": "ben" },
            "action": { "name": "GET /docs/{id}" }, "resource": { "type": "urn:x:doc", "id": doc } });
        ask(&pdp, &question).await.unwrap();
    }
    let nobody = json!({ "type": "user", "id": "nobody" });
    let unevaluable = json!({ "subject": nobody, "action": { "name": "GET /docs/{id}" }, "resource": { "type": "urn:x:doc", "id": "d1" } });
    let unknown = json!({ "subject": nobody, "action": { "name": "fly" }, "resource": { "type": "urn:x:doc", "id": "d1" } });
    for _ in 0..10 {
        for question in [&unevaluable, &unknown] {
            let answer = ask(&pdp, question).await.unwrap();
            assert!(answer.context.error.is_some());
        }
    }
    let lines = records(&fixture, pdp);
    let left_out = format!("pdp_decision_log_left_out_total {}", 820 - lines.len());
    let metrics = fixture.metrics.render();
    assert!(metrics.contains(&left_out), "{metrics}");
    let (permits, denies): (Vec<_>, Vec<_>) =
        lines.into_iter().partition(|line| line["decision"] == true);
    let (errors, denies) = denies
        .into_iter()
        .partition(|line| line["error"] != Value::Null);
    [permits, denies, errors]
}

#[tokio::test]
async fn permits_are_sampled_and_denies_where_that_is_told_and_errors_never() {
    let [permits, denies, errors] = sampled(0.25, 1.0).await;
    assert!((50..150).contains(&permits.len()), "{}", permits.len());
    assert!(permits.iter().all(|line| line["sample"] == 0.25));
    assert_eq!((denies.len(), errors.len()), (400, 20));
    assert!(denies.iter().all(|line| line.get("sample").is_none()));
    let [permits, denies, errors] = sampled(1.0, 0.25).await;
    assert_eq!((permits.len(), errors.len()), (400, 20));
    assert!((50..150).contains(&denies.len()), "{}", denies.len());
    assert!(denies.iter().all(|line| line["sample"] == 0.25));
    let whole = permits.iter().chain(&errors);
    assert!(whole.into_iter().all(|line| line.get("sample").is_none()));
}

#[tokio::test]
async fn an_entry_that_is_no_question_is_a_record_like_any_deny() {
    let (fixture, pdp) = logging(|fixture| {
        fixture.config.decision_log_sample_denies = 0.0;
        fixture.config.decision_log_mask = vec!["name".into()];
    });
    let batch = json!({
        "subject": { "type": "user", "id": "ben" },
        "action": { "name": "GET /docs/{id}" },
        "evaluations": [
            { "resource": { "type": "urn:x:doc", "id": "d1" } },
            { "resource": { "type": "urn:x:doc" } },
            { "subject": { "type": "user", "id": "ben", "properties": { "age": "four", "name": "s3cret" } },
              "resource": { "type": "urn:x:doc", "id": "d1" } },
        ],
    });
    let (_, _, body) = post(&pdp, "/access/v1/evaluations", batch.to_string()).await;
    let answers = body["evaluations"].as_array().unwrap().clone();
    let batch = json!({ "action": "Action::\"read\"", "resource": "Doc::\"d1\"", "requests": [7, { "principal": "x" }] });
    let (_, _, body) = post(&pdp, "/cedar/v1/authorize/batch", batch.to_string()).await;
    let native = body["responses"].as_array().unwrap().clone();
    let lines = records(&fixture, pdp);
    assert_eq!(lines.len(), 5, "{lines:?}");
    for (line, answer) in lines.iter().zip(&answers) {
        assert_eq!(line["id"], answer["context"]["id"]);
    }
    for (line, answer) in lines.iter().skip(3).zip(&native) {
        assert_eq!(line["id"], answer["id"]);
        assert_eq!(line["error"]["message"], answer["errors"][0]["message"]);
    }
    for (line, entry, says) in [
        (&lines[1], 1, "`resource.id` is missing"),
        (&lines[2], 2, "age"),
        (&lines[3], 0, "must be an object"),
        (&lines[4], 1, "`principal`"),
    ] {
        assert_eq!(
            (&line["kind"], &line["decision"]),
            (&json!("decision"), &json!(false))
        );
        assert_eq!(
            (&line["entry"], &line["error"]["status"]),
            (&json!(entry), &json!(400))
        );
        assert!(
            line["error"]["message"].as_str().unwrap().contains(says),
            "{line}"
        );
        assert_eq!(
            (&line["policies"], &line["snapshot"]["epoch"]),
            (&json!([]), &json!(1))
        );
        assert!(line["caller"].is_string());
    }
    // What can be read of it, masked as ever.
    assert_eq!(
        lines[2]["subject"]["properties"],
        json!({ "age": "four", "name": "[masked]" })
    );
    assert!(lines[1].get("subject").is_none());
}

#[tokio::test]
async fn what_entries_of_a_batch_share_is_recorded_with_each() {
    // A hundred records of this are handed over in several parts.
    let (fixture, pdp) = logging(|fixture| {
        fixture.config.decision_log_mask = vec!["name".into()];
    });
    let subject = |name: &str| json!({ "type": "user", "id": "ben", "properties": { "name": name, "age": 4, "address": { "city": "x".repeat(2000), "zip": "1" } } });
    let doc = |id: usize| json!({ "type": "urn:x:doc", "id": id.to_string() });
    let entry = |n: usize| match n % 10 {
        3 => json!({ "resource": doc(n), "subject": { "type": "user", "id": "eve" } }),
        7 => json!({ "resource": { "type": "urn:x:doc" } }),
        _ => json!({ "resource": doc(n) }),
    };
    let batch = json!({ "subject": subject("s3cret"), "action": { "name": "GET /docs/{id}" },
        "evaluations": (0..100).map(entry).collect::<Vec<_>>() });
    post(&pdp, "/access/v1/evaluations", batch.to_string()).await;
    let lines = records(&fixture, pdp);
    assert_eq!(lines.len(), 100);
    let eve = json!({ "type": "user", "id": "eve" });
    for (n, line) in lines.iter().enumerate() {
        match n % 10 {
            3 => assert_eq!(line["subject"], eve),
            7 => assert_eq!(line["error"]["status"], 400),
            _ => assert_eq!(line["subject"], subject("[masked]")),
        }
        assert_eq!(line["caller"], lines[0]["caller"]);
        assert_eq!(line["request_id"], lines[0]["request_id"]);
        assert!(line["request_id"].is_string());
    }
}

#[tokio::test]
async fn an_entity_is_recorded_as_it_was_sent_unless_something_of_it_is_not_to_be_seen() {
    let (fixture, pdp) = logging(|_| {});
    let ben = json!({ "type": "user", "id": "ben", "properties": { "age": 4 } });
    let with_ssn =
        json!({ "type": "user", "id": "ben", "properties": { "age": 4, "ssn": "[masked]" } });
    let long = "x".repeat(300);
    let cut = crate::short::short(&long).into_owned();
    let cases = [
        (
            r#"{"id":"b\u0065n","type":"user","properties":{"age":4}}"#.to_owned(),
            ben.clone(),
        ),
        (
            r#"{"type":"user","id":"ben","properties":{"\u0073sn":"1","age":4}}"#.to_owned(),
            with_ssn,
        ),
        (
            r#"{"type":"user","id":"ben","properties":{"age":4},"password":"1"}"#.to_owned(),
            ben.clone(),
        ),
        (
            "{\"type\":\"user\",\n\"id\":\"ben\",\r\n\"properties\":{\"age\":4}}".to_owned(),
            ben,
        ),
        (
            format!(r#"{{"type":"user","id":"{long}"}}"#),
            json!({ "type": "user", "id": cut }),
        ),
        (
            "{\"type\":\"user\",\"id\":\"a\u{2028}b\"}".to_owned(),
            json!({ "type": "user", "id": "a\u{2028}b" }),
        ),
    ];
    for (sent, _) in &cases {
        let rest =
            r#""action":{"name":"GET /docs/{id}"},"resource":{"type":"urn:x:doc","id":"d1"}"#;
        let question = format!(r#"{{"subject":{sent},{rest}}}"#);
        post(&pdp, "/access/v1/evaluation", question).await;
    }
    let lines = records(&fixture, pdp);
    assert_eq!(lines.len(), cases.len());
    for ((sent, shown), line) in cases.iter().zip(&lines) {
        assert_eq!(line["subject"], *shown, "{sent}");
        assert!(line.get("request_id").is_none());
    }
}

#[tokio::test]
async fn nobody_fills_the_log_by_a_long_request_id() {
    let (fixture, pdp) = logging(|_| {});
    let long = "x".repeat(10_000);
    let question = json!({ "subject": { "type": "user", "id": "ben" },
        "action": { "name": "GET /docs/{id}" }, "resource": { "type": "urn:x:doc", "id": "d1" } });
    let request = ::http::Request::post("/access/v1/evaluation")
        .header("content-type", "application/json")
        .header("x-request-id", &long);
    let request = request.body(question.to_string().into()).unwrap();
    let answer = pdp.api().oneshot(request).await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], long);
    let lines = records(&fixture, pdp);
    assert_eq!(lines[0]["request_id"], *crate::short::short(&long));
}

#[tokio::test]
async fn what_is_wrong_with_an_entry_is_told_in_short() {
    let (fixture, pdp) = logging(|_| {});
    let long = "x".repeat(100_000);
    let batch = json!({ "requests": [{ "principal": long }, { "principal": { "type": long, "id": long, "x": long } }] });
    post(&pdp, "/cedar/v1/authorize/batch", batch.to_string()).await;
    for line in records(&fixture, pdp) {
        assert!(line.to_string().len() < 3000, "{}", line.to_string().len());
    }
}

#[tokio::test]
async fn entities_of_a_question_are_recorded_masked_and_bounded() {
    let (fixture, pdp) = logging(|fixture| {
        fixture.config.inline_entities = InlineEntities::Add;
        fixture.config.decision_log_mask = vec!["entities.attrs.address.zip".into(), "name".into()];
        fixture.config.filters = Some("tables.yaml".into());
        fixture.write("tables.yaml", "entities:\n  Doc:\n    table: docs\n    id: id\n    attributes:\n      owner: { column: owner }\n      public: { column: public }\n");
    });
    let user = |id: &str, city: &str| {
        json!({ "uid": { "type": "User", "id": id }, "parents": [],
            "attrs": { "name": "s3cret", "address": { "city": city, "zip": "s3cret" } } })
    };
    let ask = async |path: &str, entities: Value, resource: Value| {
        let question = json!({ "principal": "User::\"new\"", "action": "Action::\"read\"",
            "resource": resource, "context": {}, "dialect": "sqlite", "entities": entities });
        let (status, _, body) = post(&pdp, path, question.to_string()).await;
        // A filter that cannot be had has been asked for all the same.
        assert!(status.is_success() || status == 422, "{body}");
    };
    let (doc, open) = (json!("Doc::\"d1\""), json!({ "type": "Doc" }));
    let few = json!([user("new", "x"), user("other", "y")]);
    let much = json!([user("new", "x"), user("other", &"y".repeat(4096))]);
    for entities in [&few, &much] {
        ask("/cedar/v1/authorize", entities.clone(), doc.clone()).await;
        ask("/cedar/v1/partial", entities.clone(), open.clone()).await;
        ask("/cedar/v1/filter", entities.clone(), open.clone()).await;
    }
    ask("/cedar/v1/authorize", json!([]), doc).await;
    let lines = records(&fixture, pdp);
    let kinds: Vec<_> = lines
        .iter()
        .map(|line| line["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "decision", "partial", "filter", "decision", "partial", "filter", "decision"
        ]
    );
    for line in &lines[..3] {
        assert_eq!(
            line["entities"][0]["uid"],
            json!({ "type": "User", "id": "new" })
        );
        let attributes =
            json!({ "name": "[masked]", "address": { "city": "y", "zip": "[masked]" } });
        assert_eq!(line["entities"][1]["attrs"], attributes);
    }
    for line in &lines[3..6] {
        assert!(
            line["entities"]["[left out, bytes]"].as_u64().unwrap() > 4096,
            "{line}"
        );
    }
    assert!(lines[6].get("entities").is_none());
}

#[tokio::test]
async fn no_part_of_a_question_with_an_open_side_is_longer_than_others() {
    let (fixture, pdp) = logging(|_| {});
    let long = "y".repeat(5000);
    let search = json!({
        "subject": { "type": "user", "id": "ben", "properties": { "name": long } },
        "action": { "name": "GET /docs/{id}", "properties": { "x": long } },
        "resource": { "type": "urn:x:doc" }, "context": { "why": long },
    });
    post(&pdp, "/access/v1/search/resource", search.to_string()).await;
    let context = json!({ "ip": long });
    let partial = json!({ "principal": { "type": "User" }, "action": "Action::\"read\"",
        "resource": { "type": "Doc", "id": long }, "context": context });
    let (status, _, _) = post(&pdp, "/cedar/v1/partial", partial.to_string()).await;
    assert_eq!(status, 400, "the context must be valid for this one");
    let partial = json!({ "principal": { "type": "User" }, "action": "Action::\"read\"",
        "resource": { "type": "Doc", "id": long } });
    post(&pdp, "/cedar/v1/partial", partial.to_string()).await;
    let lines = records(&fixture, pdp);
    assert_eq!(lines.len(), 2);
    let question = &lines[0]["question"];
    for part in [
        &question["subject"]["properties"],
        &question["action"]["properties"],
        &question["context"],
    ] {
        assert!(part["[left out, bytes]"].as_u64().unwrap() > 4096, "{part}");
    }
    assert_eq!(question["resource"], json!({ "type": "urn:x:doc" }));
    assert_eq!(
        (&lines[0]["search"], &lines[0]["more"]),
        (&json!("resource"), &json!(false))
    );
    assert_eq!(lines[1]["subject"], json!({ "type": "User" }));
    assert!(lines[1]["resource"]["id"].as_str().unwrap().len() < 200);
}

#[test]
fn what_some_take_for_the_end_of_a_line_is_escaped() {
    let texts = [
        "",
        "a",
        "\u{2028}",
        "x\u{2029}\u{2028}y\u{2028}",
        "“é→”\u{2027}\u{202a}",
        "\u{20ac}\u{2029}",
    ];
    for text in texts {
        let line = serde_json::to_vec(text).unwrap();
        let written = unbroken(&line);
        assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), text);
        let written = String::from_utf8(written.into_owned()).unwrap();
        assert!(!written.contains(['\u{2028}', '\u{2029}']), "{written}");
        if !text.contains(['\u{2028}', '\u{2029}']) {
            assert_eq!(written.as_bytes(), line);
        }
    }
}

#[tokio::test]
async fn a_record_is_one_line_for_every_reader() {
    let (fixture, pdp) = logging(|_| {});
    let body = "{\"subject\":{\"type\":\"user\",\"id\":\"a\u{2028}b\",\"properties\":{\"name\":\"\u{2029}\"}},\"action\":{\"name\":\"GET /docs/{id}\"},\"resource\":{\"type\":\"urn:x:doc\",\"id\":\"d1\"}}";
    post(&pdp, "/access/v1/evaluation", body).await;
    drop(pdp);
    let text = std::fs::read_to_string(fixture.folder.path().join(LOG)).unwrap();
    assert!(!text.contains(['\u{2028}', '\u{2029}']), "{text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["subject"]["id"], "a\u{2028}b");
    assert_eq!(line["subject"]["properties"]["name"], "\u{2029}");
}

#[test]
fn a_log_that_cannot_be_is_refused_at_start() {
    for change in [
        |config: &mut crate::PdpConfig| config.decision_log_sample_permits = 1.5,
        |config: &mut crate::PdpConfig| config.decision_log_sample_permits = f64::NAN,
        |config: &mut crate::PdpConfig| config.decision_log_sample_denies = -0.1,
        |config: &mut crate::PdpConfig| config.decision_log_mask = vec!["a..b".into()],
    ] {
        let mut fixture = Fixture::new();
        change(&mut fixture.config);
        let error = fixture.try_open().unwrap_err().to_string();
        assert!(error.contains("pdp.decision_log_"), "{error}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_read_who_did_what() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut fixture = Fixture::new();
    fixture.config.decision_log = LineTarget::File("decisions.jsonl".into());
    let _pdp = fixture.open();
    let file = std::fs::metadata(fixture.folder.path().join("decisions.jsonl")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
}
