//! The socket pair under a channel.

use std::io;
use std::os::fd::OwnedFd;

use lineshaft_store::above_standard;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt};

use crate::limits::SOCKET_BUFFER_BYTES;

/// Two connected stream sockets, non-blocking and closed on exec.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (left, right) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    for socket in [&left, &right] {
        sockopt::set_socket_send_buffer_size(socket, SOCKET_BUFFER_BYTES)?;
        sockopt::set_socket_recv_buffer_size(socket, SOCKET_BUFFER_BYTES)?;
    }
    Ok((above_standard(left)?, above_standard(right)?))
}
