//! The tpch catalog: TPC-H data made on the fly.
