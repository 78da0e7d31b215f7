//! Certificates of a small PKI, made new for each test.

#![allow(dead_code, reason = "each test program uses its part")]

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

/// A CA and what it issues, as PEM files in one folder.
pub struct Pki {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    pub ca: PathBuf,
}

pub struct Pair {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// In years: (first, last). The clock of the machine decides what is valid.
pub const VALID: (i32, i32) = (2020, 2099);
pub const EXPIRED: (i32, i32) = (2019, 2021);

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn params(name: &str, names: &[&str], years: (i32, i32)) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    params
}

impl Pki {
    pub fn new(folder: &Path, name: &str, years: (i32, i32)) -> Pki {
        let key = KeyPair::generate().unwrap();
        let mut params = params(name, &[], years);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).unwrap().pem();
        let ca = write(folder, &format!("{name}.pem"), &pem);
        Pki { folder: folder.into(), issuer: Issuer::new(params, key), ca }
    }

    pub fn issue(&self, name: &str, names: &[&str], years: (i32, i32)) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = params(name, names, years);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Pair {
            cert: write(&self.folder, &format!("{name}.pem"), &cert.pem()),
            key: write(&self.folder, &format!("{name}.key"), &key.serialize_pem()),
        }
    }
}
