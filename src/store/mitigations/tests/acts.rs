//! What is kept beside mitigations: looks, pauses, and who did what.

use super::*;

#[tokio::test]
async fn looks_are_kept_beside_what_was_before() {
    let world = World::make().await;
    let planned = mitigation(1, "east", 1);
    world.insert(&planned).await;
    let mut tx = world.write().await;
    assert_eq!(find_before::<Value>(&mut tx, planned.id).await.unwrap(), None);
    save_before(&mut tx, planned.id, &json!({ "total": 9 })).await.unwrap();
    for seconds in [30, 5] {
        let after = std::time::Duration::from_secs(seconds);
        save_look(&mut tx, planned.id, after, &json!({ "after": seconds })).await.unwrap();
    }
    let nobody = MitigationId(Uuid::from_u128(9));
    assert_eq!(conflict(save_before(&mut tx, nobody, &json!({})).await), "mitigation");
    assert_eq!(find_before::<Value>(&mut tx, planned.id).await.unwrap(), Some(json!({ "total": 9 })));
    let looks: Vec<Value> = list_looks(&mut tx, planned.id).await.unwrap();
    assert_eq!(looks, [json!({ "after": 5 }), json!({ "after": 30 })]);
    store::commit(tx).await.unwrap();
}

#[tokio::test]
async fn a_pause_holds_until_it_is_ended_and_does_not_end_another_unseen() {
    let world = World::make().await;
    let mut tx = world.write().await;
    let pause = |name: &str, cluster: Option<&str>, minute| Pause {
        name: name.to_owned(),
        cluster: cluster.map(str::to_owned),
        reason: format!("because {minute}"),
        paused_by: "ann".to_owned(),
        paused_at: at(minute),
    };
    let (east, all) = (pause("deploy", Some("east"), 1), pause("night", None, 0));
    for pause in [&east, &all] {
        pauses::save(&mut tx, pause).await.unwrap();
    }
    assert_eq!(pauses::list(&mut tx).await.unwrap(), [all.clone(), east.clone()]);
    assert!(east.holds_for("east") && !east.holds_for("west") && all.holds_for("west"));
    for other in [pause("deploy", Some("west"), 2), pause("deploy", None, 2), pause("night", Some("east"), 2)]
    {
        assert_eq!(conflict(pauses::save(&mut tx, &other).await), "pause");
    }
    let again = [pause("deploy", Some("east"), 3), pause("night", None, 3)];
    for pause in &again {
        pauses::save(&mut tx, pause).await.unwrap();
    }
    assert_eq!(pauses::list(&mut tx).await.unwrap(), again);
    assert!(pauses::delete(&mut tx, "deploy").await.unwrap());
    assert!(!pauses::delete(&mut tx, "deploy").await.unwrap());
    assert_eq!(pauses::list(&mut tx).await.unwrap(), [pause("night", None, 3)]);
}

#[tokio::test]
async fn acts_are_on_record_in_their_order() {
    let world = World::make().await;
    let mut tx = world.write().await;
    let act = |minute: i64| AuditLine {
        at: at(minute),
        actor: "ann".to_owned(),
        act: if minute % 2 == 0 { "pause" } else { "resume" }.to_owned(),
        subject: format!("subject-{}", minute % 3),
        text: "why".to_owned(),
    };
    for minute in 0..4 {
        audit::insert(&mut tx, &act(minute)).await.unwrap();
    }
    let rows: Vec<(i64, String, String, String, String)> =
        sqlx::query_as("SELECT at, actor, act, subject, text FROM audit ORDER BY audit_key")
            .fetch_all(&mut *tx)
            .await
            .unwrap();
    let kept = rows.into_iter().map(|(at, actor, act, subject, text)| AuditLine {
        at: Timestamp::from_microsecond(at).unwrap(),
        actor,
        act,
        subject,
        text,
    });
    assert_eq!(kept.collect::<Vec<_>>(), (0..4).map(act).collect::<Vec<_>>());
}
