//! The use cases: what HTTP, command line and jobs call.
//!
//! A use case takes its change, the timeline entries of it and the jobs it causes into one transaction, and
//! never holds that across a network call.

mod abandon;
mod acts;
mod changes;
mod complete;
mod diagnose;
mod enrich;
mod gather;
mod group_commit;
mod history;
mod intake;
mod mitigations;
mod names;
mod observe;
mod reconcile;
mod retain;
mod rules;
mod sample;
mod server_runs;
mod servers;
mod texts;
mod verify;
mod vitals;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use tokio_util::task::TaskTracker;
use url::Url;

use crate::clock::Clock;
use crate::engine::group_commit::Intake;
use crate::engine::mitigations::Mitigations;
use crate::engine::observe::WatchedCluster;
use crate::engine::reconcile::Suspicions;
use crate::engine::vitals::EarlierVitals;
use crate::jobs::Bell;
use crate::model::diagnosis_rules::DiagnosisRules;
use crate::model::mapping::{ClusterRoute, KnownServer};
use crate::model::mitigation_rules::MitigationSettings;
use crate::model::owner::Owners;
use crate::model::sampling::Sampling;
use crate::observe::sweep::{ClusterTargets, Observer};
use crate::outgoing::reverse_dns::ReverseDns;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::Metrics;

pub use crate::engine::abandon::GivenUp;
pub use crate::engine::acts::{ActError, MANUAL_ALERT_NAME};
pub use crate::engine::changes::{ChangeError, Recorded};
pub use crate::engine::complete::COMPLETE;
pub use crate::engine::enrich::ENRICH;
pub use crate::engine::gather::{EvidenceSources, LogReader};
pub use crate::engine::history::{CompareError, Compared, ComparisonWish};
pub use crate::engine::intake::{IntakeError, Receipt};
pub use crate::engine::mitigations::{LOOK_BACK, MitigateError, PlanWish, REQUESTS_AT_ONCE, RUN};
pub use crate::engine::names::NAME_ADDRESSES;
pub use crate::engine::observe::LookError;
pub use crate::engine::reconcile::{Reconciliation, Sources};
pub use crate::engine::rules::IncidentRules;
pub use crate::engine::sample::{SampleError, Sampler};
pub use crate::engine::texts::TextError;
pub use crate::engine::verify::VERIFY;

/// Every kind of job there is.
pub const JOB_KINDS: [&str; 6] = [ENRICH, VERIFY, COMPLETE, NAME_ADDRESSES, RUN, LOOK_BACK];

/// Who is named in the timeline for what connwarden does by itself.
const SELF: &str = "connwarden";

/// One configured cluster: which alerts belong to it, and where its servers are.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Which alerts belong to it.
    pub route: ClusterRoute,
    /// Where its servers are.
    pub targets: ClusterTargets,
    /// Who else knows of it.
    pub evidence: EvidenceSources,
}

/// What the configuration says to the use cases.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configured clusters.
    pub clusters: Vec<Cluster>,
    /// The lifecycle of incidents.
    pub rules: IncidentRules,
    /// From when on something is worth a finding.
    pub diagnosis: DiagnosisRules,
    /// Who is asked which alerts fire.
    pub sources: Sources,
    /// Who owns what.
    pub owners: Owners,
    /// Who gives names to addresses, if anybody does.
    pub reverse_dns: Option<ReverseDns>,
    /// How clusters are sampled.
    pub sampling: Sampling,
    /// What is allowed against connections, and at which pace.
    pub mitigations: MitigationSettings,
}

/// Everything the use cases need. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    store: Store,
    observer: Observer,
    clock: Clock,
    metrics: Metrics,
    rules: IncidentRules,
    diagnosis: DiagnosisRules,
    sources: Sources,
    owners: RwLock<Arc<Owners>>,
    reverse_dns: Option<ReverseDns>,
    /// Who knows of each cluster beside its servers, by the cluster's name.
    evidence: HashMap<String, EvidenceSources>,
    sampling: Sampling,
    mitigations: Mitigations,
    /// What was not as it should be in the last round of reconciliation.
    suspicions: Mutex<Suspicions>,
    /// What each server said of itself a moment ago.
    earlier_vitals: EarlierVitals,
    intake: Intake,
    routes: Vec<ClusterRoute>,
    clusters: Vec<WatchedCluster>,
    /// What `/varz` has last said of each configured server.
    servers: RwLock<Vec<KnownServer>>,
    /// Servers that did not answer when they were last asked who they are.
    silent_servers: Mutex<HashSet<Url>>,
    /// Rung when a job is queued.
    jobs_bell: Bell,
    /// Looks at clusters that somebody waits for.
    looks: TaskTracker,
}

impl Engine {
    /// Makes the engine of a process; reads what is known of the servers from the store.
    ///
    /// # Errors
    ///
    /// The store cannot be read, or there is no thread that could write to it.
    pub async fn new(
        store: Store,
        observer: Observer,
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
        jobs_bell: Bell,
    ) -> Result<Self, StoreError> {
        let Settings { clusters, rules, diagnosis, sources, owners, reverse_dns, sampling, mitigations } =
            settings;
        let servers = servers::load(&store, &clusters, clock.now()).await?;
        let evidence =
            clusters.iter().map(|cluster| (cluster.route.name.clone(), cluster.evidence.clone())).collect();
        let routes = clusters.iter().map(|cluster| cluster.route.clone()).collect();
        let clusters = clusters.into_iter().map(|cluster| WatchedCluster::new(cluster.targets)).collect();
        let (intake, batches) = Intake::new(&store);
        let mitigations = Mitigations::new(mitigations, &metrics.mitigations);
        let engine = Self(Arc::new(Parts {
            store,
            observer,
            clock,
            metrics,
            rules,
            diagnosis,
            sources,
            owners: RwLock::new(Arc::new(owners)),
            reverse_dns,
            evidence,
            sampling,
            mitigations,
            suspicions: Mutex::default(),
            earlier_vitals: EarlierVitals::default(),
            intake,
            routes,
            clusters,
            servers: RwLock::new(servers),
            silent_servers: Mutex::default(),
            jobs_bell,
            looks: TaskTracker::new(),
        }));
        Intake::start(&engine, batches)?;
        Ok(engine)
    }

    /// The configured clusters, in the order of the configuration.
    pub fn clusters(&self) -> impl Iterator<Item = &ClusterTargets> {
        self.0.clusters.iter().map(|cluster| &cluster.targets)
    }

    /// Waits, not longer than `grace`, until what has come in is stored and the looks at clusters have ended.
    pub async fn close(&self, grace: Duration) {
        self.0.looks.close();
        let ended = async {
            self.0.intake.close().await;
            self.0.looks.wait().await;
        };
        let _ = tokio::time::timeout(grace, ended).await;
    }
}
