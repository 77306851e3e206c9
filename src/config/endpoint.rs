//! APIs that are asked: every Alertmanager, Prometheus, and Loki.

use std::collections::HashMap;

use url::Url;

use super::{
    auth::{ReadSecret, read_auth},
    cluster::shown,
    scalar::{self, quoted},
    section::Section,
};
use crate::model::endpoint::Endpoint;

/// One kind of API: what it is called and where it usually is.
pub(super) struct Kind {
    /// The key of the list.
    pub(super) key: &'static str,
    /// What one of them is, for people.
    pub(super) name: &'static str,
    /// An address of one.
    pub(super) example: &'static str,
    /// How all paths of its API begin, before the version; an address is without it.
    pub(super) api: &'static str,
}

/// Every node of every Alertmanager.
pub(super) const ALERTMANAGERS: Kind = Kind {
    key: "alertmanagers",
    name: "an Alertmanager",
    example: "http://alertmanager-1:9093",
    api: "/api/v",
};

/// Every Prometheus, or whatever has its API.
pub(super) const PROMETHEUS: Kind =
    Kind { key: "prometheus", name: "a Prometheus", example: "http://prometheus:9090", api: "/api/v" };

/// Every Loki.
pub(super) const LOKI: Kind =
    Kind { key: "loki", name: "a Loki", example: "http://loki:3100", api: "/loki/api/v" };

/// Reads the list of one kind of API.
pub(super) fn read_all(root: &Section<'_>, kind: &Kind, read_secret: ReadSecret<'_>) -> Vec<Endpoint> {
    let mut lines: HashMap<Url, usize> = HashMap::new();
    let mut endpoints = Vec::new();
    for element in root.list(kind.key) {
        let section = element.section();
        let endpoint = read_one(&section, kind, read_secret);
        let Some(endpoint) = endpoint else { continue };
        if let Some(line) = lines.get(&endpoint.url) {
            let message = format!("{} is listed twice, first on line {line}", shown(&endpoint.url));
            section.problem("url", message);
        } else {
            lines.insert(endpoint.url.clone(), section.line_of("url"));
            endpoints.push(endpoint);
        }
    }
    endpoints
}

/// Reads where one API is and how to be let in; none if its address is missing or wrong.
pub(super) fn read_one(section: &Section<'_>, kind: &Kind, read_secret: ReadSecret<'_>) -> Option<Endpoint> {
    let url = section.required("url", |text| kind.parse_url(text));
    let auth = read_auth(section, read_secret);
    let tenant = section.value("tenant", scalar::tenant);
    Some(Endpoint { url: url?, auth, tenant })
}

impl Kind {
    /// Reads the address of an API; a path before that of the API is kept, without a slash at its end.
    fn parse_url(&self, text: &str) -> Result<Url, String> {
        let expected = format!("expected the address of {} such as `{}`", self.name, self.example);
        if text.contains('@') {
            // not repeated: what stands before the `@` may be a password
            return Err(format!("{expected}, found a user or password in it, use `basic_auth` for that"));
        }
        let found = quoted(text);
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("{expected}, found {found}, write `http://` before it"));
        };
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(format!("{expected}, found {found}"));
        }
        let mut url = Url::parse(text).map_err(|error| format!("{expected}, found {found}: {error}"))?;
        let path = url.path().trim_end_matches('/').to_owned();
        let api = path
            .find(self.api)
            .filter(|place| path[place + self.api.len()..].starts_with(|c: char| c.is_ascii_digit()));
        if rest.starts_with('/') || !url.has_host() {
            Err(format!("{expected}, found {found}: no host"))
        } else if url.query().is_some() || url.fragment().is_some() {
            Err(format!("{expected}, found {found}: nothing may follow the path"))
        } else if url.port() == Some(0) {
            Err(format!("{expected}, found {found}: no port 0"))
        } else if let Some(place) = api {
            url.set_path(&path[..place]);
            Err(format!("{expected}, found {found}: the path of the API is added, write {}", shown(&url)))
        } else {
            url.set_path(&path);
            Ok(url)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_have_a_path_and_are_normalized() {
        for (text, url) in [
            ("http://am-1:9093", "http://am-1:9093/"),
            ("HTTPS://AM-1:443/", "https://am-1/"),
            ("http://mimir/alertmanager/", "http://mimir/alertmanager"),
            (
                "https://grafana.example/api/alertmanager/grafana",
                "https://grafana.example/api/alertmanager/grafana",
            ),
        ] {
            assert_eq!(ALERTMANAGERS.parse_url(text).unwrap().as_str(), url, "{text}");
        }
    }

    #[test]
    fn other_addresses_are_refused_with_a_hint() {
        let texts = [
            "",
            "am-1:9093",
            "ftp://am-1",
            "http://",
            "http:///api",
            "http://am-1:0",
            "http://am-1:9093/#/alerts",
            "http://am-1:9093/x/api/v2/alerts",
            "http://user:hunter2@am-1:9093",
        ];
        let report = texts.map(|text| ALERTMANAGERS.parse_url(text).unwrap_err()).join("\n");
        insta::assert_snapshot!(report, @r"
        expected the address of an Alertmanager such as `http://alertmanager-1:9093`, found ``, write `http://` before it
        expected the address of an Alertmanager such as `http://alertmanager-1:9093`, found `am-1:9093`, write `http://` before it
        expected the address of an Alertmanager such as `http://alertmanager-1:9093`, found `ftp://am-1`
        expected the address of an Alertmanager such as `http://alertmanager-1:9093`, found `http://`: empty host
        expected the address of an Alertmanager such as `http://alertmanager-1:9093`, found `http:///api`: no host
        expected the address of an Alertmanager such as `http://alertmanager-1:9093`, found `http://am-1:0`: no port 0
        expected the address of an Alertmanager such as `http://alertmanager-1:9093`, found `http://am-1:9093/#/alerts`: nothing may follow the path
        expected the address of an Alertmanager such as `http://alertmanager-1:9093`, found `http://am-1:9093/x/api/v2/alerts`: the path of the API is added, write `http://am-1:9093/x`
        expected the address of an Alertmanager such as `http://alertmanager-1:9093`, found a user or password in it, use `basic_auth` for that
        ");
        assert!(!report.contains("hunter2"));
        assert_eq!(
            LOKI.parse_url("http://loki:3100/logs/loki/api/v1/query_range").unwrap_err(),
            "expected the address of a Loki such as `http://loki:3100`, \
             found `http://loki:3100/logs/loki/api/v1/query_range`: the path of the API is added, \
             write `http://loki:3100/logs`"
        );
    }
}
