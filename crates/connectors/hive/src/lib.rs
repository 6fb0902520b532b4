//! The hive catalog: Parquet tables under a file metastore.
