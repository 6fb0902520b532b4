//! `simulation run|bugs|meta|replay|exhaustive`: see the README of the crate.

fn main() -> std::process::ExitCode {
    simulation::main(std::env::args().skip(1).collect())
}
