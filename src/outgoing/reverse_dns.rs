//! Reverse DNS: the names of a few addresses, for people.
//!
//! Names are an ornament: nothing waits for them longer than the timeout, nothing is decided by them, and who runs the
//! DNS of an address can give it any name. What has been found is kept for a while, and that nothing was found as well;
//! that nobody answered only for a minute.
//!
//! The system's own resolver (`getnameinfo`) cannot be stopped: behind a DNS server that does not answer, each address
//! would hold a thread for half a minute. So we ask by ourselves, whom the system would ask, its hosts file included.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::model::printable::excerpt;

/// How many addresses are given names at once: those that are shown.
pub const MOST_ADDRESSES: usize = 50;

/// How many are asked for at the same time.
const AT_ONCE: usize = 10;

/// How many addresses are remembered.
const MOST_REMEMBERED: usize = 4096;

/// For how long it is remembered that nobody answered.
const SILENCE: SignedDuration = SignedDuration::from_secs(60);

/// Who is asked, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReverseDnsSettings {
    /// Who is asked; empty for those that the system asks.
    pub servers: Vec<SocketAddr>,
    /// How long all names together may take.
    pub timeout: Duration,
    /// How long a name is kept, and that there is none.
    pub cache_ttl: Duration,
}

/// Gives names to addresses. Cheap to clone.
#[derive(Clone)]
pub struct ReverseDns(Arc<Inner>);

struct Inner {
    resolver: TokioResolver,
    settings: ReverseDnsSettings,
    known: Mutex<HashMap<IpAddr, Known>>,
}

/// What was found of an address.
#[derive(Debug, Clone)]
struct Known {
    name: Option<String>,
    until: Timestamp,
}

/// Why names cannot be asked for.
#[derive(Debug, thiserror::Error)]
#[error("reverse DNS cannot be set up: {0}")]
pub struct ReverseDnsError(String);

impl std::fmt::Debug for ReverseDns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ReverseDns").field(&self.0.settings).finish()
    }
}

impl ReverseDns {
    /// Makes ready to ask.
    ///
    /// # Errors
    ///
    /// Whom the system asks cannot be found out.
    pub fn new(settings: ReverseDnsSettings) -> Result<Self, ReverseDnsError> {
        let unusable = |error: hickory_resolver::net::NetError| ReverseDnsError(excerpt(&error.to_string()));
        let mut builder = if settings.servers.is_empty() {
            TokioResolver::builder_tokio().map_err(unusable)?
        } else {
            let servers = settings.servers.iter().map(|server| {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
                let connections = connections.map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                NameServerConfig::new(server.ip(), true, connections.to_vec())
            });
            let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options: &mut ResolverOpts = builder.options_mut();
        options.timeout = settings.timeout;
        options.attempts = 1;
        // what is kept, and for how long, is decided here
        options.cache_size = 0;
        let resolver = builder.build().map_err(unusable)?;
        Ok(Self(Arc::new(Inner { resolver, settings, known: Mutex::default() })))
    }

    /// Gives names to the first [`MOST_ADDRESSES`] of some addresses, as far as they have any and that is known in time.
    pub async fn names(&self, addresses: &[IpAddr], now: Timestamp) -> BTreeMap<IpAddr, String> {
        let mut names = BTreeMap::new();
        let mut unknown = Vec::new();
        for address in addresses.iter().take(MOST_ADDRESSES) {
            match self.known().get(address).filter(|known| now < known.until) {
                Some(Known { name: Some(name), .. }) => {
                    names.insert(*address, name.clone());
                }
                Some(Known { name: None, .. }) => {}
                None => unknown.push(*address),
            }
        }
        unknown.sort_unstable();
        unknown.dedup();
        let found = self.ask(&unknown).await;
        for address in unknown {
            let (name, ttl) = match found.get(&address) {
                Some(Some(name)) => {
                    names.insert(address, name.clone());
                    (Some(name.clone()), self.ttl())
                }
                Some(None) => (None, self.ttl()),
                None => (None, SILENCE),
            };
            self.remember(
                address,
                Known { name, until: now.saturating_add(ttl).unwrap_or(Timestamp::MAX) },
                now,
            );
        }
        names
    }

    /// Asks for addresses; what is missing was not answered in time.
    async fn ask(&self, addresses: &[IpAddr]) -> HashMap<IpAddr, Option<String>> {
        let mut asked = JoinSet::new();
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        for address in addresses.iter().copied() {
            let (inner, turns) = (self.0.clone(), turns.clone());
            asked.spawn(async move {
                let _turn = turns.acquire_owned().await;
                (address, inner.look_up(address).await)
            });
        }
        let mut found = HashMap::new();
        let gathering = async {
            while let Some(answer) = asked.join_next().await {
                if let Ok((address, Some(name))) = answer {
                    found.insert(address, name);
                }
            }
        };
        // what goes on after that is dropped with the set
        let _ = tokio::time::timeout(self.0.settings.timeout, gathering).await;
        found
    }

    fn remember(&self, address: IpAddr, known: Known, now: Timestamp) {
        let mut all = self.known();
        if all.len() >= MOST_REMEMBERED {
            all.retain(|_, known| now < known.until);
            if all.len() >= MOST_REMEMBERED {
                all.clear();
            }
        }
        all.insert(address, known);
    }

    fn ttl(&self) -> SignedDuration {
        self.0.settings.cache_ttl.try_into().unwrap_or(SignedDuration::MAX)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<IpAddr, Known>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Asks for one address: its name, or that it has none; nothing if nobody could say.
    async fn look_up(&self, address: IpAddr) -> Option<Option<String>> {
        match self.resolver.reverse_lookup(address).await {
            Ok(answer) => {
                let names = answer.answers().iter().filter_map(|record| match &record.data {
                    RData::PTR(name) => Some(shown(&name.0.to_ascii())),
                    _ => None,
                });
                // of several the same one each time
                Some(names.flatten().min())
            }
            Err(error) if error.is_no_records_found() || error.is_nx_domain() => Some(None),
            Err(error) => {
                tracing::debug!(%error, "no name for an address: {}", excerpt(&error.to_string()));
                None
            }
        }
    }
}

/// A name as it is shown: one short line in which nothing is hidden.
fn shown(name: &str) -> Option<String> {
    let name = name.trim_end_matches('.');
    (!name.is_empty()).then(|| excerpt(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_short_line() {
        assert_eq!(shown("nats-1.example.").as_deref(), Some("nats-1.example"));
        assert_eq!(shown("."), None);
        assert_eq!(shown("a\u{1b}[2J\u{202e}.").unwrap(), "a\\u{1b}[2J\\u{202e}");
        assert_eq!(shown(&"x".repeat(300)).unwrap().chars().count(), 201);
    }
}
