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
    let finished = PastRun {
        id: ineffective.id,
        action: ActionKind::Kick,
        started_at: at(3),
        ended_at: Some(at(4)),
        outcome: Some(Outcome::Ineffective),
        stop: None,
    };
    let worse = PastRun {
        id: stopped.id,
        ended_at: Some(at(4)),
        outcome: None,
        stop: Some(StopReason::Worse),
        ..finished.clone()
    };
    let running = PastRun { id: other.id, ended_at: None, outcome: None, ..finished.clone() };
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
        let returned: Vec<Value> = ["application", "account", "user", "ip"]
            .into_iter()
            .map(|by| json!({ "dimension": by, "cut": 2, "returned": returned, "groups": [], "more_groups": 0 }))
            .collect();
        let look = json!({
            "at": at(5), "after_ms": after * 1000, "complete": true, "cut": 2, "total_before": 9, "total_now": 8,
            "matched_before": 4, "matched_now": 3, "returned": returned,
        });
        save_look(&mut tx, finished.id, std::time::Duration::from_secs(after), &look).await.unwrap();
    }
    store::commit(tx).await.unwrap();

    let told = async |cluster: Option<&str>, since: Option<i64>| {
        let filter = StatisticsFilter { cluster: cluster.map(str::to_owned), since: since.map(at) };
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
