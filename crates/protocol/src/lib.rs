//! Wire types: the client protocol and the protocol between nodes.
