"""`connectors.kafka.watch`: what the network client of kafka-python leaves behind; no broker is needed."""

import socket

from connectors.kafka.watch import Watch
from tests.support.waiting import poll_for


def test_a_client_that_closes_with_bytes_left_to_send_leaves_no_socket():
    """Its peer takes the connection and never reads, so that the bytes do not fit into the sockets' buffers."""
    with socket.create_server(("127.0.0.1", 0)) as peer:
        client = Watch().client(bootstrap_servers=[f"127.0.0.1:{peer.getsockname()[1]}"])
        (broker,) = client._manager.cluster.bootstrap_brokers()
        client.maybe_connect(broker.node_id)
        transports = client._transports
        poll_for(lambda: client.poll(timeout_ms=10) or transports, 10.0)
        (transport,) = transports
        left = transport._sock
        client._manager._conns[broker.node_id]._init_complete()  # as if the peer had answered
        transport.write(bytes(64 << 20))
        client.poll(timeout_ms=50)
        assert transport._write_buffer, "the buffers took all of it"
        client.close()
        assert left.fileno() == -1
