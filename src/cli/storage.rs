//! Which storage directory a command is about.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, Problems};

/// The same flags as those of `serve`; the second wins.
#[derive(Debug, Args)]
pub(super) struct StorageArguments {
    /// Configuration file, for its storage.path.
    #[arg(long = "config.file", value_name = "FILE")]
    pub(super) config_file: Option<PathBuf>,
    /// Directory of the database. [default: data]
    #[arg(long = "storage.path", value_name = "DIR", env = "CONNWARDEN_STORAGE_PATH")]
    pub(super) storage_path: Option<PathBuf>,
}

impl StorageArguments {
    /// The configuration that they name.
    pub(super) fn configuration(&self) -> Result<Config, Problems> {
        let mut config = match &self.config_file {
            Some(file) => Config::load(file)?,
            None => Config::default(),
        };
        if let Some(path) = &self.storage_path {
            config.storage.path.clone_from(path);
        }
        Ok(config)
    }
}
