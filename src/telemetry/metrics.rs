//! Metrics: `connwarden_` prefix, base units, labels with a bounded set of values only.

mod figures;
mod labels;
mod mitigations;
mod sampling;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::telemetry::metrics::labels::{
    AuthLabels, ClusterLabels, IntakeLabels, JobLabels, KindLabels, RETAINED, ReconcileLabels, StateLabels,
    SweepLabels, SystemAccountLabels, TableLabels,
};

pub use crate::telemetry::metrics::figures::{JobFigures, LookFigures, MitigationFigures, StoreFigures};
pub use crate::telemetry::metrics::labels::{
    AuthResult, IntakeResult, JobResult, ReconcileResult, SampleResult,
};
pub use crate::telemetry::metrics::mitigations::MitigationMetrics;
pub use crate::telemetry::metrics::sampling::{SampleFigures, SamplingMetrics};

/// Every metric of the process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    notifications: Family<IntakeLabels, Counter>,
    intake_queue: Gauge,
    batch_deliveries: Histogram,
    write_duration: Histogram,
    deleted_rows: Family<TableLabels, Counter>,
    jobs: Family<JobLabels, Counter>,
    reconciliations: Family<ReconcileLabels, Counter>,
    sweep_duration: Family<ClusterLabels, Histogram>,
    sweep_bytes: Family<ClusterLabels, Counter>,
    sweeps: Family<SweepLabels, Counter>,
    connections_seen: Family<ClusterLabels, Gauge>,
    coverage: Family<ClusterLabels, Gauge<f64, AtomicU64>>,
    last_look: Family<ClusterLabels, Gauge<f64, AtomicU64>>,
    unresolved_incidents: Family<StateLabels, Gauge>,
    queued_jobs: Family<KindLabels, Gauge>,
    oldest_due_job: Family<KindLabels, Gauge<f64, AtomicU64>>,
    repeated_notifications: Counter,
    store_up: Gauge,
    http_auth: Family<AuthLabels, Counter>,
    tls_certificate_refused: Gauge,
    /// Those of the samples.
    pub sampling: SamplingMetrics,
    /// Those of mitigations.
    pub mitigations: MitigationMetrics,
    system_account_connected: Family<SystemAccountLabels, Gauge>,
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
        let intake_queue = Gauge::default();
        let batch_deliveries = Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]);
        let write_duration = Histogram::new([
            0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
        ]);
        let deleted_rows = Family::<TableLabels, Counter>::default();
        let jobs = Family::<JobLabels, Counter>::default();
        let reconciliations = Family::<ReconcileLabels, Counter>::default();
        let seconds: fn() -> Histogram =
            || Histogram::new([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]);
        let sweep_duration = Family::<ClusterLabels, Histogram>::new_with_constructor(seconds);
        let sweep_bytes = Family::<ClusterLabels, Counter>::default();
        let sweeps = Family::<SweepLabels, Counter>::default();
        let connections_seen = Family::<ClusterLabels, Gauge>::default();
        let coverage = Family::<ClusterLabels, Gauge<f64, AtomicU64>>::default();
        let last_look = Family::<ClusterLabels, Gauge<f64, AtomicU64>>::default();
        let unresolved_incidents = Family::<StateLabels, Gauge>::default();
        let queued_jobs = Family::<KindLabels, Gauge>::default();
        let oldest_due_job = Family::<KindLabels, Gauge<f64, AtomicU64>>::default();
        let repeated_notifications = Counter::default();
        let store_up = Gauge::default();
        let http_auth = Family::<AuthLabels, Counter>::default();
        let tls_certificate_refused = Gauge::default();
        let system_account_connected = Family::<SystemAccountLabels, Gauge>::default();

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
        registry.register(
            "intake_queue_length",
            "Notifications that wait to be stored",
            intake_queue.clone(),
        );
        registry.register(
            "intake_batch_deliveries",
            "Notifications stored with one transaction",
            batch_deliveries.clone(),
        );
        registry.register_with_unit(
            "store_write",
            "Time to store one batch of notifications, the commit included",
            Unit::Seconds,
            write_duration.clone(),
        );
        registry.register(
            "deleted_rows",
            "Rows deleted because they were kept long enough, by table",
            deleted_rows.clone(),
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
        registry.register(
            "repeated_notifications",
            "Notifications whose content had been received before, among those that were accepted",
            repeated_notifications.clone(),
        );
        registry.register("queued_jobs", "Jobs waiting or running, by kind", queued_jobs.clone());
        registry.register_with_unit(
            "oldest_due_job",
            "How long the job that waits the longest has been due, by kind",
            Unit::Seconds,
            oldest_due_job.clone(),
        );
        registry.register(
            "unresolved_incidents",
            "Incidents that are not resolved, by state",
            unresolved_incidents.clone(),
        );
        registry.register_with_unit(
            "cluster_coverage",
            "Connections seen when the cluster was last looked at, as a share of those it said it has",
            Unit::Other("ratio".to_owned()),
            coverage.clone(),
        );
        registry.register_with_unit(
            "cluster_last_look_timestamp",
            "When the cluster was last looked at, since 1970",
            Unit::Seconds,
            last_look.clone(),
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
        let sampling = SamplingMetrics::register(&mut registry);
        let mitigations = MitigationMetrics::register(&mut registry);
        registry.register(
            "system_account_connected",
            "Whether there is a connection to the system account of the cluster, where one is configured: to read, and to act",
            system_account_connected.clone(),
        );
        for result in AuthResult::ALL {
            let _ = http_auth.get_or_create(&AuthLabels { result });
        }
        for table in RETAINED {
            let _ = deleted_rows.get_or_create(&TableLabels { table });
        }
        for result in [
            IntakeResult::Accepted,
            IntakeResult::Hopeless,
            IntakeResult::TooLarge,
            IntakeResult::Busy,
            IntakeResult::Failed,
        ] {
            // a counter that appears only with its first error cannot be alerted on
            let _ = notifications.get_or_create(&IntakeLabels { result });
        }
        Self {
            registry: Arc::new(registry),
            notifications,
            intake_queue,
            batch_deliveries,
            write_duration,
            deleted_rows,
            jobs,
            reconciliations,
            sweep_duration,
            sweep_bytes,
            sweeps,
            connections_seen,
            coverage,
            last_look,
            unresolved_incidents,
            queued_jobs,
            oldest_due_job,
            repeated_notifications,
            store_up,
            http_auth,
            tls_certificate_refused,
            sampling,
            mitigations,
            system_account_connected,
        }
    }

    /// Counts a webhook POST.
    pub fn notification(&self, result: IntakeResult) {
        self.notifications.get_or_create(&IntakeLabels { result }).inc();
    }

    /// Tells how many notifications wait to be stored.
    pub fn intake_queue(&self, waiting: usize) {
        self.intake_queue.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Counts an attempt to store notifications together.
    pub fn batch_written(&self, deliveries: usize, took: Duration) {
        self.batch_deliveries.observe(deliveries as f64);
        self.write_duration.observe(took.as_secs_f64());
    }

    /// Counts rows that were kept long enough.
    pub fn deleted(&self, table: &'static str, rows: u64) {
        self.deleted_rows.get_or_create(&TableLabels { table }).inc_by(rows);
    }

    /// Counts a job.
    pub fn job(&self, kind: &str, result: JobResult) {
        self.jobs.get_or_create(&JobLabels { kind: kind.to_owned(), result }).inc();
    }

    /// Counts a comparison with what every Alertmanager lists.
    pub fn reconciliation(&self, result: ReconcileResult) {
        self.reconciliations.get_or_create(&ReconcileLabels { result }).inc();
    }

    /// Counts a notification whose content had been received before.
    pub fn repeated_notification(&self) {
        self.repeated_notifications.inc();
    }

    /// Counts a look at a cluster.
    pub fn sweep(&self, look: &LookFigures<'_>) {
        let labels = ClusterLabels { cluster: look.cluster.to_owned() };
        self.sweep_duration.get_or_create(&labels).observe(look.took.as_secs_f64());
        self.sweep_bytes.get_or_create(&labels).inc_by(look.bytes);
        self.connections_seen.get_or_create(&labels).set(i64::try_from(look.seen).unwrap_or(i64::MAX));
        // a cluster that does not say how many it has is not seen
        let share =
            if look.total == 0 { f64::from(u8::from(look.complete)) } else { ratio(look.seen, look.total) };
        self.coverage.get_or_create(&labels).set(share);
        self.last_look.get_or_create(&labels).set(look.began_at_seconds);
        self.sweeps
            .get_or_create(&SweepLabels { cluster: labels.cluster, complete: look.complete.to_string() })
            .inc();
    }

    /// Tells what is counted in the store.
    pub fn store_answers(&self, figures: StoreFigures) {
        for (state, count) in figures.unresolved {
            let gauge = self.unresolved_incidents.get_or_create(&StateLabels { state });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        for JobFigures { kind, queued, due_for } in figures.jobs {
            let labels = KindLabels { kind };
            self.queued_jobs.get_or_create(&labels).set(i64::try_from(queued).unwrap_or(i64::MAX));
            self.oldest_due_job.get_or_create(&labels).set(due_for.as_secs_f64());
        }
        for figures in &figures.mitigations {
            self.mitigations.stand(figures);
        }
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

    /// Tells whether there is a connection to the system account of a cluster, and for what it is.
    pub fn system_account_connected(&self, cluster: &str, role: &'static str, connected: bool) {
        let labels = SystemAccountLabels { cluster: cluster.to_owned(), role };
        self.system_account_connected.get_or_create(&labels).set(connected.into());
    }

    /// Writes everything as OpenMetrics text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing into a string cannot fail");
        text
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
    let share = part as f64 / whole as f64;
    share
}
