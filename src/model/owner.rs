//! Owners: which team an application, an account, a user or an address belongs to, and how to reach it.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::breakdown::Dimension;

/// The team that owns something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Owner {
    /// What the team is called.
    pub team: String,
    /// Where its runbook is: `http` or `https`.
    pub runbook: Option<String>,
    /// How to reach it, such as a channel or an address.
    pub contact: Option<String>,
}

/// What belongs to an owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owned {
    /// Applications.
    Application(Pattern),
    /// NATS accounts.
    Account(Pattern),
    /// Users.
    User(Pattern),
    /// Client addresses.
    Network(IpNet),
}

/// A name, or a pattern of names: `*` stands for any characters, `?` for one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(String);

/// Who owns what. The most specific says it: a name before a pattern, of patterns the one that spells out most, of
/// networks the smallest; of equally specific ones the first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owners(Vec<(Owned, Owner)>);

impl Pattern {
    /// Takes a text as a pattern.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether a name fits.
    pub fn matches(&self, name: &str) -> bool {
        let (mut pattern, mut rest) = (self.0.chars(), name.chars());
        // what comes behind the last `*`, and from where on in the name that is tried
        let mut star = None;
        loop {
            let here = rest.clone();
            match (pattern.next(), rest.next()) {
                (None, None) => return true,
                (Some('*'), _) => {
                    rest = here;
                    star = Some((pattern.clone(), rest.clone()));
                }
                (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {}
                (Some(_), None) => return false,
                (_, Some(_)) => match &mut star {
                    // it stands for one character more
                    Some((behind, from)) => {
                        from.next();
                        (pattern, rest) = (behind.clone(), from.clone());
                    }
                    None => return false,
                },
            }
        }
    }

    /// Whether only one name fits.
    fn is_name(&self) -> bool {
        !self.0.contains(['*', '?'])
    }

    /// How specific it is: a name above all patterns, then by what is spelt out.
    fn weight(&self) -> (bool, usize) {
        (self.is_name(), self.0.chars().filter(|c| !matches!(c, '*' | '?')).count())
    }
}

impl Owned {
    /// How specific it is about a key of a breakdown; `None` if it is not about it.
    fn weight(&self, dimension: Dimension, key: &str) -> Option<(bool, usize)> {
        match (self, dimension) {
            (Self::Application(pattern), Dimension::Application)
            | (Self::Account(pattern), Dimension::Account)
            | (Self::User(pattern), Dimension::User) => pattern.matches(key).then(|| pattern.weight()),
            (Self::Network(network), Dimension::Ip) => {
                let address = key.parse::<IpAddr>().ok()?.to_canonical();
                network.contains(&address).then(|| (false, network.prefix_len().into()))
            }
            (Self::Network(network), Dimension::Subnet) => {
                let subnet = key.parse::<IpNet>().ok()?;
                network.contains(&subnet).then(|| (false, network.prefix_len().into()))
            }
            _ => None,
        }
    }
}

impl Owners {
    /// Takes what belongs to whom, in order.
    pub fn new(owners: impl IntoIterator<Item = (Owned, Owner)>) -> Self {
        Self(owners.into_iter().collect())
    }

    /// Finds the owner of a key of a breakdown by one dimension.
    pub fn of(&self, dimension: Dimension, key: &str) -> Option<&Owner> {
        let mut best: Option<((bool, usize), &Owner)> = None;
        for (owned, owner) in &self.0 {
            let Some(weight) = owned.weight(dimension, key) else { continue };
            if best.is_none_or(|(other, _)| weight > other) {
                best = Some((weight, owner));
            }
        }
        best.map(|(_, owner)| owner)
    }

    /// How many things are said to belong to somebody.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is said to belong to anybody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(team: &str) -> Owner {
        Owner { team: team.to_owned(), runbook: None, contact: None }
    }

    #[test]
    fn patterns_stand_for_names() {
        for (pattern, name, fits) in [
            ("orders-api", "orders-api", true),
            ("orders-api", "orders-api-2", false),
            ("orders-*", "orders-", true),
            ("*-api", "orders-api-2", false),
            ("*a*b*c", "xaxbxbxc", true),
            ("*a*b*c", "xaxcxb", false),
            ("?rders", "orders", true),
            ("?rders", "rders", false),
            ("*", "", true),
            ("", "", true),
            ("gr*e", "größe", true),
            ("a**b", "ab", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn matching_takes_no_longer_than_the_product_of_both_lengths() {
        let pattern = Pattern::new("*a".repeat(100) + "b");
        assert!(!pattern.matches(&"a".repeat(5000)));
    }

    #[test]
    fn the_most_specific_owner_wins() {
        let network = |text: &str| Owned::Network(text.parse().unwrap());
        let application = |text: &str| Owned::Application(Pattern::new(text));
        let owners = Owners::new([
            (application("*"), owner("everybody")),
            (application("orders-*"), owner("orders")),
            (application("orders-api"), owner("api")),
            (application("orders-?*"), owner("late")),
            (Owned::Account(Pattern::new("PAYMENTS")), owner("payments")),
            (Owned::User(Pattern::new("svc-*")), owner("services")),
            (network("10.0.0.0/8"), owner("company")),
            (network("10.4.0.0/16"), owner("building")),
            (network("2001:db8::/32"), owner("six")),
        ]);
        for (dimension, key, team) in [
            (Dimension::Application, "orders-api", Some("api")),
            (Dimension::Application, "orders-worker", Some("orders")),
            (Dimension::Application, "mailer", Some("everybody")),
            (Dimension::Account, "PAYMENTS", Some("payments")),
            (Dimension::Account, "payments", None),
            (Dimension::User, "svc-mail", Some("services")),
            (Dimension::Ip, "10.4.1.1", Some("building")),
            (Dimension::Ip, "::ffff:10.5.1.1", Some("company")),
            (Dimension::Ip, "192.168.0.1", None),
            (Dimension::Ip, "nonsense", None),
            (Dimension::Ip, "2001:db8::1", Some("six")),
            (Dimension::Subnet, "10.4.7.0/24", Some("building")),
            (Dimension::Subnet, "11.0.0.0/24", None),
            (Dimension::Name, "orders-api", None),
        ] {
            assert_eq!(
                owners.of(dimension, key).map(|owner| owner.team.as_str()),
                team,
                "{dimension:?} {key}"
            );
        }
    }
}
