//! A real browser: headless Chromium, driven by its chromedriver over plain HTTP (the WebDriver protocol).
//!
//! The few commands that pages need are JSON documents, and what matters most here (widths below a window's least,
//! colour schemes, every request, every complaint of the console) are Chromium's own anyway: no crate between.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use crate::harness::process::Process;
use crate::harness::{PATIENCE, tool};

/// A browser with one window.
pub struct Browser {
    http: reqwest::Client,
    driver: Url,
    session: String,
    _process: Process,
    _directory: TempDir,
}

impl Browser {
    /// Starts a browser that knows nothing and keeps nothing.
    pub async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let mut process = Process::start(&tool("chromedriver"), &["--port=0"], directory.path());
        let driver = process
            .logged("the port of chromedriver", |line| {
                let port = line.split("started successfully on port ").nth(1)?.trim_end_matches('.');
                Url::parse(&format!("http://127.0.0.1:{port}")).ok()
            })
            .await;
        let profile = format!("--user-data-dir={}", directory.path().join("profile").display());
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            "goog:chromeOptions": { "binary": tool("chromium"), "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
                "--no-first-run", "--disable-background-networking", "--disable-component-update",
                "--disable-sync", profile,
            ] },
        } } });
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let mut browser =
            Self { http, driver, session: String::new(), _process: process, _directory: directory };
        let session = browser.post("session", capabilities).await;
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        browser
    }

    /// Lets pages believe that the window is this wide, and how its user likes colours (`light`, `dark`).
    pub async fn emulate(&self, width: u32, scheme: &str) {
        let screen = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.chromium("Emulation.setDeviceMetricsOverride", screen).await;
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.chromium("Emulation.setEmulatedMedia", media).await;
    }

    /// Opens a page, and waits until everything it loads is there.
    pub async fn open(&self, url: &Url) {
        // what earlier pages asked for and complained of is theirs
        self.requests().await;
        self.complaints().await;
        self.command("url", json!({ "url": url })).await;
    }

    /// Every URL that was asked for since the page was opened.
    pub async fn requests(&self) -> Vec<Url> {
        let events = self.log("performance").await.into_iter().filter_map(|entry| {
            let event: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let event = &event["message"];
            let is_request = event["method"] == "Network.requestWillBeSent";
            is_request.then(|| event["params"]["request"]["url"].as_str()?.parse().ok())?
        });
        events.collect()
    }

    /// Everything the console says since the page was opened: errors, and violations of the policy.
    pub async fn complaints(&self) -> Vec<String> {
        self.log("browser").await.iter().map(Value::to_string).collect()
    }

    /// Runs a function's body in the page; what it returns.
    pub async fn run(&self, script: &str) -> Value {
        self.command("execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Takes a picture of the whole page, also of what is below the window.
    pub async fn screenshot(&self, file: &Path) {
        let options = json!({ "format": "png", "captureBeyondViewport": true });
        let picture = self.chromium("Page.captureScreenshot", options).await;
        let picture = base64(picture["data"].as_str().unwrap());
        assert!(picture.starts_with(b"\x89PNG"), "not a picture: {}", file.display());
        std::fs::write(file, picture).unwrap();
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        self.command("se/log", json!({ "type": kind })).await.as_array().cloned().unwrap_or_default()
    }

    /// A command of Chromium's own protocol.
    async fn chromium(&self, command: &str, parameters: Value) -> Value {
        self.command("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    async fn command(&self, command: &str, body: Value) -> Value {
        self.post(&format!("session/{}/{command}", self.session), body).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.http.post(self.driver.join(path).unwrap()).json(&body).send().await.unwrap();
        let (status, mut body): (_, Value) = (answer.status(), answer.json().await.unwrap());
        assert!(status.is_success(), "{path}: {body:#}");
        body["value"].take()
    }
}

impl Drop for Browser {
    /// The driver ends the browser; killed, it would leave the browser behind.
    fn drop(&mut self) {
        let goodbye = || -> std::io::Result<()> {
            let address = self.driver.socket_addrs(|| None)?;
            let mut stream = TcpStream::connect(&*address)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            write!(stream, "DELETE /session/{} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", self.session)?;
            // it answers once the browser has ended
            stream.read(&mut [0; 1]).map(drop)
        };
        if let Err(error) = goodbye() {
            eprintln!("the browser could not be ended: {error}");
        }
    }
}

/// Reads base64, in which pictures come.
fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte));
    let digits: Vec<u32> = digits.map(|digit| digit as u32).collect();
    let mut bytes = Vec::with_capacity(text.len());
    for four in digits.chunks(4) {
        let bits = four.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - four.len()));
        bytes.extend(&bits.to_be_bytes()[1..four.len()]);
    }
    bytes
}
