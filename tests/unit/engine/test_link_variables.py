from knarr.engine.link_variables import variables


def test_a_link_without_ports_tells_its_name_and_the_others_variables() -> None:
    found = variables("/me/db-1", "db-1", "172.17.0.2", [], ["A=x y", "PATH=/bin", "HOME=/root", "unset"])
    assert found == {"DB_1_NAME": "/me/db-1", "DB_1_ENV_A": "x y"}


def test_the_lowest_port_is_the_default_one() -> None:
    found = variables("/me/db", "db", "172.17.0.2", ["80/tcp", "53/udp"], [])
    assert found["DB_PORT"] == "udp://172.17.0.2:53"
    assert found["DB_PORT_80_TCP"] == "tcp://172.17.0.2:80"
    assert (found["DB_PORT_80_TCP_ADDR"], found["DB_PORT_80_TCP_PORT"]) == ("172.17.0.2", "80")
    assert found["DB_PORT_53_UDP_PROTO"] == "udp"


def test_consecutive_ports_are_told_as_a_range_too() -> None:
    found = variables("/me/db", "db", "172.17.0.2", ["102/tcp", "100/tcp", "101/tcp", "103/udp"], [])
    assert found["DB_PORT_100_TCP_START"] == "tcp://172.17.0.2:100"
    assert found["DB_PORT_100_TCP_PORT_END"] == "102"
    assert not [name for name in found if name.startswith("DB_PORT_103") and name.endswith("START")]
