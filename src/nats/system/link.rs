//! The permanent connection to a cluster, and what is known of why there is none.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{AuthError, Client, ClientError, ConnectOptions, Event, ServerError};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OnceCell, broadcast, watch};
use tracing::{info, warn};

use crate::model::printable::excerpt;
use crate::model::system_account::{SystemAccess, SystemStatus};
use crate::nats::system::control::Control;
use crate::nats::system::{Role, SystemCause, login};
use crate::telemetry::metrics::Metrics;

/// How often the server is asked whether it is still there; three times without an answer, and the connection is made
/// anew, to another server if there is one.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// Below what replies are received: a user may be allowed to see nothing else.
const INBOX: &str = "_INBOX.connwarden";

/// How many replies may wait to be read, and how many requests to be sent.
const CAPACITY: usize = 256;

/// A connection that is opened once and then kept.
#[derive(Debug)]
pub(super) struct Link {
    access: SystemAccess,
    name: String,
    connect_timeout: Duration,
    client: OnceCell<Client>,
    news: Arc<News>,
}

/// What is heard of the connection.
#[derive(Debug)]
struct News {
    cluster: String,
    role: Role,
    /// What the connection is to, in the log.
    account: &'static str,
    connected: watch::Sender<bool>,
    heard: Mutex<Heard>,
    /// What servers say against what is asked, as they say it.
    objections: broadcast::Sender<String>,
    /// Where it is counted.
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Heard {
    /// Why the last attempts to connect failed.
    failures: Option<String>,
    /// What a server has said against what was asked of it over the present connection.
    objection: Option<String>,
    /// Whether it has been logged that there is no connection.
    told: bool,
}

impl Link {
    pub(super) fn new(
        cluster: &str,
        instance: &str,
        role: Role,
        access: SystemAccess,
        connect_timeout: Duration,
        metrics: Metrics,
    ) -> Self {
        let suffix = match role {
            Role::Reader => "",
            Role::Actor => "/actor",
        };
        let news = News {
            cluster: cluster.to_owned(),
            account: match role {
                Role::Reader => "the system account",
                Role::Actor => "the system account, to act,",
            },
            connected: watch::Sender::new(false),
            heard: Mutex::default(),
            objections: broadcast::Sender::new(CAPACITY),
            role,
            metrics,
        };
        news.count(false);
        Self {
            access,
            name: format!("connwarden/{instance}/{cluster}{suffix}"),
            connect_timeout,
            client: OnceCell::new(),
            news: Arc::new(news),
        }
    }

    /// Begins to open it, unless somebody has.
    pub(super) async fn begin(&self) {
        if let Err(error) = self.client.get_or_try_init(|| self.open()).await {
            let cluster = &self.news.cluster;
            warn!(%cluster, "cannot open {} of cluster {cluster}: {error}", self.news.account);
        }
    }

    /// The connection; opens it, and waits a while for one that is being made.
    pub(super) async fn connected(&self) -> Result<Client, SystemCause> {
        let client = self.client.get_or_try_init(|| self.open()).await?;
        let mut connected = self.news.connected.subscribe();
        let waited =
            tokio::time::timeout(self.connect_timeout, connected.wait_for(|connected| *connected)).await;
        match waited {
            Ok(_) => Ok(client.clone()),
            Err(_) => Err(SystemCause::NotConnected(self.news.heard().why())),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn status(&self) -> SystemStatus {
        let client = self.client.get().filter(|client| client.connection_state() == State::Connected);
        let heard = self.news.heard();
        match client {
            Some(client) => SystemStatus {
                connected: true,
                server: Some(excerpt(&client.server_info().server_name)),
                error: heard.objection.clone(),
            },
            None => SystemStatus { connected: false, server: None, error: Some(heard.why()) },
        }
    }

    /// The nats id of the server that it is to, and its number there, while there is one.
    pub(super) fn own_connection(&self) -> Option<(String, u64)> {
        let client = self.client.get().filter(|client| client.connection_state() == State::Connected)?;
        let server = client.server_info();
        (server.client_id > 0).then_some((server.server_id, server.client_id))
    }

    /// Waits for a server to say that the user may not publish to `subject`. Listens from now on, not only once it is
    /// waited for: a server can be faster than that.
    pub(super) fn denied(&self, subject: &str) -> impl Future<Output = String> + use<> {
        let (mut objections, subject) = (self.news.objections.subscribe(), subject.to_owned());
        async move {
            loop {
                match objections.recv().await {
                    Ok(said) if said.contains(&subject) => return said,
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    // nothing is said any more
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        }
    }

    /// What a server has said against what was asked of it over the present connection.
    pub(super) fn objection(&self) -> Option<String> {
        self.news.heard().objection.clone()
    }

    /// Begins to connect; returns at once.
    async fn open(&self) -> Result<Client, SystemCause> {
        let (login, news, servers) = (self.access.login.clone(), self.news.clone(), self.news.clone());
        let mut options = ConnectOptions::with_auth_callback(move |nonce| {
            let auth = login::read(&login).and_then(|proof| proof.answer(&nonce));
            async move { auth.map_err(AuthError::new) }
        })
        .name(&self.name)
        .custom_inbox_prefix(INBOX)
        .retry_on_initial_connect()
        .max_reconnects(None)
        .connection_timeout(self.connect_timeout)
        .ping_interval(PING_INTERVAL)
        .reconnect_delay_callback(pause)
        .subscription_capacity(CAPACITY)
        .client_capacity(CAPACITY)
        .event_callback(move |event| {
            news.hear(event);
            std::future::ready(())
        })
        .reconnect_to_server_callback(move |pool, _| {
            // only to learn why the last attempts failed: which is next is not for us to say
            servers.failed(pool);
            std::future::ready(None)
        });
        if let Some(tls) = &self.access.tls {
            options = options.require_tls(true);
            if let Some(file) = &tls.ca_file {
                options = options.add_root_certificates(file.clone());
            }
            if let Some((certificate, key)) = &tls.client {
                options = options.add_client_certificate(certificate.clone(), key.clone());
            }
        }
        let urls: Vec<&str> = self.access.urls.iter().map(url::Url::as_str).collect();
        let client = options.connect(urls.as_slice()).await;
        client.map_err(|error| SystemCause::Lost(excerpt(&error.to_string())))
    }
}

/// Whether a server objects to a control request. Whether those are allowed is found out by asking for one.
fn is_about_control(said: &str) -> bool {
    let mut verbs = Control::ALL.iter().map(|control| format!(".{}\"", control.verb()));
    said.contains("$SYS.REQ.SERVER.") && verbs.any(|verb| said.contains(&verb))
}

/// How long to wait before the next attempt.
fn pause(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(12);
    if attempts <= 1 { Duration::ZERO } else { LONGEST_PAUSE.min(Duration::from_millis(1 << doublings)) }
}

impl News {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts whether there is a connection.
    fn count(&self, connected: bool) {
        self.metrics.system_account_connected(&self.cluster, self.role.name(), connected);
    }

    fn hear(&self, event: Event) {
        let (cluster, account) = (&self.cluster, self.account);
        match event {
            Event::Connected => {
                *self.heard() = Heard::default();
                self.count(true);
                self.connected.send_replace(true);
                info!(%cluster, "connected to {account} of cluster {cluster}");
            }
            Event::Disconnected | Event::Closed => {
                self.count(false);
                if self.connected.send_replace(false) {
                    let why =
                        self.heard().objection.take().unwrap_or_else(|| "the connection ended".to_owned());
                    self.heard().told = true;
                    warn!(%cluster, "lost {account} of cluster {cluster}: {why}");
                }
            }
            Event::ClientError(ClientError::Other(text)) if !*self.connected.borrow() => {
                let why = {
                    let mut heard = self.heard();
                    heard.failures.get_or_insert_with(|| excerpt(&text));
                    (!std::mem::replace(&mut heard.told, true)).then(|| heard.why())
                };
                if let Some(why) = why {
                    warn!(%cluster, "cannot connect to {account} of cluster {cluster}: {why}");
                }
            }
            Event::ServerError(error) => {
                let said = match error {
                    ServerError::Other(text) => text,
                    other => other.to_string(),
                };
                let said = excerpt(said.trim_matches('\''));
                // nobody may be waiting
                let _ = self.objections.send(said.clone());
                if is_about_control(&said) {
                    // whoever asked for it tells
                    return;
                }
                if self.heard().objection.replace(said.clone()).as_ref() != Some(&said) {
                    warn!(%cluster, "{account} of cluster {cluster} was told: {said}");
                }
            }
            _ => {}
        }
    }

    /// Takes in why attempts to connect have failed.
    fn failed(&self, pool: Vec<async_nats::Server>) {
        let failures = pool.iter().filter_map(|server| {
            let error = server.last_error.as_deref()?;
            Some(excerpt(&format!("{}:{}: {error}", server.addr.host(), server.addr.port())))
        });
        let failures: Vec<String> = failures.take(3).collect();
        if !failures.is_empty() {
            self.heard().failures = Some(failures.join(", "));
        }
    }
}

impl Heard {
    /// Why there is no connection.
    fn why(&self) -> String {
        self.failures.clone().unwrap_or_else(|| "no server has answered yet".to_owned())
    }
}
