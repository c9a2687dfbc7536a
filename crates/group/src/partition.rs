//! Which partition of `__consumer_offsets` a group lives in: Kafka's `GroupCoordinatorService.partitionFor`.

/// Java's `String.hashCode`: over UTF-16 units, wrapping.
pub fn java_string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |h, unit| h.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// The partition of the group among `partitions` (`offsets.topic.num.partitions`); 0 if there are none.
///
/// Kafka's `Utils.abs` maps `i32::MIN` to 0, where Java's own would stay negative.
pub fn partition_for(group_id: &str, partitions: i32) -> i32 {
    let hash = java_string_hash(group_id).checked_abs().unwrap_or(0);
    hash.checked_rem(partitions).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_java() {
        // What Java 17 and Kafka 4.3.1's `Utils.abs(id.hashCode()) % 50` print.
        for (text, hash, partition) in [
            ("", 0, 0),
            ("a", 97, 47),
            ("console-consumer-1", 35_782_224, 24),
            ("grüße", 98_768_023, 23),
            ("😀", 1_772_899, 49),
            ("polygenelubricants", i32::MIN, 0),
        ] {
            assert_eq!((java_string_hash(text), partition_for(text, 50)), (hash, partition), "{text}");
        }
        assert_eq!(partition_for("a", 0), 0);
    }
}
