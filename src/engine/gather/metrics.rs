//! What Prometheus knows of the connections of an incident's servers: before, since, yesterday and a week ago.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::scope::{Metric, Scope};
use crate::engine::Engine;
use crate::model::alert::CONNZ_PAGE;
use crate::model::incident::IncidentKey;
use crate::model::labels::Labels;
use crate::model::mapping::{ClusterRoute, KnownServer, MappedBy, map_alert};
use crate::model::matcher::Matchers;
use crate::model::member::Member;
use crate::model::pattern::{
    MOST_SHOWN, MetricsEvidence, MetricsSource, Pattern, Point, Series, ServerMetrics,
};
use crate::model::printable::excerpt;
use crate::model::server::ServerKey;
use crate::prometheus::range::{Range, RangeSeries};
use crate::prometheus::{Answer, PrometheusClient};

/// How long asking may take in all.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much before an incident is looked at, at least. Of a long incident it is as much as it has lasted.
const BEFORE: SignedDuration = SignedDuration::from_hours(3);

/// No further back is looked at.
const FURTHEST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The metrics that count connections, the best first, without their prefix. The last ends at [`CONNZ_PAGE`].
const COUNTS: [&str; 3] = ["connz_total", "varz_connections", PAGE_LENGTH];

const PAGE_LENGTH: &str = "connz_num_connections";

/// The metric that counts the connections that were ever accepted, without its prefix.
const ACCEPTED: &str = "varz_total_connections";

/// The most servers that are told of.
const MOST_SERVERS: usize = 50;

/// The most warnings that are told.
const MOST_WARNINGS: usize = 10;

/// What is asked, of whomever.
struct Question<'a> {
    prefix: &'a str,
    scope: Scope,
    range: Range,
    began_at: Timestamp,
    cluster: String,
    /// All clusters, to be found by their servers only.
    routes: Vec<ClusterRoute>,
    known: Vec<KnownServer>,
}

/// Whose server a series is of, as far as its labels name one.
enum Owner {
    /// The cluster's own, by this key.
    Own(ServerKey),
    /// Another cluster's.
    Other,
    /// Nobody's that is known.
    Unknown,
}

impl Engine {
    /// Asks Prometheus about the connections of an incident's servers, around the time when its alerts began.
    ///
    /// # Errors
    ///
    /// For people: why nobody could say anything.
    #[tracing::instrument(name = "engine.metrics.gather", skip_all, fields(cluster = %cluster))]
    pub async fn gather_metrics<'a>(
        &self,
        cluster: &str,
        members: impl IntoIterator<Item = &'a Member>,
    ) -> Result<MetricsEvidence, String> {
        let sources = self.evidence_sources(cluster)?;
        let clients = &self.0.sources.prometheus;
        if clients.is_empty() {
            return Err("no Prometheus is configured (`prometheus`)".to_owned());
        }
        let route = self.0.routes.iter().find(|route| route.name == cluster);
        let server_labels = route.map(|route| route.server_labels.as_slice()).unwrap_or_default();
        let matchers = route.and_then(|route| route.matchers.as_ref());
        let mut cluster_labels = vec!["cluster", "namespace"];
        for matcher in matchers.into_iter().flat_map(Matchers::iter) {
            if !cluster_labels.contains(&matcher.name()) {
                cluster_labels.push(matcher.name());
            }
        }
        let members: Vec<&Member> = members.into_iter().collect();
        let now = self.0.clock.now();
        let began_at = members.iter().map(|member| member.alert.starts_at).min().unwrap_or(now).min(now);
        let labels = members.iter().map(|member| &member.alert.labels);
        let unmatched = |route: &ClusterRoute| ClusterRoute { matchers: None, ..route.clone() };
        let question = Question {
            prefix: &sources.metric_prefix,
            scope: Scope::of(labels, server_labels, &cluster_labels),
            range: around(began_at, now),
            began_at,
            cluster: cluster.to_owned(),
            routes: self.0.routes.iter().map(unmatched).collect(),
            known: self.known_servers(),
        };

        let patience = PATIENCE / u32::try_from(clients.len()).unwrap_or(u32::MAX).max(1);
        let mut failures = Vec::new();
        for client in clients {
            let who = shown(client);
            match question.ask(client, patience).await {
                Ok(Some(evidence)) => return Ok(question.with_warnings(evidence, failures)),
                Ok(None) => failures.push(format!("{who} has no series of {}", question.metrics())),
                Err(error) => failures.push(error),
            }
        }
        Err(failures.join("; "))
    }
}

/// The time to look at: as much before the incident as it has lasted, within bounds.
fn around(began_at: Timestamp, now: Timestamp) -> Range {
    let lasted = now.duration_since(began_at).max(SignedDuration::ZERO);
    let from = began_at.checked_sub(lasted.max(BEFORE)).unwrap_or(began_at);
    let furthest = now.checked_sub(FURTHEST).unwrap_or(now);
    Range::covering(from.max(furthest), now)
}

fn shown(client: &PrometheusClient) -> String {
    client.url().as_str().trim_end_matches('/').to_owned()
}

/// The series of each server, and what its labels are.
type Servers = BTreeMap<String, (Labels, Series)>;

impl Question<'_> {
    /// Asks one Prometheus; `None` if it knows none of the metrics.
    async fn ask(
        &self,
        client: &PrometheusClient,
        patience: Duration,
    ) -> Result<Option<MetricsEvidence>, String> {
        let counted = async {
            for way in 0..self.scope.ways() {
                let answer = client.query_range(&self.counts(way), self.range).await;
                let answer = answer.map_err(|error| error.to_string())?;
                let mut warnings = answer.warnings;
                let series = self.own(answer.result, way, &mut warnings);
                if let Some((metric, servers)) = self.best(series) {
                    return Ok::<_, String>(Some((way, metric, servers, warnings)));
                }
            }
            Ok(None)
        };
        // the rest is for what else is good to know
        let most = patience.mul_f64(0.6);
        let late =
            || format!("{} did not say within {most:?} how many connections there were", shown(client));
        let counted = tokio::time::timeout(most, counted).await.map_err(|_| late())??;
        let Some((way, metric, servers, mut warnings)) = counted else { return Ok(None) };

        let (day, week, accepted) = tokio::join!(
            self.more(client, patience - most, "yesterday", self.count(&metric, way, Some("1d"))),
            self.more(client, patience - most, "a week ago", self.count(&metric, way, Some("1w"))),
            self.more(client, patience - most, "new connections", self.accepted(way)),
        );
        let mut more = [day, week, accepted].map(|answer| {
            warnings.extend(answer.warnings);
            answer.result
        });
        let [day, week, accepted] = &mut more;
        let (day, week, accepted) = (self.servers(day), self.servers(week), self.servers(accepted));

        let page = metric.ends_with(PAGE_LENGTH);
        let saturated = page
            && servers
                .values()
                .any(|(_, series)| series.points().last().is_some_and(|point| point.value >= CONNZ_PAGE));
        let mut listed: Vec<ServerMetrics> = servers
            .iter()
            .map(|(server, (labels, series))| {
                let of = |servers: &Servers| servers.get(server).map(|(_, series)| series.clone());
                self.server(server, labels, series, [of(&day), of(&week)], of(&accepted))
            })
            .collect();
        listed.sort_by(|one, other| size(other).total_cmp(&size(one)));
        let more_servers = listed.len().saturating_sub(MOST_SERVERS) as u64;
        listed.truncate(MOST_SERVERS);
        Ok(Some(MetricsEvidence {
            source: MetricsSource {
                prometheus: shown(client),
                expression: self.count(&metric, way, None),
                metric,
            },
            from: self.range.from,
            to: self.range.to,
            step_seconds: self.range.step.as_secs(),
            servers: listed,
            more_servers,
            warnings,
            saturated,
        }))
    }

    /// Asks for what is good to know and can be done without.
    async fn more(
        &self,
        client: &PrometheusClient,
        patience: Duration,
        what: &str,
        expression: String,
    ) -> Answer<Vec<RangeSeries>> {
        let warn = |text: String| format!("{what}: {text}");
        match tokio::time::timeout(patience, client.query_range(&expression, self.range)).await {
            Ok(Ok(Answer { result, warnings })) => {
                Answer { result, warnings: warnings.into_iter().map(warn).collect() }
            }
            Ok(Err(error)) => Answer { result: Vec::new(), warnings: vec![warn(error.to_string())] },
            Err(_) => {
                Answer { result: Vec::new(), warnings: vec![warn(format!("no answer within {patience:?}"))] }
            }
        }
    }

    fn server(
        &self,
        server: &str,
        labels: &Labels,
        series: &Series,
        earlier: [Option<Series>; 2],
        accepted: Option<Series>,
    ) -> ServerMetrics {
        // what is scraped may be written down a little later
        let recent = (series.step() * 3).max(Duration::from_secs(120));
        let last = |series: &Series| series.last_since(self.range.to, recent).map(|point| point.value);
        let then = |series: &Option<Series>| series.as_ref()?.value_near(self.range.to);
        let [yesterday, last_week] = &earlier;
        let (yesterday, last_week) = (then(yesterday), then(last_week));
        let earlier: Vec<Series> = earlier.into_iter().flatten().collect();
        ServerMetrics {
            server: excerpt(server),
            url: match self.owner(labels) {
                Owner::Own(key) => key.url().cloned(),
                Owner::Other | Owner::Unknown => None,
            },
            pattern: Pattern::of(series, &earlier),
            now: last(series),
            before: series.median_before(self.began_at),
            yesterday,
            last_week,
            new_per_minute: accepted.as_ref().and_then(last),
            usual_new_per_minute: accepted.as_ref().and_then(|series| series.median_before(self.began_at)),
            missing_share: series.missing_share(self.range.from, self.range.to),
            points: series.thinned(MOST_SHOWN),
        }
    }

    /// Whose server a series is of.
    fn owner(&self, labels: &Labels) -> Owner {
        let mapping = map_alert(labels, &self.routes, &self.known);
        match (mapping.key, mapping.server) {
            (IncidentKey::Cluster { cluster, mapped_by: MappedBy::Server, .. }, Some(server)) => {
                if cluster == self.cluster { Owner::Own(server.key) } else { Owner::Other }
            }
            _ => Owner::Unknown,
        }
    }

    /// Leaves out the series of other clusters' servers, where not the alerts themselves say whose they are: those of known
    /// servers of this cluster, if there are any, or else those that are nobody's.
    fn own(&self, series: Vec<RangeSeries>, way: usize, warnings: &mut Vec<String>) -> Vec<RangeSeries> {
        if self.scope.is_narrow(way) {
            return series;
        }
        let (mut own, mut unknown) = (Vec::new(), Vec::new());
        for series in series {
            match self.owner(&series.labels) {
                Owner::Own(_) => own.push(series),
                Owner::Unknown => unknown.push(series),
                Owner::Other => {}
            }
        }
        if !own.is_empty() {
            return own;
        }
        if !unknown.is_empty() && self.routes.len() > 1 {
            warnings.push(format!(
                "no series names a known server of cluster `{}`, so these may be another cluster's",
                self.cluster
            ));
        }
        unknown
    }

    /// Of the metrics that count connections the one that knows the most servers; of equals the best one.
    fn best(&self, series: Vec<RangeSeries>) -> Option<(String, Servers)> {
        let mut by_metric: BTreeMap<usize, Vec<RangeSeries>> = BTreeMap::new();
        for series in series {
            let name = series.labels.get("__name__").unwrap_or_default();
            let place = COUNTS.iter().position(|metric| name == self.name(metric));
            if let Some(place) = place.filter(|_| !series.series.points().is_empty()) {
                by_metric.entry(place).or_default().push(series);
            }
        }
        let servers = by_metric.into_iter().map(|(place, mut series)| (place, self.servers(&mut series)));
        let best = servers.max_by_key(|(place, servers)| (servers.len(), std::cmp::Reverse(*place)));
        best.map(|(place, servers)| (self.name(COUNTS[place]), servers))
    }

    /// Puts series of the same server together: at each instant the largest counts.
    fn servers(&self, series: &mut Vec<RangeSeries>) -> Servers {
        let mut servers: BTreeMap<String, (Labels, Vec<Point>)> = BTreeMap::new();
        for RangeSeries { labels, series } in series.drain(..) {
            let points = series.points();
            match servers.entry(self.scope.server_of(&labels)) {
                std::collections::btree_map::Entry::Vacant(place) => {
                    place.insert((labels, points.to_vec()));
                }
                std::collections::btree_map::Entry::Occupied(mut place) => {
                    let (known, all) = place.get_mut();
                    // the labels of the newest series: a nats id is another one after a restart
                    if all.last().map(|point| point.at) < points.last().map(|point| point.at) {
                        *known = labels;
                    }
                    all.extend(points);
                }
            }
        }
        let step = self.range.step;
        let merged = servers.into_iter();
        merged.map(|(server, (labels, points))| (server, (labels, Series::new(points, step)))).collect()
    }

    fn name(&self, metric: &str) -> String {
        format!("{}_{metric}", self.prefix)
    }

    /// The metrics that count connections, for people.
    fn metrics(&self) -> String {
        COUNTS.map(|metric| self.name(metric)).join(", ")
    }

    /// All metrics that count connections, told apart.
    fn counts(&self, way: usize) -> String {
        let pattern = format!("{}_({})", self.prefix, COUNTS.join("|"));
        let selector = self.scope.selector(&Metric::Any(&pattern), way);
        format!("max by (__name__, {}) ({selector})", self.scope.by())
    }

    /// One metric that counts connections, as it is now or was so long ago.
    fn count(&self, metric: &str, way: usize, ago: Option<&str>) -> String {
        let selector = self.scope.selector(&Metric::One(metric), way);
        let offset = ago.map(|ago| format!(" offset {ago}")).unwrap_or_default();
        format!("max by ({}) ({selector}{offset})", self.scope.by())
    }

    /// How many connections are accepted a minute.
    fn accepted(&self, way: usize) -> String {
        let selector = self.scope.selector(&Metric::One(&self.name(ACCEPTED)), way);
        // four scrapes at least, where one is made each minute
        let over = self.range.step.as_secs().max(300);
        format!("max by ({}) (rate({selector}[{over}s])) * 60", self.scope.by())
    }

    fn with_warnings(&self, mut evidence: MetricsEvidence, failures: Vec<String>) -> MetricsEvidence {
        evidence.warnings.splice(0..0, failures);
        evidence.warnings.truncate(MOST_WARNINGS);
        evidence
    }
}

/// By what servers are ordered.
fn size(server: &ServerMetrics) -> f64 {
    server.now.or_else(|| server.points.last().map(|point| point.value)).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn of_a_long_incident_more_is_looked_at() {
        let now = at("2026-11-24T12:00:00Z");
        let cases = [
            ("2026-11-24T11:58:00Z", "2026-11-24T08:58:00Z", 30),
            ("2026-11-24T13:00:00Z", "2026-11-24T09:00:00Z", 15),
            ("2026-11-24T06:00:00Z", "2026-11-24T00:00:00Z", 60),
            ("2026-11-23T12:00:00Z", "2026-11-22T12:00:00Z", 300),
            ("2026-11-01T12:00:00Z", "2026-11-17T12:00:00Z", 900),
        ];
        for (began_at, from, step) in cases {
            let range = around(at(began_at).min(now), now);
            assert_eq!((range.from, range.to, range.step.as_secs()), (at(from), now, step), "{began_at}");
        }
    }
}
