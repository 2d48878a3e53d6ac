from __future__ import annotations

from pathlib import Path

from knarr.network.name_files import hostname_file, hosts_file, read_host_resolv_conf, resolv_conf, revised_hosts

STATIC = (
    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"
    "ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
)


def test_hosts_of_a_container_without_network() -> None:
    assert hosts_file("box") == STATIC


def test_hosts_name_the_container_after_the_extra_hosts() -> None:
    text = hosts_file("box", addresses=["172.17.0.2"], extra_hosts=["foo:10.9.8.7"])
    assert text == STATIC + "10.9.8.7\tfoo\n172.17.0.2\tbox\n"


def test_hosts_give_a_qualified_name_and_its_first_label() -> None:
    assert hosts_file("foo.bar", addresses=["10.0.0.2"]).endswith("10.0.0.2\tfoo.bar foo\n")
    assert hosts_file("foo", "bar", addresses=["10.0.0.2"]).endswith("10.0.0.2\tfoo.bar foo\n")


def test_hosts_translate_host_gateway() -> None:
    text = hosts_file("box", extra_hosts=["hg:host-gateway"], host_gateways=["172.17.0.1", "fd00::1"])
    assert text.endswith("172.17.0.1\thg\nfd00::1\thg\n")


def test_hosts_accept_ipv6_with_and_without_brackets() -> None:
    assert hosts_file("box", extra_hosts=["a:::1", "b:[fd00::1]"]).endswith("::1\ta\nfd00::1\tb\n")


def test_hostname() -> None:
    assert hostname_file("box") == "box\n"


def test_resolv_conf_is_the_hosts() -> None:
    text = "# made by hand\nsearch example.test\nnameserver 10.0.0.53\noptions edns0\n"
    assert resolv_conf(text) == text


def test_loopback_servers_are_dropped() -> None:
    assert resolv_conf("nameserver 127.0.0.1\nnameserver 10.0.0.53\n") == "nameserver 10.0.0.53\n"


def test_public_servers_when_none_is_left() -> None:
    assert resolv_conf("search a\nnameserver ::1\n") == "search a\nnameserver 8.8.8.8\nnameserver 8.8.4.4\n"


def test_ipv6_servers_need_an_ipv6_container() -> None:
    text = "nameserver fd00::53\nnameserver 10.0.0.53\n"
    assert resolv_conf(text) == "nameserver 10.0.0.53\n"
    assert resolv_conf(text, ipv6=True) == text


def test_user_settings_replace_the_hosts_one_by_one() -> None:
    host = "search example.test\nnameserver 10.0.0.53\noptions edns0\n"
    assert resolv_conf(host, dns=["10.1.2.3"]) == "search example.test\nnameserver 10.1.2.3\noptions edns0\n"
    assert resolv_conf(host, search=["x.test"], options=["ndots:3"]) == (
        "search x.test\nnameserver 10.0.0.53\noptions ndots:3\n"
    )


def test_search_of_a_dot_is_an_empty_list() -> None:
    assert resolv_conf("search a.test\nnameserver 10.0.0.53\n", search=["."]) == "nameserver 10.0.0.53\n"


def test_a_users_loopback_server_is_kept() -> None:
    assert resolv_conf("", dns=["127.0.0.1"]) == "nameserver 127.0.0.1\n"


def test_a_server_that_is_no_address_is_dropped() -> None:
    assert resolv_conf("nameserver nonsense\nnameserver 10.0.0.53\n") == "nameserver 10.0.0.53\n"


def test_the_resolved_stub_leads_to_resolveds_own_list(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "run/systemd/resolve").mkdir(parents=True)
    (tmp_path / "etc/resolv.conf").write_text("nameserver 127.0.0.53\n")
    (tmp_path / "run/systemd/resolve/resolv.conf").write_text("nameserver 10.0.0.53\n")
    assert read_host_resolv_conf(tmp_path) == "nameserver 10.0.0.53\n"


def test_a_host_without_resolv_conf(tmp_path: Path) -> None:
    assert read_host_resolv_conf(tmp_path) == ""


def test_hosts_are_revised_line_by_line() -> None:
    former = hosts_file("box", addresses=["10.0.0.2"])
    present = former + "10.9.9.9\tmine\n"
    revised = revised_hosts(present, former, hosts_file("box", addresses=["10.1.0.2"]))
    assert revised == hosts_file("box") + "10.9.9.9\tmine\n10.1.0.2\tbox\n"
