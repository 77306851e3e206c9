//! A YAML file as a tree of nodes that know their places.
//!
//! Scalars stay as they were written: `0123` is not a number and `no` is not a truth value until
//! somebody asks for one. What the configuration does not need (aliases, tags, several documents)
//! is refused, and nesting is bounded.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

use super::problem::{Place, Report};

/// How deep the configuration may be nested.
const MAX_DEPTH: usize = 16;

/// A value, and where it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    /// No value: nothing behind the colon, `null` or `~`.
    Nothing,
    Text(String),
    List(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
    /// Something that was refused and reported already.
    Refused,
}

impl Value {
    /// Names the kind of value, for messages; never the value itself.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Mapping(_) => "a mapping",
            Self::Refused => "what is not supported",
        }
    }
}

/// A key of a mapping, and where it stands.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) text: String,
}

/// Reads `text` as one YAML document; none if it cannot be read or is nested too deep.
pub(super) fn parse(text: &str, report: &Report) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut tree = Tree { report, open: Vec::new(), root: None };
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(found) => found,
            Err(error) => {
                report.add(place_of(*error.marker()), "", explain(&error, text));
                return None;
            }
        };
        match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    let message = "a second document starts here, the configuration is only one";
                    report.add(place_of(span.start), "", message);
                    break;
                }
            }
            Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => {}
            other => {
                if tree.open.len() > MAX_DEPTH {
                    let message = format!("nested deeper than {MAX_DEPTH} levels");
                    report.add(place_of(span.start), "", message);
                    return None;
                }
                tree.accept(other, span);
            }
        }
    }
    let start = Place { line: 1, column: 1 };
    Some(tree.root.unwrap_or(Node { place: start, value: Value::Nothing }))
}

fn place_of(marker: Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

/// Says what a syntax error means for somebody who does not know how YAML is parsed.
fn explain(error: &ScanError, text: &str) -> String {
    let marker = error.marker();
    let line = text.lines().nth(marker.line().saturating_sub(1)).unwrap_or_default();
    let indentation = &line[..line.len() - line.trim_start().len()];
    let detail = error.info();
    if indentation.contains('\t') {
        return "indented with a tab, YAML wants spaces".to_owned();
    }
    if detail.starts_with("unexpected character") {
        return "a value cannot start with `%`, `@` or a backtick, put it in quotes".to_owned();
    }
    format!("not valid YAML: {detail}")
}

/// The tree while it grows.
struct Tree<'r> {
    report: &'r Report,
    /// The lists and mappings that have not ended, outermost first.
    open: Vec<Open>,
    root: Option<Node>,
}

enum Open {
    List(Place, Vec<Node>),
    Mapping(Place, Vec<(Key, Node)>, Next),
}

/// What comes next in a mapping.
#[derive(Default)]
enum Next {
    #[default]
    Key,
    ValueOf(Key),
    /// The value of a key that was refused: it is skipped with its key.
    ValueOfRefused,
}

impl Tree<'_> {
    fn accept(&mut self, event: Event<'_>, span: Span) {
        let place = place_of(span.start);
        match event {
            Event::Alias(_) => {
                self.refuse(place, "aliases are not supported, write the value out");
                self.add(Node { place, value: Value::Refused });
            }
            Event::Scalar(text, style, _, tag) => {
                let plain = style == ScalarStyle::Plain;
                let value = if tag.is_some() {
                    self.refuse_tag(place);
                    Value::Refused
                } else if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    Value::Nothing
                } else {
                    Value::Text(text.into_owned())
                };
                self.add(Node { place, value });
            }
            Event::SequenceStart(_, tag) => {
                if tag.is_some() {
                    self.refuse_tag(place);
                }
                self.open.push(Open::List(place, Vec::new()));
            }
            Event::MappingStart(_, tag) => {
                if tag.is_some() {
                    self.refuse_tag(place);
                }
                self.open.push(Open::Mapping(place, Vec::new(), Next::Key));
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(place, nodes)) => {
                    self.add(Node { place, value: Value::List(nodes) });
                }
                Some(Open::Mapping(place, entries, _)) => {
                    self.add(Node { place, value: Value::Mapping(entries) });
                }
                None => {}
            },
            _ => {}
        }
    }

    fn refuse_tag(&self, place: Place) {
        self.refuse(place, "tags are not supported, put the value in quotes to make it text");
    }

    fn refuse(&self, place: Place, message: &str) {
        self.report.add(place, &self.path(), message);
    }

    /// The dotted path of what comes next, as far as it leads along known keys: anything else
    /// could be a secret that the parser took for a key.
    fn path(&self) -> String {
        let mut path = String::new();
        let mut schema = String::new();
        for open in &self.open {
            let (step, schema_step) = match open {
                Open::List(_, nodes) => (format!("[{}]", nodes.len()), "[]".to_owned()),
                Open::Mapping(_, _, Next::ValueOf(key)) => {
                    let dot = if path.is_empty() { "" } else { "." };
                    (format!("{dot}{}", key.text), format!("{dot}{}", key.text))
                }
                Open::Mapping(..) => break,
            };
            schema.push_str(&schema_step);
            if !self.report.keys.iter().any(|known| known.starts_with(&schema)) {
                break;
            }
            path.push_str(&step);
        }
        path
    }

    fn add(&mut self, mut node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, nodes)) => nodes.push(node),
            Some(Open::Mapping(_, entries, next)) => match std::mem::take(next) {
                Next::Key => *next = key_from(node, self.report),
                Next::ValueOf(key) => {
                    if matches!(node.value, Value::Nothing) {
                        // The parser puts a missing value wherever it noticed that it is missing.
                        node.place = key.place;
                    }
                    entries.push((key, node));
                }
                Next::ValueOfRefused => {}
            },
        }
    }
}

fn key_from(node: Node, report: &Report) -> Next {
    match node.value {
        Value::Text(text) => Next::ValueOf(Key { place: node.place, text }),
        Value::Refused => Next::ValueOfRefused,
        other => {
            report.add(node.place, "", format!("a key must be text, found {}", other.kind()));
            Next::ValueOfRefused
        }
    }
}
