use tokio::net::{TcpListener, TcpStream};
use tokio_util::either::Either;

use super::*;

/// What comes of a server that sends these parts, each when the one before was taken, and closes.
async fn answered(parts: &[&[u8]]) -> Result<(u16, Vec<u8>, bool), ConnectionError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sent: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = [0; 1];
        stream.read_exact(&mut request).await.unwrap();
        for part in sent {
            stream.write_all(&part).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let stream = TcpStream::connect(address).await.unwrap();
    let mut http = Http1::new(Either::Left(stream), 1000);
    let answer = http.ask(b"?").await;
    let answer = answer.map(|answer| match answer.status {
        Status::Http(status) => (status, answer.body.to_vec()),
        Status::Grpc(_) => panic!("not HTTP"),
    });
    server.await.unwrap();
    // What the answer says of it; the server has closed by now in any case.
    answer.map(|(status, body)| (status, body, http.is_open))
}

#[tokio::test]
async fn a_connection_that_ends_while_nobody_uses_it_is_seen_before_its_next_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let mut http = Http1::new(Either::Left(stream), 1000);
    assert!(http.is_open());
    drop(server);
    tokio::time::timeout(std::time::Duration::from_secs(10), async {
        while http.is_open() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("its end is seen");
}

#[tokio::test]
async fn a_body_ends_where_its_length_says() {
    let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    assert_eq!(answered(&[whole]).await.unwrap(), (200, b"hello".to_vec(), true));
    // However it comes.
    let bytes: Vec<&[u8]> = whole.chunks(1).collect();
    assert_eq!(answered(&bytes).await.unwrap(), (200, b"hello".to_vec(), true));
    let closed = b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\nConnection: close\r\n\r\nno";
    assert_eq!(answered(&[closed]).await.unwrap(), (404, b"no".to_vec(), false));
}

#[tokio::test]
async fn chunks_are_joined_and_trailers_passed_over() {
    let whole = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nx-a: b\r\n\r\n";
    assert_eq!(answered(&[whole]).await.unwrap(), (200, b"hello".to_vec(), true));
    let bytes: Vec<&[u8]> = whole.chunks(1).collect();
    assert_eq!(answered(&bytes).await.unwrap(), (200, b"hello".to_vec(), true));
}

#[tokio::test]
async fn a_body_without_a_length_ends_with_the_connection() {
    let whole = b"HTTP/1.1 200 OK\r\n\r\nhello";
    assert_eq!(answered(&[whole]).await.unwrap(), (200, b"hello".to_vec(), false));
    assert_eq!(answered(&[b"HTTP/1.1 204 No Content\r\n\r\n"]).await.unwrap(), (204, Vec::new(), true));
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let parts: [&[u8]; 2] = [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ];
    assert_eq!(answered(&parts).await.unwrap(), (200, Vec::new(), true));
}

#[tokio::test]
async fn what_is_no_answer_is_an_error_of_its_kind() {
    for (parts, kind) in [
        (&b""[..], "closed"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel", "closed"),
        (b"SSH-2.0-OpenSSH\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n", "too large"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n", "too large"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n?\r\n", "protocol"),
    ] {
        assert_eq!(answered(&[parts]).await.unwrap_err().kind(), kind, "{}", String::from_utf8_lossy(parts));
    }
}

#[test]
fn all_members_of_cache_status_are_one_line() {
    let mut said = b"of the last answer".to_vec();
    let head = b"HTTP/1.1 200 OK\r\nCache-Status: a; hit\r\nage: 7\r\ncache-status: b; fwd=miss\r\n\r\n";
    let parsed = parse(head, &mut said).unwrap().unwrap();
    assert_eq!(said, b"a; hit, b; fwd=miss");
    assert_eq!(&head[parsed.age], b"7");
}
