//! Metrics: `connwarden_` prefix, base units, labels with a bounded set of values only.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// Every metric of the process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    notifications: Family<IntakeLabels, Counter>,
    jobs: Family<JobLabels, Counter>,
    reconciliations: Family<ReconcileLabels, Counter>,
    sweep_duration: Family<ClusterLabels, Histogram>,
    sweep_bytes: Family<ClusterLabels, Counter>,
    sweeps: Family<SweepLabels, Counter>,
    connections_seen: Family<ClusterLabels, Gauge>,
    unresolved_incidents: Gauge,
    queued_jobs: Gauge,
    store_up: Gauge,
    http_auth: Family<AuthLabels, Counter>,
    tls_certificate_refused: Gauge,
}

/// What became of a webhook POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntakeResult {
    /// Stored.
    Accepted,
    /// Will never be a notification.
    Hopeless,
    /// Larger than what is read.
    TooLarge,
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
    const ALL: [Self; 9] = [
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
struct IntakeLabels {
    result: IntakeResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AuthLabels {
    result: AuthResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    result: ReconcileResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    kind: String,
    result: JobResult,
}

/// Clusters are named by the configuration: there are as many as somebody wrote down.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClusterLabels {
    cluster: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SweepLabels {
    cluster: String,
    complete: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Starts every metric at nothing.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("connwarden");
        let notifications = Family::<IntakeLabels, Counter>::default();
        let jobs = Family::<JobLabels, Counter>::default();
        let reconciliations = Family::<ReconcileLabels, Counter>::default();
        let seconds: fn() -> Histogram =
            || Histogram::new([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]);
        let sweep_duration = Family::<ClusterLabels, Histogram>::new_with_constructor(seconds);
        let sweep_bytes = Family::<ClusterLabels, Counter>::default();
        let sweeps = Family::<SweepLabels, Counter>::default();
        let connections_seen = Family::<ClusterLabels, Gauge>::default();
        let (unresolved_incidents, queued_jobs) = (Gauge::default(), Gauge::default());
        let store_up = Gauge::default();
        let http_auth = Family::<AuthLabels, Counter>::default();
        let tls_certificate_refused = Gauge::default();

        registry.register(
            "build",
            "Version of connwarden",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register(
            "notifications",
            "Webhook notifications by what became of them",
            notifications.clone(),
        );
        registry.register("jobs", "Jobs by kind and what became of them", jobs.clone());
        registry.register(
            "reconciliations",
            "Comparisons of incidents with what every Alertmanager lists, by how much that proves",
            reconciliations.clone(),
        );
        for result in [ReconcileResult::Complete, ReconcileResult::InDoubt, ReconcileResult::Failed] {
            let _ = reconciliations.get_or_create(&ReconcileLabels { result });
        }
        registry.register("queued_jobs", "Jobs waiting or running", queued_jobs.clone());
        registry.register(
            "unresolved_incidents",
            "Incidents that are not resolved",
            unresolved_incidents.clone(),
        );
        registry.register(
            "store_up",
            "Whether the store answers; if not, what is counted in it is as it was last seen",
            store_up.clone(),
        );
        registry.register(
            "sweeps",
            "Looks at a cluster, by whether every server answered in full",
            sweeps.clone(),
        );
        registry.register_with_unit(
            "sweep_duration",
            "Time to look at all servers of a cluster",
            Unit::Seconds,
            sweep_duration.clone(),
        );
        registry.register_with_unit(
            "sweep_received",
            "Bytes read from a cluster",
            Unit::Bytes,
            sweep_bytes.clone(),
        );
        registry.register(
            "cluster_connections_seen",
            "Connections seen when the cluster was last looked at",
            connections_seen.clone(),
        );
        registry.register(
            "http_auth",
            "Requests by whether their sender was let in, or why not; probes and assets are not counted",
            http_auth.clone(),
        );
        registry.register(
            "tls_certificate_refused",
            "Whether the certificate files cannot be used as they are, so that what they held before is served",
            tls_certificate_refused.clone(),
        );
        for result in AuthResult::ALL {
            let _ = http_auth.get_or_create(&AuthLabels { result });
        }
        for result in
            [IntakeResult::Accepted, IntakeResult::Hopeless, IntakeResult::TooLarge, IntakeResult::Failed]
        {
            // a counter that appears only with its first error cannot be alerted on
            let _ = notifications.get_or_create(&IntakeLabels { result });
        }
        Self {
            registry: Arc::new(registry),
            notifications,
            jobs,
            reconciliations,
            sweep_duration,
            sweep_bytes,
            sweeps,
            connections_seen,
            unresolved_incidents,
            queued_jobs,
            store_up,
            http_auth,
            tls_certificate_refused,
        }
    }

    /// Counts a webhook POST.
    pub fn notification(&self, result: IntakeResult) {
        self.notifications.get_or_create(&IntakeLabels { result }).inc();
    }

    /// Counts a comparison with what every Alertmanager lists.
    pub fn reconciliation(&self, result: ReconcileResult) {
        self.reconciliations.get_or_create(&ReconcileLabels { result }).inc();
    }

    /// Counts a job.
    pub fn job(&self, kind: &str, result: JobResult) {
        self.jobs.get_or_create(&JobLabels { kind: kind.to_owned(), result }).inc();
    }

    /// Counts a look at a cluster.
    pub fn sweep(&self, cluster: &str, took: Duration, bytes: u64, seen: u64, complete: bool) {
        let labels = ClusterLabels { cluster: cluster.to_owned() };
        self.sweep_duration.get_or_create(&labels).observe(took.as_secs_f64());
        self.sweep_bytes.get_or_create(&labels).inc_by(bytes);
        self.connections_seen.get_or_create(&labels).set(i64::try_from(seen).unwrap_or(i64::MAX));
        self.sweeps
            .get_or_create(&SweepLabels { cluster: labels.cluster, complete: complete.to_string() })
            .inc();
    }

    /// Tells how many incidents are unresolved and how many jobs are queued.
    pub fn store_answers(&self, unresolved_incidents: u64, queued_jobs: u64) {
        self.unresolved_incidents.set(i64::try_from(unresolved_incidents).unwrap_or(i64::MAX));
        self.queued_jobs.set(i64::try_from(queued_jobs).unwrap_or(i64::MAX));
        self.store_up.set(1);
    }

    /// Tells that the store does not answer; what was last counted in it stays.
    pub fn store_fails(&self) {
        self.store_up.set(0);
    }

    /// Counts a request by whether its sender was let in.
    pub fn auth(&self, result: AuthResult) {
        self.http_auth.get_or_create(&AuthLabels { result }).inc();
    }

    /// Tells whether the certificate files cannot be used as they are.
    pub fn tls_certificate_refused(&self, refused: bool) {
        self.tls_certificate_refused.set(refused.into());
    }

    /// Writes everything as OpenMetrics text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing into a string cannot fail");
        text
    }
}
