//! What is asked of the values of each dimension: a part of the selector, and a part of the protection.
//!
//! Both are asked by the code that plans of live looks use, about a connection of which nothing is known but one value.
//! Where a value can be read in several ways, all of them are asked.

use std::net::IpAddr;

use crate::mitigate::estimate::holds::Holds;
use crate::model::breakdown::Dimension;
use crate::model::protection::{ProtectedBySettings, Protection, ProtectionReason};
use crate::model::selector::{Candidate, Conditions, Selector};
use crate::model::snapshot::{Coverage, ServerCoverage};
use crate::nats::varz::is_since_2_11;

/// The dimensions that selectors and protections ask about.
const ASKED: [Dimension; 8] = [
    Dimension::Application,
    Dimension::Name,
    Dimension::Ip,
    Dimension::Account,
    Dimension::User,
    Dimension::Library,
    Dimension::Kind,
    Dimension::Server,
];

/// What is asked of each dimension.
#[derive(Debug)]
pub(super) struct Questions<'a> {
    parts: Vec<Part>,
    /// Why somebody may be protected.
    reasons: Vec<ProtectionReason>,
    servers: &'a [ServerCoverage],
    /// Whether every server says what accounts are called.
    accounts_are_named: bool,
}

/// What is asked of one dimension.
#[derive(Debug)]
struct Part {
    dimension: Dimension,
    selector: Option<Selector>,
    protection: Protection,
}

/// What connections have in common in one dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value<'a> {
    pub(super) key: &'a str,
    /// Whether they have no value, and `key` says so; `None` where that cannot be told.
    pub(super) absent: Option<bool>,
    /// What the key is called.
    pub(super) label: Option<&'a str>,
}

/// What the questions say of a value, read in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fact {
    selected: bool,
    protected: Option<ProtectionReason>,
}

/// Some of all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// Those that the selector means.
    Matched,
    /// Of these, those that are protected, for this reason.
    Protected(ProtectionReason),
    /// Of these, those that are not protected.
    Free,
}

impl<'a> Questions<'a> {
    pub(super) fn new(conditions: &Conditions, protection: &Protection, coverage: &'a Coverage) -> Self {
        let part = |dimension| Part {
            dimension,
            selector: Selector::try_from(conditions_about(conditions, dimension)).ok(),
            protection: protection_about(protection, dimension),
        };
        let named = |server: &ServerCoverage| server.version.as_deref().is_some_and(is_since_2_11);
        Self {
            parts: ASKED.map(part).into(),
            reasons: ProtectionReason::ALL
                .into_iter()
                .filter(|reason| may_protect(&protection.settings, *reason))
                .collect(),
            servers: &coverage.servers,
            accounts_are_named: coverage.servers.iter().filter(|server| server.seen > 0).all(named),
        }
    }

    /// The dimensions by which it is told who belongs to a share.
    pub(super) fn dimensions(&self, share: Share) -> impl Iterator<Item = Dimension> {
        let protects = |dimension| self.reasons.iter().any(|reason| home(*reason) == Some(dimension));
        let asks = move |part: &&Part| {
            part.selector.is_some() || (share != Share::Matched && protects(part.dimension))
        };
        self.parts.iter().filter(asks).map(|part| part.dimension)
    }

    /// Why somebody may be protected, the strongest reason first.
    pub(super) fn reasons(&self) -> &[ProtectionReason] {
        &self.reasons
    }

    /// What is to be said of a value, once for each way of reading it.
    pub(super) fn ask(&self, dimension: Dimension, value: Value<'_>) -> Vec<Fact> {
        let Some(part) = self.parts.iter().find(|part| part.dimension == dimension) else {
            return vec![Fact { selected: true, protected: None }];
        };
        let readings = self.readings(dimension, value);
        let fact = |candidate: &Candidate<'_>| Fact {
            selected: part.selector.as_ref().is_none_or(|selector| selector.matches(candidate)),
            protected: part.protection.of(candidate),
        };
        readings.iter().map(fact).collect()
    }

    /// The connections that a value may stand for, with nothing else known of them.
    fn readings<'v>(&self, dimension: Dimension, value: Value<'v>) -> Vec<Candidate<'v>>
    where
        'a: 'v,
    {
        // whatever is not asked about is that of a client whom nothing protects
        let blank = || Candidate { kind: Some("client"), ..Candidate::default() };
        let texts: &[Option<&'v str>] = match value.absent {
            Some(true) => &[None],
            Some(false) => &[Some(value.key)],
            None => &[None, Some(value.key)],
        };
        let of_text = |text: Option<&'v str>| match dimension {
            // who has an application has a name
            Dimension::Application => vec![Candidate { application: text, name: text, ..blank() }],
            Dimension::Name => vec![Candidate { name: text, ..blank() }],
            Dimension::Ip => {
                let ip = text.and_then(|text| text.parse::<IpAddr>().ok());
                vec![Candidate { ip, ..blank() }]
            }
            Dimension::Account => {
                let account = text.unwrap_or(Dimension::Account.absent());
                let named = Candidate { account, account_name: value.label, ..blank() };
                let nameless = Candidate { account_name: None, ..named.clone() };
                if self.accounts_are_named { vec![named] } else { vec![named, nameless] }
            }
            Dimension::User => vec![Candidate { user: text, ..blank() }],
            Dimension::Library => libraries(text)
                .into_iter()
                .map(|(lang, version)| Candidate { lang, version, ..blank() })
                .collect(),
            Dimension::Kind => vec![Candidate { kind: text, ..blank() }],
            Dimension::Server => {
                let server = text.unwrap_or_default();
                let namesakes = self.servers.iter().filter(|it| it.display_name() == server);
                let ids: Vec<&str> =
                    namesakes.map(|it| it.server_id.as_deref().unwrap_or_default()).collect();
                let ids = if ids.is_empty() { vec![""] } else { ids };
                ids.into_iter().map(|server_id| Candidate { server, server_id, ..blank() }).collect()
            }
            Dimension::Subnet => vec![blank()],
        };
        texts.iter().copied().flat_map(of_text).collect()
    }
}

/// The languages and versions that a library of a breakdown may stand for. A language with a blank in it and no version
/// beside it would look like one with a version: nobody has it.
fn libraries(text: Option<&str>) -> Vec<(Option<&str>, Option<&str>)> {
    let Some(text) = text else { return vec![(None, None)] };
    let splits = text.match_indices(' ').map(|(place, _)| (&text[..place], Some(&text[place + 1..])));
    let mut libraries: Vec<(&str, Option<&str>)> = splits.collect();
    if libraries.is_empty() {
        libraries.push((text, None));
    }
    // what stands for a language that is not told, and for that of a leafnode
    let untold = |lang: &str| matches!(lang, "?" | "nats-server");
    let nameless: Vec<_> =
        libraries.iter().filter(|(lang, _)| untold(lang)).map(|(_, version)| (None, *version)).collect();
    libraries.into_iter().map(|(lang, version)| (Some(lang), version)).chain(nameless).collect()
}

/// Those of some conditions that are about a dimension.
fn conditions_about(all: &Conditions, dimension: Dimension) -> Conditions {
    let Conditions { application, application_glob, name, name_glob, name_regex, unnamed, .. } = all.clone();
    let Conditions { ip, account, user, lang, version, kind, server, .. } = all.clone();
    let names = name.is_some() || name_glob.is_some() || name_regex.is_some();
    let none = Conditions::default();
    match dimension {
        // who has no application has no name: applications are crossed with more than names are
        Dimension::Application => {
            Conditions { application, application_glob, unnamed: unnamed.filter(|_| !names), ..none }
        }
        Dimension::Name => {
            Conditions { name, name_glob, name_regex, unnamed: unnamed.filter(|_| names), ..none }
        }
        Dimension::Ip => Conditions { ip, ..none },
        Dimension::Account => Conditions { account, ..none },
        Dimension::User => Conditions { user, ..none },
        Dimension::Library => Conditions { lang, version, ..none },
        Dimension::Kind => Conditions { kind, ..none },
        Dimension::Server => Conditions { server, ..none },
        Dimension::Subnet => none,
    }
}

/// Whether somebody may be protected for a reason, by some settings or by what holds whatever they say.
fn may_protect(settings: &ProtectedBySettings, reason: ProtectionReason) -> bool {
    match reason {
        ProtectionReason::Application => !settings.applications.is_empty(),
        ProtectionReason::Name => !settings.names.is_empty(),
        ProtectionReason::Account => !settings.accounts.is_empty(),
        ProtectionReason::User => !settings.users.is_empty(),
        ProtectionReason::Network => !settings.networks.is_empty(),
        ProtectionReason::SystemAccount | ProtectionReason::Leafnode => true,
        // no breakdown tells
        ProtectionReason::Own | ProtectionReason::AuthCallout => false,
    }
}

/// That part of a protection that a dimension decides.
fn protection_about(all: &Protection, dimension: Dimension) -> Protection {
    let ProtectedBySettings { applications, names, accounts, users, networks } = all.settings.clone();
    let none = ProtectedBySettings::default();
    let settings = match dimension {
        Dimension::Application => ProtectedBySettings { applications, ..none },
        Dimension::Name => ProtectedBySettings { names, ..none },
        Dimension::Ip => ProtectedBySettings { networks, ..none },
        Dimension::User => ProtectedBySettings { users, ..none },
        Dimension::Account => ProtectedBySettings { accounts, ..none },
        Dimension::Subnet | Dimension::Library | Dimension::Kind | Dimension::Server => none,
    };
    let system_accounts = match dimension {
        Dimension::Account => all.system_accounts.clone(),
        _ => Default::default(),
    };
    Protection { settings, system_accounts, ..Protection::default() }
}

/// The dimension that decides whether a reason holds; `None` for what no breakdown tells.
fn home(reason: ProtectionReason) -> Option<Dimension> {
    match reason {
        ProtectionReason::Own | ProtectionReason::AuthCallout => None,
        ProtectionReason::SystemAccount | ProtectionReason::Account => Some(Dimension::Account),
        ProtectionReason::Leafnode => Some(Dimension::Kind),
        ProtectionReason::Application => Some(Dimension::Application),
        ProtectionReason::Name => Some(Dimension::Name),
        ProtectionReason::User => Some(Dimension::User),
        ProtectionReason::Network => Some(Dimension::Ip),
    }
}

impl Fact {
    /// Whether a share has connections of this value, as far as their dimension says.
    fn is_in(self, share: Share, dimension: Dimension) -> bool {
        self.selected
            && match share {
                Share::Matched => true,
                Share::Free => self.protected.is_none(),
                Share::Protected(reason) if home(reason) == Some(dimension) => self.protected == Some(reason),
                // the strongest reason counts
                Share::Protected(reason) => self.protected.is_none_or(|other| other > reason),
            }
    }
}

impl Share {
    /// Whether a value of which these facts may be true is that of its connections.
    pub(super) fn holds(self, dimension: Dimension, facts: &[Fact]) -> Holds {
        let is_in = |fact: &Fact| fact.is_in(self, dimension);
        match (facts.iter().any(is_in), facts.iter().all(is_in)) {
            (_, true) => Holds::Yes,
            (true, false) => Holds::Maybe,
            (false, false) => Holds::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_read_in_every_way_it_may_have_been_written() {
        let read = |text| libraries(Some(text));
        assert_eq!(read("go 1.31.0"), [(Some("go"), Some("1.31.0"))]);
        assert_eq!(read("go"), [(Some("go"), None)]);
        assert_eq!(read("a b c"), [(Some("a"), Some("b c")), (Some("a b"), Some("c"))]);
        assert_eq!(read("? 7"), [(Some("?"), Some("7")), (None, Some("7"))]);
        assert_eq!(read("nats-server 2.15.1")[1], (None, Some("2.15.1")));
        assert_eq!(libraries(None), [(None, None)]);
    }

    #[test]
    fn having_no_name_is_asked_where_the_other_conditions_are() {
        let unnamed = Conditions { unnamed: Some(true), ..Conditions::default() };
        assert_eq!(conditions_about(&unnamed, Dimension::Application), unnamed);
        assert_eq!(conditions_about(&unnamed, Dimension::Name), Conditions::default());
        let named = Conditions { unnamed: Some(false), name: Some("x".to_owned()), ..Conditions::default() };
        assert_eq!(conditions_about(&named, Dimension::Name), named);
        assert_eq!(conditions_about(&named, Dimension::Application), Conditions::default());
    }
}
