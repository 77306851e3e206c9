//! The system account of a cluster: where it is reached, as whom, and how TLS is spoken.

use std::path::PathBuf;

use url::Url;

use super::{auth, scalar, section::Section};
use crate::model::system_account::{SystemAccess, SystemLogin, SystemTls};

/// Where clients connect unless a URL has another port.
const DEFAULT_PORT: u16 = 4222;

/// The keys that each are a login.
const LOGINS: [&str; 3] = ["credentials_file", "nkey_file", "user"];

/// The system account of a cluster, as it is configured.
#[derive(Default)]
pub(super) struct SystemAccounts {
    /// As whom everything is read.
    pub(super) reader: Option<SystemAccess>,
    /// As whom connections are cut, if that is somebody else.
    pub(super) actor: Option<SystemAccess>,
}

/// Reads the section `system_account` of a cluster; nobody if it is not there, or wrong.
pub(super) fn read(cluster: &Section<'_>) -> SystemAccounts {
    if !cluster.mentions("system_account") {
        return SystemAccounts::default();
    }
    let section = cluster.section("system_account");
    let urls = read_urls(&section);
    let login = read_login(&section);
    let tls = section.mentions("tls").then(|| read_tls(&section.section("tls")));
    let actor = section.mentions("actor").then(|| read_login(&section.section("actor"))).flatten();
    if actor.is_some() && actor == login {
        section.problem("actor", "is who reads; leave it out, and who reads acts too");
    }
    let access = |login| SystemAccess { urls: urls.clone(), login, tls: tls.clone() };
    SystemAccounts { reader: login.map(access), actor: actor.map(access) }
}

fn read_urls(section: &Section<'_>) -> Vec<Url> {
    let elements = section.one_or_many("urls");
    if !section.mentions("urls") {
        section.missing("urls", "is missing");
    } else if !section.has("urls") || (elements.is_empty() && section.is_list("urls")) {
        section.problem("urls", "expected at least one address where clients connect");
    }
    let mut urls = Vec::new();
    for element in elements {
        let Some(url) = element.value(parse_url) else { continue };
        if urls.contains(&url) {
            element.problem(format!("`{url}` is listed twice"));
        } else {
            urls.push(url);
        }
    }
    urls
}

fn read_login(section: &Section<'_>) -> Option<SystemLogin> {
    let given: Vec<&str> = LOGINS.into_iter().filter(|key| section.mentions(key)).collect();
    let password_file = section.value("password_file", scalar::path);
    if section.mentions("password_file") && !section.mentions("user") {
        section.problem("password_file", "is given without a `user`");
    }
    match given[..] {
        [] => {
            section.missing(
                "credentials_file",
                "is missing, give it, or an `nkey_file`, or a `user` and its `password_file`",
            );
            None
        }
        ["credentials_file"] => {
            Some(SystemLogin::Credentials(section.required("credentials_file", scalar::path)?))
        }
        ["nkey_file"] => Some(SystemLogin::Nkey(section.required("nkey_file", scalar::path)?)),
        ["user"] => {
            let user = section.required("user", auth::username);
            if !section.mentions("password_file") {
                section.missing("password_file", "is missing");
            }
            Some(SystemLogin::Password { user: user?, password_file: password_file? })
        }
        [one, other, ..] => {
            section.problem(other, format!("both `{one}` and `{other}` are given, only one can be shown"));
            None
        }
        // one of the three that the cases above do not know
        [_] => None,
    }
}

fn read_tls(section: &Section<'_>) -> SystemTls {
    let path = |key: &str| -> Option<PathBuf> { section.value(key, scalar::path) };
    let (certificate, key) = (path("cert_file"), path("key_file"));
    for (given, other) in [("cert_file", "key_file"), ("key_file", "cert_file")] {
        if section.mentions(given) && !section.mentions(other) {
            section.problem(given, format!("is given without a `{other}`"));
        }
    }
    SystemTls { ca_file: path("ca_file"), client: certificate.zip(key) }
}

/// Reads an address where clients connect, and normalizes it.
fn parse_url(text: &str) -> Result<Url, String> {
    let expected = "expected an address where clients connect such as `nats://nats-1:4222`";
    if text.contains('@') {
        // not repeated: what stands before the `@` may be a password
        return Err(format!(
            "{expected}, found a user or password in it, use `user` and `password_file` for that"
        ));
    }
    let found = scalar::quoted(text);
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!("{expected}, found {found}, write `nats://` before it"));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "nats" | "tls" => {}
        "http" | "https" => {
            return Err(format!("{expected}, found {found}: monitoring addresses belong into `monitor`"));
        }
        _ => return Err(format!("{expected}, found {found}")),
    }
    let mut url = Url::parse(text).map_err(|error| format!("{expected}, found {found}: {error}"))?;
    if rest.starts_with('/') || !url.has_host() {
        return Err(format!("{expected}, found {found}: no host"));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{expected}, found {found}: nothing may follow the port"));
    }
    if url.port() == Some(0) {
        return Err(format!("{expected}, found {found}: no port 0"));
    }
    url.set_path("");
    if url.port().is_none() && url.set_port(Some(DEFAULT_PORT)).is_err() {
        return Err(format!("{expected}, found {found}: no port"));
    }
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    url.set_host(Some(&host)).map_err(|error| format!("{expected}, found {found}: {error}"))?;
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_normalized() {
        for (text, url) in [
            ("nats://nats-1:4222", "nats://nats-1:4222"),
            ("nats://nats-1", "nats://nats-1:4222"),
            ("TLS://NATS-1:4443/", "tls://nats-1:4443"),
            ("nats://[2001:db8::1]", "nats://[2001:db8::1]:4222"),
        ] {
            assert_eq!(parse_url(text).map(String::from), Ok(url.to_owned()), "{text}");
        }
    }

    #[test]
    fn other_addresses_are_refused_with_a_hint() {
        let texts = [
            "",
            "nats-1:4222",
            "http://nats-1:8222",
            "ws://nats-1:8080",
            "nats://",
            "nats://nats-1:port",
            "nats://nats-1:0",
            "nats://nats-1:4222/x",
            "nats://sys:hunter2@nats-1:4222",
        ];
        let report = texts.map(|text| parse_url(text).unwrap_err()).join("\n");
        insta::assert_snapshot!(report, @r"
        expected an address where clients connect such as `nats://nats-1:4222`, found ``, write `nats://` before it
        expected an address where clients connect such as `nats://nats-1:4222`, found `nats-1:4222`, write `nats://` before it
        expected an address where clients connect such as `nats://nats-1:4222`, found `http://nats-1:8222`: monitoring addresses belong into `monitor`
        expected an address where clients connect such as `nats://nats-1:4222`, found `ws://nats-1:8080`
        expected an address where clients connect such as `nats://nats-1:4222`, found `nats://`: no host
        expected an address where clients connect such as `nats://nats-1:4222`, found `nats://nats-1:port`: invalid port number
        expected an address where clients connect such as `nats://nats-1:4222`, found `nats://nats-1:0`: no port 0
        expected an address where clients connect such as `nats://nats-1:4222`, found `nats://nats-1:4222/x`: nothing may follow the port
        expected an address where clients connect such as `nats://nats-1:4222`, found a user or password in it, use `user` and `password_file` for that
        ");
        assert!(!report.contains("hunter2"));
    }
}
