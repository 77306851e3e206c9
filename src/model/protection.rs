//! Protection: connections that are never victims, whatever a selector says.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::owner::Pattern;
use crate::model::selector::Candidate;

/// Why a connection is never a victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProtectionReason {
    /// It is connwarden's own.
    Own,
    /// It is of the system account.
    SystemAccount,
    /// It is a leafnode.
    Leafnode,
    /// Its account is that of the authorisation callout: without it nobody can connect.
    AuthCallout,
    /// Its application is configured to be left alone.
    Application,
    /// Its name is.
    Name,
    /// Its account is.
    Account,
    /// Its user is.
    User,
    /// Its address is.
    Network,
}

impl ProtectionReason {
    /// Every reason, the strongest first.
    pub const ALL: [Self; 9] = [
        Self::Own,
        Self::SystemAccount,
        Self::Leafnode,
        Self::AuthCallout,
        Self::Application,
        Self::Name,
        Self::Account,
        Self::User,
        Self::Network,
    ];

    /// The reason, for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Own => "connwarden's own connection",
            Self::SystemAccount => "of the system account",
            Self::Leafnode => "leafnode",
            Self::AuthCallout => "account of the authorisation callout",
            Self::Application => "application protected by configuration",
            Self::Name => "name protected by configuration",
            Self::Account => "account protected by configuration",
            Self::User => "user protected by configuration",
            Self::Network => "address protected by configuration",
        }
    }
}

/// What is configured to be left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProtectedBySettings {
    /// Applications.
    pub applications: Vec<Pattern>,
    /// Client names.
    pub names: Vec<Pattern>,
    /// Accounts, by key or by name.
    pub accounts: Vec<Pattern>,
    /// Users.
    pub users: Vec<Pattern>,
    /// Client addresses.
    pub networks: Vec<IpNet>,
}

/// Which connections are never victims.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Protection {
    /// What is configured.
    pub settings: ProtectedBySettings,
    /// The system accounts of the servers; `$SYS` is one always.
    pub system_accounts: BTreeSet<String>,
    /// Accounts in which somebody answers authorisation callouts.
    pub callout_accounts: BTreeSet<String>,
    /// Our own connections, by nats id of the server and number.
    pub own: BTreeSet<(String, u64)>,
    /// What tells us from other connwardens: a connection that we have lost may be listed for minutes yet, under our name.
    pub own_instance: Option<String>,
}

impl Protection {
    /// Whether a connection is one of ours.
    pub fn is_own(&self, candidate: &Candidate<'_>) -> bool {
        // no copy of the id for each of many connections
        self.own.iter().any(|(id, cid)| *cid == candidate.cid && id == candidate.server_id)
    }

    /// Whether a connection is of a system account.
    pub fn is_of_system_account(&self, candidate: &Candidate<'_>) -> bool {
        let accounts = [Some(candidate.account), candidate.account_name];
        candidate.account == "$SYS"
            || accounts.iter().flatten().any(|name| self.system_accounts.contains(*name))
    }

    /// Why a connection is never a victim, if it is not: the strongest reason.
    pub fn of(&self, candidate: &Candidate<'_>) -> Option<ProtectionReason> {
        let fits = |patterns: &[Pattern], text: Option<&str>| {
            text.is_some_and(|text| patterns.iter().any(|pattern| pattern.matches(text)))
        };
        let accounts = [Some(candidate.account), candidate.account_name];
        let is_one_of =
            |known: &BTreeSet<String>| accounts.iter().flatten().any(|name| known.contains(*name));
        let settings = &self.settings;
        let reasons = [
            (self.is_own(candidate), ProtectionReason::Own),
            (self.is_of_system_account(candidate), ProtectionReason::SystemAccount),
            // whatever is not known for a client
            (!candidate.kind.is_some_and(|kind| kind.starts_with("client")), ProtectionReason::Leafnode),
            (is_one_of(&self.callout_accounts), ProtectionReason::AuthCallout),
            (fits(&settings.applications, candidate.application), ProtectionReason::Application),
            (fits(&settings.names, candidate.name), ProtectionReason::Name),
            (accounts.iter().any(|name| fits(&settings.accounts, *name)), ProtectionReason::Account),
            (fits(&settings.users, candidate.user), ProtectionReason::User),
            (
                candidate.ip.is_some_and(|ip| settings.networks.iter().any(|network| network.contains(&ip))),
                ProtectionReason::Network,
            ),
        ];
        reasons.into_iter().find(|(holds, _)| *holds).map(|(_, reason)| reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_protects_and_no_other_connection() {
        let plain = Candidate {
            server_id: "NA",
            cid: 7,
            application: Some("orders"),
            name: Some("orders-1"),
            ip: Some("10.1.2.3".parse().unwrap()),
            account: "APP",
            account_name: Some("Shop"),
            user: Some("alice"),
            kind: Some("client/nats"),
            ..Candidate::default()
        };
        let patterns = |text: &str| vec![Pattern::new(text)];
        let set = |text: &str| BTreeSet::from([text.to_owned()]);
        let none = Protection::default();
        let with = |settings: ProtectedBySettings| Protection { settings, ..Protection::default() };
        let settings = ProtectedBySettings::default;
        assert_eq!(none.of(&plain), None);
        let cases = [
            (
                Protection { own: BTreeSet::from([("NA".to_owned(), 7)]), ..none.clone() },
                ProtectionReason::Own,
            ),
            (Protection { system_accounts: set("Shop"), ..none.clone() }, ProtectionReason::SystemAccount),
            (Protection { callout_accounts: set("APP"), ..none.clone() }, ProtectionReason::AuthCallout),
            (
                with(ProtectedBySettings { applications: patterns("ord*"), ..settings() }),
                ProtectionReason::Application,
            ),
            (with(ProtectedBySettings { names: patterns("orders-?"), ..settings() }), ProtectionReason::Name),
            (
                with(ProtectedBySettings { accounts: patterns("Shop"), ..settings() }),
                ProtectionReason::Account,
            ),
            (with(ProtectedBySettings { users: patterns("alice"), ..settings() }), ProtectionReason::User),
            (
                with(ProtectedBySettings { networks: vec!["10.0.0.0/8".parse().unwrap()], ..settings() }),
                ProtectionReason::Network,
            ),
        ];
        let other = Candidate {
            server_id: "NB",
            cid: 8,
            application: Some("billing"),
            name: Some("billing-1"),
            ip: Some("192.168.0.1".parse().unwrap()),
            account: "B",
            account_name: None,
            user: Some("bob"),
            kind: Some("client/mqtt"),
            ..Candidate::default()
        };
        for (protection, reason) in cases {
            assert_eq!(protection.of(&plain), Some(reason));
            assert_eq!(protection.of(&other), None, "{reason:?}");
        }
        for (kind, account, reason) in [
            (Some("leafnode"), "APP", ProtectionReason::Leafnode),
            (None, "APP", ProtectionReason::Leafnode),
            (Some("client/nats"), "$SYS", ProtectionReason::SystemAccount),
        ] {
            assert_eq!(none.of(&Candidate { kind, account, ..plain.clone() }), Some(reason));
        }
    }
}
