//! Victims picked among the connections of real servers, and found again.

use std::collections::BTreeSet;
use std::sync::Arc;

use connwarden::model::picking::PickingRules;
use connwarden::model::protection::{Protection, ProtectionReason};
use connwarden::model::victim::{KeepOf, VictimKey, VictimLimits, VictimOrder};
use connwarden::nats::system::control::Done;
use url::Url;

use super::*;

fn rules(selector: Value, own: BTreeSet<(String, u64)>) -> Arc<PickingRules> {
    Arc::new(PickingRules {
        selector: serde_json::from_value(selector).unwrap(),
        protection: Protection { own, ..Protection::default() },
        order: VictimOrder::Oldest,
        limits: VictimLimits { at_most: 1000, at_most_percent: 100.0, keep: 0, keep_of: KeepOf::Application },
    })
}

async fn victims_are_found_again(line: &str) {
    let accounts = ACCOUNTS.replace("$SYS", "OPS") + "system_account: OPS\n";
    let nats = start_cluster(line, "east", 2, &accounts).await;
    let swarm = clients(&nats).await;
    let all: Vec<&NatsServer> = nats.iter().collect();
    let eyes = Eyes::new(&urls(&nats[..1]), &[]);
    eyes.look().await;
    let system = eyes.targets.system.clone().unwrap();
    let own = BTreeSet::from([system.own_connection().unwrap()]);

    let wishes = Wishes::by(&By::standard());
    let rules_of_orders = rules(json!({ "application": "orders-api" }), own.clone());
    let (snapshot, found) = eyes.observer.pick(&eyes.targets, &wishes, rules_of_orders).await;
    assert!(snapshot.coverage.complete, "{:?}", snapshot.coverage);
    assert_eq!(found.other_wardens, BTreeSet::new());
    assert_eq!(found.system_accounts, BTreeSet::from(["OPS".to_owned()]));
    let orders = &snapshot.breakdowns[&By::parse_list("application").unwrap()[0]].groups[0];
    assert_eq!((orders.key.as_str(), found.picked.total), ("orders-api", snapshot.coverage.seen));
    assert_eq!(found.picked.victims.len() as u64, orders.figures.connections);
    let keys: BTreeSet<VictimKey> = found.picked.victims.iter().map(|victim| victim.key.clone()).collect();
    assert_eq!(keys.len(), found.picked.victims.len());
    assert_eq!(keys.iter().map(|key| &key.server_id).collect::<BTreeSet<_>>().len(), 2);

    // by the monitoring ports, one of them under two addresses
    let mut by_http = ClusterTargets { system: None, ..Eyes::new(&urls(&nats), &all).targets };
    let again = format!("http://localhost:{}", nats[0].monitor.port().unwrap());
    by_http.servers.push(Url::parse(&again).unwrap());
    let rules_of_orders = rules(json!({ "application": "orders-api" }), own.clone());
    let (_, by_monitor) = eyes.observer.pick(&by_http, &Wishes::default(), rules_of_orders).await;
    let by_monitor_keys: BTreeSet<VictimKey> =
        by_monitor.picked.victims.iter().map(|victim| victim.key.clone()).collect();
    assert_eq!((by_monitor_keys, by_monitor.picked.total), (keys.clone(), found.picked.total));

    // none has gone, but one whose number is another's by now
    let (first, second) = (keys.first().unwrap().clone(), keys.last().unwrap().clone());
    let stranger = VictimKey { start: second.start.clone(), ..first.clone() };
    let sought: BTreeSet<VictimKey> = keys.iter().cloned().chain([stranger]).collect();
    for targets in [&eyes.targets, &by_http] {
        let (snapshot, there) = eyes.observer.recheck(targets, &sought, None).await;
        assert_eq!((snapshot.coverage.seen, there.meant), (found.picked.total, keys.clone()), "{line}");
    }
    assert_eq!(system.kick(&first.server_id, first.cid).await.unwrap(), Done::Yes);
    let (_, there) = eyes.observer.recheck(&eyes.targets, &sought, None).await;
    assert_eq!(keys.difference(&there.meant).collect::<Vec<_>>(), [&first], "{line}");

    // the system account is never among the victims, whatever it is called, and another connwarden is seen
    let other = Eyes::new(&urls(&nats[1..]), &[]);
    other.look().await;
    let everyone = rules(json!({ "kind": "client" }), own);
    let (_, found) = eyes.observer.pick(&eyes.targets, &Wishes::default(), everyone).await;
    assert_eq!(found.other_wardens, BTreeSet::from(["connwarden/test/prod".to_owned()]), "{line}");
    assert_eq!(found.picked.protected[&ProtectionReason::Own], 1);
    assert_eq!(found.picked.protected[&ProtectionReason::SystemAccount], 1);
    assert!(found.picked.victims.iter().all(|victim| victim.account != "OPS"));
    swarm.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn victims_are_picked_by_either_way_and_found_again_on_the_newest_servers() {
    victims_are_found_again(NEWEST).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn victims_are_picked_by_either_way_and_found_again_on_older_servers() {
    victims_are_found_again(OLDER).await;
}
