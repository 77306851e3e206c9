//! What a stored plan means now: what was asked for, and who of its victims is still there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::MitigateError;
use crate::model::breakdown::{By, Dimension};
use crate::model::mitigation::Mitigation;
use crate::model::picking::{Picked, PickedGroup};
use crate::model::plan::PlanRequest;
use crate::model::selector::{Conditions, Selector};
use crate::model::snapshot::Snapshot;
use crate::model::victim::{KeepOf, Victim, VictimKey};

/// What a stored plan was asked for.
pub(super) fn request_of(mitigation: &Mitigation) -> Result<PlanRequest, MitigateError> {
    let plan = &mitigation.plan;
    let selector = Selector::try_from(plan.selector.clone())
        .map_err(|error| MitigateError::Request(format!("the stored selector: {error}")))?;
    Ok(PlanRequest { action: plan.action, selector, order: plan.order, limits: plan.limits })
}

/// What must still hold of victims: all that was asked for, but that they are not open for long. They are the same
/// connections, which were young then.
pub(super) fn still_meant(request: &PlanRequest) -> Option<Selector> {
    let conditions = Conditions { younger_than: None, ..request.selector.conditions().clone() };
    // nothing is left of a selector that wanted nothing else
    Selector::try_from(conditions).ok()
}

/// The victims of a plan that are still there, in the cluster as it is now: nobody is added. Groups of which it is not known
/// how many there are of them are left out.
pub(super) fn frozen(
    mitigation: &Mitigation,
    still_there: &BTreeSet<VictimKey>,
    snapshot: &Snapshot,
    now: Picked,
) -> Picked {
    let limits = &mitigation.plan.limits;
    let victims: Vec<Victim> =
        mitigation.plan.victims.iter().filter(|victim| still_there.contains(&victim.key)).cloned().collect();
    let mut groups: BTreeMap<(Option<String>, Option<IpAddr>), u64> = BTreeMap::new();
    if limits.keep > 0 {
        for victim in &victims {
            let ip = victim.ip.filter(|_| limits.keep_of == KeepOf::ApplicationAndIp);
            *groups.entry((victim.application.clone(), ip)).or_default() += 1;
        }
    }
    let groups = groups.into_iter().filter_map(|((application, ip), victims)| {
        let total = connections_of(snapshot, limits.keep_of, application.as_deref(), ip)?;
        Some(PickedGroup { application, ip, total, victims })
    });
    Picked { groups: groups.collect(), victims, ..now }
}

/// How many connections there are of an application, or of it at an address; nothing if they may be among those that are
/// not told apart.
fn connections_of(
    snapshot: &Snapshot,
    keep_of: KeepOf,
    application: Option<&str>,
    ip: Option<IpAddr>,
) -> Option<u64> {
    let application = application.unwrap_or(Dimension::Application.absent());
    let (by, key) = match keep_of {
        KeepOf::Application => (By::from(Dimension::Application), None),
        KeepOf::ApplicationAndIp => {
            let ip = ip.map_or_else(|| Dimension::Ip.absent().to_owned(), |ip| ip.to_string());
            (kept_by(), Some(ip))
        }
    };
    let breakdown = snapshot.breakdowns.get(&by)?;
    let group = breakdown.groups.iter().find(|group| match &key {
        None => group.key == application,
        Some(ip) => {
            group.keys.get(&Dimension::Application).is_some_and(|key| key == application)
                && group.keys.get(&Dimension::Ip) == Some(ip)
        }
    });
    match group {
        Some(group) => Some(group.figures.connections),
        None => (breakdown.other.figures.connections == 0).then_some(0),
    }
}

/// By what minimums of each application at each address are counted.
pub(super) fn kept_by() -> By {
    "application/ip".parse().expect("it is one of the standard breakdowns")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::mitigations::tests::mitigation;
    use crate::model::breakdown::{Breakdown, Figures, Group};
    use crate::model::mitigation::MitigationState;
    use crate::model::snapshot::Coverage;

    #[test]
    fn a_group_that_is_not_told_apart_is_not_taken_for_an_empty_one() {
        let mut planned = mitigation(uuid::Uuid::nil(), "prod", MitigationState::Planned);
        planned.plan.limits.keep = 1;
        let there = planned.plan.victims.iter().map(|victim| victim.key.clone()).collect();
        let figures = |connections| Figures { connections, ..Figures::default() };
        let groups = |application: &str, others| {
            let mut breakdown = Breakdown {
                groups: vec![Group { key: application.to_owned(), figures: figures(7), ..Group::default() }],
                ..Breakdown::default()
            };
            breakdown.other.figures = figures(others);
            let snapshot = Snapshot {
                cluster: "prod".to_owned(),
                taken_at: planned.plan.taken_at,
                coverage: Coverage::of(Vec::new(), 0),
                breakdowns: BTreeMap::from([(By::from(Dimension::Application), breakdown)]),
                closed: None,
            };
            let picked = frozen(&planned, &there, &snapshot, Picked::default());
            assert_eq!(picked.victims.len(), 2);
            picked.groups.into_iter().map(|group| group.total).collect::<Vec<_>>()
        };
        assert_eq!(groups("orders", 3), [7]);
        assert_eq!(groups("billing", 0), [0], "all are told apart, and none is of it");
        assert_eq!(groups("billing", 3), [0; 0]);
    }
}
