//! How results are written: for people, or as the documents of the API.

use clap::{Args, ValueEnum};
use serde::Serialize;

/// How to write a result that consists of groups or lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Table,
    /// The same document as the API's.
    Json,
    /// One line per group, for spreadsheets.
    Csv,
}

/// How to write any other result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people.
    Table,
    /// The same document as the API's.
    Json,
}

/// Asks how to write a result that is no table for spreadsheets.
#[derive(Debug, Args)]
pub(super) struct OutputArguments {
    /// How to write it.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Form,
}

impl OutputArguments {
    /// Whether the API's document is asked for.
    pub(super) fn is_json(&self) -> bool {
        self.output == Form::Json
    }

    /// Writes a document as it is asked for.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(super) fn write<T: Serialize>(
        &self,
        document: &T,
        for_people: impl FnOnce(&T) -> anyhow::Result<String>,
    ) -> anyhow::Result<String> {
        if self.is_json() { as_json(document) } else { for_people(document) }
    }
}

/// Writes a document as the API does.
///
/// # Errors
///
/// It cannot be written.
pub(super) fn as_json(document: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(document)? + "\n")
}
