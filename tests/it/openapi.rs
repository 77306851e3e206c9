//! The OpenAPI document: it lists what is there, and describes what is answered.

use axum::body::Body;
use axum::http::Method;
use serde_json::Value;

use crate::harness::fake::{Answer, FakeMonitor};
use crate::harness::fixture;
use crate::harness::test_app::TestApp;

#[tokio::test]
async fn every_route_is_in_the_document_and_every_path_of_the_document_is_there() {
    let app = TestApp::start().await;
    let document = app.get("/api/v1/openapi.json").await.json();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            routes.push(format!("{} {path}", method.to_uppercase()));
            let concrete =
                path.replace("{id}", "019b8d7a-0000-7000-8000-00000000000a").replace("{name}", "none");
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = app.act(method, &concrete, Body::empty()).await;
            assert!(!answer.text.contains("nothing is at this path"), "{path}: {}", answer.text);
            assert_ne!(answer.status, 405, "{path}");
        }
    }
    insta::assert_snapshot!(routes.join("\n"), @"
    GET /-/healthy
    GET /-/ready
    GET /api/v1/audit
    GET /api/v1/changes
    POST /api/v1/changes
    GET /api/v1/clusters
    GET /api/v1/clusters/{name}/breakdown
    GET /api/v1/clusters/{name}/capabilities
    GET /api/v1/clusters/{name}/comparison
    GET /api/v1/clusters/{name}/history
    GET /api/v1/culprits
    GET /api/v1/incidents
    POST /api/v1/incidents
    GET /api/v1/incidents/{id}
    POST /api/v1/incidents/{id}/acknowledge
    GET /api/v1/incidents/{id}/comparison
    POST /api/v1/incidents/{id}/notes
    POST /api/v1/incidents/{id}/plans
    POST /api/v1/incidents/{id}/reopen
    GET /api/v1/incidents/{id}/report
    POST /api/v1/incidents/{id}/resolve
    GET /api/v1/mitigations
    GET /api/v1/mitigations/statistics
    GET /api/v1/mitigations/{id}
    POST /api/v1/mitigations/{id}/approve
    POST /api/v1/mitigations/{id}/execute
    POST /api/v1/mitigations/{id}/propose
    POST /api/v1/mitigations/{id}/reject
    POST /api/v1/mitigations/{id}/stop
    GET /api/v1/mitigations/{id}/victims
    GET /api/v1/notifications
    GET /api/v1/notifications/{id}
    GET /api/v1/notifications/{id}/body
    POST /api/v1/notifications/{id}/replay
    GET /api/v1/pauses
    POST /api/v1/pauses
    DELETE /api/v1/pauses/{name}
    POST /api/v1/plans
    POST /api/v1/snapshots/{id}/estimates
    POST /api/v1/webhook/alertmanager
    PUT /api/v1/webhook/alertmanager
    GET /metrics
    ");
    // a route for programs that is not documented would have to be written with `.route`
    let source = include_str!("../../src/http.rs");
    assert!(!source.contains(".route("), "routes for programs belong into `documented_routes`");
    app.finish().await;
}

#[tokio::test]
async fn the_document_says_what_has_to_be_shown() {
    let app = TestApp::start().await;
    let document = app.get("/api/v1/openapi.json").await.json();
    let names = |security: &Value| -> Vec<String> {
        let ways = security.as_array().unwrap().iter();
        ways.flat_map(|way| way.as_object().unwrap().keys().cloned()).collect()
    };
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    assert_eq!(schemes.keys().collect::<Vec<_>>(), ["basic", "bearer", "certificate", "signature"]);
    assert_eq!(names(&document["security"]), ["bearer", "basic", "certificate"]);
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let expected: Option<&[&str]> = match path.as_str() {
                "/-/healthy" | "/-/ready" => Some(&[]),
                "/api/v1/webhook/alertmanager" => Some(&["bearer", "basic", "certificate", "signature"]),
                _ => None,
            };
            let security = operation.get("security").map(names);
            assert_eq!(
                security,
                expected.map(|names| names.iter().map(ToString::to_string).collect()),
                "{method} {path}"
            );
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn the_document_describes_every_field_that_is_answered() {
    let monitor = FakeMonitor::start(|path| match path {
        "/varz" => Answer::json(&fixture("nats/2.15.1/varz.json")),
        _ => Answer::json(&fixture("nats/2.15.1/connz-open-auth.json")),
    })
    .await;
    let app = TestApp::watching([&monitor.url]).await;
    let document = app.get("/api/v1/openapi.json").await.json();
    let receipt = app.notify(fixture("alertmanager/group3-mixed.am-0.33.1.json")).await.json();
    app.run_jobs().await;
    let incident = format!("/api/v1/incidents/{}", receipt["incidents"][0].as_str().unwrap());
    let change =
        r#"{"title": "orders-api 1.4.2", "application": "orders-api", "at": "2026-11-24T08:00:00Z"}"#;
    let change = app.act(Method::POST, "/api/v1/changes", change).await.json();
    check(&document, &change, "post", "/api/v1/changes", "201");
    let pause =
        app.act(Method::POST, "/api/v1/pauses", r#"{"name": "night", "reason": "sleep"}"#).await.json();
    check(&document, &pause, "post", "/api/v1/pauses", "201");

    check(&document, &receipt, "post", "/api/v1/webhook/alertmanager", "202");
    for (path, template) in [
        (incident.as_str(), "/api/v1/incidents/{id}"),
        ("/api/v1/incidents", "/api/v1/incidents"),
        (&format!("{incident}/report?format=json"), "/api/v1/incidents/{id}/report"),
        ("/api/v1/clusters", "/api/v1/clusters"),
        ("/api/v1/changes", "/api/v1/changes"),
        ("/api/v1/audit", "/api/v1/audit"),
        ("/api/v1/clusters/nats/breakdown?by=application/ip,account", "/api/v1/clusters/{name}/breakdown"),
    ] {
        let answer = app.get(path).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        check(&document, &answer.json(), "get", template, "200");
    }
    let problem = app.get("/api/v1/clusters/none/breakdown").await.json();
    check(&document, &problem, "get", "/api/v1/clusters/{name}/breakdown", "404");
    app.finish().await;
}

/// Checks that an answer has only fields that its schema names, and all those that it requires.
fn check(document: &Value, answer: &Value, method: &str, path: &str, status: &str) {
    let content = &document["paths"][path][method]["responses"][status]["content"];
    let schema = &content.as_object().unwrap().values().next().unwrap()["schema"];
    let mut unknown = Vec::new();
    compare(document, schema, answer, path, &mut unknown);
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

fn compare(document: &Value, schema: &Value, value: &Value, at: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let mut known = Known::default();
            known.learn(document, schema);
            for (name, value) in fields {
                match known.properties.iter().find(|(property, _)| property == name) {
                    Some((_, schema)) => compare(document, schema, value, &format!("{at}.{name}"), unknown),
                    None => match &known.others {
                        Some(schema) => compare(document, schema, value, &format!("{at}.{name}"), unknown),
                        None => unknown.push(format!("{at}.{name} is not in the schema")),
                    },
                }
            }
            let missing = known.required.iter().filter(|name| !fields.contains_key(*name));
            unknown.extend(missing.map(|name| format!("{at}.{name} is required and missing")));
        }
        Value::Array(items) => {
            let schema = resolve(document, schema);
            items
                .iter()
                .for_each(|item| compare(document, &schema["items"], item, &format!("{at}[]"), unknown));
        }
        _ => {}
    }
}

/// What a schema says about the fields of an object, its parts and alternatives taken together.
#[derive(Default)]
struct Known {
    properties: Vec<(String, Value)>,
    required: Vec<String>,
    others: Option<Value>,
}

impl Known {
    fn learn(&mut self, document: &Value, schema: &Value) {
        let schema = resolve(document, schema);
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            self.properties.push((name.clone(), property.clone()));
        }
        let required = schema["required"].as_array().into_iter().flatten();
        self.required.extend(required.filter_map(|name| Some(name.as_str()?.to_owned())));
        self.others =
            self.others.take().or(schema.get("additionalProperties").filter(|it| it.is_object()).cloned());
        schema["allOf"].as_array().into_iter().flatten().for_each(|part| self.learn(document, part));
        for alternative in ["oneOf", "anyOf"] {
            // of alternatives, only the fields are known, not which of them must be there
            let required = self.required.len();
            schema[alternative].as_array().into_iter().flatten().for_each(|part| self.learn(document, part));
            self.required.truncate(required);
        }
    }
}

fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}
