//! Guards of the incident: it still is a problem, of this cluster, and the on-call has not said "hands off".
//!
//! A person who plans without an incident is held to none of them; a policy always needs one. A person whose incident is
//! silenced or of an assumed cluster can still plan without it.

use crate::mitigate::guards::{Draft, IncidentFacts, Initiator, LiveCount, Silencing, View};
use crate::model::guard::{GuardKind, GuardVerdict};
use crate::model::printable::with_commas;
use crate::model::threshold::{Threshold, Verdict};

/// Wants an incident that is not over.
pub(super) fn problem_is_live(draft: &Draft<'_>, view: &View) -> GuardVerdict {
    let guard = GuardKind::ProblemIsLive;
    let incident = match incident(guard, draft, view) {
        Ok(incident) => incident,
        Err(verdict) => return verdict,
    };
    if !incident.problem.is_unresolved {
        return GuardVerdict::block(guard, "the incident is resolved");
    }
    match incident.problem.count {
        LiveCount::Compared { connections, threshold: Threshold { connections: threshold }, verdict } => {
            let counted = with_commas(connections);
            let verdict = if verdict == Verdict::Above {
                let reason =
                    format!("a fresh count says {counted} connections, beyond the threshold of {threshold}");
                GuardVerdict::pass(guard, reason)
            } else {
                let reason = format!(
                    "a fresh count says {counted} connections, no longer beyond the threshold of {threshold}"
                );
                GuardVerdict::block(guard, reason)
            };
            verdict.compared(connections, threshold)
        }
        LiveCount::ThresholdUnknown if draft.by == Initiator::Person => {
            let reason = "the incident is unresolved; its threshold is not known, so a person judges";
            GuardVerdict::pass(guard, reason)
        }
        LiveCount::ThresholdUnknown => {
            GuardVerdict::block(guard, "the threshold is not known: whether it is over cannot be told")
        }
        LiveCount::NotCounted => {
            GuardVerdict::block(guard, "nothing could be counted: whether it is over cannot be told")
        }
    }
}

/// Wants alerts that nobody holds back.
pub(super) fn not_silenced(draft: &Draft<'_>, view: &View) -> GuardVerdict {
    let guard = GuardKind::NotSilenced;
    let incident = match incident(guard, draft, view) {
        Ok(incident) => incident,
        Err(verdict) => return verdict,
    };
    match incident.silencing {
        Silencing::Clear => GuardVerdict::pass(guard, "no alert of the incident is silenced or inhibited"),
        Silencing::Silenced => {
            GuardVerdict::block(guard, "an alert of the incident is silenced: somebody said \"hands off\"")
        }
        Silencing::Inhibited => {
            GuardVerdict::block(guard, "an alert of the incident is inhibited by another")
        }
        Silencing::Unknown if incident.has_alertmanager => {
            let reason = "Alertmanager did not say whether the alerts are silenced: that counts as silenced";
            GuardVerdict::block(guard, reason)
        }
        Silencing::Unknown => {
            GuardVerdict::pass(guard, "no Alertmanager is configured that could be asked for silences")
        }
    }
}

/// Wants an incident whose cluster is known.
pub(super) fn mapping_is_certain(draft: &Draft<'_>, view: &View) -> GuardVerdict {
    let guard = GuardKind::MappingIsCertain;
    match incident(guard, draft, view) {
        Err(verdict) => verdict,
        Ok(incident) if incident.is_cluster_assumed => {
            let reason = "the incident's cluster was assumed, because only one is configured: give the cluster matchers";
            GuardVerdict::block(guard, reason)
        }
        Ok(_) => GuardVerdict::pass(guard, "the incident's cluster is known"),
    }
}

/// The incident, or what there is to say without one.
fn incident<'a>(
    guard: GuardKind,
    draft: &Draft<'_>,
    view: &'a View,
) -> Result<&'a IncidentFacts, GuardVerdict> {
    if draft.is_without_incident() {
        return Err(GuardVerdict::pass(guard, "a person planned it without an incident"));
    }
    let known = view.incident.as_ref().filter(|_| draft.has_incident);
    known.ok_or_else(|| match (draft.by, draft.has_incident) {
        (Initiator::Policy, false) => {
            GuardVerdict::block(guard, "there is no incident, and a policy acts on nothing else")
        }
        _ => GuardVerdict::block(guard, "nothing is known of its incident"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mitigate::guards::scene::Scene;

    const GUARDS: [GuardKind; 3] =
        [GuardKind::ProblemIsLive, GuardKind::NotSilenced, GuardKind::MappingIsCertain];

    fn incident(scene: &mut Scene) -> &mut IncidentFacts {
        scene.view.incident.as_mut().unwrap()
    }

    fn counted(connections: u64, verdict: Verdict) -> LiveCount {
        LiveCount::Compared { connections, threshold: Threshold { connections: 1000.0 }, verdict }
    }

    #[test]
    fn only_a_person_may_do_without_an_incident() {
        let mut scene = Scene::worst();
        scene.has_incident = false;
        scene.by = Initiator::Person;
        for guard in GUARDS {
            assert!(scene.ask(guard).passes, "whatever is known of one");
        }
        scene.by = Initiator::Policy;
        for guard in GUARDS {
            let verdict = scene.ask(guard);
            assert!(!verdict.passes);
            assert_eq!(verdict.reason, "there is no incident, and a policy acts on nothing else");
        }
        scene = Scene::quiet();
        scene.view.incident = None;
        for by in [Initiator::Person, Initiator::Policy] {
            scene.by = by;
            for guard in GUARDS {
                assert!(!scene.ask(guard).passes, "it has one of which nothing is known");
            }
        }
    }

    #[test]
    fn a_count_beyond_the_threshold_passes_and_one_at_it_blocks() {
        for by in [Initiator::Person, Initiator::Policy] {
            let mut scene = Scene::quiet();
            scene.by = by;
            for (count, passes) in [
                (counted(1_001, Verdict::Above), true),
                (counted(1_000, Verdict::Near), false),
                (counted(10, Verdict::Below), false),
            ] {
                incident(&mut scene).problem.count = count;
                let verdict = scene.ask(GuardKind::ProblemIsLive);
                assert_eq!(verdict.passes, passes, "{verdict:?}");
                assert_eq!(verdict.bound.as_deref(), Some("1000"));
            }
            incident(&mut scene).problem = crate::mitigate::guards::ProblemFacts {
                is_unresolved: false,
                count: counted(1_001, Verdict::Above),
            };
            assert!(!scene.ask(GuardKind::ProblemIsLive).passes, "it is resolved");
        }
    }

    #[test]
    fn what_cannot_be_told_blocks_a_policy() {
        let mut scene = Scene::quiet();
        for (count, by, passes) in [
            (LiveCount::ThresholdUnknown, Initiator::Person, true),
            (LiveCount::ThresholdUnknown, Initiator::Policy, false),
            (LiveCount::NotCounted, Initiator::Person, false),
            (LiveCount::NotCounted, Initiator::Policy, false),
        ] {
            incident(&mut scene).problem.count = count;
            scene.by = by;
            assert_eq!(scene.ask(GuardKind::ProblemIsLive).passes, passes, "{count:?} {by:?}");
        }
    }

    #[test]
    fn silences_and_what_counts_as_one_block() {
        let mut scene = Scene::quiet();
        for (silencing, has_alertmanager, passes) in [
            (Silencing::Clear, true, true),
            (Silencing::Silenced, true, false),
            (Silencing::Inhibited, true, false),
            (Silencing::Unknown, true, false),
            (Silencing::Unknown, false, true),
        ] {
            incident(&mut scene).silencing = silencing;
            incident(&mut scene).has_alertmanager = has_alertmanager;
            assert_eq!(scene.ask(GuardKind::NotSilenced).passes, passes, "{silencing:?}");
        }
    }

    #[test]
    fn an_assumed_cluster_blocks() {
        let mut scene = Scene::quiet();
        assert!(scene.ask(GuardKind::MappingIsCertain).passes);
        incident(&mut scene).is_cluster_assumed = true;
        assert!(!scene.ask(GuardKind::MappingIsCertain).passes);
    }
}
