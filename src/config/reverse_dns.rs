//! Reverse DNS: whether addresses are given names, and who is asked for them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{scalar, section::Section, suggestion::did_you_mean};

/// The port of DNS servers.
const DNS_PORT: u16 = 53;

/// Whether addresses are given names, and who is asked for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReverseDns {
    /// Whether they are.
    pub enabled: bool,
    /// Who is asked; empty for those that the system asks.
    pub servers: Vec<SocketAddr>,
    /// How long all names together may take.
    pub timeout: Duration,
    /// How long a name is kept, and that there is none.
    pub cache_ttl: Duration,
}

impl Default for ReverseDns {
    fn default() -> Self {
        Self {
            enabled: false,
            servers: Vec::new(),
            timeout: Duration::from_secs(2),
            cache_ttl: Duration::from_secs(3600),
        }
    }
}

impl ReverseDns {
    pub(super) fn read(section: &Section<'_>) -> Self {
        const LONGEST_TIMEOUT: Duration = Duration::from_secs(10);
        const LONGEST_TTL: Duration = Duration::from_secs(7 * 86_400);

        let default = Self::default();
        let mut servers: Vec<SocketAddr> = Vec::new();
        for element in section.list("servers") {
            let Some(server) = element.value(server) else { continue };
            if servers.contains(&server) {
                element.problem(format!("{server} is listed twice"));
            } else {
                servers.push(server);
            }
        }
        let duration = |longest| move |text: &str| scalar::duration_up_to(text, longest);
        Self {
            enabled: section.value("enabled", flag).unwrap_or(default.enabled),
            servers,
            timeout: section.value("timeout", duration(LONGEST_TIMEOUT)).unwrap_or(default.timeout),
            cache_ttl: section.value("cache_ttl", duration(LONGEST_TTL)).unwrap_or(default.cache_ttl),
        }
    }
}

fn server(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, DNS_PORT));
    address.or_else(|_| text.parse()).map_err(|_| {
        format!(
            "expected the address of a DNS server such as `10.0.0.10` or `10.0.0.10:53`, found {}",
            scalar::quoted(text)
        )
    })
}

fn flag(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        other => {
            let hint = did_you_mean(other, ["true", "false"]);
            Err(format!("expected `true` or `false`, found {}{hint}", scalar::quoted(other)))
        }
    }
}
