//! Tests of the store against the real kernel. One binary, so that the helpers are shared.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests are not marked as tests"
)]

mod accounting;
mod common;
mod limits;
mod live;
mod sharing;
