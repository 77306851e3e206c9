//! What is known of the servers' versions where connections are concerned.
//!
//! Everything here was measured on 2.9.10, 2.10.26, 2.11.11, 2.12.8 and 2.15.1; versions between them are taken for the
//! nearest older one of the same line.

use crate::diagnose::servers::{Server, alike, values};
use crate::diagnose::steps::notes::Notes;
use crate::diagnose::version::Version;
use crate::diagnose::words::{list, whose};

/// Something that versions do.
struct Trait {
    /// From this release line on.
    from: (u32, u32),
    /// Up to and with this release line.
    to: (u32, u32),
    /// What they do, behind the names of the servers.
    text: &'static str,
}

/// Later than any release line.
const OPEN: (u32, u32) = (u32::MAX, 0);

const TRAITS: [Trait; 6] = [
    Trait {
        from: (0, 0),
        to: (2, 9),
        text: "can neither cut a single connection (KICK) nor load its configuration again over the system account; \
               only a signal does",
    },
    Trait {
        from: (0, 0),
        to: (2, 9),
        text: "does not keep an account's limit exactly: a limit of 10 left 9, and then admitted one more",
    },
    Trait {
        from: (0, 0),
        to: (2, 10),
        text: "shows tokens of clients in the clear to everybody who reaches its monitoring port (/connz?auth=1)",
    },
    Trait {
        from: (0, 0),
        to: (2, 11),
        text: "shows bearer JWTs of clients in the clear to everybody who reaches its monitoring port (/connz?auth=1)",
    },
    Trait {
        from: (0, 0),
        to: (2, 10),
        text: "cuts the oldest connections when the limit in an account's JWT is lowered; newer ones cut the newest",
    },
    Trait {
        from: (2, 12),
        to: OPEN,
        text: "writes only about one line in one or two seconds to its log about refused clients: do not count them there",
    },
];

pub(super) fn look(notes: &mut Notes, servers: &[Server<'_>]) {
    let versions = alike(servers, |server| server.version);
    if versions.len() > 1 {
        notes.remark(format!(
            "The servers run different versions: {}.",
            values(&versions, Version::to_string)
        ));
    }
    for known in &TRAITS {
        let is_concerned = |version: &Version| (known.from..=known.to).contains(&version.line());
        let concerned = alike(servers, |server| server.version.filter(is_concerned));
        let names: Vec<&str> = concerned.iter().flat_map(|(_, names)| names).copied().collect();
        let versions: Vec<String> = concerned.iter().map(|(version, _)| version.to_string()).collect();
        if !names.is_empty() {
            let whose = whose(&names, servers.len());
            notes.remark(format!("nats-server {} on {whose} {}.", list(&versions), known.text));
        }
    }
}
