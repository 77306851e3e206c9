//! NATS on the wire: the monitoring port, the system account, and the streaming reader of connection lists.
//!
//! What a server sends is text and numbers from a stranger: it may be cut off, lie about its totals, or not be
//! a NATS server at all. Everything here reports what it tried, on which server, and what came back.

mod accountz;
pub mod connz;
pub mod monitoring;
pub mod source;
pub mod system;
pub mod text;
pub mod varz;
