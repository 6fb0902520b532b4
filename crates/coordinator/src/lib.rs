//! The shell around the scheduler: queries, HTTP, dispatch.
//!
//! A statement comes in over HTTP ([`http`]), becomes a query with a life ([`query`]), is answered at once
//! ([`statement`]), carried out in a catalog ([`definition`]), or planned ([`plan`]) and handed to the event loop around the scheduler's core ([`dispatch`]),
//! which tells workers what to run. The result is read from the exchange as its tasks commit.

#![forbid(unsafe_code)]

mod capsule;
mod catalog;
mod definition;
mod dispatch;
mod first_answer;
pub mod flight;
mod http;
mod life;
mod node;
mod plan;
mod query;
mod query_id;
mod recovery;
mod server;
mod services;
mod slug;
mod state;
mod statement;
#[cfg(test)]
mod test_store;
#[cfg(test)]
mod test_support;

pub use server::{Coordinator, CoordinatorOptions};
