//! Where the replicas of new partitions go: Kafka's striped placement.
//!
//! Racks are gone through in turn, and within a rack its brokers; each partition begins one rack and one broker
//! further than the last, from a random start. A partition's first replica is always on an unfenced broker; fenced
//! ones are taken only when a rack has no other left. A broker never holds two replicas of a partition. The same
//! seed gives the same placement.

use std::collections::BTreeMap;

use logrun_model::{NodeId, Str};
use logrun_wire::ErrorCode;

use crate::error::ApiError;

/// A broker that may hold replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsableBroker {
    pub id: NodeId,
    pub rack: Option<Str>,
    pub fenced: bool,
}

/// SplitMix64: decisions must be the same for the same command.
#[derive(Debug)]
struct Mix(u64);

impl Mix {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((u128::from(z) * bound as u128) >> 64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

/// Brokers in a ring: each round begins one further on.
#[derive(Debug, Default)]
struct Ring {
    brokers: Vec<NodeId>,
    index: usize,
    start: usize,
    round: usize,
}

impl Ring {
    fn randomize(&mut self, mix: &mut Mix) {
        self.brokers.sort();
        if !self.brokers.is_empty() {
            self.start = mix.below(self.brokers.len());
        }
    }

    /// The next broker of this round, if there's one left.
    fn next(&mut self, round: usize) -> Option<NodeId> {
        let len = self.brokers.len();
        if len == 0 {
            return None;
        }
        if self.round != round {
            self.round = round;
            self.index = 0;
            self.start = (self.start + 1) % len;
        }
        if self.index >= len {
            return None;
        }
        let broker = self.brokers[(self.index + self.start) % len];
        self.index += 1;
        Some(broker)
    }
}

#[derive(Debug, Default)]
struct Rack {
    unfenced: Ring,
    fenced: Ring,
}

/// Places `partitions` partitions of `replication_factor` replicas each.
pub fn place(
    brokers: &[UsableBroker],
    partitions: usize,
    replication_factor: i16,
    seed: u64,
) -> Result<Vec<Vec<NodeId>>, ApiError> {
    let refuse = |message: String| Err(ApiError::new(ErrorCode::InvalidReplicationFactor, message));
    let Some(replicas) = usize::try_from(replication_factor).ok().filter(|n| *n > 0) else {
        return refuse(format!("the replication factor must be positive, not {replication_factor}."));
    };
    let unfenced = brokers.iter().filter(|b| !b.fenced).count();
    if unfenced == 0 {
        return refuse("All brokers are currently fenced.".into());
    }
    if replicas > brokers.len() {
        return refuse(format!(
            "The target replication factor of {replicas} cannot be reached because only {} broker(s) are registered \
             or some brokers have all their log directories cordoned.",
            brokers.len()
        ));
    }
    let mut mix = Mix(seed);
    let mut by_name: BTreeMap<Option<&Str>, Rack> = BTreeMap::new();
    for b in brokers {
        let rack = by_name.entry(b.rack.as_ref()).or_default();
        if b.fenced { &mut rack.fenced } else { &mut rack.unfenced }.brokers.push(b.id);
    }
    let mut racks: Vec<Rack> = by_name.into_values().collect();
    for rack in &mut racks {
        rack.fenced.randomize(&mut mix);
        rack.unfenced.randomize(&mut mix);
    }
    let mut first = mix.below(racks.len());
    let mut round = 0;
    let mut placements = Vec::with_capacity(partitions);
    for _ in 0..partitions {
        // As many partitions as brokers have been placed: from here on the stripes would repeat.
        if round == unfenced && unfenced > 1 {
            mix.shuffle(&mut racks);
            for rack in &mut racks {
                mix.shuffle(&mut rack.unfenced.brokers);
                mix.shuffle(&mut rack.fenced.brokers);
            }
            round = 0;
        }
        placements.push(place_one(&mut racks, first, round, replicas));
        round += 1;
        first = (first + 1) % racks.len();
    }
    Ok(placements)
}

/// One partition, whose racks are gone through from `first` on. There are enough brokers, one of them unfenced.
fn place_one(racks: &mut [Rack], first: usize, round: usize, replicas: usize) -> Vec<NodeId> {
    let mut placed = Vec::with_capacity(replicas);
    let mut leader_rack = first;
    for i in (first..racks.len()).chain(0..first) {
        if let Some(leader) = racks[i].unfenced.next(round) {
            placed.push(leader);
            leader_rack = i;
            break;
        }
    }
    let mut skip_leader_rack = true;
    let mut i = first;
    // Ends: every round over all racks finds a broker, since there are at least `replicas` of them.
    let mut barren = 0;
    while placed.len() < replicas && barren <= 2 * racks.len() {
        barren += 1;
        if skip_leader_rack && i == leader_rack {
            skip_leader_rack = false;
        } else if let Some(broker) = racks[i].unfenced.next(round).or_else(|| racks[i].fenced.next(round)) {
            placed.push(broker);
            barren = 0;
        }
        i = (i + 1) % racks.len();
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn brokers(spec: &[(i32, &str, bool)]) -> Vec<UsableBroker> {
        let broker = |(id, rack, fenced): &(i32, &str, bool)| UsableBroker {
            id: NodeId(*id),
            rack: (!rack.is_empty()).then(|| Str::from(*rack)),
            fenced: *fenced,
        };
        spec.iter().map(broker).collect()
    }

    #[test]
    fn refuses_what_cannot_be_placed() {
        let one = brokers(&[(1, "", false)]);
        assert!(place(&one, 1, 2, 0).unwrap_err().message.unwrap().contains("only 1 broker(s)"));
        assert!(place(&brokers(&[(1, "", true)]), 1, 1, 0).unwrap_err().message.unwrap().contains("fenced"));
        assert!(place(&one, 1, 0, 0).is_err());
        assert_eq!(place(&one, 3, 1, 9).unwrap(), [[NodeId(1)]; 3]);
    }

    #[test]
    fn a_partition_spreads_over_racks() {
        let b = brokers(&[(0, "a", false), (1, "a", false), (2, "b", false), (3, "b", false), (4, "c", false)]);
        for p in place(&b, 40, 3, 77).unwrap() {
            let mut racks: Vec<_> = p.iter().map(|n| b[n.get() as usize].rack.clone()).collect();
            racks.sort();
            racks.dedup();
            assert_eq!(racks.len(), 3, "{p:?}");
        }
    }

    proptest! {
        /// Distinct replicas, an unfenced leader, the same for the same seed, leaders about even without racks.
        #[test]
        fn placements_are_valid(
            kinds in proptest::collection::vec((0u8..3, any::<bool>()), 1..9),
            rf in 1i16..5,
            partitions in 1usize..40,
            seed: u64,
        ) {
            let b: Vec<UsableBroker> = kinds
                .iter()
                .enumerate()
                .map(|(i, (rack, fenced))| UsableBroker {
                    id: NodeId(i as i32 * 7),
                    rack: (*rack > 0).then(|| Str::from(format!("r{rack}"))),
                    fenced: *fenced,
                })
                .collect();
            let Ok(placed) = place(&b, partitions, rf, seed) else { return Ok(()) };
            prop_assert_eq!(placed.len(), partitions);
            for p in &placed {
                let mut ids = p.clone();
                ids.sort();
                ids.dedup();
                prop_assert_eq!(ids.len(), rf as usize);
                prop_assert!(b.iter().any(|x| x.id == p[0] && !x.fenced));
            }
            prop_assert_eq!(&placed, &place(&b, partitions, rf, seed).unwrap());
        }
    }
}
