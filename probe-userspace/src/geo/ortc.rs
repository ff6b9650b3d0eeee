//! Optimal Routing Table Constructor.
