//! Which series of a Prometheus are about the servers of an incident, and which of them are of the same server.

use std::collections::BTreeSet;

use crate::model::labels::Labels;
use crate::model::mapping::{is_loopback_address, is_nats_id};
use crate::prometheus::matcher;

/// The label by which the exporter tells servers apart.
const SERVER_ID: &str = "server_id";

/// Of more servers than these all series are asked for.
const MOST_VALUES: usize = 50;

/// How the series of an incident are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    /// The labels that tell servers apart, the most telling first.
    by: Vec<String>,
    /// What the labels of the series must be, the narrowest first.
    matchers: Vec<Vec<(String, BTreeSet<String>)>>,
    /// How many of these ways, of the narrowest, name servers.
    narrow: usize,
}

impl Scope {
    /// Finds series by the labels of the incident's alerts. `server_labels` name a server where `server_id` does not;
    /// `cluster_labels` tell its cluster from others, where the series have them: external labels of a Prometheus are
    /// on alerts and not on its series.
    pub(super) fn of<'a>(
        members: impl IntoIterator<Item = &'a Labels>,
        server_labels: &[String],
        cluster_labels: &[&str],
    ) -> Self {
        let members: Vec<&Labels> = members.into_iter().collect();
        let by: Vec<String> = [SERVER_ID.to_owned()]
            .into_iter()
            .chain(server_labels.iter().filter(|label| is_plain(label) && *label != SERVER_ID).cloned())
            .collect();
        let shared = |label: &str| -> Option<BTreeSet<String>> {
            let values = members.iter().map(|labels| labels.get(label).map(str::to_owned));
            let values = values.collect::<Option<BTreeSet<String>>>()?;
            (1..=MOST_VALUES).contains(&values.len()).then_some(values)
        };
        let lasting = |label: &&String| {
            let telling = |values: BTreeSet<String>| values.iter().all(|value| lasts(label, value));
            shared(label).is_some_and(telling)
        };
        // an id that is new at each start is better than nothing
        let passing = |label: &&String| {
            shared(label).is_some_and(|values| values.iter().all(|value| !is_loopback_address(value)))
        };
        let label = by.iter().find(lasting).or_else(|| by.iter().find(passing));
        let matchers_of = |label: &str| shared(label).map(|values| (label.to_owned(), values));
        let job = matchers_of("job");
        let servers = label.and_then(|label| matchers_of(label));
        let is_free =
            |name: &&&str| is_plain(name) && **name != "job" && Some(**name) != label.map(String::as_str);
        let cluster: Vec<_> =
            cluster_labels.iter().filter(is_free).filter_map(|name| matchers_of(name)).collect();

        let mut matchers: Vec<Vec<(String, BTreeSet<String>)>> = Vec::new();
        let mut add = |parts: Vec<(String, BTreeSet<String>)>| {
            if !matchers.contains(&parts) {
                matchers.push(parts);
            }
            matchers.len()
        };
        let mut narrow = 0;
        if servers.is_some() {
            let own = || servers.clone().into_iter().chain(job.clone());
            add(own().chain(cluster.clone()).collect());
            narrow = add(own().collect());
        }
        add(job.clone().into_iter().chain(cluster).collect());
        add(job.into_iter().collect());
        add(Vec::new());
        Self { by, matchers, narrow }
    }

    /// How many ways there are to find the series, the narrowest first.
    pub(super) fn ways(&self) -> usize {
        self.matchers.len()
    }

    /// Whether a way finds the servers that the alerts name, and not all that there are.
    pub(super) fn is_narrow(&self, way: usize) -> bool {
        way < self.narrow
    }

    /// Writes the selector of a metric's series, by one of the ways.
    pub(super) fn selector(&self, metric: &Metric<'_>, way: usize) -> String {
        let mut parts = Vec::new();
        let name = match metric {
            Metric::One(name) => *name,
            Metric::Any(pattern) => {
                parts.push(matcher("__name__", "=~", pattern));
                ""
            }
        };
        for (label, values) in &self.matchers[way] {
            parts.push(match values.iter().collect::<Vec<_>>().as_slice() {
                [value] => matcher(label, "=", value),
                values => {
                    let values: Vec<String> = values.iter().map(|value| regex::escape(value)).collect();
                    matcher(label, "=~", &values.join("|"))
                }
            });
        }
        format!("{name}{{{}}}", parts.join(","))
    }

    /// The labels that tell servers apart, as `by` takes them.
    pub(super) fn by(&self) -> String {
        self.by.join(", ")
    }

    /// Which server a series is of: the same text means the same one.
    pub(super) fn server_of(&self, labels: &Labels) -> String {
        let present = || {
            self.by.iter().filter_map(|label| {
                let value = labels.get(label).filter(|value| !value.is_empty())?;
                Some((label, value))
            })
        };
        let lasting = present().find(|(label, value)| lasts(label, value));
        let any = || present().next();
        lasting.or_else(any).map_or_else(|| "(unnamed)".to_owned(), |(_, value)| value.to_owned())
    }
}

/// Which metric is meant.
pub(super) enum Metric<'a> {
    /// The one of this name.
    One(&'a str),
    /// Those whose names match this pattern.
    Any(&'a str),
}

/// Whether a label's value tells a server from others, and will after it has been started anew.
fn lasts(label: &str, value: &str) -> bool {
    let is_id = label == SERVER_ID && is_nats_id(value);
    !is_loopback_address(value) && !is_id
}

/// Whether a label's name can be written in `by` by every version.
fn is_plain(label: &str) -> bool {
    label.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "NBIKIDUGV63Z6VLBE6PQS7XNXI2LRC3TPZEFKJTLNX4SMVC2IRKWBWFM";

    fn labels(text: &str) -> Labels {
        text.split_whitespace().map(|pair| pair.split_once('=').unwrap()).collect()
    }

    fn scope(members: &[&str]) -> Scope {
        let members: Vec<Labels> = members.iter().map(|text| labels(text)).collect();
        Scope::of(
            &members,
            &["pod".to_owned(), "instance".to_owned(), "pod.name".to_owned()],
            &["cluster", "namespace", "job", "a.b"],
        )
    }

    fn selectors(members: &[&str]) -> Vec<String> {
        let scope = scope(members);
        (0..scope.ways()).map(|way| scope.selector(&Metric::One("m"), way)).collect()
    }

    #[test]
    fn series_are_found_by_what_lasts_and_all_alerts_have() {
        let cases: [(&[&str], &[&str]); 10] = [
            (
                &["server_id=http://nats-1:8222 instance=nats-1:7777 job=nats"],
                &[r#"m{server_id="http://nats-1:8222",job="nats"}"#, r#"m{job="nats"}"#, "m{}"],
            ),
            (&["server_id=n.1", "server_id=n2"], &[r#"m{server_id=~"n\\.1|n2"}"#, "m{}"]),
            (&["server_id=http://localhost:8222 pod=nats-0"], &[r#"m{pod="nats-0"}"#, "m{}"]),
            (&[&format!("server_id={ID} pod=nats-0")], &[r#"m{pod="nats-0"}"#, "m{}"]),
            (&[&format!("server_id={ID}")], &[&format!(r#"m{{server_id="{ID}"}}"#), "m{}"]),
            (&["server_id=http://localhost:8222"], &["m{}"]),
            (&["server_id=n1 instance=i1", "instance=i2"], &[r#"m{instance=~"i1|i2"}"#, "m{}"]),
            (&["cluster=a"], &[r#"m{cluster="a"}"#, "m{}"]),
            (
                &["pod=n-0 job=nats cluster=a a.b=c namespace=x", "pod=n-0 job=nats cluster=a namespace=y"],
                &[
                    r#"m{pod="n-0",job="nats",cluster="a",namespace=~"x|y"}"#,
                    r#"m{pod="n-0",job="nats"}"#,
                    r#"m{job="nats",cluster="a",namespace=~"x|y"}"#,
                    r#"m{job="nats"}"#,
                    "m{}",
                ],
            ),
            (&[], &["m{}"]),
        ];
        for (members, expected) in cases {
            assert_eq!(selectors(members), expected, "{members:?}");
        }
    }

    #[test]
    fn ways_that_name_servers_are_narrow() {
        let narrow = |members: &[&str]| {
            let scope = scope(members);
            (0..scope.ways()).map(|way| scope.is_narrow(way)).collect::<Vec<_>>()
        };
        assert_eq!(narrow(&["pod=n-0 job=nats cluster=a"]), [true, true, false, false, false]);
        assert_eq!(narrow(&["pod=n-0"]), [true, false]);
        assert_eq!(narrow(&["job=nats"]), [false, false]);
    }

    #[test]
    fn of_very_many_servers_all_series_are_asked_for() {
        let members: Vec<String> = (0..51).map(|number| format!("server_id=n{number} job=nats")).collect();
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        assert_eq!(selectors(&members), [r#"m{job="nats"}"#, "m{}"]);
    }

    #[test]
    fn what_a_stranger_wrote_into_a_label_stays_in_its_quotes() {
        let member: Labels = [("server_id", "a\"} or b{x=\"")].into_iter().collect();
        let other: Labels = [("server_id", "c\\|.*")].into_iter().collect();
        let one = Scope::of([&member], &[], &[]).selector(&Metric::Any("a|b"), 0);
        assert_eq!(one, r#"{__name__=~"a|b",server_id="a\"} or b{x=\""}"#);
        let both = Scope::of([&member, &other], &[], &[]).selector(&Metric::One("m"), 0);
        assert_eq!(both, r#"m{server_id=~"a\"\\} or b\\{x=\"|c\\\\\\|\\.\\*"}"#);
    }

    #[test]
    fn series_of_the_same_server_are_put_together() {
        let scope = scope(&[]);
        assert_eq!(scope.by(), "server_id, pod, instance");
        let cases = [
            ("server_id=http://nats-1:8222 instance=a:1", "http://nats-1:8222"),
            ("server_id=http://localhost:8222 pod=nats-0", "nats-0"),
            (&format!("server_id={ID} pod=nats-0"), "nats-0"),
            (&format!("server_id={ID}"), ID),
            ("server_id=http://localhost:8222", "http://localhost:8222"),
            ("cluster=a", "(unnamed)"),
        ];
        for (series, server) in cases {
            assert_eq!(scope.server_of(&labels(series)), server);
        }
    }
}
