//! What each kind of instance part looks like.
//!
//! Every function looks at the words from `at` on and returns how many of them are the part.

use std::net::Ipv6Addr;

use super::Word;

/// Words of that alphabet that name a technology when a digit follows them.
const POD_LOOKALIKES: [&str; 14] = [
    "html", "http", "grpc", "mqtt", "smtp", "xmpp", "sftp", "nntp", "rtmp", "rtsp", "snmp", "sql", "rs",
    "gpt",
];

/// What may follow a version number behind a dash.
///
/// `dev` and `pre` are not here: they are environments at least as often.
const PRE_RELEASES: [&str; 4] = ["alpha", "beta", "rc", "snapshot"];

/// The words of a name.
pub(super) struct Shapes<'a> {
    pub(super) words: &'a [Word<'a>],
    /// The separators behind the last word.
    pub(super) tail: &'a str,
}

impl Shapes<'_> {
    pub(super) fn uuid(&self, at: usize) -> Option<usize> {
        let lengths = [8, 4, 4, 4, 12];
        for (i, length) in lengths.into_iter().enumerate() {
            let word = self.text(at + i)?;
            let joined = i == 0 || self.gap(at + i) == "-";
            if !joined || word.len() != length || !word.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
        }
        Some(lengths.len())
    }

    pub(super) fn ip(&self, at: usize) -> Option<usize> {
        self.ipv4(at).or_else(|| self.dashed_ipv4(at)).or_else(|| self.ipv6(at))
    }

    fn ipv4(&self, at: usize) -> Option<usize> {
        if !self.octets(at, ".") || self.is_joined(at, ".") || self.continues(at + 4, ".") {
            return None;
        }
        Some(4 + self.port(at + 4))
    }

    /// `ip-10-0-3-17`, as cloud hosts are called.
    fn dashed_ipv4(&self, at: usize) -> Option<usize> {
        let is_word = self.text(at)?.eq_ignore_ascii_case("ip");
        let found = is_word && self.gap(at + 1) == "-" && self.octets(at + 1, "-");
        (found && !self.continues(at + 5, "-")).then_some(5)
    }

    /// `[2001:db8::1]`: the words up to the closing bracket.
    fn ipv6(&self, at: usize) -> Option<usize> {
        let opening = self.gap(at);
        let bracket = opening.rfind('[')?;
        let mut address = opening[bracket + 1..].to_owned();
        let mut next = at;
        loop {
            address.push_str(self.text(next)?.split('%').next().unwrap_or_default());
            next += 1;
            let gap = if next < self.words.len() { self.gap(next) } else { self.tail };
            if let Some(end) = gap.find(']') {
                address.push_str(&gap[..end]);
                break;
            }
            address.push_str(gap);
            // The longest address has eight words, and four more where an IPv4 one is written in it.
            if next - at > 12 {
                return None;
            }
        }
        address.parse::<Ipv6Addr>().ok()?;
        let has_port = next < self.words.len() && self.gap(next) == "]:" && is_port(self.text(next)?);
        Some(next - at + usize::from(has_port))
    }

    pub(super) fn version(&self, at: usize) -> Option<usize> {
        let first = self.text(at)?;
        if ["version", "v", "ver"].iter().any(|word| first.eq_ignore_ascii_case(word))
            && matches!(self.gap_or_tail(at + 1), " " | "-" | "_" | ":" | "/")
        {
            return self.bare_version(at + 1).map(|count| count + 1);
        }
        self.bare_version(at)
    }

    /// `1.2.3`, `v1.2.3`, with what a build puts behind it.
    fn bare_version(&self, at: usize) -> Option<usize> {
        let first = self.text(at)?;
        if self.is_joined(at, ".") || !is_number(first.strip_prefix(['v', 'V']).unwrap_or(first)) {
            return None;
        }
        let mut next = at + 1;
        while self.continues(next, ".") {
            next += 1;
        }
        if let Some((digits, _)) = self.joined(next, ".").and_then(|word| word.split_once('+'))
            && is_number(digits)
        {
            next += 1;
        }
        if next - at < 2 {
            return None;
        }
        next += self.pre_release(next);
        next += self.commits_since(next);
        Some(next - at)
    }

    /// `-rc.1`, `-beta2`, `-SNAPSHOT`.
    fn pre_release(&self, at: usize) -> usize {
        let Some(word) = self.joined(at, "-") else {
            return 0;
        };
        let letters = word.trim_end_matches(|c: char| c.is_ascii_digit()).to_ascii_lowercase();
        if !PRE_RELEASES.contains(&letters.as_str()) {
            return 0;
        }
        1 + usize::from(self.continues(at + 1, "."))
    }

    /// `-14-g2414721`, as `git describe` writes it.
    fn commits_since(&self, at: usize) -> usize {
        let commit = self.joined(at + 1, "-").and_then(|word| word.strip_prefix('g'));
        let is_commit =
            commit.is_some_and(|hash| hash.len() >= 7 && hash.bytes().all(|b| b.is_ascii_hexdigit()));
        if self.continues(at, "-") && is_commit { 2 } else { 0 }
    }

    /// `-7d4b9c8f6d-x2x4q` behind a deployment, `-x2x4q` behind a daemon set or a job.
    pub(super) fn pod(&self, at: usize) -> Option<usize> {
        let word = self.joined(at, "-")?;
        if at == 0 {
            return None;
        }
        if (6..=10).contains(&word.len())
            && is_pod_text(word)
            && let Some(suffix) = self.joined(at + 1, "-")
            && suffix.len() == 5
            && is_pod_text(suffix)
            // one hash in fifteen has no digit; without one, two words of so many consonants and no vowel are none
            && (has_digit(word) || has_digit(suffix) || word.len() >= 8)
        {
            return Some(2);
        }
        let last = self.gap_or_tail(at + 1) != "-";
        // A cron job's pods have the time in minutes before the suffix, which makes it certain.
        let after_time = self.text(at - 1).is_some_and(|time| time.len() >= 8 && is_number(time));
        let certain = after_time || (has_digit(word) && !is_pod_lookalike(word));
        (last && word.len() == 5 && is_pod_text(word) && certain).then_some(1)
    }

    /// 22 letters and digits of a NUID, 26 of a ULID.
    pub(super) fn nuid(&self, at: usize) -> Option<usize> {
        let word = self.text(at)?.as_bytes();
        let found = match word.len() {
            22 => is_nuid(word),
            26 => is_ulid(word),
            _ => false,
        };
        found.then_some(1)
    }

    pub(super) fn hex(&self, at: usize) -> Option<usize> {
        let word = self.text(at)?;
        if let Some(digits) = word.strip_prefix("0x") {
            let found = digits.len() >= 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            return found.then_some(1);
        }
        if word.len() < 6 || !word.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        if word.bytes().any(|b| b.is_ascii_lowercase()) && word.bytes().any(|b| b.is_ascii_uppercase()) {
            return None;
        }
        let letters = word.bytes().filter(u8::is_ascii_alphabetic).count();
        let digits = word.len() - letters;
        let leading = word.bytes().take_while(u8::is_ascii_alphabetic).count();
        // `cafe24` is a word with a number, `deadbeef` a word.
        let word_with_number = leading == letters && letters >= 4 && digits <= 2;
        let found = letters >= 16 || (letters > 0 && digits > 0 && !word_with_number);
        found.then_some(1)
    }

    /// A word of digits; `pid` and `pid-` before it belong to it.
    pub(super) fn number(&self, at: usize) -> Option<usize> {
        let word = self.text(at)?;
        if is_number(word) {
            return Some(1);
        }
        let behind_pid = word.get(..3).filter(|start| start.eq_ignore_ascii_case("pid"))?;
        let digits = &word[behind_pid.len()..];
        if is_number(digits) {
            return Some(1);
        }
        let next_is_number = self.text(at + 1).is_some_and(is_number);
        (digits.is_empty() && next_is_number).then_some(2)
    }

    /// Finds where 4 or more digits at the end of a word begin.
    pub(super) fn glued_number(&self, at: usize) -> Option<usize> {
        let word = self.text(at)?;
        let digits = word.bytes().rev().take_while(u8::is_ascii_digit).count();
        let kept = word.len() - digits;
        let is_pid = word[..kept].eq_ignore_ascii_case("pid");
        (kept > 0 && digits >= 4 && !is_pid).then_some(kept)
    }

    fn text(&self, at: usize) -> Option<&str> {
        self.words.get(at).map(|word| word.text)
    }

    fn gap(&self, at: usize) -> &str {
        self.words.get(at).map_or("", |word| word.gap)
    }

    /// The separators before the word `at`, or those at the end of the name.
    fn gap_or_tail(&self, at: usize) -> &str {
        self.words.get(at).map_or(self.tail, |word| word.gap)
    }

    /// The word at `at`, if exactly `separator` stands before it.
    fn joined(&self, at: usize, separator: &str) -> Option<&str> {
        self.words.get(at).filter(|word| word.gap == separator).map(|word| word.text)
    }

    /// Tells whether a number joined by `separator` stands at `at`.
    fn continues(&self, at: usize, separator: &str) -> bool {
        self.joined(at, separator).is_some_and(is_number)
    }

    /// Tells whether the word `at` continues a number by `separator`.
    fn is_joined(&self, at: usize, separator: &str) -> bool {
        at > 0 && self.gap(at) == separator && self.text(at - 1).is_some_and(is_number)
    }

    fn octets(&self, at: usize, separator: &str) -> bool {
        (0..4).all(|i| {
            let joined = i == 0 || self.gap(at + i) == separator;
            joined && self.text(at + i).is_some_and(|word| word.len() <= 3 && word.parse::<u8>().is_ok())
        })
    }

    /// Counts the words of a port: one or none.
    fn port(&self, at: usize) -> usize {
        usize::from(self.joined(at, ":").is_some_and(is_port))
    }
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit())
}

fn is_port(word: &str) -> bool {
    is_number(word) && word.parse::<u16>().is_ok()
}

fn has_digit(word: &str) -> bool {
    word.bytes().any(|b| b.is_ascii_digit())
}

/// The letters and digits of names that Kubernetes makes up: no vowels, nothing to misread.
fn is_pod_text(word: &str) -> bool {
    word.bytes().all(|b| {
        matches!(b, b'b'..=b'd' | b'f'..=b'h' | b'j'..=b'n' | b'p'..=b't' | b'v'..=b'x' | b'z' | b'2' | b'4'..=b'9')
    })
}

fn is_pod_lookalike(word: &str) -> bool {
    let letters = word.trim_end_matches(|c: char| c.is_ascii_digit());
    POD_LOOKALIKES.contains(&letters)
}

/// Random letters and digits change their class often, words in camel case seldom.
fn is_nuid(word: &[u8]) -> bool {
    const FEWEST_CHANGES: usize = 7;

    let class = |b: u8| match b {
        b'0'..=b'9' => Some(0),
        b'A'..=b'Z' => Some(1),
        b'a'..=b'z' => Some(2),
        _ => None,
    };
    let has = |wanted| word.iter().any(|b| class(*b) == Some(wanted));
    let changes = word.windows(2).filter(|pair| class(pair[0]) != class(pair[1])).count();
    word.iter().all(|b| class(*b).is_some()) && has(0) && has(1) && has(2) && changes >= FEWEST_CHANGES
}

/// The first character of a ULID is a digit up to 7, because its time has 48 bits.
fn is_ulid(word: &[u8]) -> bool {
    let upper = word.iter().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    let lower = word.iter().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
    let crockford = word.iter().all(|b| !matches!(b.to_ascii_uppercase(), b'I' | b'L' | b'O' | b'U'));
    let has_letter = word.iter().any(u8::is_ascii_alphabetic);
    matches!(word.first(), Some(b'0'..=b'7')) && (upper || lower) && crockford && has_letter
}
