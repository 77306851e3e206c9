//! The one model behind steps and ramps: a level, a straight way to another level, and that level.
//!
//! With a short way it is a step, with a long one a ramp, and a ramp that goes on has no second level.

/// The best fit of the model. Times are in the unit of `x`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fit {
    /// The point at which the level is left.
    pub(super) leaves: usize,
    /// The first point at the other level, or the last of all.
    pub(super) arrives: usize,
    /// The first level.
    pub(super) before: f64,
    /// How far the other level is from it.
    pub(super) height: f64,
    /// Which share of the variance it explains, from 0 to 1.
    pub(super) explained: f64,
}

/// How many places of a knot are tried in the first round.
const PLACES: usize = 40;

impl Fit {
    /// Finds the best fit of points in the order of `x`; `None` of fewer than four, or where nothing varies.
    pub(super) fn of(points: &[(f64, f64)]) -> Option<Self> {
        let last = points.len().checked_sub(1).filter(|last| *last >= 3)?;
        let mean = points.iter().map(|(_, y)| y).sum::<f64>() / points.len() as f64;
        let total: f64 = points.iter().map(|(_, y)| (y - mean).powi(2)).sum();
        if total <= 0.0 {
            return None;
        }
        let stride = points.len().div_ceil(PLACES);
        let places: Vec<usize> = (0..=last).step_by(stride).chain([last - 1, last]).collect();
        let pairs = places.iter().flat_map(|leaves| places.iter().map(move |arrives| (*leaves, *arrives)));
        let rough = best(points, total, pairs)?;
        let near = |place: usize| place.saturating_sub(stride)..=(place + stride).min(last);
        let pairs =
            near(rough.leaves).flat_map(|leaves| near(rough.arrives).map(move |arrives| (leaves, arrives)));
        best(points, total, pairs)
    }
}

fn best(points: &[(f64, f64)], total: f64, pairs: impl Iterator<Item = (usize, usize)>) -> Option<Fit> {
    let fits = pairs.filter_map(|(leaves, arrives)| fit(points, total, leaves, arrives));
    fits.max_by(|one, other| one.explained.total_cmp(&other.explained))
}

/// Least squares of `before + height · way`, where the way goes from 0 at one knot to 1 at the other.
fn fit(points: &[(f64, f64)], total: f64, leaves: usize, arrives: usize) -> Option<Fit> {
    // a last point alone is no level
    let is_short = arrives.saturating_sub(leaves) <= 2;
    if arrives <= leaves || (is_short && arrives + 1 >= points.len()) {
        return None;
    }
    let (from, to) = (points[leaves].0, points[arrives].0);
    if to <= from {
        return None;
    }
    let way = |x: f64| ((x - from) / (to - from)).clamp(0.0, 1.0);
    let count = points.len() as f64;
    let (mut sum_w, mut sum_ww, mut sum_y, mut sum_wy) = (0.0, 0.0, 0.0, 0.0);
    for (x, y) in points {
        let w = way(*x);
        sum_w += w;
        sum_ww += w * w;
        sum_y += y;
        sum_wy += w * y;
    }
    let spread = count * sum_ww - sum_w * sum_w;
    if spread <= 0.0 {
        return None;
    }
    let height = (count * sum_wy - sum_w * sum_y) / spread;
    let before = (sum_y - height * sum_w) / count;
    let left: f64 = points.iter().map(|(x, y)| (y - before - height * way(*x)).powi(2)).sum();
    Some(Fit { leaves, arrives, before, height, explained: (1.0 - left / total).clamp(0.0, 1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: impl IntoIterator<Item = f64>) -> Vec<(f64, f64)> {
        values.into_iter().enumerate().map(|(x, y)| (x as f64, y)).collect()
    }

    #[test]
    fn a_step_is_found_where_it_is() {
        let values = [0.1; 137].into_iter().chain([0.9; 63]);
        let fit = Fit::of(&points(values)).unwrap();
        assert_eq!((fit.leaves, fit.arrives), (136, 137));
        assert!((fit.before - 0.1).abs() < 1e-9 && (fit.height - 0.8).abs() < 1e-9);
        assert!(fit.explained > 0.999);
    }

    #[test]
    fn a_ramp_that_ends_and_one_that_goes_on_are_found() {
        let ends = (0..200).map(|x| (f64::from(x - 50) / 100.0).clamp(0.0, 1.0));
        let fit = Fit::of(&points(ends)).unwrap();
        assert_eq!((fit.leaves, fit.arrives), (50, 150));
        let goes_on = (0..200).map(|x| (f64::from(x - 120) / 79.0).max(0.0));
        let fit = Fit::of(&points(goes_on)).unwrap();
        assert_eq!((fit.leaves, fit.arrives), (120, 199));
        assert!(fit.explained > 0.999);
    }

    #[test]
    fn too_little_and_nothing_is_not_fitted() {
        assert_eq!(Fit::of(&[]), None);
        assert_eq!(Fit::of(&points([1.0, 2.0, 3.0])), None);
        assert_eq!(Fit::of(&points([0.5; 100])), None);
        // one last point is no level
        assert_eq!(
            Fit::of(&points([0.0; 99].into_iter().chain([1.0]))).map(|fit| fit.arrives - fit.leaves > 2),
            Some(true)
        );
    }
}
