//! The configuration: one strict YAML file, read into values that cannot be wrong.
//!
//! Every setting has a default, so an empty file is a valid one. Nothing is ignored: an unknown
//! key is a problem, and all problems of a file are reported together, each with its place. No
//! text of a secret is ever repeated in a problem, a warning or debug output.

mod access;
mod auth;
mod baseline;
mod cluster;
mod diagnosis;
mod document;
mod endpoint;
mod incidents;
mod keys;
mod logs;
mod mitigations;
mod owners;
mod problem;
mod retention;
mod reverse_dns;
mod scalar;
mod section;
mod suggestion;
mod system_account;

use std::{
    cell::Cell,
    collections::HashSet,
    fmt,
    fs::File,
    io::{self, Read},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use url::Url;

use crate::model::application::{ApplicationRule, ApplicationRules, InstancePart};
use crate::model::diagnosis_rules::DiagnosisRules;
use crate::model::endpoint::Endpoint;
use crate::model::mitigation_rules::MitigationSettings;
use crate::model::retention::Retention;
use crate::model::sampling::Sampling;

pub use access::{Access, RateLimit, Tls, TlsVersion};
pub use cluster::{Cluster, parse_monitor_url, parse_typed_monitor_url};
pub use incidents::Incidents;
pub use keys::KEYS;
pub use owners::{OWNER_KEYS, load_owners, parse_owners};
pub use problem::{Place, Problem, Problems};
pub use reverse_dns::ReverseDns;
pub use scalar::{parse_duration, parse_log_level, parse_size};

use section::Section;

/// The largest configuration file, in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// The largest file that holds a secret, in bytes.
const MAX_SECRET_FILE_BYTES: usize = 64 << 10;

/// The name of the cluster that is watched without a configuration file.
const CLUSTER_WITHOUT_FILE: &str = "nats";

/// Everything that can be configured.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The HTTP server.
    pub web: Web,
    /// The database.
    pub storage: Storage,
    /// What the daemon writes about itself.
    pub log: Log,
    /// How NATS servers are looked at.
    pub observe: Observe,
    /// When incidents are over.
    pub incidents: Incidents,
    /// From when on something is worth a finding.
    pub diagnosis: DiagnosisRules,
    /// What stops mitigations, and how fast they are.
    pub mitigations: MitigationSettings,
    /// How long what is over is kept.
    pub retention: Retention,
    /// How clusters are sampled, to have something to compare with.
    pub baseline: Sampling,
    /// How client names become applications.
    pub applications: ApplicationRules,
    /// What is watched.
    pub clusters: Vec<Cluster>,
    /// Every node of every Alertmanager that is asked which alerts there are.
    pub alertmanagers: Vec<Endpoint>,
    /// Every Prometheus that is asked which alerts there are, and how many connections there were.
    pub prometheus: Vec<Endpoint>,
    /// The file that says who owns what.
    pub owners_file: Option<PathBuf>,
    /// Whether addresses are given names.
    pub reverse_dns: ReverseDns,
    warnings: Vec<Problem>,
}

impl Config {
    /// Reads the configuration file at `path`, and the secret files that it names.
    ///
    /// # Errors
    ///
    /// All problems of the file, or the one that kept it from being read.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        Self::load_with(path, &|path| read_text(path, MAX_SECRET_FILE_BYTES))
    }

    /// Reads the configuration file at `path` for somebody who needs none of its secrets and may not be able to read
    /// those in files of their own: what stands in for them lets nobody in.
    ///
    /// # Errors
    ///
    /// All other problems of the file, or the one that kept it from being read.
    pub fn load_without_secrets(path: &Path) -> Result<Self, Problems> {
        // no two are the same: a secret that is given twice may be a problem
        let count = Cell::new(0_u64);
        Self::load_with(path, &|_| {
            count.set(count.get() + 1);
            Ok(format!("a-secret-that-was-not-read-{}", count.get()))
        })
    }

    fn load_with(path: &Path, read_secret: &dyn Fn(&Path) -> io::Result<String>) -> Result<Self, Problems> {
        let file = path.display().to_string();
        let text = read_text(path, MAX_FILE_BYTES).map_err(|error| {
            Problems::one(Problem::of_file(&file, format!("cannot read the configuration: {error}")))
        })?;
        Self::parse(&text, &file, read_secret)
    }

    /// Reads `text` as the configuration file called `file`; secrets in files of their own are
    /// read with `read_secret`.
    ///
    /// # Errors
    ///
    /// All problems of the file.
    pub fn parse(
        text: &str,
        file: &str,
        read_secret: &dyn Fn(&Path) -> io::Result<String>,
    ) -> Result<Self, Problems> {
        let report = problem::Report::new(file);
        if text.len() > MAX_FILE_BYTES {
            let message = format!("the configuration is larger than {MAX_FILE_BYTES} bytes");
            return Err(Problems::one(Problem::of_file(file, message)));
        }
        let document = document::parse(text, &report);
        // After a syntax error there is nothing to check.
        let mut config = Self::default();
        if let Some(document) = &document {
            let root = Section::root(&report, document);
            config.web = Web::read(&root.section("web"), read_secret);
            config.storage = Storage::read(&root.section("storage"));
            config.log = Log::read(&root.section("log"));
            config.observe = Observe::read(&root.section("observe"));
            config.incidents = Incidents::read(&root.section("incidents"));
            config.diagnosis = diagnosis::read(&root.section("diagnosis"));
            config.mitigations = mitigations::read(&root.section("mitigations"));
            config.retention = retention::read(&root.section("retention"));
            config.baseline = baseline::read(&root.section("baseline"));
            config.applications = read_applications(&root.section("applications"));
            (config.clusters, config.warnings) = cluster::read_all(&root, read_secret);
            config.alertmanagers = endpoint::read_all(&root, &endpoint::ALERTMANAGERS, read_secret);
            config.prometheus = endpoint::read_all(&root, &endpoint::PROMETHEUS, read_secret);
            config.owners_file = root.value("owners_file", scalar::path);
            config.reverse_dns = ReverseDns::read(&root.section("reverse_dns"));
        }
        report.into_result()?;
        Ok(config)
    }

    /// Makes the configuration for watching `urls` without a file: one cluster without matchers.
    pub fn from_monitors(mut urls: Vec<Url>) -> Self {
        let mut seen = HashSet::new();
        urls.retain(|url| seen.insert(url.clone()));
        Self { clusters: vec![Cluster::new(CLUSTER_WITHOUT_FILE, urls)], ..Self::default() }
    }

    /// Lists what is allowed but probably not meant.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
}

/// The HTTP server that receives notifications and shows incidents.
#[derive(Debug, Clone)]
pub struct Web {
    /// Where it listens.
    pub listen_address: SocketAddr,
    /// The largest notification it accepts, in bytes.
    pub max_body_bytes: u64,
    /// Who is let in.
    pub access: Access,
}

impl Default for Web {
    fn default() -> Self {
        Self {
            listen_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 9480)),
            max_body_bytes: 16 << 20,
            access: Access::default(),
        }
    }
}

impl Web {
    fn read(section: &Section<'_>, read_secret: &dyn Fn(&Path) -> io::Result<String>) -> Self {
        let default = Self::default();
        let max_body = |text: &str| scalar::size_between(text, 1 << 10, 1 << 30);
        Self {
            listen_address: section
                .value("listen_address", scalar::socket_address)
                .unwrap_or(default.listen_address),
            max_body_bytes: section.value("max_body", max_body).unwrap_or(default.max_body_bytes),
            access: Access::read(section, read_secret),
        }
    }
}

/// Where incidents are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// The directory of the database.
    pub path: PathBuf,
}

impl Default for Storage {
    fn default() -> Self {
        Self { path: PathBuf::from("data") }
    }
}

impl Storage {
    fn read(section: &Section<'_>) -> Self {
        let path = section.value("path", scalar::path);
        path.map_or_else(Self::default, |path| Self { path })
    }
}

/// What the daemon writes about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A level, or the filter directives of the `tracing` crates.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::default() }
    }
}

impl Log {
    fn read(section: &Section<'_>) -> Self {
        let default = Self::default();
        Self {
            level: section.value("level", parse_log_level).unwrap_or(default.level),
            format: section.value("format", LogFormat::parse).unwrap_or(default.format),
        }
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Reads `text` or `json`.
    ///
    /// # Errors
    ///
    /// A message for people, if it is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("expected `text` or `json`, found {}", scalar::quoted(other))),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// How NATS servers are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observe {
    /// How long connecting to a server may take.
    pub connect_timeout: Duration,
    /// How long one sweep of one server may take.
    pub timeout: Duration,
    /// After which silence a connection counts as idle.
    pub idle_after: Duration,
    /// The largest answer to one request for connections, in bytes.
    pub max_reply_bytes: u64,
}

impl Default for Observe {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(30),
            idle_after: Duration::from_secs(300),
            max_reply_bytes: 2 << 30,
        }
    }
}

impl Observe {
    fn read(section: &Section<'_>) -> Self {
        const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);

        let default = Self::default();
        let timeout = |text: &str| scalar::duration_up_to(text, LONGEST_TIMEOUT);
        let observe = Self {
            connect_timeout: section.value("connect_timeout", timeout).unwrap_or(default.connect_timeout),
            timeout: section.value("timeout", timeout).unwrap_or(default.timeout),
            idle_after: section
                .value("idle_after", |text| scalar::duration_up_to(text, Duration::MAX))
                .unwrap_or(default.idle_after),
            max_reply_bytes: section
                .value("max_reply", |text| scalar::size_between(text, 64 << 10, u64::MAX))
                .unwrap_or(default.max_reply_bytes),
        };
        if observe.connect_timeout > observe.timeout {
            let message = format!(
                "connect_timeout ({:?}) is longer than timeout ({:?}), which includes it",
                observe.connect_timeout, observe.timeout,
            );
            let key = if section.has("connect_timeout") { "connect_timeout" } else { "timeout" };
            section.problem(key, message);
        }
        observe
    }
}

fn read_applications(section: &Section<'_>) -> ApplicationRules {
    let mut strip: Vec<InstancePart> = Vec::new();
    for element in section.list("strip") {
        let Some(part) = element.value(read_instance_part) else {
            continue;
        };
        if strip.contains(&part) {
            element.problem(format!("`{part}` is listed twice"));
        } else {
            strip.push(part);
        }
    }
    if !section.has("strip") {
        strip.extend(InstancePart::ALL);
    }

    let rules = section.list("rules").into_iter().filter_map(|element| {
        let rule = element.section();
        let pattern = rule.required("pattern", |text| Ok(text.to_owned()));
        let application = rule.required("application", |text| Ok(text.to_owned()));
        match ApplicationRule::new(&pattern?, &application?) {
            Ok(rule) => Some(rule),
            Err(error) => {
                let key = if error.is_about_pattern() { "pattern" } else { "application" };
                rule.problem(key, error.to_string());
                None
            }
        }
    });
    let rules: Vec<ApplicationRule> = rules.collect();
    ApplicationRules::new(strip, rules)
}

fn read_instance_part(text: &str) -> Result<InstancePart, String> {
    text.parse().map_err(|_| {
        let kinds = InstancePart::ALL.map(InstancePart::as_str);
        let hint = suggestion::did_you_mean(text, kinds);
        format!("expected one of {}, found {}{hint}", kinds.join(", "), scalar::quoted(text))
    })
}

/// Reads a file that must be text of at most `max_bytes`.
fn read_text(path: &Path, max_bytes: usize) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max_bytes as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max_bytes {
        let message = format!("the file is larger than {max_bytes} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        io::Error::new(io::ErrorKind::InvalidData, format!("line {line} is not UTF-8 text"))
    })
}
