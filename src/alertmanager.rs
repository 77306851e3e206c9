//! Alertmanager on the wire: the webhook payload that it, and others in its manner, send, and the API that it answers
//! questions with.

pub mod api;
pub mod webhook;
