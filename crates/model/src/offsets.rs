//! Offsets, epochs, sequences and times as distinct types.
//!
//! Each is Kafka's integer of the same width; `-1` means "none" where the protocol says so.

use std::fmt;

macro_rules! number {
    ($(#[$meta:meta])* $name:ident($int:ty), none = $none:expr) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $int);

        impl $name {
            /// The protocol's value for "none" or "unknown".
            pub const NONE: Self = Self($none);

            /// The bare integer, for the wire and for files.
            #[inline]
            pub const fn get(self) -> $int {
                self.0
            }

            /// Whether this is a value and not [`Self::NONE`] or another negative marker.
            #[inline]
            pub const fn is_some(self) -> bool {
                self.0 >= 0
            }

            /// The following value. Panics on overflow: an epoch or offset that wraps is our own bug.
            #[inline]
            pub const fn next(self) -> Self {
                match self.0.checked_add(1) {
                    Some(v) => Self(v),
                    None => panic!("number overflow"),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl From<$int> for $name {
            fn from(v: $int) -> Self {
                Self(v)
            }
        }
    };
}

number!(
    /// A record's place in a partition's log. `log_end_offset` is exclusive, `last_offset` inclusive.
    Offset(i64), none = -1
);
number!(
    /// An offset in `__cluster_metadata`.
    MetadataOffset(i64), none = -1
);
number!(
    /// The epoch of a partition's leader: +1 at each new leader (KIP-101).
    LeaderEpoch(i32), none = -1
);
number!(
    /// The version of a partition's registration in the metadata: +1 at each change of any field (KIP-497).
    PartitionEpoch(i32), none = -1
);
number!(
    /// A broker's registration epoch: the metadata offset of its registration record (KIP-631).
    BrokerEpoch(i64), none = -1
);
number!(
    /// The leader epoch of a coordinator's log partition, as transaction markers carry it.
    CoordinatorEpoch(i32), none = -1
);
number!(
    /// The epoch of the metadata quorum's leader (KIP-595).
    RaftEpoch(i32), none = -1
);
number!(
    /// The fencing epoch of a producer id (KIP-98).
    ProducerEpoch(i16), none = -1
);
number!(
    /// The sequence number of an idempotent producer's record; wraps from `i32::MAX` to 0.
    Sequence(i32), none = -1
);
number!(
    /// The generation of a classic group: +1 at each completed rebalance.
    GenerationId(i32), none = -1
);
number!(
    /// Milliseconds since the Unix epoch.
    TimestampMs(i64), none = -1
);

impl Offset {
    pub const ZERO: Self = Self(0);

    /// The offset `count` records further on.
    #[inline]
    pub const fn plus(self, count: i64) -> Self {
        match self.0.checked_add(count) {
            Some(v) => Self(v),
            None => panic!("offset overflow"),
        }
    }

    /// How many offsets lie between `earlier` (inclusive) and `self` (exclusive); negative if `earlier` is later.
    #[inline]
    pub const fn distance_from(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }
}

impl Sequence {
    /// The sequence `count` records further on, wrapping past `i32::MAX` to 0 as Kafka's `DefaultRecordBatch.incrementSequence`.
    pub const fn plus(self, count: i32) -> Self {
        if self.0 > i32::MAX - count { Self(count - (i32::MAX - self.0) - 1) } else { Self(self.0 + count) }
    }
}

impl TimestampMs {
    /// The time `ms` milliseconds later, saturating.
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`, saturating.
    pub const fn since_ms(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(Sequence(i32::MAX).plus(1), Sequence(0));
        assert_eq!(Sequence(i32::MAX - 1).plus(3), Sequence(1));
        assert_eq!(Sequence(5).plus(3), Sequence(8));
    }

    #[test]
    fn distance_counts_offsets() {
        assert_eq!(Offset(10).distance_from(Offset(4)), 6);
        assert_eq!(Offset(4).plus(6), Offset(10));
    }
}
