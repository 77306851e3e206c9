//! The sum of a sweep: what the servers of a cluster let us see, together.

use super::closed::ClosedCluster;
use super::pick::SearchResult;
use super::server::ServerSweep;
use crate::model::breakdown::Breakdowns;
use crate::model::closed::ClosedConnections;
use crate::model::snapshot::ServerCoverage;
use crate::observe::tally::Tally;

/// What the servers of a cluster let us see, added up.
#[derive(Debug)]
pub(super) struct Sum {
    pub(super) servers: Vec<ServerCoverage>,
    pub(super) breakdowns: Breakdowns,
    pub(super) closed: Option<ClosedConnections>,
    pub(super) searched: Option<SearchResult>,
}

impl Sum {
    /// Adds them up; that takes a while where there are many groups.
    pub(super) fn of(done: Vec<ServerSweep>, mut closed: Option<ClosedCluster>) -> Self {
        let (mut all, mut searched): (Option<Tally>, Option<SearchResult>) = (None, None);
        let mut servers = Vec::with_capacity(done.len());
        for mut sweep in done {
            // one server under two addresses is counted once
            let id = sweep.coverage.server_id.as_ref();
            let twin =
                servers.iter().find(|other: &&ServerCoverage| id.is_some() && other.server_id.as_ref() == id);
            if let Some(twin) = twin {
                sweep.coverage = sweep.coverage.counted_as(twin);
                servers.push(sweep.coverage);
                continue;
            }
            if let (Some(all), Some(closed)) = (&mut closed, sweep.closed) {
                all.absorb(&sweep.coverage, closed);
            }
            servers.push(sweep.coverage);
            match (&mut searched, sweep.searched) {
                (Some(all), Some(searched)) => all.absorb(searched),
                (None, first) => searched = first,
                (Some(_), None) => {}
            }
            match (&mut all, sweep.tally) {
                (Some(all), Some(tally)) => all.absorb(tally),
                (None, first) => all = first,
                (Some(_), None) => {}
            }
        }
        Self {
            servers,
            breakdowns: all.map(Tally::into_breakdowns).unwrap_or_default(),
            closed: closed.map(ClosedCluster::into_closed),
            searched,
        }
    }
}
