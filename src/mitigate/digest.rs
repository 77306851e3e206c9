//! Digests: the name of exactly one plan.
//!
//! Approving and executing name the digest, so that nobody approves one thing and gets another. It says what would be
//! done to whom, and not when that was planned: the same victims have the same digest.

use std::fmt::Write;

use ring::digest::{Context, SHA256};

use crate::model::plan::ActionKind;
use crate::model::victim::Victim;

/// Tells texts apart: `sha256:` and the digest in hexadecimal.
pub fn of_text(text: &str) -> String {
    let mut digest = Context::new(&SHA256);
    digest.update(text.as_bytes());
    written(digest)
}

/// Names what would be done to which connections of which cluster: `sha256:` and the digest in hexadecimal. The order of
/// the victims counts.
pub fn digest(cluster: &str, action: ActionKind, victims: &[Victim]) -> String {
    let mut digest = Context::new(&SHA256);
    // each text after its length: no two plans are written alike
    let mut text = |text: &str| {
        digest.update(&(text.len() as u64).to_be_bytes());
        digest.update(text.as_bytes());
    };
    text("connwarden plan 1");
    text(cluster);
    text(action.name());
    for victim in victims {
        text(&victim.key.server_id);
        text(&victim.key.cid.to_string());
        text(&victim.key.start);
    }
    written(digest)
}

fn written(digest: Context) -> String {
    let mut written = "sha256:".to_owned();
    for byte in digest.finish().as_ref() {
        let _ = write!(written, "{byte:02x}");
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::selector::Candidate;

    fn victim(server_id: &str, cid: u64, start: &str) -> Victim {
        Victim::of(&Candidate { server_id, cid, start, ..Candidate::default() })
    }

    #[test]
    fn a_digest_is_the_same_wherever_it_is_made() {
        let victims = [victim("NA", 7, "2026-01-01T00:00:00Z"), victim("NB", 8, "2026-01-02T00:00:00Z")];
        insta::assert_snapshot!(digest("east", ActionKind::Kick, &victims), @"sha256:b6755525e34d1b57e7417664a9fb906adff65fd22850dfe9360bc8b6506ce657");
    }

    #[test]
    fn every_part_of_what_would_be_done_changes_the_digest_and_nothing_else_does() {
        let (first, second) = (victim("NA", 7, "s"), victim("NB", 8, "t"));
        let digests = [
            digest("east", ActionKind::Kick, &[first.clone(), second.clone()]),
            digest("west", ActionKind::Kick, &[first.clone(), second.clone()]),
            digest("east", ActionKind::Drain, &[first.clone(), second.clone()]),
            digest("east", ActionKind::Kick, &[second.clone(), first.clone()]),
            digest("east", ActionKind::Kick, std::slice::from_ref(&first)),
            digest("east", ActionKind::Kick, &[]),
            digest("east", ActionKind::Kick, &[victim("NC", 7, "s"), second.clone()]),
            digest("east", ActionKind::Kick, &[victim("NA", 6, "s"), second.clone()]),
            digest("east", ActionKind::Kick, &[victim("NA", 7, "u"), second.clone()]),
            digest("east", ActionKind::Kick, &[victim("NA7", 7, "s"), second.clone()]),
        ];
        for (place, one) in digests.iter().enumerate() {
            assert!(!digests[..place].contains(one), "{place}");
        }
        let looked_at_later = Victim { idle_ms: Some(5), messages: 9, ..first };
        assert_eq!(digest("east", ActionKind::Kick, &[looked_at_later, second]), digests[0]);
    }
}
