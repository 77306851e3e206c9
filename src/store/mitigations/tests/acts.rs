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
async fn acts_are_on_record_in_the_order_in_which_they_were_written() {
    let world = World::make().await;
    let mut tx = world.write().await;
    // the clock was set back after the second
    let acts = [3, 4, 0, 1].map(|minute: i64| AuditLine {
        at: at(minute),
        actor: if minute < 2 { "ann" } else { "connwarden" }.to_owned(),
        act: if minute % 2 == 0 { AuditLine::PAUSE } else { AuditLine::RESUME }.to_owned(),
        subject: format!("subject-{}", minute % 3),
        text: format!("because {minute}"),
    });
    for act in &acts {
        audit::insert(&mut tx, act).await.unwrap();
    }
    let mut list = async |filter: AuditFilter, limit| audit::list(&mut tx, &filter, limit).await.unwrap();
    let [third, fourth, zeroth, first] = acts;
    let newest = list(AuditFilter::default(), 3).await;
    assert_eq!(newest.acts, [first.clone(), zeroth.clone(), fourth]);
    let older = list(AuditFilter { before: newest.next, ..AuditFilter::default() }, 3).await;
    assert_eq!((older.acts, older.next), (vec![third.clone()], None));

    let given = |text: &str| Some(text.to_owned());
    let by = AuditFilter { actor: given("ann"), ..AuditFilter::default() };
    assert_eq!(list(by, 9).await.acts, [first.clone(), zeroth.clone()]);
    let of = AuditFilter { act: given("resume"), ..AuditFilter::default() };
    assert_eq!(list(of, 9).await.acts, [first, third.clone()]);
    let on = AuditFilter { subject: given("subject-0"), ..AuditFilter::default() };
    assert_eq!(list(on.clone(), 9).await.acts, [zeroth.clone(), third]);
    let all = AuditFilter { actor: given("ann"), act: given("pause"), ..on };
    assert_eq!(list(all, 9).await.acts, [zeroth]);
}
