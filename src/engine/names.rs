//! Names of client addresses, for people, and who owns what.
//!
//! The names of a look are asked for by a job of its own, after the look and its diagnosis are stored: nothing waits for
//! DNS, and nothing is decided by it. They are kept with the look: an address may be somebody else's tomorrow.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use anyhow::Context;

use crate::engine::Engine;
use crate::model::breakdown::{Breakdowns, By, Dimension};
use crate::model::diagnosis::Diagnosis;
use crate::model::ids::SnapshotId;
use crate::model::owner::Owners;
use crate::outgoing::reverse_dns::MOST_ADDRESSES;
use crate::store;
use crate::store::jobs::LeasedJob;

/// The kind of the job.
pub const NAME_ADDRESSES: &str = "name_addresses";

impl Engine {
    /// Gives names to client addresses, the most important first, as far as reverse DNS is enabled and knows them in
    /// time: it never takes longer than its timeout, and more than a page of addresses are not asked for.
    pub async fn names_of(&self, addresses: &[IpAddr]) -> BTreeMap<IpAddr, String> {
        match &self.0.reverse_dns {
            Some(reverse_dns) => reverse_dns.names(addresses, self.0.clock.now()).await,
            None => BTreeMap::new(),
        }
    }

    /// Whether addresses are given names at all.
    pub(super) fn names_addresses(&self) -> bool {
        self.0.reverse_dns.is_some()
    }

    /// Gives names to the addresses of a stored look: those of the culprits first, then those with most connections.
    ///
    /// # Errors
    ///
    /// The store failed.
    #[tracing::instrument(name = "job.name_addresses", skip_all, fields(snapshot.id = %job.subject))]
    pub async fn name_addresses(&self, job: &LeasedJob) -> anyhow::Result<()> {
        let id: SnapshotId = job.subject.parse().context("reading the snapshot's id from the job")?;
        let addresses = {
            let mut conn = self.0.store.read().await?;
            let diagnosis = store::diagnoses::find(&mut conn, id).await.context("finding the diagnosis")?;
            let by = [By::from(Dimension::Ip)];
            let breakdowns = store::snapshots::list_breakdowns(&mut conn, id, Some(&by)).await;
            addresses(diagnosis.as_ref(), &breakdowns.context("finding the addresses")?)
        };
        let names = self.names_of(&addresses).await;
        let mut tx = self.0.store.write().await?;
        store::address_names::insert(&mut tx, id, &names).await?;
        store::jobs::finish(&mut tx, job).await?;
        store::commit(tx).await.context("storing the names of addresses")
    }

    /// Who owns what, as it is known now.
    pub fn owners(&self) -> Arc<Owners> {
        self.0.owners.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of who owns what from now on.
    pub fn set_owners(&self, owners: Arc<Owners>) {
        *self.0.owners.write().unwrap_or_else(PoisonError::into_inner) = owners;
    }
}

/// The addresses that a look shows, those that matter most first, each once; networks have no names.
fn addresses(diagnosis: Option<&Diagnosis>, breakdowns: &Breakdowns) -> Vec<IpAddr> {
    let culprits = diagnosis.into_iter().flat_map(|diagnosis| &diagnosis.culprits);
    let origins = culprits.flat_map(|culprit| &culprit.addresses).map(|origin| origin.address.as_str());
    let groups = breakdowns.get(&Dimension::Ip.into()).into_iter().flat_map(|breakdown| &breakdown.groups);
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in origins.chain(groups.map(|group| group.key.as_str())) {
        match address.parse() {
            Ok(address) if !addresses.contains(&address) => addresses.push(address),
            _ => {}
        }
        if addresses.len() == MOST_ADDRESSES {
            break;
        }
    }
    addresses
}
