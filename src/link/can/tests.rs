//! The link in virtual time.
