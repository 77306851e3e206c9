//! Guards of the cluster: it can do what is planned, and nobody else is at it.

use crate::mitigate::guards::{Draft, View};
use crate::model::guard::{GuardKind, GuardVerdict};
use crate::model::printable::excerpt;

/// Wants a cluster that can do what is planned.
pub(super) fn capability(draft: &Draft<'_>, view: &View) -> GuardVerdict {
    let action = draft.request.action.name();
    match &view.capability {
        Ok(()) => GuardVerdict::pass(GuardKind::Capability, format!("the cluster can `{action}`")),
        Err(missing) => {
            let reason = format!("the cluster cannot `{action}`: {}", excerpt(missing));
            GuardVerdict::block(GuardKind::Capability, reason)
        }
    }
}

/// Wants no other run in the cluster: two would count each other's victims as their own.
pub(super) fn one_run(view: &View) -> GuardVerdict {
    match view.running {
        None => {
            GuardVerdict::pass(GuardKind::OneRun, "no other mitigation runs in the cluster").compared(0, 0)
        }
        Some(id) => {
            let reason = format!("mitigation {id} runs in the cluster: wait for its end, or stop it");
            GuardVerdict::block(GuardKind::OneRun, reason).compared(1, 0)
        }
    }
}

/// Wants no other connwarden on the cluster: it knows nothing of our budgets and runs, nor we of its.
pub(super) fn sole_warden(view: &View) -> GuardVerdict {
    let others = &view.other_wardens;
    let verdict = match others.as_slice() {
        [] => GuardVerdict::pass(GuardKind::SoleWarden, "no other connwarden is on the cluster"),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            let reason = format!("another connwarden is on the cluster: `{}`{more}", excerpt(first));
            GuardVerdict::block(GuardKind::SoleWarden, reason)
        }
    };
    verdict.compared(others.len(), 0)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::mitigate::guards::scene::Scene;
    use crate::model::ids::MitigationId;

    #[test]
    fn what_a_cluster_cannot_do_blocks_with_what_is_missing() {
        let mut scene = Scene::quiet();
        assert!(scene.ask(GuardKind::Capability).passes);
        scene.view.capability = Err("n1 runs 2.9.10, KICK needs 2.10.0".to_owned());
        let verdict = scene.ask(GuardKind::Capability);
        assert!(!verdict.passes);
        assert_eq!(verdict.reason, "the cluster cannot `kick`: n1 runs 2.9.10, KICK needs 2.10.0");
    }

    #[test]
    fn a_second_run_blocks_and_the_first_is_named() {
        let mut scene = Scene::quiet();
        assert!(scene.ask(GuardKind::OneRun).passes);
        scene.view.running = Some(MitigationId(Uuid::nil()));
        let verdict = scene.ask(GuardKind::OneRun);
        assert_eq!(
            (verdict.passes, verdict.value.as_deref(), verdict.bound.as_deref()),
            (false, Some("1"), Some("0"))
        );
        assert!(verdict.reason.contains("00000000-0000-0000-0000-000000000000"), "{verdict:?}");
    }

    #[test]
    fn another_connwarden_blocks() {
        let mut scene = Scene::quiet();
        assert!(scene.ask(GuardKind::SoleWarden).passes);
        scene.view.other_wardens = vec!["connwarden b7".to_owned(), "x".to_owned()];
        let verdict = scene.ask(GuardKind::SoleWarden);
        assert_eq!(
            (verdict.passes, verdict.value.as_deref(), verdict.bound.as_deref()),
            (false, Some("2"), Some("0"))
        );
        assert_eq!(verdict.reason, "another connwarden is on the cluster: `connwarden b7` and 1 more");
    }
}
