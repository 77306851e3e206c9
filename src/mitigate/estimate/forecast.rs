//! Forecasts: what the guards would have said of an estimate. Those that look at the present are not asked.

use crate::mitigate::guards::look::snapshot_complete;
use crate::mitigate::guards::{LookCoverage, counted, percent};
use crate::model::estimate::{CountRange, Foreseen, GuardForecast};
use crate::model::guard::{GuardKind, GuardSettings};
use crate::model::plan::PlanRequest;
use crate::model::printable::with_commas;
use crate::model::snapshot::Coverage;

/// What guards need to know of an estimate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outlook<'a> {
    pub(super) request: &'a PlanRequest,
    pub(super) coverage: &'a Coverage,
    pub(super) total: u64,
    pub(super) spared: CountRange,
    pub(super) victims: CountRange,
}

/// Asks all guards, in the order of [`GuardKind`].
pub(super) fn forecast(outlook: &Outlook<'_>, settings: &GuardSettings) -> Vec<GuardForecast> {
    let ask = |guard| {
        let (foreseen, reason) = match guard {
            GuardKind::Protected => protected(outlook),
            GuardKind::MaxVictims => max_victims(outlook, settings),
            GuardKind::MaxShare => max_share(outlook, settings),
            GuardKind::KeepMinimum => keep_minimum(outlook, settings),
            GuardKind::SnapshotComplete => {
                let verdict = snapshot_complete(&LookCoverage::of(outlook.coverage));
                (if verdict.passes { Foreseen::Passes } else { Foreseen::Blocks }, verdict.reason)
            }
            GuardKind::SnapshotAge
            | GuardKind::Capability
            | GuardKind::ProblemIsLive
            | GuardKind::NotSilenced
            | GuardKind::MappingIsCertain
            | GuardKind::OneRun
            | GuardKind::CoolDown
            | GuardKind::HourlyBudget
            | GuardKind::CircuitBreaker
            | GuardKind::StormBrake
            | GuardKind::TimeWindow
            | GuardKind::Pause
            | GuardKind::SoleWarden => {
                (Foreseen::NotAsked, "asked when a plan is made of a live look".to_owned())
            }
        };
        GuardForecast { guard, foreseen, reason }
    };
    GuardKind::ALL.map(ask).into()
}

/// No victim is protected: those that are were never picked.
fn protected(outlook: &Outlook<'_>) -> (Foreseen, String) {
    let spared = match outlook.spared {
        spared if spared.is_none() => String::new(),
        spared => format!("; {spared} are and stay"),
    };
    (Foreseen::Passes, format!("no victim is protected{spared}"))
}

fn max_victims(outlook: &Outlook<'_>, settings: &GuardSettings) -> (Foreseen, String) {
    let (victims, most) = (outlook.victims, u64::from(settings.max_victims));
    let bound = with_commas(most);
    if victims.is_none() {
        (Foreseen::Blocks, "there would have been nothing to do".to_owned())
    } else if victims.at_least > most {
        (Foreseen::Blocks, format!("{victims} victims are more than the {bound} that one run may have"))
    } else if victims.at_least == 0 {
        (Foreseen::Unclear, format!("{victims} victims: there may have been nothing to do"))
    } else if victims.at_most > most {
        (Foreseen::Unclear, format!("{victims} victims may be more than the {bound} that one run may have"))
    } else {
        (Foreseen::Passes, format!("{victims} victims of at most {bound}"))
    }
}

fn max_share(outlook: &Outlook<'_>, settings: &GuardSettings) -> (Foreseen, String) {
    let (victims, most) = (outlook.victims, settings.max_share_percent);
    // floor: a part of a connection is none
    let allowed = (outlook.total as f64 * most / 100.0).floor().max(0.0) as u64;
    let of = format!("{victims} of {}", counted(outlook.total, "connection"));
    let bound = format!("{}, that is {}", percent(most), with_commas(allowed));
    if victims.at_least > allowed {
        (Foreseen::Blocks, format!("{of}: at most {bound} may be cut"))
    } else if victims.at_most > allowed {
        (Foreseen::Unclear, format!("{of} may be more than {bound}"))
    } else {
        (Foreseen::Passes, format!("{of}, of at most {bound}"))
    }
}

fn keep_minimum(outlook: &Outlook<'_>, settings: &GuardSettings) -> (Foreseen, String) {
    let keep = outlook.request.limits.keep;
    if keep < settings.keep {
        let (kept, least) = (counted(keep.into(), "connection"), with_commas(settings.keep.into()));
        let reason = format!("{kept} of each application would be kept: at least {least} must be");
        return (Foreseen::Blocks, reason);
    }
    let reason = match keep {
        0 => "no minimum is to be kept".to_owned(),
        keep => format!("at least {} of each are left, or all there are", with_commas(keep.into())),
    };
    (Foreseen::Passes, reason)
}
