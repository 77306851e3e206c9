//! Looks after a mitigation: how much of what was cut has come back.
//!
//! A client that returns has a new number, maybe another server and another name: returns are counted by what the
//! victims had in common, over the whole cluster, against the moment before. They are never guessed for one victim.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::breakdown::Dimension;
use crate::model::printable::with_commas;

/// What a look after a mitigation saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Look {
    /// When it began.
    pub at: Timestamp,
    /// How long after the last victim had been dealt with, in milliseconds.
    pub after_ms: u64,
    /// Whether all connections of the cluster were seen, before the mitigation and now. Otherwise a connection that was
    /// not seen may have come back.
    pub complete: bool,
    /// Connections that were cut.
    pub cut: u64,
    /// All connections of the cluster before.
    pub total_before: u64,
    /// All connections of the cluster now.
    pub total_now: u64,
    /// Those that the selector meant before.
    pub matched_before: u64,
    /// Those that it means now.
    pub matched_now: u64,
    /// How many came back, by what the victims had in common.
    pub returned: Vec<Returned>,
}

/// How many came back, by one dimension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Returned {
    /// By what.
    pub dimension: Dimension,
    /// Connections that were cut.
    pub cut: u64,
    /// So many of them, or others like them, came back.
    pub returned: u64,
    /// The groups of the victims, those with most cut first; at most 50.
    pub groups: Vec<ReturnedGroup>,
    /// How many groups there are beside these; they are in the sums.
    pub more_groups: u64,
}

/// How many came back of one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReturnedGroup {
    /// Which application, account, user or address.
    pub key: String,
    /// Its connections before.
    pub before: u64,
    /// Of these, those that were cut.
    pub cut: u64,
    /// Its connections now.
    pub now: u64,
    /// How many came back: as many as there are now above what the cut would have left, and no more than were cut.
    pub returned: u64,
}

/// Of these all must say that a connection came back from where one was cut.
const ORIGIN: [Dimension; 3] = [Dimension::Account, Dimension::User, Dimension::Ip];

impl Look {
    /// How many came back by application; nothing if nobody counted.
    pub fn returned_by_application(&self) -> Option<u64> {
        self.returned_by(&[Dimension::Application])
    }

    /// How many came back from where they had come: by account, user and address. Nothing if nobody counted.
    pub fn returned_by_origin(&self) -> Option<u64> {
        self.returned_by(&ORIGIN)
    }

    /// How many came back by what says more of application and origin; nothing if nobody counted.
    pub fn came_back(&self) -> Option<u64> {
        Some(self.returned_by_application()?.max(self.returned_by_origin()?))
    }

    /// How many came back by each of some dimensions: as many as the one says by which fewest did, for whoever really came
    /// back is seen by all of them.
    fn returned_by(&self, dimensions: &[Dimension]) -> Option<u64> {
        let of = |dimension: &Dimension| {
            let found = self.returned.iter().find(|returned| returned.dimension == *dimension);
            found.map(|returned| returned.returned)
        };
        dimensions.iter().map(of).collect::<Option<Vec<u64>>>()?.into_iter().min()
    }

    /// What it saw, in one line.
    pub fn summary(&self) -> String {
        let part = if self.complete { "" } else { "; not all connections were seen" };
        format!(
            "of {} that were cut, {}; the selector means {} connections, {} before{part}",
            with_commas(self.cut),
            self.returned(),
            with_commas(self.matched_now),
            with_commas(self.matched_before)
        )
    }

    /// How many came back: one number where all dimensions agree.
    fn returned(&self) -> String {
        let are_back = |count: u64| match count {
            0 => "none is back".to_owned(),
            1 => "1 is back".to_owned(),
            more => format!("{} are back", with_commas(more)),
        };
        match self.returned.as_slice() {
            [first, others @ ..] if others.iter().all(|other| other.returned == first.returned) => {
                are_back(first.returned)
            }
            all => {
                let told = all.iter().map(|returned| {
                    format!("{} by {}", are_back(returned.returned), returned.dimension.name())
                });
                told.collect::<Vec<_>>().join(", ")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(returned: [(Dimension, u64); 2]) -> Look {
        let returned = returned.map(|(dimension, returned)| Returned {
            dimension,
            cut: 1_400,
            returned,
            groups: Vec::new(),
            more_groups: 0,
        });
        Look {
            at: Timestamp::UNIX_EPOCH,
            after_ms: 5_000,
            complete: true,
            cut: 1_400,
            total_before: 2_200,
            total_now: 800,
            matched_before: 1_500,
            matched_now: 100,
            returned: returned.into(),
        }
    }

    #[test]
    fn what_all_dimensions_agree_on_is_said_once() {
        let agreed = |count| look([(Dimension::Application, count), (Dimension::Ip, count)]).summary();
        insta::assert_snapshot!(agreed(0), @"of 1,400 that were cut, none is back; the selector means 100 connections, 1,500 before");
        insta::assert_snapshot!(agreed(1), @"of 1,400 that were cut, 1 is back; the selector means 100 connections, 1,500 before");
        let torn = look([(Dimension::Application, 12), (Dimension::Ip, 1_200)]).summary();
        insta::assert_snapshot!(torn, @"of 1,400 that were cut, 12 are back by application, 1,200 are back by ip; the selector means 100 connections, 1,500 before");
    }
}
