//! Names of client addresses, for people, and who owns what.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use crate::engine::Engine;
use crate::model::owner::Owners;

impl Engine {
    /// Gives names to client addresses, the most important first, as far as reverse DNS is enabled and knows them in
    /// time: it never takes longer than its timeout, and more than a page of addresses are not asked for.
    pub async fn names_of(&self, addresses: &[IpAddr]) -> BTreeMap<IpAddr, String> {
        match &self.0.reverse_dns {
            Some(reverse_dns) => reverse_dns.names(addresses, self.0.clock.now()).await,
            None => BTreeMap::new(),
        }
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
