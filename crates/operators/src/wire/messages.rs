//! The messages of the wire form.

/// A [`crate::Fragment`].
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FragmentMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub plan: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub sink_keys: Vec<Vec<u8>>,
    /// 0: all rows go to one partition.
    #[prost(uint32, tag = "3")]
    pub sink_partitions: u32,
    #[prost(message, repeated, tag = "4")]
    pub options: Vec<OptionMessage>,
}

/// An option of the session.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OptionMessage {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A node of ours.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct NodeMessage {
    #[prost(oneof = "Node", tags = "1, 2, 3, 4")]
    pub node: Option<Node>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Node {
    #[prost(message, tag = "1")]
    Scan(ScanMessage),
    #[prost(message, tag = "2")]
    Exchange(ExchangeMessage),
    #[prost(message, tag = "3")]
    AtMostOneRow(AtMostOneRowMessage),
    #[prost(message, tag = "4")]
    WideLimit(WideLimitMessage),
}

/// A [`crate::SplitScanExec`].
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ScanMessage {
    #[prost(uint32, tag = "1")]
    pub number: u32,
    #[prost(string, tag = "2")]
    pub catalog: String,
    #[prost(string, tag = "3")]
    pub table_name: String,
    #[prost(bytes = "vec", tag = "4")]
    pub table: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub schema: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "6")]
    pub predicate: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "7")]
    pub limit: Option<u64>,
    #[prost(bool, tag = "8")]
    pub parallel: bool,
}

/// A [`crate::ExchangeSourceExec`].
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ExchangeMessage {
    #[prost(uint32, tag = "1")]
    pub input: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub schema: Vec<u8>,
    /// Empty: no order.
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub ordering: Vec<Vec<u8>>,
    #[prost(uint64, optional, tag = "4")]
    pub rows_max: Option<u64>,
}

/// A [`crate::AtMostOneRowExec`].
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AtMostOneRowMessage {}

/// A global or local limit whose numbers DataFusion's message would cut off.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct WideLimitMessage {
    #[prost(uint64, tag = "1")]
    pub skip: u64,
    #[prost(uint64, optional, tag = "2")]
    pub fetch: Option<u64>,
    #[prost(bool, tag = "3")]
    pub global: bool,
}
