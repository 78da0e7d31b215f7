//! Plans that follow a running one.
