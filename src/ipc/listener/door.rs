//! The socket at which a listener listens, of each kind.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::claim::Claim;
use super::{Address, Auth, Peer};
use crate::auth::{self, AuthError};
use crate::sys::rendezvous::{Credentials, Name, NotAccepted, accept, give, listen_at, not_accepted, peer_of};
use crate::sys::stream;

#[derive(Debug)]
pub(super) enum Door {
    Unix(OwnedFd),
    Tcp(TcpListener),
}

impl Door {
    /// Listens at an address; where that is then, and its claim to a name in the file system.
    pub(super) fn open(address: Address, auth: &Auth) -> io::Result<(Self, Address, Option<Claim>)> {
        auth.check(&address)?;
        let (door, claim) = match &address {
            Address::Path(path) => {
                let (listening, claim) = Claim::listen(path, auth.is_same_user())?;
                (Self::Unix(listening), Some(claim))
            }
            Address::Abstract(name) => (Self::Unix(listen_at(Name::Abstract(name.as_bytes()), false)?), None),
            Address::Tcp(asked) => {
                let listening = stream::listen(*asked)?;
                let address = Address::Tcp(listening.local_addr()?);
                return Ok((Self::Tcp(listening), address, None));
            }
        };
        Ok((door, address, claim))
    }

    /// Takes one connection from the queue.
    pub(super) fn accept(&self) -> Result<(OwnedFd, Peer), NotAccepted> {
        match self {
            Self::Unix(listening) => {
                let socket = accept(listening.as_fd())?;
                let Credentials { pid, uid } = peer_of(socket.as_fd()).map_err(NotAccepted::Listener)?;
                Ok((socket, Peer::Process { pid, uid }))
            }
            Self::Tcp(listening) => {
                let (stream, peer) = listening.accept().map_err(not_accepted)?;
                let socket = stream::prepare(stream).map_err(NotAccepted::Listener)?;
                Ok((socket, Peer::Host(peer)))
            }
        }
    }

    /// Tells somebody who came by this door why it is turned away. It hears it, or is gone.
    pub(super) fn turn_away(&self, socket: OwnedFd, why: AuthError) {
        let _told = give(socket.as_fd(), &auth::Server::farewell(why));
        if let Self::Tcp(_) = self {
            stream::close(TcpStream::from(socket));
        }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(listening) => listening.as_fd(),
            Self::Tcp(listening) => listening.as_fd(),
        }
    }
}
