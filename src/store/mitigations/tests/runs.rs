//! Earlier runs: what guards are told of them, and what came of them.

use super::*;
use crate::store::mitigations::statistics::StatisticsFilter;

#[tokio::test]
async fn guards_are_told_of_runs_against_the_same_of_those_that_ended_and_of_what_was_cut() {
    let world = World::make().await;
    let ineffective = world.insert_in(1, "east", state("finished")).await;
    let stopped = world.insert_in(2, "east", state("stopped")).await;
    world.insert_in(3, "east", state("rejected")).await;
    world.insert_in(4, "west", state("stopped")).await;
    let mut other = mitigation(5, "east", 3);
    other.plan.selector = serde_json::from_value(json!({ "application": "orders" })).unwrap();
    world.insert(&other).await;
    world.save(&Mitigation { state: state("running"), ..other.clone() }, "planned").await.unwrap();
    let lines = [VictimState::Sent, VictimState::Confirmed];
    for state in lines {
        world.record(&ineffective, &[line(0, state), line(1, state)]).await.unwrap();
    }
    world.record(&stopped, &[line(0, VictimState::Sent)]).await.unwrap();
    world.record(&other, &[line(0, VictimState::Gone)]).await.unwrap();

    let mut conn = world.read().await;
    let finished = PastRun { ended_at: Some(at(4)), outcome: Some(Outcome::Ineffective), stop: None };
    let worse = PastRun { ended_at: Some(at(4)), outcome: None, stop: Some(StopReason::Worse) };
    let running = PastRun { ended_at: None, outcome: None, stop: None };
    // written in another order, the conditions are the same
    let same = serde_json::from_value(json!({ "idle_for": "600s", "application": "orders" })).unwrap();
    let against = list_runs_against(&mut conn, "east", &same).await.unwrap();
    assert_eq!(against, [worse.clone(), finished.clone()]);
    assert_eq!(list_runs_against(&mut conn, "west", &other.plan.selector).await.unwrap(), []);
    let against = list_runs_against(&mut conn, "east", &other.plan.selector).await.unwrap();
    assert_eq!(against, [running]);

    assert_eq!(list_ended_since(&mut conn, "east", at(4)).await.unwrap(), [finished.clone(), worse]);
    assert_eq!(list_ended_since(&mut conn, "east", at(5)).await.unwrap(), [finished]);
    assert_eq!(list_ended_since(&mut conn, "nowhere", at(0)).await.unwrap(), []);

    assert_eq!(
        count_cut_since(&mut conn, "east", at(1)).await.unwrap(),
        3,
        "one that may have been cut counts"
    );
    assert_eq!(count_cut_since(&mut conn, "east", at(2)).await.unwrap(), 0);
    assert_eq!(count_cut_since(&mut conn, "west", at(1)).await.unwrap(), 0);
    let by_server =
        victims::count_by_server(&mut conn, ineffective.id, &[VictimState::Sent, VictimState::Confirmed]);
    assert_eq!(by_server.await.unwrap(), [("NA".to_owned(), 2)].into());
    let cut = victims::count_by_server(&mut conn, stopped.id, &[VictimState::Confirmed]);
    assert!(cut.await.unwrap().is_empty(), "nothing is known of it");
}

#[tokio::test]
async fn statistics_tell_how_runs_ended_who_was_cut_and_who_came_back() {
    let world = World::make().await;
    let finished = world.insert_in(1, "east", state("finished")).await;
    world.insert_in(2, "east", state("stopped")).await;
    world.insert_in(3, "east", state("rejected")).await;
    world.insert_in(4, "west", state("verifying")).await;
    for state in [VictimState::Sent, VictimState::Confirmed] {
        world.record(&finished, &[line(0, state), line(1, state)]).await.unwrap();
    }
    let mut tx = world.write().await;
    save_before(&mut tx, finished.id, &json!({ "total": 9 })).await.unwrap();
    // only the last look counts
    for (after, returned) in [(5, 0), (30, 1)] {
        let after = std::time::Duration::from_secs(after);
        save_look(&mut tx, finished.id, after, &look(after, returned)).await.unwrap();
    }
    store::commit(tx).await.unwrap();

    let told = async |cluster: Option<&str>, since: Option<i64>| {
        let cluster = cluster.map(str::to_owned);
        let filter = StatisticsFilter { cluster, since: since.map(at), action: None };
        let statistics = statistics::list(&mut *world.read().await, &filter).await.unwrap();
        let lines = statistics.iter().map(|it| {
            let returns = it.returns().unwrap_or_default();
            format!(
                "{} {} {}: {}, {} victims, {returns}",
                it.cluster,
                it.action.name(),
                it.runs,
                it.ends(),
                it.victims
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(told(None, None).await, @r"
    east kick 2: 1 ineffective, 1 failed, 2 victims, 1 of 2 (50 %)
    west kick 1: 1 unfinished, 0 victims, 
    ");
    assert!(told(Some("west"), Some(3)).await.starts_with("west kick 1"));
    assert_eq!(told(None, Some(4)).await, "");
}

#[tokio::test]
async fn who_came_back_is_told_of_the_last_hundred_runs_of_an_action_in_a_cluster() {
    let world = World::make().await;
    let mut tx = world.write().await;
    let after = std::time::Duration::from_secs(5);
    for serial in 0..102 {
        let planned = Mitigation { state: state("finished"), ..mitigation(serial, "east", 2) };
        insert(&mut tx, &planned, None).await.unwrap();
        save_look(&mut tx, planned.id, after, &look(after, 1)).await.unwrap();
    }
    let mut other = Mitigation { state: state("finished"), ..mitigation(102, "east", 2) };
    other.plan.action = ActionKind::Drain;
    insert(&mut tx, &other, None).await.unwrap();
    save_look(&mut tx, other.id, after, &look(after, 2)).await.unwrap();
    store::commit(tx).await.unwrap();
    let of = async |action: Option<ActionKind>| {
        let filter = StatisticsFilter { action, ..StatisticsFilter::default() };
        let statistics = statistics::list(&mut *world.read().await, &filter).await.unwrap();
        statistics.iter().map(|it| (it.action, it.runs, it.looked_after, it.returned)).collect::<Vec<_>>()
    };
    let (kick, drain) = ((ActionKind::Kick, 102, 200, 100), (ActionKind::Drain, 1, 2, 2));
    assert_eq!(of(None).await, [kick, drain]);
    assert_eq!(of(Some(ActionKind::Drain)).await, [drain]);
}

/// What a look after a run of two victims saw.
fn look(after: std::time::Duration, returned: u64) -> Value {
    let returned: Vec<Value> = ["application", "account", "user", "ip"]
        .into_iter()
        .map(|by| json!({ "dimension": by, "cut": 2, "returned": returned, "groups": [], "more_groups": 0 }))
        .collect();
    json!({
        "at": at(5), "after_ms": after.as_millis() as u64, "complete": true, "cut": 2, "total_before": 9, "total_now": 8,
        "matched_before": 4, "matched_now": 3, "returned": returned,
    })
}
