//! Where a daemon is: as it is typed, and as its configuration says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::{Host, Url};

use crate::config::Web;

/// Reads the address of a daemon, which may be a prefix behind a reverse proxy; who types it may leave `http://` out.
///
/// # Errors
///
/// A message for people, if it is none.
pub(super) fn parse(text: &str) -> Result<Url, String> {
    let expected = "expected the address of a daemon such as `http://127.0.0.1:9480` or `127.0.0.1:9480`";
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&whole).map_err(|error| format!("{expected}: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{expected}, found the scheme `{}`", url.scheme()));
    }
    let place = text.split('/').next().unwrap_or_default();
    // the colons of an IPv6 address stand in brackets
    let has_port = place.rsplit(']').next().unwrap_or_default().contains(':');
    if !text.contains("://") && !has_port {
        return Err(format!("{expected}, found neither a scheme nor a port"));
    }
    Ok(url)
}

/// Where the daemon with this configuration answers on its own host.
///
/// # Errors
///
/// Only the daemon knows.
pub(super) fn of(web: &Web) -> anyhow::Result<Url> {
    let port = web.listen_address.port();
    anyhow::ensure!(port != 0, "web.listen_address has no fixed port: name the daemon with --server");
    let ip = match web.listen_address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let scheme = if web.access.tls.is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{}", SocketAddr::new(ip, port)).parse()?)
}

/// Whether whoever answers there runs on this host.
pub(super) fn is_this_host(server: &Url) -> bool {
    match server.host() {
        Some(Host::Domain(name)) => name == "localhost" || name == "localhost.",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).to_canonical().is_loopback(),
        None => false,
    }
}

/// A path below the URL of a daemon.
pub(super) fn below(server: &Url, path: &str) -> Option<Url> {
    let mut url = server.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut().ok()?.pop_if_empty().extend(path.split('/'));
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_may_be_below_a_prefix() {
        let cases = [
            ("http://host:9480", "http://host:9480/api/v1/incidents"),
            ("http://host/prefix", "http://host/prefix/api/v1/incidents"),
            ("https://host/a/b/?x=y#z", "https://host/a/b/api/v1/incidents"),
        ];
        for (server, url) in cases {
            assert_eq!(below(&server.parse().unwrap(), "api/v1/incidents").unwrap().as_str(), url);
        }
        assert_eq!(below(&"localhost:9480".parse().unwrap(), "api/v1/incidents"), None);
    }

    #[test]
    fn the_scheme_of_an_address_need_not_be_typed() {
        for (text, url) in [
            ("127.0.0.1:9480", "http://127.0.0.1:9480/"),
            ("localhost:9480", "http://localhost:9480/"),
            ("[::1]:9480", "http://[::1]:9480/"),
            ("warden:80/prefix", "http://warden/prefix"),
            ("HTTPS://warden.example", "https://warden.example/"),
        ] {
            assert_eq!(parse(text).map(String::from), Ok(url.to_owned()), "{text}");
        }
        let refused = ["", "localhost", "[::1]", "ftp://warden", "warden:port", "http://"];
        let report = refused.map(|text| parse(text).unwrap_err().split_once("9480`").unwrap().1.to_owned());
        insta::assert_snapshot!(report.join("\n"), @r"
         or `127.0.0.1:9480`: empty host
         or `127.0.0.1:9480`, found neither a scheme nor a port
         or `127.0.0.1:9480`, found neither a scheme nor a port
         or `127.0.0.1:9480`, found the scheme `ftp`
         or `127.0.0.1:9480`: invalid port number
         or `127.0.0.1:9480`: empty host
        ");
    }

    #[test]
    fn a_daemon_that_listens_everywhere_is_asked_on_loopback() {
        for (listens, asked) in [
            ("127.0.0.1:9480", "http://127.0.0.1:9480/"),
            ("0.0.0.0:80", "http://127.0.0.1/"),
            ("[::]:9480", "http://[::1]:9480/"),
            ("10.0.0.7:9480", "http://10.0.0.7:9480/"),
        ] {
            let web = Web { listen_address: listens.parse().unwrap(), ..Web::default() };
            assert_eq!(of(&web).unwrap().as_str(), asked, "{listens}");
        }
        assert!(of(&Web { listen_address: "127.0.0.1:0".parse().unwrap(), ..Web::default() }).is_err());
    }
}
