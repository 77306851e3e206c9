//! Plans and where they stand: what is written is read again, and a state moves only from the one it came from.

use super::*;

#[tokio::test]
async fn a_mitigation_is_read_as_it_was_written_in_every_state() {
    let world = World::make().await;
    let summary = |it: &Mitigation| MitigationSummary {
        id: it.id,
        incident: it.incident,
        cluster: it.plan.cluster.clone(),
        action: it.plan.action,
        selector: it.plan.selector.clone(),
        victims: it.plan.victims.len() as u64,
        digest: it.plan.digest.clone(),
        planned_by: it.planned_by.clone(),
        planned_at: it.planned_at,
        reason: it.reason.clone(),
        state: it.state.clone(),
    };
    for (serial, state) in (0..).zip(states()) {
        let planned = mitigation(serial, "east", u64::try_from(serial).unwrap());
        world.insert(&planned).await;
        let moved = Mitigation { state, ..planned };
        world.save(&moved, "planned").await.unwrap();
        let mut conn = world.read().await;
        assert_eq!(find(&mut conn, moved.id).await.unwrap().as_ref(), Some(&moved));
        assert_eq!(find_summary(&mut conn, moved.id).await.unwrap(), Some(summary(&moved)));
    }
    assert_eq!(find(&mut *world.read().await, MitigationId(Uuid::from_u128(99))).await.unwrap(), None);
}

#[tokio::test]
async fn every_transition_is_saved_only_from_the_state_it_came_from() {
    let world = World::make().await;
    for (serial, from) in (0..).zip(states()) {
        let moved = world.insert_in(serial, &format!("cluster-{serial}"), from.clone()).await;
        for was in MitigationState::NAMES.into_iter().filter(|was| *was != from.name()) {
            for to in states() {
                let moved = Mitigation { state: to, ..moved.clone() };
                assert_eq!(conflict(world.save(&moved, was).await), "mitigation", "{was}");
            }
        }
        let kept = find(&mut *world.read().await, moved.id).await.unwrap();
        assert_eq!(kept, Some(moved), "nothing of it has happened");
    }
    let nobody = Mitigation { state: state("proposed"), ..mitigation(99, "east", 1) };
    assert_eq!(conflict(world.save(&nobody, "planned").await), "mitigation");
}

#[tokio::test]
async fn what_was_known_in_an_earlier_state_stays_in_its_columns() {
    let world = World::make().await;
    let planned = mitigation(1, "east", 1);
    world.insert(&planned).await;
    let mut was = "planned";
    for name in ["proposed", "approved", "running", "stopped"] {
        world.save(&Mitigation { state: state(name), ..planned.clone() }, was).await.unwrap();
        was = name;
    }
    let columns: (String, i64, i64, i64, Option<i64>, i64, String) = sqlx::query_as(
        "SELECT approved_by, approved_at, valid_until, started_at, executed_at, finished_at, stop FROM mitigations",
    )
    .fetch_one(&mut *world.read().await)
    .await
    .unwrap();
    let us = |minute| at(minute).as_microsecond();
    assert_eq!(columns, ("bob".to_owned(), us(2), us(17), us(3), None, us(4), "worse".to_owned()));
}

#[tokio::test]
async fn two_runs_in_a_cluster_collide_and_two_clusters_do_not() {
    let world = World::make().await;
    let east = world.insert_in(1, "east", state("running")).await;
    let other = world.insert_in(2, "east", state("approved")).await;
    let started = Mitigation { state: state("running"), ..other.clone() };
    assert_eq!(conflict(world.save(&started, "approved").await), "cluster");
    assert_eq!(
        conflict(world.save(&started, "proposed").await),
        "mitigation",
        "it is not where it was said to be"
    );
    assert_eq!(find(&mut *world.read().await, other.id).await.unwrap(), Some(other));

    let west = world.insert_in(3, "west", state("running")).await;
    assert_eq!(list_running(&mut *world.read().await).await.unwrap(), [east.id, west.id]);
    // the lease ends with execution, not with the last look
    world.save(&Mitigation { state: state("verifying"), ..east }, "running").await.unwrap();
    world.save(&started, "approved").await.unwrap();
    assert_eq!(list_running(&mut *world.read().await).await.unwrap(), [started.id, west.id]);
}

#[tokio::test]
async fn the_same_idempotency_key_finds_the_first_and_cannot_be_used_for_another() {
    let world = World::make().await;
    let first = mitigation(1, "east", 2);
    let mut tx = world.write().await;
    insert(&mut tx, &first, Some(("key", "sha256:request"))).await.unwrap();
    insert(&mut tx, &mitigation(2, "east", 2), None).await.unwrap();
    insert(&mut tx, &mitigation(3, "east", 2), None).await.unwrap();
    store::commit(tx).await.unwrap();

    let mut tx = world.write().await;
    let second = insert(&mut tx, &mitigation(4, "west", 2), Some(("key", "sha256:other"))).await;
    assert_eq!(conflict(second), "idempotency key");
    drop(tx);
    let mut conn = world.read().await;
    assert_eq!(
        find_by_idempotency_key(&mut conn, "key").await.unwrap(),
        Some((first, "sha256:request".to_owned()))
    );
    assert_eq!(find_by_idempotency_key(&mut conn, "Key").await.unwrap(), None);
    assert_eq!(count(&mut conn, "mitigations").await, 3);
    assert_eq!(count(&mut conn, "victims").await, 6);
}

#[tokio::test]
async fn those_that_waited_too_long_are_told() {
    let world = World::make().await;
    for (serial, state) in (0..).zip(states()) {
        world.insert_in(serial, "east", state).await;
    }
    let mut conn = world.read().await;
    let mut overdue = async |now, before| {
        let ids = list_overdue(&mut conn, now, before, 10).await.unwrap();
        ids.iter()
            .map(|id| MitigationState::NAMES[usize::try_from(id.0.as_u128()).unwrap()])
            .collect::<Vec<_>>()
    };
    assert_eq!(overdue(at(16), at(0)).await, [""; 0]);
    assert_eq!(overdue(at(17), at(0)).await, ["approved"]);
    assert_eq!(overdue(at(16), at(1)).await, ["planned", "proposed"]);
}

#[tokio::test]
async fn lists_are_filtered_and_paged_the_newest_first() {
    let world = World::make().await;
    let incident = insert_incident(&world, 7, None).await;
    let mut tx = world.write().await;
    for serial in 0..25 {
        let mut planned = mitigation(serial, if serial % 2 == 0 { "east" } else { "west" }, 1);
        planned.incident = (serial % 5 == 0).then_some(incident);
        planned.plan.action = if serial % 3 == 0 { ActionKind::Drain } else { ActionKind::Kick };
        insert(&mut tx, &planned, None).await.unwrap();
    }
    let missing = Mitigation { incident: Some(IncidentId(Uuid::from_u128(99))), ..mitigation(99, "east", 1) };
    assert_eq!(conflict(insert(&mut tx, &missing, None).await), "incident");
    store::commit(tx).await.unwrap();
    let mut moved = mitigation(4, "east", 1);
    moved.state = state("proposed");
    world.save(&moved, "planned").await.unwrap();

    let serials = async |filter: MitigationFilter, limit: u32| {
        let mut conn = world.read().await;
        let (mut filter, mut all, mut pages) = (filter, Vec::new(), 0);
        loop {
            let page = list(&mut conn, &filter, limit).await.unwrap();
            pages += 1;
            assert!(page.mitigations.len() <= limit as usize);
            all.extend(page.mitigations.iter().map(|it| it.id.0.as_u128()));
            filter.before = page.next;
            if filter.before.is_none() {
                return (all, pages);
            }
        }
    };
    let all: Vec<u128> = (0..25).rev().collect();
    assert_eq!(serials(MitigationFilter::default(), 10).await, (all.clone(), 3));
    assert_eq!(serials(MitigationFilter::default(), 25).await, (all.clone(), 1));
    let only =
        |keep: fn(u128) -> bool| all.iter().copied().filter(|serial| keep(*serial)).collect::<Vec<_>>();
    let none = MitigationFilter::default;
    let filters = [
        (MitigationFilter { cluster: Some("east".to_owned()), ..none() }, only(|it| it % 2 == 0)),
        (MitigationFilter { incident: Some(incident), ..none() }, only(|it| it % 5 == 0)),
        (MitigationFilter { state: Some("proposed".to_owned()), ..none() }, vec![4]),
        (
            MitigationFilter { cluster: Some("west".to_owned()), incident: Some(incident), ..none() },
            vec![15, 5],
        ),
    ];
    for (filter, expected) in filters {
        assert_eq!(serials(filter.clone(), 2).await.0, expected, "{filter:?}");
    }
}
