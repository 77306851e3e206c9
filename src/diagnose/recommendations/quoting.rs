//! Quoting: how text from strangers gets into a snippet without doing anything there.

use crate::model::printable::visible;

/// Quotes a text for a POSIX shell; `None` if it has characters that cannot be seen, which nobody should paste.
pub(super) fn shell(text: &str) -> Option<String> {
    if text.is_empty() || visible(text) != text {
        return None;
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if text.chars().all(is_plain) && !text.starts_with(['-', '=', '~']) {
        return Some(text.to_owned());
    }
    Some(format!("'{}'", text.replace('\'', r"'\''")))
}

/// Quotes a text for YAML, in double quotes; what cannot be seen is escaped.
pub(super) fn yaml(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        let mut buffer = [0; 4];
        let alone: &str = character.encode_utf8(&mut buffer);
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            _ if visible(alone) == alone => quoted.push(character),
            _ if u32::from(character) <= 0xffff => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(character)))
            }
            _ => quoted.push_str(&format!("\\U{:08x}", u32::from(character))),
        }
    }
    quoted.push('"');
    quoted
}

/// Quotes a name for the configuration of nats-server, which knows no escapes in the names of accounts; `None` if it
/// cannot be written there.
pub(super) fn server_configuration(name: &str) -> Option<String> {
    is_word(name).then(|| format!("\"{name}\""))
}

/// Whether a name is nothing but letters, digits, `_`, `-` and `.`, and means the same everywhere.
pub(super) fn is_word(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    !name.is_empty() && name.len() <= 100 && name.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use saphyr_parser::{Event, Parser};

    use super::*;

    #[test]
    fn a_shell_takes_every_text_as_one_word() {
        assert_eq!(shell("http://n1:8222/").as_deref(), Some("http://n1:8222/"));
        assert_eq!(shell("a b").as_deref(), Some("'a b'"));
        assert_eq!(shell("$(reboot)`x`'; rm -rf / #").as_deref(), Some(r"'$(reboot)`x`'\''; rm -rf / #'"));
        assert_eq!(shell("-x").as_deref(), Some("'-x'"));
        assert_eq!(shell("a\nb"), None);
        assert_eq!(shell("a\u{202e}b"), None);
        assert_eq!(shell(""), None);
    }

    #[test]
    fn yaml_takes_every_text_as_one_string() {
        for text in
            ["plain", "a: b # c", "\"\\", "a\nb\t", "\u{7f}\u{85}\u{202e}", "\u{e0001}x", "{{ x }}", ""]
        {
            let quoted = yaml(text);
            let mut scalars = Parser::new_from_str(&quoted).filter_map(|event| match event.unwrap().0 {
                Event::Scalar(text, ..) => Some(text.into_owned()),
                _ => None,
            });
            assert_eq!(scalars.next().as_deref(), Some(text), "{quoted}");
            assert_eq!(scalars.next(), None, "{quoted}");
        }
    }

    #[test]
    fn only_plain_names_get_into_a_servers_configuration() {
        assert_eq!(server_configuration("APP-1.x_y").as_deref(), Some("\"APP-1.x_y\""));
        for name in ["", "a b", "a\"b", "$G", "a{b", "é"] {
            assert_eq!(server_configuration(name), None, "{name}");
        }
    }
}
