//! Which servers a cluster has, and by which way each of them is looked at.
//!
//! The system account shows the servers that answer and tells which are missing; the configuration lists monitoring
//! URLs. They are matched by nats id. Both ways are begun at once. A server that fails by the system account is asked
//! for its connections by its monitoring port, and one that the system account does not show is asked there anyway.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Semaphore;
use url::Url;

use super::server::{FirstAnswer, ServerSweep};
use super::{ClusterTargets, Counting, Observer, in_order, shown};
use crate::model::printable::excerpt;
use crate::model::snapshot::ServerCoverage;
use crate::nats::source::{Source, SourceError};
use crate::nats::system::{RollCall, ServerRef, SystemAccount, SystemError};
use crate::nats::varz::Varz;
use crate::observe::roster::Roster;

/// How many servers list their connections by the system account at the same time: each list is held in memory, packed.
const MOST_LISTS: usize = 8;

/// What the system account has shown.
struct BySystem {
    /// The servers that answered, each with what it let us see.
    shown: Vec<(ServerRef, ServerSweep)>,
    /// The others.
    missing: Vec<Missing>,
}

/// A server that should be there.
struct Missing {
    server: ServerRef,
    why: String,
}

impl Observer {
    /// Asks which servers of a cluster there are, and remembers them.
    ///
    /// # Errors
    ///
    /// The system account shows none.
    pub async fn roll_call(
        &self,
        cluster: &ClusterTargets,
        system: &SystemAccount,
    ) -> Result<RollCall, SystemError> {
        if let Some(actor) = &cluster.actor {
            actor.open().await;
        }
        let call = system.roll_call(&cluster.roster.expected()).await?;
        cluster.roster.note_call(&call, self.clock.now());
        Ok(call)
    }

    /// Looks at every server by the system account, and by monitoring ports what that does not show; also says why it
    /// does not show anything.
    pub(super) async fn sweep_both_ways(
        &self,
        cluster: &ClusterTargets,
        system: &SystemAccount,
        counting: &Counting,
    ) -> (Vec<ServerSweep>, Option<String>) {
        let (by_system, first_answers) =
            tokio::join!(self.sweep_by_system(cluster, system, counting), self.first_answers(cluster));
        let (by_system, system_error) = match by_system {
            Ok(by_system) => (by_system, None),
            Err(error) => (BySystem::blind(&cluster.roster), Some(error.to_string())),
        };
        let BySystem { mut shown, mut missing } = by_system;
        let mut placed = Vec::with_capacity(first_answers.len());
        for (url, first) in first_answers {
            let own = self.who_is_at(&url, &first, &cluster.roster);
            let is_own = |server: &ServerRef| own.as_ref().is_some_and(|own| own.id == server.id);
            let shown = shown.iter().position(|(server, _)| is_own(server)).map(|place| shown.remove(place));
            let sweep = shown.map(|(_, mut sweep)| {
                sweep.coverage.url = Some(url.clone());
                sweep
            });
            // by another id, it is still the same server
            let is_place =
                |missing: &Missing| own.as_ref().is_some_and(|own| own.name == missing.server.name);
            let why = missing.iter().position(is_place).map(|place| missing.remove(place).why);
            placed.push((url, first, sweep, why));
        }
        let placed = placed.into_iter().map(|(url, first, sweep, why)| {
            let (observer, counting, source) = (self.clone(), counting.clone(), self.http(cluster, &url));
            async move {
                match sweep {
                    Some(sweep) if sweep.coverage.error.is_none() => sweep,
                    Some(sweep) => {
                        better(sweep, observer.sweep_server(&source, Some(first), &counting).await)
                    }
                    None => with_reason(observer.sweep_server(&source, Some(first), &counting).await, why),
                }
            }
        });
        let mut sweeps = in_order(placed).await;
        let mut others: Vec<ServerSweep> = shown.into_iter().map(|(_, sweep)| sweep).collect();
        others.extend(missing.into_iter().map(Missing::into_sweep));
        others.sort_by(|one, other| one.coverage.name.cmp(&other.coverage.name));
        sweeps.extend(others);
        (sweeps, system_error)
    }

    async fn sweep_by_system(
        &self,
        cluster: &ClusterTargets,
        system: &SystemAccount,
        counting: &Counting,
    ) -> Result<BySystem, SystemError> {
        let expected = cluster.roster.expected();
        let call = self.roll_call(cluster, system).await?;
        let missing = missing(&call, &expected, &cluster.roster);
        let lists = Arc::new(Semaphore::new(MOST_LISTS));
        let looks = call.servers.into_values().map(|server| {
            let (observer, counting, lists) = (self.clone(), counting.clone(), lists.clone());
            let source = Source::System { account: system.clone(), server: server.clone() };
            async move {
                let _permit = lists.acquire().await;
                (server, observer.sweep_server(&source, None, &counting).await)
            }
        });
        Ok(BySystem { shown: in_order(looks).await, missing })
    }

    /// Asks which servers of a cluster there are, and each of them what it says of itself.
    ///
    /// # Errors
    ///
    /// The system account shows none.
    pub async fn varz_by_system(
        &self,
        cluster: &ClusterTargets,
        system: &SystemAccount,
    ) -> Result<Vec<(ServerRef, Result<Varz, SourceError>)>, SystemError> {
        let call = self.roll_call(cluster, system).await?;
        let asked = call.servers.into_values().map(|server| {
            let source = Source::System { account: system.clone(), server: server.clone() };
            async move { (server, source.varz().await) }
        });
        Ok(in_order(asked).await)
    }

    /// Asks every server by both ways what it says of itself: by what it is known, those with a monitoring URL first.
    pub(super) async fn varz_both_ways(
        &self,
        cluster: &ClusterTargets,
        system: &SystemAccount,
    ) -> Vec<(String, Result<Varz, SourceError>)> {
        let (by_system, first_answers) =
            tokio::join!(self.varz_by_system(cluster, system), self.first_answers(cluster));
        let (mut shown_by_system, mut failure) = match by_system {
            Ok(answers) => (answers, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let mut answers = Vec::new();
        for (url, first) in first_answers {
            let own = self.who_is_at(&url, &first, &cluster.roster);
            let is_own = |server: &ServerRef| own.as_ref().is_some_and(|own| own.id == server.id);
            let place = shown_by_system.iter().position(|(server, _)| is_own(server));
            let by_system = place.map(|place| shown_by_system.remove(place));
            let varz = match (first.varz, by_system) {
                (Err(_), Some((_, by_system))) => by_system,
                (by_http, _) => by_http,
            };
            answers.push((shown(&url), varz));
        }
        answers.extend(shown_by_system.into_iter().map(|(server, varz)| (server.name, varz)));
        if let Some(error) = failure.take().filter(|_| answers.is_empty()) {
            answers.push(("the system account".to_owned(), Err(error.into())));
        }
        answers
    }

    /// Asks at every monitoring URL who is there. Also keeps a connection to each of them alive.
    pub(super) async fn first_answers(&self, cluster: &ClusterTargets) -> Vec<(Url, FirstAnswer)> {
        let asked = cluster.servers.iter().map(|url| {
            let (observer, source, url) = (self.clone(), self.http(cluster, url), url.clone());
            async move { (url, observer.first_answer(&source).await) }
        });
        in_order(asked).await
    }

    /// Who is at a monitoring URL: by its own word, else as far as is remembered.
    fn who_is_at(&self, url: &Url, first: &FirstAnswer, roster: &Roster) -> Option<ServerRef> {
        match &first.varz {
            Ok(varz) => {
                let server = ServerRef { id: varz.server_id.clone(), name: varz.server_name.clone() };
                roster.note_place(url, server.clone());
                Some(server)
            }
            Err(_) => {
                let was = roster.at(url)?;
                // since then it may have started anew
                Some(roster.last_seen(&was.name).map_or(was, |(server, _)| server))
            }
        }
    }
}

impl BySystem {
    /// What is left where the system account shows nothing: those who have been there.
    fn blind(roster: &Roster) -> Self {
        let why = "the system account, which had shown it, cannot be asked";
        let missing = roster.servers().into_iter().map(|server| Missing { server, why: why.to_owned() });
        Self { shown: Vec::new(), missing: missing.collect() }
    }
}

impl Missing {
    fn into_sweep(self) -> ServerSweep {
        let Self { server, why } = self;
        let error = format!("{}: {why}", excerpt(&server.name));
        let id = Some(server.id).filter(|id| !id.is_empty());
        ServerSweep {
            coverage: ServerCoverage::unseen(server.name, id, error),
            tally: None,
            closed: None,
            searched: None,
        }
    }
}

/// Who has not answered a roll call, and what is known of each.
fn missing(call: &RollCall, expected: &BTreeSet<String>, roster: &Roster) -> Vec<Missing> {
    let missing = call.missing(expected).into_iter().map(|name| {
        let last_seen = roster.last_seen(name);
        let seen = match &last_seen {
            Some((_, at)) => format!("last there at {}", at.strftime("%Y-%m-%dT%H:%M:%SZ")),
            None => "not there since this connwarden has started".to_owned(),
        };
        let routes = if call.neighbours.contains(name) {
            "its neighbours still have routes to it: it hangs, or has stopped only just now"
        } else {
            "no server that answered has a route to it: it has stopped, or is cut off"
        };
        let why =
            format!("no answer to PING over the system account within {:?}; {routes}; {seen}", call.patience);
        let unknown = || ServerRef { id: String::new(), name: name.to_owned() };
        Missing { server: last_seen.map_or_else(unknown, |(server, _)| server), why }
    });
    missing.collect()
}

/// The one of two looks at the same server that saw more; what went wrong with both of them is told, if anything is
/// missing.
fn better(by_system: ServerSweep, by_http: ServerSweep) -> ServerSweep {
    if by_http.coverage.error.is_none() {
        return by_http;
    }
    let errors = [&by_system, &by_http].map(|sweep| sweep.coverage.error.as_deref().unwrap_or_default());
    let error = Some(errors.join("; "));
    let is_more = |one: &ServerCoverage, other: &ServerCoverage| {
        (one.seen, one.total().is_some()) > (other.seen, other.total().is_some())
    };
    let mut better = if is_more(&by_http.coverage, &by_system.coverage) { by_http } else { by_system };
    better.coverage.error = error;
    better
}

/// Adds why the system account does not show a server, if it is missed anyway.
fn with_reason(mut sweep: ServerSweep, why: Option<String>) -> ServerSweep {
    if let (Some(error), Some(why)) = (&mut sweep.coverage.error, why) {
        error.push_str("; ");
        error.push_str(&why);
    }
    sweep
}
