//! Baseline: how often each cluster is sampled, and how long that is kept.

use std::time::Duration;

use super::{scalar, section::Section};
use crate::model::sampling::Sampling;

/// A shorter interval tells little more and costs the servers much.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(10);

/// With longer ones there would be nothing to compare with from shortly before a problem.
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);

/// Below this age there would be no yesterday to compare with.
const SHORTEST_KEEP: Duration = Duration::from_secs(2 * 86_400);

/// For ever is not meant.
const LONGEST_KEEP: Duration = Duration::from_secs(366 * 86_400);

/// What a sample may hold of each dimension.
const TOP: (usize, usize) = (10, 2000);

/// What a Prometheus takes of a cluster without complaint.
const MOST_METRIC_APPLICATIONS: usize = 1000;

pub(super) fn read(section: &Section<'_>) -> Sampling {
    let default = Sampling::default();
    let interval = |text: &str| duration_between(text, SHORTEST_INTERVAL, LONGEST_INTERVAL);
    let keep = |text: &str| duration_between(text, SHORTEST_KEEP, LONGEST_KEEP);
    Sampling {
        enabled: section.value("enabled", scalar::truth).unwrap_or(default.enabled),
        interval: section.value("interval", interval).unwrap_or(default.interval),
        keep: section.value("keep", keep).unwrap_or(default.keep),
        top: section.value("top", |text| number_between(text, TOP.0, TOP.1)).unwrap_or(default.top),
        metric_applications: section
            .value("metric_applications", |text| number_between(text, 0, MOST_METRIC_APPLICATIONS))
            .unwrap_or(default.metric_applications),
    }
}

fn duration_between(text: &str, shortest: Duration, longest: Duration) -> Result<Duration, String> {
    let duration = scalar::duration_up_to(text, longest)?;
    if duration < shortest {
        return Err(format!("must be at least {}s, found {}", shortest.as_secs(), scalar::quoted(text)));
    }
    Ok(duration)
}

fn number_between(text: &str, least: usize, most: usize) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(number) if (least..=most).contains(&number) && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(number)
        }
        _ => Err(format!("expected a whole number from {least} to {most}, found {}", scalar::quoted(text))),
    }
}
