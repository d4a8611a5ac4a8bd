//! A network that goes silent, or mad: between shardd and a server, a forwarder that can swallow or garble what passes.
//!
//! Unlike a server that has ended, or a process that is stopped, it accepts connections and takes every byte: nothing tells
//! the sender that nobody is there.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    Everything,
    /// To the server; its answers are swallowed.
    Requests,
    /// To shardd; what it sends is swallowed.
    Answers,
    Nothing,
    /// Everything, with wrong bytes among the answers.
    Garbled,
}

/// A forwarder to a port of the loopback, until it is dropped.
pub struct Hole {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    passes: Mutex<Passes>,
    ended: AtomicBool,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Shared {
    fn passes(&self) -> Passes {
        *self.passes.lock().expect("locked")
    }

    fn swallows(&self, answers: bool) -> bool {
        match self.passes() {
            Passes::Everything | Passes::Garbled => false,
            Passes::Requests => answers,
            Passes::Answers => !answers,
            Passes::Nothing => true,
        }
    }
}

impl Hole {
    pub fn before(port: u16) -> Hole {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let shared = Arc::new(Shared {
            passes: Mutex::new(Passes::Everything),
            ended: AtomicBool::new(false),
            sockets: Mutex::default(),
        });
        let hole = Hole { port: listener.local_addr().expect("an address").port(), shared: Arc::clone(&shared) };
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
        *self.shared.passes.lock().expect("locked") = passes;
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
        let mut random = 1 + u64::from(from.local_addr().map_or(0, |address| address.port()));
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            if shared.swallows(answers) && read > 0 {
                continue;
            }
            // Knuth's MMIX.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if answers && read > 0 && shared.passes() == Passes::Garbled && random >> 62 == 0 {
                buffer[(random >> 33) as usize % read] = (random >> 24) as u8;
            }
            let Some(to) = &mut to else { return };
            if read == 0 || to.write_all(&buffer[..read]).is_err() {
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
        }
    });
}
