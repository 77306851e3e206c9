//! The truth about an alert: the counts its server really has, beside the number the alert carries.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::alert::CONNZ_PAGE;
use crate::model::member::Member;
use crate::model::snapshot::Coverage;

/// What a snapshot says about the server, or the cluster, that an alert is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Truth {
    /// The server's name; `null` when the whole cluster is meant.
    pub server: Option<String>,
    /// Clients by `/varz`.
    pub varz_connections: Option<u64>,
    /// Connections by `/connz`; counts leafnodes too on servers from 2.11.
    pub connz_total: Option<u64>,
    /// Whether the alert's value is only the length of a full `/connz` page; `null` when that cannot be told.
    pub value_saturated: Option<bool>,
}

impl Truth {
    /// Puts an alert beside what was seen.
    pub fn about(member: &Member, coverage: &Coverage) -> Self {
        let server = member.server.as_ref().and_then(|server| coverage.server(&server.url));
        let meant = server.map_or(coverage.servers.as_slice(), std::slice::from_ref);
        let sum =
            |counts: Vec<u64>| (!counts.is_empty()).then(|| counts.into_iter().fold(0, u64::saturating_add));
        let varz_connections = sum(meant.iter().filter_map(|server| server.varz_connections).collect());
        let connz_total = sum(meant.iter().filter_map(|server| server.connz_total).collect());
        let largest = meant.iter().filter_map(|server| server.total()).max();
        let value_saturated = member.alert.value.and_then(|value| {
            if value.may_be_saturated() {
                largest.map(|largest| largest as f64 > CONNZ_PAGE)
            } else {
                Some(false)
            }
        });
        Self {
            server: server.map(|server| server.display_name().to_owned()),
            varz_connections,
            connz_total,
            value_saturated,
        }
    }

    /// The count to believe.
    pub fn connections(&self) -> Option<u64> {
        self.connz_total.or(self.varz_connections)
    }
}
