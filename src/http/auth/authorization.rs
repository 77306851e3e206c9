//! The header `Authorization`.

use axum::http::{HeaderMap, header};

/// What a request shows in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Authorization {
    /// Nothing.
    None,
    /// A token.
    Bearer(String),
    /// A user and a password, with a colon between them.
    Basic(String),
    /// Something that is not understood, or two things at once.
    Other,
}

impl Authorization {
    /// Reads it.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (value, another) = (values.next(), values.next());
        match (value, another) {
            (None, _) => Self::None,
            (Some(value), None) => value.to_str().ok().and_then(Self::parse).unwrap_or(Self::Other),
            (Some(_), Some(_)) => Self::Other,
        }
    }

    fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(' ')?;
        let rest = rest.trim_start();
        if scheme.eq_ignore_ascii_case("bearer") {
            Some(Self::Bearer(rest.to_owned()))
        } else if scheme.eq_ignore_ascii_case("basic") {
            String::from_utf8(from_base64(rest)?).ok().map(Self::Basic)
        } else {
            None
        }
    }
}

/// Reads base64, with or without the padding at its end.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 || digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in digits.bytes() {
        let value = DIGITS.iter().position(|other| *other == digit)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(values: &[&'static str]) -> Authorization {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        Authorization::of(&headers)
    }

    #[test]
    fn tokens_and_users_are_read() {
        assert_eq!(read(&[]), Authorization::None);
        assert_eq!(read(&["Bearer abc"]), Authorization::Bearer("abc".to_owned()));
        assert_eq!(read(&["bearer  abc"]), Authorization::Bearer("abc".to_owned()));
        // of RFC 7617
        let aladdin = Authorization::Basic("Aladdin:open sesame".to_owned());
        assert_eq!(read(&["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]), aladdin);
        assert_eq!(read(&["BASIC QWxhZGRpbjpvcGVuIHNlc2FtZQ"]), aladdin);
        assert_eq!(read(&["Basic dGVzdDoxMjPCow=="]), Authorization::Basic("test:123£".to_owned()));
    }

    #[test]
    fn what_is_not_understood_is_not_nothing() {
        for value in [
            "",
            "Bearer",
            "Digest abc",
            "Basic !",
            "Basic a",
            "Basic YQ===",
            "Basic /w==",
            "Basic YQ== YQ==",
            "abc",
        ] {
            assert_eq!(read(&[value]), Authorization::Other, "{value}");
        }
        assert_eq!(read(&["Bearer abc", "Bearer abc"]), Authorization::Other);
    }

    #[test]
    fn base64_of_any_length_is_read() {
        for (text, bytes) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(from_base64(text).unwrap(), bytes.as_bytes());
        }
    }
}
