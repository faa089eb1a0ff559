use super::*;

/// A server that is never asked.
pub(in crate::client) fn server(encoding: Encoding) -> Server {
    at(encoding, 1)
}

/// One on a port of the loopback.
pub(in crate::client) fn at(encoding: Encoding, port: u16) -> Server {
    let settings = ServerSettings {
        url: format!("http://127.0.0.1:{port}"),
        grpc_url: format!("grpc://127.0.0.1:{port}"),
        headers: Vec::new(),
        ca_file: None,
        timeout_secs: Duration::from_secs(20),
        max_answer_bytes: 1 << 20,
    };
    Server::of(&settings, encoding).unwrap()
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_with_its_address() {
    let port = rig::process::free_port();
    for encoding in [Encoding::Json, Encoding::Grpc] {
        let Err(error) = at(encoding, port).connect().await else { panic!("connected") };
        assert_eq!(error.kind(), "connect");
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_waited_for_no_longer_than_the_deadline() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for encoding in [Encoding::Json, Encoding::Grpc] {
        let server = at(encoding, listener.local_addr().unwrap().port());
        let mut connection = server.connect().await.unwrap();
        let mut request = match encoding {
            Encoding::Grpc => Request::call_of(&server, "ServerLive", b"").unwrap(),
            _ => Request::get(&server, "/v2"),
        };
        let Err(error) = connection.ask(&mut request, Duration::from_millis(20)).await else {
            panic!("answered")
        };
        assert_eq!(error.to_string(), "no answer within 20ms");
    }
}
