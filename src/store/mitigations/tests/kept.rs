//! How long mitigations and acts are kept.

use super::*;

/// Deletes what is to be deleted; the rows of each bite.
async fn retain(world: &World, limits: &Limits, bite: impl AsyncFn(&mut Conn, &Limits) -> Bite) -> Vec<u64> {
    let mut bites = Vec::new();
    loop {
        let mut tx = world.write().await;
        let bite = bite(&mut tx, limits).await;
        store::commit(tx).await.unwrap();
        world.check().await;
        bites.push(bite.deleted.iter().map(|(_, rows)| rows).sum());
        if bite.next.is_none() {
            return bites;
        }
    }
}

fn limits(minute: i64, count: u64) -> Limits {
    Limits { before: at(minute), count, young: at(minute) }
}

const DAY: i64 = 24 * 60;

#[tokio::test]
async fn mitigations_go_with_their_incident_once_they_are_over_and_no_guard_looks_at_them() {
    let bite =
        async |conn: &mut Conn, limits: &Limits| retention::bite_of_incidents(conn, limits).await.unwrap();
    for state in states() {
        let world = World::make().await;
        let incident = insert_incident(&world, 1, Some(20)).await;
        let planned = Mitigation { incident: Some(incident), ..mitigation(2, "east", 1200) };
        world.insert(&planned).await;
        let moved = Mitigation { state, ..planned };
        world.save(&moved, "planned").await.unwrap();
        let mut tx = world.write().await;
        if matches!(moved.state.name(), "verifying" | "finished" | "stopped") {
            victims::spare_pending(&mut tx, moved.id, at(5)).await.unwrap();
        }
        save_before(&mut tx, moved.id, &json!({})).await.unwrap();
        store::commit(tx).await.unwrap();
        if !moved.state.is_final() {
            let bites = retain(&world, &limits(10_000 * DAY, 0), bite).await;
            assert_eq!(bites, [0], "{} is not over", moved.state.name());
            continue;
        }
        assert_eq!(retain(&world, &limits(7 * DAY, 0), bite).await, [0], "guards still look at it");
        let bites = retain(&world, &limits(8 * DAY, 0), bite).await;
        // 1200 victims, one look, the mitigation, one entry, the incident
        assert_eq!(bites, [500, 500, 204, 0]);
        let mut conn = world.read().await;
        for table in ["incidents", "entries", "mitigations", "victims", "mitigation_looks"] {
            assert_eq!(count(&mut conn, table).await, 0, "{table}");
        }
    }
}

#[tokio::test]
async fn mitigations_without_an_incident_go_by_age_and_number_and_never_before_they_are_over() {
    let world = World::make().await;
    let bite =
        async |conn: &mut Conn, limits: &Limits| retention::bite_of_mitigations(conn, limits).await.unwrap();
    let incident = insert_incident(&world, 1, None).await;
    for (serial, state) in (0..).zip(states()) {
        world.insert_in(serial, "east", state).await;
    }
    let mut tx = world.write().await;
    for serial in [7, 8, 9] {
        victims::spare_pending(&mut tx, MitigationId(Uuid::from_u128(serial)), at(5)).await.unwrap();
    }
    let of_incident = Mitigation { incident: Some(incident), ..mitigation(20, "west", 3) };
    insert(&mut tx, &of_incident, None).await.unwrap();
    save(&mut tx, of_incident.id, &state("expired"), "planned").await.unwrap();
    // somebody has still to deal with it
    let busy = mitigation(21, "west", 3);
    insert(&mut tx, &busy, None).await.unwrap();
    save(&mut tx, busy.id, &state("expired"), "planned").await.unwrap();
    let job = jobs::NewJob { kind: "mitigation_run", subject: busy.id.to_string(), due_at: at(0) };
    jobs::insert(&mut tx, &[job], at(0)).await.unwrap();
    store::commit(tx).await.unwrap();

    let kept = async || {
        let filter = MitigationFilter::default();
        let page = list(&mut *world.read().await, &filter, 100).await.unwrap();
        page.mitigations.iter().rev().map(|it| it.id.0.as_u128()).collect::<Vec<_>>()
    };
    let all: Vec<u128> = (0..10).chain([20, 21]).collect();
    let (now, ever) = (8 * DAY, Timestamp::MIN);
    assert_eq!(retain(&world, &Limits { before: ever, ..limits(now, 6) }, bite).await, [0]);
    assert_eq!(retain(&world, &limits(7 * DAY, 0), bite).await, [0], "guards still look at them");
    assert_eq!(kept().await, all);
    // of six that are over, four stay: what ended first goes
    assert_eq!(retain(&world, &Limits { before: ever, ..limits(now, 4) }, bite).await, [8, 0]);
    assert_eq!(kept().await, [0, 2, 3, 5, 6, 7, 8, 9, 20, 21]);
    assert_eq!(retain(&world, &limits(now, u64::MAX), bite).await, [12, 0]);
    assert_eq!(
        kept().await,
        [0, 2, 3, 6, 7, 20, 21],
        "those that are not over, of an incident, or with a job"
    );
}

#[tokio::test]
async fn acts_go_by_age_and_number() {
    let world = World::make().await;
    let mut tx = world.write().await;
    for minute in 0..1200 {
        let line = AuditLine {
            at: at(minute),
            actor: "ann".to_owned(),
            act: "pause".to_owned(),
            subject: "night".to_owned(),
            text: String::new(),
        };
        audit::insert(&mut tx, &line).await.unwrap();
    }
    store::commit(tx).await.unwrap();
    let bite = async |limits: &Limits, after| {
        let mut tx = world.write().await;
        let bite = retention::bite_of_audit(&mut tx, limits, after).await.unwrap();
        store::commit(tx).await.unwrap();
        bite
    };
    let first = bite(&limits(700, u64::MAX), 0).await;
    assert_eq!(first.deleted, [("audit", 500)]);
    let second = bite(&limits(700, u64::MAX), first.next.unwrap()).await;
    assert_eq!((second.deleted, second.next), (vec![("audit", 200)], None));
    let third = bite(&Limits { before: Timestamp::MIN, ..limits(5000, 499) }, 0).await;
    assert_eq!(third.deleted, [("audit", 1)]);
    assert_eq!(count(&mut *world.read().await, "audit").await, 499);
}
