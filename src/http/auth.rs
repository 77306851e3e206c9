//! Who asks, and whether they may: every request passes here before anything else looks at it.
//!
//! What a request needs follows from its method and path, and what nobody thought of needs an operator: a new route is
//! closed until somebody opens it. Without a configured credential, reading and delivering need none (the listener is
//! then on loopback, or somebody said that this is meant); acting always needs an operator who has proved to be one, and
//! telling of changes a reporter: whoever reads an incident must be able to believe what is said to be behind it.
//!
//! Signatures are the exception in time: they are of the body, so the webhook checks them once it has arrived.

mod authorization;
mod host;
mod keyring;
mod operator;
mod secret;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use tokio_stream::StreamExt;

use crate::clock::Clock;
use crate::http::api::{changes, estimates};
use crate::http::auth::authorization::Authorization;
use crate::http::auth::host::{Hosts, refuse_cross_site};
use crate::http::auth::keyring::{Found, Keyring, Shown, Signature};
use crate::http::error::{AccessError, Challenge};
use crate::http::peer::Peer;
use crate::http::rate::RateLimit;
use crate::http::webhook;
use crate::model::credential::{Actor, Credential, Role, Secret};
use crate::telemetry::metrics::{AuthResult, Metrics};

pub use crate::http::auth::operator::{Operator, Reporter};

/// How often one source may show what is wrong: in the long run, and at once.
const FAILURES: (f64, f64) = (1.0, 10.0);

/// How far the time of a signature may be from now, in seconds.
const LARGEST_SKEW: u64 = 300;

/// How much of a delivery that is refused is read, so that its sender sees the answer.
const DRAINED: usize = 4 << 20;

/// For how long it is read.
const DRAINING: Duration = Duration::from_secs(5);

/// Who is let in.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Every way to be let in; none means that nobody has to prove anything.
    pub credentials: Vec<Credential>,
    /// Names, in lower case, under which the server may be addressed beside `localhost` and any IP address.
    pub allowed_hosts: Vec<String>,
    /// How often one source may ask in the long run; 0 means as often as it likes.
    pub requests_per_second: u32,
    /// How often it may ask at once.
    pub burst: u32,
}

/// Decides who is let in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    keyring: Keyring,
    hosts: Hosts,
    requests: Option<RateLimit>,
    failures: RateLimit,
    clock: Clock,
    metrics: Metrics,
}

/// Who sent a request.
#[derive(Debug, Clone)]
pub(super) enum Identity {
    /// Nobody has to prove anything.
    Anonymous,
    /// Somebody who has.
    Known(Actor),
    /// Whoever made one of these signatures, which is found out once the body is there.
    Signed(Peer, Vec<Signature>),
}

/// What a request is about, as far as it decides who may send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    /// Whether the process lives, and what every page loads.
    Open,
    /// Metrics: reading, by whatever name the server was found.
    Scrape,
    Read,
    Deliver,
    /// Telling of a change.
    Report,
    Act,
}

impl Route {
    fn of(method: &Method, path: &str) -> Self {
        let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        match path {
            webhook::PATH => Self::Deliver,
            changes::PATH if *method == Method::POST => Self::Report,
            // what is asked takes a body, and changes nothing
            path if *method == Method::POST && estimates::is_path(path) => Self::Read,
            "/-/healthy" | "/-/ready" if reads => Self::Open,
            "/metrics" if reads => Self::Scrape,
            path if reads && path.starts_with("/assets/") => Self::Open,
            _ if reads => Self::Read,
            _ => Self::Act,
        }
    }

    fn needs(self) -> Option<Role> {
        match self {
            Self::Open => None,
            Self::Scrape | Self::Read => Some(Role::Viewer),
            Self::Deliver => Some(Role::Webhook),
            Self::Report => Some(Role::Reporter),
            Self::Act => Some(Role::Operator),
        }
    }

    /// Whether it matters by which name the server was addressed. Probes and scrapers use any, and what they hear
    /// helps nobody.
    fn minds_host(self) -> bool {
        !matches!(self, Self::Open | Self::Scrape)
    }
}

impl Access {
    /// Makes the rules ready; `key` is nobody else's.
    pub fn new(rules: Rules, key: &[u8; 32], clock: Clock, metrics: Metrics) -> Self {
        let limited = rules.requests_per_second > 0;
        let limit = || RateLimit::new(rules.requests_per_second.into(), rules.burst.into());
        Self(Arc::new(Inner {
            keyring: Keyring::new(rules.credentials, key),
            hosts: Hosts::new(rules.allowed_hosts),
            requests: limited.then(limit),
            failures: RateLimit::new(FAILURES.0, FAILURES.1),
            clock,
            metrics,
        }))
    }

    /// Lets in whoever shows the token in `secret`, as the operator of this host. A file of it must be ours alone.
    pub fn trust_local_operator(&self, secret: Secret) {
        self.0.keyring.trust_local_operator(secret);
    }

    /// Finds out who sent a request, and whether they may.
    fn admit(&self, route: Route, request: &Request) -> Result<Identity, AccessError> {
        let (peer, now) = (Peer::of(request), self.0.clock.now());
        // whatever comes from this host is from everybody behind its proxy, or from somebody who could do worse
        if let Some(limit) = &self.0.requests
            && !peer.address.is_loopback()
        {
            limit.take(peer.address, now).map_err(AccessError::TooMany)?;
        }
        if route.minds_host() {
            self.0.hosts.check(request)?;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            refuse_cross_site(request)?;
        }
        let Some(needed) = route.needs() else { return Ok(Identity::Anonymous) };
        let identity = self.identify(route, request, peer, now)?;
        match &identity {
            Identity::Known(actor) if !actor.role.includes(needed) => {
                Err(AccessError::Forbidden { actor: actor.clone(), needed })
            }
            Identity::Anonymous if matches!(needed, Role::Operator | Role::Reporter) => {
                Err(AccessError::Unproved(needed))
            }
            Identity::Anonymous | Identity::Known(_) | Identity::Signed(..) => Ok(identity),
        }
    }

    fn identify(
        &self,
        route: Route,
        request: &Request,
        peer: Peer,
        now: Timestamp,
    ) -> Result<Identity, AccessError> {
        let is_open = self.0.keyring.is_empty();
        let authorization = Authorization::of(request.headers());
        match &authorization {
            // no user is configured, so these are for somebody before us
            Authorization::Basic(_) if is_open => return Ok(Identity::Anonymous),
            Authorization::Basic(_) | Authorization::Bearer(_) | Authorization::Other => {
                return self.identify_shown(&authorization, &peer, now).map(Identity::Known);
            }
            Authorization::None => {}
        }
        if route == Route::Deliver
            && let Some(signatures) = self.0.keyring.signatures(request.headers())
        {
            return Ok(Identity::Signed(peer, signatures));
        }
        if is_open {
            return Ok(Identity::Anonymous);
        }
        match &peer.names {
            Some(names) => match self.0.keyring.find_certificate(names) {
                Some(actor) => Ok(Identity::Known(actor)),
                None => Err(AccessError::UnknownCertificate(self.challenge())),
            },
            None => Err(AccessError::Missing(self.challenge())),
        }
    }

    fn identify_shown(
        &self,
        authorization: &Authorization,
        peer: &Peer,
        now: Timestamp,
    ) -> Result<Actor, AccessError> {
        let found = match authorization {
            Authorization::Bearer(token) => self.0.keyring.find(Shown::Bearer(token), now),
            Authorization::Basic(pair) => {
                // a password can be guessed, so whoever guesses is not even told that it was right
                self.0.failures.look(peer.address, now).map_err(AccessError::TooManyFailures)?;
                let (user, password) = pair.split_once(':').unwrap_or((pair, ""));
                self.0.keyring.find(Shown::Basic(user, password), now)
            }
            Authorization::Other | Authorization::None => Found::Nobody,
        };
        self.accept(found, peer, now)
    }

    /// Makes an answer of what was found, and counts the failures of a source.
    fn accept(&self, found: Found, peer: &Peer, now: Timestamp) -> Result<Actor, AccessError> {
        match found {
            Found::Actor(actor) => Ok(actor),
            Found::Replaced => Err(AccessError::Replaced(self.challenge())),
            Found::Unreadable => Err(AccessError::Unreadable),
            Found::Nobody => match self.0.failures.take(peer.address, now) {
                Ok(()) => Err(AccessError::Wrong(self.challenge())),
                Err(wait) => Err(AccessError::TooManyFailures(wait)),
            },
        }
    }

    /// Checks that the sender of a delivery was let in, now that its body is there. Without a word of [`guard`] nobody
    /// was.
    pub(super) fn confirm(&self, identity: Option<Identity>, body: &[u8]) -> Result<(), AccessError> {
        let (peer, signatures) = match identity {
            Some(Identity::Anonymous) => return Ok(()),
            Some(Identity::Known(actor)) if actor.role.includes(Role::Webhook) => return Ok(()),
            Some(Identity::Signed(peer, signatures)) => (peer, signatures),
            Some(Identity::Known(_)) | None => return Err(AccessError::Missing(self.challenge())),
        };
        let confirmed = self.confirm_signature(&peer, &signatures, body);
        self.count(confirmed.as_ref().map_or_else(AccessError::result, |_| AuthResult::Accepted));
        if let Err(refusal) = &confirmed {
            tracing::warn!(source = %peer.address, "refused a signed delivery: {refusal}");
        }
        confirmed.map(drop)
    }

    fn confirm_signature(
        &self,
        peer: &Peer,
        signatures: &[Signature],
        body: &[u8],
    ) -> Result<Actor, AccessError> {
        let now = self.0.clock.now();
        let (found, signature) = Signature::find(signatures, body, now);
        let actor = self.accept(found, peer, now)?;
        if !actor.role.includes(Role::Webhook) {
            return Err(AccessError::Forbidden { actor, needed: Role::Webhook });
        }
        if let Some(timestamp) = signature.and_then(Signature::timestamp) {
            // it is signed, so whoever has the secret wrote it
            let signed_at: i64 = timestamp.parse().map_err(|_| AccessError::Wrong(self.challenge()))?;
            let age = now.as_second().saturating_sub(signed_at);
            if age.unsigned_abs() > LARGEST_SKEW {
                return Err(AccessError::Stale(age));
            }
        }
        Ok(actor)
    }

    fn challenge(&self) -> Challenge {
        Challenge { basic: self.0.keyring.knows_users() }
    }

    fn count(&self, result: AuthResult) {
        self.0.metrics.auth(result);
    }
}

/// Lets a request through to its handler, with the [`Identity`] of its sender, or refuses it.
pub(super) async fn guard(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    let route = Route::of(request.method(), request.uri().path());
    match access.admit(route, &request) {
        Ok(identity) => {
            match &identity {
                Identity::Known(_) => access.count(AuthResult::Accepted),
                Identity::Anonymous if route != Route::Open => access.count(AuthResult::Anonymous),
                // those who signed are counted when that is known
                Identity::Anonymous | Identity::Signed(..) => {}
            }
            request.extensions_mut().insert(identity);
            next.run(request).await
        }
        Err(refusal) => {
            access.count(refusal.result());
            let source = Peer::of(&request).address;
            match refusal.result() {
                // what costs its sender nothing must not fill the log
                AuthResult::RateLimited | AuthResult::Missing => {
                    tracing::debug!(%source, "refused: {refusal}")
                }
                _ => tracing::warn!(%source, "refused: {refusal}"),
            }
            if route == Route::Deliver {
                drain(request.into_body()).await;
                refusal.into_line()
            } else {
                refusal.into_response()
            }
        }
    }
}

/// Reads on for a while: a sender that is cut off while it writes sees a broken connection, not the answer.
async fn drain(body: Body) {
    let mut chunks = body.into_data_stream();
    let reading = async {
        let mut left = DRAINED;
        while let Some(Ok(chunk)) = chunks.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DRAINING, reading).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_thought_of_needs_an_operator() {
        let needs = |method: Method, path: &str| Route::of(&method, path).needs();
        for (method, path, role) in [
            (Method::GET, "/-/healthy", None),
            (Method::HEAD, "/-/ready", None),
            (Method::POST, "/-/reload", Some(Role::Operator)),
            (Method::POST, "/-/healthy", Some(Role::Operator)),
            (Method::GET, "/-/anything", Some(Role::Viewer)),
            (Method::GET, "/assets/style.css", None),
            (Method::GET, "/assets", Some(Role::Viewer)),
            (Method::GET, "/", Some(Role::Viewer)),
            (Method::GET, "/metrics", Some(Role::Viewer)),
            (Method::GET, "/api/v1/openapi.json", Some(Role::Viewer)),
            (Method::POST, "/api/v1/incidents", Some(Role::Operator)),
            (Method::DELETE, "/", Some(Role::Operator)),
            (Method::POST, webhook::PATH, Some(Role::Webhook)),
            (Method::POST, changes::PATH, Some(Role::Reporter)),
            (Method::GET, changes::PATH, Some(Role::Viewer)),
            (Method::PUT, changes::PATH, Some(Role::Operator)),
            (Method::POST, "/api/v1/snapshots/7/estimates", Some(Role::Viewer)),
            (Method::PUT, "/api/v1/snapshots/7/estimates", Some(Role::Operator)),
            (Method::POST, "/api/v1/snapshots/7/8/estimates", Some(Role::Operator)),
            (Method::POST, "/api/v1/webhook/alertmanager/", Some(Role::Operator)),
            (Method::POST, "/api/v1/webhook/%61lertmanager", Some(Role::Operator)),
        ] {
            assert_eq!(needs(method.clone(), path), role, "{method} {path}");
        }
    }
}
