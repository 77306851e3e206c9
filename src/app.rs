//! The composition root: the only place that wires the parts together, and their life from start to stop.
//!
//! The first signal stops softly: no new requests, those going on are answered, jobs that have begun are finished.
//! Whatever is not done after the grace period is cut off; jobs are durable and go on at the next start.

mod handlers;
mod lifecycle;
mod listener;
pub mod operator_token;
pub mod owners;
pub mod tls;
mod watched;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::alertmanager::api::AlertmanagerClient;
use crate::app::listener::Listener;
use crate::app::owners::OwnersFile;
use crate::app::tls::Certificates;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::engine::{
    Cluster, Engine, EvidenceSources, GivenUp, IncidentRules, LogReader, SampleError, Sampler, Settings,
    Sources,
};
use crate::http::auth::{Access, Rules};
use crate::http::management::Readiness;
use crate::http::webhook::BodyLimits;
use crate::http::{self, AppState};
use crate::jobs::{Bell, Lane, Worker};
use crate::logs::loki::LokiClient;
use crate::model::credential::Secret;
use crate::model::log_source::LogSource;
use crate::model::retention::Retention;
use crate::nats::monitoring::{MonitoringClient, MonitoringSettings};
use crate::observe::sweep::Observer;
use crate::observe::users::UserMask;
use crate::outgoing::documents::Limits;
use crate::outgoing::reverse_dns::{ReverseDns, ReverseDnsSettings};
use crate::prometheus::PrometheusClient;
use crate::store::{self, Store};
use crate::telemetry::metrics::Metrics;

pub use crate::app::lifecycle::Stop;
pub use crate::app::watched::{capabilities, check_system_account, targets, watched};

/// How many jobs of a lane are worked on at the same time.
const WORKERS: usize = 2;

/// How often the process may end while it works on a job before that is given up: it may be what ends the process.
const MOST_INTERRUPTIONS: i64 = 10;

/// How often every server is asked who it is.
const LEARN_INTERVAL: Duration = Duration::from_secs(30);

/// How often what has been kept long enough is deleted.
const RETAIN_INTERVAL: Duration = Duration::from_secs(300);

/// The setting that holds the key of user hashes, in hexadecimal.
const USER_HASH_KEY: &str = "user_hash_key";

/// What the command line decides beside the configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct StartOptions {
    /// Listen beyond loopback although nobody has to prove who they are.
    pub insecure_no_auth: bool,
    /// Store at most so many notifications with one commit: for measuring what it is worth to store many.
    pub batch: Option<usize>,
}

/// A daemon that is about to run.
pub struct App {
    listener: Listener,
    state: AppState,
    worker: Arc<Worker>,
    retention: Retention,
    reconcile_interval: Duration,
    owners_file: Option<OwnersFile>,
}

impl App {
    /// Opens the store, binds the address and wires everything together; nothing runs yet.
    ///
    /// # Errors
    ///
    /// The store cannot be opened, the address cannot be bound, or it must not be.
    pub async fn start(config: &Config, clock: Clock, options: StartOptions) -> anyhow::Result<Self> {
        let address = config.web.listen_address;
        check_exposure(config, options)?;
        let store = Store::open(&config.storage.path).await.map_err(explain)?;
        let store = match options.batch {
            Some(batch) => store.with_batches_of(batch),
            None => store,
        };
        let token = operator_token::make(&config.storage.path)?;
        let (state, worker) = wire(config, store, clock.clone()).await?;
        let owners = config.owners_file.clone().map(OwnersFile::open).transpose()?;
        let owners_file = owners.map(|(file, owners)| {
            state.engine.set_owners(Arc::new(owners));
            file
        });
        state.access.trust_local_operator(Secret::File(token));
        let files = config.web.access.tls.clone();
        let certificates =
            files.map(|files| Certificates::load(files, clock, Metrics::clone(&state.metrics)));
        let certificates = certificates.transpose().context("setting up web.tls")?;
        let listener = Listener::bind(address, certificates).await;
        let listener = listener.with_context(|| format!("listening on {address}"))?;
        let (retention, reconcile_interval) = (config.retention.clone(), config.incidents.reconcile_interval);
        Ok(Self { listener, state, worker: Arc::new(worker), retention, reconcile_interval, owners_file })
    }

    /// The URL of the address that was bound.
    ///
    /// # Errors
    ///
    /// The operating system does not say.
    pub fn url(&self) -> anyhow::Result<String> {
        let address = self.listener.address().context("asking for the bound address")?;
        Ok(format!("{}://{address}", self.listener.scheme()))
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    ///
    /// Something that must not end has ended.
    pub async fn run(self, stop: Stop) -> anyhow::Result<()> {
        let Self { listener, state, worker, retention, reconcile_interval, owners_file } = self;
        let soft = stop.soft.clone();
        self::release_leases(&state).await.context("giving back the leases of the last run")?;

        let mut tasks = JoinSet::new();
        for lane in Lane::ALL.into_iter().flat_map(|lane| [lane; WORKERS]) {
            let (worker, soft) = (worker.clone(), soft.clone());
            tasks.spawn(async move { worker.run(lane, soft).await });
        }
        tasks.spawn(learn_now_and_then(state.engine.clone(), soft.clone()));
        tasks.spawn(reconcile_now_and_then(state.engine.clone(), reconcile_interval, soft.clone()));
        if let Some(file) = owners_file {
            tasks.spawn(file.watch(state.engine.clone(), soft.clone()));
        }
        for sampler in state.engine.clusters().filter_map(|cluster| state.engine.sampler(&cluster.name)) {
            tasks.spawn(sample_now_and_then(
                state.engine.clone(),
                sampler,
                state.clock.clone(),
                soft.clone(),
            ));
        }
        let served = listener.serve(http::router(state.clone()), soft.clone());
        tasks.spawn(retain_now_and_then(state.engine.clone(), retention, soft.clone()));
        tasks.spawn(async move {
            if let Err(error) = served.await {
                warn!(%error, "the listener failed: {error}");
            }
        });
        state.readiness.set(true);

        // nothing ends before it is told to
        let ended_early = tokio::select! {
            _ = tasks.join_next() => !soft.is_cancelled(),
            () = soft.cancelled() => false,
        };
        state.readiness.set(false);
        soft.cancel();
        let finished = async {
            while tasks.join_next().await.is_some() {}
            state.engine.close(stop.grace).await;
        };
        tokio::select! {
            () = finished => info!("stopped; everything that had begun is finished"),
            () = stop.hard_after_grace() => warn!("stopped hard; jobs that had begun go on at the next start"),
        }
        tasks.abort_all();
        state.store.close().await;
        if ended_early {
            Err(anyhow::anyhow!("a part of connwarden ended that must not; see the log"))
        } else {
            Ok(())
        }
    }
}

/// Makes what answers requests and what works off jobs, upon an open store.
///
/// # Errors
///
/// The store cannot be read.
pub async fn wire(config: &Config, store: Store, clock: Clock) -> anyhow::Result<(AppState, Worker)> {
    let metrics = Metrics::new();
    let bell = Bell::default();
    let mask = user_mask(&store).await.context("reading the key of user hashes")?;
    let observer = observer(config, mask, clock.clone());
    let instance = watched::instance_id(&store).await.context("reading the id of this instance")?;
    let settings = settings(config, &instance, &metrics)?;
    let engine = Engine::new(store.clone(), observer, settings, clock.clone(), metrics.clone(), bell.clone())
        .await
        .context("reading what is known of the servers")?;

    let mut worker = Worker::new(store.clone(), clock.clone(), metrics.clone(), bell);
    handlers::register(&mut worker, &engine);
    let interrupted = engine.interrupt_mitigations().await.context("ending the runs of the last process")?;
    if interrupted > 0 {
        warn!(
            mitigations = interrupted,
            "{interrupted} mitigations were running when connwarden ended: stopped"
        );
    }
    let (readiness, body_limits) = (Readiness::default(), BodyLimits::new(config.web.max_body_bytes));
    let access = access(&config.web.access, clock.clone(), metrics.clone())?;
    // the state is cloned several times a request, and the metrics are many
    let metrics = Arc::new(metrics);
    Ok((AppState { engine, store, metrics, clock, readiness, body_limits, access }, worker))
}

/// Says how strangers who have to prove nothing would reach the daemon, and what to do about it.
pub fn exposure(config: &Config) -> Option<String> {
    let address = config.web.listen_address;
    (!address.ip().is_loopback() && config.web.access.credentials.is_empty()).then(|| {
        format!(
            "web.listen_address {address} is not loopback, and there is no authentication: everybody who \
             reaches it could read and write incidents; listen on 127.0.0.1, configure web.credentials, or pass \
             --web.insecure-no-auth if something in front of it keeps strangers out"
        )
    })
}

/// Refuses to be reached by strangers who have to prove nothing, unless that is meant.
fn check_exposure(config: &Config, options: StartOptions) -> anyhow::Result<()> {
    if let Some(exposure) = exposure(config)
        && !options.insecure_no_auth
    {
        anyhow::bail!(exposure);
    }
    let (address, access) = (config.web.listen_address, &config.web.access);
    if !address.ip().is_loopback() && !access.credentials.is_empty() && access.tls.is_none() {
        warn!(
            "credentials are sent to {address} in the clear: set web.tls, or put a proxy with TLS before it"
        );
    }
    Ok(())
}

/// Who is let in, as a configuration says.
fn access(config: &config::Access, clock: Clock, metrics: Metrics) -> anyhow::Result<Access> {
    let rules = Rules {
        credentials: config.credentials.clone(),
        allowed_hosts: config.allowed_hosts.clone(),
        requests_per_second: config.rate_limit.requests_per_second,
        burst: config.rate_limit.burst,
    };
    Ok(Access::new(rules, &random_key()?, clock, metrics))
}

/// The storage directory is ours alone, so whoever held a lease is dead.
async fn release_leases(state: &AppState) -> anyhow::Result<()> {
    let mut tx = state.store.write().await?;
    let released = store::jobs::release_all(&mut tx, MOST_INTERRUPTIONS).await?;
    // the clock may have been set back since the last run
    store::jobs::pull_in(&mut tx, state.clock.now()).await?;
    store::commit(tx).await?;
    if released.go_on > 0 {
        info!(jobs = released.go_on, "{} jobs of the last run go on", released.go_on);
    }
    for (kind, subject) in released.given_up {
        error!(%kind, %subject, "gave up a job: connwarden has ended {MOST_INTERRUPTIONS} times while it worked on it");
        if let Err(error) = state.engine.abandon(&kind, &subject, GivenUp::Interrupted).await {
            error!(%kind, %subject, "cannot say that a job was given up: {error:#}");
        }
    }
    Ok(())
}

async fn learn_now_and_then(engine: Engine, stop: CancellationToken) {
    loop {
        engine.learn_servers().await;
        tokio::select! {
            () = tokio::time::sleep(LEARN_INTERVAL) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn retain_now_and_then(engine: Engine, retention: Retention, stop: CancellationToken) {
    loop {
        if let Err(error) = engine.retain(&retention, &stop).await {
            warn!(
                error = &error as &dyn std::error::Error,
                "cannot delete what was kept long enough: {error}"
            );
        }
        tokio::select! {
            () = tokio::time::sleep(RETAIN_INTERVAL) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn reconcile_now_and_then(engine: Engine, interval: Duration, stop: CancellationToken) {
    loop {
        let reconciled = tokio::select! {
            reconciled = engine.reconcile() => reconciled,
            // whoever does not answer now is asked at the next start
            () = stop.cancelled() => return,
        };
        if let Err(error) = reconciled {
            error!(
                error = &error as &dyn std::error::Error,
                "cannot compare with what Alertmanager lists: {error}"
            );
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn sample_now_and_then(engine: Engine, mut sampler: Sampler, clock: Clock, stop: CancellationToken) {
    // the last bits of an id are as good as a die
    let chance = || clock.new_id().as_u64_pair().1;
    let mut pause = sampler.pace().first(chance());
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        let taken = tokio::select! {
            taken = engine.sample(&mut sampler) => taken,
            () = stop.cancelled() => return,
        };
        match taken {
            // each server that does not answer has been told of
            Ok(_) | Err(SampleError::Blind(_)) => {}
            Err(error) => warn!(error = &error as &dyn std::error::Error, "cannot take a sample: {error}"),
        }
        pause = sampler.pace().jittered(chance());
    }
}

/// The observer that a configuration asks for.
pub fn observer(config: &Config, users: UserMask, clock: Clock) -> Observer {
    let client = MonitoringClient::new(patience(config));
    Observer::new(client, Arc::new(config.applications.clone()), users, config.observe.idle_after, clock)
}

/// How long servers may take to answer, and how much they may.
fn patience(config: &Config) -> MonitoringSettings {
    MonitoringSettings {
        connect_timeout: config.observe.connect_timeout,
        timeout: config.observe.timeout,
        max_reply_bytes: config.observe.max_reply_bytes,
    }
}

/// What a configuration says to the use cases.
///
/// # Errors
///
/// The owners file cannot be used.
fn settings(config: &Config, instance: &str, metrics: &Metrics) -> anyhow::Result<Settings> {
    let limits = Limits {
        connect_timeout: config.observe.connect_timeout,
        timeout: config.observe.timeout.min(Limits::default().timeout),
        ..Limits::default()
    };
    let alertmanagers = config.alertmanagers.iter().cloned();
    let prometheus = config.prometheus.iter().cloned();
    let sources = Sources {
        alertmanagers: alertmanagers.map(|endpoint| AlertmanagerClient::new(endpoint, limits)).collect(),
        prometheus: prometheus.map(|endpoint| PrometheusClient::new(endpoint, limits)).collect(),
    };
    let owners = config.owners_file.as_deref().map(config::load_owners).transpose()?;
    let clusters = config.clusters.iter().map(|named| Cluster {
        route: watched::route(named),
        targets: watched(named, config, instance, metrics),
        evidence: evidence(named, limits),
    });
    Ok(Settings {
        clusters: clusters.collect(),
        rules: rules(config),
        diagnosis: config.diagnosis.clone(),
        sources,
        owners: owners.unwrap_or_default(),
        reverse_dns: reverse_dns(&config.reverse_dns),
        sampling: config.baseline.clone(),
        mitigations: config.mitigations.clone(),
    })
}

/// Who gives names to addresses. They are an ornament: without them everything else goes on.
fn reverse_dns(config: &config::ReverseDns) -> Option<ReverseDns> {
    let settings = ReverseDnsSettings {
        servers: config.servers.clone(),
        timeout: config.timeout,
        cache_ttl: config.cache_ttl,
    };
    let made = config.enabled.then(|| ReverseDns::new(settings))?;
    made.inspect_err(|error| warn!("addresses are shown without names: {error}")).ok()
}

/// The rules of the lifecycle that a configuration asks for.
fn rules(config: &Config) -> IncidentRules {
    let incidents = &config.incidents;
    let thresholds = config.clusters.iter().flat_map(|cluster| {
        let of_cluster =
            |(alert, connections): (&String, &u64)| ((cluster.name.clone(), alert.clone()), *connections);
        cluster.thresholds.iter().map(of_cluster)
    });
    IncidentRules {
        reopen_window: incidents.reopen_window,
        stale_timeout: incidents.stale_timeout,
        verify_interval: incidents.verify_interval,
        connection_alerts: incidents.connection_alerts.iter().cloned().collect(),
        thresholds: thresholds.collect(),
        alertmanager_can_be_asked: !config.alertmanagers.is_empty(),
    }
}

/// A key that nobody else has.
///
/// # Errors
///
/// The operating system has no randomness to give.
pub fn random_key() -> anyhow::Result<[u8; 32]> {
    let mut key = [0; 32];
    SystemRandom::new()
        .fill(&mut key)
        .map_err(|_| anyhow::anyhow!("the operating system gives no randomness"))?;
    Ok(key)
}

fn evidence(cluster: &config::Cluster, limits: Limits) -> EvidenceSources {
    let logs = cluster.logs.iter().cloned().map(|source| match source {
        LogSource::File { path, server } => LogReader::File { path, server },
        LogSource::Loki { endpoint, query } => {
            LogReader::Loki { client: LokiClient::new(endpoint, limits), query }
        }
    });
    EvidenceSources {
        metric_prefix: cluster.metric_prefix.clone(),
        account_limits: cluster.account_limits.clone(),
        logs: logs.collect(),
    }
}

/// The mask of users, by a key that is made once per storage directory.
async fn user_mask(store: &Store) -> anyhow::Result<UserMask> {
    let mut tx = store.write().await?;
    let key = match store::settings::find(&mut tx, USER_HASH_KEY).await? {
        Some(text) => from_hex(&text).context("the key is not 64 hexadecimal digits")?,
        None => {
            let key = random_key()?;
            let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            store::settings::insert(&mut tx, USER_HASH_KEY, &text).await?;
            key
        }
    };
    store::commit(tx).await?;
    Ok(UserMask::new(&key))
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, place) in key.iter_mut().zip(0..) {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(key)
}

/// Says the whole chain of a store error: at start there is nobody else to tell.
fn explain(error: store::StoreError) -> anyhow::Error {
    match error {
        error @ (store::StoreError::Directory { .. } | store::StoreError::Damaged { .. }) => {
            anyhow::Error::new(error)
        }
        error => anyhow::Error::new(error).context("opening the store"),
    }
}
