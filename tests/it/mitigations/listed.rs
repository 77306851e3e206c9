//! The page that lists mitigations: what is planned and done, and that they are paused.

use serde_json::json;

use super::{NEWEST, OPEN, Stage, clients};
use crate::swarm::Options;

#[tokio::test(flavor = "multi_thread")]
async fn mitigations_without_an_incident_and_pauses_are_found_on_a_page() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pause");
    let stage = Stage::one(NEWEST, &format!("{OPEN}, pause_file: {file:?}")).await;
    let page = async |query: &str| stage.app.browse(&format!("/mitigations{query}")).await.text;
    let empty = page("").await;
    assert!(empty.contains("No mitigation yet") && !empty.contains("PAUSED"), "{empty}");

    std::fs::write(&file, "the audit\nof the year\n").unwrap();
    let paused = page("").await;
    assert!(paused.contains("PAUSED</strong> all clusters") && paused.contains("the audit"), "{paused}");
    let list = stage.app.get("/api/v1/pauses").await.json();
    assert_eq!((&list["pauses"], &list["standing"][0]["reason"]), (&json!([]), &json!("the audit")));
    let metrics = stage.app.get("/metrics").await.text;
    assert!(metrics.contains("connwarden_mitigations_paused{cluster=\"prod\"} 1\n"), "{metrics}");
    std::fs::remove_file(&file).unwrap();

    let (_leaky, _others) = clients(&stage.servers[0], 10, 20, Options::default()).await;
    let first = stage.plan(json!({ "application": "leaky" }), "kick").await;
    let second = stage.plan(json!({ "application": "leaky" }), "drain").await;
    let pause = json!({ "name": "<b>release</b>", "cluster": "prod", "reason": "the fair" });
    assert_eq!(stage.act("/api/v1/pauses", pause).await.status, 201);
    let rejected = format!("/api/v1/mitigations/{}/reject", first["id"].as_str().unwrap());
    assert_eq!(stage.act(&rejected, json!({ "reason": "not now" })).await.status, 200);

    let all = page("").await;
    let links = [&first, &second].map(|it| format!("href=\"/mitigations/{}\"", it["id"].as_str().unwrap()));
    assert!(links.iter().all(|link| all.contains(link)), "{all}");
    for told in
        ["PAUSED</strong> cluster `prod`", "the fair", "Drain 10 connections", "by local-operator: not now"]
    {
        assert!(all.contains(told), "no {told} in {all}");
    }
    assert!(!all.contains("<b>release"), "{all}");

    let planned = page("?state=planned").await;
    assert_eq!(links.each_ref().map(|link| planned.contains(link)), [false, true], "{planned}");
    assert!(page("?state=finished").await.contains("No mitigation is as asked for"));
    let newest = page("?limit=1").await;
    assert_eq!(links.each_ref().map(|link| newest.contains(link)), [false, true], "{newest}");
    let older = newest.split_once("rel=\"next\"").expect("an older page").0.rsplit_once("href=\"").unwrap().1;
    let older = older.split_once('"').unwrap().0.replace("&#38;", "&");
    let older = stage.app.browse(&older).await.text;
    assert_eq!(links.each_ref().map(|link| older.contains(link)), [true, false], "{older}");
    assert_eq!(stage.app.browse("/mitigations?state=open").await.status, 400);
    stage.app.finish().await;
}
