//! What a request may do and how much: fetch sessions, limits.
