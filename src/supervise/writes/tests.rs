//! The service against a field that does as it is told.
