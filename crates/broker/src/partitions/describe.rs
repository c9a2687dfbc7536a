//! What a partition tells of itself to those who administer it: the room that it takes, the producers it remembers.

use logrun_partition::ProducerStateEntry;

use super::partition::Partition;

impl Partition {
    /// The bytes of its segments, without the indexes.
    pub fn size(&self) -> u64 {
        self.state.lock().log.size()
    }

    /// The producers whose state is kept, in no order.
    pub fn active_producers(&self) -> Vec<ProducerStateEntry> {
        self.state.lock().log.producers().active_producers().cloned().collect()
    }
}
