//! SPI by spidev: each access is one message, the chip selected throughout.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::device::{Fault, RegisterBus};
use super::uapi::{self, SpiTransfer};

/// An open device.
pub struct SpiDevice {
    file: File,
    speed_hz: u32,
}

impl SpiDevice {
    pub fn new(file: File, mode: u8, speed_hz: u32, lsb_first: bool) -> io::Result<SpiDevice> {
        let fd = file.as_raw_fd();
        let mut mode = mode | if lsb_first { uapi::SPI_LSB_FIRST } else { 0 };
        let (mut bits, mut speed) = (8u8, speed_hz);
        // SAFETY: SPI_IOC_WR_MODE reads one byte.
        unsafe { uapi::ioctl(fd, uapi::SPI_WR_MODE, &mut mode)? };
        // SAFETY: SPI_IOC_WR_BITS_PER_WORD reads one byte.
        unsafe { uapi::ioctl(fd, uapi::SPI_WR_BITS_PER_WORD, &mut bits)? };
        // SAFETY: SPI_IOC_WR_MAX_SPEED_HZ reads 32 bits.
        unsafe { uapi::ioctl(fd, uapi::SPI_WR_MAX_SPEED_HZ, &mut speed)? };
        Ok(SpiDevice { file, speed_hz })
    }

    fn transfer(&self, sent: Option<&[u8]>, received: Option<&mut [u8]>) -> SpiTransfer {
        let len = sent.map_or(0, <[u8]>::len).max(received.as_ref().map_or(0, |bytes| bytes.len()));
        SpiTransfer {
            tx_buf: sent.map_or(0, |bytes| bytes.as_ptr() as u64),
            rx_buf: received.map_or(0, |bytes| bytes.as_mut_ptr() as u64),
            len: len as u32,
            speed_hz: self.speed_hz,
            bits_per_word: 8,
            ..SpiTransfer::default()
        }
    }
}

impl RegisterBus for SpiDevice {
    fn write(&mut self, _address: u8, bytes: &[u8]) -> Result<(), Fault> {
        let mut message = self.transfer(Some(bytes), None);
        // SAFETY: the buffer lives through the call and has the length that the transfer says.
        unsafe { uapi::ioctl(self.file.as_raw_fd(), uapi::SPI_MESSAGE_OF_ONE, &mut message) }
            .map_err(|error| Fault::of(&error))?;
        Ok(())
    }

    fn read(&mut self, _address: u8, command: &[u8], out: &mut [u8]) -> Result<(), Fault> {
        let mut message = [self.transfer(Some(command), None), self.transfer(None, Some(out))];
        // SAFETY: both buffers live through the call and have the lengths that the transfers say.
        unsafe { uapi::ioctl(self.file.as_raw_fd(), uapi::SPI_MESSAGE_OF_TWO, &mut message) }
            .map_err(|error| Fault::of(&error))?;
        Ok(())
    }

    fn exchange(&mut self, sent: &[u8], received: &mut [u8]) -> Result<(), Fault> {
        if sent.len() != received.len() {
            return Err(Fault::Failed(libc::EINVAL));
        }
        let mut message = self.transfer(Some(sent), Some(received));
        // SAFETY: both buffers live through the call and are of one length.
        unsafe { uapi::ioctl(self.file.as_raw_fd(), uapi::SPI_MESSAGE_OF_ONE, &mut message) }
            .map_err(|error| Fault::of(&error))?;
        Ok(())
    }
}
