//! The guard of pauses: nobody wants mitigations to rest.

use crate::mitigate::guards::{PauseFacts, View};
use crate::model::guard::{GuardKind, GuardVerdict};
use crate::model::printable::excerpt;

/// Wants no pause.
pub(super) fn pause(view: &View) -> GuardVerdict {
    let verdict = match describe(&view.pauses) {
        None => GuardVerdict::pass(GuardKind::Pause, "mitigations are not paused"),
        Some(pauses) => GuardVerdict::block(GuardKind::Pause, format!("mitigations are paused: {pauses}")),
    };
    verdict.compared(view.pauses.len(), 0)
}

/// Says of the first pause who wants it and why, and how many there are beside it.
pub(super) fn describe(pauses: &[PauseFacts]) -> Option<String> {
    let (first, rest) = pauses.split_first()?;
    let more = if rest.is_empty() { String::new() } else { format!("; and {} more", rest.len()) };
    let (name, by, reason) = (excerpt(&first.name), excerpt(&first.by), excerpt(&first.reason));
    Some(format!("`{name}` by {by}, {reason}{more}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mitigate::guards::scene::Scene;

    #[test]
    fn every_pause_blocks_and_says_who_wants_it_and_why() {
        let mut scene = Scene::quiet();
        assert!(scene.ask(GuardKind::Pause).passes);
        let pause = |name: &str| PauseFacts {
            name: name.to_owned(),
            reason: "the\nfair".to_owned(),
            by: "ann".to_owned(),
        };
        scene.view.pauses = vec![pause("release")];
        let verdict = scene.ask(GuardKind::Pause);
        assert_eq!(
            (verdict.passes, verdict.value.as_deref(), verdict.bound.as_deref()),
            (false, Some("1"), Some("0"))
        );
        assert_eq!(verdict.reason, r"mitigations are paused: `release` by ann, the\nfair");
        scene.view.pauses.push(pause("night"));
        let reason = scene.ask(GuardKind::Pause).reason;
        assert_eq!(reason, r"mitigations are paused: `release` by ann, the\nfair; and 1 more");
    }
}
