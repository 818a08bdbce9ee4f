"""What ``ss`` prints of connections, read for what their bodies were sent with."""

from __future__ import annotations

from tests.benchmarks.instruments.congestion import most_used

PAGE = """\
0      0          127.0.0.1:4001      127.0.0.1:55000 timer:(keepalive,1min)
\t ts sack cubic wscale:7,7 rto:204 rtt:0.03/0.01 mss:32768 bytes_sent:9000000 bytes_acked:9000000
0      0          127.0.0.1:4002      127.0.0.1:55002
\t ts sack ecn bbr wscale:7,7 rto:204 rtt:0.03/0.01 mss:32768 bytes_sent:400 bytes_acked:400
0      0              [::1]:4002          [::1]:55004
\t ts sack reno wscale:7,7 rto:204 rtt:0.03/0.01 mss:32768
0      0          127.0.0.1:55000     127.0.0.1:4001
\t ts sack vegas wscale:7,7 rto:204 rtt:0.03/0.01 mss:32768 bytes_sent:99999999999
"""


def test_the_one_that_sent_most_bytes_from_the_ports_counts() -> None:
    assert most_used(PAGE, {4001, 4002}) == "cubic"
    assert most_used(PAGE, {4002}) == "bbr"


def test_no_connection_from_the_ports_says_nothing() -> None:
    assert most_used(PAGE, {4003}) == ""
    assert most_used("", {4001}) == ""
