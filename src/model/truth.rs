//! The truth about an alert: the counts its server really has, beside the number the alert carries.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::alert::CONNZ_PAGE;
use crate::model::member::Member;
use crate::model::printable::with_commas;
use crate::model::snapshot::{Coverage, ServerCoverage};

/// What a snapshot says about the server, or the cluster, that an alert is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Truth {
    /// The server's name; `null` when the whole cluster is meant.
    pub server: Option<String>,
    /// The count to believe: what each server that is meant says it has, by `/connz`, else by `/varz`; `null` when
    /// none of them says anything.
    pub connections: Option<u64>,
    /// Whether there may be more: a server that is meant did not say how many it has.
    pub at_least: bool,
    /// Clients by `/varz`; `null` unless every server that is meant told.
    pub varz_connections: Option<u64>,
    /// Connections by `/connz`; counts leafnodes too on servers from 2.11; `null` unless every server that is meant
    /// told.
    pub connz_total: Option<u64>,
    /// Whether the alert's value is only the length of a full `/connz` page; `null` when that cannot be told.
    pub value_saturated: Option<bool>,
}

impl Truth {
    /// Puts an alert beside what was seen. Nothing is known of a server that was not among those looked at, such as one
    /// that is no longer configured.
    pub fn about(member: &Member, coverage: &Coverage) -> Option<Self> {
        let server = match &member.server {
            Some(server) => Some(coverage.server(&server.key)?),
            None => None,
        };
        let meant: Vec<&ServerCoverage> = match server {
            Some(server) => vec![server],
            None => coverage.each_server().collect(),
        };
        let at_least = meant.iter().any(|server| server.total().is_none());
        let largest = meant.iter().filter_map(|server| server.total()).max();
        let value_saturated = member.alert.value.and_then(|value| {
            if !value.may_be_saturated() {
                return Some(false);
            }
            match largest {
                Some(largest) if largest as f64 > CONNZ_PAGE => Some(true),
                // the one that did not say may be the large one
                Some(_) if !at_least => Some(false),
                _ => None,
            }
        });
        Some(Self {
            server: server.map(|server| server.display_name().to_owned()),
            connections: largest.map(|_| sum(meant.iter().filter_map(|server| server.total()))),
            at_least,
            varz_connections: sum_of_all(&meant, |server| server.varz_connections),
            connz_total: sum_of_all(&meant, |server| server.connz_total),
            value_saturated,
        })
    }

    /// The count to believe, for people: the least there can be when a server did not say; `None` when none did.
    pub fn count(&self) -> Option<String> {
        let at_least = if self.at_least { "at least " } else { "" };
        self.connections.map(|connections| format!("{at_least}{}", with_commas(connections)))
    }
}

/// Adds up what the servers say, if all of them say it.
fn sum_of_all(servers: &[&ServerCoverage], count: impl Fn(&ServerCoverage) -> Option<u64>) -> Option<u64> {
    let counts: Option<Vec<u64>> = servers.iter().map(|server| count(server)).collect();
    counts.filter(|counts| !counts.is_empty()).map(|counts| sum(counts.into_iter()))
}

/// Adds up what servers say of themselves; a lying one cannot make it overflow.
fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::alert::{Alert, AlertStatus};
    use crate::model::labels::Labels;
    use crate::model::mapping::ServerMatch;
    use crate::model::snapshot::Via;

    /// A server that says so many by `/connz` and `/varz`.
    fn server(name: &str, connz_total: Option<u64>, varz_connections: Option<u64>) -> ServerCoverage {
        ServerCoverage {
            url: Some(format!("http://{name}:8222").parse().unwrap()),
            via: Some(Via::Http),
            name: Some(name.to_owned()),
            server_id: None,
            version: None,
            seen: connz_total.unwrap_or(0),
            connz_total,
            varz_connections,
            max_connections: None,
            vitals: None,
            duration_ms: 1,
            bytes: 1,
            error: None,
            counted_at: None,
        }
    }

    /// An alert about a server, or the whole cluster, as the look at `servers` has it.
    fn about(named: Option<&str>, servers: Vec<ServerCoverage>) -> Option<Truth> {
        let labels: Labels = [("alertname".to_owned(), "A".to_owned())].into_iter().collect();
        let alert = Alert {
            fingerprint: labels.fingerprint(),
            labels,
            annotations: Labels::default(),
            status: AlertStatus::Firing,
            starts_at: Timestamp::UNIX_EPOCH,
            generator_url: String::new(),
            value: None,
        };
        let server = named.map(|name| ServerMatch {
            key: format!("http://{name}:8222").parse().unwrap(),
            matched_by: "pod".to_owned(),
        });
        Truth::about(&Member::join(alert, server, Timestamp::UNIX_EPOCH), &Coverage::of(servers, 1))
    }

    #[test]
    fn a_count_that_lacks_a_server_is_never_taken_for_the_count_of_the_cluster() {
        // (servers, connections, at least, varz_connections, connz_total)
        let cases = [
            (
                vec![server("a", Some(11), Some(10)), server("b", Some(21), Some(20))],
                (Some(32), false, Some(30), Some(32)),
            ),
            // b's connz did not answer: its varz is counted, and the sum of connz alone is nobody's count
            (
                vec![server("a", Some(11), Some(10)), server("b", None, Some(20))],
                (Some(31), false, Some(30), None),
            ),
            (vec![server("a", Some(11), Some(10)), server("b", None, None)], (Some(11), true, None, None)),
            (vec![server("a", None, None)], (None, true, None, None)),
        ];
        for (servers, (connections, at_least, varz_connections, connz_total)) in cases {
            let truth = about(None, servers).unwrap();
            let expected = Truth {
                server: None,
                connections,
                at_least,
                varz_connections,
                connz_total,
                value_saturated: None,
            };
            assert_eq!(truth, expected);
        }
    }

    #[test]
    fn of_a_server_that_was_not_looked_at_nothing_is_known() {
        let servers = || vec![server("a", Some(1_024), None), server("b", None, None)];
        assert_eq!(about(Some("gone"), servers()), None);
        let counts = [Some("a"), None].map(|named| about(named, servers()).unwrap().count().unwrap());
        assert_eq!(counts, ["1,024", "at least 1,024"]);
        assert_eq!(about(Some("b"), servers()).unwrap().count(), None);
    }
}
