//! Label sets, and the fingerprint that names one.
//!
//! A fingerprint says which label set this is, not which occurrence: the same alert has the same
//! fingerprint every time it fires. Label names are any UTF-8 text, so they are never turned into
//! identifiers or columns.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The label that holds an alert's name.
pub const ALERT_NAME: &str = "alertname";

/// The labels of an alert, or of a group of alerts, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Finds the value of the label `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Lists the labels in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Finds the alert's name; an empty one counts as none.
    pub fn alert_name(&self) -> Option<&str> {
        self.get(ALERT_NAME).filter(|name| !name.is_empty())
    }

    /// Tells whether `other` has all of these labels, with the same values.
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.iter().all(|(name, value)| other.get(name) == Some(value))
    }

    /// Counts the labels.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there is no label at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Computes the fingerprint that Alertmanager gives an alert with exactly these labels.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Fnv1a::new();
        for (name, value) in self.iter() {
            for part in [name, value] {
                hash.write(part.as_bytes());
                hash.write(&[0xff]);
            }
        }
        Fingerprint(format!("{:016x}", hash.0))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(labels: I) -> Self {
        Self(labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// The name of a label set, as its sender gave it or as [`Labels::fingerprint`] computes it.
///
/// Alertmanager sends 16 lower-case hex digits. Other senders of the same webhook need not, and
/// what they send is only compared, so any short printable text is accepted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(String);

/// The longest fingerprint that is accepted, in bytes.
const FINGERPRINT_MAX_BYTES: usize = 64;

impl Fingerprint {
    /// Borrows the fingerprint's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = InvalidFingerprint;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() {
            Err(InvalidFingerprint::Empty)
        } else if text.len() > FINGERPRINT_MAX_BYTES {
            Err(InvalidFingerprint::TooLong(text.len()))
        } else if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            Err(InvalidFingerprint::Unprintable)
        } else {
            Ok(Self(text))
        }
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.0
    }
}

/// Why a text is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFingerprint {
    /// There is no text at all.
    #[error("a fingerprint cannot be empty")]
    Empty,

    /// The text is too long to be one.
    #[error("a fingerprint has at most {FINGERPRINT_MAX_BYTES} bytes, this one has {0}")]
    TooLong(usize),

    /// The text holds white space or control characters.
    #[error("a fingerprint cannot hold white space or control characters")]
    Unprintable,
}

/// The 64-bit Fowler-Noll-Vo hash, variant 1a.
struct Fnv1a(u64);

impl Fnv1a {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPTURE: &str = include_str!("../../tests/fixtures/alertmanager/single-firing.am-0.33.1.json");

    #[test]
    fn the_fingerprint_is_the_one_alertmanager_sends() {
        let notification: serde_json::Value = serde_json::from_str(CAPTURE).unwrap();
        let alert = &notification["alerts"][0];
        let labels: Labels = serde_json::from_value(alert["labels"].clone()).unwrap();
        let sent: Fingerprint = serde_json::from_value(alert["fingerprint"].clone()).unwrap();

        assert_eq!(labels.fingerprint(), sent);
        assert_eq!(labels.alert_name(), Some("NatsHighNumberOfConnections"));
        assert_eq!(labels.len(), 8);
    }

    #[test]
    fn no_labels_have_the_offset_basis_as_fingerprint() {
        assert_eq!(Labels::default().fingerprint().as_str(), "cbf29ce484222325");
    }

    #[test]
    fn the_order_of_labels_does_not_matter_but_their_borders_do() {
        let one = Labels::from_iter([("a", "1"), ("b", "2")]);
        let other = Labels::from_iter([("b", "2"), ("a", "1")]);
        let shifted = Labels::from_iter([("a", "1b"), ("", "2")]);

        assert_eq!(one.fingerprint(), other.fingerprint());
        assert_ne!(one.fingerprint(), shifted.fingerprint());
    }

    #[test]
    fn a_subset_has_no_other_label_and_no_other_value() {
        let few = Labels::from_iter([("a", "1")]);
        let many = Labels::from_iter([("a", "1"), ("b", "2")]);
        let other = Labels::from_iter([("a", "2"), ("b", "2")]);

        assert!(Labels::default().is_subset_of(&few) && few.is_subset_of(&few) && few.is_subset_of(&many));
        assert!(!many.is_subset_of(&few) && !few.is_subset_of(&other));
    }

    #[test]
    fn an_empty_alert_name_is_none() {
        assert_eq!(Labels::from_iter([(ALERT_NAME, "")]).alert_name(), None);
    }

    #[test]
    fn labels_are_a_plain_json_object() {
        let labels = Labels::from_iter([("ラベル", "x\ny"), ("a.b", "")]);
        let json = serde_json::to_string(&labels).unwrap();

        assert_eq!(json, r#"{"a.b":"","ラベル":"x\ny"}"#);
        assert_eq!(serde_json::from_str::<Labels>(&json).unwrap(), labels);
    }

    #[test]
    fn fingerprints_of_other_senders_are_kept_as_they_are() {
        for text in ["94fdb6a7190087da", "A", "sha256:0123", &"f".repeat(64)] {
            assert_eq!(text.parse::<Fingerprint>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_fingerprint_is_short_printable_text() {
        assert_eq!("".parse::<Fingerprint>(), Err(InvalidFingerprint::Empty));
        assert_eq!("f".repeat(65).parse::<Fingerprint>(), Err(InvalidFingerprint::TooLong(65)));
        for text in ["a b", "a\nb", "\u{1}"] {
            assert_eq!(text.parse::<Fingerprint>(), Err(InvalidFingerprint::Unprintable));
        }
        assert!(serde_json::from_str::<Fingerprint>(r#""""#).is_err());
    }
}
