//! The seams: clock, randomness, disk, network and tasks; the real ones and simulated ones with faults.
