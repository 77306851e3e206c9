//! A sweep: every server of a cluster asked at once, and what each let us see.
//!
//! Where there is a system account, the servers that it shows are asked by it, and who fails there by its monitoring
//! port, if it has one; see `union`.

mod closed;
mod pick;
mod server;
mod sum;
mod union;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;
use url::Url;

use crate::clock::Clock;
use crate::model::application::ApplicationRules;
use crate::model::mapping::KnownServer;
use crate::model::printable::excerpt;
use crate::model::remote_auth::RemoteAuth;
use crate::model::snapshot::{Coverage, Snapshot};
use crate::model::vitals::ServerVitals;
use crate::nats::monitoring::{MonitoringClient, MonitoringError};
use crate::nats::source::{Source, SourceError};
use crate::nats::system::{SystemAccount, SystemCause, SystemError};
use crate::nats::varz::Varz;
use crate::observe::picks::warden_of;
use crate::observe::roster::Roster;
use crate::observe::sweep::closed::ClosedCluster;
use crate::observe::sweep::pick::{Search, SearchResult};
use crate::observe::sweep::server::{ServerSweep, server_name};
use crate::observe::sweep::sum::Sum;
use crate::observe::tally::TallyRules;
use crate::observe::users::UserMask;
use crate::observe::wishes::Wishes;

/// The servers of one cluster, and how to ask them.
#[derive(Debug, Clone)]
pub struct ClusterTargets {
    /// The cluster's configured name.
    pub name: String,
    /// Monitoring URLs.
    pub servers: Vec<Url>,
    /// How the monitoring ports want to be asked.
    pub auth: Option<RemoteAuth>,
    /// The system account, if there is one.
    pub system: Option<SystemAccount>,
    /// The system account as whom connections are cut, if there is one; who reads, unless somebody else is configured.
    pub actor: Option<SystemAccount>,
    /// The servers that have been there.
    pub roster: Roster,
}

impl ClusterTargets {
    /// A cluster whose servers are asked by their monitoring ports.
    pub fn new(name: &str, servers: Vec<Url>, auth: Option<RemoteAuth>) -> Self {
        Self { name: name.to_owned(), servers, auth, system: None, actor: None, roster: Roster::default() }
    }

    /// What tells this connwarden from others in the names of connections, if it has any.
    pub fn instance(&self) -> Option<&str> {
        warden_of(self.system.as_ref()?.name())
    }

    /// Our own connections to servers of the cluster: the nats id of the server, and the number there.
    pub fn own_connections(&self) -> BTreeSet<(String, u64)> {
        [&self.system, &self.actor].into_iter().flatten().filter_map(SystemAccount::own_connection).collect()
    }
}

/// How long it may take to ask for the limits of accounts, in all.
const ACCOUNTS_TIMEOUT: Duration = Duration::from_secs(3);

/// Looks at clusters.
#[derive(Debug, Clone)]
pub struct Observer {
    client: MonitoringClient,
    applications: Arc<ApplicationRules>,
    users: UserMask,
    idle_after: Duration,
    clock: Clock,
}

/// What a sweep counts of each server, and by which rules.
#[derive(Debug, Clone)]
struct Counting {
    rules: TallyRules,
    /// Whether closed connections are counted too.
    closed: bool,
    /// What else is looked for among the open ones.
    search: Option<Search>,
}

impl Observer {
    /// Makes an observer; clones share its connections.
    pub fn new(
        client: MonitoringClient,
        applications: Arc<ApplicationRules>,
        users: UserMask,
        idle_after: Duration,
        clock: Clock,
    ) -> Self {
        Self { client, applications, users, idle_after, clock }
    }

    /// What makes an application of a client's name.
    pub fn applications(&self) -> &Arc<ApplicationRules> {
        &self.applications
    }

    /// Looks at every server of a cluster, and counts what it is wished to tell.
    ///
    /// Always answers: what could not be seen is said in the snapshot's coverage.
    #[tracing::instrument(name = "observe.cluster.sweep", skip_all, fields(cluster = %cluster.name))]
    pub async fn sweep(&self, cluster: &ClusterTargets, wishes: &Wishes) -> Snapshot {
        self.sweep_and_search(cluster, wishes, None).await.0
    }

    /// Looks at every server of a cluster, and searches through the connections on the way.
    async fn sweep_and_search(
        &self,
        cluster: &ClusterTargets,
        wishes: &Wishes,
        search: Option<Search>,
    ) -> (Snapshot, Option<SearchResult>) {
        let (taken_at, stopwatch) = (self.clock.now(), self.clock.stopwatch());
        let rules = TallyRules {
            by: wishes.by.clone(),
            applications: self.applications.clone(),
            users: self.users.clone(),
            idle_after_us: i64::try_from(self.idle_after.as_micros()).unwrap_or(i64::MAX),
            // at a whole second, and not before the look begins
            starts: wishes
                .starts
                .then(|| Timestamp::from_second(taken_at.as_second().saturating_add(1)).unwrap_or(taken_at)),
            hashing: RandomState::new(),
        };
        let closed = wishes.closed.then(|| ClosedCluster::new(&rules, taken_at));
        let counting = Counting { rules, closed: wishes.closed, search };
        let (done, system_error) = match &cluster.system {
            Some(system) => self.sweep_both_ways(cluster, system, &counting).await,
            None => (self.sweep_by_http(cluster, &counting).await, None),
        };
        // of many connections that is milliseconds of work, and what would wait behind it may be a notification
        let summed = tokio::task::spawn_blocking(move || Sum::of(done, closed)).await;
        let sum = summed.expect("summing up does not panic and is not aborted");
        let snapshot = Snapshot {
            cluster: cluster.name.clone(),
            taken_at,
            coverage: Coverage {
                system_error,
                idle_after_ms: Some(millis(self.idle_after)),
                ..Coverage::of(sum.servers, millis(stopwatch.elapsed()))
            },
            breakdowns: sum.breakdowns,
            closed: sum.closed,
        };
        (snapshot, sum.searched)
    }

    /// Asks a server of a cluster what it says of itself: by the system account, where that has shown it, otherwise or
    /// else by its monitoring port.
    ///
    /// # Errors
    ///
    /// No answer, or not the answer of a NATS server.
    pub async fn varz_of(&self, cluster: &ClusterTargets, server: &KnownServer) -> Result<Varz, SourceError> {
        let by_http = server.url.as_ref().map(|url| self.http(cluster, url));
        let by_system = cluster.system.as_ref().and_then(|account| {
            let name = server.server_name.as_deref().or(server.server_id.as_deref())?;
            // by now it may have another id
            let (server, _) = cluster.roster.last_seen(name)?;
            Some(Source::System { account: account.clone(), server })
        });
        match (by_system, by_http) {
            (Some(by_system), Some(by_http)) => match by_system.varz().await {
                Ok(varz) => Ok(varz),
                Err(_) => by_http.varz().await,
            },
            (Some(source), None) | (None, Some(source)) => source.varz().await,
            (None, None) => {
                let name = server.server_name.as_deref().unwrap_or("a server without a name");
                let question = format!("VARZ of {}", excerpt(name));
                let cause = SystemCause::NoResponders("it has not answered a roll call");
                Err(SystemError { question, cause }.into())
            }
        }
    }

    /// Asks the server at a monitoring URL what it says of itself.
    ///
    /// # Errors
    ///
    /// No answer, or not the answer of a NATS server.
    pub async fn varz(&self, server: &Url, auth: Option<&RemoteAuth>) -> Result<Varz, MonitoringError> {
        self.client.varz(server, auth).await
    }

    /// Asks every server of a cluster at once what it says of its configuration, its resources and its counters: by
    /// what the server is called (its URL where it does not say), those with a monitoring URL in the order of the
    /// configuration and then the others. One server under two addresses is told once.
    ///
    /// Two of these some time apart, or one and the vitals of an earlier look, make a
    /// [`Churn`](crate::model::vitals::Churn).
    #[tracing::instrument(name = "observe.cluster.vitals", skip_all, fields(cluster = %cluster.name))]
    pub async fn vitals(&self, cluster: &ClusterTargets) -> Vec<(String, Result<ServerVitals, SourceError>)> {
        let mut told = HashSet::new();
        let first = self.varz_of_all(cluster).await.into_iter().filter(|(_, varz)| {
            varz.as_ref()
                .map_or(true, |varz| varz.server_id.is_empty() || told.insert(varz.server_id.clone()))
        });
        first
            .map(|(place, varz)| (server_name(&place, varz.as_ref().ok()), varz.map(|varz| varz.vitals())))
            .collect()
    }

    /// Asks every server of a cluster at once what it says of itself: by where it is. One server may be there twice.
    pub async fn varz_of_all(&self, cluster: &ClusterTargets) -> Vec<(String, Result<Varz, SourceError>)> {
        match &cluster.system {
            Some(system) => self.varz_both_ways(cluster, system).await,
            None => {
                let first = self.first_answers(cluster).await.into_iter();
                first.map(|(url, first)| (shown(&url), first.varz)).collect()
            }
        }
    }

    /// Asks how many connections accounts may have, each at the first monitoring port that tells; who does not tell is left
    /// out.
    pub async fn account_limits(&self, cluster: &ClusterTargets, accounts: &[&str]) -> BTreeMap<String, u64> {
        let mut asked = JoinSet::new();
        for account in accounts {
            let (observer, account) = (self.clone(), (*account).to_owned());
            let (servers, auth) = (cluster.servers.clone(), cluster.auth.clone());
            asked.spawn(async move {
                for server in &servers {
                    let told = observer.client.account_limit(server, auth.as_ref(), &account).await;
                    if let Ok(Some(limit)) = told {
                        // a negative one is none
                        return u64::try_from(limit).ok().map(|limit| (account, limit));
                    }
                }
                None
            });
        }
        let asked = tokio::time::timeout(ACCOUNTS_TIMEOUT, asked.join_all()).await;
        asked.unwrap_or_default().into_iter().flatten().collect()
    }

    fn http(&self, cluster: &ClusterTargets, url: &Url) -> Source {
        Source::Http { client: self.client.clone(), url: url.clone(), auth: cluster.auth.clone() }
    }

    /// Looks at every server by its monitoring port, in the order of the configuration, so that the same cluster gives
    /// the same document.
    async fn sweep_by_http(&self, cluster: &ClusterTargets, counting: &Counting) -> Vec<ServerSweep> {
        let sources = cluster.servers.iter().map(|url| self.http(cluster, url));
        let sweeps = sources.map(|source| {
            let (observer, counting) = (self.clone(), counting.clone());
            async move { observer.sweep_server(&source, None, &counting).await }
        });
        in_order(sweeps).await
    }
}

/// Waits for all of them, and gives what came of them in their order.
async fn in_order<T: Send + 'static>(
    work: impl Iterator<Item: Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let mut going_on = JoinSet::new();
    for (place, work) in work.enumerate() {
        going_on.spawn(async move { (place, work.await) });
    }
    let mut done = going_on.join_all().await;
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, done)| done).collect()
}

fn shown(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
