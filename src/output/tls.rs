//! The TLS configuration of one output: files read and checked before the first connection.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::OutputError;
use crate::config::TlsConfig;
use crate::limits::PEM_BYTES_MAX;

const CA: &str = "CA file";
const CERTIFICATE: &str = "client certificate";
const KEY: &str = "client key";

/// The files of a connection's certificates, and what was last read from them. Certificates are renewed while a gateway
/// runs: the files are read for each connection.
pub(crate) struct Renewed {
    /// `None`: plain TCP.
    files: Option<TlsConfig>,
    last: Option<Arc<ClientConfig>>,
    /// What is wrong with the files now and stands in the log.
    told: String,
}

impl Renewed {
    /// `last`: as [`client_config`] read it.
    pub(crate) fn new(files: Option<TlsConfig>, last: Option<Arc<ClientConfig>>) -> Renewed {
        Renewed { files, last, told: String::new() }
    }

    /// What the next connection is made with. Files that are unusable now (half written, say) keep what was read before.
    pub(crate) fn renew(&mut self, output: &str) -> Option<Arc<ClientConfig>> {
        if let Some(files) = &self.files {
            match client_config(files) {
                Ok(config) => {
                    self.last = Some(config);
                    self.told.clear();
                }
                Err(error) => {
                    let text = error.to_string();
                    if text != self.told {
                        tracing::warn!(output = %output, "output {output}: {text}; the previously read certificates \
                            stay in use");
                        self.told = text;
                    }
                }
            }
        }
        self.last.clone()
    }
}

/// Reads the files, and says of each what is wrong with it.
pub(crate) fn client_config(config: &TlsConfig) -> Result<Arc<ClientConfig>, OutputError> {
    let now = ASN1Time::now();
    let roots = match &config.ca {
        Some(path) => roots_of(path, now)?,
        None => system_roots()?,
    };
    let tls = |e: rustls::Error| OutputError::Tls(e.to_string());
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_root_certificates(roots);
    let config = match (&config.cert, &config.key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(_), None) => return Err(OutputError::HalfClientCertificate { missing: "key" }),
        (None, Some(_)) => return Err(OutputError::HalfClientCertificate { missing: "cert" }),
        (Some(cert), Some(key)) => {
            let chain = certificates(CERTIFICATE, cert)?;
            if let Some(own) = chain.first() {
                check_validity(CERTIFICATE, cert, 1, own, now)?;
            }
            let private = private_key(key)?;
            builder.with_client_auth_cert(chain, private).map_err(|e| match e {
                rustls::Error::InconsistentKeys(_) => OutputError::KeyMismatch { cert: cert.clone(), key: key.clone() },
                other => OutputError::BadKey { path: key.clone(), detail: other.to_string() },
            })?
        }
    };
    Ok(Arc::new(config))
}

fn system_roots() -> Result<RootCertStore, OutputError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let detail = found.errors.first().map_or_else(|| "none found".to_string(), |e| e.to_string());
        return Err(OutputError::NoSystemRoots { detail });
    }
    Ok(roots)
}

/// The certificates of a CA file that are valid now. A bundle may hold old ones beside them; a file that
/// holds only old ones is refused.
fn roots_of(path: &Path, now: ASN1Time) -> Result<RootCertStore, OutputError> {
    let mut roots = RootCertStore::empty();
    let mut first_error = None;
    for (i, der) in certificates(CA, path)?.into_iter().enumerate() {
        let checked = check_validity(CA, path, i + 1, &der, now).and_then(|()| {
            let bad = |e: rustls::Error| OutputError::BadCertificate {
                what: CA,
                path: path.into(),
                number: i + 1,
                detail: e.to_string(),
            };
            roots.add(der).map_err(bad)
        });
        if let Err(e) = checked {
            first_error.get_or_insert(e);
        }
    }
    match first_error {
        Some(error) if roots.is_empty() => Err(error),
        Some(error) => {
            tracing::debug!("{error}; the file's other certificates are used");
            Ok(roots)
        }
        None => Ok(roots),
    }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, OutputError> {
    let unreadable = |source| OutputError::Unreadable { what, path: path.into(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|f| f.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > PEM_BYTES_MAX {
        return Err(OutputError::TooLarge { what, path: path.into(), bytes_max: PEM_BYTES_MAX });
    }
    Ok(bytes)
}

fn bad_pem(what: &'static str, path: &Path, error: pem::Error) -> OutputError {
    let detail = match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            format!("the line {} is missing", String::from_utf8_lossy(&end_marker).trim_end())
        }
        pem::Error::IllegalSectionStart { line } => {
            format!("not understood: {}", String::from_utf8_lossy(&line).trim_end())
        }
        other => other.to_string(),
    };
    OutputError::BadPem { what, path: path.into(), detail }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, OutputError> {
    let bytes = read(what, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(OutputError::NoCertificate { what, path: path.into() }),
        Ok(found) => Ok(found),
        Err(error) => Err(bad_pem(what, path, error)),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, OutputError> {
    let bytes = read(KEY, path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => OutputError::NoKey { path: path.into() },
        other => bad_pem(KEY, path, other),
    })
}

fn check_validity(
    what: &'static str,
    path: &Path,
    number: usize,
    der: &CertificateDer<'_>,
    now: ASN1Time,
) -> Result<(), OutputError> {
    let path = path.to_path_buf();
    let (_, certificate) = X509Certificate::from_der(der).map_err(|e| OutputError::BadCertificate {
        what,
        path: path.clone(),
        number,
        detail: e.to_string(),
    })?;
    let validity = certificate.validity();
    let subject = certificate.subject().to_string();
    let (not_before, not_after) = (validity.not_before.to_string(), validity.not_after.to_string());
    if now > validity.not_after {
        Err(OutputError::Expired { what, path, subject, not_before, not_after })
    } else if now < validity.not_before {
        Err(OutputError::NotYetValid { what, path, subject, not_before, not_after })
    } else {
        Ok(())
    }
}
