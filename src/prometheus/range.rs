//! Range queries: what an expression said over time.
//!
//! A failed scrape is a missing point, a value may be no number, and a server gives at most 11,000 points of a series, so
//! the pace follows from the time asked for. The last point is the end of that time, however slow the pace is.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::{Answer, PrometheusClient, PrometheusError, read};
use crate::model::labels::Labels;
use crate::model::pattern::{Point, Series};

/// About so many points are asked for; Prometheus gives 11,000 at most.
const POINTS: i64 = 720;

/// The paces to choose from, in seconds: from as often as is usually scraped on.
const PACES: [i64; 11] = [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600];

/// The largest answer that is read, in bytes: about 600 series.
const MOST_BYTES: usize = 16 << 20;

/// The most series that are kept of one answer.
const MOST_SERIES: usize = 500;

/// A stretch of time, and how far apart the points in it are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first point.
    pub from: Timestamp,
    /// The last point.
    pub to: Timestamp,
    /// From one to the next.
    pub step: Duration,
}

/// What one series said over time.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeSeries {
    /// The series.
    pub labels: Labels,
    /// What it said.
    pub series: Series,
}

impl Range {
    /// Chooses the pace for the time from `from` to `to`. The first point is `from` or a little later, the last is `to`.
    pub fn covering(from: Timestamp, to: Timestamp) -> Self {
        let span = to.as_second().saturating_sub(from.as_second()).max(0);
        let step = PACES.into_iter().find(|pace| span / pace <= POINTS);
        // beyond the slowest pace whole days
        let step = step.unwrap_or_else(|| (span / POINTS / 86_400 + 1) * 86_400);
        let second = |second: i64| Timestamp::from_second(second).unwrap_or(to);
        Self {
            from: second(to.as_second() - span / step * step),
            to: second(to.as_second()),
            step: Duration::from_secs(step.unsigned_abs()),
        }
    }
}

impl PrometheusClient {
    /// Evaluates an expression at every point of a range.
    ///
    /// # Errors
    ///
    /// No answer, not that of a Prometheus, or the expression is wrong.
    pub async fn query_range(
        &self,
        expression: &str,
        range: Range,
    ) -> Result<Answer<Vec<RangeSeries>>, PrometheusError> {
        let (from, to) = (range.from.as_second().to_string(), range.to.as_second().to_string());
        let step = range.step.as_secs().to_string();
        // VictoriaMetrics moves the points of long ranges, unless it may not cache; nobody else knows the last parameter
        let query =
            [("query", expression), ("start", &from), ("end", &to), ("step", &step), ("nocache", "1")];
        let documents = self.0.at_most(MOST_BYTES);
        let answer = documents
            .get_or_post("api/v1/query_range", &query, "a range of values", |body| read_range(body, range))
            .await?;
        Ok(answer)
    }
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "snake_case")]
enum RangeData {
    Matrix(Vec<WireSeries>),
}

#[derive(Deserialize)]
struct WireSeries {
    metric: Labels,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

fn read_range(body: &[u8], range: Range) -> Result<Answer<Vec<RangeSeries>>, String> {
    let Answer { result: RangeData::Matrix(series), mut warnings } = read(body)?;
    if series.len() > MOST_SERIES {
        warnings.push(format!("{} series are more than the {MOST_SERIES} that are read", series.len()));
    }
    let series = series.into_iter().take(MOST_SERIES).map(|series| {
        let points = series.values.into_iter().map(|(seconds, value)| {
            let value = value.parse::<f64>().map_err(|_| format!("a value is no number: {value:?}"))?;
            let at = Timestamp::from_millisecond((seconds * 1000.0).round() as i64)
                .map_err(|_| format!("a time is none: {seconds}"))?;
            Ok(Point { at, value })
        });
        let points = points.collect::<Result<Vec<Point>, String>>()?;
        Ok(RangeSeries { labels: series.metric, series: Series::new(points, range.step) })
    });
    Ok(Answer { result: series.collect::<Result<_, String>>()?, warnings })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn minute() -> Range {
        Range::covering(at("2026-11-24T09:00:00Z"), at("2026-11-24T10:00:00Z"))
    }

    #[test]
    fn the_pace_follows_from_the_time() {
        let range = Range::covering(at("2026-11-24T09:00:07Z"), at("2026-11-24T12:00:01.5Z"));
        assert_eq!(range.step, Duration::from_secs(15));
        assert_eq!((range.from, range.to), (at("2026-11-24T09:00:16Z"), at("2026-11-24T12:00:01Z")));
        let paces: [(i64, i64); 6] =
            [(0, 15), (60, 15), (3 * 3600, 15), (3 * 3600 + 15, 30), (86_400, 120), (7 * 86_400, 900)];
        for (span, pace) in paces {
            let to = range.from + SignedDuration::from_secs(span);
            let range = Range::covering(range.from, to);
            assert_eq!(range.step.as_secs(), pace.unsigned_abs(), "{span}");
            let points = range.to.duration_since(range.from).as_secs() / pace;
            assert!(points <= 720, "{points}");
        }
        let ages = Range::covering(at("1970-01-01T00:00:00Z"), at("2026-11-24T09:00:00Z"));
        assert!(ages.to.duration_since(ages.from).as_secs().unsigned_abs() / ages.step.as_secs() <= 720);
        let back = Range::covering(range.to, range.from);
        assert_eq!((back.from, back.to), (range.from, range.from));
    }

    #[test]
    fn ranges_of_real_servers_are_understood() {
        for body in [
            include_bytes!("../../tests/fixtures/prometheus/prometheus-range-total.http200.prom-2.42.0.json")
                .as_slice(),
            include_bytes!("../../tests/fixtures/prometheus/prometheus-range-total.http200.prom-3.5.3.json")
                .as_slice(),
        ] {
            let answer = read_range(body, minute()).unwrap();
            assert_eq!(answer.warnings, [""; 0]);
            assert!(!answer.result.is_empty());
            for series in &answer.result {
                assert!(series.labels.get("server_id").is_some(), "{:?}", series.labels);
                assert!(!series.series.points().is_empty());
            }
        }
        for body in [
            include_bytes!("../../tests/fixtures/prometheus/prometheus-range-empty.http200.prom-2.42.0.json")
                .as_slice(),
            include_bytes!("../../tests/fixtures/prometheus/prometheus-range-empty.http200.prom-3.5.3.json")
                .as_slice(),
        ] {
            assert_eq!(read_range(body, minute()).unwrap().result, []);
        }
    }

    #[test]
    fn what_is_no_number_is_missing() {
        let body = br#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":
            [[1795422788.072,"1024"],[1795422803,"NaN"],[1795422818,"+Inf"],[1795422833,"-Inf"],[1795422848,"1e3"]]}]}}"#;
        let answer = read_range(body, minute()).unwrap();
        let points: Vec<(String, f64)> = answer.result[0]
            .series
            .points()
            .iter()
            .map(|point| (point.at.to_string(), point.value))
            .collect();
        let expected =
            [("2026-11-23T08:33:08.072Z".to_owned(), 1024.0), ("2026-11-23T08:34:08Z".to_owned(), 1000.0)];
        assert_eq!(points, expected);
    }

    #[test]
    fn partial_answers_and_too_many_series_are_told() {
        let partial =
            br#"{"status":"success","isPartial":true,"data":{"resultType":"matrix","result":[]},"stats":{}}"#;
        assert_eq!(read_range(partial, minute()).unwrap().warnings, ["it answers in part"]);
        let thanos = br#"{"status":"success","data":{"resultType":"matrix","result":[]},"warnings":["store-1 is down"]}"#;
        assert_eq!(read_range(thanos, minute()).unwrap().warnings, ["store-1 is down"]);
        let series = vec![r#"{"metric":{},"values":[[1795422788,"1"]]}"#; 501].join(",");
        let many = format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{series}]}}}}"#);
        let answer = read_range(many.as_bytes(), minute()).unwrap();
        assert_eq!(answer.result.len(), 500);
        assert_eq!(answer.warnings, ["501 series are more than the 500 that are read"]);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for body in [
            r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"x"]]}]}}"#,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1e300,"1"]]}]}}"#,
            r#"{"status":"error"}"#,
            "",
        ] {
            assert!(read_range(body.as_bytes(), minute()).is_err(), "{body}");
        }
    }
}
