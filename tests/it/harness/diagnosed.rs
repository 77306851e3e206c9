//! Incidents with a diagnosis that the test makes up, in the real store.

use std::time::Duration;

use connwarden::model::breakdown::Dimension;
use connwarden::model::diagnosis::{
    Culprit, Diagnosis, Fact, Finding, FindingKind, MitigationStep, Origin, Recommendation, Severity,
    Snippet, Step, StepName, StepStatus, Subject,
};
use connwarden::model::ids::{IncidentId, SnapshotId};
use connwarden::model::snapshot::Snapshot;
use connwarden::store::diagnoses::PackedDiagnosis;
use connwarden::store::snapshots::PackedSnapshot;
use connwarden::store::{self, diagnoses, snapshots};
use jiff::Timestamp;

use crate::harness::fake::{Answer, FakeMonitor};
use crate::harness::fixture;
use crate::harness::payload::{firing, notification};
use crate::harness::test_app::TestApp;

/// A server of which real captures are told.
pub async fn monitor() -> FakeMonitor {
    FakeMonitor::start(|path| match path {
        "/varz" => Answer::json(&fixture("nats/2.15.1/varz.json")),
        _ => Answer::json(&fixture("nats/2.15.1/connz-open-auth.json")),
    })
    .await
}

/// Opens an incident of this alert name, has its cluster looked at, and keeps one more look with `diagnosis`.
pub async fn incident(app: &TestApp, alert_name: &str, diagnosis: &Diagnosis) -> IncidentId {
    let answer = app.notify(notification(&[firing(alert_name, "nats-1:7777")])).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    app.run_jobs().await;
    let id: IncidentId = answer.json()["incidents"][0].as_str().unwrap().parse().unwrap();
    app.advance(Duration::from_secs(60));
    keep(app, id, diagnosis).await;
    id
}

/// Keeps one more look at the cluster of an incident, like the last one, with `diagnosis`.
pub async fn keep(app: &TestApp, id: IncidentId, diagnosis: &Diagnosis) -> SnapshotId {
    let mut tx = app.state.store.write().await.unwrap();
    let last = snapshots::list(&mut tx, id).await.unwrap().pop().unwrap();
    let snapshot = Snapshot {
        cluster: last.cluster,
        taken_at: app.clock.now(),
        coverage: last.coverage,
        breakdowns: snapshots::list_breakdowns(&mut tx, last.id, None).await.unwrap(),
        closed: snapshots::find_closed(&mut tx, last.id).await.unwrap(),
    };
    let snapshot_id = SnapshotId(app.clock.new_id());
    snapshots::insert(&mut tx, snapshot_id, id, PackedSnapshot::pack(&snapshot)).await.unwrap();
    diagnoses::insert(&mut tx, id, snapshot_id, PackedDiagnosis::pack(diagnosis)).await.unwrap();
    store::incidents::save_headline(&mut tx, id, &diagnosis.headline, app.clock.now()).await.unwrap();
    store::commit(tx).await.unwrap();
    snapshot_id
}

/// A diagnosis of one finding and one culprit, with every text of a stranger being `name`.
pub fn diagnosis(kind: FindingKind, name: &str) -> Diagnosis {
    let since: Timestamp = "2026-11-24T02:51:00Z".parse().unwrap();
    let evidence = vec![Fact::count("grown_by", 2940, format!("{name} has 2,940 connections more"))];
    Diagnosis {
        made_at: "2026-11-24T09:00:30Z".parse().unwrap(),
        headline: format!("of +3,100 since 02:51, 2,940 are {name}"),
        findings: vec![Finding {
            kind,
            severity: Severity::Critical,
            confidence: 0.9,
            summary: format!("{name} opens connections and does not close them"),
            subject: Some(Subject::new(Dimension::Application, name)),
            since: Some(since),
            evidence: evidence.clone(),
            confirm: format!("{name} goes on growing"),
            refute: format!("{name} has more instances"),
        }],
        culprits: vec![Culprit {
            dimension: Dimension::Application,
            key: name.to_owned(),
            label: None,
            connections: 3000,
            grown_by: Some(2940),
            explained_share: 0.9484,
            since: Some(since),
            without_traffic_share: 0.97,
            addresses: vec![Origin { address: name.to_owned(), name: None, connections: 2940 }],
            first_seen_at: Some(since),
            owner: None,
            summary: format!("2,940 of 3,100 are {name}"),
        }],
        steps: StepName::ALL
            .into_iter()
            .zip([StepStatus::Skipped, StepStatus::Finding, StepStatus::Ok, StepStatus::Ok, StepStatus::Ok])
            .map(|(step, status)| Step {
                step,
                status,
                summary: format!("step about {name}"),
                evidence: evidence.clone(),
                remarks: vec![format!("remark on {name}")],
            })
            .collect(),
        recommendations: vec![Recommendation {
            step: MitigationStep::Application,
            title: format!("Have {name} close its connections"),
            effect: format!("{name} would have 60 connections"),
            snippets: vec![Snippet {
                place: "nats-server.conf".to_owned(),
                text: format!("# of {name}\nmax_connections: 5000\n```\n"),
            }],
        }],
    }
}
