from __future__ import annotations

from typing import Any

import pytest

from knarr.template import Template, TemplateError

_DATA: dict[str, Any] = {
    "Name": "/web",
    "Config": {"Labels": {"a.b": "1", "c": "2"}, "Cmd": ["sh", "-c", "x"], "Env": None},
    "State": {"Running": True, "ExitCode": 3, "Pid": 0},
    "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": None},
    "Upper": lambda text: text.upper(),
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{.Name}}", "/web"),
        ("{{ .State.ExitCode }}-{{.State.Running}}", "3-true"),
        ("{{json .Config.Cmd}}", '["sh","-c","x"]'),
        ("{{.Config.Cmd}}", "[sh -c x]"),
        ("{{.Config.Env}}", "[]"),
        ("{{.Config.Labels}}", "map[a.b:1 c:2]"),
        ('{{index .Config.Labels "a.b"}}', "1"),
        ('{{index .Config.Labels "nope"}}', ""),
        ("{{.Config.Labels.nope}}", "<no value>"),
        ('{{(index (index .Ports "80/tcp") 0).HostPort}}', "8080"),
        ("{{.Ports}}", "map[80/tcp:[{0.0.0.0 8080}] 81/tcp:[]]"),
        ("{{range .Config.Cmd}}<{{.}}>{{end}}", "<sh><-c><x>"),
        ("{{range $i, $w := .Config.Cmd}}{{$i}}{{$w}} {{end}}", "0sh 1-c 2x "),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a.b=1;c=2;"),
        ("{{range .Config.Env}}x{{else}}none{{end}}", "none"),
        ("{{range.Config.Cmd}}{{.}}{{end}}{{if.State.Running}}!{{end}}", "sh-cx!"),
        ("{{range .Config.Cmd}}{{if eq . `-c`}}{{continue}}{{end}}{{.}}{{end}}", "shx"),
        ("{{if .State.Pid}}a{{else if .State.Running}}b{{else}}c{{end}}", "b"),
        ("{{with .State}}{{.ExitCode}}{{end}}", "3"),
        ("{{if and .State.Running (not .State.Pid)}}y{{end}}", "y"),
        ("{{if or .State.Pid (eq .State.ExitCode 1 2 3)}}y{{end}}", "y"),
        ("{{if and .State.Pid .State.Nope}}y{{else}}short{{end}}", "short"),
        ("{{ne .Name `x`}} {{lt 1 2}} {{ge 1.5 2}}", "true true false"),
        ('{{.Name | printf "%s:%s" "a"}}', "a:/web"),
        ('{{printf "%5d|%-4s|%05.1f|%q|%x|%v%%" 7 "ab" 2.25 "q" 255 true}}', '    7|ab  |002.2|"q"|ff|true%'),
        ("{{len .Name}} {{len .Config.Cmd}} {{len .Config.Env}}", "4 3 0"),
        ('{{join .Config.Cmd "+"}} {{upper "a"}}{{lower "B"}} {{title "ab cd"}}', "sh+-c+x Ab Ab Cd"),
        ('{{split "a,b" ","}} {{slice .Name 1 3}} {{truncate "abcdef" 2}} {{pad "x" 1 1}}|', "[a b] we ab  x |"),
        ('{{print 1 2 "x" 3}}{{println "a" 1}}', "1 2x3a 1\n"),
        ('{{.Upper "x"}}{{with $v := .Name}}{{$v}}{{$.State.Pid}}{{end}}', "X/web0"),
        ("a {{- /* note */ -}} b{{- .Name }} \n {{- `r`}}", "ab/webr"),
        ("{{/* only a note */}}{{true}}", "true"),
        ("{{.State.Health}}{{if .State.Health}}x{{end}}", "<nil>"),
    ],
)
def test_renders(template: str, text: str) -> None:
    assert Template(template).render(_DATA) == text


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{.X", "unclosed action"),
        ("{{nofunc .X}}", 'function "nofunc" not defined'),
        ("{{if .X}}", "unexpected EOF"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{}}", "missing value for command"),
        ('{{"x}}', "unterminated quoted string"),
        ("{{(.Name}}", "unclosed left paren"),
        ("{{.Nope}}", 'map has no entry for key "Nope"'),
        ("{{.Name.Nope}}", "can't evaluate field Nope in type str"),
        ("{{.State.Health.Status}}", "nil pointer evaluating Health.Status"),
        ("{{index .Config.Cmd 9}}", "index out of range: 9"),
        ("{{eq 1 true}}", "incompatible types for comparison"),
        ("{{$x}}", 'undefined variable "$x"'),
    ],
)
def test_refuses(template: str, words: str) -> None:
    with pytest.raises(TemplateError, match=r"^template: ") as caught:
        Template(template).render(_DATA)
    assert words in str(caught.value)
