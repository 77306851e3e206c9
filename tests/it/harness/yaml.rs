//! YAML files of other programs, as JSON values.
//!
//! Only what such a file here may have: no aliases, no tags, no key twice. Several documents in one file are fine.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Reads a file of one document.
pub fn document(text: &str) -> Value {
    let mut all = documents(text);
    assert_eq!(all.len(), 1, "one YAML document:\n{text}");
    all.remove(0)
}

/// Reads every document of a file.
pub fn documents(text: &str) -> Vec<Value> {
    let events = Parser::new_from_str(text).map(|event| match event {
        Ok((event, span)) => (event, span.start.line()),
        Err(error) => panic!("not YAML: {error}\n{text}"),
    });
    let mut events = events.filter(|(event, _)| !matches!(event, Event::Nothing | Event::StreamStart));
    let mut documents = Vec::new();
    while let Some((Event::DocumentStart(_), _)) = events.next() {
        let (first, line) = events.next().expect("a document has a value");
        documents.push(value(first, line, &mut events));
        assert!(matches!(events.next(), Some((Event::DocumentEnd, _))));
    }
    documents
}

fn value<'t>(event: Event<'t>, line: usize, events: &mut impl Iterator<Item = (Event<'t>, usize)>) -> Value {
    match event {
        Event::Scalar(text, style, _, None) => scalar(&text, style),
        Event::SequenceStart(.., None) => {
            let mut list = Vec::new();
            loop {
                match events.next().expect("a list ends") {
                    (Event::SequenceEnd, _) => return Value::Array(list),
                    (event, line) => list.push(value(event, line, events)),
                }
            }
        }
        Event::MappingStart(.., None) => {
            let mut mapping = Map::new();
            loop {
                let key = match events.next() {
                    Some((Event::MappingEnd, _)) => return Value::Object(mapping),
                    Some((Event::Scalar(key, ..), _)) => key.into_owned(),
                    other => panic!("line {line}: a key, not {other:?}"),
                };
                let (event, line) = events.next().expect("a key has a value");
                let replaced = mapping.insert(key.clone(), value(event, line, events));
                assert!(replaced.is_none(), "line {line}: `{key}` twice");
            }
        }
        other => panic!("line {line}: aliases and tags are not read: {other:?}"),
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    match text {
        _ if style != ScalarStyle::Plain => text.into(),
        "" | "~" | "null" => Value::Null,
        "true" | "false" => (text == "true").into(),
        _ => text.parse::<u64>().map_or_else(|_| text.into(), Value::from),
    }
}
