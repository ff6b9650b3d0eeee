//! Orders to matrix.
