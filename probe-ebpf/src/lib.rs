//! The kernel side of cordon.
#![no_std]
