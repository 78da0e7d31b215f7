//! Why the connection to a broker ended, with what to do.

use crate::peer::{Failure, Peer, Words};

pub(super) const WORDS: Words =
    Words { server: "broker", protocol: "MQTT", plain: "mqtt://", tls: "mqtts://", steps: "TCP, TLS, CONNACK" };

impl Peer {
    /// MQTT, and not as the standard has it.
    pub(crate) fn violation(&self, detail: &str) -> Failure {
        Failure::Protocol(format!(
            "{} breaks the MQTT protocol: {detail}; look for a newer version of the broker",
            self.address()
        ))
    }

    pub(crate) fn keep_alive_lost(&self) -> Failure {
        Failure::Silent(format!("{} did not answer the keep-alive ping: connection lost", self.address()))
    }

    pub(crate) fn bad_login(&self) -> Failure {
        Failure::Login(match &self.user {
            Some(user) => {
                format!("{} refuses user {user:?} or its password; correct `user` and `password`", self.address())
            }
            None => format!("{} requires a user and a password; set `user` and `password`", self.address()),
        })
    }

    pub(crate) fn not_authorised(&self) -> Failure {
        Failure::Login(match &self.user {
            Some(user) => format!(
                "{} does not authorise user {user:?} (client id {:?}): wrong user or password, or no right to connect",
                self.address(),
                self.client_id
            ),
            None => format!(
                "{} does not authorise this client (client id {:?}); it may require `user` and `password`, or a \
                 client certificate",
                self.address(),
                self.client_id
            ),
        })
    }

    pub(crate) fn refused(&self, code: &str) -> Failure {
        Failure::Refused(format!("{} refuses the connection: {code} (client id {:?})", self.address(), self.client_id))
    }
}
