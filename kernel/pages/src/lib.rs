//! Filled in by its own commit.
#![no_std]
#![forbid(unsafe_code)]
