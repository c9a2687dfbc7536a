//! Appending, reading, rolling, transactions, producers, files: what holds without any fault.
