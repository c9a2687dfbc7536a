//! The whole node under seeded virtual time with faults, checked against a model.
