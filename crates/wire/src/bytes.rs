//! For `#[serde(with = "bytes")]` on a `&[u8]` field of a message.
//!
//! By itself serde encodes a slice of bytes as a sequence, number by number, at about a nanosecond
//! each. Encoded as bytes it looks the same on the wire and is one copy.

use serde::{Deserialize, Deserializer, Serializer};

pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

pub(crate) fn deserialize<'a, D: Deserializer<'a>>(deserializer: D) -> Result<&'a [u8], D::Error> {
    <&[u8]>::deserialize(deserializer)
}
