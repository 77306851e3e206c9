//! Reading the documents of the API.

use std::collections::BTreeMap;

use serde_json::Value;

/// The groups of a breakdown: key and connections.
pub fn groups<'a>(document: &'a Value, dimension: &str) -> BTreeMap<&'a str, u64> {
    figures(document, dimension, "connections")
}

/// One figure of each group of a breakdown.
pub fn figures<'a>(document: &'a Value, dimension: &str, figure: &str) -> BTreeMap<&'a str, u64> {
    let groups = document["breakdowns"][dimension]["groups"].as_array();
    let groups = groups.unwrap_or_else(|| panic!("no breakdown by {dimension}: {document:#}"));
    groups.iter().map(|group| (group["key"].as_str().unwrap(), group[figure].as_u64().unwrap())).collect()
}

/// Fails unless every breakdown adds up: groups and `other` are the total, and the total is what was seen.
pub fn assert_adds_up(document: &Value) {
    let seen = document["coverage"]["seen"].as_u64().unwrap();
    for (dimension, breakdown) in document["breakdowns"].as_object().unwrap() {
        let listed: u64 = groups(document, dimension).values().sum();
        let other = breakdown["other"]["connections"].as_u64().unwrap();
        assert_eq!(listed + other, seen, "by {dimension}");
        assert_eq!(breakdown["total"]["connections"], seen, "by {dimension}");
    }
}

/// The timeline of an incident: kinds of entries, oldest first.
pub fn timeline(incident: &Value) -> Vec<&str> {
    entries(incident).map(|(kind, _)| kind).collect()
}

/// The timeline of an incident: kinds and texts of its entries, oldest first.
pub fn entries(incident: &Value) -> impl Iterator<Item = (&str, &str)> {
    let entries = incident["timeline"].as_array().unwrap();
    entries.iter().map(|entry| (entry["kind"].as_str().unwrap(), entry["text"].as_str().unwrap()))
}
