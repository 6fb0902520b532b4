//! Configurations that are wrong.
