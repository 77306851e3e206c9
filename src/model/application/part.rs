//! The kinds of instance-specific parts that a name may have.

use std::{fmt, str::FromStr};

/// A kind of text that differs per instance of an application.
///
/// The order is from the most telling kind to the least: a name that is nothing but a UUID and a
/// number is called `<uuid>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InstancePart {
    /// A UUID.
    Uuid,
    /// The hashes that Kubernetes puts behind the name of a workload.
    Pod,
    /// A NUID, as NATS clients make them, or a ULID.
    Nuid,
    /// Hex digits.
    Hex,
    /// An IP address, with or without a port.
    Ip,
    /// A version number.
    Version,
    /// A number.
    Number,
}

impl InstancePart {
    /// Every kind, in its order.
    pub const ALL: [Self; 7] =
        [Self::Uuid, Self::Pod, Self::Nuid, Self::Hex, Self::Ip, Self::Version, Self::Number];

    /// Returns the kind's name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::Pod => "pod",
            Self::Nuid => "nuid",
            Self::Hex => "hex",
            Self::Ip => "ip",
            Self::Version => "version",
            Self::Number => "number",
        }
    }

    /// Returns the application of a name that is nothing but such a part.
    pub fn placeholder(self) -> &'static str {
        match self {
            Self::Uuid => "<uuid>",
            Self::Pod => "<pod>",
            Self::Nuid => "<nuid>",
            Self::Hex => "<hex>",
            Self::Ip => "<ip>",
            Self::Version => "<version>",
            Self::Number => "<number>",
        }
    }

    /// Returns what counts as such a part, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Uuid => "UUIDs with dashes",
            Self::Pod => "Kubernetes pod suffixes",
            Self::Nuid => "NUIDs and ULIDs",
            Self::Hex => "6 or more hex digits, letters and numbers mixed",
            Self::Ip => "IP addresses with or without a port",
            Self::Version => "version numbers",
            Self::Number => "numbers, and 4 or more digits at the end of a word",
        }
    }

    /// Returns a client name that has such a part.
    pub fn example(self) -> &'static str {
        match self {
            Self::Uuid => "orders-550e8400-e29b-41d4-a716-446655440000",
            Self::Pod => "orders-api-7d4b9c8f6d-x2x4q",
            Self::Nuid => "orders.VkmFTZdfrr3qGnwv2LDkPT",
            Self::Hex => "mqttjs_1a2b3c4d",
            Self::Ip => "telegraf-10.1.2.3:49152",
            Self::Version => "NATS CLI Version 0.1.5",
            Self::Number => "orders-api@host-3[4711]",
        }
    }
}

impl fmt::Display for InstancePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for InstancePart {
    type Err = UnknownInstancePart;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|part| part.as_str() == text);
        found.ok_or_else(|| UnknownInstancePart(text.to_owned()))
    }
}

/// A set of kinds, asked about for every word of every name.
#[derive(Clone, Copy, Default)]
pub(super) struct Parts([bool; InstancePart::ALL.len()]);

impl Parts {
    pub(super) fn contain(self, part: InstancePart) -> bool {
        self.0[part as usize]
    }

    /// Lists them in their order.
    pub(super) fn iter(self) -> impl Iterator<Item = InstancePart> {
        InstancePart::ALL.into_iter().filter(move |part| self.contain(*part))
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<InstancePart> for Parts {
    fn from_iter<I: IntoIterator<Item = InstancePart>>(parts: I) -> Self {
        let mut set = Self::default();
        parts.into_iter().for_each(|part| set.0[part as usize] = true);
        set
    }
}

/// Says that a text names no kind of instance part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of instance part")]
pub struct UnknownInstancePart(pub String);
