//! Why an output could not start: what, where, and what to do.

use std::path::PathBuf;

/// Each text names the file or key and the way out.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error("{what} {path}: {source}; check the path and that the gateway's user may read it", path = path.display())]
    Unreadable { what: &'static str, path: PathBuf, source: std::io::Error },

    #[error("{what} {path}: larger than {bytes_max} bytes; that is not a PEM file", path = path.display())]
    TooLarge { what: &'static str, path: PathBuf, bytes_max: u64 },

    #[error("{what} {path}: no certificate in it; it must hold PEM blocks that begin with -----BEGIN CERTIFICATE-----", path = path.display())]
    NoCertificate { what: &'static str, path: PathBuf },

    #[error("{what} {path}: broken PEM ({detail}); copy the complete file again, in text mode", path = path.display())]
    BadPem { what: &'static str, path: PathBuf, detail: String },

    #[error("{what} {path}: certificate {number} in it is not an X.509 certificate ({detail}); issue it again",
        path = path.display())]
    BadCertificate { what: &'static str, path: PathBuf, number: usize, detail: String },

    #[error(
        "{what} {path}: expired: {subject} was valid from {not_before} to {not_after}; renew it, or correct the \
         clock", path = path.display()
    )]
    Expired { what: &'static str, path: PathBuf, subject: String, not_before: String, not_after: String },

    #[error(
        "{what} {path}: not valid yet: {subject} is valid from {not_before} to {not_after}; correct the clock, or \
         wait", path = path.display()
    )]
    NotYetValid { what: &'static str, path: PathBuf, subject: String, not_before: String, not_after: String },

    #[error("client key {path}: no unencrypted private key in it; it must hold a PEM block that begins with -----BEGIN PRIVATE KEY----- (or RSA, EC)", path = path.display())]
    NoKey { path: PathBuf },

    #[error("client key {path}: unusable ({detail}); supported are RSA, ECDSA P-256 and P-384, Ed25519", path = path.display())]
    BadKey { path: PathBuf, detail: String },

    #[error("client key {key} does not belong to client certificate {cert}; use the key that the certificate was issued for", key = key.display(), cert = cert.display())]
    KeyMismatch { cert: PathBuf, key: PathBuf },

    #[error("token file {path}: {wrong}; it must hold the token on one line", path = path.display())]
    BadToken { path: PathBuf, wrong: &'static str },

    #[error("client certificate and key go together: `{missing}` is missing; set both, or none")]
    HalfClientCertificate { missing: &'static str },

    #[error("the system has no usable root certificates ({detail}); install ca-certificates, or set `ca`")]
    NoSystemRoots { detail: String },

    #[error("TLS cannot be set up: {0}")]
    Tls(String),

    #[error("`{key}` is not usable: {reason}")]
    Setting { key: &'static str, reason: String },

    #[error("the output's thread could not start: {0}; look at the limits on threads and memory")]
    Thread(std::io::Error),
}
