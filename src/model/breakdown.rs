//! Breakdowns: the connections of a snapshot counted along one dimension.
//!
//! Counts of connections are exact and always add up: groups plus `other` is `total`, and `total` is what was
//! seen. Keys are text from strangers.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::starts::StartHistogram;

/// What connections are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// Client names with what differs per instance taken off.
    Application,
    /// The client's name, else its MQTT client id.
    Name,
    /// The client's address; IPv4-mapped IPv6 addresses count as IPv4.
    Ip,
    /// The client's /24 (IPv4) or /64 (IPv6) network.
    Subnet,
    /// The NATS account.
    Account,
    /// The authorised user.
    User,
    /// The client library: language and version.
    Library,
    /// The kind of connection: client or leafnode, and the client's protocol.
    Kind,
    /// The NATS server.
    Server,
}

impl Dimension {
    /// Every dimension, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Application,
        Self::Name,
        Self::Ip,
        Self::Subnet,
        Self::Account,
        Self::User,
        Self::Library,
        Self::Kind,
        Self::Server,
    ];

    /// The dimension as it is written in `by`, in documents and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Name => "name",
            Self::Ip => "ip",
            Self::Subnet => "subnet",
            Self::Account => "account",
            Self::User => "user",
            Self::Library => "library",
            Self::Kind => "kind",
            Self::Server => "server",
        }
    }

    /// The dimension as a heading, for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Application => "Application",
            Self::Name => "Name",
            Self::Ip => "IP",
            Self::Subnet => "Subnet",
            Self::Account => "Account",
            Self::User => "User",
            Self::Library => "Library",
            Self::Kind => "Kind",
            Self::Server => "Server",
        }
    }

    /// What the group of connections that have no value is called.
    pub fn absent(self) -> &'static str {
        match self {
            Self::Application | Self::Name => "(unnamed)",
            Self::Ip | Self::Subnet => "(in-process)",
            // connz leaves the global account out
            Self::Account => "$G",
            Self::User => "(no user)",
            Self::Library => "(unknown library)",
            Self::Kind => "(unknown kind)",
            Self::Server => "(unknown server)",
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Not the name of a dimension.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown dimension `{0}`; there are {list}", list = Dimension::ALL.map(Dimension::name).join(", "))]
pub struct UnknownDimension(String);

impl FromStr for Dimension {
    type Err = UnknownDimension;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        Self::ALL
            .into_iter()
            .find(|dimension| dimension.name() == text)
            .ok_or_else(|| UnknownDimension(text.to_owned()))
    }
}

/// What a breakdown is by: one dimension, or two of them crossed.
///
/// Written `application` or `application/ip`, in `by`, in documents and in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct By {
    first: Dimension,
    second: Option<Dimension>,
}

/// Not what a breakdown can be by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBy {
    /// A part is no dimension.
    #[error(transparent)]
    Unknown(#[from] UnknownDimension),
    /// A dimension crossed with itself.
    #[error("`{0}/{0}` crosses a dimension with itself")]
    Same(Dimension),
    /// More crossings than one look is worth.
    #[error("at most {MOST_CROSSINGS} crossings can be asked for at once")]
    TooManyCrossings,
    /// More than two dimensions crossed.
    #[error("`{0}` crosses more than two dimensions")]
    TooMany(String),
}

/// How many crossings can be asked for at once: each may have as many groups as there are connections.
const MOST_CROSSINGS: usize = 4;

impl By {
    /// What is counted of every stored look: each dimension, and the addresses and the servers of each application.
    pub fn standard() -> Vec<Self> {
        let crossed =
            [Dimension::Ip, Dimension::Server].map(|second| Self::crossed(Dimension::Application, second));
        Dimension::ALL.into_iter().map(Self::from).chain(crossed).collect()
    }

    /// Two different dimensions, crossed.
    pub fn crossed(first: Dimension, second: Dimension) -> Self {
        Self { first, second: (first != second).then_some(second) }
    }

    /// The dimensions, one or two.
    pub fn dimensions(self) -> impl Iterator<Item = Dimension> {
        [Some(self.first), self.second].into_iter().flatten()
    }

    /// The first dimension.
    pub fn first(self) -> Dimension {
        self.first
    }

    /// The dimension that the first is crossed with.
    pub fn second(self) -> Option<Dimension> {
        self.second
    }

    /// Whether start times of its groups are counted where a look wishes for them: of those that can cause growth.
    pub fn tells_starts(self) -> bool {
        use Dimension::{Account, Application, Ip, User};
        match (self.first, self.second) {
            (first, None) => matches!(first, Application | Ip | Account | User),
            (first, Some(second)) => (first, second) == (Application, Ip),
        }
    }

    /// What it is by as a heading, for people.
    pub fn title(self) -> String {
        let titles: Vec<&str> = self.dimensions().map(Dimension::title).collect();
        titles.join(" / ")
    }

    /// Reads a comma list, each part of it once.
    ///
    /// # Errors
    ///
    /// A part that a breakdown cannot be by.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, InvalidBy> {
        let mut list: Vec<Self> = Vec::new();
        for part in text.split(',') {
            let by = part.parse()?;
            if !list.contains(&by) {
                list.push(by);
            }
        }
        if list.iter().filter(|by| by.second.is_some()).count() > MOST_CROSSINGS {
            return Err(InvalidBy::TooManyCrossings);
        }
        Ok(list)
    }
}

impl From<Dimension> for By {
    fn from(first: Dimension) -> Self {
        Self { first, second: None }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.second {
            None => self.first.fmt(f),
            Some(second) => f.pad(&format!("{}/{second}", self.first)),
        }
    }
}

impl FromStr for By {
    type Err = InvalidBy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('/');
        let first: Dimension = parts.next().unwrap_or_default().parse()?;
        let second = parts.next().map(Dimension::from_str).transpose()?;
        if parts.next().is_some() {
            return Err(InvalidBy::TooMany(text.trim().to_owned()));
        }
        if second == Some(first) {
            return Err(InvalidBy::Same(first));
        }
        Ok(Self { first, second })
    }
}

impl TryFrom<String> for By {
    type Error = InvalidBy;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<By> for String {
    fn from(by: By) -> Self {
        by.to_string()
    }
}

/// One breakdown per dimension, or per crossing of two.
pub type Breakdowns = BTreeMap<By, Breakdown>;

/// The connections of a snapshot counted along one dimension, or two crossed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Breakdown {
    /// The groups, those with most connections first.
    pub groups: Vec<Group>,
    /// Everything that is in no listed group.
    pub other: Other,
    /// All connections that were seen.
    pub total: Figures,
    /// When all of them began; only where start times were asked for.
    #[serde(default, skip_serializing_if = "StartHistogram::is_empty")]
    pub starts: StartHistogram,
}

/// The connections that share a key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// What they share. Text from strangers, at most 256 bytes for each dimension.
    pub key: String,
    /// Where two dimensions are crossed: what they share in each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub keys: BTreeMap<Dimension, String>,
    /// Set on the group of connections that have no value; its key is a placeholder such as `(unnamed)`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
    /// What the key is called, where the key itself is not readable: an account's name beside its public key, the name
    /// that DNS gives an address. Text from strangers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// One of the client names behind an application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
    /// How many of its connections may be missing here and counted in `other`, because there were too many
    /// distinct keys to keep them all; nearly always 0: the group is exact.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub undercount: u64,
    /// Share of all connections seen, from 0 to 1, rounded to four places.
    pub share: f64,
    /// What was counted.
    #[serde(flatten)]
    pub figures: Figures,
    /// When its connections began; only where start times were asked for, and of the 100 largest groups.
    #[serde(default, skip_serializing_if = "StartHistogram::is_empty")]
    pub starts: StartHistogram,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The connections that are in no listed group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Other {
    /// How many groups were folded together; unknown when there were too many to keep apart.
    pub groups: Option<u64>,
    /// Share of all connections seen, from 0 to 1, rounded to four places.
    pub share: f64,
    /// What was counted.
    #[serde(flatten)]
    pub figures: Figures,
}

/// What is counted of a set of connections.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Figures {
    /// Connections.
    pub connections: u64,
    /// Subscriptions they hold.
    pub subscriptions: u64,
    /// Connections without activity for at least the configured time; PING and PONG are no activity.
    pub idle: u64,
    /// Idle connections that have not sent or received one message since they connected.
    pub idle_without_traffic: u64,
    /// Connections that have not sent or received one message since they connected, idle or not.
    #[serde(default)]
    pub without_traffic: u64,
    /// Bytes the server has not been able to send yet.
    pub pending_bytes: u64,
    /// Messages received from the clients.
    pub in_msgs: u64,
    /// Messages sent to the clients.
    pub out_msgs: u64,
    /// Bytes received from the clients.
    pub in_bytes: u64,
    /// Bytes sent to the clients.
    pub out_bytes: u64,
    /// Start of the oldest connection.
    pub oldest_start: Option<Timestamp>,
    /// Start of the newest connection.
    pub newest_start: Option<Timestamp>,
    /// Distinct client addresses.
    pub distinct_ips: u64,
    /// Whether `distinct_ips` is exact; otherwise there are at least that many.
    pub distinct_ips_exact: bool,
}

impl Figures {
    /// Adds the figures of another, disjoint set of connections.
    ///
    /// Distinct addresses cannot be added: the larger number is kept as "at least".
    pub fn absorb(&mut self, more: &Self) {
        self.connections = self.connections.saturating_add(more.connections);
        self.subscriptions = self.subscriptions.saturating_add(more.subscriptions);
        self.idle = self.idle.saturating_add(more.idle);
        self.idle_without_traffic = self.idle_without_traffic.saturating_add(more.idle_without_traffic);
        self.without_traffic = self.without_traffic.saturating_add(more.without_traffic);
        self.pending_bytes = self.pending_bytes.saturating_add(more.pending_bytes);
        self.in_msgs = self.in_msgs.saturating_add(more.in_msgs);
        self.out_msgs = self.out_msgs.saturating_add(more.out_msgs);
        self.in_bytes = self.in_bytes.saturating_add(more.in_bytes);
        self.out_bytes = self.out_bytes.saturating_add(more.out_bytes);
        self.oldest_start = [self.oldest_start, more.oldest_start].into_iter().flatten().min();
        self.newest_start = self.newest_start.max(more.newest_start);
        let (mine, theirs) = (self.distinct_ips, more.distinct_ips);
        self.distinct_ips = mine.max(theirs);
        self.distinct_ips_exact =
            (mine == 0 && more.distinct_ips_exact) || (theirs == 0 && self.distinct_ips_exact);
    }
}

impl Breakdown {
    /// Leaves out when connections began.
    pub fn without_starts(mut self) -> Self {
        self.starts = StartHistogram::default();
        self.groups.iter_mut().for_each(|group| group.starts = StartHistogram::default());
        self
    }

    /// Keeps the `top` largest groups and folds the rest into `other`.
    pub fn top(mut self, top: usize) -> Self {
        if self.groups.len() <= top {
            return self;
        }
        let rest = self.groups.split_off(top);
        self.other.groups = self.other.groups.map(|groups| groups + rest.len() as u64);
        if self.other.figures.connections == 0 {
            self.other.figures = Figures { distinct_ips_exact: true, ..Figures::default() };
        }
        for group in &rest {
            self.other.figures.absorb(&group.figures);
        }
        self.other.share = share(self.other.figures.connections, self.total.connections);
        self
    }
}

/// The share of `part` in `whole`, rounded to four places; 0 of nothing.
pub fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    (part as f64 / whole as f64 * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(key: &str, connections: u64) -> Group {
        Group {
            key: key.to_owned(),
            keys: BTreeMap::new(),
            absent: false,
            label: None,
            example: None,
            undercount: 0,
            share: share(connections, 10),
            figures: Figures { connections, distinct_ips: 1, distinct_ips_exact: true, ..Figures::default() },
            starts: StartHistogram::default(),
        }
    }

    #[test]
    fn what_is_cut_off_stays_in_other() {
        let whole = Breakdown {
            groups: vec![group("a", 6), group("b", 3), group("c", 1)],
            other: Other { groups: Some(0), ..Other::default() },
            total: Figures { connections: 10, ..Figures::default() },
            starts: StartHistogram::default(),
        };
        let top = whole.clone().top(1);
        assert_eq!(top.groups.len(), 1);
        assert_eq!(top.other.figures.connections, 4);
        assert_eq!(top.other.groups, Some(2));
        assert_eq!(top.other.share, 0.4);
        assert!(!top.other.figures.distinct_ips_exact);
        assert_eq!(whole.clone().top(3), whole);
    }

    #[test]
    fn a_dimension_is_written_as_it_is_read() {
        for dimension in Dimension::ALL {
            assert_eq!(dimension.name().parse(), Ok(dimension));
        }
        for by in By::standard() {
            assert_eq!(by.to_string().parse(), Ok(by));
        }
    }

    #[test]
    fn a_list_is_read_once_and_mistakes_are_told() {
        let list: Vec<String> =
            By::parse_list("name, ip,name,application/ip").unwrap().iter().map(By::to_string).collect();
        assert_eq!(list, ["name", "ip", "application/ip"]);
        let refused = |text: &str| By::parse_list(text).unwrap_err().to_string();
        assert_eq!(
            refused("name,port"),
            "unknown dimension `port`; there are application, name, ip, subnet, account, user, library, kind, server"
        );
        assert_eq!(
            refused("application/ip,application/user,application/server,ip/user,account/user"),
            "at most 4 crossings can be asked for at once"
        );
        assert_eq!(refused("ip/ip"), "`ip/ip` crosses a dimension with itself");
        assert_eq!(refused("name/ip/user"), "`name/ip/user` crosses more than two dimensions");
    }
}
