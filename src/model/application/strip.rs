//! Takes instance parts off a name, by hand: this runs once for each of up to a million names.
//!
//! A name is cut into words at separators. Each kind looks at the words from one position on and
//! says how many it takes, or how much of the one word. What is left is joined again.

mod shape;

use super::InstancePart;
use super::part::Parts;
use shape::Shapes;

/// What is left of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stripped {
    /// The name has no instance part.
    Nothing,
    /// This is left, and not empty.
    Rest(String),
    /// The name is nothing but instance parts; this is the most telling one.
    Everything(InstancePart),
}

/// A run of characters between separators.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'a> {
    /// The separators before it.
    pub(super) gap: &'a str,
    pub(super) text: &'a str,
}

/// Takes every part of the kinds in `kinds` off `name`.
pub(super) fn strip(name: &str, kinds: Parts) -> Stripped {
    let (words, tail) = words(name);
    let shapes = Shapes { words: &words, tail };
    // most names come by once more, with nothing left to take off: nothing is put together for those
    let Some((first, found)) = (0..words.len()).find_map(|at| Some((at, find(&shapes, at, kinds)?))) else {
        return Stripped::Nothing;
    };
    let mut found = Some(found);
    let mut output = Output { text: String::with_capacity(name.len()), ..Output::default() };
    words[..first].iter().for_each(|word| output.keep(word.gap, word.text));
    let mut most_telling: Option<InstancePart> = None;

    let mut position = first;
    while position < words.len() {
        let word = words[position];
        match found.take().or_else(|| find(&shapes, position, kinds)) {
            None => {
                output.keep(word.gap, word.text);
                position += 1;
            }
            Some((part, found)) => {
                most_telling = Some(most_telling.map_or(part, |earlier| earlier.min(part)));
                match found {
                    Found::Words(count) => {
                        for word in &words[position..position + count] {
                            output.drop(word.gap);
                        }
                        position += count;
                    }
                    Found::TailOfWord(kept) => {
                        output.keep(word.gap, &word.text[..kept]);
                        output.drop("");
                        position += 1;
                    }
                }
            }
        }
    }

    match most_telling {
        None => Stripped::Nothing,
        Some(part) => match output.finish(tail) {
            rest if rest.is_empty() => Stripped::Everything(part),
            rest => Stripped::Rest(rest),
        },
    }
}

/// Whether `rest` can be what is left of `name`: told without looking for parts, so that a yes is no promise.
pub(super) fn can_leave(name: &str, rest: &str) -> bool {
    let is_between_words = |c: char| u8::try_from(c).is_ok_and(is_separator);
    let first_word = rest.split(is_between_words).find(|word| !word.is_empty());
    // what is left of a word is its beginning; but where a bracket goes, words grow together
    first_word.is_none_or(|word| name.contains(word)) || name.contains(is_bracket)
}

/// How much of the words a part takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// So many whole words.
    Words(usize),
    /// The end of the first word, behind so many bytes.
    TailOfWord(usize),
}

fn find(shapes: &Shapes<'_>, position: usize, kinds: Parts) -> Option<(InstancePart, Found)> {
    // Ordered so that what is longer comes before what could be a piece of it.
    const ORDER: [InstancePart; 7] = [
        InstancePart::Uuid,
        InstancePart::Ip,
        InstancePart::Version,
        InstancePart::Pod,
        InstancePart::Nuid,
        InstancePart::Hex,
        InstancePart::Number,
    ];
    ORDER.into_iter().filter(|part| kinds.contain(*part)).find_map(|part| {
        let words = match part {
            InstancePart::Uuid => shapes.uuid(position),
            InstancePart::Ip => shapes.ip(position),
            InstancePart::Version => shapes.version(position),
            InstancePart::Pod => shapes.pod(position),
            InstancePart::Nuid => shapes.nuid(position),
            InstancePart::Hex => shapes.hex(position),
            InstancePart::Number => {
                if let Some(kept) = shapes.glued_number(position) {
                    return Some((part, Found::TailOfWord(kept)));
                }
                shapes.number(position)
            }
        };
        words.map(|count| (part, Found::Words(count)))
    })
}

/// Tells whether `byte` separates words. No byte of a character outside ASCII does.
fn is_separator(byte: u8) -> bool {
    matches!(
        byte,
        b'-' | b'_' | b'.' | b':' | b'/' | b'@' | b'#' | b'[' | b']' | b'(' | b')' | b',' | b';' | b' '
    )
}

/// Cuts `name` into words, and the separators behind the last one.
fn words(name: &str) -> (Vec<Word<'_>>, &str) {
    let mut words = Vec::with_capacity(8);
    let mut rest = name;
    loop {
        let start = rest.bytes().position(|byte| !is_separator(byte)).unwrap_or(rest.len());
        let (gap, from_word) = rest.split_at(start);
        if from_word.is_empty() {
            return (words, gap);
        }
        let end = from_word.bytes().position(is_separator).unwrap_or(from_word.len());
        let (text, behind) = from_word.split_at(end);
        words.push(Word { gap, text });
        rest = behind;
    }
}

/// Puts the kept words together again.
///
/// A dropped word takes the separators before it along. Brackets stay only in pairs.
#[derive(Debug, Default)]
struct Output<'a> {
    text: String,
    /// The closing brackets that are still owed, innermost last.
    open: Vec<char>,
    /// The separators before the first of the words dropped since the last kept one.
    dropped: Option<&'a str>,
    /// Whether any word was dropped so far.
    any_dropped: bool,
}

impl<'a> Output<'a> {
    fn keep(&mut self, gap: &str, word: &str) {
        match self.dropped.take() {
            Some(_) if self.text.is_empty() => {}
            Some(before) => {
                let length = self.text.len();
                self.push_gap(gap);
                if self.text.len() == length {
                    // Only brackets stood behind the dropped words: use what stood before them.
                    let plain = before.chars().find(|c| !is_bracket(*c));
                    self.text.push(plain.unwrap_or('-'));
                }
            }
            None => self.push_gap(gap),
        }
        self.text.push_str(word);
    }

    fn drop(&mut self, gap: &'a str) {
        self.any_dropped = true;
        self.close(gap);
        if self.dropped.is_none() {
            self.dropped = Some(gap);
        }
    }

    fn finish(mut self, tail: &str) -> String {
        if self.dropped.is_some() {
            self.close(tail);
        } else {
            self.push_gap(tail);
        }
        self.text
    }

    /// Closes what is open, as far as `gap` begins with closing brackets.
    fn close(&mut self, gap: &str) {
        for c in gap.chars() {
            if self.open.last() != Some(&c) {
                break;
            }
            self.open.pop();
            self.text.push(c);
        }
    }

    fn push_gap(&mut self, gap: &str) {
        for c in gap.chars() {
            match c {
                '[' => self.open.push(']'),
                '(' => self.open.push(')'),
                ']' | ')' if self.open.last() == Some(&c) => {
                    self.open.pop();
                }
                // Its partner left together with a dropped word.
                ']' | ')' if self.any_dropped => continue,
                _ => {}
            }
            self.text.push(c);
        }
    }
}

fn is_bracket(c: char) -> bool {
    matches!(c, '[' | ']' | '(' | ')')
}
