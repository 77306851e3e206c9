//! What Prometheus says about alerts that no Alertmanager lists any more.

use crate::engine::reconcile::census::shown;
use crate::model::labels::Labels;
use crate::model::printable::excerpt;
use crate::prometheus::{PrometheusClient, RuleAlert, RuleState};

/// The targets that cannot be scraped: what is known of them is old.
const DOWN: &str = "up == 0";

/// What every configured Prometheus says.
#[derive(Debug, Default)]
pub(in crate::engine) struct Testimony {
    /// The alerts that fire or are about to, and who says so.
    alerts: Vec<(RuleAlert, String)>,
    /// The targets that are down, and who says so.
    down: Vec<(Labels, String)>,
    /// Why something may be missing; empty if nothing can be.
    doubts: Vec<String>,
    /// Whom was asked.
    asked: Vec<String>,
}

impl Testimony {
    /// Asks them all.
    pub(in crate::engine) async fn hear(prometheus: &[PrometheusClient]) -> Self {
        let mut testimony = Self::default();
        // one after the other: there are few, and they are asked only where an alert has gone without a word
        for client in prometheus {
            let who = shown(client.url());
            testimony.asked.push(who.clone());
            match client.alerts().await {
                Ok(answer) => {
                    let alerts = answer.result.into_iter().filter(|alert| alert.state != RuleState::Inactive);
                    testimony.alerts.extend(alerts.map(|alert| (alert, who.clone())));
                    testimony.doubts.extend(answer.warnings.into_iter().map(|text| format!("{who}: {text}")));
                }
                Err(error) => testimony.doubts.push(error.to_string()),
            }
            match client.query(DOWN).await {
                Ok(answer) => {
                    let down = answer.result.into_iter().map(|sample| (sample.labels, who.clone()));
                    testimony.down.extend(down);
                    testimony.doubts.extend(answer.warnings.into_iter().map(|text| format!("{who}: {text}")));
                }
                Err(error) => testimony.doubts.push(error.to_string()),
            }
        }
        testimony
    }

    /// Why an alert that no Alertmanager lists may not be over; `None` if nothing speaks against it.
    pub(in crate::engine) fn objects(&self, labels: &Labels) -> Option<String> {
        let fires = self.alerts.iter().find(|(alert, _)| alert.labels.is_subset_of(labels));
        if let Some((alert, who)) = fires {
            let what = if alert.state == RuleState::Firing { "fires" } else { "is about to fire" };
            return Some(format!("{who} says that it {what}"));
        }
        let same = |target: &Labels, name| target.get(name).is_some() && target.get(name) == labels.get(name);
        let down = self.down.iter().find(|(target, _)| same(target, "job") && same(target, "instance"));
        if let Some((target, who)) = down {
            let instance = excerpt(target.get("instance").unwrap_or_default());
            return Some(format!("{who} cannot scrape {instance}"));
        }
        self.doubts.first().cloned()
    }

    /// Whether a Prometheus says that the alert fires.
    pub(in crate::engine) fn confirms(&self, labels: &Labels) -> bool {
        let mut firing = self.alerts.iter().filter(|(alert, _)| alert.state == RuleState::Firing);
        firing.any(|(alert, _)| alert.labels.is_subset_of(labels))
    }

    /// Whom was asked, for people; empty if nobody was.
    pub(in crate::engine) fn asked(&self) -> String {
        self.asked.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().copied().collect()
    }

    fn testimony(alerts: &[(&[(&str, &str)], RuleState)]) -> Testimony {
        let alerts = alerts.iter().map(|(pairs, state)| {
            let alert = RuleAlert { labels: labels(pairs), state: *state, active_at: None, value: None };
            (alert, "http://p:9090".to_owned())
        });
        Testimony { alerts: alerts.collect(), ..Testimony::default() }
    }

    #[test]
    fn an_alert_is_the_same_although_external_labels_are_missing() {
        use RuleState::{Firing, Pending};
        let member = labels(&[("alertname", "A"), ("instance", "n1"), ("replica", "a")]);
        let own: &[(&str, &str)] = &[("alertname", "A"), ("instance", "n1")];
        let others: &[(&str, &str)] = &[("alertname", "A"), ("instance", "n2")];
        let more: &[(&str, &str)] = &[("alertname", "A"), ("instance", "n1"), ("pod", "p")];
        // (what Prometheus has, whether it objects, whether it confirms)
        for (alerts, objects, confirms) in [
            (vec![(own, Firing)], Some("http://p:9090 says that it fires"), true),
            (vec![(own, Pending)], Some("http://p:9090 says that it is about to fire"), false),
            (vec![(others, Firing), (more, Firing)], None, false),
            (vec![], None, false),
        ] {
            let testimony = testimony(&alerts);
            assert_eq!(testimony.objects(&member).as_deref(), objects);
            assert_eq!(testimony.confirms(&member), confirms);
        }
    }

    #[test]
    fn what_cannot_be_scraped_or_asked_for_proves_nothing() {
        let member = labels(&[("alertname", "A"), ("job", "nats"), ("instance", "n1")]);
        let target = |instance| labels(&[("job", "nats"), ("instance", instance)]);
        let mut testimony = testimony(&[]);
        testimony.down = vec![(target("n2"), "p".to_owned())];
        assert_eq!(testimony.objects(&member), None);
        testimony.down.push((target("n1"), "p".to_owned()));
        assert_eq!(testimony.objects(&member).as_deref(), Some("p cannot scrape n1"));
        testimony.down.clear();
        testimony.doubts.push("GET p: no answer".to_owned());
        assert_eq!(testimony.objects(&member).as_deref(), Some("GET p: no answer"));
    }
}
