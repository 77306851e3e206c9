//! Thresholds: from how many connections of one server on an alert holds, so that its end can be checked.
//!
//! A threshold comes from the configuration, else from the alert's own expression, which Prometheus puts into
//! `generatorURL`; only a simple comparison of a count of connections is read, everything else is unknown. Each server
//! is compared by itself: the sum of a cluster means nothing to a rule about one server.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

/// From how many connections of one server on an alert holds.
#[derive(Debug, Clone, Copy)]
pub struct Threshold {
    /// The alert holds while a server has more connections than this; finite.
    pub connections: f64,
}

impl PartialEq for Threshold {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Threshold {}

impl PartialOrd for Threshold {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Threshold {
    fn cmp(&self, other: &Self) -> Ordering {
        self.connections.total_cmp(&other.connections)
    }
}

/// What a look at NATS says about the end of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every server is clearly below the threshold.
    Below,
    /// No server is above the threshold, but one is too near to it to be sure.
    Near,
    /// At least one server is above the threshold.
    Above,
}

/// How far below the threshold a server must be to be clearly below it, as a share of the threshold.
const CLEARLY_BELOW: f64 = 0.95;

/// Metrics of prometheus-nats-exporter that count the connections of one server, behind their prefix.
const CONNECTION_METRICS: [&str; 3] = ["_connz_num_connections", "_connz_total", "_varz_connections"];

impl Threshold {
    /// The threshold of a configuration.
    pub fn configured(connections: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "no server has 2^52 connections")]
        Self { connections: connections as f64 }
    }

    /// Reads the threshold in the expression that a `generatorURL` leads to: `…_connections{…} > 1000` and the like.
    pub fn from_generator_url(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let (_, expression) = url.query_pairs().find(|(name, _)| name == "g0.expr")?;
        read_comparison(&expression).map(|connections| Self { connections })
    }

    /// Compares the connections of one server.
    pub fn judge(&self, connections: u64) -> Verdict {
        #[expect(clippy::cast_precision_loss, reason = "no server has 2^52 connections")]
        let connections = connections as f64;
        if connections > self.connections {
            Verdict::Above
        } else if connections <= self.connections * CLEARLY_BELOW {
            Verdict::Below
        } else {
            Verdict::Near
        }
    }
}

impl Verdict {
    const ALL: [Self; 3] = [Self::Below, Self::Near, Self::Above];

    /// The verdict as it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Below => "below",
            Self::Near => "near",
            Self::Above => "above",
        }
    }

    /// Reads what [`Verdict::name`] wrote.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.name() == name)
    }
}

/// Reads `<count of connections> > <number>`; with `>=` the alert holds from the number itself on.
fn read_comparison(expression: &str) -> Option<f64> {
    let (metric, rest) = expression.split_once('>')?;
    let (or_equal, number) = rest.strip_prefix('=').map_or((false, rest), |rest| (true, rest));
    let number: f64 = number.trim().parse().ok()?;
    let metric = metric.trim();
    let name = match metric.split_once('{') {
        // what the selector selects does not matter, but it must be all there is
        Some((name, selector)) => selector.find('}').filter(|end| end + 1 == selector.len()).map(|_| name)?,
        None => metric,
    };
    let name = name.trim_end();
    let is_plain = name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    let counts = CONNECTION_METRICS.iter().any(|suffix| name.ends_with(suffix));
    let sound = number.is_finite() && number >= 0.0;
    (is_plain && counts && sound).then_some(if or_equal { (number - 1.0).max(0.0) } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_simple_comparison_of_connections_is_read() {
        let cases = [
            ("gnatsd_connz_num_connections > 1000", Some(1000.0)),
            ("gnatsd_connz_num_connections>1e3", Some(1000.0)),
            ("nats_varz_connections{job=\"nats\"} >= 500", Some(499.0)),
            ("gnatsd_connz_total { server_id=~\"n.*\" } > 2000.5", Some(2000.5)),
            ("sum(gnatsd_varz_connections) > 1000", None),
            ("rate(gnatsd_varz_total_connections[5m]) > 10", None),
            ("gnatsd_varz_connections / gnatsd_varz_max_connections > 0.9", None),
            ("gnatsd_varz_connections > 1000 and up == 1", None),
            ("gnatsd_varz_connections > bool 1000", None),
            ("gnatsd_varz_connections > gnatsd_varz_max_connections", None),
            ("gnatsd_varz_connections{a=\"}\"} + x{} > 5", None),
            ("gnatsd_varz_connections < 5", None),
            ("gnatsd_varz_slow_consumers > 5", None),
            ("gnatsd_varz_connections > NaN", None),
            ("gnatsd_varz_connections > -1", None),
            ("", None),
        ];
        for (expression, expected) in cases {
            let mut url = Url::parse("http://prometheus.example:9090/graph?g0.tab=1").unwrap();
            url.query_pairs_mut().append_pair("g0.expr", expression);
            let read = Threshold::from_generator_url(url.as_str());
            assert_eq!(read.map(|threshold| threshold.connections), expected, "{expression}");
        }
        assert_eq!(Threshold::from_generator_url(""), None);
        assert_eq!(Threshold::from_generator_url("http://grafana.example/alerting/x"), None);
    }

    #[test]
    fn a_server_must_be_clearly_below_the_threshold() {
        let threshold = Threshold::configured(1000);
        for (connections, verdict) in [
            (0, Verdict::Below),
            (950, Verdict::Below),
            (951, Verdict::Near),
            (1000, Verdict::Near),
            (1001, Verdict::Above),
        ] {
            assert_eq!(threshold.judge(connections), verdict, "{connections}");
            assert_eq!(Verdict::from_name(verdict.name()), Some(verdict));
        }
    }
}
