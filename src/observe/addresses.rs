//! Client addresses: normalised, cut to their network, and counted apart without keeping them all.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hashbrown::HashTable;

use crate::observe::keys::{KeptKey, Key};

/// How many distinct addresses of a group are counted exactly.
pub const EXACT_ADDRESSES: usize = 8192;

/// How many (group, address) pairs the tally of one server keeps in tables; beyond that, counts are "at least".
const PAIRS: usize = 2_000_000;

/// How many addresses are remembered with what was worked out about them.
const REMEMBERED: usize = 65_536;

/// One client address, as it is counted.
#[derive(Debug, Clone)]
pub struct Address {
    /// As the server wrote it.
    written: KeptKey,
    /// The address; IPv4-mapped IPv6 addresses as IPv4.
    pub ip: KeptKey,
    /// Its /24 (IPv4) or /64 (IPv6) network; the text itself, where it is no address.
    pub subnet: KeptKey,
}

impl Address {
    fn new(written: Key<'_>, hashing: &RandomState) -> Self {
        let kept = |text: String| KeptKey::from(Key::new(&text, hashing));
        let (ip, subnet) = match written.text.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
            Ok(ip) => (kept(ip.to_string()), kept(subnet(ip))),
            Err(_) => (written.into(), written.into()),
        };
        Self { written: written.into(), ip, subnet }
    }
}

/// Works addresses out, each of them once.
#[derive(Debug)]
pub struct Addresses {
    known: HashTable<Address>,
    hashing: RandomState,
}

impl Addresses {
    /// Starts with no addresses. Address books that share `hashing` agree about hashes.
    pub fn new(hashing: RandomState) -> Self {
        Self { known: HashTable::new(), hashing }
    }

    /// Looks an address up as a server wrote it.
    pub fn get(&mut self, text: &str) -> &Address {
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        let written = Key::new(text, &self.hashing);
        let is_it = |address: &Address| *address.written.text == *text;
        self.known
            .entry(written.hash, is_it, |address| address.written.hash)
            .or_insert_with(|| Address::new(written, &self.hashing))
            .into_mut()
    }
}

fn subnet(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            format!("{}/24", Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// How many (group, address) pairs may still be kept.
#[derive(Debug)]
pub struct PairBudget(usize);

impl Default for PairBudget {
    fn default() -> Self {
        Self(PAIRS)
    }
}

/// Counts distinct addresses: exactly up to [`EXACT_ADDRESSES`], then "at least".
#[derive(Debug, Clone, Default)]
pub struct DistinctAddresses {
    kept: Kept,
    /// Whether an address was turned away because there was no more room.
    overflowed: bool,
}

/// Most groups have few addresses; those are kept without a table of their own.
#[derive(Debug, Clone)]
enum Kept {
    Few { hashes: [u64; 3], len: u8 },
    Many(HashSet<u64, BuildHasherDefault<AsItIs>>),
}

impl Default for Kept {
    fn default() -> Self {
        Self::Few { hashes: [0; 3], len: 0 }
    }
}

impl DistinctAddresses {
    /// Counts an address, unless it was counted before.
    pub fn insert(&mut self, hash: u64, budget: &mut PairBudget) {
        if self.contains(hash) {
            return;
        }
        match &mut self.kept {
            Kept::Few { hashes, len } if usize::from(*len) < hashes.len() => {
                hashes[usize::from(*len)] = hash;
                *len += 1;
            }
            Kept::Few { hashes, .. } if budget.0 > hashes.len() => {
                budget.0 -= hashes.len() + 1;
                self.kept = Kept::Many(hashes.iter().copied().chain([hash]).collect());
            }
            Kept::Many(hashes) if hashes.len() < EXACT_ADDRESSES && budget.0 > 0 => {
                budget.0 -= 1;
                hashes.insert(hash);
            }
            _ => self.overflowed = true,
        }
    }

    /// Gives the room back that it took, because its group is kept no longer.
    pub fn give_back(&self, budget: &mut PairBudget) {
        if let Kept::Many(hashes) = &self.kept {
            budget.0 += hashes.len();
        }
    }

    /// Counts every address of another set.
    pub fn absorb(&mut self, other: &Self, budget: &mut PairBudget) {
        self.overflowed |= other.overflowed;
        match &other.kept {
            Kept::Few { hashes, len } => {
                hashes[..usize::from(*len)].iter().for_each(|hash| self.insert(*hash, budget));
            }
            Kept::Many(hashes) => hashes.iter().for_each(|hash| self.insert(*hash, budget)),
        }
    }

    /// How many distinct addresses were counted.
    pub fn count(&self) -> usize {
        match &self.kept {
            Kept::Few { len, .. } => usize::from(*len),
            Kept::Many(hashes) => hashes.len(),
        }
    }

    /// Whether there are no more than that.
    pub fn is_exact(&self) -> bool {
        !self.overflowed
    }

    fn contains(&self, hash: u64) -> bool {
        match &self.kept {
            Kept::Few { hashes, len } => hashes[..usize::from(*len)].contains(&hash),
            Kept::Many(hashes) => hashes.contains(&hash),
        }
    }
}

/// Takes a number that is a keyed hash already for its hash.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 keys are hashed as they are");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_normalised_and_cut_to_its_network() {
        let mut addresses = Addresses::new(RandomState::new());
        let cases = [
            ("10.1.2.3", "10.1.2.3", "10.1.2.0/24"),
            ("::ffff:10.1.2.3", "10.1.2.3", "10.1.2.0/24"),
            ("2001:DB8:0:1:2::3", "2001:db8:0:1:2::3", "2001:db8:0:1::/64"),
            ("::1", "::1", "::/64"),
            ("localhost", "localhost", "localhost"),
        ];
        for (text, ip, subnet) in cases {
            let address = addresses.get(text);
            assert_eq!((&*address.ip.text, &*address.subnet.text), (ip, subnet), "{text}");
        }
        let plain = addresses.get("10.1.2.3").ip.hash;
        assert_eq!(addresses.get("::ffff:10.1.2.3").ip.hash, plain);
    }

    #[test]
    fn distinct_addresses_are_exact_up_to_the_limit_and_then_at_least() {
        let (mut distinct, mut budget) = (DistinctAddresses::default(), PairBudget::default());
        for round in 0..2 {
            for hash in 0..EXACT_ADDRESSES as u64 {
                distinct.insert(hash, &mut budget);
            }
            assert_eq!((distinct.count(), distinct.is_exact()), (EXACT_ADDRESSES, true), "round {round}");
        }
        distinct.insert(u64::MAX, &mut budget);
        assert_eq!((distinct.count(), distinct.is_exact()), (EXACT_ADDRESSES, false));
        assert_eq!(budget.0, PAIRS - EXACT_ADDRESSES);
    }

    #[test]
    fn two_sets_share_what_both_have() {
        let mut budget = PairBudget::default();
        let set = |hashes: std::ops::Range<u64>| {
            let (mut set, mut budget) = (DistinctAddresses::default(), PairBudget::default());
            hashes.for_each(|hash| set.insert(hash, &mut budget));
            set
        };
        let mut both = set(0..3);
        both.absorb(&set(2..10), &mut budget);
        assert_eq!((both.count(), both.is_exact()), (10, true));
    }

    #[test]
    fn without_budget_counts_are_at_least() {
        let (mut distinct, mut budget) = (DistinctAddresses::default(), PairBudget(5));
        (0..5).for_each(|hash| distinct.insert(hash, &mut budget));
        assert_eq!((distinct.count(), distinct.is_exact(), budget.0), (5, true, 0));
        (0..6).for_each(|hash| distinct.insert(hash, &mut budget));
        assert_eq!((distinct.count(), distinct.is_exact()), (5, false));
        distinct.give_back(&mut budget);
        assert_eq!(budget.0, 5);
    }
}
