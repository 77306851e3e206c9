//! The journal of victims: it goes forward, as a whole, and nothing contradicts it.

use super::*;

#[tokio::test]
async fn ten_thousand_victims_are_kept_and_listed_in_pages() {
    let world = World::make().await;
    let large = mitigation(1, "east", 10_000);
    world.insert(&large).await;
    world.insert(&mitigation(2, "west", 10)).await;
    let mut conn = world.read().await;
    assert_eq!(find(&mut conn, large.id).await.unwrap().as_ref(), Some(&large));
    let (mut from, mut seen, mut pages) = (Some(0), Vec::new(), 0);
    while let Some(place) = from {
        let page = victims::list(&mut conn, large.id, None, place, 999).await.unwrap();
        pages += 1;
        assert!(page.victims.iter().all(|it| it.state == VictimState::Pending && it.at == at(0)));
        seen.extend(page.victims);
        from = page.next;
    }
    assert_eq!(pages, 11);
    assert!(seen.iter().map(|it| it.place).eq(0..10_000));
    assert!(seen.iter().map(|it| &it.victim).eq(&large.plan.victims));
    drop(conn);

    let moved: Vec<_> =
        (0..10_000).filter(|place| place % 10 < 3).map(|it| line(it, VictimState::Sent)).collect();
    world.record(&large, &moved).await.unwrap();
    let mut conn = world.read().await;
    let counts = victims::counts(&mut conn, large.id).await.unwrap();
    assert_eq!(
        counts.into_iter().collect::<Vec<_>>(),
        [(VictimState::Pending, 7000), (VictimState::Sent, 3000)]
    );
    assert_eq!(victims::list_in(&mut conn, large.id, VictimState::Sent, 10_000).await.unwrap(), moved);
    assert_eq!(victims::list_in(&mut conn, large.id, VictimState::Sent, 5).await.unwrap(), moved[..5]);
    let page = victims::list(&mut conn, large.id, Some(VictimState::Sent), 9_991, 2).await.unwrap();
    assert_eq!((page.victims[0].place, page.victims[1].place, page.next), (9_991, 9_992, None));
}

#[tokio::test]
async fn a_journal_line_goes_forward_and_never_back() {
    // from each state into each, and which of these moves are allowed
    let mut allowed = Vec::new();
    let world = World::make().await;
    let mut serial = 0;
    let ways: [(VictimState, &[VictimState]); 10] = [
        (VictimState::Pending, &[]),
        (VictimState::Sent, &[VictimState::Sent]),
        (VictimState::Asked, &[VictimState::Sent, VictimState::Asked]),
        (VictimState::Left, &[VictimState::Sent, VictimState::Left]),
        (VictimState::Stayed, &[VictimState::Sent, VictimState::Asked, VictimState::Stayed]),
        (VictimState::Confirmed, &[VictimState::Sent, VictimState::Confirmed]),
        (VictimState::Gone, &[VictimState::Gone]),
        (VictimState::Changed, &[VictimState::Changed]),
        (VictimState::Error, &[VictimState::Sent, VictimState::Error]),
        (VictimState::Spared, &[VictimState::Spared]),
    ];
    for (from, way) in ways {
        for to in VictimState::ALL {
            let planned = mitigation(serial, "east", 2);
            serial += 1;
            world.insert(&planned).await;
            for state in way {
                world.record(&planned, &[line(0, *state)]).await.unwrap();
            }
            match world.record(&planned, &[line(0, to)]).await {
                Ok(()) => allowed.push(format!("{} -> {}", from.name(), to.name())),
                refused => assert_eq!(conflict(refused), "victim"),
            }
            let mut conn = world.read().await;
            let page = victims::list(&mut conn, planned.id, None, 1, 10).await.unwrap();
            assert_eq!(page.victims[0].state, VictimState::Pending, "the others stay where they are");
        }
    }
    insta::assert_snapshot!(allowed.join("\n"), @r"
    pending -> sent
    pending -> gone
    pending -> changed
    pending -> spared
    sent -> asked
    sent -> left
    sent -> confirmed
    sent -> gone
    sent -> error
    sent -> spared
    asked -> sent
    asked -> left
    asked -> stayed
    ");
}

#[tokio::test]
async fn a_batch_is_written_as_a_whole_or_not_at_all() {
    let world = World::make().await;
    let planned = mitigation(1, "east", 5);
    world.insert(&planned).await;
    world.insert(&mitigation(2, "west", 5)).await;
    world.record(&planned, &[line(3, VictimState::Sent)]).await.unwrap();
    let stranger = VictimKey { start: "2026-02-02T00:00:00Z".to_owned(), ..victim(1).key };
    let batches = [
        vec![line(0, VictimState::Sent), line(3, VictimState::Sent)],
        vec![line(0, VictimState::Sent), line(9, VictimState::Sent)],
        vec![line(0, VictimState::Sent), line(0, VictimState::Sent)],
        vec![line(0, VictimState::Sent), JournalLine { victim: stranger, ..line(1, VictimState::Sent) }],
    ];
    for batch in batches {
        assert_eq!(conflict(world.record(&planned, &batch).await), "victim");
        let counts = victims::counts(&mut *world.read().await, planned.id).await.unwrap();
        assert_eq!(counts.get(&VictimState::Pending), Some(&4));
    }
    let refused = JournalLine { error: Some("no".to_owned()), ..line(3, VictimState::Error) };
    world.record(&planned, &[line(0, VictimState::Sent), refused.clone()]).await.unwrap();
    let mut tx = world.write().await;
    assert_eq!(victims::spare_pending(&mut tx, planned.id, at(9)).await.unwrap(), 3);
    store::commit(tx).await.unwrap();
    let mut conn = world.read().await;
    assert_eq!(victims::list_in(&mut conn, planned.id, VictimState::Error, 10).await.unwrap(), [refused]);
    assert_eq!(victims::list_in(&mut conn, planned.id, VictimState::Sent, 10).await.unwrap().len(), 1);
    let others = MitigationId(Uuid::from_u128(2));
    assert_eq!(victims::counts(&mut conn, others).await.unwrap().get(&VictimState::Pending), Some(&5));
}

#[tokio::test]
async fn what_contradicts_the_journal_is_told() {
    let world = World::make().await;
    let never_started = world.insert_in(1, "east", state("approved")).await;
    world.record(&never_started, &[line(0, VictimState::Sent)]).await.unwrap();
    world.insert_in(2, "east", state("stopped")).await;
    let mut tx = world.write().await;
    victims::spare_pending(&mut tx, MitigationId(Uuid::from_u128(2)), at(5)).await.unwrap();
    store::commit(tx).await.unwrap();
    world.insert_in(3, "east", state("verifying")).await;
    let mut tx = world.write().await;
    for change in [
        "UPDATE mitigations SET outcome = 'effective' WHERE state = 'stopped'",
        "DROP INDEX mitigations_running",
    ] {
        sqlx::query(change).execute(&mut *tx).await.unwrap();
    }
    store::commit(tx).await.unwrap();
    for serial in [4, 5] {
        world.insert_in(serial, "west", state("running")).await;
    }
    let mut inspection = Inspection::open(world.directory.path()).await.unwrap();
    insta::assert_snapshot!(inspection.contradictions().await.unwrap().join("\n"), @r"
    several mitigations run in west at once
    mitigation 00000000-0000-0000-0000-000000000001 was never started, but victims were asked to leave or cut
    mitigation 00000000-0000-0000-0000-000000000003 is verifying, but victims wait to be dealt with
    mitigation 00000000-0000-0000-0000-000000000002 is stopped, but its outcome says otherwise
    ");
}
