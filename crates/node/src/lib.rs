//! One process: roles, storage formatting, start and stop.
