//! Mitigations: what would be done, what speaks against it, and whether it helped.
//!
//! [`probe`] finds out what a cluster can do. A look at a cluster picks victims ([`crate::model::picking`]); [`guards`] say
//! what forbids it; [`plan`] freezes both, so that what is approved is what is done. Between batches [`guards::stop`] says
//! whether to go on, and after the last one [`judge`] counts who came back. Of a look that was stored, [`estimate`] says
//! what a plan would have been. A guard never acts and an action never judges: all that is judged is handed in.

#[cfg(test)]
mod chance;
pub mod digest;
pub mod estimate;
pub mod guards;
pub mod judge;
pub mod plan;
pub mod probe;
#[cfg(test)]
mod properties;
