//! The recorded contract and its driver; the coordinators' generated log records.
