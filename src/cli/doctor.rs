//! `connwarden doctor`: everything that can be checked from outside, one line each, with what to do about it.
//!
//! It reads and asks, and changes nothing, so it works beside a running daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use crate::app::{self, operator_token};
use crate::cli::storage::StorageArguments;
use crate::cli::{FAILURE, print};
use crate::clock::Clock;
use crate::config::{Cluster, Config, load_owners};
use crate::model::printable::{excerpt, visible, with_causes};
use crate::observe::picks::DOCTOR;
use crate::observe::sweep::{ClusterTargets, Observer};
use crate::observe::users::UserMask;
use crate::store::StoreError;
use crate::store::check::{self, Inspection, Schema};
use crate::telemetry::metrics::Metrics;

/// Below this much free space, in MiB, it will not go well for long.
const LITTLE_SPACE_MIB: u64 = 1024;

/// Below this much free space, in MiB, it will not go well now.
const NO_SPACE_MIB: u64 = 64;

/// Exits 1 if a check failed; a warning is no failure.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    storage: StorageArguments,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut checkup = Checkup::default();
    match arguments.storage.configuration() {
        Ok(config) => {
            checkup.configuration(&arguments.storage, &config);
            checkup.storage(&config.storage.path);
            checkup.database(&config.storage.path).await;
            checkup.servers(&config).await?;
        }
        Err(problems) => {
            for problem in problems.iter() {
                checkup.add(Verdict::Failed, "configuration", problem);
            }
            if let Some(directory) = &arguments.storage.storage_path {
                checkup.storage(directory);
                checkup.database(directory).await;
            }
        }
    }
    print(&checkup.text)?;
    Ok(if checkup.failed { ExitCode::from(FAILURE) } else { ExitCode::SUCCESS })
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warning,
    Failed,
}

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        })
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Checkup {
    text: String,
    failed: bool,
}

impl Checkup {
    fn add(&mut self, verdict: Verdict, what: &str, found: impl Display) {
        self.failed |= verdict == Verdict::Failed;
        let found = visible(&found.to_string()).into_owned();
        self.text.push_str(&format!("{verdict:<8} {what}: {found}\n"));
    }

    fn configuration(&mut self, arguments: &StorageArguments, config: &Config) {
        for warning in config.warnings() {
            self.add(Verdict::Warning, "configuration", warning);
        }
        let servers: usize = config.clusters.iter().map(|cluster| cluster.monitor.len()).sum();
        match &arguments.config_file {
            Some(file) => {
                let clusters = config.clusters.len();
                let found = format!("{}: {clusters} clusters, {servers} servers", file.display());
                self.add(Verdict::Ok, "configuration", found);
            }
            None => self.add(Verdict::Ok, "configuration", "no --config.file, so the defaults"),
        }
        match config.owners_file.as_deref().map(load_owners) {
            None => {}
            Some(Ok(owners)) => {
                self.add(Verdict::Ok, "owners", format!("{} things have an owner", owners.len()));
            }
            Some(Err(problems)) => {
                for problem in problems.iter() {
                    self.add(Verdict::Failed, "owners", problem);
                }
            }
        }
    }

    /// The directory: who may look into it, who has it, and how much room there is.
    fn storage(&mut self, directory: &Path) {
        let place = directory.display();
        let mode = |path: &Path| path.metadata().map(|found| found.permissions().mode() & 0o777);
        match directory.metadata() {
            Ok(found) if !found.is_dir() => {
                return self.add(Verdict::Failed, "storage", format!("{place} is not a directory"));
            }
            Ok(found) if found.permissions().mode() & 0o022 != 0 => {
                let found = format!("others may write into {place}: chmod go-w {place}");
                self.add(Verdict::Warning, "storage", found);
            }
            Ok(_) => self.add(Verdict::Ok, "storage", &place),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let found = format!("{place} is not there; the first start of connwarden makes it");
                return self.add(Verdict::Warning, "storage", found);
            }
            Err(error) => return self.add(Verdict::Failed, "storage", format!("{place}: {error}")),
        }
        let database = check::database(directory);
        if mode(&database).is_ok_and(|mode| mode & 0o077 != 0) {
            let file = database.display();
            let found =
                format!("others may read {file}, which holds the key of user hashes: chmod 600 {file}");
            self.add(Verdict::Warning, "storage", found);
        }
        let token = operator_token::path(directory);
        if mode(&token).is_ok_and(|mode| mode & 0o077 != 0) {
            let file = token.display();
            let found = format!(
                "others may read {file}, so it lets nobody in: remove it, and the next start makes another"
            );
            self.add(Verdict::Warning, "storage", found);
        }
        match check::holder(directory) {
            Ok(Some(holder)) => self.add(Verdict::Ok, "lock", format!("connwarden runs as process {holder}")),
            Ok(None) => self.add(Verdict::Ok, "lock", "no connwarden runs here"),
            Err(error) => self.add(Verdict::Failed, "lock", format!("cannot be read: {error}")),
        }
        match rustix::fs::statvfs(directory) {
            Ok(found) => {
                let free_mib = (found.f_bavail.saturating_mul(found.f_frsize)) >> 20;
                let verdict = match free_mib {
                    0..NO_SPACE_MIB => Verdict::Failed,
                    NO_SPACE_MIB..LITTLE_SPACE_MIB => Verdict::Warning,
                    _ => Verdict::Ok,
                };
                let advice = if verdict == Verdict::Ok { "" } else { ": make room" };
                self.add(verdict, "space", format!("{free_mib} MiB are free for {place}{advice}"));
            }
            Err(error) => self.add(Verdict::Warning, "space", format!("cannot be asked for: {error}")),
        }
    }

    async fn database(&mut self, directory: &Path) {
        let file = check::database(directory);
        if !file.exists() {
            if directory.is_dir() {
                let found =
                    format!("{} is not there; the first start of connwarden makes it", file.display());
                self.add(Verdict::Warning, "database", found);
            }
            return;
        }
        if let Err(error) = self.look_into(directory).await {
            self.add(Verdict::Failed, "database", with_causes(&error.about(directory)));
        }
    }

    async fn look_into(&mut self, directory: &Path) -> Result<(), StoreError> {
        let mut database = Inspection::open(directory).await?;
        match database.schema().await? {
            Schema::Current(version) => self.add(Verdict::Ok, "schema", format!("version {version}")),
            Schema::Older(version) => {
                let found =
                    format!("version {version}; the next start brings it up to date, make a backup before");
                self.add(Verdict::Warning, "schema", found);
            }
            Schema::Newer(version) => {
                let found =
                    format!("version {version} is of a newer connwarden: use that one, or an older backup");
                self.add(Verdict::Failed, "schema", found);
                return Ok(());
            }
            Schema::Foreign(version) => {
                let found =
                    format!("version {version} is not that of any release: start with a new directory");
                self.add(Verdict::Failed, "schema", found);
                return Ok(());
            }
        }
        let restore = "keep the file, and put the last backup in its place";
        let damages = database.damages().await?;
        let is_damaged = !damages.is_empty();
        self.findings("integrity", "every page and index is as it should be", damages, restore);
        if is_damaged {
            // what follows would be about what could be read
            return Ok(());
        }
        let mut contradictions = database.orphans().await?;
        contradictions.extend(database.contradictions().await?);
        let report = "please report it, with the log";
        self.findings("consistency", "no row contradicts another", contradictions, report);
        match database.dead_jobs().await? {
            0 => self.add(Verdict::Ok, "jobs", "none was given up"),
            count => self.add(Verdict::Warning, "jobs", format!("{count} were given up; the log says why")),
        }
        Ok(())
    }

    /// One line if all is well, otherwise one for each finding.
    fn findings(&mut self, what: &str, well: &str, found: Vec<String>, advice: &str) {
        if found.is_empty() {
            self.add(Verdict::Ok, what, well);
        }
        for found in found {
            self.add(Verdict::Failed, what, format!("{found}: {advice}"));
        }
    }

    /// Asks every configured server who it is.
    async fn servers(&mut self, config: &Config) -> anyhow::Result<()> {
        let observer = app::observer(config, UserMask::new(&app::random_key()?), Clock::system());
        if config.clusters.is_empty() {
            self.add(Verdict::Warning, "servers", "no cluster is configured: NATS is not looked at");
        }
        for cluster in &config.clusters {
            let what = format!("cluster {}", cluster.name);
            let targets = self.system_account(config, cluster, &observer).await;
            if let Some(targets) = targets.filter(|_| config.mitigations.enabled) {
                self.actions(&targets, &observer).await;
            }
            for server in &cluster.monitor {
                match observer.varz(server, cluster.auth.as_ref()).await {
                    Ok(varz) => {
                        let (name, version) = (varz.server_name, varz.version);
                        let found =
                            format!("{server} is {name} ({version}), {} connections", varz.connections);
                        self.add(Verdict::Ok, &what, found);
                    }
                    Err(error) => {
                        let advice = "is it running, and may we reach its monitoring port?";
                        self.add(Verdict::Failed, &what, format!("{error}: {advice}"));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Checkup {
    /// Asks the system account of a cluster which servers there are, if it has one; the cluster, unless it cannot be
    /// asked.
    async fn system_account(
        &mut self,
        config: &Config,
        cluster: &Cluster,
        observer: &Observer,
    ) -> Option<ClusterTargets> {
        if let Err(error) = app::check_system_account(cluster) {
            let what = format!("cluster {}", cluster.name);
            self.add(Verdict::Failed, &what, format!("system_account: {error}"));
            return None;
        }
        let targets = app::watched(cluster, config, DOCTOR, &Metrics::new());
        let Some(system) = &targets.system else { return Some(targets) };
        let what = format!("cluster {}", cluster.name);
        match observer.roll_call(&targets, system).await {
            Ok(call) => {
                let names: Vec<String> = call.servers.keys().map(|name| excerpt(name)).collect();
                let count = names.len();
                let found = format!("the system account shows {count} servers: {}", names.join(", "));
                self.add(Verdict::Ok, &what, found);
                for name in call.missing(&BTreeSet::new()) {
                    let found =
                        format!("{} does not answer, and its neighbours have routes to it", excerpt(name));
                    self.add(Verdict::Failed, &what, found);
                }
                Some(targets)
            }
            Err(error) => {
                let advice = "is it running, is the user one of the system account, and may it do what \
                              docs/deployment.md lists?";
                self.add(Verdict::Failed, &what, format!("{error}: {advice}"));
                None
            }
        }
    }

    /// Finds out what mitigations could do to the connections of a cluster. That they can do nothing is no failure.
    async fn actions(&mut self, targets: &ClusterTargets, observer: &Observer) {
        let what = format!("cluster {}", targets.name);
        // who only looks misses nothing
        let verdict = if targets.system.is_some() { Verdict::Warning } else { Verdict::Ok };
        let mut reasons: BTreeMap<Option<String>, Vec<&str>> = BTreeMap::new();
        for capability in app::capabilities(observer, targets, &Clock::system()).await.actions {
            reasons.entry(capability.reason()).or_default().push(capability.action.name());
        }
        for (reason, actions) in reasons {
            let actions = actions.join(" and ");
            match reason {
                None => self.add(Verdict::Ok, &what, format!("{actions} can work")),
                Some(reason) => self.add(verdict, &what, format!("{actions} cannot work: {reason}")),
            }
        }
    }
}
