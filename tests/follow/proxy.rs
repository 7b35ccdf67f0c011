//! A proxy between two namespaces: SOCKS5 and CONNECT on one port, just enough of each.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::net::Net;

/// The host that only the proxy knows.
pub const NAME: &str = "voter.far";

/// User and password that it wants.
pub const LOGIN: &str = "user:pass";

/// What was asked of a proxy: the kind and the destination.
pub type Asked = Arc<Mutex<Vec<String>>>;

/// Listens at `at` in `near`, and connects in `far`, where [`NAME`] is `host`.
pub fn start(near: &Net, at: SocketAddr, far: &Arc<Net>, host: SocketAddr) -> Asked {
    let listener = near.within(|| TcpListener::bind(at).expect("a port of its own"));
    let asked = Asked::default();
    let (noted, far) = (Arc::clone(&asked), Arc::clone(far));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (noted, far) = (Arc::clone(&noted), Arc::clone(&far));
            // Whoever goes away in the middle is no matter.
            thread::spawn(move || drop(serve(stream, &noted, &far, host)));
        }
    });
    asked
}

fn serve(mut near: TcpStream, asked: &Asked, far: &Net, host: SocketAddr) -> io::Result<()> {
    let mut first = [0];
    near.peek(&mut first)?;
    let wanted = if first[0] == 5 { socks(&mut near)? } else { connect(&near)? };
    asked.lock().expect("no panic").push(wanted.clone());
    if wanted.rsplit_once(' ').map(|(_, to)| to) != Some(&format!("{NAME}:{}", host.port())) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let far = far.within(|| TcpStream::connect(host))?;
    near.write_all(if first[0] == 5 {
        b"\x05\0\0\x01\0\0\0\0\0\0"
    } else {
        b"HTTP/1.1 200 OK\r\n\r\n"
    })?;
    let (mut from, mut to) = (near.try_clone()?, far.try_clone()?);
    thread::spawn(move || drop(io::copy(&mut from, &mut to)));
    let (mut from, mut to) = (far, near);
    io::copy(&mut from, &mut to).map(drop)
}

/// RFC 1928 with a password by RFC 1929.
fn socks(near: &mut TcpStream) -> io::Result<String> {
    let mut take = |length: usize| {
        let mut bytes = vec![0; length];
        near.read_exact(&mut bytes).map(|()| bytes)
    };
    let methods = take(2)?[1];
    take(methods.into())?;
    near.write_all(&[5, 2])?;
    let mut take = |length: usize| {
        let mut bytes = vec![0; length];
        near.read_exact(&mut bytes).map(|()| bytes)
    };
    let user = take(2)?[1];
    let user = take(user.into())?;
    let password = take(1)?[0];
    let password = take(password.into())?;
    let login = [user, password].map(|it| String::from_utf8_lossy(&it).into_owned()).join(":");
    let passed = u8::from(login != LOGIN);
    near.write_all(&[1, passed])?;
    let mut take = |length: usize| {
        let mut bytes = vec![0; length];
        near.read_exact(&mut bytes).map(|()| bytes)
    };
    let head = take(5)?;
    assert_eq!((head[1], head[3]), (1, 3), "CONNECT, to a name");
    let name = take(head[4].into())?;
    let port = take(2)?;
    let port = u16::from_be_bytes([port[0], port[1]]);
    Ok(format!("socks {}:{port}", String::from_utf8_lossy(&name)))
}

fn connect(near: &TcpStream) -> io::Result<String> {
    let mut lines = BufReader::new(near).lines();
    let first = lines.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
    let mut login = String::from("without ");
    for line in lines {
        let line = line?;
        // The password as RFC 7617 has it: user:pass.
        if line.to_lowercase().starts_with("proxy-authorization: basic ")
            && line.ends_with("dXNlcjpwYXNz")
        {
            login = String::new();
        }
        if line.is_empty() {
            break;
        }
    }
    let to = first.split(' ').nth(1).unwrap_or_default();
    Ok(format!("{login}connect {to}"))
}
