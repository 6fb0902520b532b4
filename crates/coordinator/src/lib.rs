//! The shell around the scheduler: queries, HTTP, dispatch.
