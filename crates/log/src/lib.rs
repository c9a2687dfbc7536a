//! One partition's files: segments, indexes, recovery, retention.
