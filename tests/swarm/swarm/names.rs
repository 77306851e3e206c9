//! Client names as real fleets have them: a template with what differs per instance.
//!
//! | Placeholder | Expands to |
//! | --- | --- |
//! | `{pod}` | replica set hash and pod suffix, `7d9f8b6c5-x2k4z`; the hash is the same for all clients of a template |
//! | `{uuid}` | a random (version 4) UUID |
//! | `{n}` | the instance number, counted from 0 per template |
//! | `{pid}` | a process id |
//! | `{hex}` | twelve hexadecimal digits, as a container id |

use super::error::PopulationError;
use super::random::{Random, digest};

/// The letters Kubernetes generates names from.
const POD_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const HEX_ALPHABET: &[u8] = b"0123456789abcdef";

/// A client name with placeholders.
#[derive(Debug, Clone)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Pod,
    Uuid,
    Number,
    Pid,
    Hex,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// [`PopulationError::UnknownPlaceholder`] if something else stands between braces.
    pub fn parse(text: &str) -> Result<Self, PopulationError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (placeholder, after) = after.split_once('}').unwrap_or((after, ""));
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(match placeholder {
                "pod" => Piece::Pod,
                "uuid" => Piece::Uuid,
                "n" => Piece::Number,
                "pid" => Piece::Pid,
                "hex" => Piece::Hex,
                _ => {
                    return Err(PopulationError::UnknownPlaceholder {
                        template: text.to_owned(),
                        placeholder: placeholder.to_owned(),
                    });
                }
            });
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// Writes the name of instance `number`, always the same for the same seed.
    pub fn expand(&self, seed: u64, number: usize) -> String {
        let template = digest(&self.text);
        let mut deployment = Random::new(seed, &[template]);
        let mut instance = Random::new(seed, &[template, number as u64]);
        let mut name = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Pod => {
                    name.push_str(&deployment.text(POD_ALPHABET, 9));
                    name.push('-');
                    name.push_str(&instance.text(POD_ALPHABET, 5));
                }
                Piece::Uuid => name.push_str(&uuid(&mut instance)),
                Piece::Number => name.push_str(&number.to_string()),
                Piece::Pid => name.push_str(&(300 + instance.below(65_000)).to_string()),
                Piece::Hex => name.push_str(&instance.text(HEX_ALPHABET, 12)),
            }
        }
        name
    }
}

fn uuid(random: &mut Random) -> String {
    let mut part = |length| random.text(HEX_ALPHABET, length);
    let (first, second, third, fourth, node) = (part(8), part(4), part(3), part(3), part(12));
    let variant = random.text(b"89ab", 1);
    format!("{first}-{second}-4{third}-{variant}{fourth}-{node}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(template: &str, number: usize) -> String {
        Template::parse(template).expect("a known placeholder").expand(1, number)
    }

    #[test]
    fn pods_of_one_deployment_share_the_replica_set() {
        let (first, second) = (expand("orders-api-{pod}", 0), expand("orders-api-{pod}", 1));

        assert_ne!(first, second);
        assert_eq!(first.len(), "orders-api-7d9f8b6c5-x2k4z".len());
        assert_eq!(first.rsplit_once('-').map(|(set, _)| set.len()), Some(20));
        assert_eq!(first[..21], second[..21]);
        assert_eq!(first, expand("orders-api-{pod}", 0));
    }

    #[test]
    fn every_placeholder_expands_to_its_shape() {
        assert_eq!(expand("web-{n}", 12), "web-12");
        assert_eq!(expand("plain", 3), "plain");
        assert_eq!(expand("a-{hex}", 0).len(), 2 + 12);
        assert!(expand("{pid}", 0).parse::<u32>().is_ok_and(|pid| pid >= 300));

        let uuid = expand("{uuid}", 0);
        let lengths: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&uuid[14..15], "4");
    }

    #[test]
    fn an_unknown_placeholder_is_named() {
        let error = Template::parse("api-{host}-{n}").expect_err("unknown");

        assert_eq!(
            error.to_string(),
            "cannot expand client name `api-{host}-{n}`: unknown placeholder `host` \
             (known: pod, uuid, n, pid, hex)",
        );
    }
}
