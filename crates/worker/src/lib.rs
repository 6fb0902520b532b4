//! The shell around the worker half of the scheduler.
