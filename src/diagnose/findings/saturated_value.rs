//! An alert whose number is not the number of connections: the length of one page of `/connz`.

use crate::diagnose::case::Case;
use crate::model::alert::CONNZ_PAGE;
use crate::model::breakdown::Dimension;
use crate::model::diagnosis::{Fact, Finding, FindingKind, Severity, Subject};
use crate::model::printable::with_commas;
use crate::model::truth::Truth;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let coverage = &case.evidence.snapshot.coverage;
    let (alert, truth) = case.evidence.alerts.iter().find_map(|alert| {
        let truth = Truth::about(&alert.member, coverage)?;
        (truth.value_saturated == Some(true)).then_some((alert, truth))
    })?;
    let said = alert.member.alert.value.map_or(CONNZ_PAGE, |value| value.value);
    let connections = truth.connections?;
    Some(Finding {
        kind: FindingKind::SaturatedValue,
        severity: Severity::Info,
        confidence: 0.95,
        summary: format!(
            "the alert says {said}, which is the length of one page of /connz; there are {} connections",
            truth.count()?,
        ),
        subject: truth.server.map(|server| Subject::new(Dimension::Server, server)),
        since: None,
        evidence: vec![
            Fact::new("value", said, format!("the alert's value is {said}")),
            Fact::count("connections", connections, format!("the servers say {}", with_commas(connections))),
        ],
        confirm: "`gnatsd_connz_total` or `gnatsd_varz_connections` shows the true number".to_owned(),
        refute: "The alert's expression does not use `num_connections`".to_owned(),
    })
}
