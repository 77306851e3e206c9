//! What the logs of a cluster's servers say about connections, around an incident.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use crate::engine::Engine;
use crate::logs::file;
use crate::logs::loki::LokiClient;
use crate::logs::tally::Tally;
use crate::model::log_evidence::LogEvidence;
use crate::model::member::Member;

/// How long reading may take in all.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much before an incident is looked at.
const BEFORE: SignedDuration = SignedDuration::from_hours(1);

/// No further back is looked at.
const FURTHEST: SignedDuration = SignedDuration::from_hours(12);

/// How much is read of all files together, in bytes.
const MOST_BYTES: u64 = 32 << 20;

/// How much is read of one file, in bytes.
const MOST_OF_ONE: u64 = 8 << 20;

/// Reads one place where logs are.
#[derive(Debug, Clone)]
pub enum LogReader {
    /// A file.
    File {
        /// Where it is.
        path: PathBuf,
        /// Which server writes it.
        server: Option<String>,
    },
    /// A query of a Loki.
    Loki {
        /// Who is asked.
        client: LokiClient,
        /// For what.
        query: String,
    },
}

impl Engine {
    /// Reads the logs of a cluster's servers around the time when the alerts of an incident began. `versions` are those of
    /// the servers, as far as they are known.
    ///
    /// # Errors
    ///
    /// For people: why nothing could be read.
    #[tracing::instrument(name = "engine.logs.gather", skip_all, fields(cluster = %cluster))]
    pub async fn gather_logs<'a>(
        &self,
        cluster: &str,
        members: impl IntoIterator<Item = &'a Member>,
        versions: impl IntoIterator<Item = &'a str>,
    ) -> Result<LogEvidence, String> {
        let readers = &self.evidence_sources(cluster)?.logs;
        if readers.is_empty() {
            return Err(format!("no logs of cluster `{cluster}` are configured (`logs`)"));
        }
        let now = self.0.clock.now();
        let began_at = members.into_iter().map(|member| member.alert.starts_at).min().unwrap_or(now);
        let from = since(began_at, now);
        let route = self.0.routes.iter().find(|route| route.name == cluster);
        let server_labels = route.map(|route| route.server_labels.clone()).unwrap_or_default();

        let files = readers.iter().filter(|reader| matches!(reader, LogReader::File { .. })).count();
        let most = (MOST_BYTES / (files as u64).max(1)).min(MOST_OF_ONE);
        let mut reading = JoinSet::new();
        for (place, reader) in readers.iter().cloned().enumerate() {
            let server_labels = server_labels.clone();
            reading
                .spawn(async move { (place, reader.read(Tally::new(from, now), most, server_labels).await) });
        }
        let mut tallies: Vec<Option<Tally>> = readers.iter().map(|_| None).collect();
        let all = async {
            while let Some(read) = reading.join_next().await {
                if let Ok((place, tally)) = read {
                    tallies[place] = Some(tally);
                }
            }
        };
        // a file that hangs keeps its thread, and nothing else
        let _ = tokio::time::timeout(PATIENCE, all).await;

        let mut sum = Tally::new(from, now);
        versions.into_iter().for_each(|version| sum.learn_version(version));
        for (reader, tally) in readers.iter().zip(tallies) {
            match tally {
                Some(tally) => sum.merge(tally),
                None => sum.problem(format!("{} could not be read within {PATIENCE:?}", reader.shown())),
            }
        }
        sum.evidence()
    }
}

impl LogReader {
    async fn read(self, tally: Tally, most_bytes: u64, server_labels: Vec<String>) -> Tally {
        match self {
            Self::File { path, server } => {
                let (mut failed, shown) = (Tally::new(tally.from(), tally.to()), path.display().to_string());
                let reading = tokio::task::spawn_blocking(move || {
                    let mut tally = tally;
                    file::read(&path, server.as_deref(), most_bytes, &mut tally);
                    tally
                });
                reading.await.unwrap_or_else(|error| {
                    failed.problem(format!("reading {shown} ended early: {error}"));
                    failed
                })
            }
            Self::Loki { client, query } => {
                let mut tally = tally;
                if let Err(error) = client.count(&query, &server_labels, &mut tally).await {
                    tally.problem(error.to_string());
                }
                tally
            }
        }
    }

    /// What is read, for people.
    fn shown(&self) -> String {
        match self {
            Self::File { path, .. } => path.display().to_string(),
            Self::Loki { client, query } => format!("{} {query}", client.url()),
        }
    }
}

/// From when on lines count.
fn since(began_at: Timestamp, now: Timestamp) -> Timestamp {
    let earlier = |at: Timestamp, by| at.checked_sub(by).unwrap_or(at);
    earlier(began_at.min(now), BEFORE).max(earlier(now, FURTHEST))
}
