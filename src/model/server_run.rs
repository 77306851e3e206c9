//! Runs of NATS servers: since when a server runs, with which version and configuration, and what has changed.
//!
//! A run is compared only with an older one of the same server: behind one address there may be several, and what an
//! earlier run says is no news.

use jiff::Timestamp;

use crate::model::change::ChangeKind;
use crate::model::mapping::KnownServer;
use crate::model::printable::excerpt;
use crate::model::vitals::ServerVitals;

/// One run of a server, from its start to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerRun {
    /// The cluster's configured name.
    pub cluster: String,
    /// The server's name; where it has none of its own, its monitoring URL.
    pub server: String,
    /// Its version.
    pub version: String,
    /// When the run began, by the server's clock.
    pub started_at: Timestamp,
    /// When its configuration was last loaded, by the server's clock.
    pub config_loaded_at: Option<Timestamp>,
    /// Digest of its configuration (from 2.11 on).
    pub config_digest: Option<String>,
}

/// What has changed between two looks at a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunChange {
    /// What kind of change it was.
    pub kind: ChangeKind,
    /// When, by the server's clock.
    pub at: Timestamp,
    /// What happened, in one line.
    pub title: String,
    /// What else is known.
    pub text: String,
}

impl ServerRun {
    /// What a server says of its run; `None` if it does not say when it was started, or cannot be told from others.
    pub fn of(server: &KnownServer, version: &str, vitals: &ServerVitals) -> Option<Self> {
        // a server without a name of its own calls itself by its id, which is new at each start
        let name = server.server_name.as_ref().filter(|name| server.server_id.as_ref() != Some(name));
        let server_name = name.cloned().or_else(|| server.url.as_ref().map(ToString::to_string))?;
        Some(Self {
            cluster: server.cluster.clone(),
            server: server_name,
            version: version.to_owned(),
            started_at: in_microseconds(vitals.started_at?),
            config_loaded_at: vitals.config_loaded_at.map(in_microseconds),
            config_digest: vitals.config_digest.clone(),
        })
    }

    /// Whether this says something that is not known from `before`, which was learnt earlier.
    pub fn is_news_after(&self, before: Option<&Self>) -> bool {
        let Some(before) = before else { return true };
        let stands = (self.started_at, self.config_loaded_at) >= (before.started_at, before.config_loaded_at);
        stands && self != before
    }

    /// What has changed since `before`, an earlier look at the same server.
    pub fn changes_since(&self, before: &Self) -> Vec<RunChange> {
        if !self.is_news_after(Some(before)) {
            return Vec::new();
        }
        let server = excerpt(&self.server);
        if self.started_at > before.started_at {
            let mut text = format!("the run before began at {}", before.started_at);
            if let Some(configuration) = self.configuration_since(before) {
                text = format!("{text}; {configuration}");
            }
            let started = RunChange {
                kind: ChangeKind::ServerStart,
                at: self.started_at,
                title: format!("{server} was started anew"),
                text,
            };
            let version = (self.version != before.version).then(|| RunChange {
                kind: ChangeKind::ServerVersion,
                at: self.started_at,
                title: format!(
                    "{server} runs {} (before: {})",
                    excerpt(&self.version),
                    excerpt(&before.version)
                ),
                text: String::new(),
            });
            return [Some(started), version].into_iter().flatten().collect();
        }
        match (self.config_loaded_at, before.config_loaded_at) {
            (Some(at), Some(before_at)) if at > before_at => vec![RunChange {
                kind: ChangeKind::ConfigReload,
                at,
                title: format!("{server} has loaded its configuration again"),
                text: self.configuration_since(before).unwrap_or_default().to_owned(),
            }],
            _ => Vec::new(),
        }
    }

    fn configuration_since(&self, before: &Self) -> Option<&'static str> {
        let (now, before) = (self.config_digest.as_ref()?, before.config_digest.as_ref()?);
        Some(if now == before { "its configuration is the same" } else { "its configuration is another one" })
    }
}

/// An instant as precisely as it is stored.
fn in_microseconds(instant: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(instant.as_microsecond()).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(version: &str, started_at: &str, loaded_at: &str, digest: &str) -> ServerRun {
        let server = KnownServer {
            cluster: "nats".to_owned(),
            url: Some("http://nats-1:8222".parse().unwrap()),
            server_id: Some("NABC".to_owned()),
            server_name: Some("nats-1".to_owned()),
        };
        let instant = |text: &str| (!text.is_empty()).then(|| format!("2026-01-05T{text}Z").parse().unwrap());
        let vitals = ServerVitals {
            started_at: instant(started_at),
            config_loaded_at: instant(loaded_at),
            config_digest: (!digest.is_empty()).then(|| digest.to_owned()),
            ..ServerVitals::default()
        };
        ServerRun::of(&server, version, &vitals).unwrap()
    }

    #[test]
    fn what_has_changed_is_told_once_and_never_from_an_older_run() {
        let first = run("2.10.26", "08:00:00.123456789", "08:00:00", "");
        let cases = [
            (run("2.10.26", "08:00:00.123456001", "08:00:00", ""), ""),
            (
                run("2.10.26", "08:00:00.123456", "09:00:00", ""),
                "config_reload 09:00: nats-1 has loaded its configuration again ()",
            ),
            (
                run("2.10.26", "09:00:00", "09:00:00", "sha256:a"),
                "server_start 09:00: nats-1 was started anew (the run before began at 2026-01-05T08:00:00.123456Z)",
            ),
            (
                run("2.11.1", "09:00:00", "09:00:00", ""),
                "server_start 09:00: nats-1 was started anew (the run before began at 2026-01-05T08:00:00.123456Z)\n\
                 server_version 09:00: nats-1 runs 2.11.1 (before: 2.10.26) ()",
            ),
            (run("2.9.0", "07:00:00", "07:00:00", ""), ""),
            (run("2.10.26", "08:00:00.123456", "07:59:00", ""), ""),
            (run("2.10.26", "08:00:00.123456", "", ""), ""),
        ];
        for (after, expected) in cases {
            let told = after.changes_since(&first).into_iter().map(|change| {
                let at = change.at.strftime("%H:%M");
                format!("{} {at}: {} ({})", change.kind.name(), change.title, change.text)
            });
            assert_eq!(told.collect::<Vec<_>>().join("\n"), expected, "{after:?}");
        }
    }

    #[test]
    fn a_digest_says_whether_a_reload_has_changed_anything() {
        let before = run("2.12.0", "08:00:00", "08:00:00", "sha256:a");
        for (digest, expected) in [
            ("sha256:a", "its configuration is the same"),
            ("sha256:b", "its configuration is another one"),
            ("", ""),
        ] {
            let [reload] = &run("2.12.0", "08:00:00", "09:00:00", digest).changes_since(&before)[..] else {
                panic!("{digest}")
            };
            assert_eq!(reload.text, expected);
        }
    }

    #[test]
    fn a_server_without_a_name_is_known_by_its_address() {
        let server = KnownServer {
            cluster: "nats".to_owned(),
            url: Some("http://nats-1:8222".parse().unwrap()),
            server_id: Some("NABC".to_owned()),
            server_name: Some("NABC".to_owned()),
        };
        let vitals = ServerVitals { started_at: Some(Timestamp::UNIX_EPOCH), ..ServerVitals::default() };
        assert_eq!(ServerRun::of(&server, "", &vitals).unwrap().server, "http://nats-1:8222/");
        assert_eq!(ServerRun::of(&server, "", &ServerVitals::default()), None);
    }
}
