//! The names in a client's certificate.
//!
//! The certificate has been verified when it comes here. The alternative names are read by the library that did that;
//! the common name of the subject, which it does not care for, by a few lines for the one shape it has in DER.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::model::credential::CertificateName;

/// The object identifier of a common name, 2.5.4.3.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// The names in a certificate that was verified.
pub(in crate::app) fn names(certificate: &CertificateDer<'_>) -> Vec<CertificateName> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    let dns = certificate.valid_dns_names().map(|name| CertificateName::Dns(name.to_ascii_lowercase()));
    let uris = certificate.valid_uri_names().map(|name| CertificateName::Uri(name.to_owned()));
    dns.chain(uris).chain(common_name(certificate.subject()).map(CertificateName::CommonName)).collect()
}

/// The common name in a subject; with two of them nobody can tell which is meant.
fn common_name(subject: &[u8]) -> Option<String> {
    let mut names = common_names(subject)?;
    names.pop().filter(|_| names.is_empty())
}

/// The common names in a subject: sets of sequences of an identifier and a text.
fn common_names(mut subject: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    while !subject.is_empty() {
        let mut set = element(&mut subject, &[SET])?;
        while !set.is_empty() {
            let mut pair = element(&mut set, &[SEQUENCE])?;
            let identifier = element(&mut pair, &[OBJECT_IDENTIFIER])?;
            if identifier == COMMON_NAME {
                let text = element(&mut pair, &[UTF8_STRING, PRINTABLE_STRING, IA5_STRING])?;
                names.push(String::from_utf8(text.to_vec()).ok()?);
            }
        }
    }
    Some(names)
}

/// Takes one element of a kind off the front; its content.
fn element<'b>(bytes: &mut &'b [u8], kinds: &[u8]) -> Option<&'b [u8]> {
    let [kind, first, rest @ ..] = *bytes else { return None };
    if !kinds.contains(kind) {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => (usize::from(*rest.first()?) << 8 | usize::from(*rest.get(1)?), &rest[2..]),
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(content)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// An element in DER.
    fn der(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let head = match length {
            0..=0x7f => vec![kind, length as u8],
            0x80..=0xff => vec![kind, 0x81, length as u8],
            _ => vec![kind, 0x82, (length >> 8) as u8, length as u8],
        };
        [&head[..], content].concat()
    }

    fn attribute(identifier: &[u8], kind: u8, text: &str) -> Vec<u8> {
        let pair = [der(OBJECT_IDENTIFIER, identifier), der(kind, text.as_bytes())].concat();
        der(SET, &der(SEQUENCE, &pair))
    }

    #[test]
    fn common_names_are_found_among_others() {
        let organization = attribute(&[0x55, 0x04, 0x0a], UTF8_STRING, "Example");
        for length in [0, 1, 127, 128, 255, 256, 3000] {
            let name = "x".repeat(length);
            for kind in [UTF8_STRING, PRINTABLE_STRING, IA5_STRING] {
                let subject = [organization.clone(), attribute(&COMMON_NAME, kind, &name)].concat();
                assert_eq!(common_names(&subject), Some(vec![name.clone()]));
            }
        }
        assert_eq!(common_names(&organization), Some(vec![]));
        assert_eq!(common_names(&[]), Some(vec![]));
    }

    #[test]
    fn what_is_cut_off_or_of_another_shape_has_no_names() {
        let subject = attribute(&COMMON_NAME, UTF8_STRING, &"x".repeat(200));
        for end in 1..subject.len() {
            assert_eq!(common_names(&subject[..end]), None, "{end}");
        }
        let bmp_string = attribute(&COMMON_NAME, 0x1e, "a");
        assert_eq!(common_names(&bmp_string), None);
    }

    #[test]
    fn of_two_common_names_neither_counts() {
        let name = attribute(&COMMON_NAME, UTF8_STRING, "a");
        assert_eq!(common_name(&name).as_deref(), Some("a"));
        assert_eq!(common_name(&name.repeat(2)), None);
    }

    proptest! {
        #[test]
        fn no_subject_is_too_strange(subject in vec(any::<u8>(), 0..40), place in 0..40_usize, byte: u8) {
            let _ = common_name(&subject);
            let mut almost = attribute(&COMMON_NAME, UTF8_STRING, "a name");
            let place = place % almost.len();
            almost[place] = byte;
            let _ = common_name(&almost);
        }
    }
}
