//! The server of an output, and why it could not be reached, with what to do.

use std::error::Error;
use std::io;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError};
use x509_parser::time::ASN1Time;

use crate::config::TlsConfig;

/// What failed; each with the text for people. Each kind is acted upon in its own way; the texts are never compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// No such name, no way there, nobody listens.
    #[error("{0}")]
    Unreachable(String),
    /// TLS could not be agreed on: certificates, versions, ciphers.
    #[error("{0}")]
    Tls(String),
    /// The other side closed the connection without a word.
    #[error("{0}")]
    Closed(String),
    /// No answer in time.
    #[error("{0}")]
    Silent(String),
    /// What came breaks the protocol, or is none.
    #[error("{0}")]
    Protocol(String),
    /// The user, the password, the token or their rights.
    #[error("{0}")]
    Login(String),
    /// The other side does not take this connection, or what was sent.
    #[error("{0}")]
    Refused(String),
    /// The client library did not do what it should.
    #[error("{0}")]
    Client(String),
}

/// The words of one kind of output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words {
    /// The other side.
    pub(crate) server: &'static str,
    pub(crate) protocol: &'static str,
    /// How URLs begin, without and with TLS.
    pub(crate) plain: &'static str,
    pub(crate) tls: &'static str,
    /// What is waited for after connecting.
    pub(crate) steps: &'static str,
}

/// The other side, as it stands in messages.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) words: Words,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `None`: plain TCP. Else where the roots come from.
    pub(crate) roots: Option<String>,
    pub(crate) has_certificate: bool,
    pub(crate) user: Option<String>,
    /// Empty where the protocol has none.
    pub(crate) client_id: String,
}

/// Where the roots come from, as messages tell it.
pub(crate) fn roots_of(tls: &TlsConfig) -> String {
    match &tls.ca {
        Some(ca) => ca.display().to_string(),
        None => "the system's roots".to_owned(),
    }
}

impl Peer {
    pub(crate) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The name that its certificate must be for.
    pub(crate) fn server_name(&self) -> Result<ServerName<'static>, Failure> {
        let text = || format!("host {} is not a valid name for a certificate", self.host);
        ServerName::try_from(self.host.clone()).map_err(|_| Failure::Tls(text()))
    }

    /// From the error's chain: what TLS said, else what the socket said, else the error's own text.
    pub(crate) fn describe(&self, error: &(dyn Error + 'static)) -> Failure {
        let mut io_error = None;
        let mut next = Some(error);
        while let Some(e) = next {
            if let Some(tls) = e.downcast_ref::<rustls::Error>() {
                return self.tls(tls);
            }
            if let Some(io) = e.downcast_ref::<io::Error>() {
                if let Some(tls) = io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                    return self.tls(tls);
                }
                io_error = io_error.or(Some(io));
            }
            next = e.source();
        }
        match io_error {
            Some(io) => self.io(io),
            None => Failure::Unreachable(format!("{}: {error}", self.address())),
        }
    }

    fn io(&self, error: &io::Error) -> Failure {
        let (address, server) = (self.address(), self.words.server);
        // The standard library gives such an error no kind of its own.
        if error.to_string().starts_with("failed to lookup address information") {
            return Failure::Unreachable(format!(
                "host {} does not resolve ({error}); check the name in `url` and the DNS server",
                self.host
            ));
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Failure::Unreachable(format!(
                "{address} refuses the connection: no {server} listens there; check that it runs, and check host and \
                 port in `url`"
            )),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Failure::Unreachable(format!(
                "{address} cannot be reached ({error}); check cable, address and gateway route"
            )),
            io::ErrorKind::TimedOut => {
                Failure::Silent(format!("{address} does not answer ({error}); check network and firewall"))
            }
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => self.closed(),
            _ => Failure::Unreachable(format!("{address}: {error}")),
        }
    }

    /// The other side closed the connection without a word.
    pub(crate) fn closed(&self) -> Failure {
        let (address, tls) = (self.address(), self.words.tls);
        Failure::Closed(match self.roots {
            Some(_) => format!("{address} closed the connection"),
            None => format!("{address} closed the connection (if it is a TLS port, the URL begins with {tls})"),
        })
    }

    /// Bytes of another protocol.
    pub(crate) fn garbage(&self, detail: &str) -> Failure {
        let Words { protocol, tls, .. } = self.words;
        let hint = format!("; if it is a TLS port, the URL begins with {tls}");
        let hint = if self.roots.is_none() { hint } else { String::new() };
        Failure::Protocol(format!("{} does not speak {protocol} ({detail}){hint}", self.address()))
    }

    pub(crate) fn silent(&self, seconds: u64) -> Failure {
        let Words { server, steps, .. } = self.words;
        Failure::Silent(format!(
            "{} gave no answer within {seconds} s of connecting ({steps}); check network, firewall and {server}",
            self.address()
        ))
    }

    fn tls(&self, error: &rustls::Error) -> Failure {
        let (address, plain) = (self.address(), self.words.plain);
        Failure::Tls(match error {
            rustls::Error::InvalidCertificate(e) => self.certificate(e),
            rustls::Error::AlertReceived(alert) => self.alert(*alert),
            rustls::Error::InvalidMessage(_) => {
                format!("{address} does not speak TLS ({error}); check the port, or use {plain} in `url`")
            }
            rustls::Error::PeerIncompatible(e) => {
                format!("{address} offers no usable TLS version or cipher ({e:?}); it must offer TLS 1.2 or 1.3")
            }
            other => format!("{address}: TLS failed: {other}"),
        })
    }

    fn certificate(&self, error: &CertificateError) -> String {
        let (address, server) = (self.address(), self.words.server);
        match error {
            CertificateError::Expired => {
                format!(
                    "the certificate of {address} has expired; renew it at the {server}, or correct the clock of \
                    this machine"
                )
            }
            CertificateError::ExpiredContext { not_after, .. } => format!(
                "the certificate of {address} expired on {}; renew it at the {server}, or correct the clock of this \
                 machine",
                date(*not_after)
            ),
            CertificateError::NotValidYet => {
                format!("the certificate of {address} is not valid yet; correct the clocks")
            }
            CertificateError::NotValidYetContext { not_before, .. } => {
                format!("the certificate of {address} is valid only from {}; correct the clocks", date(*not_before))
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "the certificate of {address} was not issued by a CA in {}; set `ca` to the file of the {server}'s CA",
                self.roots.as_deref().unwrap_or("the system's roots")
            ),
            CertificateError::NotValidForName => format!(
                "the certificate of {address} is not for the name {}; use a name of the certificate in `url`",
                self.host
            ),
            CertificateError::NotValidForNameContext { presented, .. } => format!(
                "the certificate of {address} is not for the name {}, but for: {}; use one of these in `url`",
                self.host,
                if presented.is_empty() { "no name at all".into() } else { presented.join(", ") }
            ),
            CertificateError::Revoked => format!("the certificate of {address} is revoked"),
            other => format!("the certificate of {address} is not acceptable: {other:?}"),
        }
    }

    fn alert(&self, alert: AlertDescription) -> String {
        let (address, server) = (self.address(), self.words.server);
        match alert {
            AlertDescription::CertificateRequired => {
                format!("{address} refuses the TLS handshake: it requires a client certificate; set `cert` and `key`")
            }
            AlertDescription::CertificateExpired => {
                format!("{address} refuses our client certificate: expired by its clock; renew it (`cert`, `key`)")
            }
            AlertDescription::CertificateRevoked => {
                format!("{address} refuses our client certificate: revoked; renew it (`cert`, `key`)")
            }
            AlertDescription::UnknownCA => {
                format!(
                    "{address} refuses our client certificate: it does not know its CA; use one that the {server}'s CA issued"
                )
            }
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::DecryptError => {
                format!("{address} refuses our client certificate ({alert:?}); use one that the {server}'s CA issued")
            }
            _ if !self.has_certificate => format!(
                "{address} refuses the TLS handshake ({alert:?}); it may require a client certificate: set `cert` \
                 and `key`"
            ),
            _ => format!("{address} refuses the TLS handshake ({alert:?})"),
        }
    }
}

fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    ASN1Time::from_timestamp(seconds).map_or_else(|_| format!("{seconds} s after 1970"), |t| t.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        let words = Words { server: "broker", protocol: "MQTT", plain: "mqtt://", tls: "mqtts://", steps: "" };
        Peer {
            words,
            host: "broker".into(),
            port: 8883,
            roots: None,
            has_certificate: false,
            user: None,
            client_id: "c".into(),
        }
    }

    #[test]
    fn what_tls_said_is_found_inside_a_socket_error() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let failure = peer().describe(&io::Error::new(io::ErrorKind::InvalidData, tls));
        let Failure::Tls(text) = failure else { panic!("{failure:?}") };
        assert!(text.contains("was not issued by a CA"), "{text}");
    }

    #[test]
    fn an_address_of_version_6_stands_in_brackets() {
        assert_eq!(Peer { host: "::1".into(), ..peer() }.address(), "[::1]:8883");
    }
}
