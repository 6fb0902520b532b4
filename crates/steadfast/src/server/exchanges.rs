//! The exchanges of a node, as its configuration describes them.

use std::path::Path;
use std::sync::Arc;

use config::{CompressionCodec, ServerConfig};
use exchange::direct::{DirectReadOptions, DirectSinkOptions};
use exchange::{ExchangeCompression, ExchangeManager, ExchangeOptions, ExchangeStore};
use tokio::runtime::Handle;

use crate::Failure;

/// Where stages leave their output.
pub(super) fn exchange_manager(config: &ServerConfig) -> Result<ExchangeManager, Failure> {
    let compression = compression(config.query.exchange_compression_codec);
    let defaults = ExchangeOptions { compression, ..ExchangeOptions::default() };
    let options = match &config.exchange_manager {
        Some(manager) => ExchangeOptions {
            base_directories: manager.base_directories.clone(),
            fsync: manager.fsync,
            inline_bytes_max: manager.inline_output_max_size.0,
            sink_memory_bytes_max: manager.sink_memory_max.0,
            concurrent_reads: manager.source_concurrent_readers as usize,
            ..defaults
        },
        None => return Ok(ExchangeManager::unconfigured(defaults)),
    };
    Ok(ExchangeManager::new(options)?)
}

fn compression(codec: CompressionCodec) -> ExchangeCompression {
    match codec {
        CompressionCodec::None => ExchangeCompression::None,
        CompressionCodec::Lz4 => ExchangeCompression::Lz4,
        CompressionCodec::Zstd => ExchangeCompression::Zstd,
    }
}

/// Where it is kept what outlives the coordinator.
pub(super) async fn state_store(
    config: &ServerConfig,
    exchange: &ExchangeManager,
) -> Result<Arc<dyn ExchangeStore>, Failure> {
    let directory = match (&config.node.state_directory, &config.exchange_manager) {
        (Some(directory), _) => directory.clone(),
        (None, Some(_)) => return Ok(Arc::clone(exchange.store())),
        // Coordinators on other machines cannot see it; neither is there anything that they could go on with.
        (None, None) => absolute(&config.node.data_dir.join("state"))?,
    };
    let options = ExchangeOptions { base_directories: vec![directory], ..exchange.options().clone() };
    let unusable = |error: base::Error| format!("coordinator.state-directory cannot be used: {error}");
    let state = ExchangeManager::new(options).map_err(unusable)?;
    state.probe().await.map_err(unusable)?;
    Ok(Arc::clone(state.store()))
}

/// How attempts write what others read at the same time.
pub(super) fn direct_sink_options(config: &ServerConfig) -> DirectSinkOptions {
    let direct = &config.direct_exchange;
    DirectSinkOptions {
        compression: compression(direct.compression_codec),
        buffer_bytes_max: direct.sink_max_buffer_size.0,
        broadcast_buffer_bytes_max: direct.sink_max_broadcast_buffer_size.0,
        ..DirectSinkOptions::default()
    }
}

/// How attempts read what others write at the same time.
pub(super) fn direct_read_options(config: &ServerConfig) -> DirectReadOptions {
    let direct = &config.direct_exchange;
    DirectReadOptions {
        buffer_bytes_max: direct.max_buffer_size.0,
        response_bytes_max: direct.max_response_size.0,
        error_duration_max: direct.max_error_duration.as_std(),
        // What became of a producer is told by its own worker, or by the loss of that.
        verdict_wait_max: direct.max_error_duration.as_std(),
        integrity: direct.data_integrity_verification.as_str().parse().unwrap_or_default(),
        ..DirectReadOptions::new(Handle::current())
    }
}

fn absolute(path: &Path) -> Result<String, Failure> {
    let path = std::path::absolute(path)?;
    Ok(path.to_str().ok_or("node.data-dir is not UTF-8")?.to_string())
}
