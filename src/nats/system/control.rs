//! Control requests: a client cut, or asked to leave; and what must be known before that.
//!
//! A server confirms by an envelope with neither data nor an error. Nothing else is taken for success, and no request is
//! ever repeated: one without an answer may have been carried out.
//!
//! That nobody answers has several reasons: the server of that id is gone, it is older than 2.10 and knows no such
//! requests, or we are no user of the system account. Only the first means that its connections have left; so the server
//! that we are connected to is asked something harmless, and the silent one what it says of itself.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use super::{LARGEST_SMALL_REPLY, ServerRef, SystemAccount, SystemCause, SystemError, failure, is_server_id};
use crate::model::printable::excerpt;
use crate::nats::connz::{Connection, ConnzReader, Envelope};
use crate::nats::monitoring::VARZ_TIMEOUT;

/// How long a server may take to carry out a control request.
pub const CONTROL_TIMEOUT: Duration = Duration::from_secs(5);

/// What responders of the authorisation callout are subscribed to.
pub const CALLOUT_SUBJECT: &str = "$SYS.REQ.USER.AUTH";

/// The number that no connection has: they begin with 1.
const NOBODY: u64 = 0;

/// What a server can be asked to do to a connection (from 2.10 on).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Control {
    /// Cut it; its client is not told.
    Kick,
    /// Tell its client that the server is about to leave. Nothing is closed.
    LameDuck,
}

impl Control {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Kick, Self::LameDuck];

    /// The last part of the subject.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Kick => "KICK",
            Self::LameDuck => "LDM",
        }
    }

    /// The subject that a user must be allowed to publish to.
    pub fn permission(self) -> &'static str {
        match self {
            Self::Kick => "$SYS.REQ.SERVER.*.KICK",
            Self::LameDuck => "$SYS.REQ.SERVER.*.LDM",
        }
    }
}

/// What a server did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// What it was asked for.
    Yes,
    /// Nothing: the connection is not there, or its server has stopped or started anew.
    NotThere,
    /// Nothing: the client knows no lame duck mode.
    NotUnderstood,
}

#[derive(Debug, Serialize)]
struct ControlOptions {
    cid: u64,
}

#[derive(Debug, Serialize)]
struct ResponderOptions<'a> {
    acc: &'a str,
    filter_subject: &'static str,
    limit: u64,
}

impl SystemAccount {
    /// Cuts a connection.
    ///
    /// # Errors
    ///
    /// Anything but a clear answer; it may then have been cut or not.
    pub async fn kick(&self, server_id: &str, cid: u64) -> Result<Done, SystemError> {
        self.control(Control::Kick, server_id, cid).await
    }

    /// Asks the client of a connection to leave.
    ///
    /// # Errors
    ///
    /// Anything but a clear answer.
    pub async fn lame_duck(&self, server_id: &str, cid: u64) -> Result<Done, SystemError> {
        self.control(Control::LameDuck, server_id, cid).await
    }

    /// Asks a server to do something to a connection.
    ///
    /// # Errors
    ///
    /// Anything but a clear answer.
    pub async fn control(&self, control: Control, server_id: &str, cid: u64) -> Result<Done, SystemError> {
        let failed = |cause| SystemError {
            question: format!("{} of connection {cid} of {}", control.verb(), excerpt(server_id)),
            cause,
        };
        if self.own_connection().is_some_and(|(own, own_cid)| own == server_id && own_cid == cid) {
            return Err(failed(SystemCause::Own));
        }
        let answer = self.ask_control(control, server_id, cid).await;
        match answer {
            Err(SystemCause::NoResponders(_)) => {
                self.surely_gone(control, server_id).await.map_err(failed)?;
                Ok(Done::NotThere)
            }
            answer => answer.map_err(failed),
        }
    }

    /// Asks a server for a control request to a connection that cannot be there, and so changes nothing: whether it would
    /// carry out one that can.
    ///
    /// # Errors
    ///
    /// It would not; or it is not known.
    pub async fn try_control(&self, control: Control, server: &ServerRef) -> Result<(), SystemError> {
        let failed = |cause| failure(control.verb(), server, cause);
        match self.ask_control(control, &server.id, NOBODY).await.map_err(failed)? {
            Done::NotThere => Ok(()),
            Done::Yes | Done::NotUnderstood => {
                let why = format!("it was done to connection {NOBODY}, which is none");
                Err(failed(SystemCause::Malformed(why)))
            }
        }
    }

    /// The nats id of the server that our connection is to, and the connection's number there; none while there is no
    /// connection.
    pub fn own_connection(&self) -> Option<(String, u64)> {
        self.0.link.own_connection()
    }

    /// In which of some accounts (in operator mode their public keys) somebody answers authorisation callouts, on any
    /// server of the cluster; those of which not every server says that nobody does are among them.
    pub async fn callout_accounts(&self, accounts: &BTreeSet<String>) -> BTreeSet<String> {
        let nobody = BTreeSet::new();
        let call = match self.roll_call(&nobody).await {
            Ok(call) if call.missing(&nobody).is_empty() => call,
            _ => return accounts.clone(),
        };
        let mut asking = JoinSet::new();
        for server in call.servers.into_values() {
            let (account, accounts) = (self.clone(), accounts.clone());
            asking.spawn(async move { account.callout_accounts_on(&server, accounts).await });
        }
        asking.join_all().await.into_iter().flatten().collect()
    }

    /// Those of some accounts of which a server does not say that nobody answers authorisation callouts. One that does not
    /// answer is not asked again.
    async fn callout_accounts_on(
        &self,
        server: &ServerRef,
        mut accounts: BTreeSet<String>,
    ) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        while let Some(account) = accounts.pop_first() {
            match self.lists_callout_responder(server, &account).await {
                Ok(false) => continue,
                Err(SystemCause::Timeout { .. } | SystemCause::NotConnected(_)) => {
                    found.append(&mut accounts)
                }
                Ok(true) | Err(_) => {}
            }
            found.insert(account);
        }
        found
    }

    async fn lists_callout_responder(&self, server: &ServerRef, account: &str) -> Result<bool, SystemCause> {
        let options = ResponderOptions { acc: account, filter_subject: CALLOUT_SUBJECT, limit: 1 };
        let options = serde_json::to_vec(&options).expect("texts and numbers can be written");
        let timeout = self.0.settings.timeout.min(VARZ_TIMEOUT);
        let reply = self.ask(server, "CONNZ", options, timeout).await?;
        let mut reader = ConnzReader::default();
        let mut each = |_: &Envelope, _: &Connection<'_>| {};
        reply.connections(LARGEST_SMALL_REPLY, &mut 0, &mut reader, &mut each).await?;
        Ok(reader.envelope().read > 0)
    }

    async fn ask_control(&self, control: Control, server_id: &str, cid: u64) -> Result<Done, SystemCause> {
        if !is_server_id(server_id) {
            return Err(SystemCause::Malformed(format!(
                "`{}` is no nats id of a server",
                excerpt(server_id)
            )));
        }
        let server = ServerRef { id: server_id.to_owned(), name: server_id.to_owned() };
        let options = serde_json::to_vec(&ControlOptions { cid }).expect("numbers can be written");
        let timeout = self.0.settings.timeout.min(CONTROL_TIMEOUT);
        let reply = self.ask(&server, control.verb(), options, timeout).await?;
        match reply.confirmation(LARGEST_SMALL_REPLY, server_id) {
            Ok(()) => Ok(Done::Yes),
            // `no such client id`, `no such client or leafnode id`
            Err(SystemCause::Refused { description, .. }) if description.starts_with("no such client") => {
                Ok(Done::NotThere)
            }
            // `client does not support Lame Duck Mode or is not ready to receive the notification`
            Err(SystemCause::Refused { description, .. })
                if control == Control::LameDuck && description.contains("does not support Lame Duck") =>
            {
                Ok(Done::NotUnderstood)
            }
            Err(cause) => Err(cause),
        }
    }

    /// Makes sure that a server of which nobody answered to a control request is gone.
    async fn surely_gone(&self, control: Control, server_id: &str) -> Result<(), SystemCause> {
        let unclear = || {
            SystemCause::NoResponders(
                "nobody answers to this id, and it is not certain that the server is gone: it may be older than 2.10, or \
                 the user may not be one of the system account",
            )
        };
        let Some((near, _)) = self.own_connection().filter(|(near, _)| near != server_id) else {
            return Err(unclear());
        };
        // that we are heard at all
        if self.ask_control(control, &near, NOBODY).await.is_err() {
            return Err(unclear());
        }
        let server = ServerRef { id: server_id.to_owned(), name: server_id.to_owned() };
        let timeout = self.0.settings.timeout.min(VARZ_TIMEOUT);
        match self.ask(&server, "VARZ", Vec::new(), timeout).await {
            Err(SystemCause::NoResponders(_)) => Ok(()),
            // an actor that may only act: the servers that a plan is about are known to understand what it asks for
            Err(SystemCause::Denied(_)) => Ok(()),
            Err(cause) => Err(cause),
            Ok(_) => Err(unclear()),
        }
    }
}
