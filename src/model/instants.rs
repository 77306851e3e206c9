//! Instants that are so much later or earlier than others, as far as there are any.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The instant so much later, or the last there is.
pub fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_add(signed(by)).unwrap_or(Timestamp::MAX)
}

/// The instant so much earlier, or the first there is.
pub fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_sub(signed(by)).unwrap_or(Timestamp::MIN)
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_nothing_later_than_the_last_and_earlier_than_the_first() {
        let (at, hour) = (Timestamp::UNIX_EPOCH, Duration::from_secs(3600));
        assert_eq!(later(at, hour).as_second(), 3600);
        assert_eq!(earlier(at, hour).as_second(), -3600);
        assert_eq!((later(at, Duration::MAX), later(Timestamp::MAX, hour)), (Timestamp::MAX, Timestamp::MAX));
        assert_eq!(
            (earlier(at, Duration::MAX), earlier(Timestamp::MIN, hour)),
            (Timestamp::MIN, Timestamp::MIN)
        );
    }
}
