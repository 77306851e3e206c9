//! Scenes as data: which servers and applications there are, what goes wrong, and what must be found.
//!
//! A definition is a YAML file in `definitions/`; `definitions/README.md` explains its keys. Counts and rates in it are
//! those of the small size; [`Size`] multiplies them. connwarden is shown nothing of all this.

use std::path::Path;

use serde::Deserialize;

use crate::harness::yaml;

/// What happens on one stage, and what a diagnosis must say of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// The name of its file.
    #[serde(skip)]
    pub name: String,
    /// What it is, in one sentence.
    pub about: String,
    /// Only on the newest servers: older ones do not tell what it is about.
    #[serde(default)]
    pub newest: bool,
    #[serde(default)]
    pub servers: Servers,
    #[serde(default)]
    pub accounts: Vec<Account>,
    /// The healthy applications.
    pub background: Background,
    /// More applications that are there from the beginning.
    #[serde(default)]
    pub applications: Vec<Fleet>,
    /// How long everything is as always before the trouble begins.
    #[serde(default = "Scene::usual_calm")]
    pub calm_seconds: u64,
    /// What happens then.
    #[serde(default)]
    pub trouble: Vec<Fleet>,
    /// The servers that are killed and started again.
    #[serde(default)]
    pub restarts: Vec<Restart>,
    pub alert: Alert,
    /// What the servers themselves must show when the alert fires: otherwise the scene did not happen.
    pub happens: Vec<Check>,
    pub expect: Expected,
}

/// The servers; more than one are a NATS cluster.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Servers {
    #[serde(default = "Servers::usual_count")]
    pub count: usize,
    /// Of each server, in the small size.
    #[serde(default)]
    pub max_connections: Option<u64>,
    /// How much a server keeps for a client that does not read.
    #[serde(default)]
    pub max_pending_bytes: Option<u64>,
    #[serde(default)]
    pub write_deadline: Option<String>,
    /// What `GOMEMLIMIT` of each server leaves for connections in the small size, beyond what it needs without any.
    #[serde(default)]
    pub connections_mebibytes: Option<u64>,
}

/// An account with its users, whose password is always the same.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    pub name: String,
    pub users: Vec<String>,
    /// Of all servers together, in the small size.
    #[serde(default)]
    pub max_connections: Option<u64>,
}

/// Healthy applications of many sizes; the seed decides which these are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Background {
    pub applications: usize,
    /// Of all of them together.
    pub connections: u64,
    /// How many of the applications only subscribe, and hear nothing.
    #[serde(default)]
    pub quiet_applications: usize,
    /// How many connections are exchanged each second, over all applications.
    #[serde(default)]
    pub churn_per_second: u64,
    /// How the connections are divided among the servers; evenly, if empty.
    #[serde(default)]
    pub spread: Vec<u32>,
    /// An address that a part of the applications comes from.
    #[serde(default)]
    pub shared_address: Option<SharedAddress>,
    /// Who they are; the first user of the first account, if empty.
    #[serde(default)]
    pub users: Vec<String>,
}

/// An address with many applications behind it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedAddress {
    pub address: String,
    /// How many of the applications are behind it, in percent.
    pub percent: u64,
}

/// Connections of one application that do the same.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fleet {
    /// The application of the background that it is a part of, or all of them in turn.
    pub like: Option<Role>,
    /// The client name, with the placeholders of the swarm; empty means unnamed.
    pub name: String,
    pub user: Option<String>,
    /// How many pods or processes; more than one grow with the size.
    pub instances: u64,
    /// With `like`: it happens in the instances that there are, not in new ones.
    pub existing: bool,
    /// With `like`: the new instances are of a new version.
    pub release: bool,
    /// Every connection has a name of its own.
    pub name_per_connection: bool,
    /// The one address it comes from.
    pub address: Option<String>,
    pub connections: u64,
    /// Exactly so many; otherwise the seed varies the figures by 15 % in both directions.
    pub exactly: bool,
    /// With `like`: so many of the connections of that application, instead of a number.
    pub percent: u64,
    /// With `like`: each new connection takes the place of one of that application.
    pub replaces: bool,
    /// How long after the beginning of the trouble.
    pub at_seconds: u64,
    /// How fast they are opened; at once, if zero.
    pub per_second: u64,
    /// How many of them are closed and opened again each second; with `like` and no connections: of that application.
    pub churn_per_second: u64,
    /// Neither subscribes nor publishes.
    pub idle: bool,
    /// Shows a wrong password, again and again.
    pub wrong_password: bool,
    /// How long a client that was closed or refused waits.
    pub reconnect_milliseconds: Option<u64>,
    pub publishes: Option<Publishes>,
    /// A subject that all of them hear.
    pub hears: Option<String>,
    /// How long they leave lying what they are sent, again and again.
    pub dozes_milliseconds: Option<u64>,
    /// How the connections are divided among the servers; evenly, if empty.
    pub spread: Vec<u32>,
}

/// Messages of each connection.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publishes {
    pub to: String,
    pub every_milliseconds: u64,
    pub bytes: usize,
}

/// One of the applications of the background, by its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Largest,
    Second,
    Middle,
    Smallest,
    /// All of them, in turn.
    Each,
}

/// A server that dies and comes back.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    pub server: usize,
    pub at_seconds: u64,
    pub down_milliseconds: u64,
}

/// The alert that Prometheus raises.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// How long after the beginning of the trouble.
    pub at_seconds: u64,
    /// The server that it is about.
    #[serde(default)]
    pub server: usize,
    /// From how many connections on, in the small size.
    pub threshold: u64,
}

/// What the servers must show, between the end of the calm and the alert.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Check {
    /// There are so many more connections.
    Grew { of: Option<Key>, at_least: u64 },
    /// There are no more than so many more connections.
    Steady { of: Option<Key>, at_most: u64 },
    /// So many of all connections are of this group.
    HoldsPercent { of: Key, at_least: u64 },
    /// So many of all connections are on this server.
    ServerPercent { server: usize, at_least: u64 },
    /// So many connections of the group said and heard nothing lately.
    Idle { of: Key, at_least: u64 },
    /// So many connections were closed for this reason.
    Closed { reason: String, at_least: u64 },
    /// This server uses so much of its memory limit.
    MemoryPercent { server: usize, at_least: u64 },
    /// So many connections were accepted.
    Accepted { at_least: u64 },
}

/// A group of a breakdown. `@largest` and the like stand for applications of the background.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    Application(String),
    Ip(String),
    Account(String),
    User(String),
}

/// What a diagnosis must say.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The kind of the first finding: any of these; `none` means that there is no finding.
    pub top: Vec<String>,
    /// Who must be named.
    #[serde(default)]
    pub culprits: Vec<Key>,
    /// Who may be named as well: true, but not the point.
    #[serde(default)]
    pub tolerated: Vec<Key>,
}

/// How large a scene is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Hundreds of connections.
    Small,
    /// Some thousands.
    Medium,
}

impl Size {
    /// What the figures of a definition are multiplied by.
    pub fn factor(self) -> u64 {
        match self {
            Self::Small => 1,
            Self::Medium => 5,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
        }
    }
}

impl Scene {
    fn usual_calm() -> u64 {
        12
    }

    /// Reads every definition, in the order of their names.
    pub fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenes/definitions");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|end| end == "yml")).collect();
        files.sort();
        files.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let document = yaml::document(&std::fs::read_to_string(path).unwrap());
        let mut scene: Self =
            serde_json::from_value(document).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        scene.name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        scene
    }
}

impl Servers {
    fn usual_count() -> usize {
        1
    }
}

impl Default for Servers {
    fn default() -> Self {
        Self {
            count: 1,
            max_connections: None,
            max_pending_bytes: None,
            write_deadline: None,
            connections_mebibytes: None,
        }
    }
}

impl Key {
    /// The dimension, as the API writes it.
    pub fn dimension(&self) -> &'static str {
        match self {
            Self::Application(_) => "application",
            Self::Ip(_) => "ip",
            Self::Account(_) => "account",
            Self::User(_) => "user",
        }
    }

    /// The key in that dimension.
    pub fn key(&self) -> &str {
        match self {
            Self::Application(key) | Self::Ip(key) | Self::Account(key) | Self::User(key) => key,
        }
    }
}

#[cfg(test)]
mod tests {
    use connwarden::model::diagnosis::FindingKind;

    use super::*;

    #[test]
    fn every_scene_expects_something_that_can_be_found() {
        for scene in Scene::all() {
            assert!(!scene.about.is_empty() && !scene.happens.is_empty(), "{}", scene.name);
            assert!(!scene.expect.top.is_empty(), "{}", scene.name);
            for kind in &scene.expect.top {
                let found = serde_json::from_value::<FindingKind>(kind.as_str().into());
                assert!(kind == "none" || found.is_ok(), "{}: there is no finding `{kind}`", scene.name);
            }
        }
    }

    #[test]
    fn what_a_definition_does_not_know_is_an_error() {
        let text = "{about: x, background: {applications: 1, connections: 1}, alert: {at_seconds: 1, threshold: 1}, \
                    happens: [], expect: {top: [leak]}, troubel: []}";
        let error = serde_json::from_value::<Scene>(yaml::document(text)).unwrap_err().to_string();

        assert!(error.starts_with("unknown field `troubel`"), "{error}");
    }
}
