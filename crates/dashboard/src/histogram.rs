//! How durations are distributed, in a few hundred counters.
//!
//! Each power of two is divided into eight buckets of equal width, so a quantile is right to within
//! a sixteenth of its value. The least and the greatest value are exact.

use std::time::Duration;

/// Durations, counted by size.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    /// As long as the greatest bucket needs, at most `bucket(u64::MAX) + 1`.
    buckets: Vec<u32>,
    count: u64,
    min_ns: u64,
    max_ns: u64,
}

/// Buckets of each power of two, as a power of two.
const FINE_BITS: u32 = 3;

fn bucket(ns: u64) -> usize {
    let coarse = ns.checked_ilog2().unwrap_or(0).saturating_sub(FINE_BITS);
    let fine = ns >> coarse;
    usize::try_from(u64::from(coarse << FINE_BITS) + fine).expect("a few hundred")
}

/// The least value of a bucket.
fn lower(bucket: usize) -> u64 {
    let coarse = (bucket >> FINE_BITS).saturating_sub(1);
    ((bucket - (coarse << FINE_BITS)) as u64) << coarse
}

impl Histogram {
    pub(crate) fn add(&mut self, value: Duration) {
        let ns = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        let bucket = bucket(ns);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] = self.buckets[bucket].saturating_add(1);
        self.min_ns = if self.count == 0 {
            ns
        } else {
            self.min_ns.min(ns)
        };
        self.max_ns = self.max_ns.max(ns);
        self.count += 1;
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The value below which this fraction of all lies; None if there are none.
    pub(crate) fn quantile(&self, fraction: f64) -> Option<Duration> {
        assert!((0.0..=1.0).contains(&fraction), "a fraction");
        if self.count == 0 {
            return None;
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank needs no more digits than the buckets have"
        )]
        let rank = (fraction * (self.count - 1) as f64).round() as u64;
        let mut before = 0;
        for (bucket, &count) in self.buckets.iter().enumerate() {
            before += u64::from(count);
            if before > rank {
                let middle = lower(bucket).midpoint(lower(bucket + 1));
                return Some(Duration::from_nanos(middle.clamp(self.min_ns, self.max_ns)));
            }
        }
        Some(Duration::from_nanos(self.max_ns))
    }

    pub(crate) fn min(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.min_ns))
    }

    pub(crate) fn max(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.max_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_hole() {
        for ns in (0..5_000).chain((3..64).map(|power| (1 << power) - 1)) {
            let bucket = bucket(ns);
            assert!(lower(bucket) <= ns && ns < lower(bucket + 1), "{ns}");
        }
        for bucket in 8..400 {
            let width = lower(bucket + 1) - lower(bucket);
            assert!(width * 8 <= lower(bucket), "{bucket}");
        }
        assert_eq!(super::bucket(u64::MAX), 495);
    }

    #[test]
    fn quantiles_are_right_to_within_a_sixteenth() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for micros in 1..=1_000 {
            histogram.add(Duration::from_micros(micros));
        }
        for (fraction, exact_us) in [(0.25, 250.75), (0.5, 500.5), (0.75, 750.25)] {
            let found_us = histogram.quantile(fraction).expect("values").as_secs_f64() * 1e6;
            assert!((found_us / exact_us - 1.0).abs() < 1.0 / 16.0, "{found_us}");
        }
        assert_eq!(histogram.min(), Some(Duration::from_micros(1)));
        assert_eq!(histogram.max(), Some(Duration::from_millis(1)));
        assert_eq!(histogram.count(), 1_000);
    }

    #[test]
    fn of_equal_values_every_quantile_is_that_value() {
        let mut histogram = Histogram::default();
        for _ in 0..10 {
            histogram.add(Duration::from_nanos(12_345));
        }
        for fraction in [0.0, 0.5, 1.0] {
            assert_eq!(
                histogram.quantile(fraction),
                Some(Duration::from_nanos(12_345))
            );
        }
    }
}
