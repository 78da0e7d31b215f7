//! Files for a gateway that reads the nodes: the DBC file, the EDS, and a tag file for each link.

use std::fs;
use std::io;
use std::path::Path;

use super::{CanNodes, dbc_file};
use crate::plant::canopen::eds;

const DBC: &str = "plant.dbc";
const EDS: &str = "pump.eds";

impl CanNodes {
    /// Writes the files of the nodes that run into a gateway's `tags` directory.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn write_tags(&self, dir: &Path) -> io::Result<()> {
        if self.settings.senders.is_some() {
            fs::write(dir.join(DBC), dbc_file())?;
        }
        if self.settings.canopen.is_some() {
            fs::write(dir.join(EDS), eds::text(EDS))?;
        }
        Ok(())
    }
}
