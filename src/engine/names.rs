//! Who owns what.

use std::sync::{Arc, PoisonError};

use crate::engine::Engine;
use crate::model::owner::Owners;

impl Engine {
    /// Who owns what, as it is known now.
    pub fn owners(&self) -> Arc<Owners> {
        self.0.owners.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of who owns what from now on.
    pub fn set_owners(&self, owners: Arc<Owners>) {
        *self.0.owners.write().unwrap_or_else(PoisonError::into_inner) = owners;
    }
}
