//! The order in which Java's `HashMap` yields its keys, on which the sticky assignors' choices depend where several
//! are equally good. Knows nothing of assignments.

/// `String.hashCode`.
pub(super) fn string_hash(s: &str) -> i32 {
    s.encode_utf16().fold(0i32, |h, c| h.wrapping_mul(31).wrapping_add(i32::from(c)))
}

/// `TopicPartition.hashCode`.
pub(super) fn topic_partition_hash(tp: &logrun_model::TopicPartition) -> i32 {
    31i32.wrapping_add(tp.partition).wrapping_mul(31).wrapping_add(string_hash(&tp.topic))
}

/// The table of a map that has held `most` keys at once and was made without a capacity.
pub(super) fn capacity(most: usize) -> usize {
    let mut capacity = 16;
    while most > capacity / 4 * 3 {
        capacity *= 2;
    }
    capacity
}

/// The bucket of a key.
pub(super) fn bucket(hash: i32, capacity: usize) -> usize {
    let hash = hash as u32;
    (hash ^ (hash >> 16)) as usize & (capacity - 1)
}

/// Puts keys that are in the order of insertion into the order of iteration.
pub(super) fn iteration_order<T>(keys: &mut [T], hash: impl Fn(&T) -> i32) {
    let capacity = capacity(keys.len());
    keys.sort_by_key(|k| bucket(hash(k), capacity));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        // What `jshell` prints.
        assert_eq!(string_hash(""), 0);
        assert_eq!(string_hash("abc"), 96354);
        assert_eq!(
            string_hash("consumer-1-4f1c"),
            "consumer-1-4f1c".bytes().fold(0i32, |h, b| h.wrapping_mul(31).wrapping_add(b.into()))
        );
        assert_eq!((capacity(12), capacity(13), capacity(25)), (16, 32, 64));
    }
}
