//! The labels of the metrics. Each has a bounded set of values: what strangers say is never one.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

/// What became of a webhook POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntakeResult {
    /// Stored.
    Accepted,
    /// Will never be a notification.
    Hopeless,
    /// Larger than what is read.
    TooLarge,
    /// Refused because too many came at once.
    Busy,
    /// Could not be stored now.
    Failed,
}

/// What came of comparing incidents with what every Alertmanager lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReconcileResult {
    /// Every Alertmanager answered in full.
    Complete,
    /// What is not listed proves nothing: one did not answer, or has just started.
    InDoubt,
    /// What was found could not be stored.
    Failed,
}

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobResult {
    /// Done.
    Done,
    /// To be tried again.
    Retried,
}

/// What a sample holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SampleResult {
    /// Every server in full.
    Complete,
    /// A part of the cluster.
    Partial,
    /// No server let anything be seen: there is none.
    Blind,
    /// It could not be taken, or not be kept.
    Failed,
}

impl SampleResult {
    pub(super) const ALL: [Self; 4] = [Self::Complete, Self::Partial, Self::Blind, Self::Failed];
}

/// Who sent a request, or why they were not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthResult {
    /// Somebody who has proved who they are, and may.
    Accepted,
    /// Anybody, because nobody has to prove anything.
    Anonymous,
    /// Nothing was shown.
    Missing,
    /// What was shown is not known.
    Wrong,
    /// They may do less than that.
    Forbidden,
    /// The request named a host that is not known.
    UnknownHost,
    /// A page of another site made a browser send it.
    CrossSite,
    /// One source asks or guesses too often.
    RateLimited,
    /// It could not be found out for now.
    Unavailable,
}

impl AuthResult {
    pub(super) const ALL: [Self; 9] = [
        Self::Accepted,
        Self::Anonymous,
        Self::Missing,
        Self::Wrong,
        Self::Forbidden,
        Self::UnknownHost,
        Self::CrossSite,
        Self::RateLimited,
        Self::Unavailable,
    ];
}

impl EncodeLabelValue for AuthResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let name = match self {
            Self::Accepted => "accepted",
            Self::Anonymous => "anonymous",
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::Forbidden => "forbidden",
            Self::UnknownHost => "unknown_host",
            Self::CrossSite => "cross_site",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
        };
        name.encode(encoder)
    }
}

// not derived: that would write the variants' names in Rust's spelling
impl EncodeLabelValue for IntakeResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let name = match self {
            Self::Accepted => "accepted",
            Self::Hopeless => "hopeless",
            Self::TooLarge => "too_large",
            Self::Busy => "busy",
            Self::Failed => "failed",
        };
        name.encode(encoder)
    }
}

impl EncodeLabelValue for ReconcileResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let name = match self {
            Self::Complete => "complete",
            Self::InDoubt => "in_doubt",
            Self::Failed => "failed",
        };
        name.encode(encoder)
    }
}

impl EncodeLabelValue for SampleResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let name = match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Blind => "blind",
            Self::Failed => "failed",
        };
        name.encode(encoder)
    }
}

impl EncodeLabelValue for JobResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let name = match self {
            Self::Done => "done",
            Self::Retried => "retried",
        };
        name.encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct IntakeLabels {
    pub(super) result: IntakeResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AuthLabels {
    pub(super) result: AuthResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReconcileLabels {
    pub(super) result: ReconcileResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct JobLabels {
    pub(super) kind: String,
    pub(super) result: JobResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TableLabels {
    pub(super) table: &'static str,
}

/// What a connection to a system account is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SystemAccountLabels {
    pub(super) cluster: String,
    pub(super) role: &'static str,
}

/// The tables of which rows are deleted.
pub(super) const RETAINED: [&str; 18] = [
    "address_names",
    "alerts",
    "audit",
    "baselines",
    "breakdowns",
    "changes",
    "culprits",
    "diagnoses",
    "entries",
    "findings",
    "first_seen",
    "incidents",
    "jobs",
    "mitigation_looks",
    "mitigations",
    "notifications",
    "snapshots",
    "victims",
];

/// Clusters are named by the configuration: there are as many as somebody wrote down.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ClusterLabels {
    pub(super) cluster: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SweepLabels {
    pub(super) cluster: String,
    pub(super) complete: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SampleLabels {
    pub(super) cluster: String,
    pub(super) result: SampleResult,
}

/// The one exception: servers and applications have names of strangers, but only the largest are shown, and what is no
/// longer there is taken away.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ApplicationLabels {
    pub(super) cluster: String,
    pub(super) server: String,
    pub(super) application: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StateLabels {
    pub(super) state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindLabels {
    pub(super) kind: &'static str,
}
