//! Metrics of the samples: who holds the connections of each server, and how the sampler is doing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::telemetry::metrics::labels::{ApplicationLabels, ClusterLabels, SampleLabels, SampleResult};

/// What became of a sample.
#[derive(Debug)]
pub struct SampleFigures<'a> {
    /// The cluster's configured name.
    pub cluster: &'a str,
    /// Whether it is kept.
    pub result: SampleResult,
    /// When it was taken, in seconds since 1970, if it is kept.
    pub taken_at_seconds: Option<f64>,
    /// How long it took to look and to keep it.
    pub took: Duration,
    /// How long it is until the next.
    pub pause: Duration,
}

/// Servers and applications.
type Shown = BTreeSet<(String, String)>;

/// The metrics of the samples. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SamplingMetrics {
    applications: Family<ApplicationLabels, Gauge>,
    /// What is shown of each cluster, so that what is gone can be taken away.
    shown: Arc<Mutex<BTreeMap<String, Shown>>>,
    samples: Family<SampleLabels, Counter>,
    duration: Family<ClusterLabels, Histogram>,
    interval: Family<ClusterLabels, Gauge<f64, AtomicU64>>,
    last_success: Family<ClusterLabels, Gauge<f64, AtomicU64>>,
}

impl SamplingMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let seconds: fn() -> Histogram =
            || Histogram::new([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]);
        let metrics = Self {
            applications: Family::default(),
            shown: Arc::default(),
            samples: Family::default(),
            duration: Family::new_with_constructor(seconds),
            interval: Family::default(),
            last_success: Family::default(),
        };
        registry.register(
            "nats_application_connections",
            "Connections by server and application when the cluster was last sampled: the largest applications of the \
             cluster, all others as `other`",
            metrics.applications.clone(),
        );
        registry.register(
            "samples",
            "Samples of a cluster by what they hold: every server in full, a part, nothing, or not kept",
            metrics.samples.clone(),
        );
        registry.register_with_unit(
            "sample_duration",
            "Time to look at a cluster for a sample and to keep it",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register_with_unit(
            "sample_interval",
            "Pause between two samples of a cluster, longer where looks cost much",
            Unit::Seconds,
            metrics.interval.clone(),
        );
        registry.register_with_unit(
            "last_sample_timestamp",
            "When the last sample of a cluster that is kept was taken, since 1970",
            Unit::Seconds,
            metrics.last_success.clone(),
        );
        metrics
    }

    /// Counts an attempt to take a sample.
    pub fn taken(&self, sample: &SampleFigures<'_>) {
        let labels = ClusterLabels { cluster: sample.cluster.to_owned() };
        self.duration.get_or_create(&labels).observe(sample.took.as_secs_f64());
        self.interval.get_or_create(&labels).set(sample.pause.as_secs_f64());
        if let Some(at) = sample.taken_at_seconds {
            self.last_success.get_or_create(&labels).set(at);
        }
        for result in SampleResult::ALL {
            let labels = SampleLabels { cluster: sample.cluster.to_owned(), result };
            self.samples.get_or_create(&labels).inc_by(u64::from(result == sample.result));
        }
    }

    /// Shows the connections of a cluster by server and application, and nothing else of it.
    pub fn applications(&self, cluster: &str, connections: BTreeMap<(String, String), u64>) {
        let labels = |(server, application): &(String, String)| ApplicationLabels {
            cluster: cluster.to_owned(),
            server: server.clone(),
            application: application.clone(),
        };
        for (key, count) in &connections {
            let gauge = self.applications.get_or_create(&labels(key));
            gauge.set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let now = connections.into_keys().collect();
        let before = shown.insert(cluster.to_owned(), now).unwrap_or_default();
        for gone in before.iter().filter(|key| !shown[cluster].contains(*key)) {
            self.applications.remove(&labels(gone));
        }
    }
}
