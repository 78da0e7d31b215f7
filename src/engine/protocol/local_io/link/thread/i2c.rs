//! I2C by i2c-dev: combined transfers (I2C_RDWR), or SMBus calls where the adapter knows no more.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::device::{Fault, RegisterBus};
use super::uapi::{self, I2cMessage, I2cRdwrData, SmbusBlock, SmbusData};
use crate::tag::Nanos;

/// The kernel counts an adapter's timeout in these.
const TIMEOUT_UNIT: Nanos = Nanos::from_millis(10);

/// An open bus.
pub struct I2cBus {
    file: File,
    path: PathBuf,
    /// The adapter does plain I2C, not only SMBus.
    is_plain: bool,
    /// The device that SMBus calls go to.
    selected: Option<u8>,
}

impl I2cBus {
    /// Takes the bus; a transfer ends after `timeout` at the latest, by the driver's own clock.
    pub fn new(file: File, path: &Path, timeout: Nanos) -> io::Result<I2cBus> {
        let fd = file.as_raw_fd();
        let mut functions: libc::c_ulong = 0;
        // SAFETY: I2C_FUNCS writes one unsigned long.
        unsafe { uapi::ioctl(fd, uapi::I2C_FUNCS, &mut functions)? };
        uapi::ioctl_number(fd, uapi::I2C_TIMEOUT, timeout.0.div_ceil(TIMEOUT_UNIT.0).max(1) as libc::c_ulong)?;
        uapi::ioctl_number(fd, uapi::I2C_RETRIES, 0)?;
        let is_plain = functions as u64 & uapi::I2C_FUNC_I2C != 0;
        Ok(I2cBus { file, path: path.to_owned(), is_plain, selected: None })
    }

    /// Some drivers say ENODEV of an address that nobody acknowledges; a bus that is gone has no file any more.
    fn fault(&self, error: &io::Error) -> Fault {
        match Fault::of(error) {
            Fault::Gone | Fault::Failed(_) if !self.path.exists() => Fault::Gone,
            Fault::Gone => Fault::Silent,
            fault => fault,
        }
    }

    fn transfer(&mut self, messages: &mut [I2cMessage]) -> Result<(), Fault> {
        let mut data = I2cRdwrData { msgs: messages.as_mut_ptr(), nmsgs: messages.len() as u32 };
        // SAFETY: the messages and the buffers that they point to live through the call, and have the lengths they say.
        unsafe { uapi::ioctl(self.file.as_raw_fd(), uapi::I2C_RDWR, &mut data) }.map_err(|error| self.fault(&error))?;
        Ok(())
    }

    fn smbus(
        &mut self,
        address: u8,
        (read_write, command, size): (u8, u8, u32),
        block: &mut SmbusBlock,
    ) -> Result<(), Fault> {
        let fd = self.file.as_raw_fd();
        if self.selected != Some(address) {
            uapi::ioctl_number(fd, uapi::I2C_SLAVE, address.into()).map_err(|error| self.fault(&error))?;
            self.selected = Some(address);
        }
        let mut data = SmbusData { read_write, command, size, data: block };
        // SAFETY: the block lives through the call and is as large as the kernel's.
        unsafe { uapi::ioctl(fd, uapi::I2C_SMBUS, &mut data) }.map_err(|error| self.fault(&error))?;
        Ok(())
    }

    fn smbus_write(&mut self, address: u8, bytes: &[u8]) -> Result<(), Fault> {
        let Some((command, rest)) = bytes.split_first() else { return Err(unsupported()) };
        let mut block: SmbusBlock = [0; uapi::SMBUS_BLOCK_MAX + 2];
        let size = match rest.len() {
            0 => uapi::SMBUS_BYTE,
            1 => uapi::SMBUS_BYTE_DATA,
            2 => uapi::SMBUS_WORD_DATA,
            _ => uapi::SMBUS_I2C_BLOCK_DATA,
        };
        match rest {
            [byte] => block[0] = *byte,
            // On the wire, the low byte of a word goes first.
            [low, high] => block[..2].copy_from_slice(&u16::from_le_bytes([*low, *high]).to_ne_bytes()),
            _ => {
                block[0] = rest.len() as u8;
                block.get_mut(1..=rest.len()).ok_or(unsupported())?.copy_from_slice(rest);
            }
        }
        self.smbus(address, (0, *command, size), &mut block)
    }

    fn smbus_read(&mut self, address: u8, command: &[u8], out: &mut [u8]) -> Result<(), Fault> {
        let mut block: SmbusBlock = [0; uapi::SMBUS_BLOCK_MAX + 2];
        let (command, size) = match (command, out.len()) {
            ([], 1) => (0, uapi::SMBUS_BYTE),
            ([command], 1) => (*command, uapi::SMBUS_BYTE_DATA),
            ([command], 2) => (*command, uapi::SMBUS_WORD_DATA),
            ([command], 3..=uapi::SMBUS_BLOCK_MAX) => (*command, uapi::SMBUS_I2C_BLOCK_DATA),
            _ => return Err(unsupported()),
        };
        if size == uapi::SMBUS_I2C_BLOCK_DATA {
            block[0] = out.len() as u8;
        }
        self.smbus(address, (uapi::SMBUS_READ, command, size), &mut block)?;
        let bytes = match size {
            uapi::SMBUS_WORD_DATA => &u16::from_ne_bytes([block[0], block[1]]).to_le_bytes()[..],
            uapi::SMBUS_I2C_BLOCK_DATA => block.get(1..=out.len()).unwrap_or_default(),
            _ => &block[..1],
        };
        // A block may be shorter than it was asked for.
        if size == uapi::SMBUS_I2C_BLOCK_DATA && usize::from(block[0]) != out.len() {
            return Err(Fault::Failed(libc::EPROTO));
        }
        out.copy_from_slice(bytes);
        Ok(())
    }
}

fn unsupported() -> Fault {
    Fault::Failed(libc::EOPNOTSUPP)
}

fn message(address: u8, flags: u16, bytes: *mut u8, len: usize) -> I2cMessage {
    I2cMessage { addr: address.into(), flags, len: len as u16, buf: bytes }
}

impl RegisterBus for I2cBus {
    fn write(&mut self, address: u8, bytes: &[u8]) -> Result<(), Fault> {
        if !self.is_plain {
            return self.smbus_write(address, bytes);
        }
        // The kernel only reads from it.
        self.transfer(&mut [message(address, 0, bytes.as_ptr().cast_mut(), bytes.len())])
    }

    fn read(&mut self, address: u8, command: &[u8], out: &mut [u8]) -> Result<(), Fault> {
        if !self.is_plain {
            return self.smbus_read(address, command, out);
        }
        let asked = message(address, 0, command.as_ptr().cast_mut(), command.len());
        let answered = message(address, uapi::I2C_M_RD, out.as_mut_ptr(), out.len());
        if command.is_empty() { self.transfer(&mut [answered]) } else { self.transfer(&mut [asked, answered]) }
    }

    fn exchange(&mut self, _sent: &[u8], _received: &mut [u8]) -> Result<(), Fault> {
        Err(unsupported())
    }
}
