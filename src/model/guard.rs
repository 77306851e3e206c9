//! Guards: what must hold before a mitigation may run, and what each of them said.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::protection::ProtectedBySettings;

/// What is guarded against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuardKind {
    /// No victim is protected.
    Protected,
    /// There is a victim, and there are not too many.
    MaxVictims,
    /// The victims are not too large a share of the cluster's connections.
    MaxShare,
    /// Of each application enough connections are left.
    KeepMinimum,
    /// What the plan was made of is not old.
    SnapshotAge,
    /// Every server was seen, with all its connections.
    SnapshotComplete,
    /// The cluster can do what is planned.
    Capability,
    /// The incident is not over, and a fresh count is above its threshold.
    ProblemIsLive,
    /// None of its alerts is silenced or inhibited.
    NotSilenced,
    /// The alert's cluster is known, not assumed.
    MappingIsCertain,
    /// No other run is going on in the cluster.
    OneRun,
    /// The last run against the same is long enough ago.
    CoolDown,
    /// Not too many connections have been cut within the hour.
    HourlyBudget,
    /// The last runs neither failed nor were in vain too often.
    CircuitBreaker,
    /// Most servers can be reached.
    StormBrake,
    /// It is a time at which mitigations may run.
    TimeWindow,
    /// Nobody has paused mitigations.
    Pause,
    /// No other connwarden acts on the same cluster.
    SoleWarden,
}

impl GuardKind {
    /// Every guard, in the order in which they are asked and shown.
    pub const ALL: [Self; 18] = [
        Self::Protected,
        Self::MaxVictims,
        Self::MaxShare,
        Self::KeepMinimum,
        Self::SnapshotAge,
        Self::SnapshotComplete,
        Self::Capability,
        Self::ProblemIsLive,
        Self::NotSilenced,
        Self::MappingIsCertain,
        Self::OneRun,
        Self::CoolDown,
        Self::HourlyBudget,
        Self::CircuitBreaker,
        Self::StormBrake,
        Self::TimeWindow,
        Self::Pause,
        Self::SoleWarden,
    ];

    /// The guard as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::MaxVictims => "max_victims",
            Self::MaxShare => "max_share",
            Self::KeepMinimum => "keep_minimum",
            Self::SnapshotAge => "snapshot_age",
            Self::SnapshotComplete => "snapshot_complete",
            Self::Capability => "capability",
            Self::ProblemIsLive => "problem_is_live",
            Self::NotSilenced => "not_silenced",
            Self::MappingIsCertain => "mapping_is_certain",
            Self::OneRun => "one_run",
            Self::CoolDown => "cool_down",
            Self::HourlyBudget => "hourly_budget",
            Self::CircuitBreaker => "circuit_breaker",
            Self::StormBrake => "storm_brake",
            Self::TimeWindow => "time_window",
            Self::Pause => "pause",
            Self::SoleWarden => "sole_warden",
        }
    }

    /// The guard, for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Protected => "Protected connections",
            Self::MaxVictims => "Number of victims",
            Self::MaxShare => "Share of the cluster",
            Self::KeepMinimum => "Minimum kept",
            Self::SnapshotAge => "Age of the look",
            Self::SnapshotComplete => "Completeness of the look",
            Self::Capability => "What the cluster can do",
            Self::ProblemIsLive => "The problem is there",
            Self::NotSilenced => "Silences",
            Self::MappingIsCertain => "The alert's cluster",
            Self::OneRun => "One run at a time",
            Self::CoolDown => "Cool-down",
            Self::HourlyBudget => "Budget of an hour",
            Self::CircuitBreaker => "Circuit breaker",
            Self::StormBrake => "Reachable servers",
            Self::TimeWindow => "Time window",
            Self::Pause => "Pause",
            Self::SoleWarden => "Other connwardens",
        }
    }
}

/// What a guard said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GuardVerdict {
    /// Which guard.
    pub guard: GuardKind,
    /// Whether it lets the mitigation run.
    pub passes: bool,
    /// Why, in one line.
    pub reason: String,
    /// What it looked at, where there is a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What the value was compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<String>,
}

/// From when on guards block.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardSettings {
    /// What is never a victim.
    pub protected: ProtectedBySettings,
    /// So many victims at most.
    pub max_victims: u32,
    /// This share of the cluster's connections at most, in percent.
    pub max_share_percent: f64,
    /// So many connections of each application are left, at least.
    pub keep: u32,
    /// The look that a plan is made of, and the last one before a run, may be this old when guards are asked.
    pub max_snapshot_age: Duration,
    /// How many of the victims may have left since, in percent, before the plan is stale.
    pub replan_threshold_percent: f64,
    /// How long to wait after a run against the same target; doubled after each that was not effective.
    pub cool_down: Duration,
    /// The longest that becomes.
    pub max_cool_down: Duration,
    /// So many connections are cut within an hour, at most.
    pub hourly_budget: u32,
    /// So many failed or ineffective runs within `breaker_window` open the breaker.
    pub breaker_failures: u32,
    /// How long a failed or ineffective run counts.
    pub breaker_window: Duration,
    /// When more than this share of the servers does not answer, in percent, nothing is done.
    pub max_unreachable_percent: f64,
    /// When mitigations may run, in UTC; always where there is none.
    pub windows: Vec<TimeWindow>,
    /// How long an approval is valid.
    pub approval_valid: Duration,
    /// A run is stopped after so many requests that failed.
    pub stop_errors: u32,
    /// It is also stopped when so many of those sent failed, in percent.
    pub stop_errors_percent: f64,
}

/// A part of the day in which mitigations may run, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWindow {
    /// The days, Monday first.
    pub days: [bool; 7],
    /// From this minute of the day on.
    pub from_minute: u16,
    /// Until before this minute of the day; before `from_minute`, it ends on the next day.
    pub until_minute: u16,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            protected: ProtectedBySettings::default(),
            max_victims: 50,
            max_share_percent: 10.0,
            keep: 1,
            max_snapshot_age: Duration::from_secs(120),
            replan_threshold_percent: 10.0,
            cool_down: Duration::from_secs(10 * 60),
            max_cool_down: Duration::from_secs(6 * 3600),
            hourly_budget: 500,
            breaker_failures: 3,
            breaker_window: Duration::from_secs(4 * 3600),
            max_unreachable_percent: 34.0,
            windows: Vec::new(),
            approval_valid: Duration::from_secs(15 * 60),
            stop_errors: 3,
            stop_errors_percent: 20.0,
        }
    }
}

impl GuardVerdict {
    /// A guard that lets the mitigation run.
    pub fn pass(guard: GuardKind, reason: impl Into<String>) -> Self {
        Self { guard, passes: true, reason: reason.into(), value: None, bound: None }
    }

    /// A guard that does not.
    pub fn block(guard: GuardKind, reason: impl Into<String>) -> Self {
        Self { passes: false, ..Self::pass(guard, reason) }
    }

    /// Adds what was compared with what.
    #[must_use]
    pub fn compared(self, value: impl ToString, bound: impl ToString) -> Self {
        Self { value: Some(value.to_string()), bound: Some(bound.to_string()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_is_written_by_its_name() {
        for guard in GuardKind::ALL {
            assert_eq!(serde_json::to_value(guard).unwrap(), guard.name());
        }
    }
}
