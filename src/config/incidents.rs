//! Incidents: when one is over, and when it begins anew.

use std::time::Duration;

use super::{scalar, section::Section};

/// The alerts about too many connections that connwarden's own rules define.
const DEFAULT_CONNECTION_ALERTS: [&str; 1] = ["NatsHighNumberOfConnections"];

/// When an incident is over, and when it begins anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incidents {
    /// How long after its end an incident is opened again instead of another one.
    pub reopen_window: Duration,
    /// How long a firing may stand against an end that was told before it is believed, where nobody can be asked.
    pub stale_timeout: Duration,
    /// The pause between two looks at NATS while the end of an incident is checked.
    pub verify_interval: Duration,
    /// The alerts that compare a server's connections with a threshold: their end is checked by counting.
    pub connection_alerts: Vec<String>,
    /// The pause between two comparisons with what every Alertmanager lists.
    pub reconcile_interval: Duration,
}

impl Default for Incidents {
    fn default() -> Self {
        Self {
            reopen_window: Duration::from_secs(15 * 60),
            stale_timeout: Duration::from_secs(10 * 60),
            verify_interval: Duration::from_secs(15),
            connection_alerts: DEFAULT_CONNECTION_ALERTS.map(str::to_owned).to_vec(),
            reconcile_interval: Duration::from_secs(2 * 60),
        }
    }
}

impl Incidents {
    pub(super) fn read(section: &Section<'_>) -> Self {
        const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
        const LONGEST_INTERVAL: Duration = Duration::from_secs(600);

        let default = Self::default();
        let duration = |text: &str| scalar::duration_up_to(text, LONGEST);
        Self {
            reopen_window: section.value("reopen_window", duration).unwrap_or(default.reopen_window),
            stale_timeout: section.value("stale_timeout", duration).unwrap_or(default.stale_timeout),
            verify_interval: section
                .value("verify_interval", |text| scalar::duration_up_to(text, LONGEST_INTERVAL))
                .unwrap_or(default.verify_interval),
            connection_alerts: read_alerts(section).unwrap_or(default.connection_alerts),
            reconcile_interval: section
                .value("reconcile_interval", reconcile_interval)
                .unwrap_or(default.reconcile_interval),
        }
    }
}

fn reconcile_interval(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_secs(10);
    const LONGEST: Duration = Duration::from_secs(3600);

    let interval = scalar::duration_up_to(text, LONGEST)?;
    if interval < SHORTEST {
        return Err(format!("must be at least {}s, found {}", SHORTEST.as_secs(), scalar::quoted(text)));
    }
    Ok(interval)
}

fn read_alerts(section: &Section<'_>) -> Option<Vec<String>> {
    section.has("connection_alerts").then(|| {
        let mut alerts: Vec<String> = Vec::new();
        for element in section.list("connection_alerts") {
            let Some(alert) = element.value(scalar::alert_name) else { continue };
            if alerts.contains(&alert) {
                element.problem(format!("{} is listed twice", scalar::quoted(&alert)));
            } else {
                alerts.push(alert);
            }
        }
        alerts
    })
}
