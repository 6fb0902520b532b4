//! What is done to processes and directories with the means of the machine.

mod slowdown;
mod small_disk;
mod usage;

pub use slowdown::Slowdown;
pub use small_disk::SmallDisk;
pub use usage::cpu_time;
