//! The durable exchange: what carries the output of a stage to its consumers, and outlives the worker that
//! wrote it.
//!
//! An attempt writes one object at most: frames grouped by partition ([`frame`]), then an index. A task is
//! committed by creating one small record ([`record`]) that names the attempt and carries the index; a small
//! output travels inside the record. The rules of order are in [`commit`], every object key is in
//! [`layout`], and the seam to the storage is [`store::ExchangeStore`].
//!
//! | to | use |
//! |---|---|
//! | write the output of an attempt | [`ExchangeManager::sink`], [`ExchangeSink`] |
//! | read the outputs of producers | [`SourceHandle::of`], [`ExchangeManager::open`], or `open_one` |
//! | page through a result | [`ExchangeManager::open_output`], [`BatchReader`] |
//! | find and delete what a query left | [`ExchangeManager::queries`], [`ExchangeManager::remove_query`] |
//! | pass rows on to tasks that run at the same time, durably nowhere | [`direct`] |

mod buffer;
mod checksum;
mod cleanup;
pub mod codec;
mod column;
pub mod commit;
pub mod direct;
mod encode;
pub mod frame;
pub mod handle;
pub mod index;
pub mod layout;
pub mod local;
mod manager;
pub mod memory;
mod narrow;
pub mod options;
mod probe;
pub mod record;
mod routes;
pub mod sink;
pub mod source;
mod spill;
mod storage_type;
pub mod store;
mod unconfigured;
mod wire;

pub use codec::ExchangeCompression;
pub use commit::Committed;
pub use handle::{ReadPosition, SourceHandle};
pub use index::PartitionEntry;
pub use layout::{CoordinatorKey, ObjectKey};
pub use local::LocalStore;
pub use manager::ExchangeManager;
pub use memory::MemoryCharge;
pub use options::{ExchangeOptions, ReadOptions, SinkOptions};
pub use record::{CommitRecord, OutputLocation};
pub use sink::{ExchangeSink, SinkMetrics};
pub use source::BatchReader;
pub use store::{CreateOutcome, ExchangeStore, ObjectMeta, StoreError, StoreErrorKind, Upload};
