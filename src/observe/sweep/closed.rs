//! What the servers of a cluster remember of their closed connections, added up.

use jiff::Timestamp;

use crate::model::closed::{ClosedConnections, ClosedRing};
use crate::model::snapshot::ServerCoverage;
use crate::nats::source::SourceError;
use crate::observe::closed::ClosedTally;
use crate::observe::tally::TallyRules;

/// What one server remembers of its closed connections, as far as it let us see that.
#[derive(Debug)]
pub(super) struct ClosedSweep {
    pub(super) tally: ClosedTally,
    pub(super) error: Option<SourceError>,
}

/// What the servers of a cluster remember of their closed connections.
pub(super) struct ClosedCluster {
    tally: ClosedTally,
    servers: Vec<ClosedRing>,
    errors: Vec<String>,
}

impl ClosedCluster {
    pub(super) fn new(rules: &TallyRules, now: Timestamp) -> Self {
        let tally = ClosedTally::new(rules, now.as_microsecond());
        Self { tally, servers: Vec::new(), errors: Vec::new() }
    }

    pub(super) fn absorb(&mut self, server: &ServerCoverage, sweep: ClosedSweep) {
        let ring = sweep.tally.ring(server.display_name(), server.vitals.as_ref());
        if sweep.error.is_none() || ring.listed > 0 {
            self.servers.push(ring);
        }
        self.errors.extend(sweep.error.map(|error| error.to_string()));
        self.tally.absorb(sweep.tally);
    }

    pub(super) fn into_closed(self) -> ClosedConnections {
        self.tally.into_closed(self.servers, self.errors)
    }
}
