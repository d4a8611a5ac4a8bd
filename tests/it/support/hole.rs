//! A network that goes silent: between shardd and a server, a forwarder that can swallow what passes.
//!
//! Unlike a server that has ended, or a process that is stopped, it accepts connections and takes every byte: nothing tells
//! the sender that nobody is there.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    Everything,
    /// To the server; its answers are swallowed.
    Requests,
    Nothing,
}

/// A forwarder to a port of the loopback, until it is dropped.
pub struct Hole {
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    passes: AtomicUsize,
    ended: AtomicBool,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Shared {
    fn swallows(&self, answers: bool) -> bool {
        match self.passes.load(Ordering::SeqCst) {
            0 => false,
            1 => answers,
            _ => true,
        }
    }
}

impl Hole {
    pub fn before(port: u16) -> Hole {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let hole = Hole { port: listener.local_addr().expect("an address").port(), shared: Arc::default() };
        let shared = Arc::clone(&hole.shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                accept(client.expect("accepted"), port, &shared);
            }
        });
        hole
    }

    pub fn let_pass(&self, passes: Passes) {
        self.shared.passes.store(passes as usize, Ordering::SeqCst);
    }

    /// Closes all connections that there are.
    pub fn cut(&self) {
        for socket in self.shared.sockets.lock().expect("locked").drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Hole {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.cut();
        // The listener waits for one more.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn accept(client: TcpStream, port: u16, shared: &Arc<Shared>) {
    // A server that nothing reaches is none.
    let server = if shared.swallows(false) { None } else { TcpStream::connect(("127.0.0.1", port)).ok() };
    let copy = |socket: &TcpStream| socket.try_clone().expect("copied");
    let mut sockets = shared.sockets.lock().expect("locked");
    sockets.push(copy(&client));
    sockets.extend(server.as_ref().map(copy));
    drop(sockets);
    if let Some(server) = &server {
        forward(copy(server), Some(copy(&client)), true, Arc::clone(shared));
    }
    forward(client, server, false, Arc::clone(shared));
}

fn forward(mut from: TcpStream, mut to: Option<TcpStream>, answers: bool, shared: Arc<Shared>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            if shared.swallows(answers) && read > 0 {
                continue;
            }
            let Some(to) = &mut to else { return };
            if read == 0 || to.write_all(&buffer[..read]).is_err() {
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
        }
    });
}
