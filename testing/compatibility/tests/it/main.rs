//! Real clients, malformed requests and bad configurations against real processes.

mod cluster;
mod configurations;
mod http;
mod malformed;
mod program;
mod python;
mod rust_client;
mod statement;
mod strict_decoder;
