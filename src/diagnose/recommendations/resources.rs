//! Mitigation step 1: more resources.

use super::{Ground, half_more, recommendation, snippet};
use crate::diagnose::words::{counted, list};
use crate::model::diagnosis::{FindingKind, MitigationStep, Recommendation};
use crate::model::printable::{percent, size, with_commas};

/// What a service manager reads.
const SYSTEMD: &str = "systemd drop-in";

/// What Kubernetes reads.
const KUBERNETES: &str = "Kubernetes container";

/// How many descriptors a server needs beside its clients: see the configuration step.
const OTHER_DESCRIPTORS: u64 = 100;

/// A mebibyte.
const MEBIBYTE: u64 = 1 << 20;

pub(super) fn recommend(ground: &Ground<'_>, recommendations: &mut Vec<Recommendation>) {
    for server in ground.concerned(&[FindingKind::ResourcePressure]) {
        let Some(vitals) = server.vitals else { continue };
        let name = &server.name;
        if let (Some(cpu), Some(cores)) = (vitals.cpu_percent, vitals.cores.filter(|cores| *cores > 0)) {
            let share = cpu / 100.0 / cores as f64;
            if share >= ground.rules.cpu_share {
                let more = cores.saturating_mul(2);
                recommendations.push(recommendation(
                    MitigationStep::Resources,
                    format!("Give {name} {} instead of {}", counted(more, "core", "cores"), with_commas(cores)),
                    format!(
                        "It uses {} of what it has. With {} it would be {}, if nothing else changes. The server has to \
                         start anew for it: its clients reconnect all at once unless it is shut down in lame duck mode.",
                        percent(share),
                        counted(more, "core", "cores"),
                        percent(share / 2.0)
                    ),
                    vec![snippet(KUBERNETES, format!("resources:\n  limits:\n    cpu: \"{more}\""))],
                ));
            }
        }
        let memory = vitals.memory_bytes.zip(vitals.memory_limit_bytes.filter(|limit| *limit > 0));
        if let Some((memory, limit)) =
            memory.filter(|(memory, limit)| *memory as f64 / *limit as f64 >= ground.rules.memory_share)
        {
            let (each, _) = server.bytes_per_connection();
            let mebibytes = half_more(memory.max(limit) / MEBIBYTE + 1);
            let more = (mebibytes * MEBIBYTE).saturating_sub(memory) / each.max(1);
            let container = mebibytes.saturating_mul(5) / 4;
            recommendations.push(recommendation(
                MitigationStep::Resources,
                format!("Let {name} have {} of memory instead of {}", size(mebibytes * MEBIBYTE), size(limit)),
                format!(
                    "It uses {} ({}). A connection takes about {}, so this is room for about {} more. The container \
                     needs a quarter more than GOMEMLIMIT. The server has to start anew for it.",
                    size(memory),
                    percent(memory as f64 / limit as f64),
                    size(each),
                    with_commas(more)
                ),
                vec![
                    snippet(SYSTEMD, format!("[Service]\nEnvironment=GOMEMLIMIT={mebibytes}MiB")),
                    snippet(
                        KUBERNETES,
                        format!(
                            "env:\n  - name: GOMEMLIMIT\n    value: \"{mebibytes}MiB\"\nresources:\n  limits:\n    memory: \
                             \"{container}Mi\""
                        ),
                    ),
                ],
            ));
        }
    }
    descriptors(ground, recommendations);
}

/// A server that is nearly full of connections may be out of descriptors before.
fn descriptors(ground: &Ground<'_>, recommendations: &mut Vec<Recommendation>) {
    let near = [FindingKind::NearLimit, FindingKind::RefusedAtLimit];
    let concerned = ground.concerned(&near);
    let largest = concerned.iter().filter_map(|server| server.limit().clients()).max();
    let Some(largest) = largest.filter(|limit| *limit > 0) else { return };
    let names: Vec<&str> = concerned.iter().map(|server| server.name.as_str()).collect();
    let needed = half_more(largest).saturating_add(OTHER_DESCRIPTORS);
    recommendations.push(recommendation(
        MitigationStep::Resources,
        format!("See that {} may open {} files", list(&names), with_commas(needed)),
        format!(
            "Every connection is a file descriptor, and nats-server does not tell how many it may have. With fewer than \
             max_connections new clients hang without an answer before the limit is reached. This is enough for {} \
             clients.",
            with_commas(half_more(largest))
        ),
        vec![
            snippet(super::SHELL, "grep 'open files' \"/proc/$(pidof -s nats-server)/limits\""),
            snippet(SYSTEMD, format!("[Service]\nLimitNOFILE={needed}")),
        ],
    ));
}
