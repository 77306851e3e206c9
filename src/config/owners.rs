//! The owners file: which team an application, an account, a user or a network belongs to.
//!
//! A file of its own, because other people write it than the configuration. It is read as strictly, with the place of
//! every mistake.

use std::collections::HashMap;
use std::path::Path;

use ipnet::IpNet;

use super::problem::{Problem, Problems, Report};
use super::section::Section;
use super::{MAX_FILE_BYTES, document, read_text, scalar::quoted};
use crate::model::owner::{Owned, Owner, Owners, Pattern};

/// Every key of the owners file, as a dotted path; `[]` stands for each element of a list.
pub const OWNER_KEYS: &[&str] = &[
    "owners[].application",
    "owners[].account",
    "owners[].user",
    "owners[].ip",
    "owners[].team",
    "owners[].runbook",
    "owners[].contact",
];

/// What says what belongs to an owner.
const SELECTING: [&str; 4] = ["application", "account", "user", "ip"];

/// The longest of its texts, in characters.
const LONGEST: usize = 500;

/// Reads the owners file at `path`.
///
/// # Errors
///
/// All problems of the file, or the one that kept it from being read.
pub fn load_owners(path: &Path) -> Result<Owners, Problems> {
    let file = path.display().to_string();
    let text = read_text(path, MAX_FILE_BYTES).map_err(|error| {
        Problems::one(Problem::of_file(&file, format!("cannot read the owners file: {error}")))
    })?;
    parse_owners(&text, &file)
}

/// Reads `text` as the owners file called `file`.
///
/// # Errors
///
/// All problems of the file.
pub fn parse_owners(text: &str, file: &str) -> Result<Owners, Problems> {
    let report = Report::for_keys(file, OWNER_KEYS);
    let mut owners = Vec::new();
    if let Some(document) = document::parse(text, &report) {
        let root = Section::root(&report, &document);
        let mut lines = HashMap::new();
        for element in root.list("owners") {
            owners.extend(read_owner(&element.section(), &mut lines));
        }
    }
    report.into_result()?;
    Ok(Owners::new(owners))
}

/// Reads one element: everything it says belongs to the owner.
fn read_owner(section: &Section<'_>, lines: &mut HashMap<String, usize>) -> Vec<(Owned, Owner)> {
    let team = section.required("team", name);
    let (runbook, contact) = (section.value("runbook", web_address), section.value("contact", name));
    if !SELECTING.iter().any(|key| section.mentions(key)) {
        section.missing("application", "is missing, give it or one of `account`, `user`, `ip`");
    }
    let mut owned = Vec::new();
    for key in SELECTING {
        for element in section.one_or_many(key) {
            let read = |text: &str| match key {
                "application" => name(text).map(|text| Owned::Application(Pattern::new(text))),
                "account" => name(text).map(|text| Owned::Account(Pattern::new(text))),
                "user" => name(text).map(|text| Owned::User(Pattern::new(text))),
                _ => network(text).map(Owned::Network),
            };
            let Some(found) = element.value(read) else { continue };
            let line = element.line();
            match lines.get(&format!("{found:?}")) {
                Some(first) => element.problem(format!("has an owner already, on line {first}")),
                None => {
                    lines.insert(format!("{found:?}"), line);
                    owned.push(found);
                }
            }
        }
    }
    let Some(team) = team else { return Vec::new() };
    let owner = Owner { team, runbook, contact };
    owned.into_iter().map(|owned| (owned, owner.clone())).collect()
}

pub(super) fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        Err(format!("expected one line of text, found {}", quoted(text)))
    } else if text.chars().count() > LONGEST {
        Err(format!("must have at most {LONGEST} characters, found {}", quoted(text)))
    } else {
        Ok(text.to_owned())
    }
}

fn web_address(text: &str) -> Result<String, String> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && text.len() <= 2000 => Ok(text.to_owned()),
        _ => Err(format!(
            "expected an address that begins with `http://` or `https://`, found {}",
            quoted(text)
        )),
    }
}

/// Reads `10.4.0.0/16` or a single address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return Ok(address.to_canonical().into());
    }
    let network: IpNet = text.parse().map_err(|_| {
        format!("expected a network such as `10.4.0.0/16`, or an address, found {}", quoted(text))
    })?;
    if network.trunc() != network {
        return Err(format!("{} has bits behind its prefix, write `{}`", quoted(text), network.trunc()));
    }
    Ok(network)
}
