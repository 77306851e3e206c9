//! Statistics that a few wild values do not move.

/// The median; `None` of nothing.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        // halved before they are added, so that large ones do not overflow
        length if length.is_multiple_of(2) => Some(sorted[middle - 1] / 2.0 + sorted[middle] / 2.0),
        _ => Some(sorted[middle]),
    }
}

/// What scatters around a trend: the scaled median of how far neighbours are apart, which steps and spikes do not move.
pub(super) fn noise(values: &[f64]) -> f64 {
    let differences: Vec<f64> = values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    // the median of |N(0, 2σ²)| is 0.954 σ
    median(&differences).unwrap_or(0.0) / 0.954
}

/// Takes single wild values out: each is replaced by the median of itself and its two neighbours.
pub(super) fn without_single_outliers(values: &[f64]) -> Vec<f64> {
    let of_three = |window: &[f64]| {
        let [a, b, c] = [window[0], window[1], window[2]];
        a.max(b).min(a.min(b).max(c))
    };
    let mut smooth = values.to_vec();
    for (place, window) in values.windows(3).enumerate() {
        smooth[place + 1] = of_three(window);
    }
    smooth
}

/// The slope of most pairs of points (Theil and Sen), per unit of `x`; 0 of fewer than two.
///
/// Of long series every n-th point is taken: the number of pairs grows with the square.
pub(super) fn slope(points: &[(f64, f64)]) -> f64 {
    const MOST_POINTS: usize = 100;

    let every = points.len().div_ceil(MOST_POINTS).max(1);
    let points: Vec<(f64, f64)> = points.iter().copied().step_by(every).collect();
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (place, (x, y)) in points.iter().enumerate() {
        for (later_x, later_y) in &points[place + 1..] {
            if later_x > x {
                slopes.push((later_y - y) / (later_x - x));
            }
        }
    }
    median(&slopes).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_do_not_mind_wild_values() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[1.0, 1e300, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[f64::MAX, f64::MAX]), Some(f64::MAX));
    }

    #[test]
    fn noise_is_that_of_neighbours_and_not_of_a_step() {
        assert_eq!(noise(&[5.0; 10]), 0.0);
        let step: Vec<f64> = [10.0; 20].into_iter().chain([1000.0; 20]).collect();
        assert_eq!(noise(&step), 0.0);
        assert!(noise(&[1.0, 3.0, 1.0, 3.0, 1.0]) > 1.9);
    }

    #[test]
    fn single_outliers_go_and_steps_stay() {
        assert_eq!(without_single_outliers(&[1.0, 9.0, 1.0, 1.0]), [1.0, 1.0, 1.0, 1.0]);
        assert_eq!(without_single_outliers(&[1.0, 1.0, 9.0, 9.0]), [1.0, 1.0, 9.0, 9.0]);
        assert_eq!(without_single_outliers(&[1.0, 2.0]), [1.0, 2.0]);
    }

    #[test]
    fn a_slope_is_that_of_most_points() {
        let line: Vec<(f64, f64)> = (0..50).map(|x| (f64::from(x), f64::from(x) * 3.0)).collect();
        assert_eq!(slope(&line), 3.0);
        let mut wild = line.clone();
        wild[20].1 = 1e9;
        assert!((slope(&wild) - 3.0).abs() < 0.01);
        assert_eq!(slope(&line[..1]), 0.0);
        assert_eq!(slope(&[(1.0, 2.0), (1.0, 5.0)]), 0.0);
    }
}
