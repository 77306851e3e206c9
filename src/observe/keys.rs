//! Keys: texts that strangers chose, with their hashes.
//!
//! A text is hashed once, however many tables it is looked up in: that hash, SipHash under a key made anew for each
//! sweep, costs more than the look-up. Nobody outside can foresee which texts collide.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A text and its keyed hash.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    /// The text.
    pub text: &'a str,
    /// Equal for equal texts under the same `hashing`.
    pub hash: u64,
}

impl<'a> Key<'a> {
    /// Hashes a text.
    pub fn new(text: &'a str, hashing: &RandomState) -> Self {
        // not `hash_one`, which marks the end of a text for what may follow: nothing does
        let mut hasher = hashing.build_hasher();
        hasher.write(text.as_bytes());
        Self { text, hash: hasher.finish() }
    }
}

/// A key that is kept.
#[derive(Debug, Clone)]
pub struct KeptKey {
    /// The text.
    pub text: Box<str>,
    /// Equal for equal texts under the same `hashing`.
    pub hash: u64,
}

impl KeptKey {
    /// Borrows it.
    pub fn key(&self) -> Key<'_> {
        Key { text: &self.text, hash: self.hash }
    }
}

impl From<Key<'_>> for KeptKey {
    fn from(key: Key<'_>) -> Self {
        Self { text: key.text.into(), hash: key.hash }
    }
}
