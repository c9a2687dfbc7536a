//! The broker: dispatch, one handler per API, partitions, waiting, publishing metadata.
