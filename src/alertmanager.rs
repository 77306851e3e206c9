//! Alertmanager on the wire: the webhook payload that it, and others in its manner, send.

pub mod webhook;
