//! The service as a part of a gateway: the desk, the thread behind it, the control socket before it.

use std::io;
use std::sync::Arc;

use crossbeam_channel::Receiver;

use super::live::Live;
use super::service::Writes;
use crate::command::{Asked, Desk, WriteStats};
use crate::config::ControlConfig;
use crate::serve::{CONTROL_PART, ControlSocket, Observed, Severity};
use crate::store::{AuditLog, JournalReader};

/// A desk at which nobody sits yet: requests wait.
pub struct Prepared {
    pub desk: Desk,
    pub stats: Arc<WriteStats>,
    asked: Receiver<Asked>,
    audit: AuditLog,
}

/// Everything that writes need beside the floor.
pub struct Ways {
    service: Writes,
    socket: Option<ControlSocket>,
}

impl Prepared {
    pub fn new(audit: AuditLog) -> Prepared {
        let stats = Arc::<WriteStats>::default();
        let (desk, asked) = Desk::new(stats.clone());
        Prepared { desk, stats, asked, audit }
    }

    /// Starts the service, and the socket if there is to be one. Without its socket, everything else runs.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        self,
        live: Live,
        reader: &JournalReader,
        control: &ControlConfig,
        observed: Arc<Observed>,
    ) -> io::Result<Ways> {
        let Prepared { desk, stats, asked, audit } = self;
        let service = Writes::start(live, asked, audit, reader, control.writes_per_s, stats)?;
        let socket = ControlSocket::start(control, desk, observed.clone()).unwrap_or_else(|error| {
            tracing::error!(
                "the control socket is not available (`fieldbeat status`, `get`, `list`, `tail --live`, `write`): \
                 {error}; everything else runs"
            );
            observed.health.set(CONTROL_PART, Severity::Degraded, error.to_string());
            None
        });
        Ok(Ways { service, socket })
    }
}

impl Ways {
    pub fn socket(&self) -> Option<&std::path::Path> {
        self.socket.as_ref().map(ControlSocket::path)
    }

    /// Ends the service while the executors still run, then the socket, so that the last answers reach their clients.
    pub fn stop(self) {
        self.service.stop();
        drop(self.socket);
    }
}
