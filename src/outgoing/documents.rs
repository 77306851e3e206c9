//! Asking an API for a JSON document: one GET, or one POST of a long question, bounded in time and size.
//!
//! Nothing here follows redirects: what somebody else answers says nothing about whom was asked, and credentials are for
//! nobody else. A document that is not whole is none.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use url::Url;

use crate::model::endpoint::Endpoint;
use crate::model::printable::excerpt;
use crate::outgoing::{authorize, client, root_cause};

/// The most that is read of an answer that tells of an error, in bytes.
const LARGEST_REFUSAL: usize = 16 << 10;

/// The longest URL that is asked for, in bytes: servers and proxies take 8 KiB of a request line, some only 4.
const LONGEST_URL: usize = 4 << 10;

/// The header that names the tenant whose data is asked for.
const TENANT: &str = "X-Scope-OrgID";

/// How long to wait, and how much to take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a connection to be made.
    pub connect_timeout: Duration,
    /// For one answer as a whole.
    pub timeout: Duration,
    /// The largest document that is read, in bytes.
    pub max_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(20),
            max_bytes: 64 << 20,
        }
    }
}

/// Asks one API for documents. Its connections are shared by all clones.
#[derive(Debug, Clone)]
pub struct Documents {
    http: reqwest::Client,
    endpoint: Endpoint,
    limits: Limits,
}

/// Why an API gave no document. Says what was asked of whom; never with which credentials.
#[derive(Debug, thiserror::Error)]
#[error("{method} {}: {cause}", shown(.url))]
pub struct DocumentError {
    /// How it was asked for.
    pub method: Method,
    /// What was asked for.
    pub url: Box<Url>,
    /// What happened.
    pub cause: DocumentCause,
}

/// What happened instead of a document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentCause {
    /// No connection could be made.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The port accepts connections, but no whole answer came in time.
    #[error("no complete answer within {0:?}")]
    Timeout(Duration),
    /// The answer began and then broke off, or was no HTTP at all.
    #[error("the answer broke off after {bytes} bytes: {reason}")]
    BrokeOff {
        /// Bytes received until then.
        bytes: usize,
        /// What the connection said.
        reason: String,
    },
    /// It wants somebody else to be asked.
    #[error("status {status}: redirects to {to}, which is not followed")]
    Redirect {
        /// The status.
        status: u16,
        /// Where to.
        to: String,
    },
    /// Another status than 200.
    #[error("status {status}: {}", excerpt(.body.lines().next().unwrap_or_default()))]
    Status {
        /// The status.
        status: u16,
        /// What was said about it; may be long.
        body: String,
    },
    /// Not what an API sends.
    #[error("the answer is not JSON: content type `{0}`")]
    ContentType(String),
    /// Packed by something between us and the API, which was not asked to.
    #[error("the answer is compressed (`{0}`), which was not asked for")]
    Compressed(String),
    /// Larger than what is read.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// JSON, or what calls itself so, of another shape.
    #[error("the answer is not {expected}: {reason}")]
    Shape {
        /// What it should have been.
        expected: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Documents {
    /// Makes a client for one API.
    pub fn new(endpoint: Endpoint, limits: Limits) -> Self {
        let http = client(|builder| {
            builder.connect_timeout(limits.connect_timeout).redirect(reqwest::redirect::Policy::none())
        });
        Self { http, endpoint, limits }
    }

    /// The same client for documents of at most so many bytes.
    pub fn at_most(&self, max_bytes: usize) -> Self {
        let limits = Limits { max_bytes: max_bytes.min(self.limits.max_bytes), ..self.limits };
        Self { limits, ..self.clone() }
    }

    /// Where the API is.
    pub fn url(&self) -> &Url {
        &self.endpoint.url
    }

    /// Asks for the document at `path` below the API's own, and lets `read` make something of it; what it returns as an
    /// error says what is wrong with the document, which should have been `expected`.
    ///
    /// # Errors
    ///
    /// No whole document, or not the one expected.
    pub async fn get<T>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        expected: &'static str,
        read: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<T, DocumentError> {
        let url = below(&self.endpoint.url, path, query);
        self.document(Method::GET, url, None, expected, read).await
    }

    /// Asks as [`Documents::get`] does; where the question is too long for a URL, by a POST that has it as a form.
    ///
    /// # Errors
    ///
    /// No whole document, or not the one expected.
    pub async fn get_or_post<T>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        expected: &'static str,
        read: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<T, DocumentError> {
        let url = below(&self.endpoint.url, path, query);
        if url.as_str().len() <= LONGEST_URL {
            return self.document(Method::GET, url, None, expected, read).await;
        }
        let form = url.query().map(str::to_owned);
        let url = below(&self.endpoint.url, path, &[]);
        self.document(Method::POST, url, form, expected, read).await
    }

    async fn document<T>(
        &self,
        method: Method,
        url: Url,
        form: Option<String>,
        expected: &'static str,
        read: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<T, DocumentError> {
        let body = self.body(method.clone(), &url, form);
        let body = tokio::time::timeout(self.limits.timeout, body)
            .await
            .unwrap_or(Err(DocumentCause::Timeout(self.limits.timeout)));
        let document = body.and_then(|body| {
            read(&body).map_err(|reason| DocumentCause::Shape { expected, reason: excerpt(&reason) })
        });
        document.map_err(|cause| DocumentError { method, url: Box::new(url), cause })
    }

    async fn body(&self, method: Method, url: &Url, form: Option<String>) -> Result<Vec<u8>, DocumentCause> {
        let mut request = self.http.request(method, url.clone()).header(ACCEPT, "application/json");
        if let Some(tenant) = &self.endpoint.tenant {
            request = request.header(TENANT, tenant);
        }
        if let Some(form) = form {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        }
        let mut answer = authorize(request, self.endpoint.auth.as_ref()).send().await.map_err(|error| {
            if error.is_connect() && error.is_timeout() {
                DocumentCause::Connect(format!("no answer within {:?}", self.limits.connect_timeout))
            } else if error.is_connect() {
                DocumentCause::Connect(root_cause(&error))
            } else {
                DocumentCause::BrokeOff { bytes: 0, reason: root_cause(&error) }
            }
        })?;
        let status = answer.status();
        let header = |name| {
            let value = answer.headers().get(name)?;
            Some(excerpt(&String::from_utf8_lossy(value.as_bytes())))
        };
        if status.is_redirection() {
            let to = header(LOCATION).unwrap_or_else(|| "nowhere".to_owned());
            return Err(DocumentCause::Redirect { status: status.as_u16(), to });
        }
        if status != reqwest::StatusCode::OK {
            // as much of it as there is: whatever else goes wrong, the status is the cause
            let body = read_up_to(&mut answer, LARGEST_REFUSAL).await.unwrap_or_default();
            let body = String::from_utf8_lossy(&body).into_owned();
            return Err(DocumentCause::Status { status: status.as_u16(), body });
        }
        if let Some(encoding) = header(CONTENT_ENCODING).filter(|encoding| encoding != "identity") {
            return Err(DocumentCause::Compressed(encoding));
        }
        match header(CONTENT_TYPE) {
            Some(kind) if kind.contains("json") => {}
            other => return Err(DocumentCause::ContentType(other.unwrap_or_else(|| "none".to_owned()))),
        }
        let body = read_up_to(&mut answer, self.limits.max_bytes + 1).await?;
        if body.len() > self.limits.max_bytes {
            return Err(DocumentCause::TooLarge(self.limits.max_bytes));
        }
        Ok(body)
    }
}

/// Reads an answer to its end, or to `most` bytes of it.
async fn read_up_to(answer: &mut reqwest::Response, most: usize) -> Result<Vec<u8>, DocumentCause> {
    let mut body = Vec::new();
    while body.len() < most {
        match answer.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(most - body.len())]),
            Ok(None) => break,
            Err(error) => {
                return Err(DocumentCause::BrokeOff { bytes: body.len(), reason: root_cause(&error) });
            }
        }
    }
    Ok(body)
}

/// The URL of `path` below that of the API.
fn below(base: &Url, path: &str, query: &[(&str, &str)]) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

/// A URL for people: what a stranger's labels put into it may be long.
fn shown(url: &Url) -> String {
    excerpt(url.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_below_that_of_the_api() {
        let at = |base: &str| below(&base.parse().unwrap(), "api/v2/alerts", &[]).to_string();
        assert_eq!(at("http://am:9093"), "http://am:9093/api/v2/alerts");
        assert_eq!(at("http://am:9093/alertmanager/"), "http://am:9093/alertmanager/api/v2/alerts");
        let query = [("filter", "a=\"b c&d\""), ("filter", "e=\"f\"")];
        let url = below(&"https://mimir.example/alertmanager".parse().unwrap(), "api/v2/alerts", &query);
        assert_eq!(
            url.as_str(),
            "https://mimir.example/alertmanager/api/v2/alerts?filter=a%3D%22b+c%26d%22&filter=e%3D%22f%22"
        );
    }

    #[test]
    fn an_error_is_one_line_however_long_the_question_and_the_answer_were() {
        let long = "x".repeat(10_000);
        let url = below(&"http://am:9093".parse().unwrap(), "api/v2/alerts", &[("filter", &long)]);
        let cause = DocumentCause::Status { status: 500, body: format!("a\u{1b}{long}\nb") };
        let error = DocumentError { method: Method::GET, url: Box::new(url), cause }.to_string();
        assert!(error.starts_with("GET http://am:9093/api/v2/alerts?filter=xxx"), "{error}");
        assert!(error.contains("status 500: a\\u{1b}xxx"), "{error}");
        assert!(error.len() < 600 && !error.contains('\n'), "{error}");
    }
}
