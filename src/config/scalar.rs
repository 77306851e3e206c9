//! Texts of the configuration that stand for something else: durations, sizes, addresses, levels.
//!
//! Every reader returns a message for people, without a place: the caller knows that.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use tracing_subscriber::EnvFilter;

use super::suggestion::did_you_mean;

/// Reads a duration as Prometheus writes it: `5m`, `1h30m`, `500ms`.
///
/// # Errors
///
/// A message for people, if it is none.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];

    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let wrong = |hint: &str| {
        Err(format!("expected a duration such as `30s`, `5m` or `1h30m`, found {}{hint}", quoted(text)))
    };
    let too_long = || format!("the duration {} is too long", quoted(text));

    let mut milliseconds: u64 = 0;
    let mut units = UNITS.as_slice();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at(digits);
        let letters = behind.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, behind) = behind.split_at(letters);
        if number.is_empty() {
            return wrong("");
        }
        if unit.is_empty() && behind.is_empty() && rest.len() == text.len() {
            return wrong(&format!(", write `{number}s` for seconds"));
        }
        let Some(index) = units.iter().position(|(name, _)| *name == unit) else {
            let known = UNITS.iter().any(|(name, _)| *name == unit);
            return wrong(if known { ", write larger units first and each once" } else { "" });
        };
        milliseconds = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(units[index].1))
            .and_then(|part| milliseconds.checked_add(part))
            .ok_or_else(too_long)?;
        units = &units[index + 1..];
        rest = behind;
    }
    if text.is_empty() { wrong("") } else { Ok(Duration::from_millis(milliseconds)) }
}

/// Reads a duration that is longer than nothing and at most `longest`.
pub(super) fn duration_up_to(text: &str, longest: Duration) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("must be longer than 0".to_owned()),
        duration if duration > longest => {
            Err(format!("must be at most {}s, found {}", longest.as_secs(), quoted(text)))
        }
        duration => Ok(duration),
    }
}

/// Reads a size in bytes: `1048576`, `16MiB`, `2GB`.
///
/// # Errors
///
/// A message for people, if it is none.
pub fn parse_size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 9] = [
        ("", 1),
        ("B", 1),
        ("kB", 1000),
        ("KB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ];

    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let (Some(factor), false) = (factor, number.is_empty()) else {
        let hint = did_you_mean(unit, UNITS.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()));
        let hint = if number.is_empty() || unit.is_empty() { "" } else { &hint };
        return Err(format!(
            "expected a size such as `16MiB`, `2GB` or plain bytes, found {}{hint}",
            quoted(text)
        ));
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| format!("the size {} is too large", quoted(text)))
}

/// Reads a size between two bounds, both included.
pub(super) fn size_between(text: &str, smallest: u64, largest: u64) -> Result<u64, String> {
    let size = parse_size(text)?;
    if size < smallest {
        Err(format!("must be at least {}, found {}", binary(smallest), quoted(text)))
    } else if size > largest {
        Err(format!("must be at most {}, found {}", binary(largest), quoted(text)))
    } else {
        Ok(size)
    }
}

fn binary(bytes: u64) -> String {
    match bytes.trailing_zeros() {
        30.. => format!("{}GiB", bytes >> 30),
        20.. => format!("{}MiB", bytes >> 20),
        10.. => format!("{}KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

/// Reads a whole number from 1 on.
pub(super) fn count(text: &str) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(count) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(count),
        _ => Err(format!("expected a whole number such as `10000`, found {}", quoted(text))),
    }
}

/// Reads a truth value.
pub(super) fn truth(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("expected `true` or `false`, found {}", quoted(text)))
}

/// Reads an address to listen on; host names are not resolved.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let hint = match text.rsplit_once(':') {
            Some(("", port)) if is_port(port) => {
                format!(", write `0.0.0.0{text}` for all addresses")
            }
            Some(("localhost", port)) if is_port(port) => {
                format!(", host names are not resolved, write `127.0.0.1:{port}`")
            }
            Some((host, port)) if is_port(port) && host.starts_with(|c: char| c.is_alphabetic()) => {
                ", host names are not resolved".to_owned()
            }
            None if is_port(text) => format!(", write `127.0.0.1:{text}`"),
            _ => String::new(),
        };
        format!("expected an address and a port such as `127.0.0.1:9480`, found {}{hint}", quoted(text))
    })
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

/// Reads a path that is not empty.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        Err("expected a path".to_owned())
    } else {
        Ok(PathBuf::from(text))
    }
}

/// Reads a log level, or filter directives such as `info,connwarden=debug`.
///
/// # Errors
///
/// A message for people, if it is neither.
pub fn parse_log_level(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

    let expected = "expected `error`, `warn`, `info`, `debug`, `trace` or filter directives";
    if text.trim().is_empty() {
        return Err(expected.to_owned());
    }
    // The filter takes an unknown word for a target, to be logged in full.
    let words = text.split(',').map(str::trim).filter(|word| !word.contains(['=', '[', ']', '{', '}']));
    for word in words {
        if !LEVELS.contains(&word.to_ascii_lowercase().as_str()) {
            let hint = did_you_mean(word, LEVELS);
            let hint = if hint.is_empty() { format!(", write `{word}=debug` for a target") } else { hint };
            return Err(format!("{expected}, found {}{hint}", quoted(word)));
        }
    }
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{expected}: {error}")),
    }
}

/// Reads the prefix of metric names.
pub(super) fn metric_prefix(text: &str) -> Result<String, String> {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':');
    let goes_on_well = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    if !starts_well || !goes_on_well {
        return Err(format!("expected the prefix of metric names such as `gnatsd`, found {}", quoted(text)));
    }
    match text.strip_suffix('_') {
        Some(shorter) => Err(format!("the `_` behind the prefix is added, write `{shorter}`")),
        None => Ok(text.to_owned()),
    }
}

/// Reads a name that is short and safe anywhere: `[A-Za-z0-9_.-]{1,63}`.
pub(super) fn cluster_name(text: &str) -> Result<String, String> {
    let safe = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if safe && (1..=63).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "expected 1 to 63 of the characters A-Z, a-z, 0-9, `_`, `.`, `-`, found {}",
            quoted(text)
        ))
    }
}

/// Reads the id of a tenant, as `X-Scope-OrgID` takes it: of several, with `|` between them.
pub(super) fn tenant(text: &str) -> Result<String, String> {
    // what Mimir and Loki allow in one, and the `|`
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "!-_.*'()|".contains(c);
    if text.is_empty() || text.len() > 150 || !text.chars().all(is_allowed) {
        let expected =
            "expected a tenant of 1 to 150 letters, digits and `!-_.*'()`, with `|` between several";
        Err(format!("{expected}, found {}", quoted(text)))
    } else {
        Ok(text.to_owned())
    }
}

/// Reads the name of an alert.
pub(super) fn alert_name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("expected the name of an alert".to_owned()) } else { Ok(text.to_owned()) }
}

/// Reads the name of an account, or its public key.
pub(super) fn account(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("expected the name of an account".to_owned()) } else { Ok(text.to_owned()) }
}

/// Reads a number of connections.
pub(super) fn connections(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("expected a number of connections such as `1000`, found {}", quoted(text)))
}

/// Reads a share: above 0, at most 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err(format!("expected a share above 0 and up to 1 such as `0.8`, found {}", quoted(text))),
    }
}

/// Reads a positive number.
pub(super) fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor > 0.0 && factor.is_finite() => Ok(factor),
        _ => Err(format!("expected a number above 0 such as `2`, found {}", quoted(text))),
    }
}

/// Quotes a text for a message, shortened and without control characters.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;

    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().count() > LONGEST {
        shown.push('…');
    }
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_what_the_header_takes() {
        for text in ["team-a", "team-a|team.b", "1", "(x)*'!_"] {
            assert_eq!(tenant(text).as_deref(), Ok(text));
        }
        for text in ["", "a b", "a\r\nX-Other: b", "größe", "a/b", &"a".repeat(151)] {
            let error = tenant(text).unwrap_err();
            assert!(error.starts_with("expected a tenant of 1 to 150 letters"), "{error}");
        }
    }

    #[test]
    fn durations_are_read_as_prometheus_writes_them() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("1w", 604_800_000),
            ("1y", 31_536_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        let wrong = ["", "30", "s", "-5s", "5 m", "1.5h", "5M", "30m1h", "1m1m", "5x", "5mx", "1h30"];
        for text in wrong {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("99999999999999999999s").is_err());
        assert!(parse_duration("9999999999y").is_err());
    }

    #[test]
    fn sizes_are_decimal_or_binary() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1_048_576),
            ("12B", 12),
            ("1kB", 1000),
            ("1KB", 1000),
            ("1KiB", 1024),
            ("16MiB", 16_777_216),
            ("16 MiB", 16_777_216),
            ("2MB", 2_000_000),
            ("2GiB", 2_147_483_648),
            ("2GB", 2_000_000_000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        let wrong = ["", "MiB", "-1", "1.5MiB", "1mib", "1M", "1TiB", "99999999999GiB"];
        for text in wrong {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn log_levels_are_levels_or_directives() {
        for text in ["info", "INFO", "off", "info,connwarden=debug", "connwarden::http[span{a=1}]=trace"] {
            assert_eq!(parse_log_level(text), Ok(text.to_owned()), "{text}");
        }
        for text in ["", " ", "inof", "verbose", "info,connwarden", "connwarden=loud"] {
            assert!(parse_log_level(text).is_err(), "{text}");
        }
    }

    #[test]
    fn quoted_texts_are_short_and_on_one_line() {
        assert_eq!(quoted("a\nb\u{1b}"), r"`a\nb\u{1b}`");
        assert_eq!(quoted(&"x".repeat(99)).chars().count(), 63);
    }
}
