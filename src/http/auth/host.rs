//! Which `Host` a request may name, and from which site a browser may send it.
//!
//! A page on another site can make a browser send requests here, and with a name of its own that it lets point here
//! (DNS rebinding) it can read the answers. It cannot do either by an IP address: who is asked by address is who is
//! meant. So names must be known, and addresses always are.

use std::net::{IpAddr, Ipv6Addr};

use axum::extract::Request;
use axum::http::{HeaderMap, header};

use crate::http::error::AccessError;

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// How much of a name is repeated, in characters.
const LONGEST_NAME: usize = 60;

/// The names under which the server may be addressed.
#[derive(Debug)]
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    /// `names` beside `localhost` and any address, in lower case.
    pub(super) fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    /// Checks every host that a request names. One that names none is not from a browser.
    ///
    /// # Errors
    ///
    /// The first that is not known.
    pub(super) fn check(&self, request: &Request) -> Result<(), AccessError> {
        let unknown = |host: &str| AccessError::UnknownHost(host.escape_debug().take(LONGEST_NAME).collect());
        if let Some(authority) = request.uri().authority()
            && !self.knows(authority.as_str())
        {
            return Err(unknown(authority.as_str()));
        }
        for host in request.headers().get_all(header::HOST) {
            match host.to_str() {
                Ok(host) if self.knows(host) => {}
                Ok(host) => return Err(unknown(host)),
                Err(_) => return Err(unknown("?")),
            }
        }
        Ok(())
    }

    fn knows(&self, host: &str) -> bool {
        let Some((name, _)) = split_port(host) else { return false };
        if let Some(address) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            return address.parse::<Ipv6Addr>().is_ok();
        }
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4())
            || self.0.contains(&name)
    }
}

/// Refuses what a browser sends on behalf of another site. Programs send neither header.
///
/// # Errors
///
/// It is from another site.
pub(super) fn refuse_cross_site(request: &Request) -> Result<(), AccessError> {
    let headers = request.headers();
    let sites = headers.get_all(SEC_FETCH_SITE).iter();
    let from_here = sites.into_iter().all(|site| site == "same-origin" || site == "none");
    let host =
        request.uri().authority().map(|authority| authority.as_str()).or_else(|| only(headers, header::HOST));
    let origins = headers.get_all(header::ORIGIN).iter();
    let of_here = origins.into_iter().all(|origin| {
        origin.to_str().is_ok_and(|origin| host.is_some_and(|host| is_origin_of(origin, host)))
    });
    if from_here && of_here { Ok(()) } else { Err(AccessError::CrossSite) }
}

/// Whether a page of `origin` was served by `host`; the scheme may have been taken off by a proxy.
fn is_origin_of(origin: &str, host: &str) -> bool {
    let (default, place) = match origin.split_once("://") {
        Some(("http", place)) => ("80", place),
        Some(("https", place)) => ("443", place),
        _ => return false,
    };
    let normalized = |place: &str| {
        let (name, port) = split_port(place)?;
        Some((name.to_ascii_lowercase(), port.unwrap_or(default).to_owned()))
    };
    match (normalized(place), normalized(host)) {
        (Some(place), Some(host)) => place == host,
        _ => false,
    }
}

/// Splits a host from its port.
fn split_port(host: &str) -> Option<(&str, Option<&str>)> {
    // the colons of an IPv6 address stand in brackets
    let end = host.rfind(']').map_or(0, |end| end + 1);
    match host[end..].split_once(':') {
        None => Some((host, None)),
        Some((rest, port)) if port.parse::<u16>().is_ok() => Some((&host[..end + rest.len()], Some(port))),
        Some(_) => None,
    }
}

/// The value of a header that is there once.
fn only(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_localhost_and_configured_names_are_known() {
        let hosts = Hosts::new(vec!["warden.example".to_owned()]);
        for host in [
            "127.0.0.1:9480",
            "127.0.0.1",
            "10.0.0.5:9480",
            "[::1]:9480",
            "[2001:db8::1]",
            "localhost",
            "LOCALHOST:9480",
            "localhost.:80",
            "a.localhost",
            "warden.example",
            "Warden.Example:443",
            "warden.example.",
        ] {
            assert!(hosts.knows(host), "{host}");
        }
        for host in [
            "",
            ":9480",
            "evil.example",
            "warden.example.evil.example",
            "evil.example:9480",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost:port",
            "localhost:9480:9480",
            "::1",
            "[::1",
            "[localhost]",
            "user@localhost",
            "localhost/",
        ] {
            assert!(!hosts.knows(host), "{host}");
        }
    }

    proptest! {
        #[test]
        fn no_host_is_too_strange(host in "[a.:\\[\\]0-9@/]{0,12}", other in ".{0,12}") {
            let hosts = Hosts::new(vec!["a".to_owned()]);
            let _ = (hosts.knows(&host), hosts.knows(&other));
            let _ = (is_origin_of(&format!("http://{host}"), &other), is_origin_of(&other, &host));
            // a name is known by itself, not by what stands around it
            let name = host.split(':').next().unwrap_or_default();
            prop_assert!(!hosts.knows(&host) || host.starts_with('[') || name.trim_end_matches('.') == "a"
                || name.parse::<IpAddr>().is_ok());
        }
    }

    #[test]
    fn an_origin_is_that_of_a_host_if_name_and_port_are() {
        for (origin, host) in [
            ("http://127.0.0.1:9480", "127.0.0.1:9480"),
            ("http://warden.example", "warden.example"),
            ("https://warden.example", "Warden.example:443"),
            ("https://warden.example", "warden.example"),
            ("http://[::1]:9480", "[::1]:9480"),
        ] {
            assert!(is_origin_of(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("null", "127.0.0.1:9480"),
            ("", ""),
            ("http://127.0.0.1:3000", "127.0.0.1:9480"),
            ("http://localhost:9480", "127.0.0.1:9480"),
            ("http://warden.example", "warden.example:443"),
            ("https://evil.example", "warden.example"),
            ("https://warden.example.evil.example", "warden.example"),
            ("file://warden.example", "warden.example"),
        ] {
            assert!(!is_origin_of(origin, host), "{origin} {host}");
        }
    }
}
