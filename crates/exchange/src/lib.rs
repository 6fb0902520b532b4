//! Durable exchange: object format, commit, read, cleanup.
