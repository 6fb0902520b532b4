//! From a logical plan to fragments joined by exchanges.
