//! Who is let in by the HTTP server: credentials, TLS, host names, and how often somebody may ask.

use std::{collections::HashMap, path::PathBuf};

use secrecy::SecretString;

use super::{
    auth::{ReadSecret, username},
    scalar::{self, quoted},
    section::{Element, Section},
    suggestion::did_you_mean,
};
use crate::model::credential::{CertificateName, Credential, LOCAL_OPERATOR, Proof, Role, Secret, line_of};

/// The header that has a signature unless the configuration names another: Grafana's default.
const SIGNATURE_HEADER: &str = "x-grafana-alerting-signature";

/// The most requests a second that can be allowed.
const LARGEST_RATE: u32 = 1_000_000;

/// Who is let in.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Every way to be let in; none means that nobody has to prove anything.
    pub credentials: Vec<Credential>,
    /// How the TLS listener is set up, if it is one.
    pub tls: Option<Tls>,
    /// Names, in lower case, under which the server may be addressed beside `localhost` and any IP address.
    pub allowed_hosts: Vec<String>,
    /// How often one source may ask.
    pub rate_limit: RateLimit,
}

/// The files of a TLS listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and those between it and its CA.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
    /// The CAs that vouch for clients; without it no client is asked for a certificate.
    pub client_ca_file: Option<PathBuf>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2
    #[default]
    V1_2,
    /// TLS 1.3
    V1_3,
}

/// How often one source may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// In the long run; 0 means as often as it likes.
    pub requests_per_second: u32,
    /// At once, after a silence.
    pub burst: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { requests_per_second: 100, burst: 1000 }
    }
}

impl Access {
    /// Reads what the section `web` says about it.
    pub(super) fn read(web: &Section<'_>, read_secret: ReadSecret<'_>) -> Self {
        let tls = Tls::read(web);
        let has_client_ca = tls.as_ref().is_some_and(|tls| tls.client_ca_file.is_some());
        // what is wrong with `tls` is reported there
        let may_have_certificates = has_client_ca || (web.mentions("tls") && tls.is_none());
        let mut reader = Credentials::new(read_secret, may_have_certificates);
        let credentials = web.list("credentials").iter().filter_map(|element| reader.read(element)).collect();
        Self {
            credentials,
            tls,
            allowed_hosts: read_hosts(web),
            rate_limit: RateLimit::read(&web.section("rate_limit")),
        }
    }
}

impl Tls {
    fn read(web: &Section<'_>) -> Option<Self> {
        if !web.mentions("tls") {
            return None;
        }
        let section = web.section("tls");
        let (cert_file, key_file) =
            (section.required("cert_file", scalar::path), section.required("key_file", scalar::path));
        let client_ca_file = section.value("client_ca_file", scalar::path);
        let min_version = section.value("min_version", |text| match text {
            "1.2" => Ok(TlsVersion::V1_2),
            "1.3" => Ok(TlsVersion::V1_3),
            other => Err(format!("expected `1.2` or `1.3`, found {}", quoted(other))),
        });
        Some(Self {
            cert_file: cert_file?,
            key_file: key_file?,
            client_ca_file,
            min_version: min_version.unwrap_or_default(),
        })
    }
}

impl RateLimit {
    fn read(section: &Section<'_>) -> Self {
        let default = Self::default();
        let number = |smallest: u32| {
            move |text: &str| match text.parse() {
                Ok(number) if (smallest..=LARGEST_RATE).contains(&number) => Ok(number),
                _ => {
                    let found = quoted(text);
                    Err(format!("expected a whole number from {smallest} to {LARGEST_RATE}, found {found}"))
                }
            }
        };
        Self {
            requests_per_second: section
                .value("requests_per_second", number(0))
                .unwrap_or(default.requests_per_second),
            burst: section.value("burst", number(1)).unwrap_or(default.burst),
        }
    }
}

fn read_hosts(web: &Section<'_>) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    for element in web.list("allowed_hosts") {
        let Some(host) = element.value(host_name) else { continue };
        if hosts.contains(&host) {
            element.problem(format!("{} is listed twice", quoted(&host)));
        } else {
            hosts.push(host);
        }
    }
    hosts
}

fn host_name(text: &str) -> Result<String, String> {
    let is_name = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    let expected = "expected a host name such as `connwarden.example`";
    match text.rsplit_once(':') {
        _ if is_name(text) => Ok(text.to_ascii_lowercase()),
        Some((name, port)) if is_name(name) && port.parse::<u16>().is_ok() => {
            Err(format!("{expected}, found {} with a port, write `{name}`", quoted(text)))
        }
        _ => Err(format!("{expected}, found {}", quoted(text))),
    }
}

/// Reads one credential after the other.
struct Credentials<'a> {
    read_secret: ReadSecret<'a>,
    /// Whether clients can have certificates at all.
    may_have_certificates: bool,
    /// Where each name was given.
    names: HashMap<String, usize>,
    /// Whose each proof is, and what it is good for.
    owners: HashMap<String, (String, Role)>,
}

impl<'a> Credentials<'a> {
    /// The keys of which a credential has one.
    const PROOFS: [&'static str; 5] =
        ["bearer_token", "bearer_token_file", "basic_auth", "client_certificate", "hmac"];

    fn new(read_secret: ReadSecret<'a>, may_have_certificates: bool) -> Self {
        Self { read_secret, may_have_certificates, names: HashMap::new(), owners: HashMap::new() }
    }

    fn read(&mut self, element: &Element<'_>) -> Option<Credential> {
        let section = element.section();
        let name = self.read_name(&section);
        let role = section.required("role", read_role);
        let (proof, shown) = self.read_proof(&section)?;
        let (name, role) = (name?, role?);
        if matches!(proof, Proof::Signature { .. }) && role != Role::Webhook {
            section.problem("role", "only notifications are signed, the role must be `webhook`");
        }
        match self.owners.get(&shown) {
            // two of one role are harmless: before a rotation, both files may hold the same
            Some((owner, other)) if *other != role => {
                let message = format!(
                    "`{owner}` is shown the same way and has the role `{}`, whose would it be?",
                    other.name()
                );
                section.problem("role", message);
            }
            _ => {
                self.owners.insert(shown, (name.clone(), role));
            }
        }
        Some(Credential { name, role, proof })
    }

    fn read_name(&mut self, section: &Section<'_>) -> Option<String> {
        let name = section.required("name", |text| match text {
            LOCAL_OPERATOR | "connwarden" | "anonymous" => {
                Err(format!("{} is connwarden's own, choose another name", quoted(text)))
            }
            text => scalar::cluster_name(text),
        })?;
        let line = section.line_of("name");
        match self.names.get(&name) {
            Some(first) => {
                section.problem("name", format!("`{name}` is the name of the credential on line {first}"));
                None
            }
            None => {
                self.names.insert(name.clone(), line);
                Some(name)
            }
        }
    }

    /// Reads what has to be shown, and a text that is the same if the same has to be shown.
    fn read_proof(&self, section: &Section<'_>) -> Option<(Proof, String)> {
        let given: Vec<&str> = Self::PROOFS.into_iter().filter(|key| section.mentions(key)).collect();
        match given[..] {
            [] => {
                let others = Self::PROOFS[1..].join("`, `");
                section.missing("bearer_token", &format!("is missing, give it or one of `{others}`"));
                None
            }
            ["bearer_token" | "bearer_token_file"] | ["bearer_token", "bearer_token_file"] => {
                let (secret, text) =
                    self.read_secret(section, "bearer_token", "bearer_token_file", Proof::Bearer)?;
                Some((Proof::Bearer(secret), format!("bearer {text}")))
            }
            ["basic_auth"] => self.read_basic(&section.section("basic_auth")),
            ["client_certificate"] => self.read_certificate(section),
            ["hmac"] => self.read_signature(&section.section("hmac")),
            [first, second, ..] => {
                let message =
                    format!("both `{first}` and `{second}` are given, make two credentials of them");
                section.problem(second, message);
                None
            }
            [_] => None,
        }
    }

    fn read_basic(&self, section: &Section<'_>) -> Option<(Proof, String)> {
        let username = section.required("username", username);
        let basic = |password| Proof::Basic { username: String::new(), password };
        let secret = self.read_secret(section, "password", "password_file", basic);
        let (username, (password, text)) = (username?, secret?);
        let shown = format!("basic {username}:{text}");
        Some((Proof::Basic { username, password }, shown))
    }

    fn read_certificate(&self, credential: &Section<'_>) -> Option<(Proof, String)> {
        const NAMES: [&str; 3] = ["common_name", "dns_name", "uri"];

        if !self.may_have_certificates {
            let message = "needs `web.tls.client_ca_file`: without it no client shows a certificate";
            credential.problem("client_certificate", message);
        }
        let section = credential.section("client_certificate");
        let given: Vec<&str> = NAMES.into_iter().filter(|key| section.mentions(key)).collect();
        let text = |key: &str| {
            section.required(key, |text| {
                if text.is_empty() { Err("expected a name".to_owned()) } else { Ok(text.to_owned()) }
            })
        };
        let name = match given[..] {
            ["common_name"] => CertificateName::CommonName(text("common_name")?),
            ["dns_name"] => CertificateName::Dns(text("dns_name")?.to_ascii_lowercase()),
            ["uri"] => CertificateName::Uri(text("uri")?),
            [first, second, ..] => {
                section.problem(second, format!("both `{first}` and `{second}` are given"));
                return None;
            }
            _ => {
                section.missing("common_name", "is missing, give it or one of `dns_name`, `uri`");
                return None;
            }
        };
        let shown = format!("certificate {name:?}");
        Some((Proof::Certificate(name), shown))
    }

    fn read_signature(&self, section: &Section<'_>) -> Option<(Proof, String)> {
        let proof = |secret| Proof::Signature { secret, header: String::new(), timestamp_header: None };
        let secret = self.read_secret(section, "secret", "secret_file", proof);
        let header = section.value("header", header_name);
        let header = header.unwrap_or_else(|| SIGNATURE_HEADER.to_owned());
        let timestamp_header = section.value("timestamp_header", header_name);
        if timestamp_header.as_ref() == Some(&header) {
            section.problem("timestamp_header", "is the header of the signature itself");
        }
        let (secret, text) = secret?;
        Some((Proof::Signature { secret, header, timestamp_header }, format!("signature {text}")))
    }

    /// Reads a secret, or where it is kept, and its text for now. Nothing of it may get into a message.
    fn read_secret(
        &self,
        section: &Section<'_>,
        key: &str,
        file_key: &str,
        proof: impl Fn(Secret) -> Proof,
    ) -> Option<(Secret, String)> {
        let accept = |secret: Secret, text: &str| {
            if text.is_empty() {
                return Err("the secret is empty".to_owned());
            }
            let proof = proof(secret);
            proof.check(text)?;
            let secret = proof.secret().cloned().ok_or("there is no secret in it")?;
            Ok((secret, text.to_owned()))
        };
        match (section.mentions(key), section.mentions(file_key)) {
            (true, true) => {
                section.problem(file_key, format!("both `{key}` and `{file_key}` are given"));
                None
            }
            (true, false) => {
                section.required(key, |text| accept(Secret::Text(SecretString::from(text)), text))
            }
            (false, true) => section.required(file_key, |text| {
                let path = scalar::path(text)?;
                let content = (self.read_secret)(&path)
                    .map_err(|error| format!("cannot read {}: {error}", quoted(text)))?;
                accept(Secret::File(path), line_of(&content))
            }),
            (false, false) => {
                section.missing(key, &format!("is missing, give it here or in a `{file_key}`"));
                None
            }
        }
    }
}

fn read_role(text: &str) -> Result<Role, String> {
    Role::ALL.into_iter().find(|role| role.name() == text).ok_or_else(|| {
        let names = Role::ALL.map(Role::name);
        let hint = did_you_mean(text, names);
        format!("expected one of {}, found {}{hint}", names.join(", "), quoted(text))
    })
}

fn header_name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    match name.as_str() {
        "authorization" | "cookie" | "host" => {
            Err(format!("{} has a meaning of its own, choose another header", quoted(text)))
        }
        _ if !name.is_empty() && name.chars().all(is_name) => Ok(name),
        _ => Err(format!("expected the name of a header, found {}", quoted(text))),
    }
}
