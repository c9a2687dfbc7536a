//! The metadata log of a voter quorum of one: epochs, quorum-state, control records, checkpoints.
