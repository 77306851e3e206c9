//! An API that is asked: an Alertmanager, a Prometheus, a Loki.

use url::Url;

use crate::model::remote_auth::RemoteAuth;

/// Where an API is, and how to be let in. Debug output does not show the secrets.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Where it is; a path is what all of its paths begin with.
    pub url: Url,
    /// How to be let in.
    pub auth: Option<RemoteAuth>,
    /// Whose data is asked for, where it keeps those of several tenants (Mimir, Loki, Thanos): the `X-Scope-OrgID`.
    pub tenant: Option<String>,
}
