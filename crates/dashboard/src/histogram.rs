//! How numbers are distributed, in a few hundred counters.
//!
//! Each power of two is divided into eight buckets of equal width, so a quantile is right to within
//! a sixteenth of its value. The least and the greatest value are exact.

/// Numbers, counted by size: nanoseconds, bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    /// As long as the greatest bucket needs, at most `bucket(u64::MAX) + 1`.
    buckets: Vec<u32>,
    count: u64,
    min: u64,
    max: u64,
}

/// Buckets of each power of two, as a power of two.
const FINE_BITS: u32 = 3;

fn bucket(value: u64) -> usize {
    let coarse = value.checked_ilog2().unwrap_or(0).saturating_sub(FINE_BITS);
    let fine = value >> coarse;
    usize::try_from(u64::from(coarse << FINE_BITS) + fine).expect("a few hundred")
}

/// The least value of a bucket.
fn lower(bucket: usize) -> u64 {
    let coarse = (bucket >> FINE_BITS).saturating_sub(1);
    ((bucket - (coarse << FINE_BITS)) as u64) << coarse
}

impl Histogram {
    pub(crate) fn add(&mut self, value: u64) {
        let bucket = bucket(value);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] = self.buckets[bucket].saturating_add(1);
        self.min = if self.count == 0 {
            value
        } else {
            self.min.min(value)
        };
        self.max = self.max.max(value);
        self.count += 1;
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The value below which this fraction of all lies; None if there are none.
    pub(crate) fn quantile(&self, fraction: f64) -> Option<u64> {
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
                return Some(middle.clamp(self.min, self.max));
            }
        }
        Some(self.max)
    }

    /// The least value, the quartiles and the greatest value.
    pub(crate) fn quartiles(&self) -> Option<[u64; 5]> {
        let quantile = |fraction| self.quantile(fraction);
        Some([
            self.min,
            quantile(0.25)?,
            quantile(0.5)?,
            quantile(0.75)?,
            self.max,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_hole() {
        for value in (0..5_000).chain((3..64).map(|power| (1 << power) - 1)) {
            let bucket = bucket(value);
            assert!(
                lower(bucket) <= value && value < lower(bucket + 1),
                "{value}"
            );
        }
        for bucket in 8..400 {
            let width = lower(bucket + 1) - lower(bucket);
            assert!(width * 8 <= lower(bucket), "{bucket}");
        }
        assert_eq!(super::bucket(u64::MAX), 495);
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn quantiles_are_right_to_within_a_sixteenth() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quartiles(), None);
        for value in 1..=100_000 {
            histogram.add(value);
        }
        let [least, quarter, half, three_quarters, most] = histogram.quartiles().expect("values");
        for (found, exact) in [(quarter, 25e3), (half, 50e3), (three_quarters, 75e3)] {
            assert!((found as f64 / exact - 1.0).abs() < 1.0 / 16.0, "{found}");
        }
        assert_eq!((least, most), (1, 100_000));
        assert_eq!(histogram.count(), 100_000);
    }

    #[test]
    fn of_equal_values_every_quantile_is_that_value() {
        let mut histogram = Histogram::default();
        for _ in 0..10 {
            histogram.add(12_345);
        }
        assert_eq!(histogram.quartiles(), Some([12_345; 5]));
        assert_eq!(histogram.quantile(0.1), Some(12_345));
    }
}
