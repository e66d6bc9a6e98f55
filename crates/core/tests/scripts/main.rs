//! What the scheduler does, as scripts: on each line an input, and beside it the orders that follow.

mod language;

mod blocking;
mod handing_out;
mod misuse;
mod nesting;
mod sharing;
mod starting;
mod tasks;
