//! What a server says of an account at `/accountz`, cut down to its limit of connections.
//!
//! In operator mode the limit stands in the account's JWT, which the server shows decoded (seen on 2.10.26 and 2.15.1).
//! In configuration mode no version that was tried tells it. A server knows an account of operator mode only once
//! somebody has connected to it there.

use serde::Deserialize;

/// The part of `/accountz?acc=…` that connwarden reads; the JWT itself, which is beside it, is not looked at.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Accountz {
    account_detail: Option<Detail>,
}

#[derive(Debug, Default, Deserialize)]
struct Detail {
    decoded_jwt: Option<Claims>,
}

#[derive(Debug, Default, Deserialize)]
struct Claims {
    nats: Option<AccountClaims>,
}

#[derive(Debug, Default, Deserialize)]
struct AccountClaims {
    limits: Option<Limits>,
}

#[derive(Debug, Default, Deserialize)]
struct Limits {
    conn: Option<i64>,
}

impl Accountz {
    /// How many connections the account may have: 0 means none, a negative number as many as it likes; `None` where
    /// the server does not tell.
    pub(super) fn connection_limit(self) -> Option<i64> {
        self.account_detail?.decoded_jwt?.nats?.limits?.conn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(json: &str) -> Option<i64> {
        serde_json::from_str::<Accountz>(json).unwrap().connection_limit()
    }

    #[test]
    fn operator_mode_tells_the_limit_and_configuration_mode_does_not() {
        let old = include_str!("../../tests/fixtures/nats/2.10.26/accountz-jwt.json");
        let new = include_str!("../../tests/fixtures/nats/2.15.1/accountz-jwt.json");
        assert_eq!((limit(old), limit(new)), (Some(77), Some(77)));
        assert_eq!(limit(include_str!("../../tests/fixtures/nats/2.15.1/accountz-APP.json")), None);
        assert_eq!(limit("{}"), None);
    }
}
