//! What a statement of the server says about connections.

use crate::model::log_evidence::LogKind;

/// How statements begin, as nats-server 2.9 to 2.15 make them; letters count as capital and small alike.
const BEGINNINGS: [(&str, LogKind); 22] = [
    ("maximum connections exceeded", LogKind::ServerLimit),
    ("maximum account active connections exceeded", LogKind::AccountLimit),
    ("authentication error", LogKind::AuthError),
    ("authentication timeout", LogKind::AuthTimeout),
    ("user authentication expired", LogKind::AuthError),
    ("account authentication expired", LogKind::AuthError),
    ("auth callout service returned an error", LogKind::CalloutDenied),
    ("authorization callout response not received", LogKind::CalloutDenied),
    ("slow consumer detected", LogKind::SlowConsumer),
    ("slow consumer state", LogKind::SlowConsumer),
    ("producer was stalled", LogKind::StalledProducer),
    ("readloop processing time", LogKind::SlowReadLoop),
    ("stale client connection", LogKind::Stale),
    ("tls handshake", LogKind::TlsError),
    ("client parser error", LogKind::ProtocolError),
    ("maximum payload exceeded", LogKind::ProtocolError),
    ("maximum subscriptions exceeded", LogKind::ProtocolError),
    ("maximum control line exceeded", LogKind::ProtocolError),
    ("reloaded server configuration", LogKind::Reload),
    ("failed to reload server configuration", LogKind::ReloadFailed),
    ("entering lame duck mode", LogKind::LameDuck),
    ("starting nats-server", LogKind::Start),
];

/// A regular expression that finds all lines that count, and some others, for those who keep many more. In the
/// syntax that Go, Rust and Loki share.
pub(super) const PATTERN: &str = "(?i)maximum (account active )?connections exceeded|authentication (error|timeout|expired)|\
auth(orization)? callout|slow consumer|producer was stalled|readloop processing|stale client|tls handshake|\
client parser error|maximum (payload|subscriptions|control line) exceeded|too many open files|reload|\
to fall within max_connections|lame duck|starting nats-server|server exiting|initiating shutdown|version:";

/// What a statement says; `None` if nothing about connections.
pub(super) fn kind_of(level: &str, statement: &str) -> Option<LogKind> {
    // what is traced is what clients send
    if level == "TRC" {
        return None;
    }
    let begins = |beginning: &str| {
        statement.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning))
    };
    let known = BEGINNINGS.iter().find(|(beginning, _)| begins(beginning)).map(|(_, kind)| *kind);
    known.filter(|kind| *kind != LogKind::TlsError || level != "DBG").or_else(|| {
        let accepts = begins("temporary client accept error") || begins("monitoring: accept error");
        if accepts && statement.contains("too many open files") {
            Some(LogKind::OutOfDescriptors)
        } else if begins("closed ") && statement.ends_with("connections to fall within max_connections") {
            Some(LogKind::Trimmed)
        } else if begins("server exiting") {
            Some(LogKind::Stop)
        } else {
            None
        }
    })
}

/// The version that a server says it has when it starts.
pub(super) fn version(statement: &str) -> Option<&str> {
    let version = statement.trim_start().strip_prefix("Version:")?.trim();
    version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
}

/// Whether a server of this version writes fewer refusals than there are; `None` if that cannot be read.
pub(super) fn is_rate_limited(version: &str) -> Option<bool> {
    let mut parts = version.trim_start_matches('v').split(['.', '-', '+']);
    let major: u32 = parts.next()?.parse().ok()?;
    let minor: u32 = parts.next()?.parse().ok()?;
    Some((major, minor) >= (2, 12))
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;
    use LogKind::*;

    #[test]
    fn what_the_server_says_is_recognised() {
        let cases = [
            ("ERR", "maximum connections exceeded", Some(ServerLimit)),
            ("ERR", "maximum connections exceeded - Account:APP - user:alice", Some(ServerLimit)),
            ("ERR", "maximum account active connections exceeded", Some(AccountLimit)),
            ("ERR", "authentication error - User \"maximum connections exceeded\"", Some(AuthError)),
            ("DBG", "Authentication Timeout", Some(AuthTimeout)),
            ("WRN", "Auth callout service returned an error: denied by policy: x", Some(CalloutDenied)),
            ("INF", "Slow Consumer Detected: MaxPending of 1048576 Exceeded", Some(SlowConsumer)),
            ("INF", "Slow Consumer Recovered: Flush took 1.000s", None),
            ("WRN", "Producer was stalled for a total of 6ms", Some(StalledProducer)),
            ("WRN", "Readloop processing time: 2.000552319s", Some(SlowReadLoop)),
            ("DBG", "Stale Client Connection - Closing", Some(Stale)),
            ("ERR", "TLS handshake error: EOF", Some(TlsError)),
            ("DBG", "TLS handshake complete", None),
            ("ERR", "Client parser ERROR, state=0, i=0: proto='\"GET / HTTP/1.1\"...'", Some(ProtocolError)),
            ("ERR", "maximum payload exceeded: 100000 vs 65536", Some(ProtocolError)),
            (
                "ERR",
                "Temporary Client Accept Error(accept tcp 127.0.0.1:4222: accept4: too many open files), sleeping 10ms",
                Some(OutOfDescriptors),
            ),
            (
                "ERR",
                "monitoring: Accept error: accept tcp 127.0.0.1:8222: accept4: too many open files; retrying in 5ms",
                Some(OutOfDescriptors),
            ),
            ("INF", "Closed 101 connections to fall within max_connections", Some(Trimmed)),
            ("INF", "Reloaded: max_connections = 300", None),
            ("INF", "Reloaded server configuration (sha256:a2)", Some(Reload)),
            ("ERR", "Failed to reload server configuration: x", Some(ReloadFailed)),
            ("INF", "Starting nats-server", Some(Start)),
            ("INF", "Server Exiting..", Some(Stop)),
            ("INF", "Entering lame duck mode, stop accepting new clients", Some(LameDuck)),
            ("TRC", "maximum connections exceeded", None),
            ("INF", "", None),
            ("INF", "é", None),
        ];
        let pattern = Regex::new(PATTERN).unwrap();
        for (level, statement, kind) in cases {
            assert_eq!(kind_of(level, statement), kind, "{statement}");
            assert!(kind.is_none() || pattern.is_match(statement), "{statement}");
        }
        assert!(pattern.is_match("  Version:  2.15.1"));
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert_eq!(version("  Version:  2.15.1"), Some("2.15.1"));
        assert_eq!(version("Version: latest"), None);
        let cases = [
            ("2.9.10", Some(false)),
            ("2.11.11", Some(false)),
            ("2.12.0-RC.1", Some(true)),
            ("v2.15.1", Some(true)),
            ("3.0.0", Some(true)),
            ("2", None),
            ("unknown", None),
        ];
        for (version, limited) in cases {
            assert_eq!(is_rate_limited(version), limited, "{version}");
        }
    }
}
