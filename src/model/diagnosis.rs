//! Diagnoses: what an incident's evidence says about who, since when and why, and what to do.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::breakdown::Dimension;
use crate::model::owner::Owner;

/// What the evidence of an incident says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Diagnosis {
    /// When it was made.
    pub made_at: Timestamp,
    /// Who, since when and why, in one line.
    pub headline: String,
    /// What was found, what matters most first.
    pub findings: Vec<Finding>,
    /// Who explains the trouble, most of it first; empty if nobody does by themselves.
    pub culprits: Vec<Culprit>,
    /// The steps of the runbook, in its order.
    pub steps: Vec<Step>,
    /// What to do about it, in the order of the runbook.
    pub recommendations: Vec<Recommendation>,
}

/// One thing that is wrong, with what says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// How bad it is.
    pub severity: Severity,
    /// How sure it is, from 0 to 1.
    pub confidence: f64,
    /// In one sentence, with the numbers.
    pub summary: String,
    /// Whom it is about, if about somebody: a server, an application, an address, an account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Since when, as far as the evidence tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The numbers it rests on.
    pub evidence: Vec<Fact>,
    /// What would confirm it.
    pub confirm: String,
    /// What would refute it.
    pub refute: String,
}

/// The kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// An application opens connections and does not close them.
    Leak,
    /// Clients connect and are cut off again and again.
    ReconnectStorm,
    /// The server or an account turns clients away because a limit is reached.
    RefusedAtLimit,
    /// An application runs in more instances than before, or was deployed anew.
    ScaleOut,
    /// Clients came all at once because a server left or started anew.
    RestartHerd,
    /// One server of the cluster has far more connections than the others.
    Imbalance,
    /// An application holds connections that it does not use.
    IdleHoard,
    /// One address, account or user has far more connections than its peers.
    Outlier,
    /// Many applications behind one address: a NAT or a proxy.
    SharedAddress,
    /// Clients do not say who they are.
    Unnamed,
    /// A server is close to its limit of connections.
    NearLimit,
    /// An account is close to its limit of connections.
    NearAccountLimit,
    /// Clients do not read fast enough.
    SlowConsumers,
    /// A server runs out of processor time or memory.
    ResourcePressure,
    /// The alert's number is not the number of connections.
    SaturatedValue,
    /// More connections than before, by nobody in particular.
    Growth,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Will hurt if it goes on.
    Warning,
    /// Hurts clients now.
    Critical,
}

/// Whom a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
pub struct Subject {
    /// What the key is of.
    pub dimension: Dimension,
    /// The key. Text from strangers, at most 256 bytes.
    pub key: String,
}

/// A number that something rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Fact {
    /// What the number is, as one word for machines: `grown_by`, `attempts_per_minute`.
    pub name: String,
    /// The number; shares from 0 to 1, times in seconds.
    pub value: f64,
    /// The same, for people.
    pub text: String,
}

/// Who explains the trouble, and how much of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Culprit {
    /// What the key is of.
    pub dimension: Dimension,
    /// The key. Text from strangers, at most 256 bytes.
    pub key: String,
    /// What the key is called, where the key itself is not readable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// How many connections it has now.
    pub connections: u64,
    /// How many connections it has more than before; of a storm, how many it attempted. Missing of one that holds many
    /// without having grown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grown_by: Option<u64>,
    /// Which share of all that grew, or was attempted, it explains, from 0 to 1; of one that has not grown, its share of
    /// all connections.
    pub explained_share: f64,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Which share of its connections is idle and never had a message, from 0 to 1.
    pub without_traffic_share: f64,
    /// Where most of it comes from, largest first, at most five.
    pub addresses: Vec<Origin>,
    /// When it was first seen in this cluster, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen_at: Option<Timestamp>,
    /// Who owns it, if the owners' file says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// In one sentence, with the numbers.
    pub summary: String,
}

/// Where connections come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Origin {
    /// An address, or a network.
    pub address: String,
    /// The name that DNS gives the address, if it was asked and knows one. Text from strangers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many connections come from there.
    pub connections: u64,
}

/// A step of the runbook, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// Which.
    pub step: StepName,
    /// What came of it.
    pub status: StepStatus,
    /// What was found, or why it could not be looked at, in one sentence.
    pub summary: String,
    /// What it rests on.
    pub evidence: Vec<Fact>,
    /// What it came upon, one sentence each.
    pub remarks: Vec<String>,
}

/// The diagnosis steps of the runbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepName {
    /// 1. The server's log, for errors about connections; the reasons of closed connections.
    Logs,
    /// 2. The configuration, for a high number of connections.
    Configuration,
    /// 3. Recent changes.
    Changes,
    /// 4. The pattern of the metrics, and anomalies.
    Metrics,
    /// 5. Resources.
    Resources,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Looked at, and nothing is wrong there.
    Ok,
    /// Something was found.
    Finding,
    /// Could not be looked at; the summary says why.
    Skipped,
}

/// Something to do, for this cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Recommendation {
    /// Which step of the runbook's mitigation it is.
    pub step: MitigationStep,
    /// What to do, in one line.
    pub title: String,
    /// Why, and what it would do, with the numbers.
    pub effect: String,
    /// Configuration lines or commands, if there are any.
    pub snippets: Vec<Snippet>,
}

/// The mitigation steps of the runbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MitigationStep {
    /// 1. More resources.
    Resources,
    /// 2. Limits or throttling.
    Limits,
    /// 3. Tuning.
    Tuning,
    /// 4. The application that causes it.
    Application,
    /// 5. Balancing the cluster.
    Balancing,
    /// 6. Regular monitoring.
    Monitoring,
}

/// Something to copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Snippet {
    /// Where it goes: `nats-server.conf`, `shell`, `prometheus rules`.
    pub place: String,
    /// The text.
    pub text: String,
}

impl Diagnosis {
    /// What is behind it: the first finding that says more than that the alert's number is wrong.
    pub fn cause(&self) -> Option<&Finding> {
        self.findings.first().filter(|first| first.kind != FindingKind::SaturatedValue)
    }
}

impl FindingKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 16] = [
        Self::Leak,
        Self::ReconnectStorm,
        Self::RefusedAtLimit,
        Self::ScaleOut,
        Self::RestartHerd,
        Self::Imbalance,
        Self::IdleHoard,
        Self::Outlier,
        Self::SharedAddress,
        Self::Unnamed,
        Self::NearLimit,
        Self::NearAccountLimit,
        Self::SlowConsumers,
        Self::ResourcePressure,
        Self::SaturatedValue,
        Self::Growth,
    ];

    /// The kind as it is written in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leak => "leak",
            Self::ReconnectStorm => "reconnect_storm",
            Self::RefusedAtLimit => "refused_at_limit",
            Self::ScaleOut => "scale_out",
            Self::RestartHerd => "restart_herd",
            Self::Imbalance => "imbalance",
            Self::IdleHoard => "idle_hoard",
            Self::Outlier => "outlier",
            Self::SharedAddress => "shared_address",
            Self::Unnamed => "unnamed",
            Self::NearLimit => "near_limit",
            Self::NearAccountLimit => "near_account_limit",
            Self::SlowConsumers => "slow_consumers",
            Self::ResourcePressure => "resource_pressure",
            Self::SaturatedValue => "saturated_value",
            Self::Growth => "growth",
        }
    }

    /// Reads what [`FindingKind::name`] wrote.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind as a heading, for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Leak => "Connection leak",
            Self::ReconnectStorm => "Reconnect storm",
            Self::RefusedAtLimit => "Refused at the limit",
            Self::ScaleOut => "Scale-out or deploy",
            Self::RestartHerd => "Herd after a restart",
            Self::Imbalance => "Imbalance in the cluster",
            Self::IdleHoard => "Hoard of idle connections",
            Self::Outlier => "Outlier among peers",
            Self::SharedAddress => "Shared address",
            Self::Unnamed => "Unnamed clients",
            Self::NearLimit => "Near the limit",
            Self::NearAccountLimit => "Near an account's limit",
            Self::SlowConsumers => "Slow consumers",
            Self::ResourcePressure => "Resource pressure",
            Self::SaturatedValue => "Saturated alert value",
            Self::Growth => "Growth without a culprit",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Severity {
    /// The severity as it is written in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl StepName {
    /// Every step, in the runbook's order.
    pub const ALL: [Self; 5] =
        [Self::Logs, Self::Configuration, Self::Changes, Self::Metrics, Self::Resources];

    /// The step as it is written in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Configuration => "configuration",
            Self::Changes => "changes",
            Self::Metrics => "metrics",
            Self::Resources => "resources",
        }
    }

    /// The step as the runbook words it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Logs => "Log errors and closed connections",
            Self::Configuration => "Configuration for many connections",
            Self::Changes => "Recent changes",
            Self::Metrics => "Metrics pattern and anomalies",
            Self::Resources => "Resources",
        }
    }
}

impl StepStatus {
    /// The status as it is written in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Finding => "finding",
            Self::Skipped => "skipped",
        }
    }
}

impl MitigationStep {
    /// The step as the runbook words it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Resources => "More resources",
            Self::Limits => "Limits or throttling",
            Self::Tuning => "Tuning",
            Self::Application => "The application",
            Self::Balancing => "Balancing the cluster",
            Self::Monitoring => "Regular monitoring",
        }
    }
}

impl Origin {
    /// The address, with its name if it has one: `10.0.0.1 (api-1.example)`.
    pub fn named(&self) -> String {
        match &self.name {
            Some(name) => format!("{} ({name})", self.address),
            None => self.address.clone(),
        }
    }
}

impl Fact {
    /// A number with its words.
    pub fn new(name: &str, value: f64, text: impl Into<String>) -> Self {
        Self { name: name.to_owned(), value, text: text.into() }
    }

    /// A count with its words.
    pub fn count(name: &str, value: u64, text: impl Into<String>) -> Self {
        Self::new(name, value as f64, text)
    }
}

impl Subject {
    /// A group of a dimension.
    pub fn new(dimension: Dimension, key: impl Into<String>) -> Self {
        Self { dimension, key: key.into() }
    }
}
