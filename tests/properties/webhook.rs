//! What holds of every body of a notification, whoever made it up.

use connwarden::alertmanager::webhook::{content_digest, parse};
use connwarden::model::labels::{Fingerprint, Labels};
use jiff::Timestamp;

/// Fails unless a body is refused in one short line, or understood in a way that survives storage and does not depend
/// on the order of its alerts.
pub fn check(body: &[u8]) {
    let mut notification = match parse(body, Timestamp::UNIX_EPOCH) {
        Ok(notification) => notification,
        Err(refused) => {
            let line = refused.to_string();
            assert!(!line.contains(char::is_control) && line.chars().count() < 500, "{line:?}");
            return;
        }
    };
    let digest = content_digest(&notification);
    for alert in &notification.alerts {
        for labels in [&alert.labels, &alert.annotations] {
            let json = serde_json::to_string(labels).expect("labels can be written");
            assert_eq!(serde_json::from_str::<Labels>(&json).expect("and read"), *labels);
        }
        assert_eq!(alert.fingerprint.as_str().parse::<Fingerprint>().as_ref(), Ok(&alert.fingerprint));
        assert!(alert.value.is_none_or(|value| value.value.is_finite()), "{alert:?}");
        let stored = Timestamp::from_microsecond(alert.starts_at.as_microsecond());
        assert_eq!(stored.expect("it was an instant before"), alert.starts_at);
    }
    notification.alerts.reverse();
    assert_eq!(content_digest(&notification), digest, "the order of the alerts counts");
}
