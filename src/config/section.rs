//! Reads the nodes of a document as the settings they should be, and reports those that are not.

use std::collections::HashMap;

use super::{
    document::{Key, Node, Value},
    problem::{Place, Problem, Report},
    suggestion::{closest, did_you_mean},
};

/// A mapping of known keys. One that is missing from the file is empty.
pub(super) struct Section<'a> {
    report: &'a Report,
    /// The dotted path for people: `clusters[0]`.
    path: String,
    /// The dotted path among the keys of the file: `clusters[]`.
    schema: String,
    place: Place,
    entries: &'a [(Key, Node)],
    /// Whether something else stands in its place; that is reported, what is missing is not.
    broken: bool,
}

impl<'a> Section<'a> {
    /// Opens the whole document.
    pub(super) fn root(report: &'a Report, document: &'a Node) -> Self {
        Self::open(report, Some(document), document.place, String::new(), String::new())
    }

    fn open(report: &'a Report, node: Option<&'a Node>, place: Place, path: String, schema: String) -> Self {
        let mut section = Self {
            report,
            path,
            schema,
            place: node.map_or(place, |node| node.place),
            entries: &[],
            broken: false,
        };
        match node.map(|node| &node.value) {
            None | Some(Value::Nothing) => {}
            Some(Value::Refused) => section.broken = true,
            Some(Value::Mapping(entries)) => {
                section.entries = entries;
                section.check_keys();
            }
            Some(other) => {
                section.broken = true;
                let keys = section.known_keys().join("`, `");
                let message = format!("expected a mapping of `{keys}`, found {}", other.kind());
                report.add(section.place, &section.path, message);
            }
        }
        section
    }

    /// Opens the mapping called `key`.
    pub(super) fn section(&self, key: &str) -> Section<'a> {
        let path = self.path_of(key);
        Section::open(self.report, self.find(key), self.place, path, join(&self.schema, key))
    }

    /// Reads the text called `key`; none if it is missing or wrong.
    pub(super) fn value<T>(&self, key: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.find(key).and_then(|node| read_text(self.report, node, &self.path_of(key), read))
    }

    /// Reads the text called `key`, which must be there.
    pub(super) fn required<T>(&self, key: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match self.find(key) {
            Some(Node { value: Value::Nothing, .. }) => self.problem(key, "has no value"),
            Some(_) => return self.value(key, read),
            None => self.missing(key, "is missing"),
        }
        None
    }

    /// Lists the elements of the list called `key`; one that is missing is empty.
    pub(super) fn list(&self, key: &str) -> Vec<Element<'a>> {
        match self.find(key) {
            None => Vec::new(),
            Some(Node { value: Value::Nothing | Value::Refused, .. }) => Vec::new(),
            Some(Node { value: Value::List(nodes), .. }) => {
                let elements = nodes.iter().enumerate();
                elements.map(|(i, node)| self.element(key, &format!("[{i}]"), node)).collect()
            }
            Some(node) => {
                let message = format!("expected a list, found {}", node.value.kind());
                self.report.add(node.place, &self.path_of(key), message);
                Vec::new()
            }
        }
    }

    /// Lists the elements of the list called `key`, or the one text that stands instead.
    pub(super) fn one_or_many(&self, key: &str) -> Vec<Element<'a>> {
        match self.find(key) {
            Some(node @ Node { value: Value::Text(_), .. }) => vec![self.element(key, "", node)],
            _ => self.list(key),
        }
    }

    /// Tells whether `key` has a value; a key alone has none.
    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some_and(|node| !matches!(node.value, Value::Nothing))
    }

    /// Tells whether the file has `key`, with or without a value.
    pub(super) fn mentions(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Tells whether `key` is a list.
    pub(super) fn is_list(&self, key: &str) -> bool {
        self.find(key).is_some_and(|node| matches!(node.value, Value::List(_)))
    }

    /// Reports a problem with `key`, or with its absence.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        let place = self.find(key).map_or(self.place, |node| node.place);
        self.report.add(place, &self.path_of(key), message);
    }

    /// Reports that `key` is missing, unless there is no mapping that it could be in.
    pub(super) fn missing(&self, key: &str, message: &str) {
        if !self.broken {
            self.problem(key, message);
        }
    }

    /// Makes a warning about `key`, or about its absence.
    pub(super) fn warning(&self, key: &str, message: impl Into<String>) -> Problem {
        let place = self.find(key).map_or(self.place, |node| node.place);
        self.report.problem(place, &self.path_of(key), message)
    }

    /// Finds where `key` has its value, or where the section begins.
    pub(super) fn line_of(&self, key: &str) -> usize {
        self.find(key).map_or(self.place, |node| node.place).line
    }

    fn element(&self, key: &str, index: &str, node: &'a Node) -> Element<'a> {
        Element {
            report: self.report,
            path: format!("{}{index}", self.path_of(key)),
            schema: format!("{}[]", join(&self.schema, key)),
            node,
        }
    }

    fn find(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|(found, _)| found.text == key).map(|(_, node)| node)
    }

    fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    fn check_keys(&self) {
        let known = self.known_keys();
        let mut first_lines: HashMap<&str, usize> = HashMap::new();
        for (key, node) in self.entries {
            if let Some(first) = first_lines.get(key.text.as_str()) {
                let message = format!("appears a second time, first on line {first}");
                self.report.add(key.place, &self.path_of(&key.text), message);
            } else if !known.contains(&key.text.as_str()) {
                self.unknown_key(key, node, &known);
            }
            first_lines.entry(&key.text).or_insert(key.place.line);
        }
    }

    fn unknown_key(&self, key: &Key, node: &Node, known: &[&str]) {
        let typed = key.text.as_str();
        let hint = did_you_mean(typed, known.iter().copied());
        let path = self.path_of(typed);
        if typed == "<<" {
            self.report.add(key.place, &path, "merging is not supported, write the keys out");
        } else if !hint.is_empty() {
            self.report.add(key.place, &path, format!("unknown key{hint}"));
        } else if let Some(elsewhere) = elsewhere(typed, &self.schema, self.report.keys) {
            let message = format!("unknown key here, did you mean `{elsewhere}`?");
            self.report.add(key.place, &path, message);
        } else {
            let expected = known.join("`, `");
            // A key without a value, or a stray text, may be a secret that lost its key.
            let may_be_secret = self.holds_secrets() && matches!(node.value, Value::Nothing);
            let path = if may_be_secret { &self.path } else { &path };
            let message = format!("unknown key, expected one of `{expected}`");
            self.report.add(key.place, path, message);
        }
    }

    /// Lists the keys that this section may have.
    fn known_keys(&self) -> Vec<&'static str> {
        let mut known = Vec::new();
        for path in self.report.keys {
            let Some(rest) = path.strip_prefix(self.schema.as_str()) else {
                continue;
            };
            let rest = match (self.schema.as_str(), rest.strip_prefix('.')) {
                ("", _) => rest,
                (_, Some(rest)) => rest,
                (_, None) => continue,
            };
            let key = rest.split(['.', '[']).next().unwrap_or(rest);
            if !known.contains(&key) {
                known.push(key);
            }
        }
        known
    }

    fn holds_secrets(&self) -> bool {
        self.known_keys().iter().any(|key| closest(key, ["password", "bearer_token", "secret"]).is_some())
    }
}

/// One element of a list.
pub(super) struct Element<'a> {
    report: &'a Report,
    path: String,
    schema: String,
    node: &'a Node,
}

impl<'a> Element<'a> {
    /// Reads the element as text; none if it is wrong.
    pub(super) fn value<T>(&self, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        read_text(self.report, self.node, &self.path, read)
    }

    /// Opens the element as a mapping.
    pub(super) fn section(&self) -> Section<'a> {
        let place = self.node.place;
        let (path, schema) = (self.path.clone(), self.schema.clone());
        let mut section = Section::open(self.report, Some(self.node), place, path, schema);
        if matches!(self.node.value, Value::Nothing) {
            self.problem("expected a mapping, found nothing");
            section.broken = true;
        }
        section
    }

    /// Reports a problem with the element.
    pub(super) fn problem(&self, message: impl Into<String>) {
        self.report.add(self.node.place, &self.path, message);
    }

    pub(super) fn line(&self) -> usize {
        self.node.place.line
    }
}

fn read_text<T>(
    report: &Report,
    node: &Node,
    path: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    match &node.value {
        Value::Text(text) => read(text).map_err(|message| report.add(node.place, path, message)).ok(),
        Value::Refused => None,
        Value::Nothing => {
            report.add(node.place, path, "has no value, remove the key for the default");
            None
        }
        other => {
            report.add(node.place, path, format!("expected text, found {}", other.kind()));
            None
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Finds the key of another section that was probably meant, the nearest to the section `here`.
fn elsewhere(typed: &str, here: &str, keys: &[&'static str]) -> Option<&'static str> {
    let last = |path: &'static str| path.rsplit('.').next().unwrap_or(path);
    let meant = closest(typed, keys.iter().copied().map(last))?;
    let shared =
        |path: &str| path.split('.').zip(here.split('.')).take_while(|(one, other)| one == other).count();
    // of equally near ones the first
    keys.iter().copied().rev().filter(|path| last(path) == meant).max_by_key(|path| shared(path))
}
