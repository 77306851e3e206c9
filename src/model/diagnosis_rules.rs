//! From when on something is worth a finding.

/// From when on something is worth a finding. Shares are from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct DiagnosisRules {
    /// A server is near its limit from this share of `max_connections` on.
    pub near_limit: f64,
    /// An account is near its limit from this share of it on.
    pub near_account_limit: f64,
    /// So many attempted connections a minute on one server are a storm.
    pub churn_per_minute: f64,
    /// So many connections of one user are many, where its peers have far fewer.
    pub connections_per_user: u64,
    /// A server with so many times the mean of its cluster is out of balance.
    pub imbalance_factor: f64,
    /// A server with this share of its cluster's connections is out of balance.
    pub imbalance_share: f64,
    /// A group with fewer connections than this is nobody's trouble.
    pub least_connections: u64,
    /// Processor time from this share of the cores on is pressure.
    pub cpu_share: f64,
    /// Memory from this share of Go's memory limit on is pressure.
    pub memory_share: f64,
}

impl Default for DiagnosisRules {
    fn default() -> Self {
        Self {
            near_limit: 0.8,
            near_account_limit: 0.9,
            churn_per_minute: 500.0,
            connections_per_user: 100,
            imbalance_factor: 2.0,
            imbalance_share: 0.7,
            least_connections: 50,
            cpu_share: 0.8,
            memory_share: 0.9,
        }
    }
}
