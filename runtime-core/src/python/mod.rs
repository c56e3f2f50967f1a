//! Reads Python source.
