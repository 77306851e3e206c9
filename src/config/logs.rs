//! Where the logs of a cluster's servers are: files, and queries of Loki.

use super::{
    auth::ReadSecret,
    endpoint::{LOKI, read_one},
    scalar::{self, quoted},
    section::Section,
};
use crate::model::log_source::LogSource;

/// Reads the list of a cluster.
pub(super) fn read_all(cluster: &Section<'_>, read_secret: ReadSecret<'_>) -> Vec<LogSource> {
    let mut sources = Vec::new();
    for element in cluster.list("logs") {
        let section = element.section();
        let (has_file, has_loki) = (section.mentions("file"), section.mentions("loki"));
        if has_file && has_loki {
            section.problem("loki", "both `file` and `loki` are given, write two elements");
        }
        if has_loki {
            if section.mentions("server") {
                section
                    .problem("server", "is for a `file`; the labels of Loki say which server wrote a line");
            }
            let loki = section.section("loki");
            let endpoint = read_one(&loki, &LOKI, read_secret);
            let query = loki.required("query", loki_query);
            sources.extend(endpoint.zip(query).map(|(endpoint, query)| LogSource::Loki { endpoint, query }));
        } else if has_file {
            let path = section.required("file", scalar::path);
            let server = section.value("server", server_name);
            sources.extend(path.map(|path| LogSource::File { path, server }));
        } else {
            section.missing("file", "is missing, give it or `loki`");
        }
    }
    sources
}

fn loki_query(text: &str) -> Result<String, String> {
    if text.trim_start().starts_with('{') {
        Ok(text.to_owned())
    } else {
        let expected = "expected a query for lines such as `{app=\"nats\"}`";
        Err(format!("{expected}, found {}", quoted(text)))
    }
}

fn server_name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("expected the name of a server".to_owned()) } else { Ok(text.to_owned()) }
}
