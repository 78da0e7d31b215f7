//! Why a connection failed, told so that a person can act.

use std::error::Error;
use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError};
use x509_parser::time::ASN1Time;

/// The other side, as it stands in messages.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) host: String,
    pub(super) port: u16,
    /// `None`: plain TCP. Else where the roots come from.
    pub(super) roots: Option<String>,
    pub(super) has_certificate: bool,
    pub(super) user: Option<String>,
    pub(super) client_id: String,
}

impl Peer {
    pub(super) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// From the error's chain: what TLS said, else what the socket said, else the error's own text.
    pub(super) fn describe(&self, error: &(dyn Error + 'static)) -> String {
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
            None => format!("{}: {error}", self.address()),
        }
    }

    fn io(&self, error: &io::Error) -> String {
        let address = self.address();
        if error.to_string().starts_with("failed to lookup address information") {
            return format!(
                "host {} does not resolve ({error}); check the name in `url` and the DNS server",
                self.host
            );
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                format!(
                    "{address} refuses the connection: no broker listens there; check that it runs, and host and port in `url`"
                )
            }
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                format!("{address} cannot be reached ({error}); check cable, address and gateway route")
            }
            io::ErrorKind::TimedOut => format!("{address} does not answer ({error}); check network and firewall"),
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => self.closed(),
            _ => format!("{address}: {error}"),
        }
    }

    /// The other side closed the connection without a word.
    pub(super) fn closed(&self) -> String {
        let address = self.address();
        match self.roots {
            Some(_) => format!("{address} closed the connection"),
            None => format!("{address} closed the connection (if it is a TLS port, the URL begins with mqtts://)"),
        }
    }

    /// Bytes that are no MQTT.
    pub(super) fn garbage(&self, detail: &str) -> String {
        let hint = if self.roots.is_none() { "; if it is a TLS port, the URL begins with mqtts://" } else { "" };
        format!("{} does not speak MQTT ({detail}){hint}", self.address())
    }

    /// MQTT, and not as the standard has it.
    pub(super) fn violation(&self, detail: &str) -> String {
        format!("{} breaks the MQTT protocol: {detail}; look for a newer version of the broker", self.address())
    }

    pub(super) fn silent(&self, seconds: u64) -> String {
        format!(
            "{} gave no answer within {seconds} s of connecting (TCP, TLS, CONNACK); check network, firewall and broker",
            self.address()
        )
    }

    pub(super) fn keep_alive_lost(&self) -> String {
        format!("{} did not answer the keep-alive ping: connection lost", self.address())
    }

    pub(super) fn bad_login(&self) -> String {
        match &self.user {
            Some(user) => {
                format!("{} refuses user {user:?} or its password; correct `user` and `password`", self.address())
            }
            None => format!("{} wants a user and a password; set `user` and `password`", self.address()),
        }
    }

    pub(super) fn not_authorised(&self) -> String {
        match &self.user {
            Some(user) => format!(
                "{} does not authorise user {user:?} (client id {:?}): wrong user or password, or no right to connect",
                self.address(),
                self.client_id
            ),
            None => format!(
                "{} does not authorise this client (client id {:?}); it may want `user` and `password`, or a client certificate",
                self.address(),
                self.client_id
            ),
        }
    }

    pub(super) fn refused(&self, code: &str) -> String {
        format!("{} refuses the connection: {code} (client id {:?})", self.address(), self.client_id)
    }

    fn tls(&self, error: &rustls::Error) -> String {
        let address = self.address();
        match error {
            rustls::Error::InvalidCertificate(e) => self.certificate(e),
            rustls::Error::AlertReceived(alert) => self.alert(*alert),
            rustls::Error::InvalidMessage(_) => {
                format!("{address} does not speak TLS ({error}); check the port, or use mqtt:// in `url`")
            }
            rustls::Error::PeerIncompatible(e) => {
                format!(
                    "{address} has no TLS version or cipher in common with us ({e:?}); it must offer TLS 1.2 or 1.3"
                )
            }
            other => format!("{address}: TLS failed: {other}"),
        }
    }

    fn certificate(&self, error: &CertificateError) -> String {
        let address = self.address();
        match error {
            CertificateError::Expired => {
                format!("the certificate of {address} has expired; renew it at the broker, or set this clock right")
            }
            CertificateError::ExpiredContext { not_after, .. } => format!(
                "the certificate of {address} expired on {}; renew it at the broker, or set this clock right",
                date(*not_after)
            ),
            CertificateError::NotValidYet => {
                format!("the certificate of {address} is not valid yet; set the clocks right")
            }
            CertificateError::NotValidYetContext { not_before, .. } => {
                format!("the certificate of {address} is valid only from {}; set the clocks right", date(*not_before))
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "the certificate of {address} was not issued by a CA in {}; set `ca` to the file of the broker's CA",
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
        let address = self.address();
        match alert {
            AlertDescription::CertificateRequired => {
                format!("{address} refuses the TLS handshake: it wants a client certificate; set `cert` and `key`")
            }
            AlertDescription::CertificateExpired => {
                format!("{address} refuses our client certificate: expired by its clock; renew it (`cert`, `key`)")
            }
            AlertDescription::CertificateRevoked => {
                format!("{address} refuses our client certificate: revoked; renew it (`cert`, `key`)")
            }
            AlertDescription::UnknownCA => {
                format!(
                    "{address} refuses our client certificate: it does not know its CA; use one that the broker's CA issued"
                )
            }
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::DecryptError => {
                format!("{address} refuses our client certificate ({alert:?}); use one that the broker's CA issued")
            }
            _ if !self.has_certificate => format!(
                "{address} refuses the TLS handshake ({alert:?}); it may want a client certificate: set `cert` and `key`"
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
        Peer {
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
        let text = peer().describe(&io::Error::new(io::ErrorKind::InvalidData, tls));
        assert!(text.contains("was not issued by a CA"), "{text}");
    }

    #[test]
    fn an_address_of_version_6_stands_in_brackets() {
        assert_eq!(Peer { host: "::1".into(), ..peer() }.address(), "[::1]:8883");
    }
}
